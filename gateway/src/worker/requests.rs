//! A request's way: route, credit, in flight, and exactly one outcome.
//!
//! ```text
//! request ─► route ─► room? ─► credit? ──yes──► in flight ─► answered | unknown (stream broke, deadline)
//!              │        │         └─no─► parked ─► in flight | refused: busy (waited too long)
//!              └────────┴─► refused
//! ```

use driver::Token;
use protocol::stream::Blocked;
use protocol::wire::frame::{Frame, Outcome, Request, RequestId, Response};
use protocol::wire::stream::{StreamRequest, StreamResponse, credit_cost};
use protocol::wire::varint;
use protocol::{Refusal, Time};

use super::Core;
use crate::collections::hash::mix;
use crate::id::LinkId;
use crate::upstream::park::{Parked, Waiting};
use crate::upstream::pending::{self, Call};
use crate::upstream::route::Affinity;
use crate::upstream::{RouteIndex, StreamIndex};

/// Entries of the tables looked at per turn for deadlines.
const EXPIRED_PER_TURN: u32 = 4096;

/// Where a request goes and what it takes.
#[derive(Clone, Copy, Debug)]
struct Way {
    link: LinkId,
    route: RouteIndex,
    stream: StreamIndex,
    order: u32,
    cost: u32,
    /// How long it may wait for credit.
    patience: Time,
}

impl Core {
    /// A request from a client.
    pub(super) fn request(&mut self, token: Token, request: &Request<'_>) {
        self.counters.requests.add(1);
        let patience = self.now + self.settings.waiting_max;
        if let Err(refusal) = self.route(token, request, patience) {
            self.refuse(self.link_id(token), request.id, refusal);
        }
    }

    fn route(&mut self, token: Token, request: &Request<'_>, patience: Time) -> Result<(), Refusal> {
        let link = self.link_id(token);
        let route = self.routes.find(request.route.as_bytes())?;
        let user = self.user_hash(token).ok_or(Refusal::Auth)?;
        let key = (!request.key.is_empty()).then(|| self.routes.hash(request.key));
        let order = key.map_or(0, |key| key as u32 | 1);
        let held_by = self.held_by(link, route, order);
        let pending = &self.pending;
        let affinity = Affinity { user, key, held_by };
        let stream = self.routes.choose(route, affinity, |stream| pending.len_of_stream(stream))?;
        let cost = self.cost_of(token, request)?;
        self.pending.admit(link, stream)?;
        let way = Way { link, route, stream, order, cost, patience };
        let waits = self.park.len_of(stream) > 0 || !self.has_room(stream, cost);
        if waits || self.park.len_of_link(link) > 0 {
            self.admit_beside_parked(token, link, cost)?;
        }
        if waits { self.wait_for_credit(way, request) } else { self.forward(token, way, request) }
    }

    /// What a request takes from its link's grant. One that takes more than there ever is would wait for nothing.
    fn cost_of(&mut self, token: Token, request: &Request<'_>) -> Result<u32, Refusal> {
        let grant = self.session_of(token).ok_or(Refusal::Auth)?.grant();
        let cost = u32::try_from(credit_cost(request.payload.len())).unwrap_or(u32::MAX);
        if cost <= grant.bytes { Ok(cost) } else { Err(Refusal::TooLarge) }
    }

    /// Whether the link's grant has room for a request, beside those that run and those that wait. Without any that
    /// wait it is looked at when the request is charged.
    fn admit_beside_parked(&mut self, token: Token, link: LinkId, cost: u32) -> Result<(), Refusal> {
        let parked = self.park.len_of_link(link);
        let cost = cost.saturating_add(self.park.cost_of_link(link));
        let session = self.session_of(token).ok_or(Refusal::Auth)?;
        let (grant, running) = (session.grant(), session.in_flight());
        let fits =
            parked + running.requests < grant.requests && cost.saturating_add(running.bytes) <= grant.bytes;
        if fits { Ok(()) } else { Err(Refusal::InFlight) }
    }

    /// The stream that has, or will get, the earlier requests of this key.
    fn held_by(&self, link: LinkId, route: RouteIndex, order: u32) -> Option<StreamIndex> {
        self.park.stream_of(link, route, order).or_else(|| self.pending.stream_of(link, route, order))
    }

