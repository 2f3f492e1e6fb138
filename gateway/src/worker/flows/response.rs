//! What became of a request: whoever has its session now hears of it, and has its grant back.
//!
//! ```text
//! answer ─► its link has the session ─► queued, or kept until the link has room
//!           the session waits ────────► kept for whoever asks again
//!           it has gone on elsewhere ─► by letter to the link that has it ─► kept, or queued if that has asked again
//!           it is over ───────────────► nobody waits for it
//! ```

use driver::Token;
use protocol::Cause::AnsweredBefore;
use protocol::wire::frame::{Frame, Outcome, RequestId, Response};
use protocol::wire::stream::StreamResponse;

use super::request::may_come_again;
use crate::answers::{EntryKey, Settled, Wanted};
use crate::id::LinkId;
use crate::session::SessionKey;
use crate::upstream::{StreamIndex, pending};
use crate::worker::parts::Parts;
use crate::worker::post::{Letter, Resolved};

impl Parts {
    /// A backend's answer.
    pub(super) fn response(&mut self, stream: StreamIndex, response: &StreamResponse<'_>) {
        // An answer to a request that was given up says nothing good of its endpoint.
        let Some(request) = self.requests.answered(stream, response.call) else { return };
        self.streams.answered(stream);
        let outcome = if response.refused { Outcome::Refused } else { Outcome::Answered };
        self.turn.counters.responses.add(1);
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
        while let Some(request) = self.requests.abandoned(stream) {
            self.unknown(&request);
        }
    }

    /// Requests in flight whose time has passed.
    pub(super) fn expire_pending(&mut self) {
        let mut budget = self.turn.settings.budgets.deadlines;
        while let Some(request) = self.requests.overdue(self.turn.now, &mut budget) {
            self.unknown(&request);
            self.missed(request.stream);
        }
    }

    /// Requests of earlier links that were asked for again and of which nothing was heard.
    pub(super) fn expire_unanswered(&mut self) {
        let mut budget = self.turn.settings.budgets.deadlines;
        while let Some((link, id)) = self.sessions.unanswered(self.turn.now, &mut budget) {
            if let Some(token) = self.own(link) {
                let response = Response { id, outcome: Outcome::Unknown, ..Response::default() };
                self.links.send(&mut self.turn, token, &Frame::Response(response));
            }
            self.go_on(link);
        }
    }

    /// An endpoint let a deadline pass; too many of them, and it is left out for a while.
    pub(super) fn missed(&mut self, stream: StreamIndex) {
        if self.streams.missed(&self.turn, stream) {
            self.reroute_parked(stream);
        }
    }

    fn unknown(&mut self, request: &pending::Request) {
        self.turn.counters.requests_unknown.add(1);
        let response = Response { id: request.id, outcome: Outcome::Unknown, ..Response::default() };
        self.resolve(request, &response);
    }

    /// Gives a request's grant back to its link, with its outcome; or keeps that for the link that comes.
    fn resolve(&mut self, request: &pending::Request, response: &Response<'_>) {
        let token = self.own(request.link);
        let Some((token, session)) = token.and_then(|token| Some((token, self.links.session(token)?))) else {
            return self.resolve_left(request.link, response);
        };
        self.sessions.refund(session, request.cost);
        let settled = self.settle_request(session, request.entry, response, Some(response.payload));
        // One that is remembered as running is told once, even if it was sent twice.
        if request.entry.is_none() || settled == Settled::Told {
            self.tell(token, request.entry, response);
        }
    }

    /// The same where the link that sent the request has its session no more.
    fn resolve_left(&mut self, link: LinkId, response: &Response<'_>) {
        let marked = self.own(link).and_then(|token| self.links.session_until_buried(token));
        if let Some(session) = marked.or_else(|| self.sessions.session_without_link(link)) {
            let entry = self.sessions.find_request(session, &response.id);
            self.settle_request(session, entry, response, Some(response.payload));
        } else if let Some(to) = self.sessions.moved_to(link) {
            let Response { id, outcome, code, retry_after_ms, payload } = *response;
            let is_kept = payload.len() <= self.turn.settings.answers.bytes && !self.letters.is_crowded();
            let payload = is_kept.then(|| payload.into());
            let resolved = Resolved { link: to, id, outcome, code, retry_after_ms, payload };
            // By letter even to this very worker: the session itself may be on its way there.
            self.letters.send(&self.turn, to.worker(), Letter::Resolved(Box::new(resolved)));
        }
    }

