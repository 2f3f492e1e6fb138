//! `stream-frames.json`: every frame of a stream, and what else a receiver has to read.

use prost::Message;
use protocol::Error;
use protocol::wire::proto::stream::{self as proto, frame::Kind};
use protocol::wire::stream::{Rare, StreamFrame};
use protocol::wire::varint;

use crate::ends::{Stream, Told, clear_record};
use crate::json::Json;
use crate::parts::{bytes, fixed64, framed, number, padded_varint};
use crate::schema::Schema;
use crate::stream_cases::{ID, LINK, SESSION, all, least};

const PROTO: &str = include_str!("../../proto/stream.proto");

pub(crate) fn file() -> Json {
    let schema = Schema::parse(PROTO);
    let cases = [least(), all()].concat();
    let encoded: Vec<_> = cases.into_iter().map(|(name, kind)| show(&schema, name, kind)).collect();
    for (kind, number) in schema.kinds() {
        let of_kind = encoded.iter().filter(|case| case.get("kind") == Some(&kind.into()));
        let wanted = if kind == "announced" { 1 } else { 2 };
        assert!(of_kind.count() >= wanted, "{kind} = {number} has its cases");
    }
    Json::object([
        (
            "about",
            "Frames of streams, SPEC.md, sections 7 and 12. fields has those that are written, by name; those not named \
             have their defaults. frame is length and body as they stand in the plaintext of records. direction is up \
             (gateway to backend), down or both. decode has frames no encoder of ours writes: a receiver reads them as \
             reads says, or skips them and counts a glitch."
                .into(),
        ),
        ("frames", Json::List(encoded)),
        ("decode", Json::List(unusual().into_iter().map(|(name, frame)| read(&schema, name, &frame)).collect())),
    ])
}

fn show(schema: &Schema, name: &str, kind: Kind) -> Json {
    let frame = proto::Frame { kind: Some(kind) };
    let (body, encoded) = (frame.encode_to_vec(), frame.encode_length_delimited_to_vec());
    let decoded = StreamFrame::decode(&body).expect("a frame by the rules");
    let (kind, fields) = schema.frame(&body);
    assert_eq!(decoded.name(), kind);
    assert!(!matches!(decoded, StreamFrame::Flawed(_)), "{kind}: {decoded:?}");
    // Fields that are not served yet are passed over in these; everything else is written as it was read.
    let is_lossy = matches!(kind.as_str(), "push" | "report");
    assert!(encoded == by_hand(&decoded) || is_lossy, "{kind}: {decoded:?}");
    Json::object([
        ("kind", kind.into()),
        ("name", name.into()),
        ("direction", direction(&encoded, &decoded).into()),
        ("fields", fields),
        ("length", body.len().into()),
        ("frame", Json::hex(encoded)),
    ])
}

fn by_hand(frame: &StreamFrame<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    frame.encode(&mut out);
    out
}

