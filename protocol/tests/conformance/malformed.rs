//! `malformed.json`: what ends a link or a stream, and what a stream's receiver does about one frame instead.

use protocol::Error;

use crate::json::Json;
use crate::parts::{bytes, framed, number, tag};
use crate::{malformed_links, malformed_streams};

pub(crate) fn file() -> Json {
    Json::object([
        (
            "about",
            "Records and frames that break a rule of SPEC.md, sections 6, 7, 9 and 12, the error by its name in section \
             15 and the code of the Close that may go back; null is silence. A case ends as soon as the error can be \
             told: what is announced and would follow is not there. records is what travels, frames the plaintext in it. \
             An end whose protobuf library is milder may take what its library takes (7.2, 12)."
                .into(),
        ),
        ("links", malformed_links::show()),
        ("streams", malformed_streams::show()),
    ])
}

/// An error as section 15 has it, and what it is about.
pub(crate) fn show(error: Error) -> Json {
    let shown = Json::object([
        ("error", error.name().into()),
        ("close_code", error.close_code().map_or(Json::Null, |code| code.name().into())),
    ]);
    match error {
        Error::Field(name) => shown.and([("field", name.into())]),
        Error::Unexpected(name) => shown.and([("kind", name.into())]),
        _ => shown,
    }
}

/// Frames that cannot be read, around a kind with a number in field 1. The encoding is the same on links and streams.
pub(crate) fn encodings(kind: u32) -> Vec<(&'static str, Vec<u8>)> {
    let inner = |inner: &[u8]| framed(&bytes(kind, inner));
    let one = number(1, 7);
    let two = |other: u32| framed(&[bytes(kind, &one), bytes(other, &one)].concat());
    let long_varint = [vec![0x80; 10], vec![0]].concat();
    let large_varint = [vec![0xff; 9], vec![2]].concat();
    let field_2_to_the_29 = [vec![0x80, 0x80, 0x80, 0x80, 0x10], vec![1]].concat();
    vec![
        ("a frame of no bytes", vec![0]),
        ("a frame of no bytes, its length in two", vec![0x80, 0]),
        ("the length of a frame in eleven bytes", long_varint.clone()),
        ("the length of a frame does not fit 64 bits", large_varint.clone()),
        ("two kinds, the same one", two(kind)),
        ("two kinds, two different ones", two(kind + 1)),
        ("field number 0", inner(&[0x00, 1])),
        ("field number 0 beside the kind", framed(&[0x02, 0])),
        ("field number 2^29", inner(&field_2_to_the_29)),
        ("a group begins", inner(&tag(1, 3))),
        ("a group ends", inner(&tag(1, 4))),
        ("wire type 6", inner(&tag(1, 6))),
        ("wire type 7", inner(&tag(1, 7))),
        ("a group beside the kind", framed(&[bytes(kind, &one), tag(99, 3), tag(99, 4)].concat())),
        ("a group in an unknown field", inner(&[tag(99, 3), tag(99, 4)].concat())),
        ("a field of bytes runs over the end of its message", inner(&[tag(9, 2), vec![5, 1]].concat())),
        ("the kind runs over the end of the frame", framed(&[tag(kind, 2), vec![9], one.clone()].concat())),
        ("a length of 2^63 in a frame", inner(&[tag(9, 2), vec![0x80; 9], vec![1]].concat())),
        ("a tag, and no value", inner(&tag(1, 0))),
        ("a value that is not over", inner(&[tag(1, 0), vec![0x80]].concat())),
        ("a fixed64 of seven bytes", inner(&[tag(9, 1), vec![0; 7]].concat())),
        ("a fixed32 of three bytes", inner(&[tag(9, 5), vec![0; 3]].concat())),
        ("a value in eleven bytes", inner(&[tag(1, 0), long_varint].concat())),
        ("a value that does not fit 64 bits", inner(&[tag(1, 0), large_varint.clone()].concat())),
        ("a tag that does not fit 64 bits", inner(&large_varint)),
    ]
}

/// Frames of no kind that is known.
pub(crate) fn glitches(count: usize) -> Vec<u8> {
    framed(&number(127, 1)).repeat(count)
}
