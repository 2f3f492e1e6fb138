//! When this process itself stood still: so that what waited for the gateway is told from what waited for us.

use std::time::Duration;

use protocol::Time;

/// The times a fleet should have looked at the world and did not, in order.
#[derive(Debug, Default)]
pub(super) struct Stalls(Vec<Stall>);

#[derive(Debug)]
struct Stall {
    from: Time,
    to: Time,
    /// How long all earlier ones took together.
    before: Duration,
}

impl Stalls {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Nothing was looked at from `from` to `to`, which is later than all that was added before.
    pub(super) fn add(&mut self, from: Time, to: Time) {
        match self.0.last_mut() {
            // Turns that each take too long follow each other without a gap: they are one.
            Some(last) if from <= last.to => last.to = last.to.max(to),
            _ => self.0.push(Stall { from, to, before: self.until(from) }),
        }
    }

    /// How long nothing was looked at between the two.
    pub(super) fn within(&self, from: Time, to: Time) -> Duration {
        self.until(to).saturating_sub(self.until(from))
    }

    fn until(&self, time: Time) -> Duration {
        let begun = self.0.partition_point(|stall| stall.from < time);
        let last = begun.checked_sub(1).map(|at| &self.0[at]);
        last.map_or(Duration::ZERO, |stall| stall.before + time.min(stall.to).since(stall.from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::ZERO + Duration::from_millis(ms)
    }

    #[test]
    fn of_a_wait_that_part_counts_in_which_nothing_was_looked_at() {
        let mut stalls = Stalls::default();
        assert_eq!(stalls.within(at(0), at(100)), Duration::ZERO);
        stalls.add(at(20), at(50));
        stalls.add(at(70), at(80));
        for (from, to, overlap) in
            [(0, 20, 0), (0, 30, 10), (30, 40, 10), (40, 75, 15), (0, 100, 40), (50, 70, 0), (80, 99, 0)]
        {
            assert_eq!(stalls.within(at(from), at(to)).as_millis(), overlap, "{from} to {to}");
        }
    }

    #[test]
    fn stalls_that_touch_are_one() {
        let mut stalls = Stalls::default();
        for turn in 0..1000 {
            stalls.add(at(20 * turn), at(20 * turn + 20));
        }
        assert_eq!((stalls.0.len(), stalls.within(at(10), at(30_000)).as_millis()), (1, 19_990));
        stalls.clear();
        assert_eq!(stalls.within(at(0), at(100)), Duration::ZERO);
    }
}
