//! So many in a time, and a few at once: what a bucket lets through.
//!
//! A bucket's whole state is one moment, the one at which it will be full again. Taking one moves it on by what one is
//! worth in time; nothing has to be filled up by the way (the generic cell rate algorithm, ITU-T I.371, Annex A).

mod level;

use std::fmt;
use std::time::Duration;

use protocol::Time;

pub(crate) use self::level::nanos;
pub use self::level::{Level, Moment, Remainder};

/// Hundredths of its rates that hold for whoever is not throttled.
pub const ALL: u8 = 100;

/// How fast a bucket fills, and how much is in a full one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Nanoseconds that one is worth.
    interval: u64,
    burst: u32,
}

impl Rate {
    /// `count` in each `span`, and `burst` at once. At least one of each, and at most one a nanosecond.
    #[must_use]
    pub fn new(count: u32, span: Duration, burst: u32) -> Self {
        let span = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Self { interval: (span / u64::from(count.max(1))).max(1), burst: burst.max(1) }
    }

    /// So many times as much, of both.
    #[must_use]
    pub fn times(self, factor: u32) -> Self {
        let factor = factor.max(1);
        Self {
            interval: (self.interval / u64::from(factor)).max(1),
            burst: self.burst.saturating_mul(factor),
        }
    }

    /// How many there are at once.
    #[must_use]
    pub const fn burst(self) -> u32 {
        self.burst
    }

    /// How long an empty bucket takes to be full.
    #[must_use]
    pub const fn span(self) -> Duration {
        Duration::from_nanos(self.span_nanos())
    }

    /// The same in nanoseconds.
    pub(crate) const fn span_nanos(self) -> u64 {
        self.interval.saturating_mul(self.burst as u64)
    }

    /// How long it takes to get one more, in nanoseconds.
    pub(crate) const fn interval_nanos(self) -> u64 {
        self.interval
    }

    /// How long it takes to get `count` more.
    #[must_use]
    pub const fn time_for(self, count: u64) -> Duration {
        Duration::from_nanos(self.interval.saturating_mul(count))
    }

    /// So many hundredths of it, one at least: as much at once, and each takes longer to come.
    #[must_use]
    pub fn percent(self, percent: u8) -> Self {
        if percent == 100 {
            return self;
        }
        Self { interval: self.interval.saturating_mul(100) / u64::from(percent.max(1)), ..self }
    }

    /// How long it takes to get one more.
    #[must_use]
    pub const fn interval(self) -> Duration {
        Duration::from_nanos(self.interval)
    }

    /// Takes `count` out of a bucket that is full at `full_at`: when it is full then, or `None` if there are not so many in it.
    #[must_use]
    pub fn take(self, full_at: Time, count: u32, now: Time) -> Option<Time> {
        let then = full_at.max(now).as_nanos().saturating_add(self.interval.saturating_mul(count.into()));
        let most = now.as_nanos().saturating_add(self.interval.saturating_mul(self.burst.into()));
        (then <= most).then_some(Time::from_nanos(then))
    }

    /// Puts one back. A bucket is never more than full, as a moment that has passed is no better than the present one.
    #[must_use]
    pub fn put_back(self, full_at: Time) -> Time {
        Time::from_nanos(full_at.as_nanos().saturating_sub(self.interval))
    }
}

impl fmt::Display for Rate {
    /// As one would write it, in the largest number per unit that is not a fraction.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("s", 1_000_000_000), ("m", 60_000_000_000), ("h", 3_600_000_000_000)];
        let (unit, span) = units.into_iter().find(|(_, span)| *span >= self.interval).unwrap_or(units[2]);
        write!(f, "{}/{unit} burst {}", span / self.interval, self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    /// How many can be had one after the other.
    fn drain(rate: Rate, full_at: &mut Time, now: Time) -> u32 {
        let mut taken = 0;
        while let Some(then) = rate.take(*full_at, 1, now) {
            *full_at = then;
            taken += 1;
        }
        taken
    }

    #[test]
    fn a_full_bucket_gives_its_burst_and_then_as_much_as_time_has_put_in() {
        let rate = Rate::new(20, Duration::from_secs(1), 40);
        let mut full_at = Time::ZERO;
        let taken = [1_000, 1_000, 1_049, 1_050, 2_050].map(|millis| drain(rate, &mut full_at, at(millis)));
        assert_eq!(taken, [40, 0, 0, 1, 20]);
        assert_eq!(drain(rate, &mut full_at, at(60_000)), 40, "never more than full");
    }

    #[test]
    fn what_is_put_back_can_be_had_again_and_nothing_is_gained_by_it() {
        let rate = Rate::new(20, Duration::from_secs(1), 40);
        let mut full_at = Time::ZERO;
        drain(rate, &mut full_at, at(1_000));
        for _ in 0..3 {
            full_at = rate.put_back(full_at);
        }
        assert_eq!(drain(rate, &mut full_at, at(1_000)), 3);
        for _ in 0..100 {
            full_at = rate.put_back(full_at);
        }
        assert_eq!(drain(rate, &mut full_at, at(1_000)), 40);
    }

    #[test]
    fn several_are_taken_together_or_not_at_all() {
        let rate = Rate::new(1000, Duration::from_secs(1), 100);
        let full_at = rate.take(Time::ZERO, 60, at(5_000)).expect("there are a hundred");
        assert_eq!(rate.take(full_at, 41, at(5_000)), None);
        assert_eq!(rate.take(full_at, 40, at(5_000)), Some(at(5_100)));
        assert_eq!(rate.take(Time::ZERO, 101, at(5_000)), None, "more than ever fit");
    }

    #[test]
    fn a_percentage_is_slower_and_has_as_much_at_once() {
        let rate = Rate::new(20, Duration::from_secs(1), 40);
        assert_eq!((rate.span(), rate.time_for(3)), (Duration::from_secs(2), Duration::from_millis(150)));
        let half = rate.percent(50);
        assert_eq!((half.interval(), half.burst()), (Duration::from_millis(100), 40));
        assert_eq!(rate.percent(100), rate);
        assert_eq!(rate.percent(0), rate.percent(1));
    }

    #[test]
    fn a_multiple_has_so_many_times_as_much_of_both() {
        let rate = Rate::new(20, Duration::from_secs(1), 40).times(16);
        assert_eq!((rate.interval(), rate.burst()), (Duration::from_micros(3125), 640));
        let written = [Rate::new(20, Duration::from_secs(1), 40), Rate::new(10, Duration::from_secs(60), 20)];
        assert_eq!(written.map(|rate| rate.to_string()), ["20/s burst 40", "10/m burst 20"]);
        let least = Rate::new(0, Duration::ZERO, 0).times(0);
        assert_eq!((least.interval(), least.burst()), (Duration::from_nanos(1), 1));
    }
}
