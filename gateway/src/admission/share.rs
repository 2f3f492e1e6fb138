//! How much of a core newcomers may take: handshakes and the verification of tokens, at what each costs nominally.
//!
//! A worker reads its clock once a turn, so what a handshake really took is not known. The nominal costs are those of the
//! machine the project is measured on (`cargo bench -p benches --bench handshake`, and `--bench tokens`); on another machine all
//! of them are longer or shorter together, and the share is so much larger or smaller.

use std::time::Duration;

use protocol::Time;
use protocol::noise::{Pattern, Suite};

/// What the gateway's side of a handshake costs; with XX up to message 2.
#[must_use]
pub const fn handshake_cost(suite: Suite) -> Duration {
    Duration::from_micros(match suite.pattern() {
        Pattern::Nnpsk0 => 55,
        Pattern::Nk => 85,
        Pattern::Xx => 90,
        Pattern::Ik | Pattern::Kk => 135,
    })
}

/// What is left of it when message 3 comes, which only XX has.
pub const LAST_MESSAGE_COST: Duration = Duration::from_micros(36);

/// Time that may be saved up, of the whole core's.
const SAVED_MAX: Duration = Duration::from_millis(20);

/// A part of a core's time.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    percent: u32,
    /// Nanoseconds that are left; below zero by what the last work took more than there was.
    left: i64,
    since: Time,
}

impl Share {
    /// So many hundredths of a core, from `now` on.
    #[must_use]
    pub fn new(percent: u32, now: Time) -> Self {
        let mut share = Self { percent, left: 0, since: now };
        share.left = share.most();
        share
    }

    fn most(&self) -> i64 {
        let most = SAVED_MAX * self.percent / 100;
        i64::try_from(most.as_nanos()).unwrap_or(i64::MAX)
    }

    /// Time has passed.
    pub fn refill(&mut self, now: Time) {
        let gained = now.since(self.since).min(SAVED_MAX) * self.percent / 100;
        self.since = now;
        self.left = (self.left + i64::try_from(gained.as_nanos()).unwrap_or(0)).min(self.most());
    }

    /// Whether there is any left.
    #[must_use]
    pub const fn is_left(&self) -> bool {
        self.left > 0
    }

    /// How long it takes until there is some left.
    fn time_left(&self) -> Duration {
        let owed = u64::try_from(1 - self.left).unwrap_or(0);
        Duration::from_nanos(owed.saturating_mul(100).div_ceil(u64::from(self.percent.max(1))))
    }

    /// Takes what a piece of work costs, if there is any left; what it costs more is owed.
    pub fn spend(&mut self, cost: Duration) {
        if self.is_left() {
            self.left -= i64::try_from(cost.as_nanos()).unwrap_or(0);
        }
    }
}

/// The share of a worker, and those of its listeners that have less than all of it.
#[derive(Clone, Debug)]
pub struct Shares {
    whole: Share,
    listeners: Vec<Option<Share>>,
}

impl Shares {
    /// `percent` of a core for all, and of that for some listeners no more than so much.
    #[must_use]
    pub fn new(percent: u32, listeners: impl IntoIterator<Item = Option<u32>>, now: Time) -> Self {
        let listeners = listeners.into_iter().map(|percent| percent.map(|percent| Share::new(percent, now)));
        Self { whole: Share::new(percent, now), listeners: listeners.collect() }
    }

    /// Time has passed.
    pub fn refill(&mut self, now: Time) {
        self.whole.refill(now);
        self.listeners.iter_mut().flatten().for_each(|share| share.refill(now));
    }

    /// Whether there is any left for those who come by a listener.
    #[must_use]
    pub fn is_left(&self, listener: usize) -> bool {
        self.whole.is_left()
            && self.listeners.get(listener).is_none_or(|own| own.is_none_or(|own| own.is_left()))
    }

