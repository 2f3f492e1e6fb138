//! Logins that were replaced and must not come back: a replaced client that reconnects would replace its
//! successor in turn, for ever.
//!
//! All tombstones last equally long, so the order of their making is the order of their end. Their number is
//! bounded; over it the oldest goes early, and its login may come back once more.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use protocol::Time;

use crate::collections::Identity;
use crate::collections::hash::ByIdentity;

/// A bounded set of names that forgets each after a time.
#[derive(Debug)]
pub struct Tombstones {
    /// When each ends.
    ends: HashMap<Identity, Time, ByIdentity>,
    /// Oldest first. A name that was made anew stands here once for each time; only the last one counts.
    order: VecDeque<(Identity, Time)>,
    max: usize,
    lasting: Duration,
    evicted: u64,
}

impl Tombstones {
    /// An empty set of at most `max` names that last this long. Its memory is taken now.
    #[must_use]
    pub fn new(max: usize, lasting: Duration) -> Self {
        Self {
            ends: HashMap::with_capacity_and_hasher(max, ByIdentity::default()),
            order: VecDeque::with_capacity(max),
            max,
            lasting,
            evicted: 0,
        }
    }

    /// Sets a tombstone, or makes one last from now on.
    pub fn insert(&mut self, name: Identity, now: Time) {
        if self.max == 0 {
            return;
        }
        self.forget(now);
        if self.order.len() == self.max {
            let (oldest, end) = self.order.pop_front().expect("the set is full and not of size zero");
            self.evicted += u64::from(self.end(oldest, end));
        }
        let end = now + self.lasting;
        self.ends.insert(name, end);
        self.order.push_back((name, end));
    }

    /// Whether there is a tombstone of this name.
    #[must_use]
    pub fn contains(&self, name: Identity, now: Time) -> bool {
        self.ends.get(&name).is_some_and(|&end| now < end)
    }

    /// How many names are kept, those included whose time is over but not yet noticed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether no name is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// How many went early for want of room.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Drops what is over. At most a few at a time, so that a turn stays short: one is added per call, so two are
    /// enough to catch up.
    fn forget(&mut self, now: Time) {
        for _ in 0..2 {
            match self.order.front() {
                Some(&(name, end)) if end <= now => {
                    self.order.pop_front();
                    self.end(name, end);
                }
                _ => return,
            }
        }
    }

    /// Removes a name unless it was made anew since. Returns whether it was removed.
    fn end(&mut self, name: Identity, end: Time) -> bool {
        let current = self.ends.get(&name) == Some(&end);
        if current {
            self.ends.remove(&name);
        }
        current
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collections::HashKey;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn name(number: u64) -> Identity {
        HashKey::new([1; 16]).identity(&number.to_le_bytes())
    }

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_tombstone_lasts_its_time_from_its_last_making() {
        let mut stones = Tombstones::new(10, Duration::from_secs(600));
        stones.insert(name(1), at(0));
        stones.insert(name(1), at(300));
        assert!(stones.contains(name(1), at(899)));
        assert!(!stones.contains(name(1), at(900)));
        assert!(!stones.contains(name(2), at(1)));
        stones.insert(name(2), at(700));
        assert!(stones.contains(name(1), at(899)), "the end of its first making is not its end");
    }

    #[test]
    fn what_is_over_makes_room_before_anybody_has_to_go() {
        let mut stones = Tombstones::new(2, Duration::from_secs(600));
        stones.insert(name(1), at(0));
        stones.insert(name(2), at(500));
        stones.insert(name(3), at(600));
        assert!(!stones.is_empty());
        assert_eq!((stones.len(), stones.evicted()), (2, 0));
        stones.insert(name(4), at(2000));
        assert_eq!((stones.len(), stones.evicted()), (1, 0));
    }

    #[test]
    fn over_the_bound_the_oldest_goes() {
        let mut stones = Tombstones::new(2, Duration::from_secs(600));
        for number in 1..=3 {
            stones.insert(name(number), at(number));
        }
        assert_eq!((stones.len(), stones.evicted()), (2, 1));
        assert!(!stones.contains(name(1), at(4)));
        assert!(stones.contains(name(2), at(4)) && stones.contains(name(3), at(4)));
    }

    #[test]
    fn none_are_kept_when_none_are_allowed() {
        let mut stones = Tombstones::new(0, Duration::from_secs(600));
        stones.insert(name(1), at(0));
        assert!(stones.is_empty() && !stones.contains(name(1), at(0)));
    }

    proptest! {
        #[test]
        fn behaves_like_a_map_of_ends(steps in prop::collection::vec((0..20u64, 0..40u64), 1..300)) {
            let mut stones = Tombstones::new(64, Duration::from_secs(100));
            let room = stones.order.capacity();
            let mut model: BTreeMap<u64, u64> = BTreeMap::new();
            let mut now = 0;
            for (number, span) in steps {
                now += span;
                stones.insert(name(number), at(now));
                model.insert(number, now + 100);
                for number in 0..20 {
                    let expected = model.get(&number).is_some_and(|&end| now < end);
                    // With an evicted one, a shorter life is allowed; a longer one never is.
                    let kept = stones.contains(name(number), at(now));
                    prop_assert!(kept == expected || (expected && stones.evicted() > 0));
                }
                prop_assert!(stones.len() <= stones.order.len() && stones.order.len() <= 64);
                prop_assert_eq!(stones.order.capacity(), room);
            }
        }
    }
}
