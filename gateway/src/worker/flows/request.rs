//! A request's way: route, credit, in flight, and exactly one outcome.
//!
//! ```text
//! request ─► route ─► room? ─► credit? ──yes──► in flight ─► answered | unknown (stream broke, deadline)
//!              │        │         └─no─► parked ─► in flight | refused: busy (waited too long)
//!              └────────┴─► refused
//! ```

use std::time::Duration;

use driver::Token;
use protocol::wire::frame::{Frame, Outcome, Request, RequestId, Response};
use protocol::wire::stream::{StreamRequest, credit_cost};
use protocol::wire::varint;
use protocol::{Refusal, Time};

use crate::collections::hash::mix;
use crate::id::LinkId;
use crate::session::{Session, SessionKey};
use crate::upstream::StreamIndex;
use crate::upstream::park::{Parked, Waiting};
use crate::upstream::pending;
use crate::upstream::route::Affinity;
use crate::worker::parts::Parts;
use crate::worker::requests::{Admitted, Way};

impl Parts {
    /// A request from a client.
    pub(super) fn request(&mut self, token: Token, request: &Request<'_>) {
        self.turn.counters.requests.add(1);
        let patience = self.turn.now + self.turn.settings.waiting_max;
        if let Err(refusal) = self.route(token, request, patience) {
            self.refuse(token, request.id, refusal);
        }
    }

    fn route(&mut self, token: Token, request: &Request<'_>, patience: Time) -> Result<(), Refusal> {
        let link = self.link_id(token);
        let route = self.streams.find(request.route)?;
        let session = self.links.session(token).ok_or(Refusal::Auth)?;
        let user = self.user_hash(session).ok_or(Refusal::Auth)?;
        let key = (!request.key.is_empty()).then(|| self.streams.hash(request.key));
        let order = key.map_or(0, |key| key as u32 | 1);
        let held_by = self.requests.held_by(link, route, order);
        let stream = self.choose(route, Affinity { user, key, held_by })?;
        let cost = u32::try_from(credit_cost(request.payload.len())).unwrap_or(u32::MAX);
        let way = Way { link, route, stream, order, cost, patience };
        let account = self.sessions.account(session).ok_or(Refusal::Auth)?;
        match self.requests.admit(way, account, self.streams.has_room(stream, cost))? {
            Admitted::Goes => self.forward(session, way, request),
            Admitted::Waits => self.park(session, way, request),
        }
    }

    /// Lets a request wait for credit, unless no credit would help.
    fn park(&mut self, session: SessionKey, way: Way, request: &Request<'_>) -> Result<(), Refusal> {
        let asker = self.sessions.get(session).ok_or(Refusal::Auth)?;
        let deadline = self.streams.deadline_of(way.route);
        let frame = stream_request(way, asker, request, deadline, u64::MAX);
        if self.streams.is_too_large(way.stream, &frame) {
            return Err(Refusal::TooLarge);
        }
        self.requests.park(&mut self.turn, way, request)
    }

    fn choose(&self, route: crate::upstream::RouteIndex, affinity: Affinity) -> Result<StreamIndex, Refusal> {
        self.streams.choose(route, affinity, |stream| self.requests.load(stream))
    }

    /// The hash that places a session's user on backends.
    fn user_hash(&self, session: SessionKey) -> Option<u64> {
        self.sessions.get(session).map(|session| self.streams.hash(session.user()))
    }

    /// Hands a request to its stream.
    fn forward(&mut self, session: SessionKey, way: Way, request: &Request<'_>) -> Result<(), Refusal> {
        let Self { turn, sessions, requests, streams, .. } = self;
        let Way { link, route, stream, order, cost, .. } = way;
        let deadline = streams.deadline_of(route);
        sessions.charge(session, cost)?;
        let asker = sessions.get(session).expect("it was charged just now");
        let noted = pending::Request {
            link,
            id: request.id,
            deadline: turn.now + deadline,
            cost,
            order,
            stream,
            route,
        };
        let forwarded = requests.forward(noted, |call| {
            streams.request(stream, &stream_request(way, asker, request, deadline, call))
        });
        forwarded.inspect_err(|_| sessions.refund(session, cost))
    }

    /// Credit has come, a batch has left, or the first one waits no longer: requests that waited for this stream go on, in
    /// order.
    pub(super) fn unpark(&mut self, stream: StreamIndex) {
        while let Some(first) = self.requests.first_parked(stream)
            && self.streams.has_room(stream, first.cost)
        {
            let Some(parked) = self.requests.take_parked(stream) else { return };
            self.retry(parked, |parts, session, way, request| {
                parts.requests.readmit(way)?;
                parts.forward(session, way, request)
            });
        }
    }