/// Who takes it: on an open stream, or as the first frame.
fn direction(frame: &[u8], decoded: &StreamFrame<'_>) -> &'static str {
    let is_first = matches!(decoded, StreamFrame::Rare(Rare::Hello | Rare::Ready, _));
    let mut stream = if is_first { Stream::opening() } else { Stream::open() };
    let record = clear_record(frame);
    let takes = |told: Result<Vec<Told>, Error>| match told {
        Ok(told) => told.len() == 1,
        Err(Error::Unexpected(_)) => false,
        Err(error) => panic!("{}: {error}", decoded.name()),
    };
    match (takes(stream.tell_backend(&record)), takes(stream.tell_gateway(&record))) {
        (true, true) => "both",
        (true, false) => "up",
        (false, true) => "down",
        (false, false) => panic!("nobody takes {}", decoded.name()),
    }
}

/// What no encoder of ours writes, and every receiver reads. More of it is in `link-frames.json`: the encoding is the same.
fn unusual() -> Vec<(&'static str, Vec<u8>)> {
    let request = [
        number(1, 3),
        fixed64(2, LINK),
        bytes(3, &ID),
        bytes(4, b"alice"),
        bytes(5, b"phone"),
        bytes(6, b"echo"),
    ];
    let reversed: Vec<u8> = request.iter().rev().flatten().copied().collect();
    let request = request.concat();
    let detached = |more: &[u8]| framed(&bytes(10, &[&bytes(2, &SESSION)[..], more].concat()));
    let push = |more: &[u8]| framed(&bytes(3, &[&number(1, 4)[..], &fixed64(2, LINK), more].concat()));
    vec![
        ("fields in another order", framed(&bytes(1, &reversed))),
        ("an unknown field in the kind", framed(&bytes(1, &[&request[..], &bytes(99, b"later")].concat()))),
        ("an unknown field beside the kind", framed(&[&bytes(1, &request)[..], &number(99, 1)].concat())),
        ("a repeated fixed64: the last one counts", push(&fixed64(2, LINK + 1))),
        (
            "a repeated field of bytes: the last one counts",
            push(&[bytes(7, b"one"), bytes(7, b"two")].concat()),
        ),
        ("a uint32 with a larger value: its low 32 bits count", push(&number(8, (7 << 32) | 1))),
        ("a value in ten bytes", framed(&bytes(5, &[vec![0x08], padded_varint(7, 10)].concat()))),
        ("the tag of a kind above 15 in three bytes", {
            framed(&[vec![0xb2, 0x81, 0x00], vec![0]].concat())
        }),
        ("an outcome of a later version counts as PUSH_UNKNOWN", {
            framed(&bytes(7, &[number(1, 4), number(2, 3)].concat()))
        }),
        ("a report of a device of 65 bytes is one of no device", {
            framed(&bytes(7, &[number(1, 4), number(4, 9), bytes(5, &[b'd'; 65])].concat()))
        }),
        ("a report of a user of 65 bytes is one of no user", {
            framed(&bytes(7, &[number(1, 4), number(4, 9), bytes(8, &[b'u'; 65])].concat()))
        }),
        ("numbers that are not packed", detached(&[number(4, 5), number(4, 0), number(4, 300)].concat())),
        ("numbers packed and not", detached(&[bytes(4, &[5, 0]), number(4, 300), bytes(4, &[])].concat())),
        ("a kind that nobody knows", framed(&bytes(33, b"later"))),
        ("a kind that nobody knows, empty", framed(&bytes(1000, b""))),
        ("a field that is no kind", framed(&number(127, 1))),
    ]
}

/// A frame as its receiver reads it.
fn read(schema: &Schema, name: &str, frame: &[u8]) -> Json {
    let body = body(frame);
    let decoded = StreamFrame::decode(body).expect("a frame that can be read");
    let shown = Json::object([("name", name.into()), ("frame", Json::hex(frame))]);
    if decoded == StreamFrame::Unknown {
        return shown.and([("reads", "glitch".into())]);
    }
    let normal = by_hand(&decoded);
    same_by_prost(body, &normal, name);
    let (kind, fields) = schema.frame(self::body(&normal));
    shown.and([("reads", Json::object([("kind", kind.into()), ("fields", fields)]))])
}

fn body(frame: &[u8]) -> &[u8] {
    let (_, prefix) = varint::decode(frame).expect("a length").expect("a whole one");
    &frame[prefix..]
}

/// Prost reads the same, except that an enum keeps numbers it does not know, and a report names that are too long.
fn same_by_prost(body: &[u8], normal: &[u8], name: &str) {
    let mut by_prost = proto::Frame::decode(body).expect("prost reads it, too");
    if let Some(Kind::Report(report)) = &mut by_prost.kind {
        report.outcome = report.outcome.min(proto::PushOutcome::PushUnknown as i32);
        let names = [&mut report.device, &mut report.user].into_iter();
        names.filter(|name| name.len() > 64).for_each(|name| name.clear());
    }
    assert_eq!(by_prost.encode_length_delimited_to_vec(), normal, "{name}");
}
