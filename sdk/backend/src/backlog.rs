//! Answers that wait for credit, in their order.

use std::collections::VecDeque;

use bytes::Bytes;
use protocol::limits::FRAME_LEN_CEILING;
use protocol::stream::{BackendStream, Blocked};
use protocol::wire::stream::credit_cost;

use crate::counters::Counters;
use crate::reply::{Head, STATUS_REPLY_TOO_LARGE};

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

    /// Answers, or lets the answer wait behind those that wait for credit already.
    pub(crate) fn respond(
        &mut self,
        stream: &mut BackendStream,
        counters: &Counters,
        asked: Asked,
        head: Head,
        payload: &[u8],
    ) {
        if self.is_empty() && try_respond(stream, counters, asked, head, payload) {
            return;
        }
        // What no gateway takes has no place among those that wait.
        let (head, payload) = if payload.len() > FRAME_LEN_CEILING {
            counters.replies_too_large.add(1);
            (Head::status(STATUS_REPLY_TOO_LARGE), &[][..])
        } else {
            (head, payload)
        };
        self.cost += credit_cost(payload.len());
        self.answers.push_back((asked, head, Bytes::copy_from_slice(payload)));
    }

    /// Answers as far as the credit reaches.
    pub(crate) fn respond_waiting(&mut self, stream: &mut BackendStream, counters: &Counters) {
        while let Some((asked, head, payload)) = self.answers.front() {
            if !try_respond(stream, counters, *asked, *head, payload) {
                return;
            }
            self.cost -= credit_cost(payload.len());
            self.answers.pop_front();
        }
    }
}

/// Whether the answer needs no further care.
fn try_respond(
    stream: &mut BackendStream,
    counters: &Counters,
    asked: Asked,
    head: Head,
    payload: &[u8],
) -> bool {
    let Asked { call, trace, payload_len } = asked;
    let mut result = stream.response(&head.frame(call, trace, payload));
    let is_too_large = result == Err(Blocked::TooLarge);
    if is_too_large {
        result = stream.response(&Head::status(STATUS_REPLY_TOO_LARGE).frame(call, trace, &[]));
    }
    if matches!(result, Err(Blocked::Credit | Blocked::Pending)) {
        return false;
    }
    counters.replies_too_large.add(is_too_large.into());
    stream.consumed(payload_len);
    true
}
