//! A push finds its receivers: here, or by letter on another worker.
//!
//! ```text
//! push to a link ─► its worker ─► queued
//! push to a user ─► the user's owner ─► each link's worker ─► queued
//! ```
//!
//! Whatever is not queued is reported to the backend, if it asked, by the stream the push came by.

use driver::Token;
use protocol::Undelivered;
use protocol::wire::frame::{Frame, Push};
use protocol::wire::stream::StreamPush;

use crate::collections::Identity;
use crate::id::LinkId;
use crate::upstream::StreamIndex;
use crate::worker::parts::Parts;
use crate::worker::post::{Letter, Parcel, Recipient, Sender};

use super::keep::origin;

impl Parts {
    /// A backend's push.
    pub(super) fn push(&mut self, stream: StreamIndex, push: &StreamPush<'_>) {
        if push.class == AT_LEAST_ONCE {
            return self.keep_push(stream, push);
        }
        let sender = self.sender(stream, push.number);
        let frame = Frame::Push(Push {
            id: push.id,
            payload: push.payload,
            class: push.class,
            room: push.room,
            ..Push::default()
        });
        if !self.is_of_our_realm(push.realm) {
            return self.report_undelivered(sender, Undelivered::NoUser);
        }
        if push.link != 0 {
            let link = LinkId::from_number(push.link);
            if let Some(token) = self.own(link).filter(|_| !self.letters.has_own()) {
                let len = push.payload.len();
                return self.push_here(token, sender, len, |out| frame.encode(out));
            }
            let parcel = self.wrap(link.worker(), Recipient::Link(link), sender, &frame, push.payload.len());
            self.push_away(link.worker(), parcel);
        } else if !push.user.is_empty() {
            let user = self.sessions.name_of(push.user);
            let device = (!push.device.is_empty()).then(|| self.sessions.name_of(push.device));
            let owner = self.sessions.owner_of(user);
            let to = Recipient::User { user, device };
            let parcel = self.wrap(owner, to, sender, &frame, push.payload.len());
            if owner == self.turn.settings.worker && !self.letters.has_own() {
                self.push_to_user(user, device, parcel);
            } else {
                self.push_away(owner, parcel);
            }
        } else {
            self.report_undelivered(sender, Undelivered::Unsupported);
        }
    }

    /// A push that came by letter, for a link of this worker or for a user it owns.
    pub(super) fn push_letter(&mut self, parcel: Parcel) {
        match (parcel.to, parcel.kept) {
            (_, Some(keep)) => self.keep_parcel(parcel, keep),
            (Recipient::Link(link), None) => match self.own(link) {
                Some(token) => self.unwrap_here(token, parcel),
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
            self.report_undelivered(parcel.sender, Undelivered::NoUser);
        }
        let mut sender = parcel.sender;
        for link in receivers.drain(..) {
            if let Some(token) = self.own(link) {
                self.push_here(token, sender, parcel.frame.len(), |out| out.extend_from_slice(&parcel.frame));
            } else {
                let mut frame = self.letters.spare(&mut self.turn, link.worker(), parcel.frame.len());
                frame.extend_from_slice(&parcel.frame);
                self.push_away(
                    link.worker(),
                    Parcel { to: Recipient::Link(link), sender, frame, kept: None },
                );
            }
            sender.number = 0;
        }
        self.turn.receivers = receivers;
        self.letters.give_spare(&mut self.turn, parcel.frame);
    }

    /// The hot case: the link is this worker's, and the payload is copied once.
    fn push_here(&mut self, token: Token, sender: Sender, len: usize, encode: impl FnOnce(&mut Vec<u8>)) {
        if !self.links.is_live(token) {
            self.report_undelivered(sender, Undelivered::NoLink);
        } else if self.links.send_with(&mut self.turn, token, len, encode) {
            self.turn.counters.pushes.add(1);
        } else {
            self.report_undelivered(sender, Undelivered::QueueFull);
        }
    }

    fn unwrap_here(&mut self, token: Token, parcel: Parcel) {
        let frame = &parcel.frame;
        self.push_here(token, parcel.sender, frame.len(), |out| out.extend_from_slice(frame));
        self.letters.give_spare(&mut self.turn, parcel.frame);
    }

    /// A push as it goes to another worker.
    fn wrap(&mut self, worker: u32, to: Recipient, sender: Sender, frame: &Frame<'_>, len: usize) -> Parcel {
        let mut encoded = self.letters.spare(&mut self.turn, worker, len + FIELDS_LEN);
        frame.encode(&mut encoded);
        Parcel { to, sender, frame: encoded, kept: None }
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
        self.turn.buffers.give(parcel.frame);
        match parcel.kept {
            Some(keep) => self.lose_push(origin(parcel.sender), keep.devices, reason),
            None => self.report_undelivered(parcel.sender, reason),
        }
    }

    /// The sender of a push that comes by this stream now.
    pub(super) fn sender(&self, stream: StreamIndex, number: u64) -> Sender {
        let (worker, epoch) = (self.turn.settings.worker, self.streams.epoch(stream));
        Sender { worker, stream: stream.0, epoch, number }
    }

    /// Tells the backend, if it asked, by the stream the push came by.
    pub(super) fn report_undelivered(&mut self, sender: Sender, reason: Undelivered) {
        if sender.worker != self.turn.settings.worker {
            let letter = Letter::Undelivered { sender, reason };
            let sent = self.letters.send_if_room(&self.turn, sender.worker, letter);
            debug_assert!(sent.is_ok(), "only letters to oneself come back");
            return;
        }
        self.turn.counters.undelivered.of(reason).add(1);
        self.streams.report(StreamIndex(sender.stream), sender.epoch, sender.number, reason);
    }

    /// There is one realm, which need not be named.
    pub(super) fn is_of_our_realm(&self, realm: &str) -> bool {
        realm.is_empty() || realm == self.turn.settings.realm
    }
}

/// The class of pushes that are kept.
const AT_LEAST_ONCE: u32 = 1;
/// As much as the fields of a push beside its payload usually take.
const FIELDS_LEN: usize = 64;
