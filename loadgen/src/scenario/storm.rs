//! `storm`: all links are cut at one moment, and come back at once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::Time;

use super::course::{Course, LegCost, Outcome, Run, Stretch, share};
use super::pushing::pushes;
use super::restart;
use crate::fleet::{self, Cut, Load, Order, Pushes, Settings};
use crate::options::{Classes, CutKind, Storm};
use crate::result::{Gateway, Latency, Pacing, Report, Setup, micros_per, storm as told};
use crate::stop::Stop;
use crate::tally::{LegTally, StormTally, Tally};
use crate::target::{self, Target};
use crate::watch::Process;

/// Bytes of payload of a message.
const SIZE: usize = 64;
/// Between two messages of a link that sends one in a while.
const INTERVAL_DEFAULT: Duration = Duration::from_secs(10);
const INTERVAL_MIN: Duration = Duration::from_millis(1);
const INTERVAL_MAX: Duration = Duration::from_hours(1);
/// How long all workers may take to notice what is to come.
const BRACE_MAX: Duration = Duration::from_secs(10);
/// How long everybody may take to come back.
const STORM_MAX: Duration = Duration::from_secs(120);
const STORM_MAX_PER_LINK: Duration = Duration::from_millis(3);

pub(super) fn run(options: &Storm, stop: &Stop) -> Result<Report, String> {
    let target = options.shared.target()?;
    let victim = Victim::of(options, &target)?;
    let traffic = traffic(options)?;
    let interval = traffic.interval;
    let course = Course {
        scenario: "storm",
        links: options.links,
        load: Box::new(move |_| Load::Planned { interval }),
        size: SIZE,
        batch: 1,
        legs: Vec::new(),
        // Whoever logs in has its token signed then.
        tokens: 0,
        memory: false,
        pushes: traffic.pushes()?,
    };
    let shares = course.shares(&options.shared, &target)?;
    let shares = shares.into_iter().map(|share| keeping_sessions(share, options, &target));
    let shares = shares.collect::<Result<_, _>>()?;
    let mut run = course.start(shares, &options.shared, &target, stop)?;
    let workers = run.crew.len() as u32;
    let stages = Stages::run(&course, &mut run, options, victim.as_ref(), &target);
    let tally = run.crew.finish();
    Ok(report(options, stages?, tally, workers, run.watch.warnings, interval))
}

/// The gateway that is to be killed.
struct Victim {
    pid: u32,
    file: PathBuf,
}

impl Victim {
    fn of(options: &Storm, target: &Target) -> Result<Option<Self>, String> {
        if options.terms.cut != CutKind::KillGateway {
            return match options.terms.restart {
                Some(_) => Err("--restart is for --cut kill-gateway".to_owned()),
                None => Ok(None),
            };
        }
        let file = options.shared.target_file.clone();
        let file = file.ok_or("--cut kill-gateway needs --target-file, which says whom to kill")?;
        match (&target.unwatched, target.pid) {
            (None, Some(pid)) => Ok(Some(Self { pid, file })),
            (why, _) => {
                let why = why.as_deref().unwrap_or("it is not known which process is the gateway");
                Err(format!("--cut kill-gateway: nobody is killed: {why}"))
            }
        }
    }
}

/// What links send.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Traffic {
    /// Between two messages of a link.
    interval: Duration,
    /// Of 1000 of them, how many ask for a push.
    pushes_in_1000: u16,
}

impl Traffic {
    /// Each is asked for alone.
    fn pushes(self) -> Result<Option<Pushes>, String> {
        if self.pushes_in_1000 == 0 {
            return Ok(None);
        }
        let pushes = pushes(Classes::One, SIZE, 1, None)?;
        Ok(Some(Pushes { in_1000: self.pushes_in_1000, ..pushes }))
    }
}

fn traffic(options: &Storm) -> Result<Traffic, String> {
    let links = f64::from(options.links);
    let push = options.terms.push.unwrap_or_default();
    let rate = options.terms.rate.unwrap_or(links / INTERVAL_DEFAULT.as_secs_f64()) + push;
    let part = (1000.0 * push / rate).round();
    if options.terms.push.is_some() && !(1.0..=1000.0).contains(&part) {
        return Err("--push must be at least a thousandth of --rate".to_owned());
    }
    let interval = Duration::try_from_secs_f64(links / rate)
        .ok()
        .filter(|interval| (INTERVAL_MIN..=INTERVAL_MAX).contains(interval))
        .ok_or_else(|| {
            "--rate must let each link send between once per hour and a thousand times per second".to_owned()
        })?;
    Ok(Traffic { interval, pushes_in_1000: part as u16 })
}

