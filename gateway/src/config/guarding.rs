//! How limits on newcomers are written: rates, and which guards are on trial.

use std::time::Duration;

use toml::de::DeValue;

use super::problem::nearest;
use super::value::{Kind, described, text};
use crate::counters::guard::{Guard, Guards};
use crate::rate::Rate;

/// So many in a time, and a few at once.
pub(super) struct RateOf;

const HOUR: Duration = Duration::from_secs(3600);
const UNITS: [(&str, Duration); 3] =
    [("s", Duration::from_secs(1)), ("m", Duration::from_secs(60)), ("h", HOUR)];
const COUNT_MAX: u32 = 1_000_000;

impl Kind for RateOf {
    type Out = Rate;
    const WRITTEN: &'static str =
        "a rate such as \"20/s burst 40\" or \"10/m\" (units s, m, h; at most 1000000 each)";
    const UNIT: &'static str = "per hour";

    fn read(value: &DeValue<'_>) -> Result<Rate, String> {
        rate(text(value)?, count)
    }

    fn measure(rate: &Rate) -> Option<u64> {
        u64::try_from(HOUR.as_nanos() / rate.interval().as_nanos()).ok()
    }
}

/// So many bytes in a time, and a few at once.
pub(super) struct BytesOf;

const SIZES: [(&str, u32); 3] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("B", 1)];
const BYTES_MAX: u32 = 1 << 30;

impl Kind for BytesOf {
    type Out = Rate;
    const WRITTEN: &'static str =
        "a rate such as \"256KiB/s burst 1MiB\" (units B, KiB, MiB, at most 1024MiB; s, m, h)";
    const UNIT: &'static str = "bytes per hour";

    fn read(value: &DeValue<'_>) -> Result<Rate, String> {
        rate(text(value)?, size)
    }

    fn measure(rate: &Rate) -> Option<u64> {
        RateOf::measure(rate)
    }
}

fn size(text: &str) -> Result<u32, String> {
    let text = text.trim();
    let parsed = SIZES.iter().find_map(|(unit, factor)| {
        let number = text.strip_suffix(unit)?.trim().parse::<u32>().ok()?;
        number.checked_mul(*factor).filter(|bytes| (1..=BYTES_MAX).contains(bytes))
    });
    parsed.ok_or_else(|| format!("has \"{text}\" where a size from 1B to 1024MiB belongs"))
}

fn rate(text: &str, amount: impl Fn(&str) -> Result<u32, String>) -> Result<Rate, String> {
    let (rate, burst) = text.split_once(" burst ").map_or((text, None), |(rate, burst)| (rate, Some(burst)));
    let Some((number, unit)) = rate.split_once('/') else {
        return Err("does not say in what time".to_owned());
    };
    let Some((_, span)) = UNITS.iter().find(|(name, _)| *name == unit.trim()) else {
        return Err(format!("has the unknown unit \"{}\"", unit.trim()));
    };
    let number = amount(number)?;
    let burst = burst.map_or(Ok(number), amount)?;
    Ok(Rate::new(number, *span, burst))
}

fn count(text: &str) -> Result<u32, String> {
    let number = text.trim().parse::<u32>().ok().filter(|number| (1..=COUNT_MAX).contains(number));
    number
        .ok_or_else(|| format!("has \"{}\" where a whole number from 1 to {COUNT_MAX} belongs", text.trim()))
}

/// Which guards are on trial: all of them, none, or those that are named.
pub(super) struct Trials;

/// Those that can be on trial. A place that is not there cannot be given on trial, and of a list that is not in force one
/// takes the entry off.
const TRIABLE: [Guard; 13] = [
    Guard::LinksPerAddress,
    Guard::StrangersPerAddress,
    Guard::AcceptsPerAddress,
    Guard::StrangersPerPrefix,
    Guard::AcceptsPerPrefix,
    Guard::AcceptsPerListener,
    Guard::Accepts,
    Guard::LoginsPerUser,
    Guard::Devices,
    Guard::FramesPerLink,
    Guard::ControlPerLink,
    Guard::BytesPerLink,
    Guard::RatesPerUser,
];

