//! Credit: how much payload may be under way in one direction. SPEC.md, section "Credit".
//!
//! ```text
//!   sender: Credit                                 receiver: Window
//!   available ── take(cost) ──► payload frame ──►  receive(cost)   more than granted: Error::Credit
//!   available ◄── grant ─────── Credit frame ◄───  consumed(cost)  returned from half a window on
//! ```
//!
//! Only requests, responses and pushes cost anything. Everything else must never wait for credit, or stopped reads
//! would hold back acknowledgements, and those the very credit that is waited for.

use crate::error::Error;

/// No balance is that large. SPEC.md, section 11.4.
pub(super) const BALANCE_END: u64 = 1 << 63;

/// What this end may still send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Credit(u64);

impl Credit {
    pub(super) const fn new(granted: u64) -> Self {
        Self(granted)
    }

    pub(super) const fn available(self) -> u64 {
        self.0
    }

    /// Takes all of `cost`, or nothing.
    pub(super) fn take(&mut self, cost: u64) -> bool {
        let rest = self.0.checked_sub(cost);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    /// # Errors
    /// [`Error::Field`] when the balance would reach [`BALANCE_END`].
    pub(super) fn grant(&mut self, bytes: u64) -> Result<(), Error> {
        let balance = self.0.checked_add(bytes).filter(|balance| *balance < BALANCE_END);
        self.0 = balance.ok_or(Error::Field("credit"))?;
        Ok(())
    }
}

/// What the peer may still send, and what has to be given back to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    size: u64,
    /// Granted and not used yet.
    open: u64,
    /// Used, consumed here and not granted again yet.
    consumed: u64,
}

impl Window {
    pub(super) const fn new(size: u64) -> Self {
        Self { size, open: size, consumed: 0 }
    }

    /// Bytes that arrived and were not consumed yet.
    pub(super) const fn held(&self) -> u64 {
        self.size - self.open - self.consumed
    }

    /// A payload frame came.
    pub(super) fn receive(&mut self, cost: u64) -> Result<(), Error> {
        self.open = self.open.checked_sub(cost).ok_or(Error::Credit)?;
        Ok(())
    }

    /// Its payload was handed on or refused; returns what to grant now, if that is worth a frame.
    pub(super) fn consumed(&mut self, cost: u64) -> Option<u64> {
        debug_assert!(cost <= self.held(), "nothing is consumed twice");
        self.consumed += cost.min(self.held());
        if self.consumed < self.size / 2 {
            return None;
        }
        let grant = std::mem::take(&mut self.consumed);
        self.open += grant;
        Some(grant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_is_taken_whole_or_not_at_all() {
        let mut credit = Credit::new(100);
        assert!(credit.take(60));
        assert!(!credit.take(41));
        assert!(credit.take(40));
        assert_eq!(credit.available(), 0);
        assert_eq!(credit.grant(u64::MAX), Err(Error::Field("credit")));
        assert_eq!(credit.grant(BALANCE_END - 1), Ok(()));
        assert_eq!(credit.grant(1), Err(Error::Field("credit")));
    }

    #[test]
    fn a_window_opens_again_at_half() {
        let mut window = Window::new(100);
        assert_eq!(window.receive(30), Ok(()));
        assert_eq!(window.receive(30), Ok(()));
        assert_eq!(window.consumed(30), None);
        assert_eq!(window.held(), 30);
        assert_eq!(window.consumed(30), Some(60));
        assert_eq!(window.receive(100), Ok(()));
        assert_eq!(window.receive(1), Err(Error::Credit));
    }

    /// Whatever is sent and consumed, both ends agree on the sum, and the largest frame gets through in the end.
    #[test]
    fn nothing_is_lost_on_the_way() {
        let (mut credit, mut window) = (Credit::new(1000), Window::new(1000));
        let mut state = 1u64;
        for _ in 0..10_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let cost = 64 + (state >> 33) % 437;
            if credit.take(cost) {
                assert_eq!(window.receive(cost), Ok(()));
            } else {
                let held = window.held();
                credit
                    .grant(window.consumed(held).expect("less than the largest frame is open"))
                    .expect("it was granted before");
            }
            assert_eq!(credit.available(), window.open);
        }
    }
}
