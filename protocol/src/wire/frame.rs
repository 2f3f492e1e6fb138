//! Frames of a client link, decoded in place and encoded straight into an outgoing batch.
//!
//! The frames of every message are hand-written here, borrowed and without allocation. `Auth`'s rare fields and
//! `Welcome` and `Move`, which a link sees once, go through the generated structs of [`super::proto`]. Property
//! tests hold both to the same bytes. Stricter than protobuf in one point: a frame holds exactly one kind, so
//! that no second `kind` can be smuggled behind a first one.

use prost::Message as _;

use crate::error::Error;
use crate::limits::{
    AGENT_LEN_MAX, CLOSE_TEXT_LEN_MAX, DICTIONARIES_MAX, HASH_LEN, ID_LEN_MAX, KEY_LEN_MAX, PUSH_ID_LEN_MAX,
    ROOM_LEN_MAX, ROUTE_LEN_MAX, TOKEN_LEN_MAX,
};
use crate::wire::cursor::{Fields, Value};
pub use crate::wire::field::RequestId;
use crate::wire::field::{at_most, number, request_id, required, signature, text};
use crate::wire::proto;
use crate::wire::resume::Resume;
use crate::wire::sink::{Message, Numbers, Sink, encode, encode_header, encode_raw};

/// One frame, borrowed from the record it came in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Frame<'b> {
    /// Up: who the client is. The first frame of a link.
    Auth(Auth<'b>),
    /// Up: something for a backend.
    Request(Request<'b>),
    /// Up: pushes that have arrived.
    Ack {
        /// Up to here the application took them.
        taken: u64,
        /// Up to here the SDK has them.
        received: u64,
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
        /// When to ask again.
        retry_after_ms: u32,
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
    /// Both: fills a record. Skipped.
    Pad {
        /// As many as are to be filled.
        zeros: &'b [u8],
    },
    /// Down: what the client does will end the link if it goes on.
    Warning {
        /// The number of the close code that will follow.
        code: u32,
        /// How near it is, in percent.
        score: u32,
    },
    /// A kind this version does not know. Skipped, and counted as a glitch.
    Unknown,
}

/// See `Auth` in `proto/link.proto`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Auth<'b> {
    /// At most 3,584 bytes; empty when the link was opened with a ticket.
    pub token: &'b [u8],
    /// At most 64 bytes; development tokens only.
    pub user: &'b [u8],
    /// 1 to 64 bytes.
    pub device: &'b [u8],
    /// The body of a [`Resume`] message, empty when there is none.
    pub resume: &'b [u8],
    /// Wanted interval in milliseconds; 0 lets the gateway choose.
    pub heartbeat_ms: u32,
    /// At most 64 bytes.
    pub agent: &'b str,
    /// Proof of possession for a bound token or ticket: 64 bytes, or empty.
    pub signature: &'b [u8],
    /// Class of the device, the client's word; 0 for none.
    pub class: u32,
}

/// See `Request` in `proto/link.proto`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
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
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Response<'b> {
    /// The request's.
    pub id: RequestId,
    /// How it ended.
    pub outcome: Outcome,
    /// Status of the backend, number of the refusal, or cause of not knowing.
    pub code: u32,
    /// Milliseconds to wait before trying again.
    pub retry_after_ms: u32,
    /// The answer.
    pub payload: &'b [u8],
}

