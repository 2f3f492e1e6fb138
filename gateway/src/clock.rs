//! The only place where a clock is read. Everything below takes the time as an argument.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use protocol::{Time, UnixMillis};

/// The process's clock. Copies count from the same origin, so times of different workers can be compared.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// Starts a clock at an hour past [`Time::ZERO`], so that "a while ago" is never before the origin.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the home of clock reads")]
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// Now, on the monotonic clock. Never goes back.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the home of clock reads")]
    pub fn now(&self) -> Time {
        Time::ZERO + HEAD_START + Instant::now().duration_since(self.origin)
    }

    /// Now, on the wall clock. May jump when the machine's time is set.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the home of clock reads")]
    pub fn unix(&self) -> UnixMillis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

const HEAD_START: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_share_an_origin_and_time_never_goes_back() {
        let clock = Clock::start();
        let copy = clock;
        let first = clock.now();
        let second = copy.now();
        assert!(first >= Time::ZERO + HEAD_START && second >= first);
        assert!(clock.unix() > UnixMillis(1_600_000_000_000));
    }
}
