//! A session outlives its link, and goes on with the next one of its client.
//!
//! ```text
//! worker of the new link          owner of the user           worker that has the session
//!   Auth, proof good ── Claim ──►   decides ─── HandOver ────►   frozen, taken off its link
//!   Welcome(resumed) ◄─────────────── Session ──────────────────   or: it is over
//! ```
//!
//! The owner decides in one step with the claim, so that of several links one has the session. It is in one place at a time: with a
//! link, waiting, or in a letter. A link that dies while its session is on its way leaves word what becomes of it, and one that is overtaken
//! by a later link of its client sends it on.

use driver::Token;
use protocol::wire::frame::Auth;
use protocol::wire::resume::Resume;
use protocol::{CloseCode, Undelivered, UnixMillis};

use crate::delivery::tails::Packed;
use crate::directory::claims::HandOver;
use crate::id::LinkId;
use crate::session::{Kept, SessionKey};
use crate::worker::links::Cause;
use crate::worker::parts::Parts;
use crate::worker::post::{HandedOver, Letter};
use crate::worker::sessions::{Detached, Gone};

impl Parts {
    /// The first frame of a link may ask for a session.
    pub(super) fn ask_to_resume(&mut self, token: Token, auth: &Auth<'_>) {
        if auth.resume.is_empty() || self.links.is_live(token) {
            return;
        }
        let Some(machine) = self.links.machine(token) else { return };
        let (Some((h, ..)), Ok(said)) = (machine.binding(), Resume::decode(auth.resume)) else { return };
        if !self.sessions.ask(self.link_id(token), &said, h) {
            self.turn.counters.sessions_not_resumed.add(1);
        }
    }

    /// A link has ended, and its session waits for the next one, or is over.
    pub(super) fn leave(&mut self, mut left: Detached, gone: Gone) {
        let (link, session) = (left.link(), left.session());
        let is_the_devices = self.sessions.get(session).is_some_and(|session| session.link_epoch() != 0);
        if is_the_devices && left.told().is_empty() {
            left = Detached::new(link, session, self.announce_unseen(link, session));
        }
        match gone {
            Gone::Detached if is_the_devices => self.detach(left),
            Gone::Detached => self.end_session(&left, None, Undelivered::LinkClosed),
            Gone::Over(code) => self.end_session(&left, code, Undelivered::LinkClosed),
        }
    }

    /// A link is gone and its session waits for the next one.
    fn detach(&mut self, detached: Detached) {
        let window = self.turn.settings.session_window;
        let known = self.sessions.claim_of(detached.session(), detached.link());
        let Some((owner, claim)) = known.filter(|_| !window.is_zero()) else {
            return self.end_session(&detached, None, Undelivered::LinkClosed);
        };
        self.letters.send(&self.turn, owner, Letter::Detached(claim));
        self.lose_parts_of_link(detached.session());
        let until = UnixMillis(self.turn.wall.0.saturating_add(window.as_millis() as u64));
        self.announce_detached(&detached, until);
        self.sessions.schedule(detached.session(), false);
        if let Some(gone) = self.sessions.detach(detached, self.turn.now + window) {
            self.turn.counters.sessions_evicted.add(1);
            self.end_session(&gone, None, Undelivered::WindowOver);
        }
    }

    /// Sessions that have waited in vain.
    pub(super) fn expire_sessions(&mut self) {
        let mut budget = self.turn.settings.budgets.deadlines;
        while let Some(detached) = self.sessions.overdue(self.turn.now, &mut budget) {
            self.turn.counters.sessions_expired.add(1);
            self.end_session(&detached, None, Undelivered::WindowOver);
        }
    }

    /// Another link goes on with a session that is here, or on its way to here.
    pub(super) fn hand_over(&mut self, hand_over: &HandOver) {
        if let Some(awaiting) = self.sessions.awaiting(hand_over.from) {
            awaiting.overtake(*hand_over);
            return self.outrun(hand_over.from);
        }
        let kept = self.give_up(hand_over);
        self.send_session(hand_over, kept);
    }

