//! Frames of a client link, decoded in place and encoded straight into an outgoing batch.
//!
//! The frames of every message are hand-written here, borrowed and without allocation. `Auth`'s rare fields and
//! `Welcome` and `Move`, which a link sees once, go through the generated structs of [`super::proto`]. Property
//! tests hold both to the same bytes. Stricter than protobuf in one point: a frame holds exactly one kind, so
//! that no second `kind` can be smuggled behind a first one.

use prost::Message as _;

use crate::error::Error;
use crate::limits::{
    AGENT_LEN_MAX, CLOSE_TEXT_LEN_MAX, ID_LEN_MAX, KEY_LEN_MAX, PUSH_ID_LEN_MAX, REQUEST_ID_LEN,
    ROOM_LEN_MAX, ROUTE_LEN_MAX, TOKEN_LEN_MAX,
};
use crate::wire::cursor::{
    Fields, Value, bytes_len, message_len, put_bytes, put_message_header, put_varint, varint_len,
};
use crate::wire::{proto, varint};

/// A request's id, made by the client's SDK.
pub type RequestId = [u8; REQUEST_ID_LEN];

/// One frame, borrowed from the record it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'b> {
    /// Up: who the client is. The first frame of a link.
    Auth(Auth<'b>),
    /// Up: something for a backend.
    Request(Request<'b>),
    /// Up: pushes up to this sequence were taken.
    Ack {
        /// Cumulative.
        sequence: u64,
    },
    /// Up: a sign of life.
    Ping(Ping),
    /// Up: enter a room.
    Join {
        /// 1 to 64 bytes.
        room: &'b [u8],
    },
    /// Up: leave a room.
    Leave {
        /// 1 to 64 bytes.
        room: &'b [u8],
    },
    /// Both: the sender has finished.
    Close(Close<'b>),
    /// Down: the link is authenticated. The message's body; see [`Welcome::decode`](prost::Message::decode).
    Welcome(&'b [u8]),
    /// Down: what became of a request.
    Response(Response<'b>),
    /// Down: a message from a backend.
    Push(Push<'b>),
    /// Down: acknowledge now.
    AckNow {
        /// The last sequence sent.
        sequence: u64,
    },
    /// Down: answer to a ping.
    Pong {
        /// The ping's.
        nonce: u32,
    },
    /// Down: answer to a join.
    Joined {
        /// The room.
        room: &'b [u8],
        /// 0, or why not.
        code: u32,
    },
    /// Down: answer to a leave, or a removal.
    Left {
        /// The room.
        room: &'b [u8],
        /// 0, or why.
        code: u32,
    },
    /// Down: go to another node. The message's body.
    Move(&'b [u8]),
    /// A kind this version does not know. Skipped, and counted as a glitch.
    Unknown,
}

/// See `Auth` in `proto/link.proto`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Auth<'b> {
    /// At most 2048 bytes; empty when the link was opened with a ticket.
    pub token: &'b [u8],
    /// At most 64 bytes; development tokens only.
    pub user: &'b [u8],
    /// 1 to 64 bytes.
    pub device: &'b [u8],
    /// The body of a `Resume` message, empty when there is none.
    pub resume: &'b [u8],
    /// Wanted interval in milliseconds; 0 lets the gateway choose.
    pub heartbeat_ms: u32,
    /// At most 64 bytes.
    pub agent: &'b str,
    /// Proof of possession for a bound token, at most 64 bytes.
    pub signature: &'b [u8],
}

/// See `Request` in `proto/link.proto`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request<'b> {
    /// Made by the client.
    pub id: RequestId,
    /// 1 to 32 bytes.
    pub route: &'b str,
    /// At most 64 bytes.
    pub key: &'b [u8],
    /// Bounded by the frame.
    pub payload: &'b [u8],
    /// Per session, from 1.
    pub counter: u64,
    /// A retry.
    pub again: bool,
}

/// See `Ping` in `proto/link.proto`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ping {
    /// Comes back in the pong.
    pub nonce: u32,
    /// A new wanted interval in milliseconds; 0 keeps it.
    pub heartbeat_ms: u32,
}

/// See `Close` in `proto/link.proto`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Close<'b> {
    /// A [`CloseCode`](crate::CloseCode)'s number.
    pub code: u32,
    /// Milliseconds to wait before connecting again.
    pub retry_after_ms: u32,
    /// The client must not come back by itself.
    pub do_not_reconnect: bool,
    /// For a developer's eye, at most 128 bytes.
    pub text: &'b str,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// The backend answered.
    #[default]
    Answered = 0,
    /// Nothing happened.
    Refused = 1,
    /// It left, and nobody knows.
    Unknown = 2,
}

/// See `Response` in `proto/link.proto`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Response<'b> {
    /// The request's.
    pub id: RequestId,
    /// How it ended.
    pub outcome: Outcome,
    /// Status of the backend, or number of the refusal.
    pub code: u32,
    /// Milliseconds to wait before trying again.
    pub retry_after_ms: u32,
    /// The answer.
    pub payload: &'b [u8],
}

/// See `Push` in `proto/link.proto`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Push<'b> {
    /// 0 for at-most-once pushes.
    pub sequence: u64,
    /// At most 16 bytes.
    pub id: &'b [u8],
    /// Bounded by the frame.
    pub payload: &'b [u8],
    /// Class of delivery.
    pub class: u32,
    /// Sent before.
    pub again: bool,
    /// At most 64 bytes; empty outside rooms.
    pub room: &'b [u8],
}