/// A fleet whose links come twice. The ports of those that were cut are in use for another minute, so that a gateway that
/// listens everywhere is called at twice as many addresses.
fn keeping_sessions(mut share: Settings, options: &Storm, target: &Target) -> Result<Settings, String> {
    if target.address.ip().is_unspecified() {
        let ports = target::ports().map_err(|error| format!("ip_local_port_range: {error}"))?;
        share.destinations = target::destinations(target.address, options.links.saturating_mul(2), ports)?;
    }
    share.keeps_sessions = true;
    Ok(share)
}

/// What the stages of a run gave.
#[derive(Default)]
struct Stages {
    /// The gateway's CPU while the links were opened, and how many were.
    opened: Option<Duration>,
    welcomed: u64,
    legs: Vec<LegCost>,
    /// The gateway's CPU while they came back.
    recovered: Option<Duration>,
    /// From the cut until the new gateway was ready.
    restart: Option<Duration>,
    interrupted: Option<Time>,
    deserted: Option<Time>,
}

impl Stages {
    fn run(
        course: &Course,
        run: &mut Run,
        options: &Storm,
        victim: Option<&Victim>,
        target: &Target,
    ) -> Result<Self, String> {
        let mut stages = Self::default();
        let before = run.watch.cpu();
        course.ramp(run)?;
        stages.opened = run.watch.cpu().gateway_since(&before);
        stages.welcomed = run.crew.counts().welcomed;
        stages.traffic(course, run, options.duration)?;
        if stages.goes_on(run) {
            stages.storm(run, options, victim, target)?;
            stages.traffic(course, run, options.duration)?;
        }
        // What comes later cuts nothing of the figures.
        stages.goes_on(run);
        run.drain(options.shared.drain)?;
        course.inquire(run, options.shared.drain)?;
        course.close(run)?;
        Ok(stages)
    }

    /// Whether there is anybody to go on with, and nobody who wants an end.
    fn goes_on(&mut self, run: &Run) -> bool {
        self.interrupted = self.interrupted.or(run.crew.stopped());
        if self.interrupted.is_none() && run.crew.counts().up() == 0 {
            self.deserted = self.deserted.or(Some(run.clock.now()));
        }
        self.interrupted.or(self.deserted).is_none()
    }

    fn traffic(&mut self, course: &Course, run: &mut Run, duration: Duration) -> Result<(), String> {
        if self.goes_on(run) {
            let stretch = Stretch { warmup: Duration::ZERO, duration, cycles_max: 0, resume: false };
            self.legs.push(course.leg(run, &stretch)?);
        }
        Ok(())
    }

    /// Cuts all links, and waits until they are back.
    fn storm(
        &mut self,
        run: &mut Run,
        options: &Storm,
        victim: Option<&Victim>,
        target: &Target,
    ) -> Result<(), String> {
        if !run.stage("brace", |_| Order::Brace, BRACE_MAX)? {
            return Err("the workers did not heed an order for ten seconds".to_owned());
        }
        let before = run.watch.cpu();
        let at = run.clock.now();
        if let Some(victim) = victim {
            restart::kill(victim.pid)?;
        }
        let workers = run.crew.len() as u64;
        let terms = &options.terms;
        run.crew.order(|worker| {
            let opening_max = share(terms.open_at_once.into(), worker as u64, workers).max(1) as u32;
            Order::Storm(fleet::Storm { cut: how(terms.cut), at, full: terms.full, opening_max })
        });
        if let Some(Victim { pid, file }) = victim {
            let clock = run.clock;
            let again = restart::await_again(terms.restart.as_deref(), Path::new(file), *pid, target, clock)?;
            self.restart = Some(clock.now().since(at));
            run.watch.gateway = Some(Process::with_pid(again));
        }
        let most = STORM_MAX + STORM_MAX_PER_LINK * options.links;
        if !run.wait("storm", run.clock.now() + most)? && run.crew.stopped().is_none() {
            run.watch.warnings.push(format!("the storm was given up after {} s", most.as_secs()));
        }
        // Of a gateway that is a new process, all that it has used so far.
        self.recovered = run.watch.cpu().gateway_since(&before);
        Ok(())
    }
}

const fn how(cut: CutKind) -> Cut {
    match cut {
        CutKind::Reset => Cut::Drop,
        CutKind::Close => Cut::Close,
        CutKind::KillGateway => Cut::Await,
    }
}

