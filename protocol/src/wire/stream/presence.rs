//! Stream frames about links and who is behind them: come, gone, let in, sent away.

use super::kind;
use crate::error::Error;
use crate::limits::{AGENT_LEN_MAX, CLOSE_TEXT_LEN_MAX, ID_LEN_MAX, SESSION_ID_LEN, TOKEN_LEN_MAX};
use crate::wire::cursor::{
    Fields, Value, bytes_len, fixed64_len, put_bytes, put_fixed64, put_varint, varint_len,
};
use crate::wire::frame::{at_most, encode_header, text};

/// Longest address: IPv6.
const ADDRESS_LEN_MAX: usize = 16;
/// A handshake hash and a public key.
const HASH_LEN_MAX: usize = 32;
/// Longest proof of possession.
const SIGNATURE_LEN_MAX: usize = 64;

/// See `LinkOpened` in `proto/stream.proto`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkOpened<'b> {
    /// The link.
    pub link: u64,
    /// At most 64 bytes.
    pub user: &'b [u8],
    /// At most 64 bytes.
    pub device: &'b [u8],
    /// At most 16 bytes.
    pub session: &'b [u8],
    /// 4 or 16 bytes; empty on a Unix socket.
    pub address: &'b [u8],
    /// The peer's port.
    pub port: u32,
    /// The link's suite byte.
    pub suite: u32,
    /// Unix milliseconds of the login.
    pub login_ms: u64,
    /// At most 64 bytes.
    pub agent: &'b str,
}

/// See `LinkClosed` in `proto/stream.proto`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkClosed<'b> {
    /// The link.
    pub link: u64,
    /// At most 64 bytes.
    pub user: &'b [u8],
    /// At most 64 bytes.
    pub device: &'b [u8],
    /// At most 16 bytes.
    pub session: &'b [u8],
    /// A [`CloseCode`](crate::CloseCode)'s number; 0 when the link just broke.
    pub code: u32,
}

/// See `Authenticate` in `proto/stream.proto`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Authenticate<'b> {
    /// Names the question on this stream.
    pub call: u64,
    /// The link.
    pub link: u64,
    /// At most 2048 bytes.
    pub token: &'b [u8],
    /// At most 64 bytes.
    pub device: &'b [u8],
    /// As claimed by the client, at most 64 bytes; may be empty.
    pub user: &'b [u8],
    /// The handshake hash, 32 bytes.
    pub handshake: &'b [u8],
    /// The device's static key, 32 bytes, or empty.
    pub peer_key: &'b [u8],
    /// The link's suite byte.
    pub suite: u32,
    /// 4 or 16 bytes; empty on a Unix socket.
    pub address: &'b [u8],
    /// Milliseconds the gateway will wait.
    pub deadline_ms: u32,
    /// At most 64 bytes.
    pub signature: &'b [u8],
}

/// See `AuthResult` in `proto/stream.proto`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuthResult<'b> {
    /// The question's.
    pub call: u64,
    /// Whether the link may come in.
    pub accepted: bool,
    /// Who it is, at most 64 bytes.
    pub user: &'b [u8],
    /// Unix milliseconds of the token's end; 0: none.
    pub expires_ms: u64,
    /// When refused: the number of the [`CloseCode`](crate::CloseCode) to use.
    pub code: u32,
    /// Milliseconds to wait before connecting again.
    pub retry_after_ms: u32,
}

/// See `Kick` in `proto/stream.proto`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kick<'b> {
    /// The link; 0 for all links of `user`.
    pub link: u64,
    /// At most 64 bytes.
    pub user: &'b [u8],
    /// Only this device, at most 64 bytes; empty for all.
    pub device: &'b [u8],
    /// A [`CloseCode`](crate::CloseCode)'s number.
    pub code: u32,
    /// The client must not come back by itself.
    pub do_not_reconnect: bool,
}

/// See `Close` in `proto/stream.proto`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Close<'b> {
    /// A [`CloseCode`](crate::CloseCode)'s number.
    pub code: u32,
    /// Milliseconds to wait before dialling again.
    pub retry_after_ms: u32,
    /// For a developer's eye, at most 128 bytes.
    pub text: &'b str,
}

