//! `abuse`: an attack beside an honest load whose latency is the result, each time with a phase without it for comparison.
//!
//! | step | file |
//! |---|---|
//! | who takes part: honest links, those that come meanwhile, attackers | `cast.rs` |
//! | ramp, pairs of phases, close | `phases.rs` |
//! | what the gateway uses and says of itself | `gauges.rs` |

mod cast;
mod gauges;
mod phases;

use std::time::Duration;

use protocol::Time;

use self::phases::{Phased, Stage};
use crate::clock::Clock;
use crate::crew::Crew;
use crate::mob::Count;
use crate::options::Abuse;
use crate::raid::Raid;
use crate::result::abuse as told;
use crate::result::{Gateway, Latency, Pacing, Report, Setup};
use crate::stop::Stop;
use crate::tally::{LegTally, Tally};

/// Threads with a ring each: honest links, those that come meanwhile, attackers.
const THREADS: u32 = 3;

pub(super) fn run(options: &Abuse, stop: &Stop) -> Result<Report, String> {
    let shared = &options.shared;
    if shared.workers.is_some() {
        return Err("--workers: abuse has three threads, for honest links, new honest links and attackers; leave it away".into());
    }
    if shared.signing.token_key.is_some() {
        return Err("--token-key: the links of abuse share one token; give it by --token-file".into());
    }
    let target = shared.target()?;
    let honest = cast::honest(options, &target)?;
    let mob = cast::mob(options, &target)?;
    let clock = Clock::start();
    let cpu = shared.pin.get((THREADS - 1) as usize % shared.pin.len().max(1)).copied();
    let raid = Raid::start(mob, cpu, clock)?;
    let crew = Crew::start(honest.into(), &shared.pin, clock, stop)?;
    let mut stage = Stage::new(options, &target, clock, crew, raid);
    let phased = stage.run();
    let (tallies, count, warnings) = stage.finish();
    report(options, &phased?, &tallies, count, warnings)
}

fn report(
    options: &Abuse,
    phased: &Phased,
    tallies: &[Tally],
    count: Count,
    warnings: Vec<String>,
) -> Result<Report, String> {
    let [steady, further] = tallies else { return Err("a thread of the honest load is missing".to_owned()) };
    let mut setup = Setup::new(&options.shared, options.honest, THREADS, options.duration);
    setup.pace(Pacing::Open { rate: cast::honest_rate(options) });
    setup.size = Some(cast::SIZE);
    let mut report = Report::new("abuse", setup, steady, warnings);
    report.count_messages(steady);
    report.interrupted_after_s = phased.interrupted.map(|at| at.since(Time::ZERO).as_secs_f64());
    report.deserted_after_s = phased.deserted.map(|at| at.since(Time::ZERO).as_secs_f64());
    report.measured_s = Some((phased.quiet.time + phased.attacked.time).as_secs_f64());
    let [quiet, attacked] = [false, true].map(|attacked| {
        let mut sum = LegTally::default();
        // The first leg is the warm-up.
        let legs = steady.legs.iter().skip(1).skip(usize::from(attacked)).step_by(2);
        legs.for_each(|leg| sum.add(leg));
        sum
    });
    let mut both = quiet.clone();
    both.add(&attacked);
    report.judge_generator(&both);
    report.judge_gateway(&[quiet.clone(), attacked.clone()], "messages");
    report.gateway = Some(gateway(phased, count.attempted)).filter(|gateway| !gateway.is_empty());
    for (reason, count) in &further.reasons {
        *report.reasons.entry(format!("new honest link: {reason}")).or_default() += count;
    }
    report.abuse = Some(told::Abuse {
        abuse: cast::asked(options),
        quiet: phases(&quiet, &phased.quiet),
        attacked: phases(&attacked, &phased.attacked),
        honest: told::Honest { connects: connects(further, phased.attacked.connects) },
        attack: attack(count, phased.attacked.time),
    });
    report.judge_abuse();
    Ok(report.judge())
}

