//! The pushes that an application has taken, by the names backends gave them. SPEC.md, section 8.6.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// Remembers which pushes the application has taken, by [`Push::id`](crate::Push::id), so that none is shown twice: a backend
/// that was not told that a push was taken sends it again, in another session or after a start of this client perhaps.
///
/// It is asked for pushes that are delivered at least once and have an id. A push whose id it contains is not given to the
/// application, and counts as taken.
///
/// **What it is worth.** The application takes a push, then its id is inserted, then the gateway is told. If the process ends
/// between the first two, the push comes again, and is shown twice. So this alone makes no "exactly once". That only an
/// implementation inside the application's own transaction gives: the application stores the message and its id together,
/// `contains` looks there, and `insert` has nothing left to do.
pub trait SeenIds: fmt::Debug + Send + Sync {
    /// Whether the push of this name, 1 to 16 bytes, was taken. Called by [`Pushes::next`](crate::Pushes::next), in the
    /// application's own task.
    fn contains(&self, id: &[u8]) -> bool;

    /// The push of this name was taken. Called before the gateway is told, in the application's own task.
    fn insert(&self, id: &[u8]);

    /// The push of this name came once more, as number `sequence` of its session, and is kept from the application, which has taken it
    /// or has it in hand. For whoever counts. Called in the application's own task; does nothing unless it is implemented.
    fn repeated(&self, id: &[u8], sequence: u64) {
        _ = (id, sequence);
    }
}

/// Remembers the last ids, in memory: enough for repeats within the life of a process.
pub struct RecentIds {
    max: usize,
    ids: Mutex<Ids>,
}

#[derive(Default)]
struct Ids {
    /// The oldest first.
    order: VecDeque<Box<[u8]>>,
    all: HashSet<Box<[u8]>>,
}

impl RecentIds {
    /// Remembers the last `max` ids: about 100 bytes for each.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { max, ids: Mutex::default() }
    }

    fn with<R>(&self, change: impl FnOnce(&mut Ids) -> R) -> R {
        // Half a change forgets an id or keeps one for too long.
        change(&mut self.ids.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Default for RecentIds {
    /// The last 1,024.
    fn default() -> Self {
        Self::new(1_024)
    }
}

impl SeenIds for RecentIds {
    fn contains(&self, id: &[u8]) -> bool {
        self.with(|ids| ids.all.contains(id))
    }

    fn insert(&self, id: &[u8]) {
        self.with(|ids| {
            if ids.all.insert(id.into()) {
                ids.order.push_back(id.into());
            }
            while ids.order.len() > self.max {
                if let Some(oldest) = ids.order.pop_front() {
                    ids.all.remove(&oldest);
                }
            }
        });
    }
}

impl fmt::Debug for RecentIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecentIds({} of {})", self.with(|ids| ids.order.len()), self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_remembered_and_no_more() {
        let seen = RecentIds::new(2);
        [b"a", b"b", b"b", b"a"].into_iter().for_each(|id| seen.insert(id));
        assert!(seen.contains(b"a") && seen.contains(b"b") && !seen.contains(b"c"));
        seen.insert(b"c");
        assert!(!seen.contains(b"a") && seen.contains(b"b") && seen.contains(b"c"));
        assert_eq!(format!("{seen:?}"), "RecentIds(2 of 2)");
        let none = RecentIds::new(0);
        none.insert(b"a");
        assert!(!none.contains(b"a"));
    }
}
