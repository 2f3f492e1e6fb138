//! What users have said lately on all of their links, wherever these are: counted by all workers together, in lots.
//!
//! A table of fixed size. A user's two buckets lie in one of a few places that the keyed hash of its id names; whoever is not
//! there has full ones, and a newcomer takes the place of the one whose bucket will be full first.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use protocol::Time;

use super::Due;
use crate::rate::Rate;

/// Places that one hash names: as many as fit into a cache line.
const WAYS: usize = 4;

/// Whose bucket it is, and when it will be full.
#[derive(Debug, Default)]
struct Cell {
    holder: AtomicU64,
    full_at: AtomicU64,
}

#[derive(Debug, Default)]
#[repr(align(64))] // a set is one cache line
struct Set([Cell; WAYS]);

/// The buckets of all users of a process.
#[derive(Debug)]
pub struct Users(Box<[Set]>);

/// Tells a user's bucket of bytes from that of frames.
const BYTES: u64 = 0x9e37_79b9_7f4a_7c15;

impl Users {
    /// For about so many users at a time, at 32 bytes each.
    #[must_use]
    pub fn new(users: usize) -> Self {
        let sets = (2 * users).div_ceil(WAYS).next_power_of_two();
        Self((0..sets).map(|_| Set::default()).collect())
    }

    /// Charges the user with this hash: how much longer than it may all that would take to come.
    #[must_use]
    pub fn charge(&self, hash: u64, due: &Due, now: Time) -> Duration {
        let Due { lot: (frames, bytes), rates, percent, grace } = *due;
        let of_frames = self.take(hash, frames, rates.user_frames.percent(percent), grace, now);
        let of_bytes = self.take(hash ^ BYTES, bytes, rates.user_bytes.percent(percent), grace, now);
        of_frames.max(of_bytes)
    }

    fn take(&self, hash: u64, count: u32, rate: Rate, grace: Duration, now: Time) -> Duration {
        let hash = hash.max(1);
        let cell = self.cell(hash);
        if cell.holder.swap(hash, Ordering::Relaxed) != hash {
            // What the former one owes is not the newcomer's debt.
            cell.full_at.store(0, Ordering::Relaxed);
        }
        let most = now + rate.span() + 2 * grace;
        let taken = |full_at| {
            let then = Time::from_nanos(full_at).max(now) + rate.time_for(count.into());
            Some(then.min(most).as_nanos())
        };
        let before = cell.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken);
        let then = before.ok().and_then(taken).map_or(now, Time::from_nanos);
        then.since(now).saturating_sub(rate.span())
    }

    /// The place of a user, or the one it gets.
    fn cell(&self, hash: u64) -> &Cell {
        let set = &self.0[hash as usize & (self.0.len() - 1)].0;
        let own = set.iter().find(|cell| cell.holder.load(Ordering::Relaxed) == hash);
        let fullest = || set.iter().min_by_key(|cell| cell.full_at.load(Ordering::Relaxed));
        own.or_else(fullest).expect("a set has places")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::rates::Rates;

    const SECOND: Duration = Duration::from_secs(1);

    fn due(lot: (u32, u32), percent: u8) -> Due {
        let user_frames = Rate::new(10, SECOND, 20);
        let rates = Rates { user_frames, user_bytes: Rate::new(1000, SECOND, 4000), ..Rates::ample() };
        Due { lot, rates, percent, grace: SECOND }
    }

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_user_pays_for_all_of_its_links_by_frames_or_by_bytes() {
        let users = Users::new(64);
        let charge = |hash, lot, now| users.charge(hash, &due(lot, 100), at(now));
        assert_eq!(charge(7, (20, 0), 5), Duration::ZERO, "the burst");
        assert_eq!(charge(7, (5, 0), 5), SECOND / 2);
        assert_eq!(charge(8, (20, 4000), 5), Duration::ZERO, "another user");
        assert_eq!(charge(8, (0, 1500), 5), 3 * SECOND / 2);
        assert_eq!(charge(8, (0, 500_000), 5), 2 * SECOND, "it owes a bounded time");
        assert_eq!(charge(8, (0, 0), 6), SECOND);
        assert_eq!(charge(7, (5, 0), 6), Duration::ZERO, "time has passed");
    }

    #[test]
    fn a_throttled_user_has_less_in_the_same_time() {
        let users = Users::new(64);
        assert_eq!(users.charge(7, &due((20, 0), 10), at(5)), Duration::ZERO);
        assert_eq!(users.charge(7, &due((1, 0), 10), at(5)), SECOND);
    }

    #[test]
    fn of_more_users_than_there_are_places_those_stay_who_owe_most() {
        let users = Users::new(2);
        let charge = |hash, frames| users.charge(hash, &due((frames, 0), 100), at(5));
        let _ = charge(1, 25);
        for other in 2..100 {
            assert_eq!(charge(other, 1), Duration::ZERO, "{other} owes nothing of those before it");
        }
        assert_eq!(charge(1, 0), SECOND / 2, "still known");
    }
}
