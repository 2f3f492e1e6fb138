//! The end of a link, for any reason: cancel what is armed, wait until it is over, close, forget.

use std::time::Duration;

use driver::{Armed, Op, Token};
use protocol::Time;
use protocol::buffer::Place;

use super::link::{Owes, Phase, Reading};
use super::{Fleet, Load};

/// How long the gateway may take to end a link after our close frame.
const LEAVE_MAX: Duration = Duration::from_secs(5);

impl Fleet {
    /// Starts as many goodbyes as may be under way at once.
    pub(super) fn launch_closes(&mut self, now: Time) {
        while self.next < self.desk.settings.links && self.going < self.desk.settings.opening_max {
            let index = self.next;
            self.next += 1;
            match self.links[index as usize].phase {
                Phase::Live => self.leave(index, now),
                Phase::Hailing | Phase::Greeting => self.end(index, "given up before its welcome".to_owned()),
                _ => {}
            }
        }
    }

    /// Says goodbye and waits for the gateway's end.
    pub(super) fn leave(&mut self, index: u32, now: Time) {
        let link = &mut self.links[index as usize];
        if link.phase != Phase::Live {
            return;
        }
        link.phase = Phase::Leaving;
        link.owes.add(Owes::CLOSE);
        self.desk.write_off(link, index);
        self.going += 1;
        self.timers.set(index, Some(now + LEAVE_MAX));
        self.mark(index);
    }

    /// The link is over: wanted if it was leaving, else failed or lost.
    pub(super) fn end(&mut self, index: u32, reason: String) {
        match self.links[index as usize].phase {
            Phase::Connecting | Phase::Hailing | Phase::Greeting => self.fail(index, reason),
            Phase::Live if self.links[index as usize].absence.out => return self.sever(index),
            Phase::Live => {
                self.links[index as usize].spoiled = true;
                self.desk.tally.counts.lost += 1;
                if self.desk.is_excused(index) {
                    self.desk.tally.counts.shed += 1;
                    self.desk.tally.blame(format!("slow link: {reason}"));
                } else {
                    self.desk.tally.blame(reason);
                }
            }
            Phase::Leaving => {}
            Phase::Free | Phase::Closing | Phase::Closed | Phase::Gone => return,
        }
        self.shut(index);
    }

    /// Counts a link that will not be welcomed.
    pub(super) fn fail(&mut self, index: u32, reason: String) {
        self.desk.tally.counts.opening -= 1;
        if self.links[index as usize].absence.out {
            return self.desk.attempt_failed(&mut self.links[index as usize], index, reason);
        }
        self.links[index as usize].spoiled = true;
        self.desk.tally.counts.failed += 1;
        self.desk.tally.blame(reason);
    }

    /// One step towards the closed socket: called again with each operation that ends.
    pub(super) fn shut(&mut self, index: u32) {
        let link = &mut self.links[index as usize];
        if link.phase == Phase::Closed {
            return;
        }
        if link.phase != Phase::Closing {
            if link.phase != Phase::Leaving {
                self.going += 1;
            } else if let Load::Cycle { .. } = self.desk.settings.load {
                self.desk.went_through(link.begun);
            }
            self.desk.write_off(link, index);
            self.partials.release(std::mem::replace(&mut link.place, Place::NONE));
            link.machine = None;
            link.phase = Phase::Closing;
            self.timers.set(index, None);
        }
        let token = link.token;
        let armed = match link.reading {
            Reading::Nothing => None,
            Reading::Poll => Some(Armed::Poll),
            Reading::Receive => Some(Armed::Receive),
        };
        match (armed, link.sending) {
            (None, false) => {
                link.phase = Phase::Closed;
                self.submit(Op::Close { token });
            }
            (armed, sending) => {
                let reading = armed.filter(|_| !std::mem::replace(&mut link.cancelling, true));
                let unsend = sending && !std::mem::replace(&mut link.unsending, true);
                for armed in reading.into_iter().chain(unsend.then_some(Armed::Send)) {
                    self.submit(Op::Cancel { token, armed });
                }
            }
        }
    }

    pub(super) fn closed(&mut self, token: Token, now: Time) {
        let Some(index) = self.find(token) else { return };
        self.by_slot[token.slot as usize] = u32::MAX;
        self.going -= 1;
        self.vanish(index, now);
    }

    /// Nothing of the link is left in the driver. The place of a cycle is used again, unless the cycle went wrong: a
    /// gateway that is gone is not hammered. A link that was cut comes back.
    pub(super) fn vanish(&mut self, index: u32, now: Time) {
        let link = &mut self.links[index as usize];
        self.present -= 1;
        link.phase = Phase::Gone;
        if matches!(self.desk.settings.load, Load::Cycle { .. }) && !link.spoiled {
            link.phase = Phase::Free;
            self.free.push_back(index);
        } else if link.absence.out {
            self.come_back(index, now);
        }
    }
}
