//! Answers that wait for credit, in their order.

use std::collections::VecDeque;

use bytes::Bytes;
use protocol::wire::stream::credit_cost;

use crate::service::Head;

/// What of a request is needed to answer it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) call: u64,
    pub(crate) trace: u64,
    pub(crate) payload_len: usize,
}

/// Answers that wait. Their requests' credit is not given back yet, which bounds their number; their bytes are
/// bounded by whoever calls no more handlers when [`Backlog::cost`] is too high.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    answers: VecDeque<(Asked, Head, Bytes)>,
    cost: u64,
}

impl Backlog {
    pub(crate) fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    /// The credit that all of them need: their payloads, and 64 bytes for each.
    pub(crate) fn cost(&self) -> u64 {
        self.cost
    }

    pub(crate) fn push(&mut self, asked: Asked, head: Head, payload: Bytes) {
        self.cost += credit_cost(payload.len());
        self.answers.push_back((asked, head, payload));
    }

    /// The one that waits longest.
    pub(crate) fn first(&self) -> Option<(Asked, Head, Bytes)> {
        self.answers.front().cloned()
    }

    /// The first one has been sent.
    pub(crate) fn remove_first(&mut self) {
        if let Some((_, _, payload)) = self.answers.pop_front() {
            self.cost -= credit_cost(payload.len());
        }
    }
}
