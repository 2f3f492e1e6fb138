//! The end of a link, for any reason: what it counts as; then cancel what is armed, wait until it is over, close, forget.

use driver::{Armed, Op, Token};
use protocol::Time;
use protocol::buffer::Place;

use super::Mob;
use super::abuser::{Abuser, Phase};
use super::hear::armed;

impl Mob {
    /// The attack is over: everybody goes. Whoever is connecting goes when that has an outcome.
    pub(super) fn leave_all(&mut self, now: Time) {
        if self.free.len() == self.abusers.len() {
            return;
        }
        for index in 0..self.settings.links {
            self.leave(index, now);
        }
    }

    /// The abuser ends its link.
    pub(super) fn leave(&mut self, index: u32, now: Time) {
        if self.abusers[index as usize].phase == Phase::Open {
            self.settle(index, None, now);
            self.begin_end(index);
        }
    }

    /// The gateway ended the link, for this reason as far as it is known.
    pub(super) fn was_ended(&mut self, index: u32, reason: String, now: Time) {
        if self.abusers[index as usize].phase == Phase::Open {
            self.settle(index, Some(reason), now);
            self.begin_end(index);
        }
    }

    /// Counts a link that is over; with a reason, by the gateway.
    pub(super) fn settle(&mut self, index: u32, reason: Option<String>, now: Time) {
        let &Abuser { born, is_served, .. } = &self.abusers[index as usize];
        let life = now.since(born);
        if reason.is_some() && !is_served && life < self.settings.at_once {
            self.count.refused += 1;
            return self.count.blame("ended at once".to_owned());
        }
        self.count.accepted += 1;
        self.count.served += u64::from(is_served);
        if let Some(reason) = reason {
            self.count.closed += 1;
            self.count.lived(life);
            self.count.blame(reason);
        }
    }

    fn begin_end(&mut self, index: u32) {
        let abuser = &mut self.abusers[index as usize];
        self.partials.release(std::mem::replace(&mut abuser.place, Place::NONE));
        abuser.machine = None;
        abuser.phase = Phase::Closing;
        self.timers.set(index, None);
        self.shut(index);
    }

    /// One step towards the closed socket: called again with each operation that ends.
    pub(super) fn shut(&mut self, index: u32) {
        let abuser = &mut self.abusers[index as usize];
        if abuser.phase != Phase::Closing {
            return;
        }
        let token = abuser.token;
        match (armed(abuser.reading), abuser.sending) {
            (None, false) => {
                abuser.phase = Phase::Closed;
                self.ops.push_back(Op::Close { token });
            }
            (reading, sending) => {
                let reading = reading.filter(|_| !std::mem::replace(&mut abuser.cancelling, true));
                let unsend = sending && !std::mem::replace(&mut abuser.unsending, true);
                for armed in reading.into_iter().chain(unsend.then_some(Armed::Send)) {
                    self.ops.push_back(Op::Cancel { token, armed });
                }
            }
        }
    }

    pub(super) fn closed(&mut self, token: Token) {
        let Some(index) = self.find(token) else { return };
        self.by_slot[token.slot as usize] = u32::MAX;
        self.abusers[index as usize].phase = Phase::Free;
        self.free.push_back(index);
    }
}
