//! What becomes of a link whose time has come: a heartbeat, or an end.

use protocol::Time;

use super::link::{Owes, Phase};
use super::{Fleet, Order};

impl Fleet {
    /// Lets time pass for every link that is due.
    pub(super) fn pass(&mut self, now: Time) {
        self.pass_pushed(now);
        let Some(now_ms) = self.timers.begin(now) else { return };
        for index in 0..self.desk.settings.links {
            if self.timers.is_due(index, now_ms) {
                self.due(index, now);
            }
        }
    }

    /// The same for links that are pushed something.
    fn pass_pushed(&mut self, now: Time) {
        if let Some(now_ms) = self.acks.begin(now) {
            for index in 0..self.desk.settings.links {
                if self.acks.is_due(index, now_ms) {
                    self.acks.set(index, None);
                    if self.desk.ack_due(index) && self.links[index as usize].phase == Phase::Live {
                        self.links[index as usize].owes.add(Owes::ACK);
                        self.mark(index);
                    }
                }
            }
        }
        if let Some(now_ms) = self.reads.begin(now) {
            for index in 0..self.desk.settings.links {
                if self.reads.is_due(index, now_ms) {
                    self.read_on(index);
                }
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
            Phase::Live if matches!(self.desk.stage, Some(Order::Drain | Order::Inquire | Order::Close)) => {}
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
            Phase::Free if link.absence.out => self.returning.push_back(index),
            Phase::Free | Phase::Closing | Phase::Closed | Phase::Gone => {}
        }
    }
}
