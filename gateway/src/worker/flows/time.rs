//! Time passes: deadlines of links, streams, requests and verdicts.

use protocol::Time;

use crate::worker::parts::Parts;

/// Deadlines of streams looked at per turn; the others follow in the next turns, which then do not wait.
const STREAMS_PER_TURN: u32 = 4096;

impl Parts {
    /// Lets time pass for everything whose deadline has come.
    pub(in crate::worker) fn expire(&mut self) {
        self.links.expire(&mut self.turn);
        let mut budget = STREAMS_PER_TURN;
        while let Some((stream, is_back)) = self.streams.expire(&mut self.turn, &mut budget) {
            if is_back {
                self.share_with(stream);
            }
        }
        self.expire_pending();
        self.expire_parked();
        // Nobody gets in without a verdict.
        while let Some((link, stream)) = self.identity.overdue(self.turn.now) {
            self.put_off(link);
            self.missed(stream);
        }
    }

    /// When the next turn is due at the latest.
    pub(in crate::worker) fn next_deadline(&self) -> Option<Time> {
        let deadlines = [
            self.links.next_deadline(&self.turn),
            self.streams.next_deadline(),
            self.requests.next_deadline(),
            self.identity.next_deadline(),
            self.slots.next_deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }
}
