//! The course of a run: workers, baselines, ramp, legs, drain, close.

use std::sync::Arc;
use std::time::Duration;

use protocol::Time;
use protocol::noise::StaticKey;

use crate::clock::Clock;
use crate::crew::Crew;
use crate::fleet::{Leg, Load, Order, Pushes, Settings};
use crate::opening::Opening;
use crate::options::Shared;
use crate::plan::mix;
use crate::progress::Progress;
use crate::result::{Busy, Report, Setup, part};
use crate::stop::Stop;
use crate::tally::{Counts, Tally};
use crate::target::{self, Target};
use crate::tokens::Tokens;
use crate::units::Micros;
use crate::watch::{Cpu, Process, Slab, Spent};
use crate::worker::links_max;

/// What is to be done.
pub(super) struct Course {
    pub(super) scenario: &'static str,
    pub(super) links: u32,
    /// The load of a worker that has so many of the links.
    pub(super) load: Box<dyn Fn(u32) -> Load>,
    pub(super) size: usize,
    pub(super) batch: u32,
    pub(super) legs: Vec<Stretch>,
    /// Tokens that are signed before the load begins, where they are signed here.
    pub(super) tokens: u32,
    /// Whether memory per link is measured.
    pub(super) memory: bool,
    /// What the links are pushed, if that is what they ask for.
    pub(super) pushes: Option<Pushes>,
}

/// A leg before it has a time.
pub(super) struct Stretch {
    pub(super) warmup: Duration,
    pub(super) duration: Duration,
    pub(super) cycles_max: u64,
    pub(super) resume: bool,
}

/// What a run gave.
pub(super) struct Outcome {
    pub(super) tally: Tally,
    /// Workers used.
    pub(super) workers: u32,
    pub(super) legs: Vec<LegCost>,
    pub(super) memory: Option<Memory>,
    /// When it was told to end early.
    pub(super) interrupted: Option<Time>,
    /// When it ended early since no link was left.
    pub(super) deserted: Option<Time>,
    pub(super) warnings: Vec<String>,
}

/// What the stages of a run gave.
struct Stages {
    legs: Vec<LegCost>,
    memory: Option<Memory>,
    interrupted: Option<Time>,
    deserted: Option<Time>,
}

/// What a leg cost, over its measured part.
pub(super) struct LegCost {
    /// How long that was.
    pub(super) measured: Duration,
    /// How busy the ends were meanwhile.
    pub(super) busy: Busy,
    pub(super) counts: Counts,
    pub(super) gateway: Option<Duration>,
    pub(super) own: Option<Duration>,
}

/// Growth since the baseline, with all links up.
pub(super) struct Memory {
    /// Links that were up when it was taken.
    pub(super) links: u64,
    pub(super) gateway_pss: Option<i64>,
    pub(super) own_pss: Option<i64>,
    pub(super) slab: Option<Spent>,
}

struct MemoryBaseline {
    gateway_pss: Option<u64>,
    own_pss: Option<u64>,
    slab: Option<Slab>,
}

/// The bounds of a run's stages; none can hang.
const RAMP_MAX: Duration = Duration::from_secs(60);
const RAMP_MAX_PER_LINK: Duration = Duration::from_millis(3);
const CLOSE_MAX: Duration = Duration::from_secs(20);
const CLOSE_MAX_PER_LINK: Duration = Duration::from_millis(1);
/// From the order to run until the load begins, so that all workers begin together.
const LEAD: Duration = Duration::from_millis(50);

impl Course {
    pub(super) fn run(&self, shared: &Shared, stop: &Stop) -> Result<Outcome, String> {
        let target = shared.target()?;
        let shares = self.shares(shared, &target)?;
        let mut run = self.start(shares, shared, &target, stop)?;
        let baseline = self.memory.then(|| run.watch.baseline());
        let stages = self.stages(&mut run, baseline, shared.drain);
        let workers = run.crew.len() as u32;
        let tally = run.crew.finish();
        let Stages { legs, memory, interrupted, deserted } = stages?;
        Ok(Outcome { tally, workers, legs, memory, interrupted, deserted, warnings: run.watch.warnings })
    }

