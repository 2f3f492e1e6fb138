//! Frames by which a backend keeps somebody out, lets it in again, or slows it down.

use crate::error::Error;
use crate::limits::{BAN_REASON_LEN_MAX, ID_LEN_MAX, IP_LEN_MAX, REALM_LEN_MAX};
use crate::wire::cursor::{Fields, Value};
use crate::wire::field::{at_most, text};
use crate::wire::sink::{Message, Sink};

/// Whom it concerns: exactly one of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom<'b> {
    /// A user, 1 to 64 bytes.
    User(&'b [u8]),
    /// All addresses that begin like this one.
    Addresses {
        /// 4 or 16 bytes.
        prefix: &'b [u8],
        /// Bits of it that count, 1 to all.
        prefix_len: u32,
    },
}

/// See `Ban` in `proto/stream.proto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ban<'b> {
    /// Who is to stay out.
    pub whom: Whom<'b>,
    /// Unix milliseconds of its end; 0: none.
    pub until_ms: u64,
    /// For operators, at most 128 bytes.
    pub reason: &'b str,
    /// At most 64 bytes; empty for the only one.
    pub realm: &'b str,
}

/// See `Unban` in `proto/stream.proto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unban<'b> {
    /// Whose ban ends: exactly the one of this user or prefix.
    pub whom: Whom<'b>,
    /// At most 64 bytes; empty for the only one.
    pub realm: &'b str,
}

/// See `Throttle` in `proto/stream.proto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttle<'b> {
    /// Whose rates.
    pub whom: Whom<'b>,
    /// Hundredths of the rates that hold otherwise, 1 to 100; 100 ends it.
    pub percent: u32,
    /// Unix milliseconds of its end; 0: none.
    pub until_ms: u64,
    /// At most 64 bytes; empty for the only one.
    pub realm: &'b str,
}

/// The three fields that say whom, as they are found.
#[derive(Clone, Copy, Default)]
struct Named<'b> {
    user: &'b [u8],
    prefix: &'b [u8],
    prefix_len: u64,
}

impl<'b> Named<'b> {
    /// Looks at a field; whether it is one of the three.
    fn take(&mut self, number: u32, value: Value<'b>) -> Result<bool, Error> {
        match (number, value) {
            (1, Value::Bytes(user)) => self.user = at_most(user, ID_LEN_MAX, "user")?,
            (2, Value::Bytes(prefix)) if matches!(prefix.len(), 0 | 4 | IP_LEN_MAX) => self.prefix = prefix,
            (2, Value::Bytes(_)) => return Err(Error::Field("prefix")),
            (3, Value::Varint(len)) => self.prefix_len = len,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn whom(self) -> Result<Whom<'b>, Error> {
        let prefix_len = self.prefix_len as u32;
        match (self.user, self.prefix) {
            (user, []) if !user.is_empty() && prefix_len == 0 => Ok(Whom::User(user)),
            ([], prefix) if !prefix.is_empty() => {
                let is_within = (1..=8 * prefix.len()).contains(&(prefix_len as usize));
                if is_within {
                    Ok(Whom::Addresses { prefix, prefix_len })
                } else {
                    Err(Error::Field("prefix_len"))
                }
            }
            (_, []) if prefix_len != 0 => Err(Error::Field("prefix_len")),
            _ => Err(Error::Field("target")),
        }
    }
}

impl Whom<'_> {
    fn fields(&self, to: &mut impl Sink) {
        match *self {
            Self::User(user) => to.bytes(1, user),
            Self::Addresses { prefix, prefix_len } => {
                to.bytes(2, prefix);
                to.varint(3, prefix_len.into());
            }
        }
    }
}

impl<'b> Ban<'b> {
    pub(super) fn decode(inner: &'b [u8]) -> Result<Self, Error> {
        let (mut named, mut until_ms, mut reason, mut realm) = (Named::default(), 0, "", "");
        let mut fields = Fields::new(inner);
        while let Some((number, value)) = fields.next()? {
            match (number, value) {
                _ if named.take(number, value)? => {}
                (4, Value::Varint(until)) => until_ms = until,
                (5, Value::Bytes(bytes)) => reason = text(bytes, BAN_REASON_LEN_MAX, "reason")?,
                (6, Value::Bytes(bytes)) => realm = text(bytes, REALM_LEN_MAX, "realm")?,
                _ => {}
            }
        }
        Ok(Self { whom: named.whom()?, until_ms, reason, realm })
    }
}

impl Message for Ban<'_> {
    fn fields(&self, to: &mut impl Sink) {
        self.whom.fields(to);
        to.varint(4, self.until_ms);
        to.bytes(5, self.reason.as_bytes());
        to.bytes(6, self.realm.as_bytes());
    }
}

impl<'b> Unban<'b> {
    pub(super) fn decode(inner: &'b [u8]) -> Result<Self, Error> {
        let (mut named, mut realm) = (Named::default(), "");
        let mut fields = Fields::new(inner);
        while let Some((number, value)) = fields.next()? {
            match (number, value) {
                _ if named.take(number, value)? => {}
                (4, Value::Bytes(bytes)) => realm = text(bytes, REALM_LEN_MAX, "realm")?,
                _ => {}
            }
        }
        Ok(Self { whom: named.whom()?, realm })
    }
}

impl Message for Unban<'_> {
    fn fields(&self, to: &mut impl Sink) {
        self.whom.fields(to);
        to.bytes(4, self.realm.as_bytes());
    }
}

impl<'b> Throttle<'b> {
    pub(super) fn decode(inner: &'b [u8]) -> Result<Self, Error> {
        let (mut named, mut percent, mut until_ms, mut realm) = (Named::default(), 0, 0, "");
        let mut fields = Fields::new(inner);
        while let Some((number, value)) = fields.next()? {
            match (number, value) {
                _ if named.take(number, value)? => {}
                (4, Value::Varint(hundredths)) => percent = hundredths as u32,
                (5, Value::Varint(until)) => until_ms = until,
                (6, Value::Bytes(bytes)) => realm = text(bytes, REALM_LEN_MAX, "realm")?,
                _ => {}
            }
        }
        let whom = named.whom()?;
        if !(1..=100).contains(&percent) {
            return Err(Error::Field("percent"));
        }
        Ok(Self { whom, percent, until_ms, realm })
    }
}

impl Message for Throttle<'_> {
    fn fields(&self, to: &mut impl Sink) {
        self.whom.fields(to);
        to.varint(4, self.percent.into());
        to.varint(5, self.until_ms);
        to.bytes(6, self.realm.as_bytes());
    }
}
