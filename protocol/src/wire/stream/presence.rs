//! Stream frames about links and who is behind them: come, gone, let in, sent away.

use crate::error::Error;
use crate::limits::{
    AGENT_LEN_MAX, CLOSE_TEXT_LEN_MAX, ID_LEN_MAX, LIMIT_CLASS_LEN_MAX, LOGIN_LEN_MAX, REALM_LEN_MAX,
    TOKEN_LEN_MAX,
};
use crate::wire::cursor::{Fields, Value};
use crate::wire::field::{address, at_most, hash, required, session, signature, text};
use crate::wire::sink::{Message, Sink};

/// See `LinkOpened` in `proto/stream.proto`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkOpened<'b> {
    /// The link.
    pub link: u64,
    /// 1 to 64 bytes.
    pub user: &'b [u8],
    /// 1 to 64 bytes.
    pub device: &'b [u8],
    /// 16 bytes.
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
    /// Grows with every link of the user's device; 0 for not said.
    pub link_epoch: u64,
    /// Byte of the suite in which the user was proved; with a ticket another one than the link's.
    pub origin_suite: u32,
    /// The device's static key proved in it: 32 bytes, or empty.
    pub peer_key: &'b [u8],
    /// Class of the device; 0 for none.
    pub class: u32,
    /// At most 64 bytes; empty for the only one.
    pub realm: &'b str,
}

/// See `LinkClosed` in `proto/stream.proto`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkClosed<'b> {
    /// The link.
    pub link: u64,
    /// 1 to 64 bytes.
    pub user: &'b [u8],
    /// 1 to 64 bytes.
    pub device: &'b [u8],
    /// 16 bytes.
    pub session: &'b [u8],
    /// A [`CloseCode`](crate::CloseCode)'s number; 0 when the link just broke.
    pub code: u32,
    /// That of its [`LinkOpened`]; 0 for not said.
    pub link_epoch: u64,
}

/// See `Authenticate` in `proto/stream.proto`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Authenticate<'b> {
    /// Names the question on this stream.
    pub call: u64,
    /// The link.
    pub link: u64,
    /// At most 3,584 bytes.
    pub token: &'b [u8],
    /// 1 to 64 bytes.
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
    /// 64 bytes, or empty.
    pub signature: &'b [u8],
    /// Class of the device, the client's word; 0 for none.
    pub class: u32,
    /// At most 64 bytes; empty for the only one.
    pub realm: &'b str,
}

/// See `AuthResult` in `proto/stream.proto`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuthResult<'b> {
    /// The question's.
    pub call: u64,
    /// Whether the link may come in.
    pub accepted: bool,
    /// Who it is: 1 to 64 bytes when accepted.
    pub user: &'b [u8],
    /// Unix milliseconds of the token's end; 0: none.
    pub expires_ms: u64,
    /// When refused: the number of the [`CloseCode`](crate::CloseCode) to use.
    pub code: u32,
    /// Milliseconds to wait before connecting again.
    pub retry_after_ms: u32,
    /// When refused: the client must not come back by itself.
    pub do_not_reconnect: bool,
    /// Class of the device; 0 for none.
    pub class: u32,
    /// Class of account whose limits hold, at most 32 bytes.
    pub limit_class: &'b str,
    /// What the link may do; 0 for what the operator says.
    pub capabilities: u64,
    /// Milliseconds that tickets of this login are good for at most; 0 for what the operator says.
    pub ticket_ms: u32,
    /// Whether the login is to have no tickets.
    pub no_tickets: bool,
    /// The Ed25519 key the token is bound to: 32 bytes, or empty.
    pub bound_key: &'b [u8],
    /// Names the login, at most 64 bytes; empty for the token's hash.
    pub login: &'b [u8],
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
    /// With `user`: tickets of logins up to this moment are worth nothing any more.
    pub revoke: bool,
    /// At most 64 bytes; empty for the only one.
    pub realm: &'b str,
    /// With `user`: only the login of this name, on all devices, and it is worth nothing any more. At most 256 bytes; empty
    /// for none in particular.
    pub login: &'b [u8],
}

impl Kick<'_> {
    /// Whether it names exactly one target: a link, or a user.
    #[must_use]
    pub const fn has_one_target(&self) -> bool {
        (self.link != 0) == self.user.is_empty()
    }
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
                (4, Value::Bytes(id)) => opened.session = session(id)?,
                (5, Value::Bytes(bytes)) => opened.address = address(bytes)?,
                (6, Value::Varint(port)) => opened.port = port as u32,
                (7, Value::Varint(suite)) => opened.suite = suite as u32,
                (8, Value::Varint(login)) => opened.login_ms = login,
                (9, Value::Bytes(agent)) => opened.agent = text(agent, AGENT_LEN_MAX, "agent")?,
                (10, Value::Varint(epoch)) => opened.link_epoch = epoch,
                (11, Value::Varint(suite)) => opened.origin_suite = suite as u32,
                (12, Value::Bytes(key)) => opened.peer_key = hash(key, "peer_key")?,
                (13, Value::Varint(class)) => opened.class = class as u32,
                (14, Value::Bytes(realm)) => opened.realm = text(realm, REALM_LEN_MAX, "realm")?,
                _ => {}
            }
        }
        required(opened.user, "user")?;
        required(opened.device, "device")?;
        required(opened.session, "session")?;
        Ok(opened)
    }
}

