//! A push that is kept until its application has taken it.
//!
//! ```text
//! push ─► slot for its reports ─► the user's owner ─► each device's session ─► owed ─► its link, as fast as that reads
//!                                                                               │
//!          stream it came by ◄─ report, by letter if need be ◄─ taken, or over ─┘
//! ```
//!
//! A session is owed its pushes whether or not it has a link. What its link is sent is little at a time, so that a long tail
//! never makes a slow reader of anybody.

use driver::Token;
use protocol::wire::frame::Frame;
use protocol::wire::sequenced;
use protocol::wire::stream::StreamPush;
use protocol::{Time, Undelivered};

use crate::collections::{Identity, Name};
use crate::delivery::Origin;
use crate::delivery::bodies::BodyKey;
use crate::delivery::packages::Spot;
use crate::delivery::parts::HeldPart;
use crate::delivery::reports::Fate;
use crate::delivery::tails::Settled;
use crate::id::LinkId;
use crate::session::{Due, SessionKey};
use crate::upstream::StreamIndex;
use crate::worker::links::Cause;
use crate::worker::parts::Parts;
use crate::worker::post::{Letter, Parcel, Recipient, Reported, Sender, ToKeep};

use super::push::{FIELDS_LEN, said};

impl Parts {
    /// A backend's push that is to be kept.
    pub(super) fn keep_push(&mut self, stream: StreamIndex, push: &StreamPush<'_>) {
        let Some((sender, keep)) = self.accept_push(stream, push) else { return };
        if !self.is_of_our_realm(push.realm) {
            return self.lose_push(keep.owed(sender), Undelivered::NoUser);
        }
        let (to, worker) = if push.link != 0 {
            let link = self.followed(LinkId::from_number(push.link));
            (Recipient::Link(link), link.worker())
        } else if !push.user.is_empty() {
            let user = self.sessions.name_of(push.user);
            let device = (!push.device.is_empty()).then(|| self.sessions.name_of(push.device));
            (Recipient::User { user, device }, self.sessions.owner_of(user))
        } else {
            return self.lose_push(keep.owed(sender), Undelivered::Unsupported);
        };
        let part = push.package.as_ref().map(Spot::of);
        let is_here = worker == self.turn.settings.worker && !self.letters.has_own();
        let len = push.payload.len() + FIELDS_LEN;
        let mut body = match is_here {
            true => self.turn.buffers.take(len),
            false => self.letters.spare(&mut self.turn, worker, len),
        };
        sequenced::encode_body(&said(push), &mut body);
        if is_here {
            self.keep_for(to, sender, body, keep, part.as_ref());
        } else {
            self.push_away(worker, Parcel::new(to, sender, body, Some(keep)).part_of(part.as_ref()));
        }
    }

    /// Takes slots for the reports of a push, and sees how long it is kept. One that is not accepted is reported.
    pub(super) fn accept_push(
        &mut self,
        stream: StreamIndex,
        push: &StreamPush<'_>,
    ) -> Option<(Sender, ToKeep)> {
        let worker = self.turn.settings.worker;
        match self.streams.accept_push(worker, stream, push) {
            Ok(Origin { worker, stream, boot, number }) => {
                let asked = std::time::Duration::from_millis(push.ttl_ms.into());
                let ttl = if asked.is_zero() { self.turn.settings.pushes.ttl } else { asked };
                let keep = ToKeep { expiry: self.turn.now + ttl, devices: 1, place: 0 };
                Some((Sender { worker, stream, epoch: boot, number }, keep))
            }
            Err(reason) => {
                self.report_undelivered(self.sender(stream, push.number), reason, &[]);
                None
            }
        }
    }

    /// Such a push that came by letter. What it says is copied, as its buffer goes back to where it came from.
    pub(super) fn keep_parcel(&mut self, parcel: Parcel, keep: ToKeep) {
        let mut body = self.turn.buffers.take(parcel.frame.len());
        body.extend_from_slice(&parcel.frame);
        self.letters.give_spare(&mut self.turn, parcel.frame);
        self.keep_for(parcel.to, parcel.sender, body, keep, parcel.part.as_deref());
    }

    fn keep_for(&mut self, to: Recipient, sender: Sender, body: Vec<u8>, keep: ToKeep, part: Option<&Spot>) {
        match to {
            Recipient::Link(link) => {
                let link = self.followed(link);
                match self.own(link) {
                    Some(_) => self.keep_here(&[link], sender, body, keep, part),
                    None => {
                        self.send_to_keep(link, sender, &body, keep, part);
                        self.turn.buffers.give(body);
                    }
                }
            }
            Recipient::User { user, device } => self.keep_for_user((user, device), sender, body, keep, part),
            // Those have a list of whom they are for, and ways of their own.
            Recipient::Users | Recipient::Links => self.turn.buffers.give(body),
        }
    }

