//! What all links of a fleet share: orders, plan, counters, buffers, tickets.

use std::collections::VecDeque;
use std::time::Duration;

use driver::{Batch, Op};
use protocol::Time;

use super::book::Inbox;
use super::inquiry::Inquiry;
use super::ledger::Ledger;
use super::link::Link;
use super::session::Session;
use super::stalls::Stalls;
use super::{Leg, Load, Order, Settings};
use crate::payload::Stamp;
use crate::plan::Plan;
use crate::tally::{LATE_MAX, LegTally, Tally};

pub(crate) struct Desk {
    pub(crate) settings: Settings,
    pub(crate) stage: Option<Order>,
    pub(crate) tally: Tally,
    /// Operations for the driver.
    pub(crate) ops: VecDeque<Op>,
    /// Pings and messages whose answer is awaited, of all links.
    pub(crate) awaited: u64,
    /// Pushes to slow links that may still come.
    pub(crate) awaited_slow: u64,
    /// When the last one came to any.
    pub(crate) slow_heard: Time,
    /// Cycles are due and there is no free place.
    pub(crate) held: bool,
    /// Closed loop: the first packets of this leg are planned.
    pub(crate) primed: bool,
    /// When turns began much later than they were to, since this leg was begun.
    stalls: Stalls,
    plan: Plan,
    /// The last leg that was begun; answers may come after it is over.
    leg: Option<Leg>,
    /// Closed loop: when the packets in flight left, `window` of each link.
    left: Vec<Time>,
    /// One per place of a cycle, or per link that keeps its session.
    pub(crate) tickets: Vec<Option<Ticket>>,
    /// One per link, where they are pushed anything.
    pub(crate) inboxes: Vec<Inbox>,
    /// At the end, what is asked of the service that pushed.
    pub(crate) inquiry: Inquiry,
    /// One per link, if they are kept.
    pub(crate) sessions: Vec<Session>,
    /// Links that were cut and are not back.
    pub(crate) out: u32,
    batches: Vec<Batch>,
    /// A payload under construction.
    pub(crate) scratch: Vec<u8>,
}

/// A ticket and its secret.
#[derive(Clone)]
pub(crate) struct Ticket {
    pub(crate) ticket: Vec<u8>,
    pub(crate) psk: [u8; 32],
}

/// Batches kept for later sends, and the largest that is kept.
const BATCHES_MAX: usize = 1024;
const BATCH_LEN_MAX: usize = 64 * 1024;

impl Desk {
    pub(crate) fn new(settings: Settings) -> Self {
        let links = settings.links as usize;
        let left = match settings.load {
            Load::Window { packets } => links * packets as usize,
            _ => 0,
        };
        let keeps_tickets = settings.keeps_sessions || settings.load.keeps_tickets();
        let tickets = if keeps_tickets { links } else { 0 };
        let sessions = if settings.keeps_sessions { links } else { 0 };
        Self {
            stage: None,
            tally: Tally::default(),
            ops: VecDeque::new(),
            awaited: 0,
            awaited_slow: 0,
            slow_heard: Time::ZERO,
            held: false,
            primed: false,
            stalls: Stalls::default(),
            plan: Plan::new(0, Duration::ZERO, 0),
            leg: None,
            left: vec![Time::ZERO; left],
            tickets: vec![None; tickets],
            inboxes: vec![Inbox::default(); settings.pushes.as_ref().map_or(0, |_| links)],
            inquiry: Inquiry::default(),
            sessions: vec![Session::NONE; sessions],
            out: 0,
            batches: Vec::new(),
            scratch: Vec::new(),
            settings,
        }
    }

    pub(crate) fn begin_leg(&mut self, leg: Leg) {
        let Settings { links, seed, .. } = self.settings;
        self.plan = match self.settings.load {
            Load::Planned { interval } => Plan::new(links, interval, seed),
            // Cycles are planned for the fleet as a whole: whichever place is free takes the next.
            Load::Cycle { interval: Some(interval), .. } => Plan::new(1, interval, seed),
            _ => Plan::new(0, Duration::ZERO, seed),
        };
        self.leg = Some(leg);
        (self.held, self.primed) = (false, false);
        self.stalls.clear();
        self.tally.legs.push(LegTally::default());
    }

    /// The leg that is being run.
    pub(crate) fn running(&self) -> Option<Leg> {
        match self.stage {
            Some(Order::Run(leg)) => Some(leg),
            _ => None,
        }
    }

    /// When the plan wants the next packet or cycle, if it still does.
    pub(crate) fn next_planned(&self) -> Option<Time> {
        let leg = self.running()?;
        Some(leg.start + self.plan.next()?).filter(|&planned| planned < leg.to)
    }

    /// The link (0 for cycles) that is next in the plan, if it is planned for no later than `until`.
    pub(crate) fn take_planned(&mut self, until: Time) -> Option<(u32, Time)> {
        let planned = self.next_planned().filter(|&planned| planned <= until)?;
        Some((self.plan.take(Duration::MAX)?, planned))
    }

    /// When a packet was to leave (open loop), or left (closed loop).
    pub(crate) fn base(&self, index: u32, packet: u32, link: &Link) -> Time {
        match self.settings.load {
            Load::Planned { .. } => {
                // An answer that is later than the next leg's begin is measured in none.
                let Some((leg, number)) = self.leg.zip(packet.checked_sub(link.before)) else {
                    return Time::ZERO;
                };
                leg.start + self.plan.offset(index, number)
            }
            Load::Window { packets } => self.left[(index * packets + packet % packets) as usize],
            Load::Cycle { .. } | Load::Idle => link.begun,
        }
    }

    /// A packet leaves.
    pub(crate) fn leave(&mut self, index: u32, packet: u32, now: Time) {
        if let Load::Window { packets } = self.settings.load {
            self.left[(index * packets + packet % packets) as usize] = now;
        }
    }

