//! Curve work for those who come: handshakes, and the verification of their tokens, in the order in which they wait.

use crate::worker::parts::Parts;

impl Parts {
    /// Does as much of it as the turn has time for.
    pub(in crate::worker) fn shake_hands(&mut self) {
        let mut budget = self.turn.settings.handshakes_per_turn;
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