/// See `Push` in `proto/link.proto`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
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
    /// Pushes of this room that were dropped before this one.
    pub missed: u32,
    /// Parts of the package that are missing before this one.
    pub gap: u32,
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
            if !(kind::AUTH..=kind::WARNING).contains(&kind) {
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
            kind::ACK => Self::Ack { taken: number(inner, 1)?, received: number(inner, 2)? },
            kind::PING => {
                Self::Ping(Ping { nonce: number(inner, 1)? as u32, heartbeat_ms: number(inner, 2)? as u32 })
            }
            kind::JOIN => Self::Join { room: Room::decode(inner)?.room },
            kind::LEAVE => Self::Leave { room: Room::decode(inner)?.room },
            kind::CLOSE => Self::Close(Close::decode(inner)?),
            kind::WELCOME => Self::Welcome(inner),
            kind::RESPONSE => Self::Response(Response::decode(inner)?),
            kind::PUSH => Self::Push(Push::decode(inner)?),
            kind::ACK_NOW => Self::AckNow { sequence: number(inner, 1)? },
            kind::PONG => Self::Pong { nonce: number(inner, 1)? as u32 },
            kind::JOINED => {
                let Room { room, code, retry_after_ms } = Room::decode(inner)?;
                Self::Joined { room, code, retry_after_ms }
            }
            kind::LEFT => {
                let Room { room, code, .. } = Room::decode(inner)?;
                Self::Left { room, code }
            }
            kind::MOVE => Self::Move(inner),
            kind::PAD => Self::Pad { zeros: Pad::decode(inner)?.zeros },
            kind::WARNING => {
                Self::Warning { code: number(inner, 1)? as u32, score: number(inner, 2)? as u32 }
            }
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
            Self::Pad { .. } => "pad",
            Self::Warning { .. } => "warning",
            Self::Unknown => "unknown",
        }
    }

    /// Appends length and body of this frame. [`Frame::Unknown`] appends nothing, as it carries nothing.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Auth(ref auth) => encode(kind::AUTH, auth, out),
            Self::Request(ref request) => encode(kind::REQUEST, request, out),
            Self::Ack { taken, received } => encode(kind::ACK, &Numbers(taken, received), out),
            Self::Ping(Ping { nonce, heartbeat_ms }) => {
                encode(kind::PING, &Numbers(nonce.into(), heartbeat_ms.into()), out);
            }
            Self::Join { room } => encode(kind::JOIN, &Room { room, code: 0, retry_after_ms: 0 }, out),
            Self::Leave { room } => encode(kind::LEAVE, &Room { room, code: 0, retry_after_ms: 0 }, out),
            Self::Close(ref close) => encode(kind::CLOSE, close, out),
            Self::Welcome(body) => encode_raw(kind::WELCOME, body, out),
            Self::Response(ref response) => encode(kind::RESPONSE, response, out),
            Self::Push(ref push) => encode(kind::PUSH, push, out),
            Self::AckNow { sequence } => encode(kind::ACK_NOW, &Numbers(sequence, 0), out),
            Self::Pong { nonce } => encode(kind::PONG, &Numbers(nonce.into(), 0), out),
            Self::Joined { room, code, retry_after_ms } => {
                encode(kind::JOINED, &Room { room, code, retry_after_ms }, out);
            }
            Self::Left { room, code } => encode(kind::LEFT, &Room { room, code, retry_after_ms: 0 }, out),
            Self::Move(body) => encode_raw(kind::MOVE, body, out),
            Self::Pad { zeros } => encode(kind::PAD, &Pad { zeros }, out),
            Self::Warning { code, score } => encode(kind::WARNING, &Numbers(code.into(), score.into()), out),
            Self::Unknown => {}
        }
    }
}

/// Whether the body of a frame is a `Pad`. One that does not decode is none.
#[must_use]
pub fn is_pad(body: &[u8]) -> bool {
    // Nearly all others are told by their first byte.
    body.first() == Some(&PAD_TAG) && matches!(Frame::decode(body), Ok(Frame::Pad { .. }))
}

/// First byte of a `Pad`'s tag.
const PAD_TAG: u8 = (kind::PAD << 3 | 2) as u8 | 0x80;

/// Appends length and body of a `Welcome`.
pub fn encode_welcome(welcome: &proto::link::Welcome, out: &mut Vec<u8>) {
    encode_header(kind::WELCOME, welcome.encoded_len(), out);
    welcome.encode_raw(out);
}

impl<'b> Auth<'b> {
    fn decode(inner: &'b [u8]) -> Result<Self, Error> {
        let mut auth = Self::default();
        let mut dictionaries = 0;
        let mut fields = Fields::new(inner);
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Bytes(token)) => auth.token = at_most(token, TOKEN_LEN_MAX, "token")?,
                (2, Value::Bytes(user)) => auth.user = at_most(user, ID_LEN_MAX, "user")?,
                (3, Value::Bytes(device)) => auth.device = at_most(device, ID_LEN_MAX, "device")?,
                (4, Value::Bytes(resume)) => auth.resume = checked_resume(resume)?,
                (5, Value::Varint(interval)) => auth.heartbeat_ms = interval as u32,
                (6, Value::Bytes(agent)) => auth.agent = text(agent, AGENT_LEN_MAX, "agent")?,
                (7, Value::Bytes(proof)) => auth.signature = signature(proof)?,
                (8, Value::Bytes(dictionary)) => {
                    dictionaries += 1;
                    if dictionary.len() != HASH_LEN || dictionaries > DICTIONARIES_MAX {
                        return Err(Error::Field("dictionary"));
                    }
                }
                (9, Value::Varint(class)) => auth.class = class as u32,
                _ => {}
            }
        }
        required(auth.device, "device")?;
        Ok(auth)
    }
}

