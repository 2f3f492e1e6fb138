//! Figures in the units a person would take.

use std::fmt;
use std::time::Duration;

/// A time given in microseconds, in the unit a person would take: three digits that count are enough.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Micros(pub(crate) f64);

impl From<Duration> for Micros {
    fn from(duration: Duration) -> Self {
        Self(duration.as_secs_f64() * 1e6)
    }
}

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The bounds are those at which rounding would make four digits of it.
        let (value, unit) = match self.0 {
            micros if micros < 999.5 => (micros, "µs"),
            micros if micros < 999_500.0 => (micros / 1e3, "ms"),
            micros => (micros / 1e6, "s"),
        };
        let decimals = match value {
            value if value < 9.995 && unit != "µs" => 2,
            value if value < 99.95 => 1,
            _ => 0,
        };
        write!(f, "{value:.decimals$} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_the_unit_a_person_would_take() {
        for (micros, told) in [
            (0.0, "0.0 µs"),
            (44.26, "44.3 µs"),
            (812.4, "812 µs"),
            (999.6, "1.00 ms"),
            (9_429.0, "9.43 ms"),
            (12_345.0, "12.3 ms"),
            (999_499.0, "999 ms"),
            (999_500.0, "1.00 s"),
            (2_512_345.0, "2.51 s"),
            (120_000_000.0, "120 s"),
        ] {
            assert_eq!(Micros(micros).to_string(), told, "{micros}");
        }
        assert_eq!(Micros::from(Duration::from_millis(2512)).to_string(), "2.51 s");
    }
}
