//! Stream frames about sessions between two links: one is lost, another one takes its place.
//!
//! Both carry a list. It is checked when its frame is decoded, and read from the frame's own bytes when somebody asks for
//! it; to be written it is lent as a slice.

use std::fmt;

use crate::error::Error;
use crate::limits::UNACKNOWLEDGED_MAX;
use crate::wire::cursor::{Fields, Value};
use crate::wire::field::{required, session};
use crate::wire::sink::{Message, Sink};
use crate::wire::varint;

/// See `LinkDetached` in `proto/stream.proto`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkDetached<'b> {
    /// The link that is lost.
    pub link: u64,
    /// The session that waits for another one: 16 bytes.
    pub session: &'b [u8],
    /// Unix milliseconds of the end of the resume window.
    pub until_ms: u64,
    /// Numbers of this stream's pushes that are not acknowledged yet: the first of them, at most 64.
    pub unacknowledged: Unacknowledged<'b>,
    /// Grows with every link of the user's device; 0 for not said.
    pub link_epoch: u64,
    /// How many are not acknowledged.
    pub unacknowledged_count: u32,
}

/// Numbers of pushes.
#[derive(Clone, Copy)]
pub struct Unacknowledged<'b>(Numbers<'b>);

#[derive(Clone, Copy)]
enum Numbers<'b> {
    /// Body of a `LinkDetached` whose numbers can all be read.
    Read(&'b [u8]),
    /// To be written.
    Lent(&'b [u64]),
}

impl<'b> Unacknowledged<'b> {
    /// Of `numbers` the first 64.
    #[must_use]
    pub fn of(numbers: &'b [u64]) -> Self {
        Self(Numbers::Lent(&numbers[..numbers.len().min(UNACKNOWLEDGED_MAX)]))
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = u64> + Clone + use<'b> {
        let (read, lent) = match self.0 {
            Numbers::Read(body) => (body, &[][..]),
            Numbers::Lent(numbers) => (&[][..], numbers),
        };
        Packed::new(read).chain(lent.iter().copied())
    }

    /// In the body of a `LinkDetached`, where they may come packed or not, and in several parts.
    fn decode(inner: &'b [u8]) -> Result<Self, Error> {
        let (mut count, mut fields) = (0, Fields::new(inner));
        while let Some(field) = fields.next()? {
            count += match field {
                (UNACKNOWLEDGED, Value::Varint(_)) => 1,
                (UNACKNOWLEDGED, Value::Bytes(packed)) => count_varints(packed)?,
                _ => 0,
            };
        }
        if count > UNACKNOWLEDGED_MAX {
            return Err(Error::Field("unacknowledged"));
        }
        Ok(Self(Numbers::Read(inner)))
    }
}

impl Default for Unacknowledged<'_> {
    fn default() -> Self {
        Self(Numbers::Lent(&[]))
    }
}

impl PartialEq for Unacknowledged<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Unacknowledged<'_> {}

impl fmt::Debug for Unacknowledged<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Numbers in a body that was checked.
#[derive(Clone)]
struct Packed<'b> {
    fields: Fields<'b>,
    packed: &'b [u8],
}

impl<'b> Packed<'b> {
    const fn new(body: &'b [u8]) -> Self {
        Self { fields: Fields::new(body), packed: &[] }
    }
}

impl Iterator for Packed<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        while self.packed.is_empty() {
            match self.fields.next().ok()?? {
                (UNACKNOWLEDGED, Value::Varint(number)) => return Some(number),
                (UNACKNOWLEDGED, Value::Bytes(packed)) => self.packed = packed,
                _ => {}
            }
        }
        let (number, len) = varint::decode(self.packed).ok()??;
        self.packed = &self.packed[len..];
        Some(number)
    }
}

impl<'b> LinkDetached<'b> {
    pub(super) fn decode(inner: &'b [u8]) -> Result<Self, Error> {
        let mut detached = Self { unacknowledged: Unacknowledged::decode(inner)?, ..Self::default() };
        let mut fields = Fields::new(inner);
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Fixed64(link)) => detached.link = link,
                (2, Value::Bytes(id)) => detached.session = session(id)?,
                (3, Value::Varint(until)) => detached.until_ms = until,
                (5, Value::Varint(epoch)) => detached.link_epoch = epoch,
                (6, Value::Varint(count)) => detached.unacknowledged_count = count as u32,
                _ => {}
            }
        }
        required(detached.session, "session")?;
        Ok(detached)
    }
}

