//! A push finds its receivers: here, or by letter on another worker.
//!
//! ```text
//! push to a link ─► its worker ─► queued
//! push to a user ─► the user's owner ─► each link's worker ─► queued
//! ```
//!
//! One to several users takes these ways for all of them together: `group`. Whatever is not queued is reported to the backend, if it asked, by the stream the push came by.

use driver::Token;
use protocol::Undelivered;
use protocol::wire::frame::{Frame, Push};
use protocol::wire::sequenced;
use protocol::wire::stream::StreamPush;

use crate::collections::{Identity, Name};
use crate::delivery::packages::Spot;
use crate::id::LinkId;
use crate::upstream::StreamIndex;
use crate::worker::parts::Parts;
use crate::worker::post::{Letter, Parcel, Recipient, Sender};

impl Parts {
    /// A backend's push.
    pub(super) fn push(&mut self, stream: StreamIndex, push: &StreamPush<'_>) {
        if !push.users.is_empty() {
            return self.push_to_users(stream, push);
        }
        if push.class == AT_LEAST_ONCE {
            return self.keep_push(stream, push);
        }
        let sender = self.sender(stream, push.number);
        if !self.is_of_our_realm(push.realm) {
            return self.report_undelivered(sender, Undelivered::NoUser, &[]);
        }
        let said = said(push);
        let part = push.package.as_ref().map(Spot::of);
        if push.link != 0 {
            let link = LinkId::from_number(push.link);
            if part.is_none()
                && let Some(token) = self.own(link).filter(|_| !self.letters.has_own())
            {
                let len = push.payload.len();
                return self.push_here(token, sender, &[], len, |out| Frame::Push(said).encode(out));
            }
            let parcel =
                self.wrap(link.worker(), Recipient::Link(link), sender, &said).part_of(part.as_ref());
            self.push_away(link.worker(), parcel);
        } else if !push.user.is_empty() {
            let user = self.sessions.name_of(push.user);
            let device = (!push.device.is_empty()).then(|| self.sessions.name_of(push.device));
            let owner = self.sessions.owner_of(user);
            let to = Recipient::User { user, device };
            let parcel = self.wrap(owner, to, sender, &said).part_of(part.as_ref());
            if owner == self.turn.settings.worker && !self.letters.has_own() {
                self.push_to_user(user, device, parcel);
            } else {
                self.push_away(owner, parcel);
            }
        } else {
            self.report_undelivered(sender, Undelivered::Unsupported, &[]);
        }
    }

    /// A push that came by letter, for links of this worker or for users it owns.
    pub(super) fn push_letter(&mut self, parcel: Parcel) {
        match (parcel.to, parcel.kept) {
            (Recipient::Users, _) => self.push_to_owned(parcel),
            (Recipient::Links, _) => self.push_to_links(parcel),
            (_, Some(keep)) => self.keep_parcel(parcel, keep),
            (Recipient::Link(link), None) => match self.own(link) {
                Some(_) => self.unwrap_here(link, parcel),
                None => self.return_parcel(parcel, Undelivered::NoLink),
            },
            (Recipient::User { user, device }, None) => self.push_to_user(user, device, parcel),
        }
    }

    /// Owner's side of a push: one copy for each link of the user. Only the first is reported, should its link be gone
    /// meanwhile: there is one report for a push at most.
    fn push_to_user(&mut self, user: Identity, device: Option<Identity>, parcel: Parcel) {
        let mut receivers = std::mem::take(&mut self.turn.receivers);
        receivers.extend(self.sessions.lookup(user, device));
        if receivers.is_empty() {
            self.report_undelivered(parcel.sender, Undelivered::NoUser, &[]);
        }
        let mut sender = parcel.sender;
        for link in receivers.drain(..) {
            if self.own(link).is_some() {
                self.give(link, sender, (0, &[]), &parcel.frame, parcel.part.as_deref());
            } else {
                let mut frame = self.letters.spare(&mut self.turn, link.worker(), parcel.frame.len());
                frame.extend_from_slice(&parcel.frame);
                let onward = Parcel::new(Recipient::Link(link), sender, frame, None);
                self.push_away(link.worker(), onward.part_of(parcel.part.as_deref()));
            }
            sender.number = 0;
        }
        self.turn.receivers = receivers;
        self.letters.give_spare(&mut self.turn, parcel.frame);
    }

