//! Users whose logins of the past are worth nothing any more: a service has revoked them, and with them all tickets that
//! they left behind.
//!
//! A revocation is kept for as long as a ticket from before it can be good, and forgotten then. Their number is bounded;
//! over it the oldest goes early, which a metric tells: tickets of that user are good again for the rest of their time.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use protocol::noise::ticket::{CLOCK_SKEW_MAX, TICKET_LIFETIME};
use protocol::{Time, UnixMillis};

use crate::collections::Identity;
use crate::collections::hash::ByIdentity;

/// How long a revocation is kept.
const LASTING: Duration = TICKET_LIFETIME.saturating_add(CLOCK_SKEW_MAX);

/// A bounded set of users, each with the last moment of which its logins are worth nothing.
#[derive(Debug)]
pub struct Revocations {
    /// The moment, and until when it is remembered.
    users: HashMap<Identity, (UnixMillis, Time), ByIdentity>,
    /// Oldest first. A user that was revoked again stands here once for each time; only the last one counts. Never longer
    /// than twice the bound.
    order: VecDeque<(Identity, Time)>,
    max: usize,
    evicted: u64,
}

impl Revocations {
    /// An empty set of at most `max` users.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { users: HashMap::default(), order: VecDeque::new(), max, evicted: 0 }
    }

    /// Revokes the logins of a user that were proved up to this moment, those of its very millisecond included.
    pub fn insert(&mut self, user: Identity, last: UnixMillis, now: Time) {
        if self.max == 0 {
            return;
        }
        let is_new = !self.users.contains_key(&user);
        while let Some(&(oldest, until)) = self.order.front()
            && (until <= now || is_new && self.users.len() >= self.max)
        {
            self.order.pop_front();
            if self.users.get(&oldest).is_some_and(|&(_, last)| last == until) {
                self.users.remove(&oldest);
                self.evicted += u64::from(until > now);
            }
        }
        // One user that is revoked over and over takes nobody else's place.
        if self.order.len() >= 2 * self.max {
            let users = &self.users;
            self.order.retain(|(user, until)| users.get(user).is_some_and(|(_, last)| last == until));
        }
        let until = now + LASTING;
        let last = self.users.get(&user).map_or(last, |&(earlier, _)| last.max(earlier));
        self.users.insert(user, (last, until));
        self.order.push_back((user, until));
    }

    /// Whether a login of this user that was proved at this moment was revoked.
    #[must_use]
    pub fn covers(&self, user: Identity, login: UnixMillis, now: Time) -> bool {
        self.users.get(&user).is_some_and(|&(last, until)| login <= last && now < until)
    }

    /// How many users are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
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

    fn user(number: u64) -> Identity {
        HashKey::new([1; 16]).identity(&number.to_le_bytes())
    }

    #[test]
    fn logins_from_before_are_covered_for_as_long_as_their_tickets_live() {
        let (mut revoked, start, moment) = (Revocations::new(8), Time::ZERO, UnixMillis(1_000));
        revoked.insert(user(1), moment, start);
        assert!(revoked.covers(user(1), UnixMillis(999), start));
        assert!(
            revoked.covers(user(1), moment, start),
            "which of the two came first in a millisecond nobody knows"
        );
        assert!(!revoked.covers(user(1), UnixMillis(1_001), start));
        assert!(!revoked.covers(user(2), UnixMillis(999), start));
        let almost = start + TICKET_LIFETIME;
        assert!(revoked.covers(user(1), UnixMillis(999), almost), "a clock may be a minute late");
        assert!(!revoked.covers(user(1), UnixMillis(999), start + LASTING));
        revoked.insert(user(2), moment, start + LASTING);
        assert_eq!((revoked.len(), revoked.evicted()), (1, 0));
    }

    #[test]
    fn a_later_one_counts_from_then_on_and_an_earlier_one_takes_nothing_back() {
        let (mut revoked, start) = (Revocations::new(8), Time::ZERO);
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
        let (mut revoked, start) = (Revocations::new(2), Time::ZERO);
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
        let (mut revoked, start) = (Revocations::new(1), Time::ZERO);
        assert!(revoked.is_empty());
        for turn in 0..10_u32 {
            revoked.insert(user(1), UnixMillis(5), start + Duration::from_millis(turn.into()));
            assert!(!revoked.is_empty() && revoked.order.len() <= 2);
        }
    }

    #[test]
    fn over_the_bound_the_oldest_is_forgotten_and_that_is_counted() {
        let (mut revoked, start) = (Revocations::new(2), Time::ZERO);
        (1..=3).for_each(|number| revoked.insert(user(number), UnixMillis(5), start));
        assert_eq!((revoked.len(), revoked.evicted()), (2, 1));
        assert!(
            !revoked.covers(user(1), UnixMillis(4), start) && revoked.covers(user(3), UnixMillis(4), start)
        );
    }
}