impl<'b> Frame<'b> {
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
            if !(kind::AUTH..=kind::MOVE).contains(&kind) {
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
            kind::AUTH => Self::Auth(Auth::decode(inner)?),
            kind::REQUEST => Self::Request(Request::decode(inner)?),
            kind::ACK => Self::Ack { sequence: number(inner, 1)? },
            kind::PING => {
                Self::Ping(Ping { nonce: number(inner, 1)? as u32, heartbeat_ms: number(inner, 2)? as u32 })
            }
            kind::JOIN => Self::Join { room: room(inner)?.0 },
            kind::LEAVE => Self::Leave { room: room(inner)?.0 },
            kind::CLOSE => Self::Close(Close::decode(inner)?),
            kind::WELCOME => Self::Welcome(inner),
            kind::RESPONSE => Self::Response(Response::decode(inner)?),
            kind::PUSH => Self::Push(Push::decode(inner)?),
            kind::ACK_NOW => Self::AckNow { sequence: number(inner, 1)? },
            kind::PONG => Self::Pong { nonce: number(inner, 1)? as u32 },
            kind::JOINED => room(inner).map(|(room, code)| Self::Joined { room, code })?,
            kind::LEFT => room(inner).map(|(room, code)| Self::Left { room, code })?,
            kind::MOVE => Self::Move(inner),
            _ => Self::Unknown,
        })
    }

    /// The name used in errors and metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Auth(_) => "auth",
            Self::Request(_) => "request",
            Self::Ack { .. } => "ack",
            Self::Ping(_) => "ping",
            Self::Join { .. } => "join",
            Self::Leave { .. } => "leave",
            Self::Close(_) => "close",
            Self::Welcome(_) => "welcome",
            Self::Response(_) => "response",
            Self::Push(_) => "push",
            Self::AckNow { .. } => "ack_now",
            Self::Pong { .. } => "pong",
            Self::Joined { .. } => "joined",
            Self::Left { .. } => "left",
            Self::Move(_) => "move",
            Self::Unknown => "unknown",
        }
    }

    /// Appends length and body of this frame. [`Frame::Unknown`] appends nothing, as it carries nothing.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Auth(ref auth) => auth.encode(out),
            Self::Request(ref request) => request.encode(out),
            Self::Ack { sequence } => encode_numbers(kind::ACK, sequence, 0, out),
            Self::Ping(ping) => encode_numbers(kind::PING, ping.nonce.into(), ping.heartbeat_ms.into(), out),
            Self::Join { room } => encode_room(kind::JOIN, room, 0, out),
            Self::Leave { room } => encode_room(kind::LEAVE, room, 0, out),
            Self::Close(ref close) => close.encode(out),
            Self::Welcome(body) => encode_raw(kind::WELCOME, body, out),
            Self::Response(ref response) => response.encode(out),
            Self::Push(ref push) => push.encode(out),
            Self::AckNow { sequence } => encode_numbers(kind::ACK_NOW, sequence, 0, out),
            Self::Pong { nonce } => encode_numbers(kind::PONG, nonce.into(), 0, out),
            Self::Joined { room, code } => encode_room(kind::JOINED, room, code, out),
            Self::Left { room, code } => encode_room(kind::LEFT, room, code, out),
            Self::Move(body) => encode_raw(kind::MOVE, body, out),
            Self::Unknown => {}
        }
    }
}