    /// The hot case: the link is this worker's, and the payload is copied once. Of a push to several users `user` is the one that
    /// is reported.
    fn push_here(
        &mut self,
        token: Token,
        sender: Sender,
        user: &[u8],
        len: usize,
        encode: impl FnOnce(&mut Vec<u8>),
    ) {
        if !self.links.is_live(token) {
            self.report_undelivered(sender, Undelivered::NoLink, user);
        } else if self.links.send_push(&mut self.turn, token, len, encode) {
            self.turn.counters.pushes.add(1);
        } else {
            self.report_undelivered(sender, Undelivered::QueueFull, user);
        }
    }

    /// The same of a push of which what it says is there.
    fn push_body_here(&mut self, token: Token, sender: Sender, user: &[u8], body: &[u8]) {
        self.push_here(token, sender, user, body.len(), |out| sequenced::encode(body, 0, false, out));
    }

    /// A link of this worker gets what a push says, or waits for the parts before it. Of a push to several users `place` and `user` say whose
    /// link it is.
    pub(super) fn give(
        &mut self,
        link: LinkId,
        sender: Sender,
        (place, user): (u16, &[u8]),
        body: &[u8],
        part: Option<&Spot>,
    ) {
        match (part, self.own(link)) {
            (Some(spot), _) => self.place_once(link, sender, place, user, body, spot),
            (None, Some(token)) => self.push_body_here(token, sender, user, body),
            (None, None) => self.report_undelivered(sender, Undelivered::NoLink, user),
        }
    }

    fn unwrap_here(&mut self, link: LinkId, parcel: Parcel) {
        self.give(link, parcel.sender, (0, &[]), &parcel.frame, parcel.part.as_deref());
        self.letters.give_spare(&mut self.turn, parcel.frame);
    }

    /// A push as it goes to another worker.
    fn wrap(&mut self, worker: u32, to: Recipient, sender: Sender, said: &Push<'_>) -> Parcel {
        let mut body = self.letters.spare(&mut self.turn, worker, said.payload.len() + FIELDS_LEN);
        sequenced::encode_body(said, &mut body);
        Parcel::new(to, sender, body, None)
    }

    /// Sends a push on to another worker, or reports it undelivered.
    pub(super) fn push_away(&mut self, worker: u32, parcel: Parcel) {
        if worker >= self.turn.settings.workers {
            return self.return_parcel(parcel, Undelivered::NoLink);
        }
        // Behind a login or a kick that the same backend has said before, which waits as a letter to oneself.
        let sent = if worker == self.turn.settings.worker {
            self.letters.send_own_push(parcel)
        } else {
            self.letters.send_push(&self.turn, worker, parcel)
        };
        if let Err(parcel) = sent {
            self.return_parcel(parcel, Undelivered::Busy);
        }
    }

    fn return_parcel(&mut self, parcel: Parcel, reason: Undelivered) {
        match (parcel.to, parcel.kept) {
            (Recipient::Users | Recipient::Links, _) => self.lose_members(&parcel, reason),
            (_, Some(keep)) => self.lose_push(keep.owed(parcel.sender), reason),
            (_, None) => self.report_undelivered(parcel.sender, reason, &[]),
        }
        self.turn.buffers.give(parcel.frame);
    }

    /// The sender of a push that comes by this stream now.
    pub(super) fn sender(&self, stream: StreamIndex, number: u64) -> Sender {
        let (worker, epoch) = (self.turn.settings.worker, self.streams.epoch(stream));
        // A worker's number has twelve bits.
        Sender { worker: worker as u16, stream: stream.0, epoch, number }
    }

    /// Tells the backend, if it asked, by the stream the push came by; of one to several users also which one it is about.
    pub(super) fn report_undelivered(&mut self, sender: Sender, reason: Undelivered, user: &[u8]) {
        let worker = u32::from(sender.worker);
        if worker != self.turn.settings.worker {
            let letter = Letter::Undelivered { sender, reason, user: Name::new(user) };
            let sent = self.letters.send_if_room(&self.turn, worker, letter);
            debug_assert!(sent.is_ok(), "only letters to oneself come back");
            return;
        }
        self.turn.counters.undelivered.of(reason).add(1);
        self.streams.report(StreamIndex(sender.stream), sender.epoch, sender.number, reason, user);
    }

    /// There is one realm, which need not be named.
    pub(super) fn is_of_our_realm(&self, realm: &str) -> bool {
        realm.is_empty() || realm == self.turn.settings.realm
    }
}

/// What of a push a link is to get.
pub(super) fn said<'b>(push: &StreamPush<'b>) -> Push<'b> {
    let StreamPush { id, payload, class, room, .. } = *push;
    Push { id, payload, class, room, ..Push::default() }
}

/// The class of pushes that are kept.
pub(super) const AT_LEAST_ONCE: u32 = 1;
/// As much as the fields of a push beside its payload usually take.
pub(super) const FIELDS_LEN: usize = 64;
