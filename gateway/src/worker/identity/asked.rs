//! Tokens that are at backends: each is judged once, by the stream that was asked, in time, or not at all.

use std::collections::VecDeque;

use driver::Token;
use protocol::{DeviceClass, Time};

use crate::collections::{Key, Slab};
use crate::upstream::StreamIndex;

/// A token that is being judged.
#[derive(Debug)]
pub(super) struct Judging {
    /// Whose it is.
    pub(super) link: Token,
    /// Who judges it.
    pub(super) stream: StreamIndex,
    /// The device named beside it.
    pub(super) device: Vec<u8>,
    /// Names the login.
    pub(super) login: u64,
    /// The interval of heartbeats wished for.
    pub(super) heartbeat_ms: u32,
    /// What the client says that the device is.
    pub(super) class: DeviceClass,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Asked {
    judging: Slab<Judging>,
    /// All have the same time, so the first to be asked is the first to be due.
    due: VecDeque<(Time, Key)>,
}

impl Asked {
    /// None yet, of at most so many.
    pub(super) fn new(most: u32) -> Self {
        Self { judging: Slab::new(most), due: VecDeque::new() }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.judging.len()
    }

    /// Notes one that has to be judged by a time; the number of the call, or `None` when there are too many.
    pub(super) fn insert(&mut self, judging: Judging, deadline: Time) -> Option<u64> {
        let key = self.judging.insert(judging).ok()?;
        // Those that came leave their times behind: they go when there are as many as there may be under way.
        if self.due.len() >= 2 * self.judging.max() as usize {
            self.due.retain(|&(_, key)| self.judging.get(key).is_some());
        }
        self.due.push_back((deadline, key));
        Some(number(key))
    }

    /// Takes out the one of this call, if this stream was asked and it was not given up.
    pub(super) fn take(&mut self, stream: StreamIndex, call: u64) -> Option<Judging> {
        let key = key(call);
        if self.judging.get(key)?.stream == stream { self.judging.remove(key) } else { None }
    }

    /// Takes out one that was not judged in time; called until `None`.
    pub(super) fn take_overdue(&mut self, now: Time) -> Option<Judging> {
        while let Some(&(deadline, key)) = self.due.front()
            && deadline <= now
        {
            self.due.pop_front();
            if let Some(judging) = self.judging.remove(key) {
                return Some(judging);
            }
        }
        None
    }

    /// When [`Asked::take_overdue`] is next worth calling.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.due.front().map(|&(deadline, _)| deadline)
    }

    /// Takes out all that a stream was asked; whose they are.
    pub(super) fn take_of_stream(&mut self, stream: StreamIndex) -> Vec<Token> {
        let of_stream = self.judging.iter().filter(|(_, judging)| judging.stream == stream);
        let waiting: Vec<_> = of_stream.map(|(key, _)| key).collect();
        waiting.into_iter().filter_map(|key| self.judging.remove(key)).map(|judging| judging.link).collect()
    }

    /// Whether there is one of a link.
    pub(super) fn has(&self, link: Token) -> bool {
        self.of(link).is_some()
    }

    fn of(&self, link: Token) -> Option<Key> {
        self.judging.iter().find(|(_, judging)| judging.link == link).map(|(key, _)| key)
    }

    /// Drops the one of a link.
    pub(super) fn forget(&mut self, link: Token) {
        if let Some(key) = self.of(link) {
            self.judging.remove(key);
        }
    }
}

fn number(key: Key) -> u64 {
    u64::from(key.generation) << 32 | u64::from(key.index)
}

fn key(call: u64) -> Key {
    Key { index: call as u32, generation: (call >> 32) as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const FIRST: StreamIndex = StreamIndex(0);

    fn judging(slot: u32) -> Judging {
        let link = Token { slot, generation: 1 };
        Judging {
            link,
            stream: FIRST,
            device: Vec::new(),
            login: 0,
            heartbeat_ms: 0,
            class: DeviceClass::Unknown,
        }
    }

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn times_of_those_who_came_are_bounded_and_nobody_elses_is_lost() {
        let mut asked = Asked::new(2);
        asked.insert(judging(0), at(3)).expect("there is room");
        for slot in 1..1000 {
            let call = asked.insert(judging(slot), at(4)).expect("there is room");
            assert!(asked.take(FIRST, call).is_some());
            assert!(asked.due.len() <= 4, "{slot}");
        }
        let overdue = asked.take_overdue(at(3)).map(|judging| judging.link.slot);
        assert_eq!((overdue, asked.take_overdue(at(9)).is_some(), asked.len()), (Some(0), false, 0));
    }
}
