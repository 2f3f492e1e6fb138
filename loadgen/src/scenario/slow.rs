//! `slow`: pushes to links of which some read slowly or not at all. What it must not cost the others is the result.

use std::net::SocketAddr;

use super::course::{Course, LegCost, Outcome, Stretch};
use super::pushing::{name, planned, pushes};
use crate::fleet::Slowness;
use crate::options::{Slow, SlowLoad};
use crate::pushes::ASK_LEN;
use crate::result::pushes as results;
use crate::result::pushes::{Pushes, Quiet, SlowLinks};
use crate::result::{Gateway, Latency, Links, Pacing, Report, Setup, micros_per, per_second};
use crate::stop::Stop;
use crate::watch::Metrics;

/// Pushes per second and link, unless something else is asked for.
const RATE_PER_LINK: f64 = 10.0;

pub(super) fn run(options: &Slow, stop: &Stop) -> Result<Report, String> {
    let Slow { shared, load: asked } = options;
    if asked.slow >= asked.links {
        return Err("--slow must leave some of the --links quick".to_owned());
    }
    let rate = asked.rate.unwrap_or(f64::from(asked.links) * RATE_PER_LINK);
    let slowness = Slowness { links: asked.slow, of: asked.links, speed: asked.speed };
    let pushes = pushes(asked.class, asked.size, asked.batch, Some(slowness))?;
    let load = planned(asked.links, asked.batch, rate)?;
    let stretch = || Stretch { warmup: asked.warmup, duration: asked.duration, cycles_max: 0, resume: false };
    let course = Course {
        scenario: "slow",
        links: asked.links,
        load: Box::new(move |_| load),
        size: ASK_LEN,
        batch: 1,
        legs: vec![stretch(), stretch()],
        // Whoever logs in before the load begins has its token signed then.
        tokens: 0,
        memory: false,
        pushes: Some(pushes),
    };
    let http = shared.target()?.http;
    let before = closed(http);
    let outcome = course.run(shared, stop)?;
    let after = closed(http);
    let mut setup = Setup::new(shared, asked.links, outcome.workers, asked.duration);
    setup.pace(Pacing::Open { rate });
    (setup.size, setup.class) = (Some(asked.size), Some(name(asked.class)));
    setup.pushes_per_request = Some(asked.batch);
    let mut report = outcome.report("slow", setup);
    count_excused(&mut report, &outcome);
    let mut told = told(asked, &outcome);
    let since = |at: usize| Some(after[at]?.saturating_sub(before[at]?));
    (told.slow.slow_reader, told.slow.ack_timeout) = (since(0), since(1));
    let mut push = told.quick.clone().and(&told.slow.pushes);
    // The figures of the phase with slow links; with the quiet one alone there are none.
    if let (Some(leg), Some(cost)) = (outcome.tally.legs.get(1), outcome.legs.get(1)) {
        push.rate_per_second = per_second(cost.counts.pushed, cost.measured);
        report.measured_s = Some(cost.measured.as_secs_f64());
        report.latency_us = Latency::of_leg(leg);
        report.gateway =
            per_push(cost).map(|cpu| Gateway { cpu_us_per_push: Some(cpu), ..Gateway::default() });
        report.generator.cpu_us_per_push = micros_per(cost.own, cost.counts.pushed);
        report.judge_generator(leg);
    }
    report.judge_gateway(&outcome.tally.legs, "requests of quick links");
    (report.push, report.slow) = (Some(push), Some(told));
    report.judge_pushes();
    Ok(report.judge())
}

/// That slow links are ended is no failure of anybody.
fn count_excused(report: &mut Report, outcome: &Outcome) {
    let counts = &outcome.tally.counts;
    let Links { lost, .. } = &mut report.links;
    *lost -= counts.shed;
    report.count_messages(&outcome.tally);
    report.count_heartbeats(counts);
}

/// The two kinds of links apart.
fn told(asked: &SlowLoad, outcome: &Outcome) -> results::Slow {
    let [quick, slow] =
        [0, 1].map(|kind| Pushes::of(&outcome.tally.pushes[kind], outcome.tally.outcomes[kind].as_ref()));
    let quiet = Quiet {
        latency_us: outcome.tally.legs.first().and_then(Latency::of_leg),
        gateway_cpu_us_per_push: outcome.legs.first().and_then(per_push),
    };
    let slow = SlowLinks {
        links: asked.slow.into(),
        speed: asked.speed,
        ended: outcome.tally.counts.shed,
        requests_unanswered: outcome.tally.counts.unheard,
        slow_reader: None,
        ack_timeout: None,
        pushes: slow,
    };
    results::Slow { quiet, quick, slow }
}

fn per_push(cost: &LegCost) -> Option<f64> {
    micros_per(cost.gateway, cost.counts.pushed)
}

/// Links the gateway has closed so far as slow readers, and for not acknowledging; nothing where it does not say.
fn closed(http: Option<SocketAddr>) -> [Option<u64>; 2] {
    let Some(metrics) = http.and_then(|http| Metrics::fetch(http).ok()) else { return [None; 2] };
    ["code=\"slow_reader\"", "code=\"ack_timeout\""]
        .map(|code| Some(metrics.sum_with("gateway_closed_total", code).unwrap_or(0.0) as u64))
}
