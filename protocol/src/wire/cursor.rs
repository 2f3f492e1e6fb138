//! Protobuf fields, borrowed from the bytes they lie in and written without a detour.
//!
//! One level only: a message field comes out as its bytes. Groups are refused, as nothing of ours uses them.

use crate::error::Error;
use crate::wire::varint;

/// The value of a field as it stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug)]
pub struct Fields<'b> {
    rest: &'b [u8],
}

impl<'b> Fields<'b> {
    /// Over the body of a message.
    #[must_use]
    pub const fn new(body: &'b [u8]) -> Self {
        Self { rest: body }
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

/// Bytes of a varint field; 0 for the default value, which is not written.
#[must_use]
pub const fn varint_len(field: u32, value: u64) -> usize {
    if value == 0 { 0 } else { tag_len(field) + varint::len(value) }
}

/// Bytes of a fixed64 field; 0 for the default value, which is not written.
#[must_use]
pub const fn fixed64_len(field: u32, value: u64) -> usize {
    if value == 0 { 0 } else { tag_len(field) + 8 }
}

/// Bytes of a bytes field; 0 for the empty value, which is not written.
#[must_use]
pub const fn bytes_len(field: u32, value: &[u8]) -> usize {
    if value.is_empty() { 0 } else { message_len(field, value.len()) }
}

/// Bytes of a message field with `inner` bytes inside; written even when empty.
#[must_use]
pub const fn message_len(field: u32, inner: usize) -> usize {
    tag_len(field) + varint::len(inner as u64) + inner
}

/// Appends a varint field unless it has the default value.
pub fn put_varint(field: u32, value: u64, out: &mut Vec<u8>) {
    if value != 0 {
        varint::encode(u64::from(field << 3), out);
        varint::encode(value, out);
    }
}

/// Appends a fixed64 field unless it has the default value.
pub fn put_fixed64(field: u32, value: u64, out: &mut Vec<u8>) {
    if value != 0 {
        varint::encode(u64::from(field << 3 | 1), out);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// Appends a bytes field unless it is empty.
pub fn put_bytes(field: u32, value: &[u8], out: &mut Vec<u8>) {
    if !value.is_empty() {
        put_message_header(field, value.len(), out);
        out.extend_from_slice(value);
    }
}

/// Appends tag and length of a message field; the caller appends its `inner` bytes.
pub fn put_message_header(field: u32, inner: usize, out: &mut Vec<u8>) {
    varint::encode(u64::from(field << 3 | 2), out);
    varint::encode(inner as u64, out);
}

const fn tag_len(field: u32) -> usize {
    varint::len((field << 3) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_was_put() {
        let mut out = Vec::new();
        put_varint(1, 300, &mut out);
        put_bytes(2, b"abc", &mut out);
        put_fixed64(31, 7, &mut out);
        assert_eq!(out.len(), varint_len(1, 300) + bytes_len(2, b"abc") + fixed64_len(31, 7));
        let mut fields = Fields::new(&out);
        assert_eq!(fields.next(), Ok(Some((1, Value::Varint(300)))));
        assert_eq!(fields.next(), Ok(Some((2, Value::Bytes(b"abc")))));
        assert_eq!(fields.next(), Ok(Some((31, Value::Fixed64(7)))));
        assert_eq!(fields.next(), Ok(None));
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
