//! What workers tell control beyond numbers: a bounded queue that all of them write to and control reads now and then. A
//! report that finds no room is lost; what it is about is seen again.

use crossbeam::queue::ArrayQueue;

use crate::admission::lists::UserId;

/// What a worker has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// A user logs in so often that it is no user.
    LoginFlood(UserId),
}

/// The reports of all workers of a process.
#[derive(Debug)]
pub struct Reports(ArrayQueue<Report>);

/// Reports that wait to be read at most.
const REPORTS_MAX: usize = 1024;

impl Default for Reports {
    fn default() -> Self {
        Self(ArrayQueue::new(REPORTS_MAX))
    }
}

impl Reports {
    /// A worker has seen something.
    pub(super) fn tell(&self, report: Report) {
        let _lost = self.0.push(report);
    }

    /// The next one.
    #[must_use]
    pub fn read(&self) -> Option<Report> {
        self.0.pop()
    }
}
