//! Links that read slowly, a chunk at a time, or not at all.

use std::time::Duration;

use driver::{Armed, Mode, Op};
use protocol::Time;

use super::Fleet;
use super::desk::Desk;
use super::link::{Phase, Reading};
use super::settings::Kind;

impl Desk {
    /// Whether it is one of those links that are to be slow.
    fn is_slow(&self, index: u32) -> bool {
        let pushes = self.settings.pushes.as_ref();
        pushes.is_some_and(|pushes| pushes.kind(self.settings.first + index) == Kind::Slow)
    }

    /// Whether this link may be ended for having been slow.
    pub(super) fn is_excused(&self, index: u32) -> bool {
        self.is_slow(index) && self.tally.legs.len() > 1
    }

    /// How many bytes per second this link reads at the moment; `None`: whatever comes.
    fn speed(&self, index: u32) -> Option<u32> {
        let slow = self.settings.pushes.as_ref()?.slow?;
        (self.is_excused(index) && self.running().is_some()).then_some(slow.speed)
    }
}

impl Fleet {
    /// A stage begins: links that are to be slow from now on stop reading as they did, those that were go on as before.
    pub(super) fn change_pace(&mut self) {
        if self.desk.settings.pushes.as_ref().is_none_or(|pushes| pushes.slow.is_none()) {
            return;
        }
        for index in 0..self.desk.settings.links {
            let link = &mut self.links[index as usize];
            if link.phase != Phase::Live || !self.desk.is_slow(index) {
                continue;
            }
            let token = link.token;
            match (self.desk.speed(index), link.reading) {
                (Some(_), Reading::Receive) if !std::mem::replace(&mut link.cancelling, true) => {
                    self.submit(Op::Cancel { token, armed: Armed::Receive });
                }
                (None, _) => {
                    self.reads.set(index, None);
                    self.arm(index);
                }
                _ => {}
            }
        }
    }

    /// Whether the link reads slowly, so that it is not armed before its time has come.
    pub(super) fn holds_back(&mut self, index: u32) -> bool {
        if self.links[index as usize].phase != Phase::Live {
            return false;
        }
        let Some(speed) = self.desk.speed(index) else { return false };
        if speed > 0 && !self.reads.is_set(index) {
            self.reads.set(index, Some(self.wanted));
        }
        true
    }

    /// A link has read so many bytes: when it may read on, if it is slow.
    pub(super) fn has_read(&mut self, index: u32, bytes: usize, now: Time) {
        if let Some(speed @ 1..) = self.desk.speed(index)
            && self.links[index as usize].phase == Phase::Live
        {
            let pause = Duration::from_secs_f64(bytes as f64 / f64::from(speed));
            self.reads.set(index, Some(now + pause));
        }
    }

    /// Its time has come.
    pub(super) fn read_on(&mut self, index: u32) {
        self.reads.set(index, None);
        let link = &self.links[index as usize];
        if link.phase == Phase::Live && link.reading == Reading::Nothing {
            self.arm_receive(index, Mode::Once);
        }
    }
}
