//! `connect`: connect, handshake, authentication, one echo, close; with tickets as well if asked for.

use std::time::Duration;

use super::{Course, LegCost, Stretch};
use crate::fleet::Load;
use crate::options::Connect;
use crate::result::{Gateway, Latency, Pacing, Report, Resumed, Setup, micros_per};

pub(super) fn run(options: &Connect) -> Result<Report, String> {
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
        memory: false,
    };
    let outcome = course.run(&options.shared)?;
    let mut setup = Setup::new(&options.shared, options.links, outcome.workers, options.duration);
    setup.pace(match options.rate {
        Some(rate) => Pacing::Open { rate },
        None => Pacing::Closed { window: options.links },
    });
    setup.size = Some(options.size);
    let mut report = Report::new("connect", setup, &outcome.tally, outcome.warnings);
    report.count_messages(&outcome.tally.counts);
    if let (Some(leg), Some(cost)) = (outcome.tally.legs.first(), outcome.legs.first()) {
        let per_connect = |cost: &LegCost| micros_per(cost.gateway, cost.counts.cycles);
        report.connects = Some(cost.counts.cycles);
        report.latency_us = Latency::of_leg(leg);
        let mut gateway = Gateway { cpu_us_per_connect: per_connect(cost), ..Gateway::default() };
        if options.rate.is_some() {
            report.judge_generator(leg);
            report.judge_gateway(&outcome.tally.legs, "cycles");
        }
        report.generator.cpu_us_per_connect = micros_per(cost.own, cost.counts.cycles);
        if let (Some(leg), Some(cost)) = (outcome.tally.legs.get(1), outcome.legs.get(1)) {
            gateway.cpu_us_per_connect_resumed = per_connect(cost);
            report.resumed = Some(Resumed { connects: cost.counts.cycles, latency_us: Latency::of_leg(leg) });
            if cost.counts.cycles == 0 {
                report
                    .problems
                    .push("no link was resumed: the gateway gave no tickets, or refused them".to_owned());
            }
        }
        report.gateway = (!gateway.is_empty()).then_some(gateway);
    }
    if outcome.tally.counts.cycles == 0 {
        report.problems.push("no cycle went through".to_owned());
    }
    Ok(report.judge())
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
