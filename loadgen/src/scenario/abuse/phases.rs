//! Ramp and warm-up; pairs of phases, without the attack and under it; close. Each stage has a bound.

use std::time::Duration;

use protocol::Time;

use super::cast;
use super::gauges::Gauges;
use crate::clock::Clock;
use crate::crew::Crew;
use crate::fleet::{Leg, Order};
use crate::mob::{self, Count};
use crate::options::Abuse;
use crate::progress::Progress;
use crate::raid::Raid;
use crate::tally::Tally;
use crate::target::Target;

/// A run under way.
pub(super) struct Stage<'o> {
    options: &'o Abuse,
    clock: Clock,
    crew: Crew,
    raid: Raid,
    gauges: Gauges,
    progress: Progress,
}

/// What the phases gave.
#[derive(Debug, Default)]
pub(super) struct Phased {
    pub(super) quiet: Spent,
    pub(super) attacked: Spent,
    /// In bytes.
    pub(super) pss_max: Option<u64>,
    /// In bytes.
    pub(super) ceiling: Option<u64>,
    /// When it was told to end early.
    pub(super) interrupted: Option<Time>,
    /// When it ended early since no honest link was left.
    pub(super) deserted: Option<Time>,
}

/// What all phases of a kind took.
#[derive(Debug, Default)]
pub(super) struct Spent {
    pub(super) time: Duration,
    /// CPU of the gateway; absent if it could not be read in all of them.
    pub(super) gateway: Option<Duration>,
    /// New honest links that were planned.
    pub(super) connects: u64,
}

const RAMP_MAX: Duration = Duration::from_secs(60);
const CLOSE_MAX: Duration = Duration::from_secs(20);
/// How long attackers may take to leave: they close what they have, and await what they have begun.
const LEAVE_MAX: Duration = Duration::from_secs(20);
/// Load before anything is measured.
const WARM_UP: Duration = Duration::from_millis(500);
/// From the order to run until the load begins, so that all threads begin together.
const LEAD: Duration = Duration::from_millis(50);
/// Workers of the crew, by what they do.
const STEADY: usize = 0;

impl<'o> Stage<'o> {
    pub(super) fn new(options: &'o Abuse, target: &Target, clock: Clock, crew: Crew, raid: Raid) -> Self {
        let progress = Progress::new("abuse", options.honest);
        Self { options, clock, crew, raid, gauges: Gauges::new(target), progress }
    }

    /// # Errors
    /// One line when a thread could not go on.
    pub(super) fn run(&mut self) -> Result<Phased, String> {
        let mut phased = Phased { ceiling: self.gauges.ceiling(), ..Phased::default() };
        let ramp = |worker| if worker == STEADY { Order::Ramp } else { Order::Drain };
        if !self.stage("ramp", ramp, RAMP_MAX)? && self.crew.stopped().is_none() {
            self.gauges.warnings.push(format!("the ramp was given up after {} s", RAMP_MAX.as_secs()));
        }
        self.warm_up()?;
        self.pairs(&mut phased)?;
        if !self.stage("close", |_| Order::Close, CLOSE_MAX)? {
            self.gauges.warnings.push("not all links were closed in time".to_owned());
        }
        phased.pss_max = self.gauges.pss_max;
        Ok(phased)
    }

    /// Ends all threads.
    pub(super) fn finish(self) -> (Vec<Tally>, Count, Vec<String>) {
        (self.crew.finish_each(), self.raid.finish(), self.gauges.warnings)
    }

