//! Frames with a bad field about one link: whom they concern, so that the others of the stream need not pay for it.

use super::kind;
use crate::error::Error;
use crate::wire::cursor::{Fields, Value};

/// A frame about one link or its user that has a field out of its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flawed {
    /// What it was about.
    pub about: About,
    /// Which field.
    pub field: &'static str,
    /// Length of its payload, which costs credit; `None` in frames that cost none.
    pub payload_len: Option<usize>,
}

/// Whom a frame concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// A request, by its call.
    Request(u64),
    /// A push, by its number.
    Push(u64),
    /// A question about a token, by its call.
    Authenticate(u64),
    /// A verdict, by the call of its question.
    AuthResult(u64),
    /// What is told of a link, by its id.
    Presence(u64),
    /// Links to be closed: one by its id; or, if that is 0, those of a user.
    Kick(u64),
    /// Somebody to be kept out.
    Ban,
    /// Somebody to be let in again.
    Unban,
    /// Somebody to be slowed down.
    Throttle,
}

impl Flawed {
    /// Whom a frame with a bad field is about. Where that is nobody, the field is an error of the stream.
    pub(super) fn find(kind: u32, inner: &[u8], field: &'static str) -> Result<Self, Error> {
        // Call, number or link, which all stand first; and where the payload stands.
        let (about, payload): (fn(u64) -> About, u32) = match kind {
            kind::REQUEST => (About::Request, 8),
            kind::PUSH => (About::Push, 7),
            kind::AUTHENTICATE => (About::Authenticate, 0),
            kind::AUTH_RESULT => (About::AuthResult, 0),
            kind::LINK_OPENED | kind::LINK_DETACHED | kind::LINK_CLOSED => (About::Presence, 0),
            kind::KICK => (About::Kick, 0),
            kind::BAN => (|_| About::Ban, 0),
            kind::UNBAN => (|_| About::Unban, 0),
            kind::THROTTLE => (|_| About::Throttle, 0),
            _ => return Err(Error::Field(field)),
        };
        let (mut first, mut payload_len) = (0, (payload != 0).then_some(0));
        let mut fields = Fields::new(inner);
        while let Some((number, value)) = fields.next()? {
            match value {
                Value::Varint(value) | Value::Fixed64(value) if number == 1 => first = value,
                Value::Bytes(bytes) if number == payload => payload_len = Some(bytes.len()),
                _ => {}
            }
        }
        Ok(Self { about: about(first), field, payload_len })
    }
}

impl About {
    /// The frame's name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Request(_) => "request",
            Self::Push(_) => "push",
            Self::Authenticate(_) => "authenticate",
            Self::AuthResult(_) => "auth_result",
            Self::Presence(_) => "presence",
            Self::Kick(_) => "kick",
            Self::Ban => "ban",
            Self::Unban => "unban",
            Self::Throttle => "throttle",
        }
    }
}
