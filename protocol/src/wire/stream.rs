//! Frames of a backend stream, decoded in place and encoded straight into the outgoing batch.
//!
//! What every message or login needs is hand-written, borrowed and without allocation: here the frames of
//! messages, in [`presence`] those of links and their users. What a stream sees once, or hardly ever
//! ([`Rare`]), goes through the generated structs of [`super::proto`]. Property tests hold both to the same bytes.
//! Stricter than protobuf in one point, like the frames of a link: a frame holds exactly one kind.

pub mod presence;
#[cfg(test)]
mod tests;

use crate::error::Error;
use crate::limits::{ID_LEN_MAX, KEY_LEN_MAX, PUSH_ID_LEN_MAX, ROOM_LEN_MAX, ROUTE_LEN_MAX, SESSION_ID_LEN};
use crate::wire::cursor::{
    Fields, Value, bytes_len, fixed64_len, message_len, put_bytes, put_fixed64, put_varint, varint_len,
};
use crate::wire::frame::{
    RequestId, at_most, encode_header, encode_numbers, encode_raw, number, request_id, text,
};
use crate::wire::varint;
pub use presence::{AuthResult, Authenticate, Close, Kick, LinkClosed, LinkOpened};

/// One frame, borrowed from the record it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    Report(Report),
    /// To the gateway: the report was taken.
    ReportAck {
        /// The push's.
        number: u64,
    },
    /// To the backend: a user has come.
    LinkOpened(LinkOpened<'b>),
    /// To the backend: a user has gone.
    LinkClosed(LinkClosed<'b>),
    /// To the backend: is this token good?
    Authenticate(Authenticate<'b>),
    /// To the gateway: the verdict.
    AuthResult(AuthResult<'b>),
    /// To the gateway: close links.
    Kick(Kick<'b>),
    /// Both: the sender has finished.
    Close(Close<'b>),
    /// A message seen seldom, as its bytes, for the generated structs.
    Rare(Rare, &'b [u8]),
    /// A kind this version does not know. Skipped, and counted as a glitch.
    Unknown,
}

/// Kinds that are decoded by the generated structs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Rare {
    /// To the backend: the session waits for a new link.
    LinkDetached = 10,
    /// To the backend: its first frame.
    Hello = 12,
    /// To the gateway: its first frame.
    Ready = 13,
    /// To the gateway: keep a user or prefix out.
    Ban = 17,
    /// To the gateway: into a room.
    Join = 18,
    /// To the gateway: out of a room.
    Leave = 19,
    /// To the gateway: end a session.
    EndSession = 20,
}

/// See `Request` in `proto/stream.proto`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamRequest<'b> {
    /// Names the request on this stream.
    pub call: u64,
    /// The link it came on.
    pub link: u64,
    /// Made by the client.
    pub id: RequestId,
    /// At most 64 bytes.
    pub user: &'b [u8],
    /// At most 64 bytes.
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
    /// At most 16 bytes.
    pub session: &'b [u8],
}

/// See `Response` in `proto/stream.proto`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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

/// See `Push` in `proto/stream.proto`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamPush<'b> {
    /// Names the push on this stream; 0 wants no report.
    pub number: u64,
    /// The link it is for; 0 when it is for a user or a room.
    pub link: u64,
    /// At most 64 bytes.
    pub user: &'b [u8],
    /// At most 64 bytes.
    pub room: &'b [u8],
    /// At most 64 bytes; with `user` only.
    pub device: &'b [u8],
    /// At most 16 bytes.
    pub id: &'b [u8],
    /// Bounded by the frame.
    pub payload: &'b [u8],
    /// Class of delivery; 0 at most once.
    pub class: u32,
}

/// See `Report` in `proto/stream.proto`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The push's.
    pub number: u64,
    /// How it ended.
    pub outcome: PushOutcome,
    /// An [`Undelivered`](crate::Undelivered)'s number.
    pub reason: u32,
}

/// What became of a push.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum PushOutcome {
    /// The client acknowledged it.
    #[default]
    Delivered = 0,
    /// It was not acknowledged, for the given reason.
    Undelivered = 1,
    /// Nobody knows.
    Unknown = 2,
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
            if !(kind::REQUEST..=kind::CLOSE).contains(&kind) {
                continue;
            }
            if found.is_some() {
                return Err(Error::FrameEncoding);
            }
            found = Some(Self::decode_kind(kind, inner)?);
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
            kind::REPORT_ACK => Self::ReportAck { number: number(inner, 1)? },
            kind::LINK_OPENED => Self::LinkOpened(LinkOpened::decode(inner)?),
            kind::LINK_CLOSED => Self::LinkClosed(LinkClosed::decode(inner)?),
            kind::AUTHENTICATE => Self::Authenticate(Authenticate::decode(inner)?),
            kind::AUTH_RESULT => Self::AuthResult(AuthResult::decode(inner)?),
            kind::KICK => Self::Kick(Kick::decode(inner)?),
            kind::CLOSE => Self::Close(Close::decode(inner)?),
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
            Self::LinkClosed(_) => "link_closed",
            Self::Authenticate(_) => "authenticate",
            Self::AuthResult(_) => "auth_result",
            Self::Kick(_) => "kick",
            Self::Close(_) => "close",
            Self::Rare(rare, _) => rare.name(),
            Self::Unknown => "unknown",
        }
    }

    /// Bytes of the frame's body when it carries a payload, which is what a peer bounds; see
    /// [`StreamFrame::encode`].
    #[must_use]
    pub fn payload_body_len(&self) -> Option<usize> {
        match self {
            Self::Request(request) => Some(message_len(kind::REQUEST, request.inner_len())),
            Self::Response(response) => Some(message_len(kind::RESPONSE, response.inner_len())),
            Self::Push(push) => Some(message_len(kind::PUSH, push.inner_len())),
            _ => None,
        }
    }

    /// Appends length and body of this frame. [`StreamFrame::Unknown`] appends nothing, as it carries nothing.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Request(ref request) => request.encode(out),
            Self::Response(ref response) => response.encode(out),
            Self::Push(ref push) => push.encode(out),
            Self::Credit { bytes } => encode_numbers(kind::CREDIT, bytes, 0, out),
            Self::Ping { nonce } => encode_numbers(kind::PING, nonce.into(), 0, out),
            Self::Pong { nonce } => encode_numbers(kind::PONG, nonce.into(), 0, out),
            Self::Report(report) => report.encode(out),
            Self::ReportAck { number } => encode_numbers(kind::REPORT_ACK, number, 0, out),
            Self::LinkOpened(ref opened) => opened.encode(out),
            Self::LinkClosed(ref closed) => closed.encode(out),
            Self::Authenticate(ref ask) => ask.encode(out),
            Self::AuthResult(ref result) => result.encode(out),
            Self::Kick(ref kick) => kick.encode(out),
            Self::Close(ref close) => close.encode(out),
            Self::Rare(rare, inner) => encode_raw(rare as u32, inner, out),
            Self::Unknown => {}
        }
    }
}

