//! Frames of a backend stream, decoded in place and encoded straight into the outgoing batch.
//!
//! What every message or login needs is hand-written, borrowed and without allocation: here the frames of
//! messages, in [`push`] those from backends, in [`report`] what became of them, in [`presence`] those of links and their users, in [`detached`] those of
//! users between two links, in [`sanctions`] what is said of whom a backend keeps out or slows down. What a stream sees once, or hardly ever
//! ([`Rare`]), goes through the generated structs of [`super::proto`]. Property tests hold both to the same bytes.
//! Stricter than protobuf in one point, like the frames of a link: a frame holds exactly one kind.
//!
//! A stream carries many links' traffic, so one bad field about one of them must not end it for the others: such a frame
//! comes out as [`Flawed`], which names whom it was about. Only a broken encoding is an error.

pub mod detached;
mod flawed;
mod kind;
pub mod presence;
pub mod push;
mod rare;
pub mod report;
pub mod sanctions;
#[cfg(test)]
mod tests;

use crate::error::Error;
use crate::limits::{ID_LEN_MAX, KEY_LEN_MAX, REALM_LEN_MAX, ROUTE_LEN_MAX};
use crate::wire::cursor::{Fields, Value};
use crate::wire::field::{RequestId, at_most, number, request_id, required, session, text};
use crate::wire::frame::Pad;
use crate::wire::sink::{Message, Numbers, Sink, body_len, encode, encode_raw};
use crate::wire::varint;
pub use detached::{LinkDetached, LinkResumed, Resumed, Unacknowledged};
pub use flawed::{About, Flawed};
pub use presence::{AuthResult, Authenticate, Close, Kick, LinkClosed, LinkOpened};
pub use push::{Package, StreamPush, Users};
pub use rare::Rare;
pub use report::{PushOutcome, Report};
pub use sanctions::{Ban, Throttle, Unban, Whom};

