//! Buckets of four bytes, for what there are a hundred thousand of.
//!
//! Like a bucket of eight bytes it is the moment at which it will be full again: in sixteenths of a millisecond, of which only
//! the low 32 bits are kept. Half of what they hold is 37 hours; whoever keeps one longer than that without
//! [settling](Level::settle) it would take an old moment for one to come.

use std::time::Duration;

use protocol::Time;

/// How full a bucket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level(u32);

/// Nanoseconds of one step of a level.
const STEP: u64 = 62_500;

/// The most that a level can miss: 18 hours.
const STEPS_MAX: u64 = 1 << 30;

/// Nanoseconds in 64 bits, which hold 584 years: 128 bits take a division as long as all the rest.
pub(crate) const fn nanos(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1_000_000_000).saturating_add(time.subsec_nanos() as u64)
}

/// A moment in steps, without its high bits: worked out once for all levels that are looked at then.
#[derive(Clone, Copy, Debug)]
pub struct Moment(u32);

impl From<Time> for Moment {
    fn from(time: Time) -> Self {
        Self((time.as_nanos() / STEP) as u32)
    }
}

/// What was taken out of levels and is less than a step: it is taken from whoever comes next, so that in sum nothing is lost,
/// however little is taken at a time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Remainder(u64);

impl Level {
    /// Of a full bucket.
    #[must_use]
    pub const fn full(now: Moment) -> Self {
        Self(now.0)
    }

    /// Of one that will be full after so many nanoseconds.
    #[must_use]
    pub fn full_after(nanos: u64, now: Moment) -> Self {
        Self(now.0.wrapping_add((nanos / STEP).min(STEPS_MAX) as u32))
    }

    /// How long it takes until it is full, in nanoseconds.
    #[must_use]
    pub fn missing(self, now: Moment) -> u64 {
        self.steps_missing(now) * STEP
    }

    fn steps_missing(self, now: Moment) -> u64 {
        let ahead = self.0.wrapping_sub(now.0) as i32;
        u64::try_from(ahead).unwrap_or(0)
    }

    /// Takes as much as comes within `cost`; not more than what comes within `most` is ever missing. Both are nanoseconds.
    pub fn take(&mut self, cost: u64, most: u64, remainder: &mut Remainder, now: Moment) {
        let cost = cost.saturating_add(remainder.0);
        remainder.0 = cost % STEP;
        let missing = (self.steps_missing(now) + cost / STEP).min(most / STEP).min(STEPS_MAX);
        self.0 = now.0.wrapping_add(missing as u32);
    }

    /// A full one stays full, however long it is looked at no more.
    pub fn settle(&mut self, now: Moment) {
        if self.steps_missing(now) == 0 {
            *self = Self::full(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: u64 = 1_000_000;
    const MOST: u64 = 10_000 * MILLI;

    fn at(millis: u64) -> Moment {
        Time::from_nanos(millis * MILLI).into()
    }

    #[test]
    fn what_is_taken_comes_back_with_time() {
        let mut level = Level::full(at(500));
        level.take(20 * MILLI, MOST, &mut Remainder::default(), at(500));
        let missing = [500, 515, 520, 9000].map(|now| level.missing(at(now)) / MILLI);
        assert_eq!(missing, [20, 5, 0, 0]);
        level.take(20 * MILLI, MOST, &mut Remainder::default(), at(600));
        assert_eq!(level.missing(at(600)), 20 * MILLI, "a full one is not more than full");
        level.take(60 * MOST, MOST, &mut Remainder::default(), at(600));
        assert_eq!(level.missing(at(600)), MOST);
        assert_eq!(Level::full_after(MOST, at(600)), level);
    }

    #[test]
    fn small_change_is_not_lost_but_taken_from_who_comes_next() {
        let mut levels = [Level::full(at(0)), Level::full(at(0))];
        let mut remainder = Remainder::default();
        for turn in 0..10_000 {
            levels[turn % 2].take(3814, MOST, &mut remainder, at(0));
        }
        let missing: u64 = levels.iter().map(|level| level.missing(at(0))).sum();
        let taken = 10_000 * 3814;
        assert!(missing <= taken && taken - missing < STEP, "{missing} of {taken} ns");
    }

    #[test]
    fn the_moment_may_wrap_around() {
        let wrap = (1 << 32) / 16;
        let mut level = Level::full(at(wrap - 5));
        level.take(20 * MILLI, MOST, &mut Remainder::default(), at(wrap - 5));
        assert_eq!(level.missing(at(wrap + 5)), 10 * MILLI);
        let mut settled = Level::full(at(0));
        for hours in 0..200_u64 {
            settled.settle(at(hours * 3_600_000));
            assert_eq!(settled.missing(at(hours * 3_600_000)), 0, "after {hours} h");
        }
    }

    #[test]
    fn a_time_in_nanoseconds_is_not_more_than_there_can_be() {
        assert_eq!(nanos(Duration::new(3, 7)), 3_000_000_007);
        assert_eq!(nanos(Duration::MAX), u64::MAX);
    }
}