impl Message for LinkDetached<'_> {
    fn fields(&self, to: &mut impl Sink) {
        to.fixed64(1, self.link);
        to.bytes(2, self.session);
        to.varint(3, self.until_ms);
        to.packed(UNACKNOWLEDGED, self.unacknowledged.iter());
        to.varint(5, self.link_epoch);
        to.varint(6, self.unacknowledged_count.into());
    }
}

/// See `LinkResumed` in `proto/stream.proto`.
#[derive(Clone, Copy)]
pub struct LinkResumed<'b>(Links<'b>);

#[derive(Clone, Copy)]
enum Links<'b> {
    /// Body of a `LinkResumed` whose links can all be read.
    Read(&'b [u8]),
    /// To be written.
    Lent(&'b [Resumed]),
}

/// A session that goes on with another link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resumed {
    /// The link it had.
    pub old_link: u64,
    /// The link it has now.
    pub link: u64,
    /// Grows with every link of the user's device; 0 for not said.
    pub link_epoch: u64,
}

impl<'b> LinkResumed<'b> {
    /// Of all of these; [`RESUMED_MAX`](crate::limits::RESUMED_MAX) of them fit into a frame that every peer takes.
    #[must_use]
    pub const fn of(links: &'b [Resumed]) -> Self {
        Self(Links::Lent(links))
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = Resumed> + Clone + use<'b> {
        let (read, lent) = match self.0 {
            Links::Read(body) => (body, &[][..]),
            Links::Lent(links) => (&[][..], links),
        };
        Entries(Fields::new(read)).chain(lent.iter().copied())
    }

    pub(super) fn decode(inner: &'b [u8]) -> Result<Self, Error> {
        let mut fields = Fields::new(inner);
        while let Some(field) = fields.next()? {
            if let (LINKS, Value::Bytes(entry)) = field {
                Resumed::decode(entry)?;
            }
        }
        Ok(Self(Links::Read(inner)))
    }
}

impl PartialEq for LinkResumed<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for LinkResumed<'_> {}

impl fmt::Debug for LinkResumed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Message for LinkResumed<'_> {
    fn fields(&self, to: &mut impl Sink) {
        self.iter().for_each(|resumed| to.message(LINKS, &resumed));
    }
}

/// Links in a body that was checked.
#[derive(Clone)]
struct Entries<'b>(Fields<'b>);

impl Iterator for Entries<'_> {
    type Item = Resumed;

    fn next(&mut self) -> Option<Resumed> {
        loop {
            if let (LINKS, Value::Bytes(entry)) = self.0.next().ok()?? {
                return Resumed::decode(entry).ok();
            }
        }
    }
}

impl Resumed {
    fn decode(entry: &[u8]) -> Result<Self, Error> {
        let mut resumed = Self::default();
        let mut fields = Fields::new(entry);
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Fixed64(link)) => resumed.old_link = link,
                (2, Value::Fixed64(link)) => resumed.link = link,
                (3, Value::Varint(epoch)) => resumed.link_epoch = epoch,
                _ => {}
            }
        }
        Ok(resumed)
    }
}

impl Message for Resumed {
    fn fields(&self, to: &mut impl Sink) {
        to.fixed64(1, self.old_link);
        to.fixed64(2, self.link);
        to.varint(3, self.link_epoch);
    }
}

/// How many whole varints stand behind each other.
fn count_varints(mut packed: &[u8]) -> Result<usize, Error> {
    let mut count = 0;
    while !packed.is_empty() {
        let (_, len) = varint::decode(packed)?.ok_or(Error::FrameEncoding)?;
        packed = &packed[len..];
        count += 1;
    }
    Ok(count)
}

/// Field of the numbers in `LinkDetached`.
const UNACKNOWLEDGED: u32 = 4;
/// Field of the links in `LinkResumed`.
const LINKS: u32 = 1;
