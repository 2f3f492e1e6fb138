//! A part of a package waits for those before it, and is then sent or owed as any push.
//!
//! ```text
//! part ─► its session ─┬─ in its turn ──────────────► sent, or owed; and those behind it that wait
//!                      └─ waits ─┬─ its turn comes ──► the same
//!                                └─ time is over ────► the same behind a gap, or undelivered
//! ```
//!
//! What is kept until it is taken goes with its session; what is delivered at most once is lost with its link.

use protocol::Undelivered;
use protocol::wire::sequenced;

use crate::collections::Name;
use crate::delivery::bodies::BodyKey;
use crate::delivery::packages::{Released, Spot};
use crate::delivery::parts::HeldPart;
use crate::id::LinkId;
use crate::session::SessionKey;
use crate::worker::parts::Parts;
use crate::worker::post::{Sender, ToKeep};

impl Parts {
    /// A part for a link here, which is delivered at most once. Of a push to several users `place` and `user` say whose link that is.
    pub(super) fn place_once(
        &mut self,
        link: LinkId,
        sender: Sender,
        place: u16,
        user: &[u8],
        body: &[u8],
        spot: &Spot,
    ) {
        let token = self.own(link).filter(|&token| self.links.is_live(token));
        let Some(key) = token.and_then(|token| self.links.session(token)) else {
            return self.report_undelivered(sender, Undelivered::NoLink, user);
        };
        let mut copy = self.turn.buffers.take(body.len());
        copy.extend_from_slice(body);
        match self.sessions.keep_body(copy) {
            Ok(body) => {
                let keep = ToKeep { expiry: self.turn.now, devices: 1, place };
                let part = HeldPart { body, owed: keep.owed(sender), expiry: keep.expiry };
                self.place(key, link, (spot, false), part);
                self.drop_unowed(body);
            }
            Err(copy) => {
                self.turn.buffers.give(copy);
                self.report_undelivered(sender, Undelivered::QueueFull, user);
            }
        }
    }

    /// A part for a session that has, or had, this link.
    pub(super) fn place(
        &mut self,
        key: SessionKey,
        link: LinkId,
        (spot, is_kept): (&Spot, bool),
        part: HeldPart,
    ) {
        match self.sessions.place_part(key, link, (spot, is_kept), part, self.turn.now) {
            Ok(true) => self.deliver_part(key, Released { part, gap: 0, is_lost: false, is_kept }),
            Ok(false) => {}
            Err(reason) => self.lose_part(key, &part, is_kept, reason),
        }
        self.release_parts(key);
    }

    /// Parts that wait no more go on.
    pub(super) fn release_parts(&mut self, key: SessionKey) {
        while let Some(released) = self.sessions.next_part(key) {
            self.deliver_part(key, released);
            let memory = self.sessions.let_go(released.part.body);
            self.reuse(memory);
        }
    }

    fn deliver_part(&mut self, key: SessionKey, released: Released<HeldPart>) {
        let Released { part, gap, is_lost, is_kept } = released;
        if is_lost {
            return self.lose_part(key, &part, is_kept, Undelivered::Gap);
        }
        let Some(link) = self.sessions.link_of(key) else { return };
        self.turn.counters.package_gaps.add(u64::from(gap != 0));
        if !is_kept {
            return self.send_part(key, link, &part, gap);
        }
        let body = if gap == 0 { Some(part.body) } else { self.body_behind(part.body, gap) };
        let Some(body) = body else { return self.lose_part(key, &part, is_kept, Undelivered::QueueFull) };
        self.owe_session(key, link, body, part.owed, part.expiry);
        if gap != 0 {
            self.drop_unowed(body);
        }
    }

    /// The same body with the mark that so many are missing before it. Others may have it without.
    fn body_behind(&mut self, body: BodyKey, gap: u32) -> Option<BodyKey> {
        let said = self.sessions.body(body);
        let mut copy = self.turn.buffers.take(said.len() + GAP_LEN);
        copy.extend_from_slice(said);
        sequenced::append_gap(gap, &mut copy);
        self.sessions.keep_body(copy).map_err(|copy| self.turn.buffers.give(copy)).ok()
    }

    /// One that is delivered at most once.
    fn send_part(&mut self, key: SessionKey, link: LinkId, part: &HeldPart, gap: u32) {
        let token = self.own(link).filter(|&token| self.links.is_live(token));
        let Some(token) = token else { return self.lose_part(key, part, false, Undelivered::NoLink) };
        let Self { links, sessions, turn, .. } = self;
        let body = sessions.body(part.body);
        let encode = |out: &mut Vec<u8>| sequenced::encode_behind(body, gap, out);
        if links.send_push(turn, token, body.len() + GAP_LEN, encode) {
            turn.counters.pushes.add(1);
        } else {
            self.lose_part(key, part, false, Undelivered::QueueFull);
        }
    }

    fn lose_part(&mut self, key: SessionKey, part: &HeldPart, is_kept: bool, reason: Undelivered) {
        if is_kept {
            return self.settle(key, part.owed, Some(reason));
        }
        let origin = part.owed.origin;
        let sender = Sender {
            worker: origin.worker,
            stream: origin.stream,
            epoch: origin.boot,
            number: origin.number,
        };
        let is_named = part.owed.place != 0;
        let user =
            self.sessions.get(key).filter(|_| is_named).map_or(Name::new(&[]), |it| Name::new(it.user()));
        self.report_undelivered(sender, reason, user.bytes());
    }

    /// A session loses its link: what is delivered at most once is lost with it.
    pub(super) fn lose_parts_of_link(&mut self, key: SessionKey) {
        self.lose_parts(key, false, Undelivered::NoLink);
    }

    /// Parts that wait in packages of a class are undelivered.
    pub(super) fn lose_parts(&mut self, key: SessionKey, is_kept: bool, reason: Undelivered) {
        while let Some(part) = self.sessions.take_part(key, is_kept) {
            self.lose_part(key, &part, is_kept, reason);
            let memory = self.sessions.let_go(part.body);
            self.reuse(memory);
        }
    }
}

/// As much as the mark takes.
const GAP_LEN: usize = 6;