    /// The tally of the running leg, if `base` lies in its measured part.
    pub(crate) fn measured(&mut self, base: Time) -> Option<&mut LegTally> {
        let leg = self.leg?;
        (leg.from <= base && base < leg.to).then(|| self.tally.legs.last_mut())?
    }

    /// Whether what was planned, or left, at `base` is of the warm-up.
    pub(crate) fn is_early(&self, base: Time) -> bool {
        self.leg.is_some_and(|leg| base < leg.from)
    }

    /// A turn that was to begin at `wanted` begins at `now`.
    pub(crate) fn begin_turn(&mut self, wanted: Time, now: Time) {
        if now.since(wanted) > LATE_MAX {
            self.stalls.add(wanted, now);
            self.was_stalled(wanted, now);
        }
    }

    /// Nothing was looked at from `wanted` to `now`; what of it lies in the measured part counts.
    fn was_stalled(&mut self, wanted: Time, now: Time) {
        if let (Some(Leg { from, to, .. }), Some(leg)) = (self.leg, self.tally.legs.last_mut())
            && wanted < to
            && from < now
        {
            leg.late_turns += 1;
            leg.stalled += now.min(to).since(wanted.max(from));
        }
    }

    /// How late something planned for `base` is at `now` by the generator's own fault, and whether that missed it.
    ///
    /// What did not have to wait for the gateway (`held`) waited for nobody else. Of what did, the generator pays for
    /// the time it stood still meanwhile, when the answer may have lain there unread; and whoever let it wait for the
    /// greater part has let it wait.
    fn own_fault(&self, base: Time, now: Time, held: bool) -> (Duration, bool) {
        let late = now.since(base);
        let own = if held { self.stalls.within(base, now) } else { late };
        (own, own > LATE_MAX && own > late - own)
    }

    /// Something planned for `base` is done at `now`. `held`: it had to wait for the gateway.
    pub(crate) fn was_planned(&mut self, base: Time, now: Time, held: bool, count: u64) {
        let (own, missed) = self.own_fault(base, now, held);
        let Some(leg) = self.measured(base) else { return };
        leg.planned += count;
        leg.record_late(own);
        if missed {
            leg.missed += count;
            self.tally.counts.missed += count;
        }
    }

    /// Something planned for `base` will never be done, since the load is over at `end`. `held`: it had to wait for the
    /// gateway.
    pub(crate) fn was_skipped(&mut self, base: Time, end: Time, held: bool, count: u64) {
        let (_, missed) = self.own_fault(base, end, held);
        if held && !missed {
            return self.was_unsent(base, end, count);
        }
        let Some(leg) = self.measured(base) else { return };
        leg.planned += count;
        leg.missed += count;
        self.tally.counts.missed += count;
    }

    /// Something planned for `base` will never be done, and that is none of the generator's fault.
    pub(crate) fn was_unsent(&mut self, base: Time, end: Time, count: u64) {
        let Some(leg) = self.measured(base) else { return };
        leg.planned += count;
        leg.record_unsent(end.since(base), count);
        self.tally.counts.unsent += count;
    }

    /// A cycle begun at `begun` went through.
    pub(crate) fn went_through(&mut self, begun: Time) {
        self.tally.counts.cycles += 1;
        if let Some(leg) = self.tally.legs.last_mut() {
            leg.cycles += 1;
        }
        if let Some(leg) = self.measured(begun) {
            leg.connects += 1;
        }
    }

    /// The most messages a link may have in flight.
    pub(crate) fn in_flight_max(&self, link: &Link) -> u32 {
        match self.settings.load {
            Load::Window { packets } => link.grant.min(packets * self.settings.batch),
            _ => link.grant,
        }
    }

    /// What the gateway is told of this message of a link's life: requests are counted per session.
    pub(crate) fn counter(&self, index: u32, sequence: u32) -> u64 {
        let before = self.sessions.get(index as usize).map_or(0, Session::requests);
        before + u64::from(sequence) + 1
    }

    pub(crate) fn stamp(&self, index: u32, link: &Link, sequence: u32) -> Stamp {
        Stamp { run: self.settings.run, link: self.settings.first + index, life: link.life, sequence }
    }

    /// The answers a link still awaited will not come.
    pub(crate) fn write_off(&mut self, link: &mut Link, index: u32) {
        // Whoever was cut goes on with its session.
        if !link.absence.out {
            self.write_off_pushes(index);
        }
        self.forget_question(link, index);
        let open = u64::from(link.ledger.open());
        let early = u64::from(link.ledger.open_among(link.early));
        link.ledger = Ledger::NEW;
        if self.is_excused(index) {
            self.tally.counts.unheard += open;
        } else {
            self.tally.count(true, early, |counts| &mut counts.unanswered);
            self.tally.count(false, open - early, |counts| &mut counts.unanswered);
        }
        self.awaited -= open;
        self.write_off_ping(link);
    }

    pub(crate) fn write_off_ping(&mut self, link: &mut Link) {
        if std::mem::take(&mut link.ping_open) {
            self.tally.counts.pings_unanswered += 1;
            self.awaited -= 1;
        }
    }

    pub(crate) fn take_batch(&mut self) -> Batch {
        self.batches.pop().unwrap_or_default()
    }

    pub(crate) fn give_batch(&mut self, mut batch: Batch) {
        if self.batches.len() < BATCHES_MAX && batch.bytes.capacity() <= BATCH_LEN_MAX {
            batch.bytes.clear();
            batch.sent = 0;
            self.batches.push(batch);
        }
    }
}

impl Load {
    fn keeps_tickets(self) -> bool {
        matches!(self, Self::Cycle { tickets: true, .. })
    }
}