    /// The link by which the session of this one goes on, as far as it is known here.
    pub(super) fn followed(&self, mut link: LinkId) -> LinkId {
        while self.own(link).is_some_and(|token| !self.links.is_live(token))
            && let Some(next) = self.sessions.moved_to(link)
        {
            link = next;
        }
        link
    }

    /// Owner's side: each device of the user is owed the push, and owes a report.
    fn keep_for_user(
        &mut self,
        (user, device): (Identity, Option<Identity>),
        sender: Sender,
        body: Vec<u8>,
        keep: ToKeep,
        part: Option<&Spot>,
    ) {
        let mut receivers = std::mem::take(&mut self.turn.receivers);
        receivers.extend(self.sessions.lookup(user, device));
        if receivers.is_empty() {
            self.lose_push(keep.owed(sender), Undelivered::NoUser);
        }
        let keep = ToKeep { devices: u16::try_from(receivers.len()).unwrap_or(u16::MAX), ..keep };
        let here = self.turn.settings.worker;
        for &link in receivers.iter().filter(|link| link.worker() != here) {
            self.send_to_keep(link, sender, &body, keep, part);
        }
        receivers.retain(|link| link.worker() == here);
        self.keep_here(&receivers, sender, body, keep, part);
        receivers.clear();
        self.turn.receivers = receivers;
    }

    /// The sessions of these links, which are of this worker, are owed a push: they have what it says together.
    fn keep_here(
        &mut self,
        links: &[LinkId],
        sender: Sender,
        body: Vec<u8>,
        keep: ToKeep,
        part: Option<&Spot>,
    ) {
        if links.is_empty() {
            return self.turn.buffers.give(body);
        }
        match self.sessions.keep_body(body) {
            Ok(body) => {
                for &link in links {
                    self.owe(link, body, sender, keep, part);
                }
                self.drop_unowed(body);
            }
            Err(body) => {
                self.turn.buffers.give(body);
                for _ in links {
                    self.lose_push(keep.owed(sender), Undelivered::QueueFull);
                }
            }
        }
    }

    /// A body goes that no session was owed after all.
    pub(super) fn drop_unowed(&mut self, body: BodyKey) {
        let unowed = self.sessions.drop_unowed(body);
        self.reuse(unowed);
    }

    /// To the worker of a link whose session is to be owed a push.
    pub(super) fn send_to_keep(
        &mut self,
        link: LinkId,
        sender: Sender,
        body: &[u8],
        keep: ToKeep,
        part: Option<&Spot>,
    ) {
        let mut frame = self.letters.spare(&mut self.turn, link.worker(), body.len());
        frame.extend_from_slice(body);
        let parcel = Parcel::new(Recipient::Link(link), sender, frame, Some(keep));
        self.push_away(link.worker(), parcel.part_of(part));
    }

    /// The session of a link here is owed a push, whether it has the link still or waits for one, or is on its way to it.
    pub(super) fn owe(
        &mut self,
        link: LinkId,
        body: BodyKey,
        sender: Sender,
        keep: ToKeep,
        part: Option<&Spot>,
    ) {
        let Some(token) = self.own(link) else { return };
        let of_link =
            self.links.session_until_buried(token).or_else(|| self.sessions.session_without_link(link));
        let owed = keep.owed(sender);
        let Some(key) = of_link else { return self.lose_push(owed, Undelivered::NoLink) };
        match part {
            Some(spot) => {
                let part = HeldPart { body, owed, expiry: keep.expiry };
                self.place(key, link, (spot, true), part);
            }
            None => self.owe_session(key, link, body, owed, keep.expiry),
        }
    }

    /// A session that has, or had, this link is owed a push.
    pub(super) fn owe_session(
        &mut self,
        key: SessionKey,
        link: LinkId,
        body: BodyKey,
        owed: Settled,
        expiry: Time,
    ) {
        if self.sessions.owe(key, link, body, owed, expiry).is_err() {
            return self.settle(key, owed, Some(Undelivered::QueueFull));
        }
        self.turn.counters.pushes.add(1);
        if let Some(token) = self.own(link) {
            self.feed(token);
        }
    }

    /// Sends a link answers that wait for room, and what its session is owed, as much as may wait for it.
    pub(super) fn feed(&mut self, token: Token) {
        if !self.links.is_live(token) {
            return;
        }
        if !self.feed_answers(token) {
            return;
        }
        let Some(key) = self.links.session(token) else { return };
        let Self { links, sessions, turn, .. } = self;
        while let Some(next) = sessions.next_push(key) {
            if !links.has_room(turn, token, next.body.len()) {
                return links.feed_later(token);
            }
            turn.counters.pushes_again.add(u64::from(next.again));
            let encode = |out: &mut Vec<u8>| sequenced::encode(next.body, next.sequence, next.again, out);
            if !links.send_with(turn, token, next.body.len(), encode) {
                return;
            }
            sessions.said_push(key, turn.now);
        }
    }

