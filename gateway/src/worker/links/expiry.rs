//! When the proofs of users end, by the time of day: one entry of a wheel each, by the slot of its link.
//!
//! A token says until which time of day it holds. The hour may be set back or forth meanwhile, and the token's end moves
//! with it, unlike all other deadlines, which count from a moment on. So this wheel turns with the time of day.

use std::time::Duration;

use protocol::{Time, UnixMillis};

use crate::collections::Wheel;

/// Ends of proofs. Without any it takes no memory.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    wheel: Option<Wheel>,
    /// The latest time of day so far.
    latest: UnixMillis,
}

impl Expiry {
    /// The proof of the link in this slot holds until then.
    pub(super) fn set(&mut self, slot: u32, end: UnixMillis, wall: UnixMillis) {
        self.latest = self.latest.max(wall);
        let wheel = self.wheel.get_or_insert_with(|| Wheel::new(TICK, 0, Time::ZERO));
        wheel.arm(slot, of_day(end));
    }

    /// The link in this slot has no proof any more.
    pub(super) fn forget(&mut self, slot: u32) {
        if let Some(wheel) = &mut self.wheel {
            wheel.cancel(slot);
        }
    }

    /// A slot whose proof has ended; called until `None`, within `budget`.
    pub(super) fn ended(&mut self, wall: UnixMillis, budget: &mut u32) -> Option<u32> {
        let wheel = self.wheel.as_mut()?;
        if of_day(self.latest).since(of_day(wall)) >= SET_BACK {
            wheel.rewind(of_day(wall));
            self.latest = wall;
        }
        self.latest = self.latest.max(wall);
        wheel.expire(of_day(wall), budget)
    }

    /// How long it takes from this time of day until [`Expiry::ended`] is next worth calling.
    pub(super) fn time_left(&self, wall: UnixMillis) -> Option<Duration> {
        Some(self.wheel.as_ref()?.next_deadline()?.since(of_day(wall)))
    }
}

/// A time of day as wheels count it.
fn of_day(wall: UnixMillis) -> Time {
    Time::ZERO + Duration::from_millis(wall.0)
}

/// Resolution: a proof ends so much too late at most. Counted in 32 bits from 1970 on, it lasts until 2106.
const TICK: Duration = Duration::from_secs(1);
/// What a clock that is being slewed is never set back by at once.
const SET_BACK: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const START: UnixMillis = UnixMillis(1_700_000_000_000);

    fn later(seconds: u64) -> UnixMillis {
        UnixMillis(START.0 + 1000 * seconds)
    }

    fn all_ended(expiry: &mut Expiry, wall: UnixMillis) -> Vec<u32> {
        std::iter::from_fn(|| expiry.ended(wall, &mut 1000)).collect()
    }

    #[test]
    fn proofs_end_in_time_and_once() {
        let mut expiry = Expiry::default();
        assert_eq!((all_ended(&mut expiry, START), expiry.time_left(START)), (vec![], None));
        for (slot, seconds) in [(7, 3), (2, 5), (4, 4)] {
            expiry.set(slot, later(seconds), START);
        }
        expiry.forget(4);
        assert!(all_ended(&mut expiry, UnixMillis(later(3).0 - 1)).is_empty());
        assert!(expiry.time_left(later(2)).is_some_and(|left| left <= Duration::from_secs(1)));
        assert_eq!(all_ended(&mut expiry, later(3)), [7]);
        assert_eq!(all_ended(&mut expiry, later(9)), [2]);
        assert_eq!((all_ended(&mut expiry, later(99)), expiry.time_left(later(99))), (vec![], None));
    }

    #[test]
    fn the_time_of_day_may_be_set() {
        let mut expiry = Expiry::default();
        for (slot, seconds) in [(1, 3600), (2, 7200)] {
            expiry.set(slot, later(seconds), later(0));
        }
        assert_eq!(all_ended(&mut expiry, later(5000)), [1], "set forth, the first is over");
        assert!(all_ended(&mut expiry, later(100)).is_empty());
        expiry.set(3, later(200), later(100));
        assert_eq!(all_ended(&mut expiry, later(201)), [3], "set back, new ones end in their time");
        assert_eq!(all_ended(&mut expiry, later(7201)), [2]);
    }
}
