//! Accepts that wait in the kernel, for each listener its own.
//!
//! All workers accept from the same listening sockets, and a connection goes to whichever accept has waited longest. A
//! stalled worker swallows as many connections as it has accepts parked, so they are few, and the fewer the fuller it is.

use std::collections::VecDeque;
use std::time::Duration;

use driver::{Errno, Listener, Op};
use protocol::Time;

/// How long nothing is parked after a failure.
const PAUSE: Duration = Duration::from_millis(20);

/// How many accepts are parked on each listener.
#[derive(Debug)]
pub(super) struct Parked {
    by_listener: Vec<Waiting>,
    len: u32,
    /// An accept has failed, and parking again at once would fail again.
    pause_end: Option<Time>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Waiting {
    parked: u32,
    /// Of them those that are to be taken back, unless they have taken a connection before.
    leaving: u32,
}

impl Parked {
    pub(super) fn new(listeners: usize) -> Self {
        Self { by_listener: vec![Waiting::default(); listeners], len: 0, pause_end: None }
    }

    /// An accept has taken a connection.
    pub(super) fn ended(&mut self, listener: Listener) {
        let waiting = &mut self.by_listener[usize::from(listener.0)];
        waiting.parked -= 1;
        waiting.leaving = waiting.leaving.min(waiting.parked);
        self.len -= 1;
    }

    /// An accept is over, and led to nothing; whether that was a failure, and none that was taken back.
    pub(super) fn failed(&mut self, listener: Listener, errno: Errno, now: Time) -> bool {
        let waiting = &mut self.by_listener[usize::from(listener.0)];
        let was_taken_back = errno == Errno::CANCELLED && waiting.leaving > 0;
        waiting.leaving -= u32::from(was_taken_back);
        self.ended(listener);
        if !was_taken_back {
            self.pause_end = Some(now + PAUSE);
        }
        !was_taken_back
    }

    /// Parks and takes back until as many wait on a listener as `wanted` says, which is told how many do.
    pub(super) fn adjust(&mut self, wanted: impl Fn(usize, u32) -> u32, now: Time, ops: &mut VecDeque<Op>) {
        let may_park = self.pause_end.is_none_or(|end| now >= end);
        if may_park {
            self.pause_end = None;
        }
        for (at, waiting) in self.by_listener.iter_mut().enumerate() {
            let stays = waiting.parked - waiting.leaving;
            let (listener, wanted) = (Listener(at as u8), wanted(at, stays));
            for _ in wanted..stays {
                waiting.leaving += 1;
                ops.push_back(Op::Unpark { listener });
            }
            for _ in stays..if may_park { wanted } else { stays } {
                waiting.parked += 1;
                self.len += 1;
                ops.push_back(Op::Park { listener });
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

    const ENFILE: Errno = Errno(libc::ENFILE);

    /// What is asked for so that as many wait as wanted.
    fn adjusted(parked: &mut Parked, wanted: &[u32], now: Time) -> Vec<String> {
        let mut ops = VecDeque::new();
        parked.adjust(|at, _| wanted[at], now, &mut ops);
        ops.into_iter()
            .map(|op| match op {
                Op::Park { listener } => format!("park {}", listener.0),
                Op::Unpark { listener } => format!("unpark {}", listener.0),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn as_many_wait_on_each_listener_as_are_wanted() {
        let mut parked = Parked::new(2);
        assert_eq!(adjusted(&mut parked, &[2, 1], Time::ZERO), ["park 0", "park 0", "park 1"]);
        parked.ended(Listener(0));
        assert_eq!(adjusted(&mut parked, &[2, 1], Time::ZERO), ["park 0"]);
        assert_eq!(adjusted(&mut parked, &[1, 0], Time::ZERO), ["unpark 0", "unpark 1"]);
        assert!(adjusted(&mut parked, &[1, 0], Time::ZERO).is_empty(), "they are on their way");
        assert_eq!(parked.len(), 3);
        assert!(!parked.failed(Listener(1), Errno::CANCELLED, Time::ZERO), "that was wanted");
        assert_eq!((parked.len(), parked.pause_end()), (2, None));
        assert_eq!(adjusted(&mut parked, &[1, 1], Time::ZERO), ["park 1"]);
    }

    #[test]
    fn an_accept_that_was_to_be_taken_back_may_have_taken_a_connection() {
        let mut parked = Parked::new(1);
        adjusted(&mut parked, &[1], Time::ZERO);
        assert_eq!(adjusted(&mut parked, &[0], Time::ZERO), ["unpark 0"]);
        parked.ended(Listener(0));
        assert_eq!(parked.len(), 0);
        assert_eq!(adjusted(&mut parked, &[1], Time::ZERO), ["park 0"], "nothing is on its way any more");
    }

    #[test]
    fn after_a_failure_nothing_is_parked_for_a_while() {
        let mut parked = Parked::new(1);
        adjusted(&mut parked, &[2], Time::ZERO);
        assert!(parked.failed(Listener(0), ENFILE, Time::ZERO));
        assert!(adjusted(&mut parked, &[2], Time::ZERO).is_empty());
        assert_eq!(adjusted(&mut parked, &[0], Time::ZERO), ["unpark 0"], "taking back does not wait");
        let end = parked.pause_end().expect("a pause has an end");
        assert_eq!(adjusted(&mut parked, &[2], end), ["park 0", "park 0"]);
        assert_eq!(parked.pause_end(), None);
        let mut parked = Parked::new(1);
        adjusted(&mut parked, &[1], Time::ZERO);
        assert!(parked.failed(Listener(0), Errno::CANCELLED, Time::ZERO), "nobody has asked for that");
    }

    #[test]
    fn a_worker_without_listeners_parks_nothing() {
        assert!(adjusted(&mut Parked::new(0), &[], Time::ZERO).is_empty());
    }
}
