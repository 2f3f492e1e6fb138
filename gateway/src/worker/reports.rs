//! What workers tell control beyond numbers: a bounded queue that all of them write to and control reads now and then. A
//! report that finds no room is lost. What a worker has seen is seen again; of what a backend wants, whoever tells it counts
//! what is lost, and control says so.

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::queue::ArrayQueue;
use protocol::UnixMillis;

use crate::admission::lists::{Block, Subject, UserId};

/// What a worker has seen, or was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// A user logs in so often that it is no user.
    LoginFlood(UserId),
    /// A backend wants somebody to stay out.
    Ban {
        /// Name of its endpoint.
        by: String,
        /// Whom.
        whom: Subject,
        /// Until when, if it is to end.
        until: Option<UnixMillis>,
        /// The backend's words.
        reason: String,
    },
    /// A backend wants somebody to be let in again.
    Unban {
        /// Name of its endpoint.
        by: String,
        /// Whom.
        whom: Subject,
    },
    /// A backend wants addresses to be slower.
    Throttle {
        /// Name of its endpoint.
        by: String,
        /// Which ones.
        block: Block,
        /// Hundredths of their rates that they are to have; all of them end it.
        percent: u8,
        /// Until when, if it is to end.
        until: Option<UnixMillis>,
    },
}

/// The reports of all workers of a process.
#[derive(Debug)]
pub struct Reports {
    queue: ArrayQueue<Report>,
    lost: AtomicU64,
}

/// Reports that wait to be read at most, of up to half a KiB each.
const REPORTS_MAX: usize = 1024;

impl Default for Reports {
    fn default() -> Self {
        Self { queue: ArrayQueue::new(REPORTS_MAX), lost: AtomicU64::new(0) }
    }
}

impl Reports {
    /// A worker has seen something, or was told; whether there was room for it.
    pub(super) fn tell(&self, report: Report) -> bool {
        let is_wanted = !matches!(report, Report::LoginFlood(_));
        let has_room = self.queue.push(report).is_ok();
        if is_wanted && !has_room {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        has_room
    }

    /// The next one.
    #[must_use]
    pub fn read(&self) -> Option<Report> {
        self.queue.pop()
    }

    /// How many things that backends wanted were lost since it was last asked.
    #[must_use]
    pub fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_loses_what_comes_and_counts_what_nobody_sees_again() {
        let reports = Reports::default();
        let user: UserId = "eve".parse().unwrap();
        let unban = || Report::Unban { by: "chat-1".to_owned(), whom: Subject::User(user.clone()) };
        assert!((0..REPORTS_MAX).all(|_| reports.tell(unban())));
        assert!(!reports.tell(unban()) && !reports.tell(Report::LoginFlood(user.clone())));
        assert_eq!((reports.take_lost(), reports.take_lost()), (1, 0));
        assert_eq!((reports.read(), reports.tell(unban())), (Some(unban()), true));
    }
}