    /// Whether a stream can take a payload frame of this cost now.
    fn has_room(&self, stream: StreamIndex, cost: u32) -> bool {
        self.streams[usize::from(stream.0)].has_room(u64::from(cost))
    }

    /// Hands a request to its stream's batch. The payload is copied here, once.
    fn forward(&mut self, token: Token, way: Way, request: &Request<'_>) -> Result<(), Refusal> {
        let deadline = self.routes.route(way.route).deadline;
        let Way { link, route, stream, order, cost, .. } = way;
        let at = self.links.get(token).and_then(|link| link.session).ok_or(Refusal::Auth)?;
        let (key, _) = self.sessions.at(at.get()).ok_or(Refusal::Auth)?;
        let session = self.sessions.get_mut(key).expect("found just above");
        session.charge(cost)?;
        let noted = pending::Request {
            link,
            id: request.id,
            deadline: self.now + deadline,
            cost,
            order,
            stream,
            route,
        };
        let Call(call) = self.pending.insert(noted).inspect_err(|_| session.refund(cost))?;
        let frame = StreamRequest {
            call,
            link: link.number(),
            id: request.id,
            user: session.user(),
            device: session.device(),
            route: request.route,
            key: request.key,
            payload: request.payload,
            deadline_ms: u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX),
            trace: mix(call ^ link.number()),
            again: request.again,
            session: session.id(),
            realm: "",
        };
        if let Err(blocked) = self.streams[usize::from(stream.0)].request(&frame) {
            session.refund(cost);
            self.pending.take(stream, Call(call));
            return Err(if blocked == Blocked::TooLarge { Refusal::TooLarge } else { Refusal::Busy });
        }
        self.mark_stream(stream);
        Ok(())
    }

    fn wait_for_credit(&mut self, way: Way, request: &Request<'_>) -> Result<(), Refusal> {
        let mut scratch = self.buffers.take(request.payload.len() + 256);
        Frame::Request(*request).encode(&mut scratch);
        let waiting = Waiting {
            link: way.link,
            deadline: way.patience,
            cost: way.cost,
            order: way.order,
            stream: way.stream,
            route: way.route,
        };
        let parked = self.park.push(&mut self.buffers, waiting, &scratch);
        self.buffers.give(scratch);
        parked
    }

    /// Credit has come, a batch has left, or the first one waits no longer: requests that waited for this stream go on, in
    /// order.
    pub(super) fn unpark(&mut self, stream: StreamIndex) {
        while let Some(first) = self.park.first(stream)
            && self.has_room(stream, first.cost)
        {
            let Some(parked) = self.park.take(stream) else { return };
            self.retry(parked, |core, token, way, request| {
                core.pending.admit(way.link, way.stream)?;
                core.forward(token, way, request)
            });
        }
    }

    /// Takes a parked request up again; a refusal reaches its link, if that still lives.
    fn retry(
        &mut self,
        parked: Parked,
        then: impl FnOnce(&mut Self, Token, Way, &Request<'_>) -> Result<(), Refusal>,
    ) {
        let Waiting { link, deadline, cost, order, stream, route } = parked.waiting;
        let prefix = varint::decode(&parked.bytes).ok().flatten().map_or(0, |(_, len)| len);
        if let (Some(token), Ok(Frame::Request(request))) =
            (self.own(link), Frame::decode(&parked.bytes[prefix..]))
            && self.links.get(token).is_some()
        {
            let way = Way { link, route, stream, order, cost, patience: deadline };
            if let Err(refusal) = then(self, token, way, &request) {
                self.refuse(link, request.id, refusal);
            }
        }
        self.buffers.give(parked.bytes);
    }

    /// A backend's answer.
    pub(super) fn response(&mut self, stream: StreamIndex, response: &StreamResponse<'_>) {
        self.streams[usize::from(stream.0)].redial.answered();
        let Some(request) = self.pending.take(stream, Call(response.call)) else { return };
        let outcome = if response.refused { Outcome::Refused } else { Outcome::Answered };
        self.counters.responses.add(1);
        self.resolve(
            &request,
            &Response {
                id: request.id,
                outcome,
                code: response.status,
                retry_after_ms: response.retry_after_ms,
                payload: response.payload,
            },
        );
    }

    /// The stream has ended: what it held is unknown.
    pub(super) fn abandon_requests(&mut self, stream: StreamIndex) {
        while let Some(request) = self.pending.take_of_stream(stream) {
            self.unknown(&request);
        }
        self.route_parked(stream);
    }

    /// The endpoint takes no requests any more: what waits for it finds another way or is refused. Later ones of the same
    /// keys go elsewhere, too.
    pub(super) fn route_parked(&mut self, stream: StreamIndex) {
        // One round only: what parks again for this very stream would come back for ever.
        for _ in 0..self.park.len_of(stream) {
            let Some(parked) = self.park.take(stream) else { break };
            self.retry(parked, |core, token, way, request| core.route(token, request, way.patience));
        }
    }

    /// An endpoint takes requests again: what waits for the others of its routes, but would go to this one, does. A
    /// request with a key stays where the earlier ones of its key are; none waits longer than it would have.
    pub(super) fn share_with(&mut self, stream: StreamIndex) {
        for index in 0..self.streams.len() {
            let other = StreamIndex(index as u16);
            // Once around: what stays comes to stand in the same order again.
            for _ in 0..self.park.len_of(other) {
                let Some(&waiting) = self.park.first(other) else { break };
                if !self.would_take(stream, &waiting) {
                    self.park.rotate(other);
                } else if let Some(parked) = self.park.take(other) {
                    self.retry(parked, |core, token, way, request| core.route(token, request, way.patience));
                }
            }
        }
    }

    /// Whether a request that waits would go to this stream if it came now.
    fn would_take(&mut self, stream: StreamIndex, waiting: &Waiting) -> bool {
        let user = self.own(waiting.link).and_then(|token| self.user_hash(token));
        let Some(user) = user.filter(|_| waiting.order == 0) else { return false };
        let affinity = Affinity { user, key: None, held_by: None };
        self.routes.choose(waiting.route, affinity, |stream| self.pending.len_of_stream(stream)) == Ok(stream)
    }

    /// The link has ended: nobody waits for the answers to its requests.
    pub(super) fn forget_requests(&mut self, link: LinkId) {
        while self.pending.take_of_link(link).is_some() {}
        if self.park.len_of_link(link) == 0 {
            return;
        }
        while let Some(parked) = self.park.take_of_link(link) {
            self.buffers.give(parked.bytes);
        }
        // Those behind them may fit into the credit there is.
        for index in 0..self.streams.len() {
            self.unpark(StreamIndex(index as u16));
        }
    }

    /// Requests whose time has passed.
    pub(super) fn expire_requests(&mut self) {
        let mut budget = EXPIRED_PER_TURN;
        while let Some(request) = self.pending.expire(self.now, &mut budget) {
            self.unknown(&request);
            self.missed(request.stream);
        }
        let mut budget = EXPIRED_PER_TURN;
        while let Some(parked) = self.park.expire(self.now, &mut budget) {
            let stream = parked.waiting.stream;
            self.retry(parked, |_, _, _, _| Err(Refusal::Busy));
            self.unpark(stream);
        }
    }

    /// When a request's time is over next.
    pub(super) fn requests_deadline(&self) -> Option<Time> {
        [self.pending.next_deadline(), self.park.next_deadline()].into_iter().flatten().min()
    }

    fn unknown(&mut self, request: &pending::Request) {
        self.counters.requests_unknown.add(1);
        let response = Response { id: request.id, outcome: Outcome::Unknown, ..Response::default() };
        self.resolve(request, &response);
    }

    fn refuse(&mut self, link: LinkId, id: RequestId, refusal: Refusal) {
        self.counters.refusals.of(refusal).add(1);
        let Some(token) = self.own(link) else { return };
        let response =
            Response { id, outcome: Outcome::Refused, code: refusal.number(), ..Response::default() };
        self.send_frame(token, &Frame::Response(response));
    }

    /// Gives a request's grant back to its link, with its outcome.
    fn resolve(&mut self, request: &pending::Request, response: &Response<'_>) {
        let Some(token) = self.own(request.link) else { return };
        if let Some(session) = self.session_of(token) {
            session.refund(request.cost);
        }
        self.send_frame(token, &Frame::Response(*response));
    }
}
