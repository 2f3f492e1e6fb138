//! Attempts: when one is due, where it comes from, and what comes of its connect.

use driver::{Endpoint, Errno, Op, Token, Trust};
use protocol::Time;

use super::abuser::{Abuser, Phase};
use super::{ATTEMPTS_PER_TURN_MAX, Conduct, Mob, describe};
use crate::sources::attacker;

impl Mob {
    /// Makes the attempts that are due. One that finds no place is not made up for later: the rate is a bound.
    pub(super) fn attempt(&mut self, now: Time) {
        for _ in 0..ATTEMPTS_PER_TURN_MAX {
            if self.next > now || self.begun >= self.settings.attempts_max {
                return;
            }
            let Some(index) = self.free.pop_front() else {
                self.next = now + self.settings.interval;
                return;
            };
            self.next = self.next + self.settings.interval;
            self.begin(index);
        }
    }

    fn begin(&mut self, index: u32) {
        // Over all attacks, so that every address makes as many.
        let source = self.count.attempted % u64::from(self.settings.sources.max(1));
        self.begun += 1;
        self.count.attempted += 1;
        self.abusers[index as usize] = Abuser { phase: Phase::Connecting, ..Abuser::NEW };
        let there = self.abusers.len() - self.free.len();
        self.count.links_max = self.count.links_max.max(there as u32);
        let to = Box::new(Endpoint::Tcp(self.settings.destination));
        let from = Some(attacker(source as u32));
        self.ops.push_back(Op::Connect { tag: index, from, to, trust: Trust::Anybody });
    }

    pub(super) fn connected(&mut self, index: u32, result: Result<Token, Errno>, now: Time) {
        let leaving = self.is_leaving(now);
        let token = match result {
            Ok(token) => token,
            Err(errno) => {
                let what = if leaving {
                    &mut self.count.unfinished
                } else if errno.is_shortage() {
                    &mut self.count.unmade
                } else {
                    &mut self.count.refused
                };
                *what += 1;
                self.count.blame(format!("connect: {}", describe(errno)));
                self.abusers[index as usize].phase = Phase::Free;
                return self.free.push_back(index);
            }
        };
        let slot = token.slot as usize;
        if self.by_slot.len() <= slot {
            self.by_slot.resize(slot + 1, u32::MAX);
        }
        self.by_slot[slot] = index;
        let abuser = &mut self.abusers[index as usize];
        (abuser.token, abuser.born, abuser.phase) = (token, now, Phase::Open);
        if leaving || self.settings.conduct == Conduct::Churn {
            return self.leave(index, now);
        }
        self.arm(index);
        self.speak(index, now);
    }
}