    /// Links that have sent what they were given get more of what their sessions are owed.
    pub(in crate::worker) fn feed_hungry(&mut self) {
        for _ in 0..self.links.hungry_len() {
            let Some(token) = self.links.next_hungry() else { return };
            self.feed(token);
        }
    }

    /// A client says how far it is.
    pub(super) fn acknowledged(&mut self, token: Token, taken: u64, received: u64) {
        let Some(key) = self.links.session(token) else { return };
        self.sessions.acknowledge(key, received.max(taken), self.turn.now);
        while let Some((owed, memory)) = self.sessions.taken(key, taken) {
            self.reuse(memory);
            if let Some(owed) = owed {
                self.settle(key, owed, None);
            }
        }
        self.sessions.schedule(key, true);
    }

    /// Clients that say nothing are asked, and pushes whose time is over are undelivered.
    pub(super) fn expire_owed(&mut self) {
        let mut budget = self.turn.settings.budgets.deadlines;
        while let Some(key) = self.sessions.overdue_owed(self.turn.now, &mut budget) {
            self.sessions.expire_parts(key, self.turn.now);
            self.release_parts(key);
            self.expire_pushes(key);
            let token = self.sessions.link_of(key).and_then(|link| self.own(link));
            let token = token.filter(|&token| self.links.is_live(token));
            if let Some(token) = token {
                self.ask_for_ack(token, key);
            }
            self.sessions.schedule(key, token.is_some());
        }
    }

    fn expire_pushes(&mut self, key: SessionKey) {
        let Self { sessions, turn, .. } = self;
        let mut over = std::mem::take(&mut turn.settled);
        sessions.expire_owed(key, turn.now, |owed, memory| {
            over.push(owed);
            if let Some(memory) = memory {
                turn.buffers.give(memory);
            }
        });
        for owed in over.drain(..) {
            self.settle(key, owed, Some(Undelivered::Expired));
        }
        self.turn.settled = over;
    }

    fn ask_for_ack(&mut self, token: Token, key: SessionKey) {
        match self.sessions.due(key, &self.turn.settings.pushes, self.turn.now) {
            Due::Nothing => {}
            Due::Ask => {
                self.turn.counters.acks_asked.add(1);
                let sequence = self.sessions.last_said(key);
                self.links.send(&mut self.turn, token, &Frame::AckNow { sequence });
            }
            Due::Again => {
                self.sessions.send_again(key);
                self.feed(token);
            }
            Due::GiveUp => self.links.mark(token, Cause::Close(protocol::CloseCode::AckTimeout.into())),
        }
    }

    /// A session is over: of what it is owed nobody knows whether it was received.
    pub(super) fn lose_owed(&mut self, key: SessionKey, reason: Undelivered) {
        self.lose_parts_of_link(key);
        self.lose_parts(key, true, reason);
        while let Some((owed, memory)) = self.sessions.left(key) {
            self.reuse(memory);
            if let Some(owed) = owed {
                self.settle(key, owed, Some(reason));
            }
        }
    }

    /// What became of a push for this session's device.
    pub(super) fn settle(&mut self, key: SessionKey, owed: Settled, undelivered: Option<Undelivered>) {
        let Some(session) = self.sessions.get(key) else { return };
        let (device, class) = (Name::new(session.device()), session.class().number() as u8);
        let Settled { origin, devices, place } = owed;
        self.report_fate(Reported { origin, fate: Fate { undelivered, device, class, devices, place } });
    }

    /// A push has reached no session.
    pub(super) fn lose_push(&mut self, owed: Settled, reason: Undelivered) {
        let Settled { origin, devices, place } = owed;
        let fate = Fate { undelivered: Some(reason), device: Name::new(&[]), class: 0, devices, place };
        self.report_fate(Reported { origin, fate });
    }

    /// Tells the backend, by the stream the push came by, now or when it is back.
    pub(super) fn report_fate(&mut self, reported: Reported) {
        let worker = u32::from(reported.origin.worker);
        if worker != self.turn.settings.worker {
            return self.letters.send(&self.turn, worker, Letter::Reported(reported));
        }
        let Reported { origin, fate } = reported;
        match fate.undelivered {
            Some(reason) => {
                self.turn.counters.undelivered.of(reason).add(1);
                self.turn.counters.undelivered_kept.of(reason).add(1);
            }
            None => self.turn.counters.pushes_delivered.add(1),
        }
        self.streams.report_fate(origin, fate);
    }

    /// The memory of a push that nobody is owed any more.
    pub(super) fn reuse(&mut self, memory: Option<Vec<u8>>) {
        if let Some(memory) = memory {
            self.turn.buffers.give(memory);
        }
    }
}
