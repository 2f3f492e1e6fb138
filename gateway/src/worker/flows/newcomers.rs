//! Curve work for those who come: handshakes, and the verification of their tokens, in the order in which they wait.

use crate::worker::parts::Parts;

impl Parts {
    /// Whether messages are on their way while there is curve work to do: what was heard in this turn leaves before it. That costs a
    /// system call, which is a hundredth of the work.
    pub(in crate::worker) fn must_not_wait_for_newcomers(&self) -> bool {
        self.turn.is_busy && !self.turn.attention_left().is_zero() && self.links.has_line(&self.turn)
    }

    /// Does as much of it as the turn has time for.
    pub(in crate::worker) fn shake_hands(&mut self) {
        let mut budget = self.turn.handshakes_max();
        while let Some(token) = self.links.next_in_line(&mut self.turn, &mut budget) {
            if self.links.is_hailed(token) {
                self.links.shake_hands(&mut self.turn, token, self.identity.acceptors());
            } else if self.links.is_heard_out(token) {
                if self.links.finish_handshake(&mut self.turn, token) {
                    self.read(token, &mut []);
                }
            } else {
                self.verify(token);
            }
        }
    }
}
