//! Field numbers of the kinds in `Frame` that are hand-written; those of [`Rare`] are its discriminants.

use super::rare::Rare;

pub(super) const REQUEST: u32 = 1;
pub(super) const RESPONSE: u32 = 2;
pub(super) const PUSH: u32 = 3;
pub(super) const CREDIT: u32 = 4;
pub(super) const PING: u32 = 5;
pub(super) const PONG: u32 = 6;
pub(super) const REPORT: u32 = 7;
pub(super) const REPORT_ACK: u32 = 8;
pub(super) const LINK_OPENED: u32 = 9;
pub(super) const LINK_DETACHED: u32 = 10;
pub(super) const LINK_CLOSED: u32 = 11;
pub(super) const AUTHENTICATE: u32 = 14;
pub(super) const AUTH_RESULT: u32 = 15;
pub(super) const KICK: u32 = 16;
pub(super) const BAN: u32 = 17;
pub(super) const CLOSE: u32 = 21;
pub(super) const PAD: u32 = 22;
pub(super) const LINK_RESUMED: u32 = 23;
pub(super) const UNBAN: u32 = 24;
pub(super) const THROTTLE: u32 = 25;
pub(super) const DRAINING: u32 = 26;
/// The last of all kinds.
pub(super) const LAST: u32 = Rare::RoomCount as u32;
