//! What became of a request: its link hears of it, and has its grant back.

use protocol::wire::frame::{Frame, Outcome, Response};
use protocol::wire::stream::StreamResponse;

use crate::upstream::{StreamIndex, pending};
use crate::worker::parts::Parts;

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

    /// Gives a request's grant back to its link, with its outcome.
    fn resolve(&mut self, request: &pending::Request, response: &Response<'_>) {
        let Some(token) = self.own(request.link) else { return };
        if let Some(session) = self.links.session(token) {
            self.sessions.refund(session, request.cost);
        }
        self.links.send(&mut self.turn, token, &Frame::Response(*response));
    }
}