impl Rare {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::LinkDetached, Self::Hello, Self::Ready, Self::Ban, Self::Join, Self::Leave, Self::EndSession];

    fn from_kind(kind: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|rare| *rare as u32 == kind)
    }

    /// The name used in errors and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LinkDetached => "link_detached",
            Self::Hello => "hello",
            Self::Ready => "ready",
            Self::Ban => "ban",
            Self::Join => "join",
            Self::Leave => "leave",
            Self::EndSession => "end_session",
        }
    }

    /// Appends length and body of a frame of this kind. The message must be the kind's own.
    pub fn encode(self, message: &impl prost::Message, out: &mut Vec<u8>) {
        encode_header(self as u32, message.encoded_len(), out);
        message.encode_raw(out);
    }

    /// Decodes the bytes of [`StreamFrame::Rare`] into the kind's generated struct.
    ///
    /// # Errors
    /// [`Error::FrameEncoding`] when they are not one.
    pub fn decode<M: prost::Message + Default>(inner: &[u8]) -> Result<M, Error> {
        M::decode(inner).map_err(|_| Error::FrameEncoding)
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
                (12, Value::Bytes(id)) => request.session = at_most(id, SESSION_ID_LEN, "session")?,
                _ => {}
            }
        }
        request.id = id.ok_or(Error::Field("id"))?;
        if request.route.is_empty() {
            return Err(Error::Field("route"));
        }
        Ok(request)
    }

    fn inner_len(&self) -> usize {
        varint_len(1, self.call)
            + fixed64_len(2, self.link)
            + bytes_len(3, &self.id)
            + bytes_len(4, self.user)
            + bytes_len(5, self.device)
            + bytes_len(6, self.route.as_bytes())
            + bytes_len(7, self.key)
            + bytes_len(8, self.payload)
            + varint_len(9, self.deadline_ms.into())
            + fixed64_len(10, self.trace)
            + varint_len(11, self.again.into())
            + bytes_len(12, self.session)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        encode_header(kind::REQUEST, self.inner_len(), out);
        put_varint(1, self.call, out);
        put_fixed64(2, self.link, out);
        put_bytes(3, &self.id, out);
        put_bytes(4, self.user, out);
        put_bytes(5, self.device, out);
        put_bytes(6, self.route.as_bytes(), out);
        put_bytes(7, self.key, out);
        put_bytes(8, self.payload, out);
        put_varint(9, self.deadline_ms.into(), out);
        put_fixed64(10, self.trace, out);
        put_varint(11, self.again.into(), out);
        put_bytes(12, self.session, out);
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

    fn inner_len(&self) -> usize {
        varint_len(1, self.call)
            + varint_len(2, self.status.into())
            + bytes_len(3, self.payload)
            + varint_len(4, self.refused.into())
            + varint_len(5, self.retry_after_ms.into())
            + fixed64_len(6, self.trace)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        encode_header(kind::RESPONSE, self.inner_len(), out);
        put_varint(1, self.call, out);
        put_varint(2, self.status.into(), out);
        put_bytes(3, self.payload, out);
        put_varint(4, self.refused.into(), out);
        put_varint(5, self.retry_after_ms.into(), out);
        put_fixed64(6, self.trace, out);
    }
}

