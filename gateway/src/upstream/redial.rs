//! When an endpoint is dialled, given up, taken out of the choice and taken back.
//!
//! ```text
//!            dial            ready
//!  Waiting ───────► Dialing ───────► Up ◄──── readmit ────┐
//!     ▲  ▲              │            │ ├─── eject ───► Ejected
//!     │  └── failed, or ┘   failed   │ │                  │
//!     │       no answer in time      │ │      failed      │
//!     └──────────────────────────────┴─┴──────────────────┘
//! ```
//!
//! The pause before a dial is drawn evenly between nothing and a ceiling that doubles with each failure ("full
//! jitter"), so that the workers of all gateways do not knock at a returning backend together. The ceiling falls back
//! only when a stream has lived for a while: a backend that dies of its first request must not be dialled
//! without pause.
//!
//! An endpoint that is connected but lets request after request run into its deadline is ejected: it keeps its
//! stream and gets no new requests for a while. The caller does not eject the last one of a route
//! ([`super::route::Routes::is_last_ready`]): a bad backend is better than none.

use std::time::Duration;

use protocol::Time;

/// What all endpoints share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Time from dial to ready; over it the attempt is given up.
    pub dial_deadline: Duration,
    /// Ceiling of the first pause.
    pub pause_first: Duration,
    /// Ceiling of all pauses.
    pub pause_max: Duration,
    /// How long a stream has to live, or an endpoint to do well, for its past failures to be forgotten.
    pub settled_after: Duration,
    /// Deadlines passed in a row that eject an endpoint; zero for never.
    pub misses_max: u32,
    /// How long the first ejection lasts; each further one lasts twice as long.
    pub eject_first: Duration,
    /// How long an ejection lasts at most.
    pub eject_max: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            dial_deadline: Duration::from_secs(5),
            pause_first: Duration::from_millis(500),
            pause_max: Duration::from_secs(15),
            settled_after: Duration::from_secs(30),
            misses_max: 16,
            eject_first: Duration::from_secs(10),
            eject_max: Duration::from_secs(120),
        }
    }
}

/// What time has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Dial now.
    Dial,
    /// No stream came of the dial in time: end what there is of it. The next dial is already set.
    GiveUp,
    /// The endpoint takes requests again.
    Readmit,
}

/// One endpoint, as one worker sees it.
#[derive(Clone, Copy, Debug)]
pub struct Redial {
    state: State,
    /// Dials and streams that failed since a stream last settled.
    failures: u32,
    /// Deadlines passed since the last answer.
    misses: u32,
    /// Ejections since the endpoint last did well.
    ejections: u32,
    /// Before this the endpoint has asked not to be dialled.
    not_before: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting { until: Time },
    Dialing { until: Time },
    Up { since: Time },
    Ejected { since: Time, until: Time },
}

impl Redial {
    /// An endpoint that is to be dialled now.
    #[must_use]
    pub const fn new(now: Time) -> Self {
        let state = State::Waiting { until: now };
        Self { state, failures: 0, misses: 0, ejections: 0, not_before: now }
    }

    /// Whether the endpoint takes requests.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    /// When [`Redial::expire`] is next due.
    #[must_use]
    pub const fn deadline(&self) -> Option<Time> {
        match self.state {
            State::Waiting { until } | State::Dialing { until } | State::Ejected { until, .. } => Some(until),
            State::Up { .. } => None,
        }
    }

