//! Users whom a backend has slowed down, each until its end.
//!
//! Their number is bounded: one more than that is refused, and those that are there keep what they have.

use std::collections::{BTreeSet, HashMap};

use protocol::Time;

use crate::collections::Identity;
use crate::collections::hash::ByIdentity;
use crate::rate::ALL;

/// What holds for a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Throttle {
    /// The user's id, for people.
    pub user: Box<[u8]>,
    /// By which backend: the place of its endpoint among those of the config.
    pub by: u16,
    /// Hundredths of its rates, one at least; [`ALL`] ends what held before.
    pub percent: u8,
    /// Until when.
    pub end: Time,
}

/// A bounded set of users, each with the hundredths of its rates that hold for a while.
#[derive(Debug)]
pub struct Throttles {
    users: HashMap<Identity, Throttle, ByIdentity>,
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

    /// From now on this holds for a user, until its end; all hundredths end it. Whether that is another number than before.
    pub fn set(&mut self, user: Identity, throttle: Throttle, now: Time) -> bool {
        let before = self.of(user, now);
        let end = throttle.end;
        let percent = if end <= now { ALL } else { throttle.percent.clamp(1, ALL) };
        let is_new = !self.users.contains_key(&user);
        if percent != ALL && is_new && self.users.len() >= self.max {
            self.refused += 1;
            return false;
        }
        if let Some(former) = self.users.remove(&user) {
            self.ends.remove(&(former.end, user));
        }
        if percent != ALL {
            self.users.insert(user, Throttle { percent, ..throttle });
            self.ends.insert((end, user));
        }
        percent != before
    }

    /// Hundredths of its rates that hold for a user.
    #[must_use]
    pub fn of(&self, user: Identity, now: Time) -> u8 {
        self.users.get(&user).filter(|throttle| now < throttle.end).map_or(ALL, |throttle| throttle.percent)
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

    /// All of them, in the order of their ends.
    pub fn iter(&self) -> impl Iterator<Item = &Throttle> {
        self.ends.iter().filter_map(|(_, user)| self.users.get(user))
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

    fn set(throttles: &mut Throttles, number: u64, percent: u8, end: Time, now: Time) -> bool {
        let throttle = Throttle { user: number.to_le_bytes().into(), by: 0, percent, end };
        throttles.set(user(number), throttle, now)
    }

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_user_has_less_until_its_end_or_until_it_is_given_all_again() {
        let mut throttles = Throttles::new(8);
        assert!(set(&mut throttles, 1, 10, at(60), at(0)) && set(&mut throttles, 2, 20, at(30), at(0)));
        assert_eq!([1, 2, 3].map(|number| throttles.of(user(number), at(29))), [10, 20, ALL]);
        assert_eq!((throttles.next_end(), throttles.expire(at(29))), (Some(at(30)), None));
        assert_eq!(throttles.of(user(2), at(30)), ALL, "not a moment longer");
        assert_eq!((throttles.expire(at(30)), throttles.expire(at(30))), (Some(user(2)), None));
        assert!(set(&mut throttles, 1, ALL, at(90), at(30)) && throttles.is_empty());
        assert_eq!((throttles.next_end(), throttles.expire(at(99))), (None, None));
    }

    #[test]
    fn the_last_word_counts_and_only_a_change_is_told() {
        let mut throttles = Throttles::new(8);
        assert!(set(&mut throttles, 1, 10, at(60), at(0)));
        assert!(!set(&mut throttles, 1, 10, at(90), at(0)), "for longer, and as much");
        assert_eq!((throttles.expire(at(60)), throttles.of(user(1), at(60))), (None, 10));
        assert!(set(&mut throttles, 1, 50, at(70), at(60)));
        assert!(set(&mut throttles, 1, 20, at(61), at(61)), "its end has passed: it is over");
        assert!(!set(&mut throttles, 1, ALL, at(70), at(61)) && throttles.is_empty());
    }

    #[test]
    fn one_more_than_there_may_be_is_refused_and_takes_nobodys_place() {
        let mut throttles = Throttles::new(2);
        let mut slow = |number, percent| set(&mut throttles, number, percent, at(60), at(0));
        assert_eq!([slow(1, 10), slow(2, 10), slow(3, 10), slow(2, 20)], [true, true, false, true]);
        let held: BTreeSet<_> = throttles.iter().map(|held| (held.user[0], held.percent)).collect();
        assert_eq!(held, [(1, 10), (2, 20)].into());
        assert_eq!((throttles.len(), throttles.refused(), throttles.of(user(3), at(0))), (2, 1, ALL));
    }
}