impl<'b> StreamPush<'b> {
    fn decode(inner: &'b [u8]) -> Result<Self, Error> {
        let mut push = Self::default();
        let mut fields = Fields::new(inner);
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Varint(number)) => push.number = number,
                (2, Value::Fixed64(link)) => push.link = link,
                (3, Value::Bytes(user)) => push.user = at_most(user, ID_LEN_MAX, "user")?,
                (4, Value::Bytes(room)) => push.room = at_most(room, ROOM_LEN_MAX, "room")?,
                (5, Value::Bytes(device)) => push.device = at_most(device, ID_LEN_MAX, "device")?,
                (6, Value::Bytes(id)) => push.id = at_most(id, PUSH_ID_LEN_MAX, "id")?,
                (7, Value::Bytes(payload)) => push.payload = payload,
                (8, Value::Varint(class)) => push.class = class as u32,
                _ => {}
            }
        }
        Ok(push)
    }

    fn inner_len(&self) -> usize {
        varint_len(1, self.number)
            + fixed64_len(2, self.link)
            + bytes_len(3, self.user)
            + bytes_len(4, self.room)
            + bytes_len(5, self.device)
            + bytes_len(6, self.id)
            + bytes_len(7, self.payload)
            + varint_len(8, self.class.into())
    }

    fn encode(&self, out: &mut Vec<u8>) {
        encode_header(kind::PUSH, self.inner_len(), out);
        put_varint(1, self.number, out);
        put_fixed64(2, self.link, out);
        put_bytes(3, self.user, out);
        put_bytes(4, self.room, out);
        put_bytes(5, self.device, out);
        put_bytes(6, self.id, out);
        put_bytes(7, self.payload, out);
        put_varint(8, self.class.into(), out);
    }
}

impl Report {
    fn decode(inner: &[u8]) -> Result<Self, Error> {
        let mut report = Self::default();
        let mut fields = Fields::new(inner);
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Varint(number)) => report.number = number,
                (2, Value::Varint(outcome)) => {
                    // An outcome of a later version is one this version knows nothing about.
                    report.outcome = match outcome as i32 {
                        0 => PushOutcome::Delivered,
                        1 => PushOutcome::Undelivered,
                        _ => PushOutcome::Unknown,
                    }
                }
                (3, Value::Varint(reason)) => report.reason = reason as u32,
                _ => {}
            }
        }
        Ok(report)
    }

    fn encode(self, out: &mut Vec<u8>) {
        let outcome = self.outcome as u64;
        let inner = varint_len(1, self.number) + varint_len(2, outcome) + varint_len(3, self.reason.into());
        encode_header(kind::REPORT, inner, out);
        put_varint(1, self.number, out);
        put_varint(2, outcome, out);
        put_varint(3, self.reason.into(), out);
    }
}

/// Field numbers of the kinds in `Frame` that are hand-written; those of [`Rare`] are its discriminants.
mod kind {
    pub(super) const REQUEST: u32 = 1;
    pub(super) const RESPONSE: u32 = 2;
    pub(super) const PUSH: u32 = 3;
    pub(super) const CREDIT: u32 = 4;
    pub(super) const PING: u32 = 5;
    pub(super) const PONG: u32 = 6;
    pub(super) const REPORT: u32 = 7;
    pub(super) const REPORT_ACK: u32 = 8;
    pub(super) const LINK_OPENED: u32 = 9;
    pub(super) const LINK_CLOSED: u32 = 11;
    pub(super) const AUTHENTICATE: u32 = 14;
    pub(super) const AUTH_RESULT: u32 = 15;
    pub(super) const KICK: u32 = 16;
    pub(super) const CLOSE: u32 = 21;
}

/// Bytes of a frame on the wire for a body of this length.
#[must_use]
pub const fn framed_len(body_len: usize) -> usize {
    varint::len(body_len as u64) + body_len
}
