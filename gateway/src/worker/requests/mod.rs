//! Requests on their way: each is in flight at a backend or parked until there is credit, and leaves once. `admit` decides
//! which, `way` is where one goes.
//!
//! ```text
//! request ─► admit ──goes──► in flight ─► answered | unknown (stream broke, deadline)
//!              │  └─waits──► parked ────► in flight | refused: busy (waited too long)
//!              └─► refused
//! ```

mod admit;
mod way;

use protocol::stream::Blocked;
use protocol::wire::frame::{Frame, Request};
use protocol::{Refusal, Time};

pub(super) use self::admit::Admitted;
pub(super) use self::way::{Asking, Way};

use super::settings::Settings;
use super::turn::Turn;
use crate::answers::EntryKey;
use crate::counters::Counters;
use crate::id::LinkId;
use crate::upstream::park::{Park, Parked, Waiting};
use crate::upstream::pending::{self, Call, Pending};
use crate::upstream::{RouteIndex, StreamIndex};

/// All requests of one worker.
#[derive(Debug)]
pub(super) struct Requests {
    pending: Pending,
    park: Park,
    /// Behind the streams.
    aside: StreamIndex,
}

impl Requests {
    /// No requests yet.
    pub(super) fn new(settings: &Settings, now: Time) -> Self {
        let (slots, streams) = (settings.slots, settings.endpoints.len() as u16);
        Self {
            pending: Pending::new(settings.in_flight, slots, streams, now),
            park: Park::new(settings.waiting, settings.routes.len() as u16, streams + 1, slots, now),
            aside: StreamIndex(streams),
        }
    }

    /// How many are in flight on a stream.
    pub(super) fn load(&self, stream: StreamIndex) -> u32 {
        self.pending.len_of_stream(stream)
    }

    /// The stream that has, or will get, the earlier requests of this link, route and key.
    pub(super) fn held_by(&self, link: LinkId, route: RouteIndex, order: u32) -> Option<StreamIndex> {
        self.park.stream_of(link, route, order).or_else(|| self.pending.stream_of(link, route, order))
    }

    /// Notes a request that is handed to its stream by `hand_over`, which is given the number of the call.
    ///
    /// # Errors
    /// Why it was not taken; nothing is noted then.
    pub(super) fn forward(
        &mut self,
        request: pending::Request,
        hand_over: impl FnOnce(u64) -> Result<(), Blocked>,
    ) -> Result<(), Refusal> {
        let Call(call) = self.pending.insert(request)?;
        hand_over(call).map_err(|blocked| {
            self.pending.take(request.stream, Call(call));
            if blocked == Blocked::TooLarge { Refusal::TooLarge } else { Refusal::Busy }
        })
    }

    /// Lets a request wait for credit of its stream, with a copy of its bytes.
    ///
    /// # Errors
    /// [`Refusal::Busy`] when its route has its fill.
    pub(super) fn park(&mut self, turn: &mut Turn, way: Way, request: &Request<'_>) -> Result<(), Refusal> {
        let mut scratch = turn.buffers.take(request.payload.len() + 256);
        Frame::Request(*request).encode(&mut scratch);
        let Way { link, route, stream, order, cost, entry, patience: deadline } = way;
        let waiting = Waiting { link, deadline, cost, order, stream, route, entry };
        let parked = self.park.push(&mut turn.buffers, waiting, &scratch);
        turn.buffers.give(scratch);
        parked
    }

    /// What the request that waits longest for a stream is.
    pub(super) fn first_parked(&self, stream: StreamIndex) -> Option<&Waiting> {
        self.park.first(stream)
    }

    /// Takes out the request that waits longest for a stream.
    pub(super) fn take_parked(&mut self, stream: StreamIndex) -> Option<Parked> {
        self.park.take(stream)
    }

    /// Lets the request that waits longest for a stream stand behind all others.
    pub(super) fn rotate_parked(&mut self, stream: StreamIndex) {
        self.park.rotate(stream);
    }

    /// How many requests wait for a stream.
    pub(super) fn parked_len(&self, stream: StreamIndex) -> u32 {
        self.park.len_of(stream)
    }

    /// Takes out the request that a stream has answered.
    pub(super) fn answered(&mut self, stream: StreamIndex, call: u64) -> Option<pending::Request> {
        self.pending.take(stream, Call(call))
    }

    /// Takes out a request of a stream that has ended. Called until `None`.
    pub(super) fn abandoned(&mut self, stream: StreamIndex) -> Option<pending::Request> {
        self.pending.take_of_stream(stream)
    }

    /// A link has ended, and nobody waits for the answers to its requests. Whether any of them was parked: then others
    /// may go.
    pub(super) fn forget(&mut self, turn: &mut Turn, link: LinkId) -> bool {
        while self.pending.take_of_link(link).is_some() {}
        let had_parked = self.park.len_of_link(link) > 0;
        while let Some(parked) = self.park.take_of_link(link) {
            turn.buffers.give(parked.bytes);
        }
        had_parked
    }

    /// A link has ended, and its session goes on: its requests in flight are answered all the same. What was parked is dropped:
    /// `forget` is told where it was remembered. Whether there was any.
    pub(super) fn leave(
        &mut self,
        turn: &mut Turn,
        link: LinkId,
        mut forget: impl FnMut(Option<EntryKey>),
    ) -> bool {
        self.pending.leave_link(link);
        let had_parked = self.park.len_of_link(link) > 0;
        while let Some(parked) = self.park.take_of_link(link) {
            forget(parked.waiting.entry);
            turn.buffers.give(parked.bytes);
        }
        had_parked
    }

    /// Where requests wait that must not go before others of their keys are answered.
    pub(super) const fn aside(&self) -> StreamIndex {
        self.aside
    }

    /// Takes out the one of a link that has waited longest there.
    pub(super) fn take_aside(&mut self, link: LinkId) -> Option<Parked> {
        self.park.take_of_link_for(link, self.aside)
    }

    /// Takes out a request in flight whose time has passed. Called until `None`, within `budget`.
    pub(super) fn overdue(&mut self, now: Time, budget: &mut u32) -> Option<pending::Request> {
        self.pending.expire(now, budget)
    }

    /// Takes out a parked request that has waited too long. Called until `None`, within `budget`.
    pub(super) fn out_of_patience(&mut self, now: Time, budget: &mut u32) -> Option<Parked> {
        self.park.expire(now, budget)
    }

    /// When a request's time is over next.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        [self.pending.next_deadline(), self.park.next_deadline()].into_iter().flatten().min()
    }

    /// How many are in flight, how many are parked, and the bytes of these.
    pub(super) fn census(&self) -> (usize, usize, usize) {
        (self.pending.len() as usize, self.park.len(), self.park.bytes())
    }

    /// Copies what is not counted where it happens.
    pub(super) fn publish(&self, counters: &Counters) {
        let (pending, parked, parked_bytes) = self.census();
        counters.requests_in_flight.set(pending as u64);
        counters.requests_parked.set(parked as u64);
        counters.requests_parked_bytes.set(parked_bytes as u64);
    }
}

#[cfg(test)]
mod tests;
