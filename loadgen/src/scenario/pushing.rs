//! What `push` and `slow` have in common: what is asked for, and what their classes are.

use std::time::Duration;

use super::course::random;
use crate::fleet::{Load, Pushes, Slowness};
use crate::options::Classes;
use crate::pushes::{BYTES_MAX, COUNT_MAX, Class, PUSH_LEN_MAX, PUSH_LEN_MIN, RunId};

/// Pushes of a new run.
///
/// # Errors
/// One line when the service would not take such a request.
pub(super) fn pushes(
    classes: Classes,
    size: usize,
    batch: u32,
    slow: Option<Slowness>,
) -> Result<Pushes, String> {
    if !(PUSH_LEN_MIN..=PUSH_LEN_MAX).contains(&size) {
        return Err(format!("--size must be from {PUSH_LEN_MIN} to {PUSH_LEN_MAX}"));
    }
    if !(1..=COUNT_MAX).contains(&batch) || size * batch as usize > BYTES_MAX {
        return Err(format!(
            "--batch must be from 1 to {COUNT_MAX}, and --size times --batch at most {BYTES_MAX}"
        ));
    }
    let random = random()?;
    let run = |kind: u8| -> RunId {
        let mut run = RunId::default();
        run.copy_from_slice(&random[..16]);
        run[15] = kind;
        run
    };
    let classes = match classes {
        Classes::Zero => vec![Class::AtMostOnce],
        Classes::One => vec![Class::AtLeastOnce],
        Classes::Both => vec![Class::AtMostOnce, Class::AtLeastOnce],
    };
    Ok(Pushes { in_1000: 1000, runs: [run(0), run(1)], classes, count: batch, size: size as u32, slow })
}

/// What they are called.
pub(super) const fn name(classes: Classes) -> &'static str {
    match classes {
        Classes::Zero => "0",
        Classes::One => "1",
        Classes::Both => "both",
    }
}

/// Open loop: so many pushes per second over all links.
///
/// # Errors
/// One line when that is too often or too rarely for a link.
pub(super) fn planned(links: u32, batch: u32, rate: f64) -> Result<Load, String> {
    let seconds = f64::from(links) * f64::from(batch) / rate;
    let interval = Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|interval| (INTERVAL_MIN..=INTERVAL_MAX).contains(interval))
        .ok_or("--rate must let each link ask between once per hour and ten thousand times per second")?;
    Ok(Load::Planned { interval })
}

const INTERVAL_MIN: Duration = Duration::from_micros(100);
const INTERVAL_MAX: Duration = Duration::from_hours(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_service_would_not_take_is_not_asked_for() {
        let check = |size, batch| pushes(Classes::One, size, batch, None).map(|_| ());
        assert_eq!(check(40, 1), Ok(()));
        assert_eq!(check(1024, 4096), Ok(()));
        for (size, batch, named) in [
            (39, 1, "--size"),
            (60_001, 1, "--size"),
            (64, 0, "--batch"),
            (64, 4097, "--batch"),
            (1025, 4096, "--batch"),
        ] {
            assert!(check(size, batch).unwrap_err().starts_with(named), "{size} {batch}");
        }
        let both = pushes(Classes::Both, 64, 1, None).unwrap();
        assert!(both.classes.len() == 2 && both.runs[0] != both.runs[1]);
    }

    #[test]
    fn a_rate_is_one_interval_for_each_link() {
        let planned = |rate| planned(100, 4, rate);
        assert_eq!(planned(200.0), Ok(Load::Planned { interval: Duration::from_secs(2) }));
        for rate in [0.0, -1.0, f64::NAN, 1e9] {
            assert!(planned(rate).is_err(), "{rate}");
        }
    }
}
