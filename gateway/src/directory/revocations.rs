//! Logins that are worth nothing any more: somebody has revoked them, and with them all tickets that they left behind.
//!
//! Of a user all logins of the past are revoked, or the one of a name. There is a memory for each of the two: of users by the
//! hash of their ids, of single logins by that of user and login, of which every moment counts as past.
//!
//! A revocation is kept for as long as a ticket or a token from before it can be good, and forgotten then. Their number is
//! bounded; over it the oldest goes early, which a metric tells: what it was about is good again for the rest of its time.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use protocol::{Time, UnixMillis};

use crate::collections::Identity;
use crate::collections::hash::ByIdentity;

/// What of a user's logins is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// All that were proved up to this moment.
    UpTo(UnixMillis),
    /// The one of this name, whenever it was or will be proved: the hash that claims and tickets carry.
    Login(u64),
}

/// A bounded set of names, each with the last moment of which its logins are worth nothing.
#[derive(Debug)]
pub struct Revocations {
    /// The moment, and until when it is remembered.
    names: HashMap<Identity, (UnixMillis, Time), ByIdentity>,
    /// Oldest first. A name that was revoked again stands here once for each time; only the last one counts. Never longer
    /// than twice the bound.
    order: VecDeque<(Identity, Time)>,
    max: usize,
    lasting: Duration,
    evicted: u64,
}

impl Revocations {
    /// An empty set of at most `max` names, each remembered for so long.
    #[must_use]
    pub fn new(max: usize, lasting: Duration) -> Self {
        Self { names: HashMap::default(), order: VecDeque::new(), max, lasting, evicted: 0 }
    }

    /// Revokes the logins under a name that were proved up to this moment, those of its very millisecond included.
    pub fn insert(&mut self, name: Identity, last: UnixMillis, now: Time) {
        if self.max == 0 {
            return;
        }
        let is_new = !self.names.contains_key(&name);
        while let Some(&(oldest, until)) = self.order.front()
            && (until <= now || is_new && self.names.len() >= self.max)
        {
            self.order.pop_front();
            if self.names.get(&oldest).is_some_and(|&(_, last)| last == until) {
                self.names.remove(&oldest);
                self.evicted += u64::from(until > now);
            }
        }
        // One that is revoked over and over takes nobody else's place.
        if self.order.len() >= 2 * self.max {
            let names = &self.names;
            self.order.retain(|(name, until)| names.get(name).is_some_and(|(_, last)| last == until));
        }
        let until = now + self.lasting;
        let last = self.names.get(&name).map_or(last, |&(earlier, _)| last.max(earlier));
        self.names.insert(name, (last, until));
        self.order.push_back((name, until));
    }

    /// Whether a login under this name that was proved at this moment was revoked.
    #[must_use]
    pub fn covers(&self, name: Identity, login: UnixMillis, now: Time) -> bool {
        self.names.get(&name).is_some_and(|&(last, until)| login <= last && now < until)
    }

    /// How many names are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// How many were forgotten before their time.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collections::HashKey;

    const LASTING: Duration = Duration::from_hours(24);

    fn user(number: u64) -> Identity {
        HashKey::new([1; 16]).identity(&number.to_le_bytes())
    }

    #[test]
    fn logins_from_before_are_covered_for_as_long_as_they_are_to_be() {
        let (mut revoked, start, moment) = (Revocations::new(8, LASTING), Time::ZERO, UnixMillis(1_000));
        revoked.insert(user(1), moment, start);
        assert!(revoked.covers(user(1), UnixMillis(999), start));
        assert!(
            revoked.covers(user(1), moment, start),
            "which of the two came first in a millisecond nobody knows"
        );
        assert!(!revoked.covers(user(1), UnixMillis(1_001), start));
        assert!(!revoked.covers(user(2), UnixMillis(999), start));
        let almost = start + LASTING - Duration::from_millis(1);
        assert!(revoked.covers(user(1), UnixMillis(999), almost));
        assert!(!revoked.covers(user(1), UnixMillis(999), start + LASTING));
        revoked.insert(user(2), moment, start + LASTING);
        assert_eq!((revoked.len(), revoked.evicted()), (1, 0));
    }

    #[test]
    fn a_later_one_counts_from_then_on_and_an_earlier_one_takes_nothing_back() {
        let (mut revoked, start) = (Revocations::new(8, LASTING), Time::ZERO);
        revoked.insert(user(1), UnixMillis(5), start);
        revoked.insert(user(1), UnixMillis(3), start + LASTING / 2);
        assert!(revoked.covers(user(1), UnixMillis(4), start + LASTING));
        revoked.insert(user(2), UnixMillis(3), start + LASTING);
        assert!(
            revoked.covers(user(1), UnixMillis(4), start + LASTING),
            "its first entry is over, not its last"
        );
    }

    #[test]
    fn one_user_revoked_over_and_over_takes_nobody_elses_place() {
        let (mut revoked, start) = (Revocations::new(2, LASTING), Time::ZERO);
        revoked.insert(user(1), UnixMillis(5), start);
        for turn in 1..100_u32 {
            revoked.insert(user(2), UnixMillis(5), start + Duration::from_millis(turn.into()));
            assert!(revoked.order.len() <= 4);
        }
        assert!(
            revoked.covers(user(1), UnixMillis(4), start) && revoked.covers(user(2), UnixMillis(4), start)
        );
        assert_eq!((revoked.len(), revoked.evicted()), (2, 0));
        revoked.insert(user(3), UnixMillis(5), start + Duration::from_secs(1));
        assert!(!revoked.covers(user(1), UnixMillis(4), start), "the oldest goes");
    }

    #[test]
    fn what_is_kept_of_one_user_is_bounded_with_the_least_room_too() {
        let (mut revoked, start) = (Revocations::new(1, LASTING), Time::ZERO);
        assert!(revoked.is_empty());
        for turn in 0..10_u32 {
            revoked.insert(user(1), UnixMillis(5), start + Duration::from_millis(turn.into()));
            assert!(!revoked.is_empty() && revoked.order.len() <= 2);
        }
    }

    #[test]
    fn over_the_bound_the_oldest_is_forgotten_and_that_is_counted() {
        let (mut revoked, start) = (Revocations::new(2, LASTING), Time::ZERO);
        (1..=3).for_each(|number| revoked.insert(user(number), UnixMillis(5), start));
        assert_eq!((revoked.len(), revoked.evicted()), (2, 1));
        assert!(
            !revoked.covers(user(1), UnixMillis(4), start) && revoked.covers(user(3), UnixMillis(4), start)
        );
    }
}
