//! How many requests a client may send again: a tenth of those that it sends at all, so that clients do not multiply what a
//! gateway or a service in trouble has to bear.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use protocol::Time;

/// The retries that a client may still make.
#[derive(Debug)]
pub(crate) struct Budget(Mutex<Purse>);

#[derive(Debug)]
struct Purse {
    tenths: u32,
    /// When it was last filled up to [`LEAST`].
    filled: Time,
}

/// Tenths of a retry that there are after a while in any case.
const LEAST: u32 = 30;
/// Tenths of a retry that are saved up at most.
const MOST: u32 = 1000;
/// As long as there are fewer than [`LEAST`], one retry more comes in this time.
const REFILL: Duration = Duration::from_secs(1);

impl Budget {
    /// With three retries.
    pub(crate) const fn new(now: Time) -> Self {
        Self(Mutex::new(Purse { tenths: LEAST, filled: now }))
    }

    /// A request is sent for the first time.
    pub(crate) fn earn(&self) {
        self.with(|purse| purse.tenths = (purse.tenths + 1).min(MOST));
    }

    /// Takes a retry out of it.
    ///
    /// # Errors
    /// How long it takes until there is one.
    pub(crate) fn spend(&self, now: Time) -> Result<(), Duration> {
        self.with(|purse| {
            purse.fill(now);
            match purse.tenths.checked_sub(10) {
                Some(rest) => {
                    purse.tenths = rest;
                    Ok(())
                }
                None => Err(REFILL.saturating_sub(now.since(purse.filled))),
            }
        })
    }

    fn with<R>(&self, change: impl FnOnce(&mut Purse) -> R) -> R {
        // Every change is whole, whoever panics.
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Purse {
    fn fill(&mut self, now: Time) {
        let times = now.since(self.filled).as_nanos() / REFILL.as_nanos();
        let times = u32::try_from(times).unwrap_or(u32::MAX);
        if times > 0 {
            self.tenths = self.tenths.max(LEAST.min(self.tenths.saturating_add(times.saturating_mul(10))));
            self.filled = self.filled + REFILL.saturating_mul(times);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::ZERO + Duration::from_millis(millis)
    }

    fn spent(budget: &Budget, now: Time) -> u32 {
        (0..1000).take_while(|_| budget.spend(now).is_ok()).count() as u32
    }

    #[test]
    fn there_are_three_retries_and_one_more_each_second_up_to_three() {
        let budget = Budget::new(Time::ZERO);
        assert_eq!(spent(&budget, at(400)), 3);
        assert_eq!(budget.spend(at(400)), Err(Duration::from_millis(600)));
        assert_eq!([999, 1000, 1999, 2000].map(|now| spent(&budget, at(now))), [0, 1, 0, 1]);
        assert_eq!(spent(&budget, at(3_600_000)), 3);
    }

    #[test]
    fn each_tenth_request_earns_one_and_a_hundred_are_saved_up() {
        let budget = Budget::new(Time::ZERO);
        assert_eq!(spent(&budget, at(0)), 3);
        (0..25).for_each(|_| budget.earn());
        assert_eq!(spent(&budget, at(0)), 2);
        (0..5).for_each(|_| budget.earn());
        assert_eq!(spent(&budget, at(0)), 1, "halves are kept");
        (0..100_000).for_each(|_| budget.earn());
        assert_eq!(spent(&budget, at(60_000)), 100);
    }
}
