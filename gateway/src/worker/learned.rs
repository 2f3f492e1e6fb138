//! Up to which moment a worker knows of everything that has happened.
//!
//! In a storm a turn does not learn of all completions, so that it does not become long. What a deadline waits for may lie
//! among those that are left: whoever looks at the clock then would end links for a silence of its own. Completions come
//! in the order of their events, so when as many are learned as had come by a moment, all is known up to that moment, and
//! time may pass up to there.

use protocol::Time;

/// Up to when all is learned.
#[derive(Debug)]
pub(super) struct Learned {
    until: Time,
    /// A moment, and how many completions that had come by then are still to be learned.
    next: Option<(Time, usize)>,
}

impl Learned {
    pub(super) const fn new(now: Time) -> Self {
        Self { until: now, next: None }
    }

    /// A turn begins, and so many completions are there.
    pub(super) fn begin(&mut self, now: Time, waiting: usize) {
        self.next.get_or_insert((now, waiting));
    }

    /// One more was learned.
    pub(super) fn one(&mut self) {
        if let Some((moment, left)) = &mut self.next {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.until = *moment;
                self.next = None;
            }
        }
    }

    /// There are no more.
    pub(super) fn all(&mut self, now: Time) {
        self.until = now;
        self.next = None;
    }

    /// Up to when all is learned.
    pub(super) const fn until(&self) -> Time {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    fn learn(learned: &mut Learned, count: usize) {
        (0..count).for_each(|_| learned.one());
    }

    #[test]
    fn a_moment_is_known_when_all_that_had_come_by_then_is_learned() {
        let mut learned = Learned::new(at(0));
        learned.begin(at(1), 5);
        learn(&mut learned, 3);
        assert_eq!(learned.until(), at(0));
        // In the second turn more have come, which do not count for the first moment.
        learned.begin(at(2), 9);
        learn(&mut learned, 2);
        assert_eq!(learned.until(), at(1));
        learn(&mut learned, 1);
        learned.begin(at(3), 6);
        learn(&mut learned, 6);
        assert_eq!(learned.until(), at(3), "however many keep coming, time goes on");
        learned.begin(at(4), 6);
        learn(&mut learned, 2);
        learned.all(at(4));
        assert_eq!(learned.until(), at(4), "a driver may count more than there are");
        learned.begin(at(5), 0);
        learned.all(at(5));
        assert_eq!(learned.until(), at(5));
    }
}