impl Message for Auth<'_> {
    fn fields(&self, to: &mut impl Sink) {
        to.bytes(1, self.token);
        to.bytes(2, self.user);
        to.bytes(3, self.device);
        to.bytes(4, self.resume);
        to.varint(5, self.heartbeat_ms.into());
        to.bytes(6, self.agent.as_bytes());
        to.bytes(7, self.signature);
        to.varint(9, self.class.into());
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
                (7, Value::Varint(compression)) => none_negotiated(compression)?,
                _ => {}
            }
        }
        request.id = id.ok_or(Error::Field("id"))?;
        required(request.route.as_bytes(), "route")?;
        Ok(request)
    }
}

impl Message for Request<'_> {
    fn fields(&self, to: &mut impl Sink) {
        to.bytes(1, &self.id);
        to.bytes(2, self.route.as_bytes());
        to.bytes(3, self.key);
        to.bytes(4, self.payload);
        to.varint(5, self.counter);
        to.varint(6, self.again.into());
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
}

impl Message for Close<'_> {
    fn fields(&self, to: &mut impl Sink) {
        to.varint(1, self.code.into());
        to.varint(2, self.retry_after_ms.into());
        to.varint(3, self.do_not_reconnect.into());
        to.bytes(4, self.text.as_bytes());
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
                (6, Value::Varint(compression)) => none_negotiated(compression)?,
                _ => {}
            }
        }
        response.id = id.ok_or(Error::Field("id"))?;
        Ok(response)
    }
}

impl Message for Response<'_> {
    fn fields(&self, to: &mut impl Sink) {
        to.bytes(1, &self.id);
        to.varint(2, self.outcome as u64);
        to.varint(3, self.code.into());
        to.varint(4, self.retry_after_ms.into());
        to.bytes(5, self.payload);
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
                (7, Value::Varint(compression)) => none_negotiated(compression)?,
                (8, Value::Varint(missed)) => push.missed = missed as u32,
                (9, Value::Varint(gap)) => push.gap = gap as u32,
                _ => {}
            }
        }
        Ok(push)
    }
}

impl Message for Push<'_> {
    fn fields(&self, to: &mut impl Sink) {
        to.varint(1, self.sequence);
        to.bytes(2, self.id);
        to.bytes(3, self.payload);
        to.varint(4, self.class.into());
        to.varint(5, self.again.into());
        to.bytes(6, self.room);
        to.varint(8, self.missed.into());
        to.varint(9, self.gap.into());
    }
}

/// The body of a `Resume`, which was looked at.
fn checked_resume(inner: &[u8]) -> Result<&[u8], Error> {
    Resume::decode(inner).map(|_| inner)
}

/// Payloads are compressed only where both ends have agreed on it, which this version never does.
fn none_negotiated(compression: u64) -> Result<(), Error> {
    if compression as u32 == 0 { Ok(()) } else { Err(Error::Field("compression")) }
}

/// What all frames about a room are: a name, and in those that answer a code.
struct Room<'b> {
    room: &'b [u8],
    code: u32,
    retry_after_ms: u32,
}

impl<'b> Room<'b> {
    fn decode(inner: &'b [u8]) -> Result<Self, Error> {
        let mut decoded = Self { room: &inner[..0], code: 0, retry_after_ms: 0 };
        let mut fields = Fields::new(inner);
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Bytes(bytes)) => decoded.room = at_most(bytes, ROOM_LEN_MAX, "room")?,
                (2, Value::Varint(value)) => decoded.code = value as u32,
                (3, Value::Varint(value)) => decoded.retry_after_ms = value as u32,
                _ => {}
            }
        }
        if decoded.room.is_empty() { Err(Error::Field("room")) } else { Ok(decoded) }
    }
}

impl Message for Room<'_> {
    fn fields(&self, to: &mut impl Sink) {
        to.bytes(1, self.room);
        to.varint(2, self.code.into());
        to.varint(3, self.retry_after_ms.into());
    }
}

/// What fills a record of a link or of a stream.
pub(super) struct Pad<'b> {
    pub(super) zeros: &'b [u8],
}

impl<'b> Pad<'b> {
    pub(super) fn decode(inner: &'b [u8]) -> Result<Self, Error> {
        let mut zeros = &inner[..0];
        let mut fields = Fields::new(inner);
        while let Some(field) = fields.next()? {
            if let (1, Value::Bytes(bytes)) = field {
                zeros = bytes;
            }
        }
        Ok(Self { zeros })
    }
}

impl Message for Pad<'_> {
    fn fields(&self, to: &mut impl Sink) {
        to.bytes(1, self.zeros);
    }
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
    pub(super) const PAD: u32 = 16;
    pub(super) const WARNING: u32 = 17;
}
