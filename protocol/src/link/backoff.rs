//! When to connect again: full jitter between a floor and a ceiling that doubles, never earlier than asked.

use std::time::Duration;

/// The policy of all our clients. The random number comes in, so that a seed replays it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Ceiling of the first attempt.
    pub first: Duration,
    /// Ceiling of all attempts.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(500), max: Duration::from_secs(60) }
    }
}

impl Backoff {
    /// The pause before attempt number `attempt` (from 0), given what the gateway asked for and 64 random bits:
    /// uniform between zero and the ceiling, on top of the gateway's `retry_after`.
    #[must_use]
    pub fn pause(&self, attempt: u32, retry_after: Duration, random: u64) -> Duration {
        let ceiling = self.first.saturating_mul(1 << attempt.min(20)).min(self.max);
        let nanos = u64::try_from(ceiling.as_nanos()).unwrap_or(u64::MAX);
        let jitter = (u128::from(nanos) * u128::from(random)) >> 64;
        retry_after + Duration::from_nanos(jitter as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_between_the_gateways_wish_and_the_ceiling() {
        let backoff = Backoff::default();
        let asked = Duration::from_secs(3);
        for attempt in 0..40 {
            assert_eq!(backoff.pause(attempt, asked, 0), asked);
            let longest = backoff.pause(attempt, Duration::ZERO, u64::MAX);
            assert!(longest <= backoff.max && longest + Duration::from_nanos(1) >= backoff.first);
        }
        assert!(backoff.pause(3, Duration::ZERO, u64::MAX / 2) < Duration::from_secs(2));
    }
}
