//! Fields on their way out. A message names its fields once, in [`Message::fields`]; they are run through a [`Sink`] that
//! counts their bytes, for the length in front, and then through one that writes them.
//!
//! ```text
//!   frame = length ‖ tag of the kind ‖ length of the message ‖ its fields
//!           └────── need the count ──────────────────────┘    └ written
//! ```

use crate::wire::varint;

/// Takes the fields of a message, one after the other. Fields with their default value are left out.
pub(super) trait Sink {
    /// A field of wire type 0.
    fn varint(&mut self, field: u32, value: u64);
    /// A field of wire type 1.
    fn fixed64(&mut self, field: u32, value: u64);
    /// A field of wire type 2.
    fn bytes(&mut self, field: u32, value: &[u8]);
    /// Repeated numbers, behind each other in one field of wire type 2.
    fn packed(&mut self, field: u32, values: impl Iterator<Item = u64> + Clone);
    /// One of a repeated message, which is there also when all of its fields have their default values.
    fn message(&mut self, field: u32, value: &impl Message);
}

/// What can be written as the fields of a message.
pub(super) trait Message {
    /// Runs every field through `to`, in the order of the numbers.
    fn fields(&self, to: &mut impl Sink);

    /// Bytes of all fields together.
    fn len(&self) -> usize {
        let mut count = Count(0);
        self.fields(&mut count);
        count.0
    }
}

/// Bytes of a frame's body: one kind with a message of this length.
pub(super) const fn body_len(kind: u32, message_len: usize) -> usize {
    tag_len(kind) + varint::len(message_len as u64) + message_len
}

/// Appends a whole frame of one kind.
pub(super) fn encode(kind: u32, message: &impl Message, out: &mut Vec<u8>) {
    encode_header(kind, message.len(), out);
    message.fields(&mut Write(out));
}

/// Appends a whole frame whose message is there as its bytes.
pub(super) fn encode_raw(kind: u32, message: &[u8], out: &mut Vec<u8>) {
    encode_header(kind, message.len(), out);
    out.extend_from_slice(message);
}

/// Appends a frame's length, and tag and length of its kind; the caller appends the message of this length.
pub(super) fn encode_header(kind: u32, message_len: usize, out: &mut Vec<u8>) {
    varint::encode(body_len(kind, message_len) as u64, out);
    varint::encode(u64::from(kind << 3 | 2), out);
    varint::encode(message_len as u64, out);
}

pub(super) struct Count(pub(super) usize);

impl Sink for Count {
    fn varint(&mut self, field: u32, value: u64) {
        self.0 += if value == 0 { 0 } else { tag_len(field) + varint::len(value) };
    }

    fn fixed64(&mut self, field: u32, value: u64) {
        self.0 += if value == 0 { 0 } else { tag_len(field) + 8 };
    }

    fn bytes(&mut self, field: u32, value: &[u8]) {
        self.0 += if value.is_empty() { 0 } else { body_len(field, value.len()) };
    }

    fn packed(&mut self, field: u32, values: impl Iterator<Item = u64> + Clone) {
        let len = packed_len(values);
        self.0 += if len == 0 { 0 } else { body_len(field, len) };
    }

    fn message(&mut self, field: u32, value: &impl Message) {
        self.0 += body_len(field, value.len());
    }
}

/// Appends fields.
pub(super) struct Write<'o>(pub(super) &'o mut Vec<u8>);

impl Sink for Write<'_> {
    fn varint(&mut self, field: u32, value: u64) {
        if value != 0 {
            varint::encode(u64::from(field << 3), self.0);
            varint::encode(value, self.0);
        }
    }

    fn fixed64(&mut self, field: u32, value: u64) {
        if value != 0 {
            varint::encode(u64::from(field << 3 | 1), self.0);
            self.0.extend_from_slice(&value.to_le_bytes());
        }
    }

    fn bytes(&mut self, field: u32, value: &[u8]) {
        if !value.is_empty() {
            self.header(field, value.len());
            self.0.extend_from_slice(value);
        }
    }

    fn packed(&mut self, field: u32, values: impl Iterator<Item = u64> + Clone) {
        let len = packed_len(values.clone());
        if len != 0 {
            self.header(field, len);
            values.for_each(|value| varint::encode(value, self.0));
        }
    }

    fn message(&mut self, field: u32, value: &impl Message) {
        self.header(field, value.len());
        value.fields(self);
    }
}

impl Write<'_> {
    /// Tag and length of a field of wire type 2.
    fn header(&mut self, field: u32, len: usize) {
        varint::encode(u64::from(field << 3 | 2), self.0);
        varint::encode(len as u64, self.0);
    }
}

/// Numbers 1 and 2 of the many messages that have no more.
pub(super) struct Numbers(pub(super) u64, pub(super) u64);

impl Message for Numbers {
    fn fields(&self, to: &mut impl Sink) {
        to.varint(1, self.0);
        to.varint(2, self.1);
    }
}

fn packed_len(values: impl Iterator<Item = u64>) -> usize {
    values.map(varint::len).sum()
}

const fn tag_len(field: u32) -> usize {
    varint::len((field << 3) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::cursor::{Fields, Value};

    struct Everything;

    impl Message for Everything {
        fn fields(&self, to: &mut impl Sink) {
            to.varint(1, 300);
            to.varint(2, 0);
            to.bytes(3, b"abc");
            to.bytes(4, b"");
            to.fixed64(31, 7);
            to.fixed64(32, 0);
            to.packed(33, [5, 0, 300].into_iter());
            to.packed(34, [].into_iter());
            to.message(35, &Numbers(9, 0));
            to.message(36, &Numbers(0, 0));
        }
    }

    #[test]
    fn what_is_counted_is_written_and_defaults_are_not() {
        let mut out = b"before".to_vec();
        encode(16, &Everything, &mut out);
        let inner = Everything.len();
        assert_eq!(out[6..][..4], [body_len(16, inner) as u8, 0x82, 0x01, inner as u8]);
        assert_eq!(out.len(), 6 + 1 + body_len(16, inner));
        let mut fields = Fields::new(&out[10..]);
        assert_eq!(fields.next(), Ok(Some((1, Value::Varint(300)))));
        assert_eq!(fields.next(), Ok(Some((3, Value::Bytes(b"abc")))));
        assert_eq!(fields.next(), Ok(Some((31, Value::Fixed64(7)))));
        assert_eq!(fields.next(), Ok(Some((33, Value::Bytes(&[5, 0, 0xac, 2])))));
        assert_eq!(fields.next(), Ok(Some((35, Value::Bytes(&[8, 9])))));
        assert_eq!(fields.next(), Ok(Some((36, Value::Bytes(&[])))), "an empty message is there");
        assert_eq!(fields.next(), Ok(None));
    }
}
