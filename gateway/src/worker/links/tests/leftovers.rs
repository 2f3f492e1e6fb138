//! Whatever a test has done, nothing of it is left over when everything has been closed.

use super::*;

impl Drop for Rig {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.wind_up();
        }
    }
}

impl Rig {
    /// Ends whatever there is: every link is marked, buried and drained, and its socket closed.
    fn wind_up(&mut self) {
        for slot in 0..self.links.slots_used() {
            if let Some(token) = self.links.in_slot(slot) {
                self.links.mark(token, Cause::Silent);
            }
        }
        self.bury();
        for slot in 0..self.links.slots_used() {
            // A test may have taken it off the list of the marked, or nobody has heard yet that its client is gone.
            if let Some(link) = self.links.table.at(slot) {
                let token = link.token;
                self.links.part(&mut self.turn, token, Cause::Silent);
            }
        }
        self.absorb();
        for token in self.kernel.reads.keys().copied().collect::<Vec<_>>() {
            self.ended(token, End::Cancelled);
        }
        for token in self.kernel.sends.keys().copied().collect::<Vec<_>>() {
            self.unsent(token, Sent::Cancelled);
        }
        self.absorb();
        for token in self.kernel.closes.clone() {
            self.closed(token);
        }
        self.shake_hands();
        self.assert_empty();
    }

    /// After the last socket was closed nothing is left of any link: no bytes, no place, no deadline, no buffer.
    pub(super) fn assert_empty(&mut self) {
        self.flush();
        self.absorb();
        assert_eq!(self.numbers(), [0; 5]);
        assert_eq!((self.outgoing_bytes(), self.partial_bytes(), self.links.census().begun), (0, 0, 0));
        assert!(!self.has_work());
        assert_eq!(self.links.next_deadline(&self.turn), None);
        assert!(self.kernel.reads.is_empty() && self.kernel.sends.is_empty());
        // Without those of no capacity, which are given back by whoever has not taken one.
        let buffers = self.turn.buffers.counters();
        assert_eq!(buffers.taken, buffers.given - buffers.freed, "every buffer has come back");
    }
}