impl Message for LinkOpened<'_> {
    fn fields(&self, to: &mut impl Sink) {
        to.fixed64(1, self.link);
        to.bytes(2, self.user);
        to.bytes(3, self.device);
        to.bytes(4, self.session);
        to.bytes(5, self.address);
        to.varint(6, self.port.into());
        to.varint(7, self.suite.into());
        to.varint(8, self.login_ms);
        to.bytes(9, self.agent.as_bytes());
        to.varint(10, self.link_epoch);
        to.varint(11, self.origin_suite.into());
        to.bytes(12, self.peer_key);
        to.varint(13, self.class.into());
        to.bytes(14, self.realm.as_bytes());
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
                (4, Value::Bytes(id)) => closed.session = session(id)?,
                (5, Value::Varint(code)) => closed.code = code as u32,
                (6, Value::Varint(epoch)) => closed.link_epoch = epoch,
                _ => {}
            }
        }
        required(closed.user, "user")?;
        required(closed.device, "device")?;
        required(closed.session, "session")?;
        Ok(closed)
    }
}

impl Message for LinkClosed<'_> {
    fn fields(&self, to: &mut impl Sink) {
        to.fixed64(1, self.link);
        to.bytes(2, self.user);
        to.bytes(3, self.device);
        to.bytes(4, self.session);
        to.varint(5, self.code.into());
        to.varint(6, self.link_epoch);
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
                (6, Value::Bytes(bytes)) => ask.handshake = hash(bytes, "handshake")?,
                (7, Value::Bytes(key)) => ask.peer_key = hash(key, "peer_key")?,
                (8, Value::Varint(suite)) => ask.suite = suite as u32,
                (9, Value::Bytes(bytes)) => ask.address = address(bytes)?,
                (10, Value::Varint(deadline)) => ask.deadline_ms = deadline as u32,
                (11, Value::Bytes(proof)) => ask.signature = signature(proof)?,
                (12, Value::Varint(class)) => ask.class = class as u32,
                (13, Value::Bytes(realm)) => ask.realm = text(realm, REALM_LEN_MAX, "realm")?,
                _ => {}
            }
        }
        required(ask.device, "device")?;
        required(ask.handshake, "handshake")?;
        Ok(ask)
    }
}

impl Message for Authenticate<'_> {
    fn fields(&self, to: &mut impl Sink) {
        to.varint(1, self.call);
        to.fixed64(2, self.link);
        to.bytes(3, self.token);
        to.bytes(4, self.device);
        to.bytes(5, self.user);
        to.bytes(6, self.handshake);
        to.bytes(7, self.peer_key);
        to.varint(8, self.suite.into());
        to.bytes(9, self.address);
        to.varint(10, self.deadline_ms.into());
        to.bytes(11, self.signature);
        to.varint(12, self.class.into());
        to.bytes(13, self.realm.as_bytes());
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
                (7, Value::Varint(flag)) => result.do_not_reconnect = flag != 0,
                (8, Value::Varint(class)) => result.class = class as u32,
                (9, Value::Bytes(class)) => {
                    result.limit_class = text(class, LIMIT_CLASS_LEN_MAX, "limit_class")?;
                }
                (10, Value::Varint(capabilities)) => result.capabilities = capabilities,
                (11, Value::Varint(time)) => result.ticket_ms = time as u32,
                (12, Value::Varint(flag)) => result.no_tickets = flag != 0,
                (13, Value::Bytes(key)) => result.bound_key = hash(key, "bound_key")?,
                (14, Value::Bytes(login)) => result.login = at_most(login, ID_LEN_MAX, "login")?,
                _ => {}
            }
        }
        if result.accepted {
            required(result.user, "user")?;
        }
        Ok(result)
    }
}

impl Message for AuthResult<'_> {
    fn fields(&self, to: &mut impl Sink) {
        to.varint(1, self.call);
        to.varint(2, self.accepted.into());
        to.bytes(3, self.user);
        to.varint(4, self.expires_ms);
        to.varint(5, self.code.into());
        to.varint(6, self.retry_after_ms.into());
        to.varint(7, self.do_not_reconnect.into());
        to.varint(8, self.class.into());
        to.bytes(9, self.limit_class.as_bytes());
        to.varint(10, self.capabilities);
        to.varint(11, self.ticket_ms.into());
        to.varint(12, self.no_tickets.into());
        to.bytes(13, self.bound_key);
        to.bytes(14, self.login);
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
                (6, Value::Varint(flag)) => kick.revoke = flag != 0,
                (7, Value::Bytes(realm)) => kick.realm = text(realm, REALM_LEN_MAX, "realm")?,
                (8, Value::Bytes(login)) => kick.login = at_most(login, LOGIN_LEN_MAX, "login")?,
                _ => {}
            }
        }
        Ok(kick)
    }
}

impl Message for Kick<'_> {
    fn fields(&self, to: &mut impl Sink) {
        to.fixed64(1, self.link);
        to.bytes(2, self.user);
        to.bytes(3, self.device);
        to.varint(4, self.code.into());
        to.varint(5, self.do_not_reconnect.into());
        to.varint(6, self.revoke.into());
        to.bytes(7, self.realm.as_bytes());
        to.bytes(8, self.login);
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
}

impl Message for Close<'_> {
    fn fields(&self, to: &mut impl Sink) {
        to.varint(1, self.code.into());
        to.varint(2, self.retry_after_ms.into());
        to.bytes(3, self.text.as_bytes());
    }
}