    /// Workers at rest, and a watch over the gateway.
    pub(super) fn start(
        &self,
        shares: Vec<Settings>,
        shared: &Shared,
        target: &Target,
        stop: &Stop,
    ) -> Result<Run, String> {
        let clock = Clock::start();
        let warnings = target
            .unwatched
            .iter()
            .map(|why| format!("not measured: what it costs the gateway: {why}"))
            .collect();
        let watch = Watch { gateway: target.pid.map(Process::with_pid), warnings };
        let crew = Crew::start(shares, &shared.pin, clock, stop)?;
        let progress = Progress::new(self.scenario, self.links);
        Ok(Run { clock, crew, watch, progress })
    }

    fn stages(
        &self,
        run: &mut Run,
        baseline: Option<MemoryBaseline>,
        drain: Duration,
    ) -> Result<Stages, String> {
        self.ramp(run)?;
        let (mut legs, mut memory, mut interrupted, mut deserted) = (Vec::new(), None, None, None);
        for stretch in &self.legs {
            interrupted = run.crew.stopped();
            deserted = self.deserted(run, &legs).filter(|_| interrupted.is_none());
            if interrupted.is_some() || deserted.is_some() {
                break;
            }
            legs.push(self.leg(run, stretch)?);
            // What comes later cuts nothing of this leg.
            interrupted = run.crew.stopped();
            let cut = legs.last().is_some_and(|leg| leg.measured < stretch.duration);
            deserted = self.deserted(run, &legs).filter(|_| cut && interrupted.is_none());
            if let Some(baseline) = &baseline {
                let counts = run.crew.counts();
                memory = Some(run.watch.memory(baseline, counts.up()));
            }
            run.drain(drain)?;
        }
        if !legs.is_empty() {
            self.inquire(run, drain)?;
        }
        self.close(run)?;
        Ok(Stages { legs, memory, interrupted, deserted })
    }

    /// Opens all links.
    pub(super) fn ramp(&self, run: &mut Run) -> Result<(), String> {
        let ramp_max = RAMP_MAX + RAMP_MAX_PER_LINK * self.links;
        if !run.stage("ramp", |_| Order::Ramp, ramp_max)? && run.crew.stopped().is_none() {
            run.watch.warnings.push(format!("the ramp was given up after {} s", ramp_max.as_secs()));
        }
        Ok(())
    }

    /// Asks what became of the pushes, if there were any.
    pub(super) fn inquire(&self, run: &mut Run, most: Duration) -> Result<(), String> {
        if self.pushes.is_some() && !run.stage("outcomes", |_| Order::Inquire, most)? {
            run.watch.warnings.push(format!("outcomes were still open after {}", Micros::from(most)));
        }
        Ok(())
    }

    /// Closes all links.
    pub(super) fn close(&self, run: &mut Run) -> Result<(), String> {
        if !run.stage("close", |_| Order::Close, CLOSE_MAX + CLOSE_MAX_PER_LINK * self.links)? {
            run.watch.warnings.push("not all links were closed in time".to_owned());
        }
        Ok(())
    }

    /// Now, if no link is left of which anything could come. A place of cycles is given up with its first link that
    /// fails or is lost.
    fn deserted(&self, run: &Run, legs: &[LegCost]) -> Option<Time> {
        let counts = run.crew.counts();
        let none_left = if self.has_cycles() {
            !legs.is_empty() && counts.failed + counts.lost >= self.links.into()
        } else {
            counts.up() == 0
        };
        none_left.then(|| run.clock.now())
    }

    fn has_cycles(&self) -> bool {
        matches!((self.load)(1), Load::Cycle { .. })
    }

    pub(super) fn leg(&self, run: &mut Run, stretch: &Stretch) -> Result<LegCost, String> {
        let start = run.clock.now() + LEAD;
        let from = start + stretch.warmup;
        let to = from + stretch.duration;
        let workers = run.crew.len() as u64;
        let order = |worker: usize| {
            let cycles_max = share(stretch.cycles_max, worker as u64, workers);
            Order::Run(Leg { start, from, to, cycles_max, resume: stretch.resume })
        };
        run.crew.order(order);
        run.wait(if stretch.resume { "resume" } else { "run" }, from)?;
        let before = run.watch.cpu();
        let counts_before = run.crew.counts();
        run.wait(if stretch.resume { "resume" } else { "run" }, to)?;
        let after = run.watch.cpu();
        let measured = run.clock.now().min(to).since(from);
        let gateway = before.gateway.zip(after.gateway);
        let own = before.own.zip(after.own);
        let used = |pair: &(Cpu, Cpu)| pair.1.since(&pair.0);
        let busy = |pair: &(Cpu, Cpu)| part(pair.1.busiest_since(&pair.0), measured);
        Ok(LegCost {
            measured,
            busy: Busy { gateway: gateway.as_ref().and_then(busy), own: own.as_ref().and_then(busy) },
            counts: run.crew.counts().since(&counts_before),
            gateway: gateway.as_ref().map(used),
            own: own.as_ref().map(used),
        })
    }

