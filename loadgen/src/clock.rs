//! The clock of the shell: the one place where time is read. Everything else gets it as an argument.

use std::time::Instant;

use protocol::Time;

/// Nanoseconds since the run began; all threads share the origin.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that stands at zero now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the clock's home")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Time {
        Time::ZERO + self.0.elapsed()
    }
}
