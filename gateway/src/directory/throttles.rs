//! Users whom a backend has slowed down, each until its end.
//!
//! Their number is bounded: one more than that is refused, and those that are there keep what they have.

use std::collections::{BTreeSet, HashMap};

use protocol::Time;

use crate::collections::Identity;
use crate::collections::hash::ByIdentity;

/// Hundredths of its rates that hold for whoever is not throttled.
pub const ALL: u8 = 100;

/// A bounded set of users, each with the hundredths of its rates that hold for a while.
#[derive(Debug)]
pub struct Throttles {
    users: HashMap<Identity, (u8, Time), ByIdentity>,
    /// The same users, in the order of their ends.
    ends: BTreeSet<(Time, Identity)>,
    max: usize,
    refused: u64,
}

impl Throttles {
    /// An empty set of at most `max` users.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { users: HashMap::default(), ends: BTreeSet::new(), max, refused: 0 }
    }

    /// From now on so many hundredths hold for a user, until `end`; all of them end it. Whether that is another number than
    /// before.
    pub fn set(&mut self, user: Identity, percent: u8, end: Time, now: Time) -> bool {
        let before = self.of(user, now);
        let percent = if end <= now { ALL } else { percent.clamp(1, ALL) };
        let is_new = !self.users.contains_key(&user);
        if percent != ALL && is_new && self.users.len() >= self.max {
            self.refused += 1;
            return false;
        }
        if let Some((_, end)) = self.users.remove(&user) {
            self.ends.remove(&(end, user));
        }
        if percent != ALL {
            self.users.insert(user, (percent, end));
            self.ends.insert((end, user));
        }
        percent != before
    }

    /// Hundredths of its rates that hold for a user.
    #[must_use]
    pub fn of(&self, user: Identity, now: Time) -> u8 {
        self.users.get(&user).filter(|(_, end)| now < *end).map_or(ALL, |&(percent, _)| percent)
    }

    /// A user whose throttle is over by now; it is forgotten.
    pub fn expire(&mut self, now: Time) -> Option<Identity> {
        let &(end, user) = self.ends.first().filter(|(end, _)| *end <= now)?;
        self.ends.remove(&(end, user));
        self.users.remove(&user);
        Some(user)
    }

    /// When the next one is over.
    #[must_use]
    pub fn next_end(&self) -> Option<Time> {
        self.ends.first().map(|&(end, _)| end)
    }

    /// How many users are throttled.
    #[must_use]
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// How many found no room.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::collections::HashKey;

    fn user(number: u64) -> Identity {
        HashKey::new([1; 16]).identity(&number.to_le_bytes())
    }

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_user_has_less_until_its_end_or_until_it_is_given_all_again() {
        let mut throttles = Throttles::new(8);
        assert!(throttles.set(user(1), 10, at(60), at(0)) && throttles.set(user(2), 20, at(30), at(0)));
        assert_eq!([1, 2, 3].map(|number| throttles.of(user(number), at(29))), [10, 20, ALL]);
        assert_eq!((throttles.next_end(), throttles.expire(at(29))), (Some(at(30)), None));
        assert_eq!(throttles.of(user(2), at(30)), ALL, "not a moment longer");
        assert_eq!((throttles.expire(at(30)), throttles.expire(at(30))), (Some(user(2)), None));
        assert!(throttles.set(user(1), ALL, at(90), at(30)) && throttles.is_empty());
        assert_eq!((throttles.next_end(), throttles.expire(at(99))), (None, None));
    }

    #[test]
    fn the_last_word_counts_and_only_a_change_is_told() {
        let mut throttles = Throttles::new(8);
        assert!(throttles.set(user(1), 10, at(60), at(0)));
        assert!(!throttles.set(user(1), 10, at(90), at(0)), "for longer, and as much");
        assert_eq!((throttles.expire(at(60)), throttles.of(user(1), at(60))), (None, 10));
        assert!(throttles.set(user(1), 50, at(70), at(60)));
        assert!(throttles.set(user(1), 20, at(61), at(61)), "its end has passed: it is over");
        assert!(!throttles.set(user(1), ALL, at(70), at(61)) && throttles.is_empty());
    }

    #[test]
    fn one_more_than_there_may_be_is_refused_and_takes_nobodys_place() {
        let mut throttles = Throttles::new(2);
        let mut set = |number, percent| throttles.set(user(number), percent, at(60), at(0));
        assert_eq!([set(1, 10), set(2, 10), set(3, 10), set(2, 20)], [true, true, false, true]);
        assert_eq!((throttles.len(), throttles.refused(), throttles.of(user(3), at(0))), (2, 1, ALL));
    }
}
