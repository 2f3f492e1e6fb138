//! Who keeps the worker busy: what the other flows have seen is counted.

use driver::Token;
use tokio::sync::mpsc::Sender;

use crate::worker::busiest::{Listing, Measure};
use crate::worker::parts::Parts;

impl Parts {
    /// A link, and its user if that is known, have done so much.
    pub(super) fn note_busy(&mut self, token: Token, measure: Measure, weight: u64) {
        let Self { busiest, links, sessions, turn, .. } = self;
        let address = links.peer(token).and_then(|peer| peer.ip());
        busiest.address(turn, measure, address, weight);
        if let Some(session) = links.session(token).and_then(|key| sessions.get(key)) {
            busiest.user(turn, measure, session.user(), weight);
        }
    }

    /// Control asks who that is. It may have gone meanwhile.
    pub(super) fn list_busiest(&self, to: &Sender<Listing>) {
        let _gone = to.try_send(self.busiest.list());
    }
}