    /// All pairs, or those there is time and an honest link for.
    fn pairs(&mut self, phased: &mut Phased) -> Result<(), String> {
        for pair in 0..self.options.pairs {
            for attacked in [false, true] {
                phased.interrupted = self.crew.stopped();
                if phased.interrupted.is_some() {
                    return Ok(());
                }
                if self.crew.counts().up() == 0 {
                    phased.deserted = Some(self.clock.now());
                    return Ok(());
                }
                let connects = if attacked { self.connects_of(pair) } else { 0 };
                let (spent, is_cut) = self.phase(attacked, connects)?;
                let of_kind = if attacked { &mut phased.attacked } else { &mut phased.quiet };
                of_kind.add(spent, pair == 0);
                if is_cut {
                    // Told to end, or left by the last honest link.
                    phased.interrupted = self.crew.stopped();
                    phased.deserted = phased.interrupted.is_none().then(|| self.clock.now());
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn warm_up(&mut self) -> Result<(), String> {
        let start = self.clock.now() + LEAD;
        let to = start + WARM_UP;
        let leg = Leg { start, from: to, to, cycles_max: 0, resume: false };
        self.crew.order(|worker| if worker == STEADY { Order::Run(leg) } else { Order::Drain });
        self.wait("warm-up", to)?;
        self.drain()
    }

    /// New honest links of a pair: all of them, dealt out evenly.
    fn connects_of(&self, pair: u32) -> u32 {
        let per_phase = cast::per_phase(self.options);
        per_phase.min(self.options.connects.saturating_sub(pair * per_phase))
    }

    /// One phase, with its load over and its attackers gone at the end; and whether it ended before its time.
    fn phase(&mut self, attacked: bool, connects: u32) -> Result<(Spent, bool), String> {
        let name = if attacked { "attacked" } else { "quiet" };
        let start = self.clock.now() + LEAD;
        let (middle, to) = (start + self.options.duration / 2, start + self.options.duration);
        let run = |cycles_max| Order::Run(Leg { start, from: start, to, cycles_max, resume: false });
        self.crew.order(|worker| match worker {
            STEADY => run(0),
            _ if attacked => run(connects.into()),
            _ => Order::Drain,
        });
        if attacked {
            self.raid.order(mob::Order::Attack { from: start, to });
        }
        self.wait(name, start)?;
        let (before, begun) = (self.gauges.cpu(), self.clock.now());
        self.wait(name, middle)?;
        self.gauges.look();
        if attacked && !cast::conduct(self.options).logs_in() {
            self.gauges.look_at_strangers((self.options.honest + self.options.connects).into());
        }
        self.wait(name, to)?;
        let (after, ended) = (self.gauges.cpu(), self.clock.now());
        self.gauges.look();
        if attacked && ended < to {
            self.raid.order(mob::Order::Leave);
        }
        self.drain()?;
        if attacked && !self.raid.wait(LEAVE_MAX)? {
            self.gauges
                .warnings
                .push(format!("attackers were left {} s after their time", LEAVE_MAX.as_secs()));
        }
        let gateway = before.zip(after).map(|(before, after)| after.since(&before));
        Ok((Spent { time: ended.min(to).since(begun), gateway, connects: connects.into() }, ended < to))
    }

    fn drain(&mut self) -> Result<(), String> {
        if !self.stage("drain", |_| Order::Drain, self.options.shared.drain)? {
            let seconds = self.options.shared.drain.as_secs_f64();
            self.gauges.warnings.push(format!("answers were still awaited after {seconds} s"));
        }
        Ok(())
    }

    fn stage(&mut self, name: &str, order: impl Fn(usize) -> Order, most: Duration) -> Result<bool, String> {
        self.crew.order(order);
        self.wait(name, self.clock.now() + most)
    }

    /// Waits, and looks at the gateway's memory each time the progress is shown.
    fn wait(&mut self, name: &str, until: Time) -> Result<bool, String> {
        let (progress, gauges) = (&mut self.progress, &mut self.gauges);
        self.crew.wait(until, |now, counts| {
            progress.show(name, now, counts);
            gauges.look();
        })
    }
}

impl Spent {
    /// Adds another phase; `first`: there was none before.
    fn add(&mut self, other: Self, first: bool) {
        self.time += other.time;
        self.connects += other.connects;
        self.gateway = if first {
            other.gateway
        } else {
            self.gateway.zip(other.gateway).map(|(sum, other)| sum + other)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_read_in_one_phase_is_not_known_of_all() {
        let spent = |gateway: Option<u64>| Spent {
            time: Duration::from_secs(1),
            gateway: gateway.map(Duration::from_secs),
            connects: 3,
        };
        let mut sum = Spent::default();
        sum.add(spent(Some(1)), true);
        sum.add(spent(Some(2)), false);
        assert_eq!((sum.gateway, sum.connects, sum.time.as_secs()), (Some(Duration::from_secs(3)), 6, 2));
        sum.add(spent(None), false);
        sum.add(spent(Some(2)), false);
        assert_eq!(sum.gateway, None);
    }
}
