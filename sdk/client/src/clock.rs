//! The one place that reads clocks and draws randomness.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use protocol::{Time, UnixMillis};
use tokio::time::Instant;

/// Monotonic time since the client was made, on the runtime's clock, so that tests can turn it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

/// A moment on both clocks: the monotonic one may stand still while the device sleeps, the wall's can be set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) time: Time,
    pub(crate) wall: UnixMillis,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(self) -> Time {
        // 584 years fit.
        Time::from_nanos(self.0.elapsed().as_nanos() as u64)
    }

    pub(crate) fn moment(self) -> Moment {
        Moment { time: self.now(), wall: unix() }
    }

    /// The moment as the runtime's timer wants it; without one, a moment that does not come.
    pub(crate) fn instant(self, time: Option<Time>) -> Instant {
        let never = Duration::from_hours(24 * 365);
        self.0 + time.map_or(never, |time| time.since(Time::ZERO))
    }
}

/// Wall time, for what leaves the process.
#[expect(
    clippy::disallowed_methods,
    reason = "a shell's own clock; everything below gets the time as an argument"
)]
pub(crate) fn unix() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

pub(crate) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}