/// Appends length and body of a `Welcome`.
pub fn encode_welcome(welcome: &proto::link::Welcome, out: &mut Vec<u8>) {
    encode_header(kind::WELCOME, welcome.encoded_len(), out);
    welcome.encode_raw(out);
}

impl<'b> Auth<'b> {
    fn decode(inner: &'b [u8]) -> Result<Self, Error> {
        let mut auth = Self::default();
        let mut fields = Fields::new(inner);
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Bytes(token)) => auth.token = at_most(token, TOKEN_LEN_MAX, "token")?,
                (2, Value::Bytes(user)) => auth.user = at_most(user, ID_LEN_MAX, "user")?,
                (3, Value::Bytes(device)) => auth.device = at_most(device, ID_LEN_MAX, "device")?,
                (4, Value::Bytes(resume)) => auth.resume = at_most(resume, 128, "resume")?,
                (5, Value::Varint(interval)) => auth.heartbeat_ms = interval as u32,
                (6, Value::Bytes(agent)) => auth.agent = text(agent, AGENT_LEN_MAX, "agent")?,
                (7, Value::Bytes(signature)) => auth.signature = at_most(signature, 64, "signature")?,
                _ => {}
            }
        }
        if auth.device.is_empty() {
            return Err(Error::Field("device"));
        }
        Ok(auth)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let inner = bytes_len(1, self.token)
            + bytes_len(2, self.user)
            + bytes_len(3, self.device)
            + bytes_len(4, self.resume)
            + varint_len(5, self.heartbeat_ms.into())
            + bytes_len(6, self.agent.as_bytes())
            + bytes_len(7, self.signature);
        encode_header(kind::AUTH, inner, out);
        put_bytes(1, self.token, out);
        put_bytes(2, self.user, out);
        put_bytes(3, self.device, out);
        put_bytes(4, self.resume, out);
        put_varint(5, self.heartbeat_ms.into(), out);
        put_bytes(6, self.agent.as_bytes(), out);
        put_bytes(7, self.signature, out);
    }
}

impl<'b> Request<'b> {
    fn decode(inner: &'b [u8]) -> Result<Self, Error> {
        let mut request = Self::default();
        let mut id = None;
        let mut fields = Fields::new(inner);
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Bytes(bytes)) => id = Some(request_id(bytes)?),
                (2, Value::Bytes(route)) => request.route = text(route, ROUTE_LEN_MAX, "route")?,
                (3, Value::Bytes(key)) => request.key = at_most(key, KEY_LEN_MAX, "key")?,
                (4, Value::Bytes(payload)) => request.payload = payload,
                (5, Value::Varint(counter)) => request.counter = counter,
                (6, Value::Varint(again)) => request.again = again != 0,
                _ => {}
            }
        }
        request.id = id.ok_or(Error::Field("id"))?;
        if request.route.is_empty() {
            return Err(Error::Field("route"));
        }
        Ok(request)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let inner = bytes_len(1, &self.id)
            + bytes_len(2, self.route.as_bytes())
            + bytes_len(3, self.key)
            + bytes_len(4, self.payload)
            + varint_len(5, self.counter)
            + varint_len(6, self.again.into());
        encode_header(kind::REQUEST, inner, out);
        put_bytes(1, &self.id, out);
        put_bytes(2, self.route.as_bytes(), out);
        put_bytes(3, self.key, out);
        put_bytes(4, self.payload, out);
        put_varint(5, self.counter, out);
        put_varint(6, self.again.into(), out);
    }
}

