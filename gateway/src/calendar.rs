//! Days and times as people write them, in UTC (RFC 3339), and moments as programs count them.

use std::fmt;
use std::str::FromStr;

use protocol::UnixMillis;
use toml::value::{Datetime, Offset};

/// A time of a day in UTC, such as `2027-03-01T18:00:00Z`. Read from a day alone, it is the day's beginning; parts of a
/// second are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day(pub UnixMillis);

/// What was read is no day, or one before 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoDay;

impl FromStr for Day {
    type Err = NoDay;

    fn from_str(text: &str) -> Result<Self, NoDay> {
        let Ok(Datetime { date: Some(date), time, offset }) = text.parse() else { return Err(NoDay) };
        let seconds = match (time, offset) {
            (None, None) => 0,
            (Some(time), Some(Offset::Z | Offset::Custom { minutes: 0 })) => {
                3600 * u64::from(time.hour)
                    + 60 * u64::from(time.minute)
                    + u64::from(time.second.unwrap_or(0))
            }
            _ => return Err(NoDay),
        };
        let days = days_since_1970(date.year.into(), date.month.into(), date.day.into()).ok_or(NoDay)?;
        Ok(Self(UnixMillis((days * DAY + seconds) * 1000)))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.0 / 1000;
        let (year, month, day) = day_of(seconds / DAY);
        let (hour, minute, second) = (seconds % DAY / 3600, seconds % 3600 / 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// Days from the first of January 1970 to this day of the Gregorian calendar; `None` before.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    // Years that begin in March have their leap day at the end, and their months 153 days in five.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    (365 * year + leap_days + (153 * month + 2) / 5 + day - 1).checked_sub(DAYS_TO_1970)
}

/// The day of the Gregorian calendar so many days after the first of January 1970.
fn day_of(days: u64) -> (u64, u64, u64) {
    let days = days + DAYS_TO_1970;
    let (cycle, days) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    // The leap days before it are taken out: each fourth year's, but not each hundredth's, but the last one's.
    let year = (days - days / 1460 + days / 36_524 - days / (DAYS_OF_400_YEARS - 1)) / 365;
    let day = days - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    (400 * cycle + year, month, day)
}

/// Seconds.
const DAY: u64 = 86_400;
const DAYS_OF_400_YEARS: u64 = 146_097;
/// From the first of March of the year 0.
const DAYS_TO_1970: u64 = 719_468;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_over_leap_years_and_centuries() {
        for (day, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T00:00:00Z", 951_782_400),
            ("2026-01-01T00:00:00Z", 1_767_225_600),
            ("2028-12-31T23:59:59Z", 1_861_919_999),
            ("2100-02-28T12:00:00Z", 4_107_499_200),
            ("2100-03-01T00:00:01Z", 4_107_542_401),
        ] {
            assert_eq!(day.parse(), Ok(Day(UnixMillis(seconds * 1000))), "{day}");
            assert_eq!(Day(UnixMillis(seconds * 1000 + 999)).to_string(), day);
        }
        assert_eq!("2026-01-01".parse(), Ok(Day(UnixMillis(1_767_225_600_000))));
        assert_eq!("2026-01-01T00:00:00+00:00".parse(), Ok(Day(UnixMillis(1_767_225_600_000))));
    }

    #[test]
    fn what_is_no_day_or_of_another_zone_is_refused() {
        for no in [
            "",
            "tomorrow",
            "2026-02-30",
            "12:00:00",
            "1969-12-31",
            "2026-01-01T12:00:00",
            "2026-01-01T12:00:00+02:00",
        ] {
            assert_eq!(no.parse::<Day>(), Err(NoDay), "{no}");
        }
    }

    #[test]
    fn each_day_of_eight_hundred_years_comes_back() {
        for days in 0..2 * DAYS_OF_400_YEARS {
            let (year, month, day) = day_of(days);
            assert_eq!(days_since_1970(year, month, day), Some(days), "{year}-{month}-{day}");
        }
    }
}
