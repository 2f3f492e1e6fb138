//! `connect`: connect, handshake, authentication, one echo, close; with tickets as well if asked for.

use std::time::Duration;

use super::course::{Course, LegCost, Stretch};
use crate::fleet::Load;
use crate::options::Connect;
use crate::result::{Gateway, Latency, Pacing, Report, Resumed, Setup, micros_per};
use crate::stop::Stop;
use crate::tally::LegTally;

pub(super) fn run(options: &Connect, stop: &Stop) -> Result<Report, String> {
    let interval_of = interval(options)?;
    let tickets = options.resume;
    let stretch = |resume| Stretch {
        warmup: options.warmup,
        duration: options.duration,
        cycles_max: options.count.unwrap_or(u64::MAX),
        resume,
    };
    let course = Course {
        scenario: "connect",
        links: options.links,
        load: Box::new(move |links| Load::Cycle { interval: interval_of(links), tickets }),
        size: options.size,
        batch: 1,
        legs: [Some(stretch(false)), options.resume.then(|| stretch(true))].into_iter().flatten().collect(),
        tokens: options.tokens,
        memory: false,
        pushes: None,
    };
    let outcome = course.run(&options.shared, stop)?;
    let mut setup = Setup::new(&options.shared, options.links, outcome.workers, options.duration);
    setup.pace(match options.rate {
        Some(rate) => Pacing::Open { rate },
        None => Pacing::Closed { window: options.links },
    });
    setup.size = Some(options.size);
    let mut report = outcome.report("connect", setup);
    report.count_messages(&outcome.tally);
    if let (Some(leg), Some(cost)) = (outcome.tally.legs.first(), outcome.legs.first()) {
        let per_connect = |cost: &LegCost| micros_per(cost.gateway, cost.counts.cycles);
        report.connects = Some(leg.connects);
        report.latency_us = Latency::of_leg(leg);
        let mut gateway = Gateway { cpu_us_per_connect: per_connect(cost), ..Gateway::default() };
        if options.rate.is_some() {
            report.judge_generator(leg);
            report.judge_gateway(&outcome.tally.legs, "cycles");
        } else {
            for (leg, cost) in outcome.tally.legs.iter().zip(&outcome.legs) {
                report.judge_closed(leg, cost.busy, cost.measured);
            }
        }
        report.generator.cpu_us_per_connect = micros_per(cost.own, cost.counts.cycles);
        if let (Some(leg), Some(cost)) = (outcome.tally.legs.get(1), outcome.legs.get(1)) {
            gateway.cpu_us_per_connect_resumed = per_connect(cost);
            report.resumed = Some(Resumed { connects: leg.connects, latency_us: Latency::of_leg(leg) });
        }
        report.gateway = (!gateway.is_empty()).then_some(gateway);
    }
    report.warnings.extend(signed_late(outcome.tally.signed_late));
    if outcome.interrupted.is_none() && outcome.deserted.is_none() {
        report.problems.extend(nothing_measured(&outcome.tally.legs));
    }
    Ok(report.judge())
}

/// What is to be said of tokens that were signed while it was measured.
fn signed_late(tokens: u64) -> Option<String> {
    (tokens > 0).then(|| {
        format!(
            "{tokens} tokens were signed while links were opened, which is in the times and in what the generator cost: \
             more of them in --tokens are signed before"
        )
    })
}

/// Why there is no figure of a part, if there is none.
fn nothing_measured(legs: &[LegTally]) -> Option<String> {
    let (number, leg) = (0..).zip(legs).find(|(_, leg)| leg.connects == 0)?;
    Some(match (number, leg.cycles) {
        (0, 0) => "no cycle went through".to_owned(),
        (_, 0) => "no link was resumed: the gateway gave no tickets, or refused them".to_owned(),
        (_, cycles) => {
            format!("over within the warm-up: {cycles} cycles went through, and none was measured")
        }
    })
}

/// Between two cycles of a worker with so many of the places: its part of the rate is its part of the places.
fn interval(options: &Connect) -> Result<impl Fn(u32) -> Option<Duration> + use<>, String> {
    let whole = match options.rate {
        None => None,
        Some(rate) => Some(
            Duration::try_from_secs_f64(1.0 / rate)
                .ok()
                .filter(|interval| (INTERVAL_MIN..=INTERVAL_MAX).contains(interval))
                .ok_or("--rate must be between one per hour and a million per second")?,
        ),
    };
    let links = options.links;
    Ok(move |places: u32| whole.map(|whole| whole * links / places.max(1)))
}

const INTERVAL_MIN: Duration = Duration::from_micros(1);
const INTERVAL_MAX: Duration = Duration::from_hours(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_that_were_signed_too_late_are_told_of() {
        assert_eq!(signed_late(0), None);
        assert!(signed_late(7).unwrap().starts_with("7 tokens were signed while links were opened"));
    }

    #[test]
    fn a_part_without_a_measured_cycle_says_why() {
        let leg = |cycles, connects| LegTally { cycles, connects, ..LegTally::default() };
        let why = |legs: &[LegTally]| nothing_measured(legs).unwrap_or_default();
        assert_eq!(why(&[leg(9, 7), leg(1, 1)]), "");
        assert_eq!(why(&[leg(0, 0)]), "no cycle went through");
        assert!(why(&[leg(7, 0), leg(0, 0)]).starts_with("over within the warm-up: 7 cycles"));
        assert!(why(&[leg(7, 7), leg(0, 0)]).starts_with("no link was resumed"));
        assert!(why(&[leg(7, 7), leg(3, 0)]).starts_with("over within the warm-up: 3 cycles"));
    }
}
