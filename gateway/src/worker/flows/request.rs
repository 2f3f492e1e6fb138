//! A request's way: route, credit, in flight, and exactly one outcome.
//!
//! ```text
//! request ─► new? ─► route ─► room? ─► credit? ──yes──► in flight ─► answered | unknown (stream broke, deadline)
//!             │        │        │         └─no─► parked ─► in flight | refused: busy (waited too long)
//!             │        └────────┴─► refused
//!             └ sent before: attached, or answered from memory
//! ```

use std::time::Duration;

use driver::Token;
use protocol::Refusal;
use protocol::wire::frame::{Frame, Outcome, Request, RequestId, Response};
use protocol::wire::stream::{StreamRequest, credit_cost};
use protocol::wire::varint;

use crate::answers::{Asked, EntryKey, Known};
use crate::collections::hash::mix;
use crate::id::LinkId;
use crate::session::{Session, SessionKey};
use crate::upstream::park::{Parked, Waiting};
use crate::upstream::pending;
use crate::upstream::route::Affinity;
use crate::upstream::{RouteIndex, StreamIndex};
use crate::worker::parts::Parts;
use crate::worker::requests::{Admitted, Asking, Way};

impl Parts {
    /// A request from a client: new, or sent again.
    pub(super) fn request(&mut self, token: Token, request: &Request<'_>) {
        self.turn.counters.requests.add(1);
        let (session, asking) = match self.asking(token, request) {
            Ok(found) => found,
            Err(refusal) => return self.refuse(token, request.id, refusal),
        };
        let (link, now) = (self.link_id(token), self.turn.now);
        let Asking { route, order, patience, .. } = asking;
        let until = patience + self.streams.deadline_of(route) + SLACK;
        let Request { id, counter, again, .. } = *request;
        let asked = Asked { id: &id, counter, again, route: route.0, order, until };
        match self.sessions.request_came(session, link, &asked, now) {
            Known::New { again, entry } => {
                let (asking, request) = (Asking { entry, ..asking }, Request { again, ..*request });
                if let Err(refusal) = self.route(token, session, asking, &request) {
                    self.fail(token, session, entry, id, refusal);
                }
            }
            Known::Running(_) => self.turn.counters.requests_repeated.add(1),
            Known::Answered(entry) => {
                self.turn.counters.requests_repeated.add(1);
                self.say_again(token, entry);
            }
            Known::Forgotten => self.say_answered_before(token, id),
            Known::Behind => self.refuse(token, id, Refusal::Behind),
        }
    }

    /// Whose request it is, its route and its key.
    fn asking(&self, token: Token, request: &Request<'_>) -> Result<(SessionKey, Asking), Refusal> {
        let route = self.streams.find(request.route)?;
        let session = self.links.session(token).ok_or(Refusal::Auth)?;
        let is_ordered = !request.key.is_empty() && self.streams.keeps_order(route);
        let order = if is_ordered { self.streams.hash(request.key) as u32 | 1 } else { 0 };
        let patience = self.turn.now + self.turn.settings.waiting_max;
        Ok((session, Asking { route, order, entry: None, patience }))
    }

