//! How long things took.

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::tally::LegTally;

/// A distribution in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Half are at most this.
    pub p50: f64,
    /// 99 of 100.
    pub p99: f64,
    /// 999 of 1000.
    pub p999: f64,
    /// All.
    pub max: f64,
}

impl Latency {
    /// Of a leg; nothing if no answer came, however long what was never sent has waited.
    pub(crate) fn of_leg(leg: &LegTally) -> Option<Self> {
        Self::of(&leg.latency).filter(|_| leg.latency.len() > leg.unsent)
    }

    /// Of a histogram in nanoseconds; nothing if it is empty.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Option<Self> {
        let micros = |nanos: u64| nanos as f64 / 1000.0;
        let at = |quantile| micros(histogram.value_at_quantile(quantile));
        (!histogram.is_empty()).then(|| Self {
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            max: micros(histogram.max()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn lower_bounds_alone_are_no_latency() {
        let mut leg = LegTally::default();
        leg.record_unsent(Duration::from_secs(1), 3);
        assert_eq!(Latency::of_leg(&leg), None);
        leg.record_latency(Duration::from_secs(1));
        assert_eq!(Latency::of_leg(&leg).map(|latency| latency.p50 > 900_000.0), Some(true));
    }
}