fn report(
    options: &Storm,
    stages: Stages,
    tally: Tally,
    workers: u32,
    warnings: Vec<String>,
    interval: Duration,
) -> Report {
    let Stages { opened, welcomed, legs, recovered, restart, interrupted, deserted } = stages;
    let outcome = Outcome { tally, workers, legs, memory: None, interrupted, deserted, warnings };
    let tally = &outcome.tally;
    let mut setup = Setup::new(&options.shared, options.links, workers, options.duration);
    setup.pace(Pacing::Open { rate: f64::from(options.links) / interval.as_secs_f64() });
    setup.size = Some(SIZE);
    let mut report = outcome.report("storm", setup);
    report.count_messages(tally);
    report.count_heartbeats(&tally.counts);
    let mut both = LegTally::default();
    tally.legs.iter().for_each(|leg| both.add(leg));
    report.latency_us = Latency::of_leg(&both);
    report.judge_generator(&both);
    report.judge_gateway(&tally.legs, "messages");
    let back = tally.storm.clone().unwrap_or_default();
    if tally.storm.is_some() {
        (report.links.resumed, report.links.full) = (Some(back.resumed), Some(back.full));
        report.warnings.extend(not_resumed(&back, options));
    }
    let cpu_us_per_link = micros_per(recovered, back.recovery.len());
    report.gateway = cpu_us_per_link.map(|_| Gateway { cpu_us_per_link, ..Gateway::default() });
    let mut storm = told::Course {
        cut: options.terms.cut.name(),
        full: options.terms.full,
        open_at_once: options.terms.open_at_once,
        links: tally.counts.cut,
        restart_ms: restart.map(|restart| restart.as_secs_f64() * 1000.0),
        requests_cut: tally.counts.severed,
        ..told::Course::default()
    };
    storm.count(&back);
    report.storm = Some(told::Storm {
        storm,
        recovery_ms: told::Recovery::of(&back.recovery),
        connect: told::Opening { cpu_us_per_link: micros_per(opened, welcomed) },
        pushes: options.terms.push.map(|_| told::Pushes::of(&tally.pushes[0], tally.outcomes[0].as_ref())),
    });
    report.judge_storm(sessions_go_on(options));
    report.judge()
}

/// Whether the gateway and its clients both know the sessions that were.
fn sessions_go_on(options: &Storm) -> bool {
    !options.terms.full && options.terms.cut != CutKind::KillGateway
}

/// What is to be said where sessions should have waited, and did not.
fn not_resumed(back: &StormTally, options: &Storm) -> Option<String> {
    let lost = back.recovery.len() - back.resumed;
    (lost > 0 && sessions_go_on(options)).then(|| {
        format!(
            "{lost} links came back without their session: the gateway keeps as many as its config says (`detached` of \
             [sessions], per worker), for as long as it says"
        )
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::options::{Options, Scenario};

    fn options(line: &str) -> Storm {
        let words = ["loadgen", "storm"].into_iter().chain(line.split_whitespace());
        let Scenario::Storm(storm) = Options::try_parse_from(words).unwrap().scenario else {
            panic!("{line}")
        };
        storm
    }

    fn target(pid: Option<u32>) -> Target {
        Target {
            address: "127.0.0.1:7000".parse().unwrap(),
            server_key: protocol::noise::PublicKey([1; 32]),
            token: String::new(),
            http: None,
            pid,
            unwatched: None,
        }
    }

    #[test]
    fn only_the_gateway_of_a_ready_file_is_killed() {
        let victim =
            |line: &str, pid| Victim::of(&options(line), &target(pid)).map(|victim| victim.map(|v| v.pid));
        assert_eq!(victim("--cut kill-gateway --target-file f", Some(7)), Ok(Some(7)));
        assert_eq!(victim("--cut close", Some(7)), Ok(None));
        assert!(victim("--cut kill-gateway", Some(7)).unwrap_err().contains("--target-file"));
        assert!(victim("--cut kill-gateway --target-file f", None).unwrap_err().contains("nobody is killed"));
        assert!(victim("--restart true", Some(7)).unwrap_err().contains("--restart is for"));
    }

    #[test]
    fn a_rate_is_spread_over_the_links() {
        let told = |line| traffic(&options(line)).map(|traffic| (traffic.interval, traffic.pushes_in_1000));
        assert_eq!(told("--links 500 --rate 50"), Ok((Duration::from_secs(10), 0)));
        assert_eq!(told("--links 500"), Ok((INTERVAL_DEFAULT, 0)));
        assert_eq!(told("--links 500 --rate 60 --push 40"), Ok((Duration::from_secs(5), 400)));
        assert_eq!(told("--links 500 --rate 0 --push 50"), Ok((Duration::from_secs(10), 1000)));
        for wrong in ["--rate 10000 --push 1", "--push 0", "--push=-1"] {
            assert!(told(wrong).unwrap_err().contains("--push"), "{wrong}");
        }
        for wrong in ["0", "0.01", "1000000", "-1"] {
            let line = format!("--links 500 --rate={wrong}");
            assert!(traffic(&options(&line)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sessions_that_should_have_waited_and_did_not_are_told_of() {
        let mut back = StormTally { resumed: 1, ..StormTally::default() };
        (0..3).for_each(|_| back.record(Duration::from_secs(1)));
        assert!(not_resumed(&back, &options("")).unwrap().starts_with("2 links came back without"));
        for line in ["--full", "--cut kill-gateway"] {
            assert_eq!(not_resumed(&back, &options(line)), None, "{line}: there is none to wait");
        }
    }
}