    fn route(
        &mut self,
        token: Token,
        session: SessionKey,
        asking: Asking,
        request: &Request<'_>,
    ) -> Result<(), Refusal> {
        let Asking { route, order, entry, patience } = asking;
        let link = self.link_id(token);
        if self.sessions.is_behind(entry, self.turn.now) {
            return Err(Refusal::Behind);
        }
        let user = self.user_hash(session).ok_or(Refusal::Auth)?;
        let key = (!request.key.is_empty()).then(|| self.streams.hash(request.key));
        let aside = self.requests.aside();
        let held_by = self.requests.held_by(link, route, order);
        let goes_aside =
            held_by == Some(aside) || self.sessions.has_away(session, route.0, order, self.turn.now);
        let stream = if goes_aside { aside } else { self.choose(route, Affinity { user, key, held_by })? };
        let cost = u32::try_from(credit_cost(request.payload.len())).unwrap_or(u32::MAX);
        let way = Way { link, route, stream, order, cost, entry, patience };
        let account = self.sessions.account(session).ok_or(Refusal::Auth)?;
        let has_room = !goes_aside && self.streams.has_room(stream, cost);
        match self.requests.admit(way, account, has_room)? {
            Admitted::Goes => self.forward(session, way, request),
            Admitted::Waits if goes_aside => self.requests.park(&mut self.turn, way, request),
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

    fn choose(&self, route: RouteIndex, affinity: Affinity) -> Result<StreamIndex, Refusal> {
        self.streams.choose(route, affinity, |stream| self.requests.load(stream))
    }

    /// The hash that places a session's user on backends.
    fn user_hash(&self, session: SessionKey) -> Option<u64> {
        self.sessions.get(session).map(|session| self.streams.hash(session.user()))
    }

    /// Hands a request to its stream.
    fn forward(&mut self, session: SessionKey, way: Way, request: &Request<'_>) -> Result<(), Refusal> {
        let Self { turn, sessions, requests, streams, .. } = self;
        let Way { link, route, stream, order, cost, entry, .. } = way;
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
            entry,
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
                if parts.sessions.is_behind(way.entry, parts.turn.now) {
                    return Err(Refusal::Behind);
                }
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
        let Waiting { link, deadline, cost, order, stream, route, entry } = parked.waiting;
        let prefix = varint::decode(&parked.bytes).ok().flatten().map_or(0, |(_, len)| len);
        let token = self.own(link);
        if let (Some(token), Ok(Frame::Request(request))) = (token, Frame::decode(&parked.bytes[prefix..]))
            && let Some(session) = self.links.session(token)
        {
            let way = Way { link, route, stream, order, cost, entry, patience: deadline };
            if let Err(refusal) = then(self, session, way, &request) {
                self.fail(token, session, entry, request.id, refusal);
            }
        }
        self.turn.buffers.give(parked.bytes);
    }

    /// Takes a parked request up again as if it came now; it waits no longer than it would have.
    fn reroute(&mut self, parked: Parked) {
        let link = parked.waiting.link;
        self.retry(parked, |parts, session, way, request| {
            let token = parts.own(link).ok_or(Refusal::Auth)?;
            let Way { route, order, entry, patience, .. } = way;
            parts.route(token, session, Asking { route, order, entry, patience }, request)
        });
    }

    /// Requests by this link that waited until earlier ones of their keys had ended, which were sent by an earlier link: some
    /// may go now.
    pub(super) fn go_on(&mut self, link: LinkId) {
        // All are taken out first, or each would wait behind later ones of its key. Those that still have to wait come to stand
        // in the same order again.
        let waited: Vec<_> = std::iter::from_fn(|| self.requests.take_aside(link)).collect();
        for parked in waited {
            self.reroute(parked);
        }
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
            let Waiting { stream, link, .. } = parked.waiting;
            self.retry(parked, |_, _, _, _| Err(Refusal::Busy));
            if stream == self.requests.aside() {
                self.go_on(link);
            } else {
                self.unpark(stream);
            }
        }
    }

    /// A request that was new is refused: what comes behind it and has its key waits for it to come again.
    fn fail(
        &mut self,
        token: Token,
        session: SessionKey,
        entry: Option<EntryKey>,
        id: RequestId,
        refusal: Refusal,
    ) {
        self.sessions.fail_request(session, entry, &id, may_come_again(refusal.number()), self.turn.now);
        self.refuse(token, id, refusal);
    }

    /// A request that comes too soon behind others. What comes behind it and has its key waits all the same.
    pub(super) fn refuse_rate(&mut self, token: Token, request: &Request<'_>, retry_after_ms: u32) {
        if let Ok((session, asking)) = self.asking(token, request)
            && asking.order != 0
        {
            let (link, now) = (self.link_id(token), self.turn.now);
            let Request { id, counter, again, .. } = *request;
            let Asking { route, order, patience: until, .. } = asking;
            let asked = Asked { id: &id, counter, again, route: route.0, order, until };
            self.sessions.turn_away(session, link, &asked, now);
        }
        self.refuse_for(token, request.id, Refusal::Rate, retry_after_ms);
    }

    fn refuse(&mut self, token: Token, id: RequestId, refusal: Refusal) {
        self.refuse_for(token, id, refusal, 0);
    }

    /// Refuses a request that may come back after this time.
    fn refuse_for(&mut self, token: Token, id: RequestId, refusal: Refusal, retry_after_ms: u32) {
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

/// Whether a request that was refused like this may be sent again.
pub(super) fn may_come_again(refusal: u32) -> bool {
    use Refusal::{Malformed, NoRoute, NotAllowed, TooLarge};
    !matches!(Refusal::from_number(refusal), Some(NoRoute | TooLarge | NotAllowed | Malformed))
}

/// What it takes until everybody has heard of a deadline.
const SLACK: Duration = Duration::from_secs(1);

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
