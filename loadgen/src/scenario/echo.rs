//! `echo`: messages through the gateway to a backend and back, each checked byte for byte.

use std::time::Duration;

use super::course::{Course, Stretch};
use crate::fleet::Load;
use crate::options::Echo;
use crate::result::{Gateway, Latency, Pacing, Report, Setup, micros_per, per_second};
use crate::stop::Stop;

/// The most messages a link keeps in flight, which its book-keeping is made for.
const IN_FLIGHT_MAX: u32 = 64;

pub(super) fn run(options: &Echo, stop: &Stop) -> Result<Report, String> {
    let window = options.window.unwrap_or(1);
    if options.batch == 0
        || window == 0
        || u64::from(window) * u64::from(options.batch) > IN_FLIGHT_MAX.into()
    {
        return Err(format!("--window times --batch must be from 1 to {IN_FLIGHT_MAX}"));
    }
    let rate = options.rate.unwrap_or(options.links.into());
    let pacing = match options.window {
        Some(window) => Pacing::Closed { window },
        None => Pacing::Open { rate },
    };
    let course = Course {
        scenario: "echo",
        links: options.links,
        load: load(options, rate)?,
        size: options.size,
        batch: options.batch,
        legs: vec![Stretch {
            warmup: options.warmup,
            duration: options.duration,
            cycles_max: 0,
            resume: false,
        }],
        // Whoever logs in before the load begins has its token signed then.
        tokens: 0,
        memory: false,
        pushes: None,
    };
    let outcome = course.run(&options.shared, stop)?;
    let mut setup = Setup::new(&options.shared, options.links, outcome.workers, options.duration);
    setup.pace(pacing);
    setup.grant(outcome.tally.granted, options.batch);
    (setup.size, setup.batch) = (Some(options.size), Some(options.batch));
    let mut report = outcome.report("echo", setup);
    report.count_messages(&outcome.tally);
    report.count_heartbeats(&outcome.tally.counts);
    if let (Some(leg), Some(cost)) = (outcome.tally.legs.first(), outcome.legs.first()) {
        let messages = cost.counts.received;
        report.latency_us = Latency::of_leg(leg);
        report.rate_per_second = per_second(messages, cost.measured);
        report.gateway = micros_per(cost.gateway, messages)
            .map(|cpu| Gateway { cpu_us_per_message: Some(cpu), ..Gateway::default() });
        report.generator.cpu_us_per_message = micros_per(cost.own, messages);
        if options.window.is_none() {
            report.judge_generator(leg);
            report.judge_gateway(&outcome.tally.legs, "messages");
        } else {
            report.judge_closed(leg, cost.busy, cost.measured);
        }
    }
    Ok(report.judge())
}

fn load(options: &Echo, rate: f64) -> Result<Box<dyn Fn(u32) -> Load>, String> {
    if let Some(packets) = options.window {
        return Ok(Box::new(move |_| Load::Window { packets }));
    }
    let seconds = f64::from(options.links) * f64::from(options.batch) / rate;
    let interval = Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|interval| (INTERVAL_MIN..=INTERVAL_MAX).contains(interval))
        .ok_or(
            "--rate must let each link send between once per hour and a hundred thousand times per second",
        )?;
    Ok(Box::new(move |_| Load::Planned { interval }))
}

const INTERVAL_MIN: Duration = Duration::from_micros(10);
const INTERVAL_MAX: Duration = Duration::from_hours(1);