    /// Takes a session off its link, or from among those that wait. From here on nothing more comes to it: what is pushed later, the
    /// new link's worker holds.
    fn give_up(&mut self, hand_over: &HandOver) -> Option<Kept> {
        let HandOver { from, asked, claimed } = hand_over;
        let detached = match self.sessions.take_detached(*from) {
            Some(detached) => detached,
            None => {
                let token = self.own(*from)?;
                let session = self.links.take_session(token)?;
                self.outrun(*from);
                self.leave_requests(*from, session);
                Detached::new(*from, session, self.streams.forget_link(token.slot))
            }
        };
        if !self.sessions.knows(detached.session(), asked.last_sequence) {
            self.end_session(&detached, None, Undelivered::LinkClosed);
            return None;
        }
        self.lose_parts_of_link(detached.session());
        self.announce_resumed(detached.told(), *from, claimed);
        self.sessions.moved(*from, claimed.link, self.turn.now);
        let Self { sessions, turn, .. } = self;
        sessions.pack(detached.session(), |len| turn.buffers.take(len))
    }

    fn send_session(&mut self, hand_over: &HandOver, kept: Option<Kept>) {
        let HandOver { claimed, asked, .. } = *hand_over;
        let handed = Box::new(HandedOver { claimed, kept, last: asked.last_sequence });
        self.letters.send(&self.turn, claimed.link.worker(), Letter::Session(handed));
    }

    /// A later link of its client has taken over from this one.
    fn outrun(&mut self, link: LinkId) {
        if let Some(token) = self.own(link) {
            self.links.mark(token, Cause::Close(CloseCode::TryLater.into()));
        }
    }

    /// The session of a link is there, or it is over.
    pub(super) fn session_came(&mut self, handed: HandedOver) {
        let HandedOver { claimed, kept, last } = handed;
        let link = claimed.link;
        let Some((session, gone, next)) = self.sessions.answered(link) else { return };
        if let Some(next) = next {
            self.sessions.moved(link, next.claimed.link, self.turn.now);
            return self.pass_on(session, kept, &next);
        }
        let is_resumed = kept.is_some_and(|kept| self.adopt(session, link, kept, claimed.epoch));
        if !is_resumed {
            self.turn.counters.sessions_not_resumed.add(1);
            return match gone {
                None => self.begin_anew(link, session),
                Some(_) => {
                    self.end_session(&Detached::unseen(link, session), None, Undelivered::LinkClosed);
                }
            };
        }
        self.turn.counters.sessions_resumed.add(1);
        self.sessions.go_on_from(session, link, last, self.turn.now);
        match gone {
            None => self.claimed(&claimed),
            Some(gone) => self.leave(Detached::unseen(link, session), gone),
        }
    }

    /// The session that has begun with a link goes on as the one that has come; whether there is room for what that is owed.
    fn adopt(&mut self, session: SessionKey, link: LinkId, kept: Kept, epoch: u64) -> bool {
        let Self { sessions, turn, .. } = self;
        match sessions.adopt(session, link, kept, epoch, |len| turn.buffers.take(len)) {
            Ok(lost) => {
                for (owed, memory) in lost {
                    self.reuse(memory);
                    owed.into_iter().for_each(|owed| self.settle(session, owed, Some(Undelivered::Busy)));
                }
                self.release_parts(session);
                true
            }
            Err(owed) => {
                self.lose_packed(session, owed);
                false
            }
        }
    }

    /// A session has come for a link that a later one of its client has overtaken: it goes there, with what has come for it
    /// meanwhile.
    fn pass_on(&mut self, session: SessionKey, kept: Option<Kept>, next: &HandOver) {
        let kept = match kept {
            Some(kept) if !kept.owed.knows(next.asked.last_sequence) => {
                self.lose_packed(session, kept.owed);
                None
            }
            kept => kept,
        };
        if kept.is_none() {
            self.lose_owed(session, Undelivered::LinkClosed);
        }
        let Self { sessions, turn, .. } = self;
        let own = sessions.pack(session, |len| turn.buffers.take(len));
        let kept = kept.map(|kept| {
            let own = own.map_or_else(Packed::default, |own| own.owed);
            Kept { owed: kept.owed.followed_by(own), ..kept }
        });
        self.send_session(next, kept);
    }

    /// What was on its way to a session has no place there.
    fn lose_packed(&mut self, session: SessionKey, owed: Packed) {
        let parts = owed.packages.into_iter().flat_map(|package| package.parts).map(|(.., part)| part);
        for push in owed.pushes.into_iter().chain(parts) {
            self.turn.buffers.give(push.body);
            if let Some(owed) = push.owed {
                self.settle(session, owed, Some(Undelivered::Busy));
            }
        }
    }

    /// The session that a link asked for is over: it keeps the one that has begun with it.
    fn begin_anew(&mut self, link: LinkId, session: SessionKey) {
        if let Some((owner, claim)) = self.sessions.claim_of(session, link) {
            self.letters.send(&self.turn, owner, Letter::Claim(claim));
        }
    }
}