fn phases(leg: &LegTally, spent: &phases::Spent) -> told::Phases {
    told::Phases {
        latency_us: Latency::of_leg(leg),
        planned: leg.planned,
        unsent: leg.unsent,
        seconds: spent.time.as_secs_f64(),
        gateway_cpu_s: spent.gateway.map(|cpu| cpu.as_secs_f64()),
    }
}

/// Whoever was not answered has failed, whether it was let in or not.
fn connects(further: &Tally, planned: u64) -> told::Connects {
    let ok = further.counts.cycles;
    let slowest = further.legs.iter().map(|leg| leg.welcome_max).max().filter(|slowest| !slowest.is_zero());
    told::Connects {
        ok,
        failed: planned.saturating_sub(ok),
        slowest_handshake_ms: slowest.map(|slowest| slowest.as_secs_f64() * 1000.0),
    }
}

fn gateway(phased: &Phased, attempts: u64) -> Gateway {
    Gateway {
        cpu_us_per_attempt: per_attempt(&phased.quiet, &phased.attacked, attempts),
        pss_bytes_max: phased.pss_max,
        ceiling_bytes: phased.ceiling,
        ..Gateway::default()
    }
}

/// Microseconds of CPU per attempt, beyond what the quiet phases lead to expect in the same time. Less than nothing if the gateway
/// had less to do under attack.
fn per_attempt(quiet: &phases::Spent, attacked: &phases::Spent, attempts: u64) -> Option<f64> {
    let (before, with) = (quiet.gateway?.as_secs_f64(), attacked.gateway?.as_secs_f64());
    let share = attacked.time.as_secs_f64() / quiet.time.as_secs_f64();
    (attempts > 0 && share.is_finite()).then(|| (with - before * share) * 1e6 / attempts as f64)
}

fn attack(count: Count, time: Duration) -> told::Attack {
    let seconds = time.as_secs_f64().max(f64::MIN_POSITIVE);
    told::Attack {
        attempted: count.attempted,
        accepted: count.accepted,
        refused: count.refused,
        closed: count.closed,
        served: count.served,
        welcomed: count.welcomed,
        unmade: count.unmade,
        unfinished: count.unfinished,
        frames: count.frames,
        links_max: count.links_max,
        attempts_per_second: count.attempted as f64 / seconds,
        shortest_life_ms: count.shortest_life.map(|life| life.as_secs_f64() * 1000.0),
        reasons: count.reasons,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_costs_what_the_quiet_phases_do_not_explain() {
        let spent = |seconds, millis: Option<u64>| phases::Spent {
            time: Duration::from_secs(seconds),
            gateway: millis.map(Duration::from_millis),
            connects: 0,
        };
        // Quiet, 100 ms in 10 s; so of the 300 ms in 20 s, 200 are the honest load's.
        let cost = per_attempt(&spent(10, Some(100)), &spent(20, Some(300)), 1000).unwrap();
        assert!((cost - 100.0).abs() < 1e-6, "{cost}");
        assert!(per_attempt(&spent(10, Some(100)), &spent(10, Some(50)), 1).unwrap() < 0.0);
        for (quiet, attacked, attempts) in [
            (spent(10, None), spent(10, Some(1)), 1),
            (spent(10, Some(1)), spent(10, Some(1)), 0),
            (spent(0, Some(1)), spent(10, Some(1)), 1),
        ] {
            assert_eq!(per_attempt(&quiet, &attacked, attempts), None);
        }
    }

    #[test]
    fn a_connect_that_was_planned_and_not_answered_has_failed() {
        let mut further = Tally::default();
        further.counts.cycles = 97;
        assert_eq!(connects(&further, 100), told::Connects { ok: 97, failed: 3, slowest_handshake_ms: None });
        further.legs.push(LegTally { welcome_max: Duration::from_millis(12), ..LegTally::default() });
        assert_eq!(connects(&further, 97).slowest_handshake_ms, Some(12.0));
    }
}
