//! Time passes: deadlines of links, streams, requests and verdicts.

use protocol::Time;

use crate::worker::parts::Parts;

impl Parts {
    /// Lets time pass up to this moment, for everything whose deadline has come.
    pub(in crate::worker) fn expire(&mut self, until: Time) {
        let now = std::mem::replace(&mut self.turn.now, until);
        self.let_time_pass();
        self.turn.now = now;
    }

    fn let_time_pass(&mut self) {
        self.links.expire(&mut self.turn);
        let mut budget = self.turn.settings.budgets.deadlines;
        while let Some((stream, is_back)) = self.streams.expire(&mut self.turn, &mut budget) {
            if is_back {
                self.share_with(stream);
            }
        }
        self.end_throttles();
        self.expire_sessions();
        self.expire_owed();
        self.door.expire(self.turn.now);
        self.expire_pending();
        self.expire_parked();
        self.expire_unanswered();
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
            self.sessions.next_deadline(),
            self.door.next_deadline(),
            self.slots.next_deadline(),
            self.overload.next_deadline(self.turn.level),
        ];
        deadlines.into_iter().flatten().min()
    }
}
