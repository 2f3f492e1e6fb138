//! Which workers of a process have a place left for a link. They share it, so that a newcomer who finds none anywhere is
//! turned away at once, and does not wait in the kernel's queue for somebody to leave.

use std::sync::atomic::{AtomicU32, Ordering};

/// By listener of the process, how many of the workers that accept from it have a place left. Each worker counts itself
/// where it is built, full, and then whenever that changes.
#[derive(Debug)]
pub struct Vacancy(Box<[AtomicU32]>);

impl Vacancy {
    /// Of so many listeners; nobody has a place yet.
    #[must_use]
    pub fn new(listeners: usize) -> Self {
        Self((0..listeners).map(|_| AtomicU32::new(0)).collect())
    }

    /// Whether a worker has a place for those who come by a listener.
    #[must_use]
    pub fn is_open(&self, listener: usize) -> bool {
        self.0[listener].load(Ordering::Relaxed) > 0
    }

    /// One more worker, or one fewer, has a place; whether it is the first, or was the last.
    pub(super) fn change(&self, listener: usize, has_room: bool) -> bool {
        let workers = &self.0[listener];
        if has_room {
            workers.fetch_add(1, Ordering::Relaxed) == 0
        } else {
            workers.fetch_sub(1, Ordering::Relaxed) == 1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_one_with_a_place_know() {
        let vacancy = Vacancy::new(2);
        assert!(!vacancy.is_open(0));
        assert!(vacancy.change(0, true) && !vacancy.change(0, true));
        assert!(vacancy.is_open(0) && !vacancy.is_open(1), "each listener has its own workers");
        assert!(!vacancy.change(0, false) && vacancy.is_open(0));
        assert!(vacancy.change(0, false) && !vacancy.is_open(0));
    }
}