    /// Lets time pass. `random` is drawn evenly from all 64-bit numbers and used only for a pause.
    pub fn expire(&mut self, now: Time, random: u64, rules: &Rules) -> Option<Due> {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return None;
        }
        match self.state {
            State::Waiting { .. } => {
                self.state = State::Dialing { until: now + rules.dial_deadline };
                Some(Due::Dial)
            }
            State::Dialing { .. } => {
                self.pause(now, random, rules);
                Some(Due::GiveUp)
            }
            State::Ejected { .. } => {
                self.state = State::Up { since: now };
                Some(Due::Readmit)
            }
            State::Up { .. } => None,
        }
    }

    /// The stream can carry requests. Returns false, and changes nothing, when no dial was under way: it was given
    /// up in the meantime.
    pub fn ready(&mut self, now: Time) -> bool {
        let dialing = matches!(self.state, State::Dialing { .. });
        if dialing {
            self.state = State::Up { since: now };
            self.misses = 0;
        }
        dialing
    }

    /// The dial failed or the stream ended, for whatever reason. Sets the next dial; without effect when it is set
    /// already.
    pub fn failed(&mut self, now: Time, random: u64, rules: &Rules) {
        match self.state {
            State::Waiting { .. } => return,
            State::Dialing { .. } => {}
            State::Up { since } | State::Ejected { since, .. } => {
                if now.since(since) >= rules.settled_after {
                    self.failures = 0;
                }
            }
        }
        self.pause(now, random, rules);
    }

    /// The endpoint ends its stream and asks not to be dialled again for a while, of which an hour is heeded.
    pub fn asked_to_wait(&mut self, now: Time, time: Duration) {
        self.not_before = now + time.min(WAIT_MAX);
    }

    /// The endpoint answered a request, with whatever status.
    pub fn answered(&mut self) {
        self.misses = 0;
    }

    /// The endpoint let a request run into its deadline. Returns whether that is enough to eject it.
    #[must_use = "eject it, unless it is the last one of a route"]
    pub fn missed(&mut self, rules: &Rules) -> bool {
        self.misses = self.misses.saturating_add(1);
        self.is_up() && rules.misses_max > 0 && self.misses >= rules.misses_max
    }

    /// Takes an endpoint that is up out of the choice for a while.
    pub fn eject(&mut self, now: Time, rules: &Rules) {
        let State::Up { since } = self.state else { return };
        // Time in the choice and without an ejection is what wins an endpoint its good name back.
        if now.since(since) >= rules.settled_after {
            self.ejections = 0;
        }
        let lasts = doubled(rules.eject_first, self.ejections).min(rules.eject_max);
        self.ejections = self.ejections.saturating_add(1);
        self.misses = 0;
        self.state = State::Ejected { since, until: now + lasts };
    }

    fn pause(&mut self, now: Time, random: u64, rules: &Rules) {
        let ceiling = doubled(rules.pause_first, self.failures).min(rules.pause_max);
        self.failures = self.failures.saturating_add(1);
        self.misses = 0;
        // An endpoint tells all workers of all gateways the same time: they are not to come together then.
        let asked = self.not_before.since(now);
        let asked = if asked.is_zero() { asked } else { asked + drawn(rules.pause_first, random) };
        self.state = State::Waiting { until: now + drawn(ceiling, random).max(asked) };
    }
}

/// The longest time an endpoint may ask to be left alone: one that asks for more has made a mistake.
const WAIT_MAX: Duration = Duration::from_secs(3600);

/// `first` × 2^`times`, or the longest duration there is.
fn doubled(first: Duration, times: u32) -> Duration {
    first.saturating_mul(1u32.checked_shl(times).unwrap_or(u32::MAX))
}

