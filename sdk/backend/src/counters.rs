//! What a server counts for its operator.

use std::sync::atomic::{AtomicU64, Ordering};

/// What has happened since a server was built; see [`Server::watch_counts`](crate::Server::watch_counts).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that were closed before a gateway had introduced itself, as newer ones needed their place.
    pub newcomers_evicted: u64,
    /// Streams that were closed at once, as there were as many as there may be.
    pub streams_refused: u64,
    /// Panics of handlers, judges and the ear. Each has cost its own request, token or event, and nothing else.
    pub panics: u64,
    /// Handlers and judges that were dropped because their deadline had passed.
    pub overdue: u64,
    /// Replies that were longer than their gateway takes.
    pub replies_too_large: u64,
    /// Frames of kinds that are unknown here.
    pub glitches: u64,
}

/// Where it is counted.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) newcomers_evicted: Counter,
    pub(crate) streams_refused: Counter,
    pub(crate) panics: Counter,
    pub(crate) overdue: Counter,
    pub(crate) replies_too_large: Counter,
    pub(crate) glitches: Counter,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            newcomers_evicted: self.newcomers_evicted.get(),
            streams_refused: self.streams_refused.get(),
            panics: self.panics.get(),
            overdue: self.overdue.get(),
            replies_too_large: self.replies_too_large.get(),
            glitches: self.glitches.get(),
        }
    }
}
