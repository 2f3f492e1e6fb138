//! Protobuf by hand, for bytes that no encoder writes.

use protocol::wire::varint;

/// A varint.
pub(crate) fn varint(value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    varint::encode(value, &mut out);
    out
}

/// A tag with any wire type.
pub(crate) fn tag(field: u32, wire_type: u32) -> Vec<u8> {
    varint(u64::from(field) << 3 | u64::from(wire_type))
}

/// A field of wire type 0.
pub(crate) fn number(field: u32, value: u64) -> Vec<u8> {
    [tag(field, 0), varint(value)].concat()
}

/// A field of wire type 2: bytes, a string or a message.
pub(crate) fn bytes(field: u32, value: &[u8]) -> Vec<u8> {
    [tag(field, 2), varint(value.len() as u64), value.to_vec()].concat()
}

/// A field of wire type 1.
pub(crate) fn fixed64(field: u32, value: u64) -> Vec<u8> {
    [tag(field, 1), value.to_le_bytes().to_vec()].concat()
}

/// A field of wire type 5.
pub(crate) fn fixed32(field: u32, value: u32) -> Vec<u8> {
    [tag(field, 5), value.to_le_bytes().to_vec()].concat()
}

/// A body with its length in front.
pub(crate) fn framed(body: &[u8]) -> Vec<u8> {
    [varint(body.len() as u64), body.to_vec()].concat()
}

/// The value in more bytes than it needs.
pub(crate) fn padded_varint(value: u8, len: usize) -> Vec<u8> {
    let mut out = vec![0x80; len];
    out[0] |= value;
    out[len - 1] &= 0x7f;
    out
}