/// A duration between nothing and `ceiling`, both included.
fn drawn(ceiling: Duration, random: u64) -> Duration {
    let nanos = u64::try_from(ceiling.as_nanos()).unwrap_or(u64::MAX);
    let drawn = (u128::from(random) * (u128::from(nanos) + 1)) >> 64;
    Duration::from_nanos(drawn as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RULES: Rules = Rules {
        dial_deadline: Duration::from_secs(5),
        pause_first: Duration::from_secs(1),
        pause_max: Duration::from_secs(20),
        settled_after: Duration::from_secs(30),
        misses_max: 3,
        eject_first: Duration::from_secs(10),
        eject_max: Duration::from_secs(25),
    };
    /// Draws the ceiling itself.
    const MOST: u64 = u64::MAX;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    fn up(now: Time) -> Redial {
        let mut redial = Redial::new(now);
        assert_eq!(redial.expire(now, 0, &RULES), Some(Due::Dial));
        assert!(redial.ready(now));
        redial
    }

    #[test]
    fn the_first_dial_is_at_once_and_each_failure_doubles_the_pause_up_to_its_ceiling() {
        let mut redial = Redial::new(at(100));
        let mut now = at(100);
        let mut pauses = Vec::new();
        for _ in 0..7 {
            assert_eq!(redial.expire(now, MOST, &RULES), Some(Due::Dial));
            assert!(!redial.is_up());
            redial.failed(now, MOST, &RULES);
            let next = redial.deadline().expect("a dial is set");
            assert_eq!(redial.expire(next - Duration::from_nanos(1), MOST, &RULES), None);
            pauses.push(next.since(now).as_secs());
            now = next;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 20, 20]);
    }

    #[test]
    fn a_dial_without_an_answer_is_given_up_once() {
        let mut redial = Redial::new(at(0));
        assert_eq!(redial.expire(at(0), 0, &RULES), Some(Due::Dial));
        assert_eq!(redial.deadline(), Some(at(5)));
        assert_eq!(redial.expire(at(5), MOST, &RULES), Some(Due::GiveUp));
        assert_eq!(redial.deadline(), Some(at(6)));
        assert!(!redial.ready(at(5)), "too late");
        redial.failed(at(5), MOST, &RULES);
        assert_eq!(redial.deadline(), Some(at(6)), "the end of its socket changes nothing");
    }

    #[test]
    fn only_a_stream_that_lived_resets_the_pause() {
        let mut redial = up(at(0));
        redial.failed(at(1), MOST, &RULES);
        assert_eq!(redial.deadline(), Some(at(2)));
        redial.expire(at(2), 0, &RULES);
        assert!(redial.ready(at(2)));
        redial.failed(at(3), MOST, &RULES);
        assert_eq!(redial.deadline(), Some(at(5)), "it dies young: the pause doubles");
        redial.expire(at(5), 0, &RULES);
        assert!(redial.ready(at(5)));
        redial.failed(at(35), MOST, &RULES);
        assert_eq!(redial.deadline(), Some(at(36)));
    }

    #[test]
    fn an_endpoint_is_left_alone_for_as_long_as_it_asks_and_no_longer_than_an_hour() {
        for (asked, random, pause) in [(4, 0, 4), (4, MOST, 5), (0, MOST, 1), (100_000, 0, 3600)] {
            let mut redial = up(at(0));
            redial.asked_to_wait(at(40), Duration::from_secs(asked));
            redial.failed(at(40), random, &RULES);
            assert_eq!(redial.deadline(), Some(at(40 + pause)), "asked for {asked} s");
            redial.expire(at(40 + pause), 0, &RULES);
            redial.failed(at(40 + pause), MOST, &RULES);
            let doubled = at(40 + pause + 2);
            assert_eq!(redial.deadline(), Some(doubled), "once: after that it is as with all others");
        }
    }

    #[test]
    fn misses_in_a_row_eject_and_an_answer_breaks_the_row() {
        let mut redial = up(at(0));
        assert!(!redial.missed(&RULES) && !redial.missed(&RULES));
        redial.answered();
        assert!(!redial.missed(&RULES) && !redial.missed(&RULES));
        assert!(redial.missed(&RULES));
        redial.eject(at(1), &RULES);
        assert!(!redial.is_up());
        assert!(!redial.missed(&RULES), "what it still held does not count twice");
        assert_eq!(redial.expire(at(10), 0, &RULES), None);
        assert_eq!(redial.expire(at(11), 0, &RULES), Some(Due::Readmit));
        assert!(redial.is_up());
    }

    #[test]
    fn ejections_last_longer_until_the_endpoint_does_well() {
        let mut redial = up(at(0));
        let mut now = at(0);
        let mut lasted = Vec::new();
        for well in [0, 1, 1, 1, 30] {
            now = now + Duration::from_secs(well);
            redial.eject(now, &RULES);
            let until = redial.deadline().expect("it ends");
            lasted.push(until.since(now).as_secs());
            now = until;
            assert_eq!(redial.expire(now, 0, &RULES), Some(Due::Readmit));
        }
        assert_eq!(lasted, [10, 20, 25, 25, 10]);
    }

    #[test]
    fn zero_never_ejects() {
        let rules = Rules { misses_max: 0, ..RULES };
        let mut redial = up(at(0));
        assert!((0..1000).all(|_| !redial.missed(&rules)));
    }

    #[test]
    fn an_ejected_endpoint_can_fail_too() {
        let mut redial = up(at(0));
        redial.eject(at(1), &RULES);
        redial.failed(at(2), MOST, &RULES);
        assert_eq!(redial.deadline(), Some(at(3)));
        assert_eq!(redial.expire(at(3), 0, &RULES), Some(Due::Dial));
    }

    proptest! {
        #[test]
        fn a_drawn_pause_keeps_its_place_between_nothing_and_the_ceiling(random: u64, nanos: u64) {
            let pause = drawn(Duration::from_nanos(nanos), random).as_nanos() as f64;
            let expected = nanos as f64 * (random as f64 / u64::MAX as f64);
            prop_assert!(pause <= nanos as f64);
            prop_assert!((pause - expected).abs() <= 1.0 + nanos as f64 * 1e-9);
        }

        /// However often an endpoint fails, it is dialled again within the longest pause.
        #[test]
        fn it_is_always_dialled_again(failures: u32, random: u64) {
            let mut redial = Redial { failures, ..up(at(0)) };
            redial.failed(at(1), random, &RULES);
            let next = redial.deadline().expect("a dial is set");
            prop_assert!(next >= at(1) && next <= at(1) + RULES.pause_max);
            prop_assert_eq!(redial.expire(next, random, &RULES), Some(Due::Dial));
        }
    }
}
