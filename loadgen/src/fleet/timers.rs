//! Heartbeats and deadlines: one coarse look at all links every few milliseconds costs less than any ordered
//! structure, since what is looked at is four bytes per link in a row.

use std::time::Duration;

use protocol::Time;

use super::link::{Owes, Phase};
use super::{Fleet, Order};

/// How coarse it is.
const TICK: Duration = Duration::from_millis(20);

/// When each link wants to be looked at.
#[derive(Debug)]
pub(super) struct Timers {
    /// Per link: milliseconds since the origin; the run must not last 49 days.
    due: Vec<u32>,
    /// Links with a time set; without any there is nothing to look at.
    set: u32,
    tick_at: Time,
}

const NEVER: u32 = u32::MAX;

impl Timers {
    pub(super) const fn new() -> Self {
        Self { due: Vec::new(), set: 0, tick_at: Time::ZERO }
    }

    pub(super) fn resize(&mut self, links: usize) {
        self.due.resize(links, NEVER);
    }

    pub(super) fn set(&mut self, index: u32, deadline: Option<Time>) {
        let due = &mut self.due[index as usize];
        self.set -= u32::from(*due != NEVER);
        *due = deadline.map_or(NEVER, |time| millis(time) + 1);
        self.set += u32::from(*due != NEVER);
    }

    /// When to look next, if there is anything to look at.
    pub(super) fn next(&self) -> Option<Time> {
        (self.set > 0).then_some(self.tick_at)
    }
}

fn millis(time: Time) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(NEVER).min(NEVER - 2)
}

impl Fleet {
    /// Lets time pass for every link that is due.
    pub(super) fn pass(&mut self, now: Time) {
        if now < self.timers.tick_at {
            return;
        }
        self.timers.tick_at = now + TICK;
        if self.timers.set == 0 {
            return;
        }
        let now_ms = millis(now);
        for index in 0..self.desk.settings.links {
            if self.timers.due[index as usize] <= now_ms {
                self.due(index, now);
            }
        }
    }

    fn due(&mut self, index: u32, now: Time) {
        self.timers.set(index, None);
        let link = &mut self.links[index as usize];
        match link.phase {
            Phase::Hailing => self.end(index, "no answer to the hello in time".to_owned()),
            Phase::Greeting => self.end(index, "no welcome in time".to_owned()),
            Phase::Leaving => {
                self.desk.tally.blame("the gateway did not end a link after its close".to_owned());
                self.shut(index);
            }
            // Nothing new is sent any more, and within the bounds of these stages the gateway asks for nothing.
            Phase::Live if matches!(self.desk.stage, Some(Order::Drain | Order::Close)) => {}
            Phase::Live => {
                let machine = link.machine.as_mut().expect("a live link has a machine");
                let ping = match machine.expire(now) {
                    Ok(ping) => ping,
                    Err(_) => return self.end(index, "heartbeats were not answered".to_owned()),
                };
                let deadline = machine.deadline();
                self.timers.set(index, deadline);
                if ping {
                    self.desk.write_off_ping(link);
                    link.ping = link.ping.wrapping_add(1);
                    link.ping_open = true;
                    link.owes.add(Owes::PING);
                    self.desk.awaited += 1;
                    self.desk.tally.counts.pings += 1;
                    self.mark(index);
                }
            }
            // The driver ends a connect after the same time; one that succeeds just then is ended with the next look.
            Phase::Connecting => self.timers.set(index, Some(now)),
            Phase::Free | Phase::Closing | Phase::Closed | Phase::Gone => {}
        }
    }
}
