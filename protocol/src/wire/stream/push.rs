//! Messages of backends for links, users and rooms.
//!
//! A push may name several users. They are checked when its frame is decoded, and read from the frame's own bytes when
//! somebody asks for them; to be written they are lent as a slice.

use std::fmt;

use prost::bytes::Bytes;

use crate::error::Error;
use crate::limits::{
    ID_LEN_MAX, KEY_LEN_MAX, PACKAGE_ID_LEN_MAX, PUSH_ID_LEN_MAX, REALM_LEN_MAX, ROOM_LEN_MAX, USERS_MAX,
};
use crate::wire::cursor::{Fields, Value};
use crate::wire::field::{at_most, required, text};
use crate::wire::sink::{Message, Sink};

/// See `Push` in `proto/stream.proto`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct StreamPush<'b> {
    /// Names the push; 0 wants no report.
    pub number: u64,
    /// The link it is for; 0 when it is for somebody else.
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
    /// Class of delivery; 0 at most once, 1 at least once.
    pub class: u32,
    /// The users it is for, each of 1 to 64 bytes, at most 256; none when it is for somebody else.
    pub users: Users<'b>,
    /// Milliseconds after which a push of class 1 is undelivered; 0 for what the gateway is configured to.
    pub ttl_ms: u32,
    /// Which part of a package it is, if it is one.
    pub package: Option<Package<'b>>,
    /// At most 64 bytes; empty for the only one.
    pub realm: &'b str,
    /// Kinds of targets it names that this version does not serve: several rooms, the node. Read only.
    pub unserved_targets: u8,
}

/// A part's place in a package: see `Package` in `proto/stream.proto`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Package<'b> {
    /// Names the package, 1 to 16 bytes.
    pub id: &'b [u8],
    /// Of this part, from 0; below `count`.
    pub index: u32,
    /// How many parts there are, at least 1.
    pub count: u32,
    /// What becomes of the others where one is missing: 1 drops them, any other number delivers them.
    pub on_gap: u32,
}

/// Several users.
#[derive(Clone, Copy)]
pub struct Users<'b>(List<'b>);

#[derive(Clone, Copy)]
enum List<'b> {
    /// Body of a push whose users keep their bounds.
    Read { body: &'b [u8], len: usize },
    /// To be written.
    Lent(&'b [Bytes]),
}

impl StreamPush<'_> {
    /// How many targets it names; one is right.
    #[must_use]
    pub fn targets(&self) -> u32 {
        let served = [self.link != 0, !self.user.is_empty(), !self.room.is_empty(), !self.users.is_empty()];
        served.into_iter().map(u32::from).sum::<u32>() + self.unserved_targets.count_ones()
    }
}

impl Package<'_> {
    /// Whether its other parts are dropped where one is missing.
    #[must_use]
    pub const fn drops_on_gap(&self) -> bool {
        self.on_gap == 1
    }
}

impl<'b> Users<'b> {
    /// Of `users` the first 256. Each is to have 1 to 64 bytes; an empty one is left out when they are written.
    #[must_use]
    pub fn of(users: &'b [Bytes]) -> Self {
        Self(List::Lent(&users[..users.len().min(USERS_MAX)]))
    }

    /// How many.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self.0 {
            List::Read { len, .. } => len,
            List::Lent(users) => users.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = &'b [u8]> + Clone + use<'b> {
        let (body, lent) = match self.0 {
            List::Read { body, len } if len > 0 => (body, &[][..]),
            List::Read { .. } => (&[][..], &[][..]),
            List::Lent(users) => (&[][..], users),
        };
        Read(Fields::new(body)).chain(lent.iter().map(|user| &user[..]))
    }
}

impl Default for Users<'_> {
    fn default() -> Self {
        Self(List::Lent(&[]))
    }
}

impl PartialEq for Users<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Users<'_> {}

impl fmt::Debug for Users<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Users in a body that was checked.
#[derive(Clone)]
struct Read<'b>(Fields<'b>);

impl<'b> Iterator for Read<'b> {
    type Item = &'b [u8];

    fn next(&mut self) -> Option<&'b [u8]> {
        loop {
            if let (USERS, Value::Bytes(user)) = self.0.next().ok()?? {
                return Some(user);
            }
        }
    }
}

impl<'b> StreamPush<'b> {
    pub(super) fn decode(inner: &'b [u8]) -> Result<Self, Error> {
        let mut push = Self::default();
        let mut len = 0;
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
                (USERS, Value::Bytes(user)) => {
                    required(at_most(user, ID_LEN_MAX, "users")?, "users")?;
                    len += 1;
                }
                (10, Value::Varint(ttl)) => push.ttl_ms = ttl as u32,
                (11, Value::Bytes(room)) => {
                    at_most(room, ROOM_LEN_MAX, "rooms")?;
                    push.unserved_targets |= 1;
                }
                (13, Value::Bytes(package)) => push.package.get_or_insert_default().merge(package)?,
                (14, Value::Varint(1..)) => push.unserved_targets |= 2,
                (15, Value::Bytes(key)) => _ = at_most(key, KEY_LEN_MAX, "coalesce")?,
                (16, Value::Bytes(realm)) => push.realm = text(realm, REALM_LEN_MAX, "realm")?,
                _ => {}
            }
        }
        if len > USERS_MAX {
            return Err(Error::Field("users"));
        }
        push.package.map_or(Ok(()), |package| package.check())?;
        push.users = Users(List::Read { body: inner, len });
        Ok(push)
    }
}

impl<'b> Package<'b> {
    fn merge(&mut self, inner: &'b [u8]) -> Result<(), Error> {
        let mut fields = Fields::new(inner);
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Bytes(id)) => self.id = id,
                (2, Value::Varint(index)) => self.index = index as u32,
                (3, Value::Varint(count)) => self.count = count as u32,
                (4, Value::Varint(on_gap)) => self.on_gap = on_gap as u32,
                _ => {}
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Error> {
        let is_named = (1..=PACKAGE_ID_LEN_MAX).contains(&self.id.len());
        if is_named && self.index < self.count { Ok(()) } else { Err(Error::Field("package")) }
    }
}

impl Message for StreamPush<'_> {
    fn fields(&self, to: &mut impl Sink) {
        to.varint(1, self.number);
        to.fixed64(2, self.link);
        to.bytes(3, self.user);
        to.bytes(4, self.room);
        to.bytes(5, self.device);
        to.bytes(6, self.id);
        to.bytes(7, self.payload);
        to.varint(8, self.class.into());
        self.users.iter().for_each(|user| to.bytes(USERS, user));
        to.varint(10, self.ttl_ms.into());
        if let Some(package) = &self.package {
            to.message(13, package);
        }
        to.bytes(16, self.realm.as_bytes());
    }
}

impl Message for Package<'_> {
    fn fields(&self, to: &mut impl Sink) {
        to.bytes(1, self.id);
        to.varint(2, self.index.into());
        to.varint(3, self.count.into());
        to.varint(4, self.on_gap.into());
    }
}

/// Number of the field that is there once for each user.
const USERS: u32 = 9;
