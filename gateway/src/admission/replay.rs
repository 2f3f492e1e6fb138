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

    /// Whether this fingerprint is remembered.
    #[must_use]
    pub fn contains(&self, fingerprint: u64) -> bool {
        self.seen.contains(&fingerprint)
    }

    /// Remembers a fingerprint. To be called for handshakes that succeeded only: nobody else may make it forget.
    pub fn insert(&mut self, fingerprint: u64) {
        if !self.seen.insert(fingerprint) {
            return;
        }
        self.order.push_back(fingerprint);
        if self.order.len() > self.len_max
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_remembered_until_enough_others_came() {
        let mut filter = ReplayFilter::new(2);
        assert!(!filter.contains(1) && filter.is_empty());
        for fingerprint in [1, 2, 1] {
            filter.insert(fingerprint);
        }
        assert!(filter.contains(1) && filter.contains(2) && filter.len() == 2 && !filter.is_empty());
        filter.insert(3);
        assert!(!filter.contains(1) && filter.contains(2) && filter.contains(3));
    }
}
