//! The one place that reads a clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use protocol::Time;

/// Monotonic time since the server was built.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    #[expect(
        clippy::disallowed_methods,
        reason = "a shell's own clock; everything below gets the time as an argument"
    )]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(self) -> Time {
        // 584 years fit.
        Time::from_nanos(self.0.elapsed().as_nanos() as u64)
    }

    /// The moment as the runtime's timer wants it.
    pub(crate) fn instant(self, time: Time) -> tokio::time::Instant {
        (self.0 + time.since(Time::ZERO)).into()
    }
}

/// Unix time in nanoseconds, for what is compared with another process's; zero before 1970, and good until 2554.
#[expect(clippy::disallowed_methods, reason = "a shell's own clock; nothing is decided by it")]
pub(crate) fn unix_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
