//! Opening links: the paced ramp, the cycles, and a link's way from connect to its first record.

use driver::{Batch, Endpoint, Errno, Op, Token, Trust};
use protocol::Time;

use super::link::{Phase, Reading};
use super::{Fleet, Leg, Load, Order, describe};

impl Fleet {
    /// Starts what the stage wants started, within its bound on links that are opening.
    pub(super) fn launch(&mut self, now: Time) {
        match (self.desk.stage, self.desk.settings.load) {
            (Some(Order::Run(leg)), Load::Cycle { interval, .. }) => {
                self.launch_cycles(leg, interval.is_some(), now);
            }
            (Some(Order::Ramp), load) if !matches!(load, Load::Cycle { .. }) => {
                let opening_max = u64::from(self.desk.settings.opening_max);
                while self.next < self.desk.settings.links && self.desk.tally.counts.opening < opening_max {
                    self.begin(self.next, now, now);
                    self.next += 1;
                }
            }
            (Some(Order::Storm(_)), _) => self.launch_returns(now),
            (Some(Order::Close), _) => self.launch_closes(now),
            _ => {}
        }
    }

    fn launch_cycles(&mut self, leg: Leg, planned: bool, now: Time) {
        if now < leg.start || now >= leg.to {
            return;
        }
        while self.started < leg.cycles_max {
            if planned && self.desk.next_planned().is_none_or(|next| next > now) {
                self.desk.held = false;
                return;
            }
            let Some(index) = self.take_place(leg) else {
                self.desk.held = true;
                return;
            };
            let begun = if planned {
                let (_, begun) = self.desk.take_planned(now).expect("looked at above");
                self.desk.was_planned(begun, now, self.desk.held, 1);
                begun
            } else {
                now
            };
            self.count_start(&leg, begun);
            self.begin(index, begun, now);
        }
    }

    /// What is begun in the warm-up is none of the cycles that were asked for.
    pub(super) fn count_start(&mut self, leg: &Leg, begun: Time) {
        self.started += u64::from(begun >= leg.from);
    }

    /// A free place; with a ticket if the leg resumes. Places without one sit that leg out.
    fn take_place(&mut self, leg: Leg) -> Option<u32> {
        loop {
            let index = self.free.pop_front()?;
            if !leg.resume || self.desk.tickets[index as usize].is_some() {
                return Some(index);
            }
        }
    }

    /// Whether the leg can start no further cycle, whatever the time.
    pub(super) fn cannot_start(&self, leg: &Leg) -> bool {
        self.started >= leg.cycles_max || (self.free.is_empty() && self.present == 0)
    }

    /// `begun` may be when it was planned; the deadline counts from `now`.
    pub(super) fn begin(&mut self, index: u32, begun: Time, now: Time) {
        let link = &mut self.links[index as usize];
        link.revive(begun);
        let place = u64::from(self.desk.settings.first) + u64::from(index) + u64::from(link.life);
        let destinations = &self.desk.settings.destinations;
        let to = Endpoint::Tcp(destinations[(place % destinations.len() as u64) as usize]);
        let sources = &self.desk.settings.sources;
        let from = sources.get(index as usize % sources.len().max(1)).copied();
        self.present += 1;
        self.desk.tally.counts.opening += 1;
        self.timers.set(index, Some(now + self.desk.settings.opening_deadline));
        self.submit(Op::Connect { tag: index, from, to: Box::new(to), trust: Trust::Anybody });
    }

    pub(super) fn connected(&mut self, index: u32, result: Result<Token, Errno>, now: Time) {
        let token = match result {
            Ok(token) => token,
            Err(errno) => {
                self.timers.set(index, None);
                self.fail(index, format!("connect: {}", describe(errno)));
                return self.vanish(index, now);
            }
        };
        let slot = token.slot as usize;
        if self.by_slot.len() <= slot {
            self.by_slot.resize(slot + 1, u32::MAX);
        }
        self.by_slot[slot] = index;
        self.links[index as usize].token = token;
        if self.desk.stage == Some(Order::Close) {
            self.fail(index, "given up while connecting".to_owned());
            return self.shut(index);
        }
        self.dial(index, now);
    }

    /// Sends the hello and listens for message 2.
    fn dial(&mut self, index: u32, now: Time) {
        let ticket = match self.desk.stage {
            Some(Order::Run(leg)) if leg.resume => self.desk.tickets[index as usize].take(),
            // Who is sent away for being too many comes again with the same one.
            Some(Order::Storm(storm)) if !storm.full => self.desk.tickets[index as usize].clone(),
            _ => None,
        };
        let settings = &self.desk.settings;
        let shown = ticket.as_ref().map(|ticket| (ticket.ticket.as_slice(), &ticket.psk));
        let ephemeral = (self.entropy)();
        let mut batch = Batch::default();
        match settings.opening.dial(shown, ephemeral, now, &mut batch.bytes) {
            Ok(machine) => {
                let link = &mut self.links[index as usize];
                link.machine = Some(machine);
                link.phase = Phase::Hailing;
                link.resumed = ticket.is_some();
                self.send(index, batch);
                debug_assert_eq!(self.links[index as usize].reading, Reading::Nothing);
                self.arm(index);
            }
            Err(error) => {
                self.desk.give_batch(batch);
                self.fail(index, format!("hello: {error}"));
                self.shut(index);
            }
        }
    }
}
