//! Why a link ends, and what it leaves behind.

use protocol::Error;

use crate::session::SessionKey;
use crate::worker::settings::Farewell;

/// Why a link ends.
#[derive(Debug)]
pub(in crate::worker) enum Cause {
    /// We close it, and say why.
    Close(Farewell),
    /// The peer broke a rule: the close code it asks for, or silence.
    Fault(Error),
    /// The client has said `Close` with this code. What it has been sent so far may still leave; nothing more is read.
    Goodbye(u32),
    /// A hello that is not served: this clear reply goes out.
    Refused(Vec<u8>),
    /// The peer ended, or the connection broke, without a close frame: truncation, not a logout.
    Lost,
    /// Nobody is told anything.
    Silent,
}

/// What a link leaves behind when it is buried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::worker) struct Parted {
    /// Its session, once authentication had begun.
    pub(in crate::worker) session: Option<SessionKey>,
    /// What was said at the end, by either side; `None` if the link just broke.
    pub(in crate::worker) code: Option<u32>,
    /// Whether somebody may still be judging its token.
    pub(in crate::worker) was_authenticating: bool,
}