    /// Takes a parked request up again; a refusal reaches its link, if that still lives.
    fn retry(
        &mut self,
        parked: Parked,
        then: impl FnOnce(&mut Self, SessionKey, Way, &Request<'_>) -> Result<(), Refusal>,
    ) {
        let Waiting { link, deadline, cost, order, stream, route } = parked.waiting;
        let prefix = varint::decode(&parked.bytes).ok().flatten().map_or(0, |(_, len)| len);
        let token = self.own(link);
        if let (Some(token), Ok(Frame::Request(request))) = (token, Frame::decode(&parked.bytes[prefix..]))
            && let Some(session) = self.links.session(token)
        {
            let way = Way { link, route, stream, order, cost, patience: deadline };
            if let Err(refusal) = then(self, session, way, &request) {
                self.refuse(token, request.id, refusal);
            }
        }
        self.turn.buffers.give(parked.bytes);
    }

    /// Takes a parked request up again as if it came now; it waits no longer than it would have.
    fn reroute(&mut self, parked: Parked) {
        let link = parked.waiting.link;
        self.retry(parked, |parts, _, way, request| {
            let token = parts.own(link).ok_or(Refusal::Auth)?;
            parts.route(token, request, way.patience)
        });
    }

    /// The endpoint takes no requests any more: what waits for it finds another way or is refused. Later ones of the same
    /// keys go elsewhere, too.
    pub(super) fn reroute_parked(&mut self, stream: StreamIndex) {
        // One round only: what parks again for this very stream would come back for ever.
        for _ in 0..self.requests.parked_len(stream) {
            let Some(parked) = self.requests.take_parked(stream) else { break };
            self.reroute(parked);
        }
    }

    /// An endpoint takes requests again: what waits for the others of its routes, but would go to this one, does. A
    /// request with a key stays where the earlier ones of its key are.
    pub(super) fn share_with(&mut self, stream: StreamIndex) {
        for other in self.streams.all() {
            // Once around: what stays comes to stand in the same order again.
            for _ in 0..self.requests.parked_len(other) {
                let Some(&waiting) = self.requests.first_parked(other) else { break };
                if !self.would_take(stream, &waiting) {
                    self.requests.rotate_parked(other);
                } else if let Some(parked) = self.requests.take_parked(other) {
                    self.reroute(parked);
                }
            }
        }
    }

    /// Whether a request that waits would go to this stream if it came now.
    fn would_take(&self, stream: StreamIndex, waiting: &Waiting) -> bool {
        if waiting.order != 0 {
            return false;
        }
        let session = self.own(waiting.link).and_then(|token| self.links.session(token));
        let Some(user) = session.and_then(|session| self.user_hash(session)) else { return false };
        self.choose(waiting.route, Affinity { user, key: None, held_by: None }) == Ok(stream)
    }

    /// Requests that have waited for credit too long.
    pub(super) fn expire_parked(&mut self) {
        let mut budget = self.turn.settings.budgets.deadlines;
        while let Some(parked) = self.requests.out_of_patience(self.turn.now, &mut budget) {
            let stream = parked.waiting.stream;
            self.retry(parked, |_, _, _, _| Err(Refusal::Busy));
            self.unpark(stream);
        }
    }

    fn refuse(&mut self, token: Token, id: RequestId, refusal: Refusal) {
        self.refuse_for(token, id, refusal, 0);
    }

    /// Refuses a request that may come back after this time.
    pub(super) fn refuse_for(&mut self, token: Token, id: RequestId, refusal: Refusal, retry_after_ms: u32) {
        self.turn.counters.refusals.of(refusal).add(1);
        let (outcome, code) = (Outcome::Refused, refusal.number());
        let response = Response { id, outcome, code, retry_after_ms, ..Response::default() };
        self.links.send(&mut self.turn, token, &Frame::Response(response));
    }

    /// The name backends know a link by.
    pub(super) fn link_id(&self, token: Token) -> LinkId {
        LinkId::new(self.turn.settings.worker, token.slot, token.generation)
    }

    /// The token of a link of this worker.
    pub(super) fn own(&self, link: LinkId) -> Option<Token> {
        (link.worker() == self.turn.settings.worker)
            .then(|| Token { slot: link.slot(), generation: link.generation() })
    }
}

/// A client's request as its backend sees it.
fn stream_request<'r>(
    way: Way,
    asker: &'r Session,
    request: &Request<'r>,
    deadline: Duration,
    call: u64,
) -> StreamRequest<'r> {
    let link = way.link.number();
    StreamRequest {
        call,
        link,
        id: request.id,
        user: asker.user(),
        device: asker.device(),
        route: request.route,
        key: request.key,
        payload: request.payload,
        deadline_ms: u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX),
        trace: mix(call ^ link),
        again: request.again,
        session: asker.id(),
        realm: "",
    }
}