    /// Splits the links among the workers.
    pub(super) fn shares(&self, shared: &Shared, target: &Target) -> Result<Vec<Settings>, String> {
        if !(1..=PAYLOAD_MAX).contains(&self.size) {
            return Err(format!("--size must be from 1 to {PAYLOAD_MAX}"));
        }
        let per_ring = links_max()?;
        let needed = self.links.div_ceil(per_ring.max(1));
        let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u32);
        let workers = shared.workers.unwrap_or(cpus.max(needed)).min(self.links);
        if workers < needed {
            return Err(format!(
                "{} links need {needed} workers, because a ring holds {per_ring} here (RLIMIT_NOFILE)",
                self.links
            ));
        }
        let ports = target::ports().map_err(|error| format!("ip_local_port_range: {error}"))?;
        let destinations = target::destinations(target.address, self.links, ports)?;
        let random = random()?;
        let (suite, device_key) = (shared.suite.suite(), StaticKey::from_secret(random));
        let opening = Opening::new(target.server_key, suite, device_key, target.token.clone().into_bytes());
        let run = u32::from_be_bytes([random[0], random[1], random[2], random[3]]);
        let signer = shared.signing.signer(run, Clock::unix_seconds())?.map(Arc::new);
        let mut first = 0;
        let settings = |links| Settings {
            opening: opening.clone(),
            tokens: None,
            heartbeat: shared.heartbeat,
            sources: Vec::new(),
            destinations: destinations.clone(),
            first: 0,
            links,
            opening_max: shared.ramp.div_ceil(workers).max(1),
            opening_deadline: shared.timeout,
            run,
            seed: 0,
            size: self.size,
            batch: self.batch,
            load: (self.load)(links),
            pushes: self.pushes.clone(),
            keeps_sessions: false,
        };
        let share_of = |worker| share(u64::from(self.links), u64::from(worker), u64::from(workers)) as u32;
        let share_of_tokens = |worker| self::share(self.tokens.into(), u64::from(worker), u64::from(workers));
        Ok((0..workers)
            .map(|worker| {
                let mut share = settings(share_of(worker));
                (share.first, share.seed) = (first, mix(u64::from(share.run), u64::from(worker)));
                let kept = share_of_tokens(worker);
                share.tokens = signer.as_ref().map(|signer| Tokens::new(Arc::clone(signer), first, kept));
                first += share.links;
                share
            })
            .collect())
    }
}

/// A payload fits the shortest frame a gateway may be configured to, and a send.
const PAYLOAD_MAX: usize = 60_000;

/// Part `index` of `total` in `parts` parts that differ by one at most.
pub(super) fn share(total: u64, index: u64, parts: u64) -> u64 {
    total / parts + u64::from(index < total % parts)
}

pub(super) fn random() -> Result<[u8; 32], String> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| format!("randomness: {error}"))?;
    Ok(random)
}

impl Outcome {
    /// What all scenarios report alike.
    pub(super) fn report(&self, scenario: &'static str, setup: Setup) -> Report {
        let mut report = Report::new(scenario, setup, &self.tally, self.warnings.clone());
        report.interrupted_after_s = self.interrupted.map(|at| at.since(Time::ZERO).as_secs_f64());
        report.deserted_after_s = self.deserted.map(|at| at.since(Time::ZERO).as_secs_f64());
        report.measured_s = self.legs.first().map(|leg| leg.measured.as_secs_f64());
        report
    }
}

/// A run under way.
pub(super) struct Run {
    pub(super) clock: Clock,
    pub(super) crew: Crew,
    pub(super) watch: Watch,
    progress: Progress,
}

