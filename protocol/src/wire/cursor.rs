//! Protobuf fields, borrowed from the bytes they lie in. Writing is the business of `wire/sink.rs`.
//!
//! One level only: a message field comes out as its bytes. Groups are refused, as nothing of ours uses them.

use crate::error::Error;
use crate::wire::varint;

/// The value of a field as it stands on the wire.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Value<'b> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1.
    Fixed64(u64),
    /// Wire type 2: bytes, string, message or packed numbers.
    Bytes(&'b [u8]),
    /// Wire type 5.
    Fixed32(u32),
}

/// Reads the fields of one message in order.
#[derive(Clone)]
pub struct Fields<'b> {
    rest: &'b [u8],
}

impl<'b> Fields<'b> {
    /// Over the body of a message.
    #[must_use]
    pub const fn new(body: &'b [u8]) -> Self {
        Self { rest: body }
    }

    /// What has not been read yet.
    pub(super) const fn rest(&self) -> &'b [u8] {
        self.rest
    }

    /// The next field's number and value, or `None` at the end.
    ///
    /// # Errors
    /// [`Error::FrameEncoding`] when the body ends inside a field, and for field number 0, groups and unknown
    /// wire types.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator of results would hide the end of the frame"
    )]
    pub fn next(&mut self) -> Result<Option<(u32, Value<'b>)>, Error> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = u32::try_from(self.varint()?).map_err(|_| Error::FrameEncoding)?;
        let field = tag >> 3;
        if field == 0 {
            return Err(Error::FrameEncoding);
        }
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let len = usize::try_from(self.varint()?).map_err(|_| Error::FrameEncoding)?;
                Value::Bytes(self.take(len)?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(Error::FrameEncoding),
        };
        Ok(Some((field, value)))
    }

    fn varint(&mut self) -> Result<u64, Error> {
        let (value, len) = varint::decode(self.rest)?.ok_or(Error::FrameEncoding)?;
        self.rest = &self.rest[len..];
        Ok(value)
    }

    fn take(&mut self, len: usize) -> Result<&'b [u8], Error> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Error::FrameEncoding)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(Error::FrameEncoding)?;
        self.rest = rest;
        Ok(*taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_fields_in_their_order() {
        let body = [
            0x08, 0xac, 0x02, 0x12, 3, b'a', b'b', b'c', 0xf9, 0x01, 7, 0, 0, 0, 0, 0, 0, 0, 0x1d, 9, 0, 0, 0,
        ];
        let mut fields = Fields::new(&body);
        assert_eq!(fields.next(), Ok(Some((1, Value::Varint(300)))));
        assert_eq!(fields.next(), Ok(Some((2, Value::Bytes(b"abc")))));
        assert_eq!(fields.next(), Ok(Some((31, Value::Fixed64(7)))));
        assert_eq!(fields.next(), Ok(Some((3, Value::Fixed32(9)))));
        assert_eq!(fields.next(), Ok(None));
    }

    #[test]
    fn field_numbers_end_below_two_to_the_29() {
        let last = [0xf8, 0xff, 0xff, 0xff, 0x0f, 1];
        assert_eq!(Fields::new(&last).next(), Ok(Some(((1 << 29) - 1, Value::Varint(1)))));
        assert_eq!(Fields::new(&[0x80, 0x80, 0x80, 0x80, 0x10, 1]).next(), Err(Error::FrameEncoding));
    }

    #[test]
    fn refuses_field_zero_groups_and_truncation() {
        for bad in
            [&[0x00, 0x01][..], &[0x0b], &[0x0c], &[0x0e], &[0x12, 0x05, b'a'], &[0x09, 1, 2], &[0x08, 0x80]]
        {
            assert_eq!(Fields::new(bad).next(), Err(Error::FrameEncoding), "{bad:02x?}");
        }
    }
}
