//! What a storm gave: how everybody who was cut came back.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::pushes;
use crate::pushes::Outcomes;
use crate::tally::{PushTally, StormTally};

/// What was asked for, and what became of the attempts.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Course {
    /// How all links were cut.
    pub cut: &'static str,
    /// They came back by a full handshake and the token.
    pub full: bool,
    /// How many of them came at once, at most.
    pub open_at_once: u32,
    /// Links that were cut.
    pub links: u64,
    /// Milliseconds from the cut until the new gateway was ready, where it was killed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_ms: Option<f64>,
    /// Connects that were begun.
    pub attempts: u64,
    /// Why attempts failed, and how often. Their links came again.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub failed_attempts: BTreeMap<String, u64>,
    /// Requests that were under way when their link was cut.
    pub requests_cut: u64,
    /// How many links were back at which time.
    pub curve: Vec<Point>,
}

/// A moment of a recovery.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Milliseconds since the cut.
    pub ms: f64,
    /// Links that were back by then.
    pub back: u64,
}

/// Milliseconds from the cut to a link's welcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Recovery {
    /// Half of those that came back took at most this.
    pub p50: f64,
    /// 99 of 100.
    pub p99: f64,
    /// The last one.
    pub all: f64,
}

/// What opening the links cost before, in the same run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Opening {
    /// Microseconds of the gateway's CPU per link: a full handshake and a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_us_per_link: Option<f64>,
}

/// What became of pushes that are delivered at least once.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Pushes {
    /// As in every run with pushes.
    #[serde(flatten)]
    pub all: pushes::Pushes,
    /// They were handed to the gateway and did not come, on the next link either. Also those of which the service could not say
    /// it since the link was cut.
    pub lost: u64,
}

/// All of that.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Storm {
    /// What happened.
    pub storm: Course,
    /// How long it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery_ms: Option<Recovery>,
    /// The first opening.
    pub connect: Opening,
    /// The pushes, if some were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pushes: Option<Pushes>,
}

/// Lines of a curve.
const POINTS: u32 = 10;

impl Course {
    pub(crate) fn count(&mut self, tally: &StormTally) {
        self.attempts = tally.attempts;
        self.failed_attempts.clone_from(&tally.failures);
        self.curve = curve(&tally.recovery);
    }
}

impl Pushes {
    /// What readers counted, and what the service says, which is of the pushes since it was started.
    pub(crate) fn of(read: &PushTally, told: Option<&Outcomes>) -> Self {
        let all = pushes::Pushes::of(read, told);
        let unreceived = told.map_or(0, |_| all.sent.saturating_sub(all.received));
        Self { lost: read.lost.max(unreceived), all }
    }
}

impl Recovery {
    /// Of a histogram in nanoseconds; nothing if nobody came back.
    #[must_use]
    pub fn of(recovery: &Histogram<u64>) -> Option<Self> {
        let at = |quantile| millis(recovery.value_at_quantile(quantile));
        (!recovery.is_empty()).then(|| Self { p50: at(0.5), p99: at(0.99), all: millis(recovery.max()) })
    }
}

/// The recovery in so many steps of the same length.
fn curve(recovery: &Histogram<u64>) -> Vec<Point> {
    let whole = recovery.max();
    let at = |step: u32| {
        let nanos = whole / u64::from(POINTS) * u64::from(step);
        let nanos = if step == POINTS { whole } else { nanos };
        Point { ms: millis(nanos), back: recovery.count_between(0, nanos) }
    };
    if recovery.is_empty() { Vec::new() } else { (1..=POINTS).map(at).collect() }
}

fn millis(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_curve_ends_with_the_last_one_who_came_back() {
        let mut tally = StormTally::default();
        assert_eq!((curve(&tally.recovery), Recovery::of(&tally.recovery)), (Vec::new(), None));
        (1..=1000).for_each(|ms| tally.record(Duration::from_millis(ms)));
        let points = curve(&tally.recovery);
        assert_eq!(points.len(), POINTS as usize);
        for (step, point) in (1..).zip(&points) {
            assert!((point.ms - 100.0 * f64::from(step)).abs() < 1.0, "{point:?}");
            assert!(point.back.abs_diff(100 * u64::from(step as u32)) <= 2, "{point:?}");
        }
        assert_eq!(points[9].back, 1000, "everybody");
        let recovery = Recovery::of(&tally.recovery).unwrap();
        assert!((recovery.p50 - 500.0).abs() < 2.0 && (recovery.p99 - 990.0).abs() < 2.0);
        assert!((recovery.all - 1000.0).abs() < 2.0, "{recovery:?}");
    }

    #[test]
    fn lost_is_what_either_book_misses() {
        let read = PushTally { asked: 9, received: [0, 6], lost: 1, ..PushTally::default() };
        let told = |sent| Outcomes { sent: [0, sent], delivered: sent, ..Outcomes::default() };
        let lost = |told: Option<Outcomes>| Pushes::of(&read, told.as_ref()).lost;
        assert_eq!(lost(Some(told(9))), 3, "two of them have no answer");
        assert_eq!(lost(Some(told(2))), 1, "it was started anew meanwhile");
        assert_eq!(lost(None), 1);
    }
}