impl Kind for Trials {
    type Out = Guards;
    const WRITTEN: &'static str = "true, false or a list of guards such as [\"strangers_per_address\"]";

    fn read(value: &DeValue<'_>) -> Result<Guards, String> {
        if let Some(all) = value.as_bool() {
            return Ok(if all { TRIABLE.into_iter().collect() } else { Guards::NONE });
        }
        let Some(items) = value.as_array() else { return Err(format!("is {}", described(value))) };
        items.iter().map(|item| guard(text(item.get_ref())?)).collect()
    }

    fn advice(value: &DeValue<'_>) -> Option<String> {
        let text = value.as_str()?;
        if text.parse::<bool>().is_ok() {
            return Some(format!("write it without quotes: {text}"));
        }
        guard(text).is_ok().then(|| format!("write it in brackets: [\"{text}\"]"))
    }
}

fn guard(name: &str) -> Result<Guard, String> {
    let names = || TRIABLE.into_iter().map(Guard::name);
    TRIABLE.into_iter().find(|guard| guard.name() == name).ok_or_else(|| match nearest(name, names()) {
        Some(near) => format!("has \"{}\"; did you mean \"{near}\"?", name.escape_debug()),
        None => {
            format!(
                "has \"{}\", which is none of {}",
                name.escape_debug(),
                names().collect::<Vec<_>>().join(", ")
            )
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<K: Kind>(literal: &str) -> Result<K::Out, String> {
        K::read(DeValue::parse(literal).unwrap().get_ref())
    }

    #[test]
    fn a_rate_has_a_number_a_unit_and_perhaps_a_burst() {
        let second = Duration::from_secs(1);
        assert_eq!(read::<RateOf>("'20/s burst 40'"), Ok(Rate::new(20, second, 40)));
        assert_eq!(read::<RateOf>("'10/m'"), Ok(Rate::new(10, 60 * second, 10)));
        assert_eq!(read::<RateOf>("'6 / h burst 1'"), Ok(Rate::new(6, HOUR, 1)));
        assert_eq!(read::<RateOf>("'20/s'").ok().as_ref().and_then(RateOf::measure), Some(72_000));
        for wrong in
            ["20", "'20'", "'20/d'", "'0/s'", "'-1/s'", "'20/s burst'", "'20/s burst 0'", "'1000001/s'"]
        {
            assert!(read::<RateOf>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_rate_of_bytes_has_sizes() {
        let second = Duration::from_secs(1);
        let written = read::<BytesOf>("'256KiB/s burst 1MiB'");
        assert_eq!(written, Ok(Rate::new(256 << 10, second, 1 << 20)));
        assert_eq!(read::<BytesOf>("'1024MiB / m burst 7B'"), Ok(Rate::new(1 << 30, 60 * second, 7)));
        for wrong in
            ["'256/s'", "'1025MiB/s'", "'5000000KiB/s'", "'0B/s'", "'1KiB/d'", "'1.5MiB/s'", "'1KiB'"]
        {
            assert!(read::<BytesOf>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_trial_is_for_all_for_none_or_for_those_that_are_named() {
        assert_eq!(read::<Trials>("false"), Ok(Guards::NONE));
        let all = read::<Trials>("true").unwrap();
        assert!(TRIABLE.into_iter().all(|guard| all.contains(guard)) && !all.contains(Guard::Lists));
        assert_eq!(read::<Trials>("['accepts']"), Ok(Guards::NONE.with(Guard::Accepts)));
        let near = read::<Trials>("['strangers_per_adress']").unwrap_err();
        assert!(near.contains("did you mean \"strangers_per_address\"?"), "{near}");
        assert!(read::<Trials>("['lists']").unwrap_err().contains("which is none of"));
        let advice = |literal| Trials::advice(DeValue::parse(literal).unwrap().get_ref());
        assert_eq!(advice("'true'").as_deref(), Some("write it without quotes: true"));
        assert_eq!(advice("'accepts'").as_deref(), Some("write it in brackets: [\"accepts\"]"));
    }
}
