//! The marked are buried: what follows from the end of a link or a stream happens here and nowhere else.
//!
//! Ends may have further ends, and letters to oneself: all of them are dealt with one after the other, none within another.
//! What is left over when the budget is used up keeps the worker from sleeping.

use driver::Token;
use protocol::Undelivered;

use crate::counters::health::Reason;
use crate::id::LinkId;
use crate::session::SessionKey;
use crate::upstream::StreamIndex;
use crate::worker::links::Cause;
use crate::worker::parts::Parts;
use crate::worker::post::Letter;
use crate::worker::sessions::{Detached, Gone};
use crate::worker::slots::Tenant;

impl Parts {
    /// Buries streams and links that were marked, and reads letters to oneself.
    pub(in crate::worker) fn bury(&mut self) {
        for _ in 0..self.turn.settings.budgets.ends {
            // Links first: what nobody waits for any more is not unknown to anybody.
            if let Some((token, cause)) = self.links.next_marked() {
                self.end_link(token, cause);
            } else if let Some((stream, reason)) = self.streams.next_marked() {
                self.end_stream(stream, reason);
            } else if let Some(letter) = self.letters.take_own() {
                self.heed(letter);
            } else {
                return;
            }
        }
    }

    /// A link ends: its claim, its requests and its presence go with it.
    fn end_link(&mut self, token: Token, cause: Cause) {
        let Some(parted) = self.links.part(&mut self.turn, token, cause) else { return };
        if parted.was_authenticating {
            self.identity.forget(token);
        } else {
            // A token that was to be renewed.
            self.identity.take(token);
        }
        let link = self.link_id(token);
        self.sessions.forget_asked(link);
        let Some(key) = parted.session else { return };
        let gone = if parted.leaves_session { Gone::Detached } else { Gone::Over(parted.code) };
        match gone {
            Gone::Detached => self.leave_requests(link, key),
            Gone::Over(_) => self.forget_requests(link),
        }
        match self.sessions.awaiting(link) {
            // Whoever brings the session, or the answer that there is none, finds here what becomes of it.
            Some(awaiting) if !self.slots.is_stopping() => awaiting.end(gone),
            // Where all workers stop, nobody may be left to bring it.
            _ => {
                self.sessions.answered(link);
                let told = self.streams.forget_link(token.slot);
                self.leave(Detached::new(link, key, told), gone);
            }
        }
    }

    /// A session is over: its claim goes, and so does its presence. `code` is what was said at the end, `None` if its link just
    /// broke; `owed` is what became of the pushes it was owed.
    pub(super) fn end_session(&mut self, ended: &Detached, code: Option<u32>, owed: Undelivered) {
        self.lose_owed(ended.session(), owed);
        if let Some((owner, claim)) = self.sessions.claim_of(ended.session(), ended.link()) {
            self.letters.send(&self.turn, owner, Letter::Release(claim));
        }
        if let Some(session) = self.sessions.end(ended.session()) {
            self.announce_closed(ended, &session, code);
        }
    }

    /// Nobody waits for the answers to a link's requests any more.
    pub(super) fn forget_requests(&mut self, link: LinkId) {
        if self.requests.forget(&mut self.turn, link) {
            // Those behind the parked ones may fit into the credit there is.
            self.streams.all().for_each(|stream| self.unpark(stream));
        }
    }

    /// A session goes on without this link: its requests at backends go on as well, and what waited for credit has to come again.
    pub(super) fn leave_requests(&mut self, link: LinkId, session: SessionKey) {
        let Self { requests, sessions, turn, .. } = self;
        let had_parked = requests.leave(turn, link, |entry| sessions.forget_request(entry));
        sessions.leave_requests(session);
        if had_parked {
            self.streams.all().for_each(|stream| self.unpark(stream));
        }
    }

    /// A stream ends: what it held is resolved at once, and what waited for it finds another way.
    fn end_stream(&mut self, stream: StreamIndex, reason: Reason) {
        self.streams.part(&mut self.turn, stream, reason);
        self.abandon_requests(stream);
        self.reroute_parked(stream);
        for link in self.identity.abandon(stream) {
            self.put_off(link);
        }
    }

    /// A socket is closed: its slot is free for the next tenant.
    pub(in crate::worker) fn closed(&mut self, token: Token) {
        match self.slots.closed(token) {
            Tenant::Link => {
                self.links.closed(&mut self.turn, token);
                self.door.left(token);
            }
            Tenant::Stream(stream) => self.streams.closed(&mut self.turn, stream, token),
        }
    }

    /// The process ends: every link is told, every stream is ended, and nothing new is let in.
    pub(super) fn stop(&mut self) {
        self.slots.stop();
        self.links.stop();
        while let Some(detached) = self.sessions.take_any_detached() {
            self.end_session(&detached, None, Undelivered::WindowOver);
        }
        self.streams.stop();
    }
}
