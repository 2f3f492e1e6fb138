//! Streams whose gateways have not introduced themselves yet.
//!
//! Whoever reaches the listener can open connections and say nothing. Were they counted among the streams, so many of them
//! would keep every gateway out. They have a small pool of their own instead, in which the newest is always welcome: the one
//! that has waited longest goes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::AbortHandle;

/// One of them, as its own task sees it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Newcomer(Arc<AtomicBool>);

/// All of them, from the oldest to the newest.
#[derive(Debug)]
pub(crate) struct Newcomers {
    most: usize,
    waiting: VecDeque<(Newcomer, AbortHandle)>,
}

impl Newcomer {
    /// It is none any more: its gateway has introduced itself, it is over, or it has to go. Whether it still was one:
    /// whoever asks first decides.
    pub(crate) fn settle(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }

    fn is_settled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Newcomers {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, waiting: VecDeque::new() }
    }

    /// One more, with its task. How many had to go for it.
    pub(crate) fn admit(&mut self, newcomer: Newcomer, task: AbortHandle) -> u64 {
        self.waiting.retain(|(newcomer, _)| !newcomer.is_settled());
        self.waiting.push_back((newcomer, task));
        let mut evicted = 0;
        while self.waiting.len() > self.most
            && let Some((oldest, task)) = self.waiting.pop_front()
        {
            if oldest.settle() {
                task.abort();
                evicted += 1;
            }
        }
        evicted
    }
}
