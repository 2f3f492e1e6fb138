//! `push`: a service pushes what the links ask for, and says at the end what became of it.

use super::course::{Course, Stretch};
use super::pushing::{name, planned, pushes};
use crate::fleet::Load;
use crate::options::{Push, PushLoad};
use crate::pushes::ASK_LEN;
use crate::result::pushes::Pushes;
use crate::result::{Gateway, Latency, Pacing, Report, Setup, micros_per, per_second};
use crate::stop::Stop;

/// The most requests a link keeps in flight, which its book-keeping is made for.
const IN_FLIGHT_MAX: u32 = 64;

pub(super) fn run(options: &Push, stop: &Stop) -> Result<Report, String> {
    let Push { shared, load: asked } = options;
    let pushes = pushes(asked.class, asked.size, asked.batch, None)?;
    let rate = asked.rate.unwrap_or(asked.links.into());
    let (pacing, load) = match asked.window {
        Some(window) => (Pacing::Closed { window }, Load::Window { packets: packets(asked, window)? }),
        None => (Pacing::Open { rate }, planned(asked.links, asked.batch, rate)?),
    };
    let course = Course {
        scenario: "push",
        links: asked.links,
        load: Box::new(move |_| load),
        size: ASK_LEN,
        batch: 1,
        legs: vec![Stretch { warmup: asked.warmup, duration: asked.duration, cycles_max: 0, resume: false }],
        // Whoever logs in before the load begins has its token signed then.
        tokens: 0,
        memory: false,
        pushes: Some(pushes),
    };
    let outcome = course.run(shared, stop)?;
    let mut setup = Setup::new(shared, asked.links, outcome.workers, asked.duration);
    setup.pace(pacing);
    (setup.size, setup.class) = (Some(asked.size), Some(name(asked.class)));
    setup.pushes_per_request = Some(asked.batch);
    let mut report = outcome.report("push", setup);
    report.count_messages(&outcome.tally);
    report.count_heartbeats(&outcome.tally.counts);
    let mut push = Pushes::of(&outcome.tally.pushes[0], outcome.tally.outcomes[0].as_ref());
    if let (Some(leg), Some(cost)) = (outcome.tally.legs.first(), outcome.legs.first()) {
        let pushed = cost.counts.pushed;
        push.rate_per_second = per_second(pushed, cost.measured);
        report.latency_us = Latency::of_leg(leg);
        report.gateway = micros_per(cost.gateway, pushed)
            .map(|cpu| Gateway { cpu_us_per_push: Some(cpu), ..Gateway::default() });
        report.generator.cpu_us_per_push = micros_per(cost.own, pushed);
        if asked.window.is_none() {
            report.judge_generator(leg);
            report.judge_gateway(&outcome.tally.legs, "requests");
        } else {
            report.judge_closed(leg, cost.busy, cost.measured);
        }
    }
    report.push = Some(push);
    report.judge_pushes();
    Ok(report.judge())
}

/// Requests in flight for so many open pushes.
fn packets(asked: &PushLoad, window: u32) -> Result<u32, String> {
    let is_whole = asked.batch > 0 && window.is_multiple_of(asked.batch);
    let packets = window / asked.batch.max(1);
    if is_whole && (1..=IN_FLIGHT_MAX).contains(&packets) {
        Ok(packets)
    } else {
        Err(format!("--window must be from 1 to {IN_FLIGHT_MAX} times --batch"))
    }
}