    /// How long it takes until there is some left for those who come by a listener.
    #[must_use]
    pub fn time_left(&self, listener: usize) -> Duration {
        let own = self.listeners.get(listener).and_then(Option::as_ref);
        self.whole.time_left().max(own.map_or(Duration::ZERO, Share::time_left))
    }

    /// Takes what a piece of work for one of them costs. What is done although nothing is left, as there was nothing else to do,
    /// costs nothing.
    pub fn spend(&mut self, listener: usize, cost: Duration) {
        if self.is_left(listener) {
            self.whole.spend(cost);
            if let Some(Some(own)) = self.listeners.get_mut(listener) {
                own.spend(cost);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Time {
        Time::from_nanos(micros * 1000)
    }

    /// How much work of this cost fits into a while of turns.
    fn work(shares: &mut Shares, listener: usize, micros: u64, cost: Duration) -> u32 {
        let (mut now, mut done) = (0, 0);
        while now < micros {
            now += 100;
            shares.refill(at(now));
            while shares.is_left(listener) {
                shares.spend(listener, cost);
                done += 1;
            }
        }
        done
    }

    #[test]
    fn work_takes_its_share_of_the_time_and_a_little_that_was_saved_up() {
        let cost = handshake_cost(Suite::NkChaChaPoly);
        for percent in [1, 30, 100] {
            let mut shares = Shares::new(percent, [None], at(0));
            let done = work(&mut shares, 0, 1_000_000, cost) * 85;
            let most = 10_000 * percent;
            let saved = 200 * percent + 85;
            assert!((most..=most + saved).contains(&done), "{percent} %: {done} µs of {most}");
        }
    }

    #[test]
    fn a_listener_has_no_more_than_its_part_and_takes_it_from_the_whole() {
        let mut shares = Shares::new(30, [None, Some(5)], at(0));
        let cost = Duration::from_micros(55);
        let done = work(&mut shares, 1, 1_000_000, cost) * 55;
        assert!((50_000..=52_000).contains(&done), "{done} µs");
        assert!(shares.is_left(0) && !shares.is_left(1), "the others have the rest");
        while shares.is_left(0) {
            shares.spend(0, cost);
        }
        shares.refill(at(1_020_000));
        shares.spend(0, Duration::from_millis(6));
        assert!(!shares.is_left(1), "there is nothing left of the whole");
    }

    #[test]
    fn it_is_known_how_long_it_takes_until_some_is_left() {
        let mut shares = Shares::new(30, [None, Some(2), Some(20)], at(0));
        assert_eq!(shares.time_left(0), Duration::ZERO);
        shares.spend(0, Duration::from_micros(6030));
        let left = shares.time_left(0);
        assert_eq!(
            left.as_nanos(),
            100_004,
            "30 µs and what makes it more than nothing, of a third of a core"
        );
        for (nanos, is_left) in [(100_003, false), (100_004, true)] {
            let mut later = shares.clone();
            later.refill(Time::from_nanos(nanos));
            assert_eq!(later.is_left(0), is_left, "{nanos} ns");
        }
        shares.refill(at(1000));
        shares.spend(1, Duration::from_micros(600));
        let left = [0, 1, 2].map(|listener| shares.time_left(listener).as_micros());
        assert_eq!(left, [1100, 10_000, 1100], "whichever takes longer, of the whole and of its own");
    }

    #[test]
    fn a_pause_saves_up_a_little_and_work_beyond_it_is_not_owed() {
        let mut shares = Shares::new(50, [None], at(0));
        shares.spend(0, Duration::from_secs(1));
        assert!(!shares.is_left(0));
        let mut share = Share::new(50, at(0));
        for _ in 0..1000 {
            share.spend(Duration::from_millis(1));
        }
        share.refill(at(2_000));
        assert!(share.is_left(), "what was done when nothing was left is not owed");
        share.refill(at(3_600_000_000));
        assert_eq!(share.left, 10_000_000);
    }
}
