//! Time as a value that comes in. There is no `now()` here, so nothing in this crate can read a clock.

use std::ops::{Add, Sub};
use std::time::Duration;

/// A moment on a monotonic clock: nanoseconds since an origin the caller chose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The origin.
    pub const ZERO: Self = Self(0);

    /// A moment this many nanoseconds after the origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the origin.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since the origin.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    /// Saturates at the end of time (584 years after the origin).
    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(later.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Time {
    type Output = Self;

    /// Saturates at the origin.
    fn sub(self, earlier: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(earlier.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// A moment on the wall clock: milliseconds since the Unix epoch. Only what leaves the process or comes from
/// outside is wall time (tokens, tickets, reports); everything that waits uses [`Time`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_counted_from_the_origin_and_end_nowhere_else() {
        let moment = Time::ZERO + Duration::from_micros(2_999_999);
        assert_eq!((moment.as_nanos(), moment.as_millis()), (2_999_999_000, 2_999));
        assert_eq!(Time::from_nanos(moment.as_nanos()), moment);
        assert_eq!(moment.since(Time::ZERO + Duration::from_secs(1)), Duration::from_micros(1_999_999));
        assert_eq!(Time::ZERO.since(moment), Duration::ZERO);
        assert_eq!(moment - Duration::from_secs(3), Time::ZERO);
        assert_eq!(moment + Duration::MAX, Time::from_nanos(u64::MAX));
    }
}
