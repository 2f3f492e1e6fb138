//! A backend's frames: the one match over their kinds.

use driver::{Batch, Errno, Sent, Token};
use protocol::Undelivered;
use protocol::stream::ToGateway;
use protocol::wire::stream::{About, Flawed};

use crate::config::Capability;
use crate::upstream::StreamIndex;
use crate::worker::parts::Parts;
use crate::worker::streams::Streams;

impl Parts {
    /// A dial is over.
    pub(in crate::worker) fn connected(&mut self, tag: u32, result: Result<Token, Errno>) {
        if let Ok(token) = result {
            self.slots.connected(token, Streams::dialled(tag));
        }
        self.streams.connected(&mut self.turn, tag, result);
    }

    /// Bytes arrived on a stream.
    pub(in crate::worker) fn stream_received(&mut self, stream: StreamIndex, bytes: &mut [u8], more: bool) {
        let Some(mut input) = self.streams.open(&mut self.turn, stream, bytes, more) else { return };
        while let Some(event) = self.streams.next_event(&mut self.turn, stream, &mut input) {
            self.event(stream, &event);
        }
        if self.streams.keep(&mut self.turn, stream, input) {
            self.unpark(stream);
        }
    }

    /// A stream's send is over.
    pub(in crate::worker) fn stream_sent(&mut self, stream: StreamIndex, batch: Batch, result: Sent) {
        if self.streams.sent(&mut self.turn, stream, batch, result) {
            self.unpark(stream);
        }
    }

    /// The credit of payloads goes back as soon as they are queued or refused: it does not wait for clients.
    fn event(&mut self, stream: StreamIndex, event: &ToGateway<'_>) {
        let may = self.turn.settings.endpoints[usize::from(stream.0)].capabilities;
        if let Some((_, frame)) = needed(event).filter(|(needed, _)| !may.contains(*needed)) {
            return self.streams.overstepped(&mut self.turn, stream, frame);
        }
        if matches!(event, ToGateway::Response(_) | ToGateway::Push(_)) {
            self.turn.heard_message();
        }
        match event {
            ToGateway::Response(response) => {
                self.response(stream, response);
                self.streams.consumed(stream, response.payload.len());
            }
            ToGateway::Push(push) => {
                self.push(stream, push);
                self.streams.consumed(stream, push.payload.len());
            }
            ToGateway::AuthResult(result) => self.judged(stream, result),
            ToGateway::Kick(kick) => self.kick(kick),
            ToGateway::Ban(ban) => self.ban(stream, ban),
            ToGateway::Unban(unban) => self.unban(stream, unban),
            ToGateway::Throttle(throttle) => self.throttle(stream, throttle),
            ToGateway::Ready => {
                if self.streams.ready(&mut self.turn, stream) {
                    self.share_with(stream);
                }
            }
            ToGateway::Draining => {
                self.streams.draining(&self.turn, stream);
                self.reroute_parked(stream);
            }
            ToGateway::Close(close) => self.streams.closed_by_backend(&self.turn, stream, close),
            // Credit is looked at after the last frame; the other kinds are specified but not served yet.
            ToGateway::Credited | ToGateway::Alive => {}
            ToGateway::ReportAck { report } => self.streams.know_reports(stream, *report),
            ToGateway::Flawed(flawed) => self.flawed(stream, flawed),
            ToGateway::Skipped => self.turn.counters.glitches.add(1),
        }
    }

    /// One link's frame has a field out of its bounds: that link pays for it, and the others have their stream.
    fn flawed(&mut self, stream: StreamIndex, flawed: &Flawed) {
        self.turn.counters.backend_flaws.add(1);
        match flawed.about {
            About::Push(number) => {
                let sender = self.sender(stream, number);
                self.report_undelivered(sender, Undelivered::Malformed, &[]);
            }
            About::AuthResult(call) => {
                if let Some(token) = self.identity.misjudged(stream, call) {
                    self.put_off(token);
                }
            }
            About::Kick(_)
            | About::Ban
            | About::Unban
            | About::Throttle
            | About::Presence(_)
            | About::Request(_)
            | About::Authenticate(_) => {}
        }
        if let Some(len) = flawed.payload_len {
            self.streams.consumed(stream, len);
        }
    }
}

/// What a backend must be allowed to say this, and the frame's name.
const fn needed(event: &ToGateway<'_>) -> Option<(Capability, &'static str)> {
    Some(match event {
        ToGateway::Response(_) => (Capability::Serve, "response"),
        ToGateway::Push(_) => (Capability::Push, "push"),
        ToGateway::Kick(_) => (Capability::Kick, "kick"),
        ToGateway::Ban(_) => (Capability::Ban, "ban"),
        ToGateway::Unban(_) => (Capability::Ban, "unban"),
        ToGateway::Throttle(_) => (Capability::Ban, "throttle"),
        ToGateway::AuthResult(_) => (Capability::Authenticate, "auth_result"),
        _ => return None,
    })
}