/// One frame, borrowed from the record it came in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum StreamFrame<'b> {
    /// To the backend: a client's request.
    Request(StreamRequest<'b>),
    /// To the gateway: the answer.
    Response(StreamResponse<'b>),
    /// To the gateway: a message for a link, a user or a room.
    Push(StreamPush<'b>),
    /// Both: more payload may be sent.
    Credit {
        /// Bytes, counted with [`credit_cost`].
        bytes: u64,
    },
    /// Both: are you there?
    Ping {
        /// Comes back in the pong.
        nonce: u32,
    },
    /// Both: answer to a ping.
    Pong {
        /// The ping's.
        nonce: u32,
    },
    /// To the backend: what became of a push.
    Report(Report<'b>),
    /// To the gateway: reports were taken.
    ReportAck {
        /// Every report up to this one.
        report: u64,
    },
    /// To the backend: a user has come.
    LinkOpened(LinkOpened<'b>),
    /// To the backend: a user has lost a link, and may come back with another one.
    LinkDetached(LinkDetached<'b>),
    /// To the backend: a user has gone.
    LinkClosed(LinkClosed<'b>),
    /// To the backend: users have come back with other links.
    LinkResumed(LinkResumed<'b>),
    /// To the backend: is this token good?
    Authenticate(Authenticate<'b>),
    /// To the gateway: the verdict.
    AuthResult(AuthResult<'b>),
    /// To the gateway: close links.
    Kick(Kick<'b>),
    /// To the gateway: keep a user or prefix out.
    Ban(Ban<'b>),
    /// To the gateway: let a user or prefix in again.
    Unban(Unban<'b>),
    /// To the gateway: lower the rates of a user or prefix.
    Throttle(Throttle<'b>),
    /// Both: the sender has finished.
    Close(Close<'b>),
    /// Both: fills a record. Skipped.
    Pad {
        /// As many as are to be filled.
        zeros: &'b [u8],
    },
    /// Both: the sender will end the stream. No new requests; those under way are still answered.
    Draining {
        /// After how many milliseconds at the latest; 0 for not said.
        deadline_ms: u32,
    },
    /// A frame that can be read, and has a field out of its bounds.
    Flawed(Flawed),
    /// A message seen seldom, as its bytes, for the generated structs.
    Rare(Rare, &'b [u8]),
    /// A kind this version does not know. Skipped, and counted as a glitch.
    Unknown,
}

/// See `Request` in `proto/stream.proto`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct StreamRequest<'b> {
    /// Names the request on this stream.
    pub call: u64,
    /// The link it came on.
    pub link: u64,
    /// Made by the client.
    pub id: RequestId,
    /// 1 to 64 bytes.
    pub user: &'b [u8],
    /// 1 to 64 bytes.
    pub device: &'b [u8],
    /// 1 to 32 bytes.
    pub route: &'b str,
    /// At most 64 bytes.
    pub key: &'b [u8],
    /// Bounded by the frame.
    pub payload: &'b [u8],
    /// Milliseconds the gateway will wait.
    pub deadline_ms: u32,
    /// Comes back in the response.
    pub trace: u64,
    /// A retry.
    pub again: bool,
    /// 16 bytes, or empty.
    pub session: &'b [u8],
    /// At most 64 bytes; empty for the only one.
    pub realm: &'b str,
}

/// See `Response` in `proto/stream.proto`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct StreamResponse<'b> {
    /// The request's.
    pub call: u64,
    /// 0 is success; with `refused` a [`Refusal`](crate::Refusal)'s number.
    pub status: u32,
    /// Bounded by the frame.
    pub payload: &'b [u8],
    /// Nothing happened.
    pub refused: bool,
    /// Milliseconds to wait before trying again.
    pub retry_after_ms: u32,
    /// The request's.
    pub trace: u64,
}

/// What a request, response or push takes from the credit of its direction.
#[must_use]
pub const fn credit_cost(payload_len: usize) -> u64 {
    payload_len as u64 + crate::limits::CREDIT_OVERHEAD
}

impl<'b> StreamFrame<'b> {
    /// Decodes the body of one frame (without its length).
    ///
    /// # Errors
    /// [`Error::FrameEncoding`] for broken protobuf or more than one kind; [`Error::Field`] for a field out of
    /// its bounds.
    pub fn decode(body: &'b [u8]) -> Result<Self, Error> {
        let mut fields = Fields::new(body);
        let mut found = None;
        while let Some((kind, value)) = fields.next()? {
            let Value::Bytes(inner) = value else { continue };
            if !(kind::REQUEST..=kind::LAST).contains(&kind) {
                continue;
            }
            if found.is_some() {
                return Err(Error::FrameEncoding);
            }
            found = Some(match Self::decode_kind(kind, inner) {
                Err(Error::Field(field)) => Self::Flawed(Flawed::find(kind, inner, field)?),
                decoded => decoded?,
            });
        }
        Ok(found.unwrap_or(Self::Unknown))
    }

    fn decode_kind(kind: u32, inner: &'b [u8]) -> Result<Self, Error> {
        Ok(match kind {
            kind::REQUEST => Self::Request(StreamRequest::decode(inner)?),
            kind::RESPONSE => Self::Response(StreamResponse::decode(inner)?),
            kind::PUSH => Self::Push(StreamPush::decode(inner)?),
            kind::CREDIT => Self::Credit { bytes: number(inner, 1)? },
            kind::PING => Self::Ping { nonce: number(inner, 1)? as u32 },
            kind::PONG => Self::Pong { nonce: number(inner, 1)? as u32 },
            kind::REPORT => Self::Report(Report::decode(inner)?),
            kind::REPORT_ACK => Self::ReportAck { report: number(inner, 1)? },
            kind::LINK_OPENED => Self::LinkOpened(LinkOpened::decode(inner)?),
            kind::LINK_DETACHED => Self::LinkDetached(LinkDetached::decode(inner)?),
            kind::LINK_CLOSED => Self::LinkClosed(LinkClosed::decode(inner)?),
            kind::LINK_RESUMED => Self::LinkResumed(LinkResumed::decode(inner)?),
            kind::AUTHENTICATE => Self::Authenticate(Authenticate::decode(inner)?),
            kind::AUTH_RESULT => Self::AuthResult(AuthResult::decode(inner)?),
            kind::KICK => Self::Kick(Kick::decode(inner)?),
            kind::BAN => Self::Ban(Ban::decode(inner)?),
            kind::UNBAN => Self::Unban(Unban::decode(inner)?),
            kind::THROTTLE => Self::Throttle(Throttle::decode(inner)?),
            kind::CLOSE => Self::Close(Close::decode(inner)?),
            kind::PAD => Self::Pad { zeros: Pad::decode(inner)?.zeros },
            kind::DRAINING => Self::Draining { deadline_ms: number(inner, 1)? as u32 },
            _ => Rare::from_kind(kind).map_or(Self::Unknown, |rare| Self::Rare(rare, inner)),
        })
    }

    /// The name used in errors and metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Request(_) => "request",
            Self::Response(_) => "response",
            Self::Push(_) => "push",
            Self::Credit { .. } => "credit",
            Self::Ping { .. } => "ping",
            Self::Pong { .. } => "pong",
            Self::Report(_) => "report",
            Self::ReportAck { .. } => "report_ack",
            Self::LinkOpened(_) => "link_opened",
            Self::LinkDetached(_) => "link_detached",
            Self::LinkClosed(_) => "link_closed",
            Self::LinkResumed(_) => "link_resumed",
            Self::Authenticate(_) => "authenticate",
            Self::AuthResult(_) => "auth_result",
            Self::Kick(_) => "kick",
            Self::Ban(_) => "ban",
            Self::Unban(_) => "unban",
            Self::Throttle(_) => "throttle",
            Self::Close(_) => "close",
            Self::Pad { .. } => "pad",
            Self::Draining { .. } => "draining",
            Self::Flawed(flawed) => flawed.about.name(),
            Self::Rare(rare, _) => rare.name(),
            Self::Unknown => "unknown",
        }
    }

    /// Bytes of the frame's body when it carries a payload, which is what a peer bounds; see
    /// [`StreamFrame::encode`].
    #[must_use]
    pub fn payload_body_len(&self) -> Option<usize> {
        match self {
            Self::Request(request) => Some(body_len(kind::REQUEST, request.len())),
            Self::Response(response) => Some(body_len(kind::RESPONSE, response.len())),
            Self::Push(push) => Some(body_len(kind::PUSH, push.len())),
            _ => None,
        }
    }

    /// Appends length and body of this frame. [`StreamFrame::Unknown`] and [`StreamFrame::Flawed`] append nothing, as
    /// they carry nothing.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Request(ref request) => encode(kind::REQUEST, request, out),
            Self::Response(ref response) => encode(kind::RESPONSE, response, out),
            Self::Push(ref push) => encode(kind::PUSH, push, out),
            Self::Credit { bytes } => encode(kind::CREDIT, &Numbers(bytes, 0), out),
            Self::Ping { nonce } => encode(kind::PING, &Numbers(nonce.into(), 0), out),
            Self::Pong { nonce } => encode(kind::PONG, &Numbers(nonce.into(), 0), out),
            Self::Report(ref report) => encode(kind::REPORT, report, out),
            Self::ReportAck { report } => encode(kind::REPORT_ACK, &Numbers(report, 0), out),
            Self::LinkOpened(ref opened) => encode(kind::LINK_OPENED, opened, out),
            Self::LinkDetached(ref detached) => encode(kind::LINK_DETACHED, detached, out),
            Self::LinkClosed(ref closed) => encode(kind::LINK_CLOSED, closed, out),
            Self::LinkResumed(ref resumed) => encode(kind::LINK_RESUMED, resumed, out),
            Self::Authenticate(ref ask) => encode(kind::AUTHENTICATE, ask, out),
            Self::AuthResult(ref result) => encode(kind::AUTH_RESULT, result, out),
            Self::Kick(ref kick) => encode(kind::KICK, kick, out),
            Self::Ban(ref ban) => encode(kind::BAN, ban, out),
            Self::Unban(ref unban) => encode(kind::UNBAN, unban, out),
            Self::Throttle(ref throttle) => encode(kind::THROTTLE, throttle, out),
            Self::Close(ref close) => encode(kind::CLOSE, close, out),
            Self::Pad { zeros } => encode(kind::PAD, &Pad { zeros }, out),
            Self::Draining { deadline_ms } => encode(kind::DRAINING, &Numbers(deadline_ms.into(), 0), out),
            Self::Rare(rare, inner) => encode_raw(rare as u32, inner, out),
            Self::Flawed(_) | Self::Unknown => {}
        }
    }
}

impl<'b> StreamRequest<'b> {
    fn decode(inner: &'b [u8]) -> Result<Self, Error> {
        let mut request = Self::default();
        let mut id = None;
        let mut fields = Fields::new(inner);
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Varint(call)) => request.call = call,
                (2, Value::Fixed64(link)) => request.link = link,
                (3, Value::Bytes(bytes)) => id = Some(request_id(bytes)?),
                (4, Value::Bytes(user)) => request.user = at_most(user, ID_LEN_MAX, "user")?,
                (5, Value::Bytes(device)) => request.device = at_most(device, ID_LEN_MAX, "device")?,
                (6, Value::Bytes(route)) => request.route = text(route, ROUTE_LEN_MAX, "route")?,
                (7, Value::Bytes(key)) => request.key = at_most(key, KEY_LEN_MAX, "key")?,
                (8, Value::Bytes(payload)) => request.payload = payload,
                (9, Value::Varint(deadline)) => request.deadline_ms = deadline as u32,
                (10, Value::Fixed64(trace)) => request.trace = trace,
                (11, Value::Varint(again)) => request.again = again != 0,
                (12, Value::Bytes(id)) => request.session = session(id)?,
                (13, Value::Bytes(realm)) => request.realm = text(realm, REALM_LEN_MAX, "realm")?,
                _ => {}
            }
        }
        request.id = id.ok_or(Error::Field("id"))?;
        required(request.user, "user")?;
        required(request.device, "device")?;
        required(request.route.as_bytes(), "route")?;
        Ok(request)
    }
}

impl Message for StreamRequest<'_> {
    fn fields(&self, to: &mut impl Sink) {
        to.varint(1, self.call);
        to.fixed64(2, self.link);
        to.bytes(3, &self.id);
        to.bytes(4, self.user);
        to.bytes(5, self.device);
        to.bytes(6, self.route.as_bytes());
        to.bytes(7, self.key);
        to.bytes(8, self.payload);
        to.varint(9, self.deadline_ms.into());
        to.fixed64(10, self.trace);
        to.varint(11, self.again.into());
        to.bytes(12, self.session);
        to.bytes(13, self.realm.as_bytes());
    }
}

impl<'b> StreamResponse<'b> {
    fn decode(inner: &'b [u8]) -> Result<Self, Error> {
        let mut response = Self::default();
        let mut fields = Fields::new(inner);
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Varint(call)) => response.call = call,
                (2, Value::Varint(status)) => response.status = status as u32,
                (3, Value::Bytes(payload)) => response.payload = payload,
                (4, Value::Varint(refused)) => response.refused = refused != 0,
                (5, Value::Varint(after)) => response.retry_after_ms = after as u32,
                (6, Value::Fixed64(trace)) => response.trace = trace,
                _ => {}
            }
        }
        Ok(response)
    }
}

impl Message for StreamResponse<'_> {
    fn fields(&self, to: &mut impl Sink) {
        to.varint(1, self.call);
        to.varint(2, self.status.into());
        to.bytes(3, self.payload);
        to.varint(4, self.refused.into());
        to.varint(5, self.retry_after_ms.into());
        to.fixed64(6, self.trace);
    }
}

/// Bytes of a frame on the wire for a body of this length.
#[must_use]
pub const fn framed_len(body_len: usize) -> usize {
    varint::len(body_len as u64) + body_len
}