impl<'b> LinkOpened<'b> {
    pub(super) fn decode(inner: &'b [u8]) -> Result<Self, Error> {
        let mut opened = Self::default();
        let mut fields = Fields::new(inner);
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Fixed64(link)) => opened.link = link,
                (2, Value::Bytes(user)) => opened.user = at_most(user, ID_LEN_MAX, "user")?,
                (3, Value::Bytes(device)) => opened.device = at_most(device, ID_LEN_MAX, "device")?,
                (4, Value::Bytes(id)) => opened.session = at_most(id, SESSION_ID_LEN, "session")?,
                (5, Value::Bytes(address)) => {
                    opened.address = at_most(address, ADDRESS_LEN_MAX, "address")?;
                }
                (6, Value::Varint(port)) => opened.port = port as u32,
                (7, Value::Varint(suite)) => opened.suite = suite as u32,
                (8, Value::Varint(login)) => opened.login_ms = login,
                (9, Value::Bytes(agent)) => opened.agent = text(agent, AGENT_LEN_MAX, "agent")?,
                _ => {}
            }
        }
        Ok(opened)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let inner = fixed64_len(1, self.link)
            + bytes_len(2, self.user)
            + bytes_len(3, self.device)
            + bytes_len(4, self.session)
            + bytes_len(5, self.address)
            + varint_len(6, self.port.into())
            + varint_len(7, self.suite.into())
            + varint_len(8, self.login_ms)
            + bytes_len(9, self.agent.as_bytes());
        encode_header(kind::LINK_OPENED, inner, out);
        put_fixed64(1, self.link, out);
        put_bytes(2, self.user, out);
        put_bytes(3, self.device, out);
        put_bytes(4, self.session, out);
        put_bytes(5, self.address, out);
        put_varint(6, self.port.into(), out);
        put_varint(7, self.suite.into(), out);
        put_varint(8, self.login_ms, out);
        put_bytes(9, self.agent.as_bytes(), out);
    }
}

impl<'b> LinkClosed<'b> {
    pub(super) fn decode(inner: &'b [u8]) -> Result<Self, Error> {
        let mut closed = Self::default();
        let mut fields = Fields::new(inner);
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Fixed64(link)) => closed.link = link,
                (2, Value::Bytes(user)) => closed.user = at_most(user, ID_LEN_MAX, "user")?,
                (3, Value::Bytes(device)) => closed.device = at_most(device, ID_LEN_MAX, "device")?,
                (4, Value::Bytes(id)) => closed.session = at_most(id, SESSION_ID_LEN, "session")?,
                (5, Value::Varint(code)) => closed.code = code as u32,
                _ => {}
            }
        }
        Ok(closed)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let inner = fixed64_len(1, self.link)
            + bytes_len(2, self.user)
            + bytes_len(3, self.device)
            + bytes_len(4, self.session)
            + varint_len(5, self.code.into());
        encode_header(kind::LINK_CLOSED, inner, out);
        put_fixed64(1, self.link, out);
        put_bytes(2, self.user, out);
        put_bytes(3, self.device, out);
        put_bytes(4, self.session, out);
        put_varint(5, self.code.into(), out);
    }
}

impl<'b> Authenticate<'b> {
    pub(super) fn decode(inner: &'b [u8]) -> Result<Self, Error> {
        let mut ask = Self::default();
        let mut fields = Fields::new(inner);
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Varint(call)) => ask.call = call,
                (2, Value::Fixed64(link)) => ask.link = link,
                (3, Value::Bytes(token)) => ask.token = at_most(token, TOKEN_LEN_MAX, "token")?,
                (4, Value::Bytes(device)) => ask.device = at_most(device, ID_LEN_MAX, "device")?,
                (5, Value::Bytes(user)) => ask.user = at_most(user, ID_LEN_MAX, "user")?,
                (6, Value::Bytes(hash)) => ask.handshake = at_most(hash, HASH_LEN_MAX, "handshake")?,
                (7, Value::Bytes(key)) => ask.peer_key = at_most(key, HASH_LEN_MAX, "peer_key")?,
                (8, Value::Varint(suite)) => ask.suite = suite as u32,
                (9, Value::Bytes(address)) => ask.address = at_most(address, ADDRESS_LEN_MAX, "address")?,
                (10, Value::Varint(deadline)) => ask.deadline_ms = deadline as u32,
                (11, Value::Bytes(proof)) => ask.signature = at_most(proof, SIGNATURE_LEN_MAX, "signature")?,
                _ => {}
            }
        }
        Ok(ask)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let inner = varint_len(1, self.call)
            + fixed64_len(2, self.link)
            + bytes_len(3, self.token)
            + bytes_len(4, self.device)
            + bytes_len(5, self.user)
            + bytes_len(6, self.handshake)
            + bytes_len(7, self.peer_key)
            + varint_len(8, self.suite.into())
            + bytes_len(9, self.address)
            + varint_len(10, self.deadline_ms.into())
            + bytes_len(11, self.signature);
        encode_header(kind::AUTHENTICATE, inner, out);
        put_varint(1, self.call, out);
        put_fixed64(2, self.link, out);
        put_bytes(3, self.token, out);
        put_bytes(4, self.device, out);
        put_bytes(5, self.user, out);
        put_bytes(6, self.handshake, out);
        put_bytes(7, self.peer_key, out);
        put_varint(8, self.suite.into(), out);
        put_bytes(9, self.address, out);
        put_varint(10, self.deadline_ms.into(), out);
        put_bytes(11, self.signature, out);
    }
}