    /// What became of a request that an earlier link of a session had sent.
    pub(super) fn resolved(&mut self, mut resolved: Resolved) {
        resolved.link = self.followed(resolved.link);
        let link = resolved.link;
        let Some(token) = self.own(link) else {
            return self.letters.send(&self.turn, link.worker(), Letter::Resolved(Box::new(resolved)));
        };
        let session =
            self.links.session_until_buried(token).or_else(|| self.sessions.session_without_link(link));
        let Some(session) = session else { return };
        let Resolved { id, outcome, code, retry_after_ms, payload, .. } = resolved;
        let response =
            Response { id, outcome, code, retry_after_ms, payload: payload.as_deref().unwrap_or(&[]) };
        let entry = self.sessions.find_request(session, &id);
        if self.settle_request(session, entry, &response, payload.as_deref()) == Settled::Told {
            match payload.is_some() || outcome != Outcome::Answered {
                true => self.tell(token, entry, &response),
                false => self.say_answered_before(token, id),
            }
        }
        self.go_on(link);
    }

    /// Notes what became of a request for whoever asks again.
    fn settle_request(
        &mut self,
        session: SessionKey,
        entry: Option<EntryKey>,
        response: &Response<'_>,
        body: Option<&[u8]>,
    ) -> Settled {
        let Response { id, outcome, code, .. } = response;
        let may_come_again = match outcome {
            Outcome::Answered => return self.sessions.answer_request(session, entry, id, *code, body),
            Outcome::Refused => may_come_again(*code),
            Outcome::Unknown => true,
        };
        self.sessions.fail_request(session, entry, id, may_come_again, self.turn.now)
    }

    /// Sends a link its response; an answer waits where the link has no room for it and it is kept.
    fn tell(&mut self, token: Token, entry: Option<EntryKey>, response: &Response<'_>) {
        let has_room = self.links.has_room(&self.turn, token, response.payload.len());
        if !has_room && response.outcome == Outcome::Answered && self.sessions.want_answer(entry) {
            return self.links.feed_later(token);
        }
        self.links.send(&mut self.turn, token, &Frame::Response(*response));
    }

    /// A request that was answered has come again.
    pub(super) fn say_again(&mut self, token: Token, entry: EntryKey) {
        if self.sessions.want_answer(Some(entry)) {
            self.feed_answers(token);
        }
    }

    /// A request has come again whose answer is not kept any more.
    pub(super) fn say_answered_before(&mut self, token: Token, id: RequestId) {
        self.turn.counters.requests_answered_before.add(1);
        let (outcome, code) = (Outcome::Unknown, AnsweredBefore.number());
        let response = Response { id, outcome, code, ..Response::default() };
        self.links.send(&mut self.turn, token, &Frame::Response(response));
    }

    /// Sends a link the answers that wait for it, as much as there is room for; whether that was all.
    pub(super) fn feed_answers(&mut self, token: Token) -> bool {
        let Some(key) = self.links.session(token) else { return true };
        loop {
            let Self { links, sessions, turn, .. } = self;
            let Some(Wanted { entry, id, status, body }) = sessions.next_wanted(key) else { return true };
            let Some(payload) = body else {
                sessions.said_answer(entry);
                self.say_answered_before(token, id);
                continue;
            };
            if !links.has_room(turn, token, payload.len()) {
                links.feed_later(token);
                return false;
            }
            let response =
                Response { id, outcome: Outcome::Answered, code: status, retry_after_ms: 0, payload };
            links.send(turn, token, &Frame::Response(response));
            sessions.said_answer(entry);
        }
    }
}
