//! How often users log in, whatever devices they name: device ids are the client's word, and whoever has a token could push a
//! user's real devices out with made-up ones.

use std::collections::{HashMap, VecDeque};

use protocol::Time;

use crate::collections::Identity;
use crate::collections::hash::ByIdentity;
use crate::rate::Rate;

/// How often a user logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As a user does.
    Fine,
    /// More often than it may.
    Fast,
    /// So often that it is no user.
    Flood,
}

/// So many times its rate makes a flood.
pub const FLOOD: u32 = 10;

/// A bounded set of users who have logged in lately.
#[derive(Debug)]
pub struct Churn {
    rate: Rate,
    flood: Rate,
    users: HashMap<Identity, Buckets, ByIdentity>,
    /// The same users, in the order in which they came into the set.
    order: VecDeque<Identity>,
    max: usize,
}

/// When the buckets of a user will be full: that of its logins, and that of its attempts.
#[derive(Clone, Copy, Debug, Default)]
struct Buckets {
    logins: Time,
    attempts: Time,
}

impl Churn {
    /// Nobody has logged in yet. A user may so often; of at most `max` users it is known.
    #[must_use]
    pub fn new(rate: Rate, max: usize) -> Self {
        Self { rate, flood: rate.times(FLOOD), users: HashMap::default(), order: VecDeque::new(), max }
    }

    /// A user wants to log in.
    pub fn login(&mut self, user: Identity, now: Time) -> Pace {
        self.forget(now);
        if self.max == 0 {
            return Pace::Fine;
        }
        if !self.users.contains_key(&user) {
            if self.order.len() >= self.max
                && let Some(first) = self.order.pop_front()
            {
                self.users.remove(&first);
            }
            self.order.push_back(user);
        }
        let buckets = self.users.entry(user).or_default();
        let is_flood = match self.flood.take(buckets.attempts, 1, now) {
            Some(then) => {
                buckets.attempts = then;
                false
            }
            None => true,
        };
        match self.rate.take(buckets.logins, 1, now) {
            Some(then) => {
                buckets.logins = then;
                Pace::Fine
            }
            None if is_flood => Pace::Flood,
            None => Pace::Fast,
        }
    }

    /// Forgets a few of those whose buckets are full again: they are as good as unknown.
    fn forget(&mut self, now: Time) {
        for _ in 0..2 {
            let Some(first) = self.order.front() else { return };
            let is_full = self.users.get(first).is_none_or(|its| its.logins <= now && its.attempts <= now);
            if !is_full {
                return;
            }
            self.users.remove(first);
            self.order.pop_front();
        }
    }

    /// How many users are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
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

    fn churn(max: usize) -> Churn {
        Churn::new(Rate::new(10, Duration::from_secs(60), 20), max)
    }

    #[test]
    fn a_user_has_its_burst_and_then_its_rate_and_whoever_asks_ten_times_as_often_is_a_flood() {
        let mut churn = churn(8);
        let mut paces = |count: u32, now| -> Vec<Pace> {
            let mut all: Vec<_> = (0..count).map(|_| churn.login(user(1), now)).collect();
            all.dedup();
            all
        };
        assert_eq!(paces(20, at(100)), [Pace::Fine]);
        assert_eq!(paces(180, at(100)), [Pace::Fast]);
        assert_eq!(paces(5, at(100)), [Pace::Flood]);
        assert_eq!(paces(2, at(106)), [Pace::Fine, Pace::Fast], "one more in six seconds");
        assert_eq!(paces(1, at(1000)), [Pace::Fine]);
    }

    #[test]
    fn so_many_are_known_and_whoever_is_as_good_as_new_is_forgotten() {
        let mut churn = churn(3);
        for number in 0..5 {
            assert_eq!(churn.login(user(number), at(100)), Pace::Fine);
        }
        assert_eq!(churn.len(), 3, "the first ones have made room");
        churn.login(user(9), at(107));
        churn.login(user(9), at(108));
        assert_eq!(churn.len(), 1);
        let mut none = super::Churn::new(Rate::new(1, Duration::from_secs(60), 1), 0);
        assert!((0..5).all(|_| none.login(user(1), at(1)) == Pace::Fine) && none.is_empty());
    }
}