impl<'b> AuthResult<'b> {
    pub(super) fn decode(inner: &'b [u8]) -> Result<Self, Error> {
        let mut result = Self::default();
        let mut fields = Fields::new(inner);
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Varint(call)) => result.call = call,
                (2, Value::Varint(accepted)) => result.accepted = accepted != 0,
                (3, Value::Bytes(user)) => result.user = at_most(user, ID_LEN_MAX, "user")?,
                (4, Value::Varint(expires)) => result.expires_ms = expires,
                (5, Value::Varint(code)) => result.code = code as u32,
                (6, Value::Varint(after)) => result.retry_after_ms = after as u32,
                _ => {}
            }
        }
        Ok(result)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let inner = varint_len(1, self.call)
            + varint_len(2, self.accepted.into())
            + bytes_len(3, self.user)
            + varint_len(4, self.expires_ms)
            + varint_len(5, self.code.into())
            + varint_len(6, self.retry_after_ms.into());
        encode_header(kind::AUTH_RESULT, inner, out);
        put_varint(1, self.call, out);
        put_varint(2, self.accepted.into(), out);
        put_bytes(3, self.user, out);
        put_varint(4, self.expires_ms, out);
        put_varint(5, self.code.into(), out);
        put_varint(6, self.retry_after_ms.into(), out);
    }
}

impl<'b> Kick<'b> {
    pub(super) fn decode(inner: &'b [u8]) -> Result<Self, Error> {
        let mut kick = Self::default();
        let mut fields = Fields::new(inner);
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Fixed64(link)) => kick.link = link,
                (2, Value::Bytes(user)) => kick.user = at_most(user, ID_LEN_MAX, "user")?,
                (3, Value::Bytes(device)) => kick.device = at_most(device, ID_LEN_MAX, "device")?,
                (4, Value::Varint(code)) => kick.code = code as u32,
                (5, Value::Varint(flag)) => kick.do_not_reconnect = flag != 0,
                _ => {}
            }
        }
        Ok(kick)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let inner = fixed64_len(1, self.link)
            + bytes_len(2, self.user)
            + bytes_len(3, self.device)
            + varint_len(4, self.code.into())
            + varint_len(5, self.do_not_reconnect.into());
        encode_header(kind::KICK, inner, out);
        put_fixed64(1, self.link, out);
        put_bytes(2, self.user, out);
        put_bytes(3, self.device, out);
        put_varint(4, self.code.into(), out);
        put_varint(5, self.do_not_reconnect.into(), out);
    }
}

impl<'b> Close<'b> {
    pub(super) fn decode(inner: &'b [u8]) -> Result<Self, Error> {
        let mut close = Self::default();
        let mut fields = Fields::new(inner);
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Varint(code)) => close.code = code as u32,
                (2, Value::Varint(after)) => close.retry_after_ms = after as u32,
                (3, Value::Bytes(bytes)) => close.text = text(bytes, CLOSE_TEXT_LEN_MAX, "text")?,
                _ => {}
            }
        }
        Ok(close)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let inner = varint_len(1, self.code.into())
            + varint_len(2, self.retry_after_ms.into())
            + bytes_len(3, self.text.as_bytes());
        encode_header(kind::CLOSE, inner, out);
        put_varint(1, self.code.into(), out);
        put_varint(2, self.retry_after_ms.into(), out);
        put_bytes(3, self.text.as_bytes(), out);
    }
}