impl<'b> Close<'b> {
    fn decode(inner: &'b [u8]) -> Result<Self, Error> {
        let mut close = Self::default();
        let mut fields = Fields::new(inner);
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Varint(code)) => close.code = code as u32,
                (2, Value::Varint(after)) => close.retry_after_ms = after as u32,
                (3, Value::Varint(flag)) => close.do_not_reconnect = flag != 0,
                (4, Value::Bytes(bytes)) => close.text = text(bytes, CLOSE_TEXT_LEN_MAX, "text")?,
                _ => {}
            }
        }
        Ok(close)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let inner = varint_len(1, self.code.into())
            + varint_len(2, self.retry_after_ms.into())
            + varint_len(3, self.do_not_reconnect.into())
            + bytes_len(4, self.text.as_bytes());
        encode_header(kind::CLOSE, inner, out);
        put_varint(1, self.code.into(), out);
        put_varint(2, self.retry_after_ms.into(), out);
        put_varint(3, self.do_not_reconnect.into(), out);
        put_bytes(4, self.text.as_bytes(), out);
    }
}

impl<'b> Response<'b> {
    fn decode(inner: &'b [u8]) -> Result<Self, Error> {
        let mut response = Self::default();
        let mut id = None;
        let mut fields = Fields::new(inner);
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Bytes(bytes)) => id = Some(request_id(bytes)?),
                (2, Value::Varint(outcome)) => {
                    // An outcome of a later version is one this version knows nothing about.
                    response.outcome = match outcome as i32 {
                        0 => Outcome::Answered,
                        1 => Outcome::Refused,
                        _ => Outcome::Unknown,
                    }
                }
                (3, Value::Varint(code)) => response.code = code as u32,
                (4, Value::Varint(after)) => response.retry_after_ms = after as u32,
                (5, Value::Bytes(payload)) => response.payload = payload,
                _ => {}
            }
        }
        response.id = id.ok_or(Error::Field("id"))?;
        Ok(response)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let inner = bytes_len(1, &self.id)
            + varint_len(2, self.outcome as u64)
            + varint_len(3, self.code.into())
            + varint_len(4, self.retry_after_ms.into())
            + bytes_len(5, self.payload);
        encode_header(kind::RESPONSE, inner, out);
        put_bytes(1, &self.id, out);
        put_varint(2, self.outcome as u64, out);
        put_varint(3, self.code.into(), out);
        put_varint(4, self.retry_after_ms.into(), out);
        put_bytes(5, self.payload, out);
    }
}

impl<'b> Push<'b> {
    fn decode(inner: &'b [u8]) -> Result<Self, Error> {
        let mut push = Self::default();
        let mut fields = Fields::new(inner);
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Varint(sequence)) => push.sequence = sequence,
                (2, Value::Bytes(id)) => push.id = at_most(id, PUSH_ID_LEN_MAX, "id")?,
                (3, Value::Bytes(payload)) => push.payload = payload,
                (4, Value::Varint(class)) => push.class = class as u32,
                (5, Value::Varint(again)) => push.again = again != 0,
                (6, Value::Bytes(room)) => push.room = at_most(room, ROOM_LEN_MAX, "room")?,
                _ => {}
            }
        }
        Ok(push)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let inner = varint_len(1, self.sequence)
            + bytes_len(2, self.id)
            + bytes_len(3, self.payload)
            + varint_len(4, self.class.into())
            + varint_len(5, self.again.into())
            + bytes_len(6, self.room);
        encode_header(kind::PUSH, inner, out);
        put_varint(1, self.sequence, out);
        put_bytes(2, self.id, out);
        put_bytes(3, self.payload, out);
        put_varint(4, self.class.into(), out);
        put_varint(5, self.again.into(), out);
        put_bytes(6, self.room, out);
    }
}

