//! Duplicate filter for ticket handshakes: a message 1 that was seen before costs a lookup, not a curve operation.
//!
//! It remembers a bounded number of fingerprints and forgets the oldest. A replay has no effect in any case, as
//! nothing happens before the client's first record opens; the filter only saves its work.

use std::collections::{HashSet, VecDeque};

use crate::collections::hash::ByIdentity;

/// Fingerprints of the last messages 1, as keyed hashes.
#[derive(Debug)]
pub struct ReplayFilter {
    seen: HashSet<u64, ByIdentity>,
    order: VecDeque<u64>,
    len_max: usize,
}

impl ReplayFilter {
    /// Remembers up to `len_max` fingerprints, at about 32 bytes each.
    #[must_use]
    pub fn new(len_max: usize) -> Self {
        Self { seen: HashSet::default(), order: VecDeque::new(), len_max }
    }

    /// How many it remembers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether it remembers none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Whether this fingerprint is new; it is remembered then.
    pub fn admit(&mut self, fingerprint: u64) -> bool {
        if !self.seen.insert(fingerprint) {
            return false;
        }
        self.order.push_back(fingerprint);
        if self.order.len() > self.len_max
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duplicate_is_refused_until_it_is_forgotten() {
        let mut filter = ReplayFilter::new(2);
        assert!(filter.admit(1) && filter.admit(2));
        assert!(!filter.admit(1) && !filter.admit(2));
        assert!(filter.admit(3), "and 1 is forgotten");
        assert!(filter.admit(1), "and 2 is forgotten");
        assert!(!filter.admit(3));
    }
}
