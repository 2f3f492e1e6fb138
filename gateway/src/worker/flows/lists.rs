//! Lists of addresses and users change: whoever is on them and in has to leave, or has less of its rates.

use std::time::Duration;

use protocol::{CloseCode, Time};

use crate::admission::lists::{Lists, NEVER};
use crate::session::Session;
use crate::worker::links::Cause;
use crate::worker::parts::Parts;
use crate::worker::settings::Farewell;

impl Parts {
    /// Other lists are in force. The former ones go back to control, which frees them.
    pub(super) fn take_lists(&mut self, lists: Lists) {
        self.door.replace(lists);
    }

    /// Looks at a slice of those who are in.
    pub(in crate::worker) fn look_at_links(&mut self) {
        let Self { door, links, sessions, turn, .. } = self;
        for slot in door.slice(turn, links.slots_used()) {
            let Some(token) = links.in_slot(slot) else { continue };
            let Some(peer) = links.peer(token) else { continue };
            links.throttle_address(turn, token, door.percent(peer.ip(), turn.now));
            let session = links.session(token).and_then(|key| sessions.get(key));
            let Some(until) = door.sends_out(turn, peer.ip(), session.map(Session::user)) else { continue };
            links.mark(token, Cause::Close(banned(until, turn.now)));
        }
    }
}

/// What somebody is told who is banned until then.
pub(super) fn banned(until: Time, now: Time) -> Farewell {
    let for_good = until == NEVER;
    let retry_after = if for_good { Duration::ZERO } else { until.since(now) };
    Farewell { code: CloseCode::Banned.number(), retry_after, do_not_reconnect: for_good }
}
