//! How a stopping server leaves a stream.
//!
//! ```text
//!   stop ──► nothing under way ──► no request for QUIET ──► Close
//!                 └── requests never cease: REFUSING_MAX ──► Close
//!   └────────────── deadline, whatever is under way ───────► Close
//! ```
//!
//! A gateway learns only from `Close` that it must ask elsewhere, and every request that crosses the `Close` is
//! unknown to its client. One that arrives before is refused, which the client may repeat at once: so requests that
//! are on their way are waited for, but not for long, as new ones come until then.

use std::time::Duration;

use protocol::Time;

/// How long no request may come before the stream is closed.
const QUIET: Duration = Duration::from_millis(100);
/// How long requests are refused after the last answer, when they never cease.
const REFUSING_MAX: Duration = Duration::from_secs(1);

/// A stream from its server's stop to its `Close`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drain {
    /// When it is closed whatever is under way.
    deadline: Time,
    /// Since when nothing is under way.
    idle: Option<Time>,
    /// When the last request came, or the stop.
    asked: Time,
}

impl Drain {
    pub(crate) fn new(now: Time, longest: Duration) -> Self {
        Self { deadline: now + longest, idle: None, asked: now }
    }

    /// A request came.
    pub(crate) fn asked(&mut self, now: Time) {
        self.asked = now;
    }

    /// Something is still under way, or nothing.
    pub(crate) fn note(&mut self, idle: bool, now: Time) {
        self.idle = if idle { self.idle.or(Some(now)) } else { None };
    }

    /// Whether there is no more time for what is under way.
    pub(crate) fn is_out_of_time(&self, now: Time) -> bool {
        now >= self.deadline
    }

    /// When the stream is closed unless something changes.
    pub(crate) fn closes_at(&self) -> Time {
        let Some(idle) = self.idle else { return self.deadline };
        (self.asked.max(idle) + QUIET).min(idle + REFUSING_MAX).min(self.deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Time = Time::from_nanos(1_000_000_000);
    const LONGEST: Duration = Duration::from_secs(10);

    #[test]
    fn what_is_under_way_has_all_the_time_there_is() {
        let mut drain = Drain::new(START, LONGEST);
        drain.asked(START + LONGEST / 2);
        assert_eq!(drain.closes_at(), START + LONGEST);
        assert!(!drain.is_out_of_time(START + LONGEST / 2) && drain.is_out_of_time(START + LONGEST));
    }

    #[test]
    fn an_idle_stream_is_closed_when_it_is_quiet() {
        let mut drain = Drain::new(START, LONGEST);
        let idle = START + LONGEST / 2;
        drain.note(true, idle);
        assert_eq!(drain.closes_at(), idle + QUIET, "whatever came before the last answer");
        drain.asked(idle + QUIET / 2);
        assert_eq!(drain.closes_at(), idle + QUIET / 2 + QUIET);
        drain.note(false, idle + QUIET);
        assert_eq!(drain.closes_at(), START + LONGEST, "something is under way again");
    }

    #[test]
    fn requests_that_never_cease_hold_up_nothing() {
        let mut drain = Drain::new(START, LONGEST);
        drain.note(true, START);
        drain.asked(START + REFUSING_MAX);
        drain.note(true, START + REFUSING_MAX);
        assert_eq!(drain.closes_at(), START + REFUSING_MAX);
        let mut late = Drain::new(START, LONGEST);
        late.note(true, START + LONGEST);
        assert_eq!(late.closes_at(), START + LONGEST);
    }
}