/// A varint field of a message made of numbers.
pub(super) fn number(inner: &[u8], wanted: u32) -> Result<u64, Error> {
    let mut found = 0;
    let mut fields = Fields::new(inner);
    while let Some((field, value)) = fields.next()? {
        if let (true, Value::Varint(value)) = (field == wanted, value) {
            found = value;
        }
    }
    Ok(found)
}

/// Room and code of the four room frames.
fn room(inner: &[u8]) -> Result<(&[u8], u32), Error> {
    let (mut room, mut code) = (&inner[..0], 0);
    let mut fields = Fields::new(inner);
    while let Some(field) = fields.next()? {
        match field {
            (1, Value::Bytes(bytes)) => room = at_most(bytes, ROOM_LEN_MAX, "room")?,
            (2, Value::Varint(value)) => code = value as u32,
            _ => {}
        }
    }
    if room.is_empty() { Err(Error::Field("room")) } else { Ok((room, code)) }
}

pub(super) fn request_id(bytes: &[u8]) -> Result<RequestId, Error> {
    bytes.try_into().map_err(|_| Error::Field("id"))
}

pub(super) fn at_most<'b>(bytes: &'b [u8], max: usize, name: &'static str) -> Result<&'b [u8], Error> {
    if bytes.len() <= max { Ok(bytes) } else { Err(Error::Field(name)) }
}

pub(super) fn text<'b>(bytes: &'b [u8], max: usize, name: &'static str) -> Result<&'b str, Error> {
    std::str::from_utf8(at_most(bytes, max, name)?).map_err(|_| Error::Field(name))
}

/// Appends a frame's length, and tag and length of its one kind.
pub(super) fn encode_header(kind: u32, inner: usize, out: &mut Vec<u8>) {
    varint::encode(message_len(kind, inner) as u64, out);
    put_message_header(kind, inner, out);
}

pub(super) fn encode_raw(kind: u32, inner: &[u8], out: &mut Vec<u8>) {
    encode_header(kind, inner.len(), out);
    out.extend_from_slice(inner);
}

pub(super) fn encode_numbers(kind: u32, first: u64, second: u64, out: &mut Vec<u8>) {
    encode_header(kind, varint_len(1, first) + varint_len(2, second), out);
    put_varint(1, first, out);
    put_varint(2, second, out);
}

fn encode_room(kind: u32, room: &[u8], code: u32, out: &mut Vec<u8>) {
    encode_header(kind, bytes_len(1, room) + varint_len(2, code.into()), out);
    put_bytes(1, room, out);
    put_varint(2, code.into(), out);
}

/// Field numbers of the kinds in `Frame`.
mod kind {
    pub(super) const AUTH: u32 = 1;
    pub(super) const REQUEST: u32 = 2;
    pub(super) const ACK: u32 = 3;
    pub(super) const PING: u32 = 4;
    pub(super) const JOIN: u32 = 5;
    pub(super) const LEAVE: u32 = 6;
    pub(super) const CLOSE: u32 = 7;
    pub(super) const WELCOME: u32 = 8;
    pub(super) const RESPONSE: u32 = 9;
    pub(super) const PUSH: u32 = 10;
    pub(super) const ACK_NOW: u32 = 11;
    pub(super) const PONG: u32 = 12;
    pub(super) const JOINED: u32 = 13;
    pub(super) const LEFT: u32 = 14;
    pub(super) const MOVE: u32 = 15;
}