impl Run {
    pub(super) fn stage(
        &mut self,
        name: &str,
        order: impl Fn(usize) -> Order,
        most: Duration,
    ) -> Result<bool, String> {
        self.crew.order(order);
        self.wait(name, self.clock.now() + most)
    }

    /// Waits for what is still to be answered.
    pub(super) fn drain(&mut self, most: Duration) -> Result<(), String> {
        if !self.stage("drain", |_| Order::Drain, most)? {
            self.watch.warnings.push(format!("answers were still awaited after {}", Micros::from(most)));
        }
        Ok(())
    }

    pub(super) fn wait(&mut self, name: &str, until: Time) -> Result<bool, String> {
        let progress = &mut self.progress;
        self.crew.wait(until, |now, counts| progress.show(name, now, counts))
    }
}

/// The part of the sockets that may be foreign.
const FOREIGN_SOCKETS_MAX: f64 = 0.02;

/// Reads figures from outside; what cannot be read is told once and then absent.
pub(super) struct Watch {
    pub(super) gateway: Option<Process>,
    pub(super) warnings: Vec<String>,
}

pub(super) struct CpuPair {
    gateway: Option<Cpu>,
    own: Option<Cpu>,
}

impl CpuPair {
    /// What the gateway has used since then, if that is known.
    pub(super) fn gateway_since(&self, earlier: &Self) -> Option<Duration> {
        Some(self.gateway.as_ref()?.since(earlier.gateway.as_ref()?))
    }
}

impl Watch {
    pub(super) fn cpu(&mut self) -> CpuPair {
        let gateway = self.gateway.as_ref().map(Process::cpu);
        CpuPair {
            gateway: self.try_read(gateway, "CPU of the gateway"),
            own: self.try_read(Some(Process::own().cpu()), "own CPU"),
        }
    }

    fn baseline(&mut self) -> MemoryBaseline {
        let gateway = self.gateway.as_ref().map(Process::pss);
        // Without the gateway on this machine, the kernel's memory is not that of both ends.
        let slab = self.gateway.is_some().then(Slab::read);
        MemoryBaseline {
            gateway_pss: self.try_read(gateway, "memory of the gateway"),
            own_pss: self.try_read(Some(Process::own().pss()), "own memory"),
            slab: self.try_read(slab, "slab caches (/proc/slabinfo, root only)"),
        }
    }

    fn memory(&mut self, baseline: &MemoryBaseline, links: u64) -> Memory {
        let now = self.baseline();
        let growth = |now: Option<u64>, before: Option<u64>| Some(now?.cast_signed() - before?.cast_signed());
        Memory {
            links,
            gateway_pss: growth(now.gateway_pss, baseline.gateway_pss),
            own_pss: growth(now.own_pss, baseline.own_pss),
            slab: now
                .slab
                .zip(baseline.slab.as_ref())
                .map(|(now, before)| now.since(before))
                .filter(|spent| self.is_of_links(spent, links)),
        }
    }

    /// Each link has a socket at either end; when the kernel gained clearly more or fewer, somebody else's came or went
    /// meanwhile, and the growth is not that of the links.
    fn is_of_links(&mut self, spent: &Spent, links: u64) -> bool {
        let (gained, expected) = (spent.count as f64, 2.0 * links as f64);
        let fits = (gained - expected).abs() <= FOREIGN_SOCKETS_MAX * expected;
        if !fits {
            self.warnings.push(format!(
                "not measured: memory of the kernel: it gained {gained} TCP sockets, and the links have {expected}"
            ));
        }
        fits
    }

    fn try_read<T>(&mut self, read: Option<std::io::Result<T>>, what: &str) -> Option<T> {
        match read? {
            Ok(value) => Some(value),
            Err(error) => {
                let warning = format!("not measured: {what}: {error}");
                if !self.warnings.contains(&warning) {
                    self.warnings.push(warning);
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_differ_by_one_at_most() {
        for (total, parts) in [(100_000, 6), (7, 7), (5, 2), (u64::MAX, 3)] {
            let shares: Vec<u64> = (0..parts).map(|index| share(total, index, parts)).collect();
            assert_eq!(shares.iter().sum::<u64>(), total);
            assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1);
        }
    }
}
