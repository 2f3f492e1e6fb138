//! Durations as they are written on the command line.

use std::time::Duration;

/// A duration with its unit: `250ms`, `30s`, `5m`, `1h`.
///
/// # Errors
/// One line that says what a duration looks like.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(format!("{text:?} needs a unit: 250ms, 30s, 5m, 1h")),
    };
    let number: u64 = number.parse().map_err(|_| format!("{text:?} needs a number before its unit"))?;
    number
        .checked_mul(unit_ms)
        .map(Duration::from_millis)
        .filter(|&duration| duration <= DURATION_MAX)
        .ok_or_else(|| format!("{text:?} is longer than a run may be (24h)"))
}

/// A duration that is not zero.
///
/// # Errors
/// One line that says what is wrong with it.
pub(super) fn parse_some_duration(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text)?;
    if duration.is_zero() { Err("must be longer than nothing".to_owned()) } else { Ok(duration) }
}

/// No run lasts longer.
const DURATION_MAX: Duration = Duration::from_hours(24);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_carry_their_unit() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("5m"), Ok(Duration::from_mins(5)));
        for wrong in ["", "5", "m", "-1s", "5 s", "25h", "99999999999999999999s"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            (parse_duration("0s"), parse_some_duration("1ms")),
            (Ok(Duration::ZERO), parse_duration("1ms"))
        );
        assert!(parse_some_duration("0s").is_err() && parse_some_duration("x").is_err());
    }
}
