//! Accepts that wait in the kernel, as many for each listener.
//!
//! A stalled worker swallows as many connections as it has accepts parked, so they are few; and one listener's must
//! not take the places of another's.

use std::collections::VecDeque;
use std::time::Duration;

use driver::{Listener, Op};
use protocol::Time;

/// How long nothing is parked after a failure.
const PAUSE: Duration = Duration::from_millis(20);

/// How many accepts are parked on each listener.
#[derive(Debug)]
pub(super) struct Parked {
    by_listener: Vec<u32>,
    len: u32,
    /// An accept has failed, and parking again at once would fail again.
    pause_end: Option<Time>,
}

impl Parked {
    pub(super) fn new(listeners: usize) -> Self {
        Self { by_listener: vec![0; listeners], len: 0, pause_end: None }
    }

    /// An accept is over.
    pub(super) fn ended(&mut self, listener: Listener) {
        self.by_listener[usize::from(listener.0)] -= 1;
        self.len -= 1;
    }

    /// An accept is over, and led to nothing.
    pub(super) fn failed(&mut self, listener: Listener, now: Time) {
        self.ended(listener);
        self.pause_end = Some(now + PAUSE);
    }

    /// Parks until `most` are parked together, the listeners' shares being equal, or `free` slots are spoken for.
    pub(super) fn top_up(&mut self, free: u32, most: u32, now: Time, ops: &mut VecDeque<Op>) {
        if self.pause_end.is_some_and(|end| now < end) {
            return;
        }
        self.pause_end = None;
        let share = most.checked_div(self.by_listener.len() as u32).map_or(0, |share| share.max(1));
        if self.len >= free.min(share * self.by_listener.len() as u32) {
            return;
        }
        // One for each in turn, so that with few slots left no listener is without.
        for round in 0..share {
            for (at, parked) in (0..).zip(&mut self.by_listener) {
                if *parked == round && self.len < free {
                    *parked += 1;
                    self.len += 1;
                    ops.push_back(Op::Park { listener: Listener(at) });
                }
            }
        }
    }

    /// Until when nothing is parked, after a failure.
    pub(super) const fn pause_end(&self) -> Option<Time> {
        self.pause_end
    }

    /// How many are parked.
    pub(super) const fn len(&self) -> u32 {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topped_up(parked: &mut Parked, free: u32, most: u32) -> Vec<u8> {
        let mut ops = VecDeque::new();
        parked.top_up(free, most, Time::ZERO, &mut ops);
        ops.into_iter()
            .map(|op| match op {
                Op::Park { listener } => listener.0,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn listeners_get_equal_shares_and_each_gets_one_at_least() {
        let mut parked = Parked::new(3);
        assert_eq!(topped_up(&mut parked, 2, 7), [0, 1], "two slots are left");
        assert_eq!(topped_up(&mut parked, 9, 7), [2, 0, 1, 2], "two each, of seven");
        parked.ended(Listener(1));
        assert_eq!(topped_up(&mut parked, 9, 7), [1]);
        assert_eq!(topped_up(&mut Parked::new(3), 9, 1), [0, 1, 2]);
    }

    #[test]
    fn a_worker_without_listeners_parks_nothing() {
        assert!(topped_up(&mut Parked::new(0), 9, 7).is_empty());
    }
}
