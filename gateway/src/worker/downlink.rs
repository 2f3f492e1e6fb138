//! A backend's frames: find the receiver, and queue what it is to get.

use std::time::Duration;

use driver::Token;
use protocol::stream::ToGateway;
use protocol::wire::frame::{Frame, Push};
use protocol::wire::stream::{About, Flawed, Kick, StreamPush};
use protocol::{CloseCode, Undelivered};

use super::Core;
use super::mailbox::{Letter, Parcel, Recipient, Sender};
use super::settings::Farewell;
use crate::counters::health::Reason;
use crate::directory::owner_of;
use crate::id::LinkId;
use crate::upstream::StreamIndex;

impl Core {
    /// One event of a stream. The credit of payloads goes back as soon as they are queued or refused: it does not
    /// wait for clients.
    pub(super) fn stream_event(&mut self, stream: StreamIndex, event: &ToGateway<'_>) {
        match event {
            ToGateway::Response(response) => {
                self.response(stream, response);
                self.consumed(stream, response.payload.len());
            }
            ToGateway::Push(push) => {
                self.push(stream, push);
                self.consumed(stream, push.payload.len());
            }
            ToGateway::AuthResult(result) => self.judged(stream, result),
            ToGateway::Kick(kick) => self.kick(kick),
            ToGateway::Ready => self.stream_ready(stream),
            ToGateway::Close(_) => self.end_stream(stream.0, Reason::Ended),
            // Credit is looked at after the last frame; the other kinds are specified but not served yet.
            ToGateway::Credited | ToGateway::Alive | ToGateway::ReportAck { .. } => {}
            ToGateway::Draining => self.stream_draining(stream),
            ToGateway::Flawed(flawed) => self.flawed(stream, flawed),
            ToGateway::Skipped => self.counters.glitches.add(1),
        }
    }

    /// One link's frame has a field out of its bounds: that link pays for it, and the others have their stream.
    fn flawed(&mut self, stream: StreamIndex, flawed: &Flawed) {
        self.counters.backend_flaws.add(1);
        match flawed.about {
            About::Push(number) => {
                let sender = self.sender(stream, number);
                self.report_undelivered(sender, Undelivered::Malformed);
            }
            About::AuthResult(call) => self.misjudged(stream, call),
            About::Kick(_) | About::Presence(_) | About::Request(_) | About::Authenticate(_) => {}
        }
        if let Some(len) = flawed.payload_len {
            self.consumed(stream, len);
        }
    }

    fn consumed(&mut self, stream: StreamIndex, payload_len: usize) {
        self.streams[usize::from(stream.0)].control(|machine| machine.consumed(payload_len));
    }

    fn push(&mut self, stream: StreamIndex, push: &StreamPush<'_>) {
        let sender = self.sender(stream, push.number);
        let frame = Frame::Push(Push {
            id: push.id,
            payload: push.payload,
            class: push.class,
            room: push.room,
            ..Push::default()
        });
        let len = push.payload.len();
        if !self.is_of_our_realm(push.realm) {
            return self.report_undelivered(sender, Undelivered::NoUser);
        }
        if push.link != 0 {
            let link = LinkId::from_number(push.link);
            match self.own(link) {
                Some(token) => self.push_here(token, &frame, sender),
                None => self.push_away(Recipient::Link(link), link.worker(), &frame, len, sender),
            }
        } else if !push.user.is_empty() {
            let user = self.hash.identity(push.user);
            let device = (!push.device.is_empty()).then(|| self.hash.identity(push.device));
            let owner = owner_of(user, self.settings.workers);
            self.push_away(Recipient::User { user, device }, owner, &frame, len, sender);
        } else {
            self.report_undelivered(sender, Undelivered::Unsupported);
        }
    }

    /// The hot case: the link is this worker's, and the payload is copied once.
    fn push_here(&mut self, token: Token, frame: &Frame<'_>, sender: Sender) {
        if self.is_live(token) && self.send_frame(token, frame) {
            self.counters.pushes.add(1);
        } else {
            self.report_undelivered(sender, Undelivered::NoLink);
        }
    }

    fn push_away(&mut self, to: Recipient, worker: u32, frame: &Frame<'_>, len: usize, sender: Sender) {
        let mut encoded = self.spare(worker, len + PUSH_FIELDS_LEN);
        frame.encode(&mut encoded);
        self.post_push(worker, Parcel { to, sender, frame: encoded });
    }

    fn kick(&mut self, kick: &Kick<'_>) {
        if !self.is_of_our_realm(kick.realm) {
            return;
        }
        let code = if kick.code == 0 { CloseCode::Kicked.number() } else { kick.code };
        let farewell =
            Farewell { code, retry_after: Duration::ZERO, do_not_reconnect: kick.do_not_reconnect };
        if kick.link != 0 {
            let link = LinkId::from_number(kick.link);
            return self.post_if_room(link.worker(), Letter::End { link, farewell });
        }
        let user = self.hash.identity(kick.user);
        let device = (!kick.device.is_empty()).then(|| self.hash.identity(kick.device));
        let owner = owner_of(user, self.settings.workers);
        let revoked = kick.revoke.then_some(self.wall);
        let letter = Letter::EndUser { user, device, farewell, revoked };
        if revoked.is_some() { self.post_revocation(owner, letter) } else { self.post_if_room(owner, letter) }
    }

    /// There is one realm, which need not be named.
    fn is_of_our_realm(&self, realm: &str) -> bool {
        realm.is_empty() || realm == self.settings.realm
    }
}

/// As much as the fields of a push beside its payload usually take.
const PUSH_FIELDS_LEN: usize = 64;
