//! `link-frames.json`: every frame of a link, and what else a receiver has to read.

use prost::Message;
use prost::bytes::Bytes;
use protocol::Error;
use protocol::wire::frame::Frame;
use protocol::wire::proto::link::{self as proto, frame::Kind};

use crate::ends::{Link, State};
use crate::json::Json;
use crate::parts::{bytes, fixed32, fixed64, framed, number, padded_varint, tag};
use crate::schema::Schema;

const PROTO: &str = include_str!("../../proto/link.proto");
const ID: [u8; 16] = [0x1d; 16];

pub(crate) fn file() -> Json {
    let schema = Schema::parse(PROTO);
    let encoded: Vec<_> = cases().into_iter().map(|(name, kind)| show(&schema, name, kind)).collect();
    for (kind, number) in schema.kinds() {
        let of_kind = encoded.iter().filter(|case| case.get("kind") == Some(&kind.into()));
        assert!(of_kind.count() >= 2, "{kind} = {number} has its two cases");
    }
    Json::object([
        (
            "about",
            "Frames of links, SPEC.md, sections 7 and 9. fields has those that are written, by name; those not named have \
             their defaults. frame is length and body as they stand in the plaintext of records. direction is up, down \
             or both. decode has frames no encoder of ours writes: a receiver reads them as reads says, or skips them \
             and counts a glitch."
                .into(),
        ),
        ("frames", Json::List(encoded)),
        ("decode", Json::List(unusual().into_iter().map(|(name, frame)| read(&schema, name, &frame)).collect())),
    ])
}

fn b(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

fn cases() -> Vec<(&'static str, Kind)> {
    let mut all = least();
    all.extend(up());
    all.extend(down());
    all
}

/// Nothing but what is required.
fn least() -> Vec<(&'static str, Kind)> {
    let room = b(b"lobby");
    let kinds = [
        Kind::Auth(proto::Auth { device: b(b"phone"), ..Default::default() }),
        Kind::Request(proto::Request { id: b(&ID), route: "echo".into(), ..Default::default() }),
        Kind::Ack(proto::Ack::default()),
        Kind::Ping(proto::Ping::default()),
        Kind::Join(proto::Join { room: room.clone() }),
        Kind::Leave(proto::Leave { room: room.clone() }),
        Kind::Close(proto::Close::default()),
        Kind::Welcome(proto::Welcome::default()),
        Kind::Response(proto::Response { id: b(&ID), ..Default::default() }),
        Kind::Push(proto::Push::default()),
        Kind::AckNow(proto::AckNow::default()),
        Kind::Pong(proto::Pong::default()),
        Kind::Joined(proto::Joined { room: room.clone(), code: 0, retry_after_ms: 0 }),
        Kind::Left(proto::Left { room, code: 0 }),
        Kind::Move(proto::Move::default()),
        Kind::Pad(proto::Pad::default()),
        Kind::Warning(proto::Warning::default()),
    ];
    kinds.map(|kind| ("what is required alone", kind)).into()
}

/// Every field that this version writes or reads.
fn up() -> Vec<(&'static str, Kind)> {
    let resume =
        proto::Resume { session: b(&[0x5e; 16]), attempt: 3, last_sequence: 9, proof: b(&[0x9f; 32]) };
    let auth = proto::Auth {
        token: b(b"a token"),
        user: b(b"alice"),
        device: b(b"phone"),
        resume: Some(resume),
        heartbeat_ms: 90_000,
        agent: "app/1.0 \u{e9}".into(),
        signature: b(&[0x51; 64]),
        dictionary: vec![b(&[0xd1; 32]), b(&[0xd2; 32])],
        class: 1,
    };
    let request = proto::Request {
        id: b(&ID),
        route: "echo".into(),
        key: b(b"order-7"),
        payload: b(b"hello"),
        counter: 300,
        again: true,
        compression: 0,
    };
    let all = "all fields";
    vec![
        (all, Kind::Auth(auth)),
        (all, Kind::Request(request)),
        (all, Kind::Ack(proto::Ack { taken: 7, received: 9 })),
        (all, Kind::Ping(proto::Ping { nonce: 7, heartbeat_ms: 90_000 })),
        (all, Kind::Join(proto::Join { room: b(&[b'r'; 64]) })),
        (all, Kind::Leave(proto::Leave { room: b(&[0]) })),
        ("the largest numbers", Kind::Ack(proto::Ack { taken: u64::MAX, received: u64::MAX })),
        ("the largest number", Kind::Ping(proto::Ping { nonce: u32::MAX, heartbeat_ms: 0 })),
    ]
}

fn down() -> Vec<(&'static str, Kind)> {
    let response = proto::Response {
        id: b(&ID),
        outcome: proto::Outcome::Refused as i32,
        code: 1,
        retry_after_ms: 250,
        payload: b(b"later"),
        compression: 0,
    };
    let push = proto::Push {
        sequence: 5,
        id: b(b"message-1"),
        payload: b(b"hi"),
        class: 1,
        again: true,
        room: b(b"lobby"),
        compression: 0,
        missed: 2,
        gap: 3,
    };
    let unknown = proto::Response { outcome: proto::Outcome::Unknown as i32, code: 1, ..response.clone() };
    let all = "all fields";
    vec![
        (all, Kind::Welcome(welcome())),
        (all, Kind::Response(response)),
        ("outcome UNKNOWN", Kind::Response(unknown)),
        (all, Kind::Push(push)),
        (all, Kind::AckNow(proto::AckNow { sequence: 9 })),
        (all, Kind::Pong(proto::Pong { nonce: 7 })),
        (all, Kind::Joined(proto::Joined { room: b(b"lobby"), code: 9, retry_after_ms: 5 })),
        (all, Kind::Left(proto::Left { room: b(b"lobby"), code: 2 })),
        (
            all,
            Kind::Move(proto::Move {
                address: "gate.example:4433".into(),
                deadline_ms: 30_000,
                retry_after_ms: 5000,
            }),
        ),
        (all, Kind::Warning(proto::Warning { code: 15, score: 80 })),
        (
            all,
            Kind::Close(proto::Close {
                code: 9,
                retry_after_ms: 2000,
                do_not_reconnect: true,
                text: "the backend is away".into(),
            }),
        ),
        (all, Kind::Pad(proto::Pad { zeros: b(&[0; 20]) })),
        ("a length of two bytes", Kind::Pad(proto::Pad { zeros: b(&[0; 200]) })),
    ]
}

fn welcome() -> proto::Welcome {
    let ticket =
        |byte, expires_ms| proto::Ticket { ticket: b(&[byte; 40]), psk: b(&[byte | 0x0f; 32]), expires_ms };
    let key = |byte, not_before_ms, not_after_ms, suites| proto::ServerKey {
        key: b(&[byte; 32]),
        not_before_ms,
        not_after_ms,
        suites,
    };
    proto::Welcome {
        session: b(&[0x5e; 16]),
        secret: b(&[0x5c; 32]),
        resumed: true,
        tickets: vec![ticket(0x10, 1_700_043_200_000), ticket(0x20, 1_700_043_200_000)],
        server_keys: vec![key(0x30, 0, 1_700_086_400_000, 0x8a), key(0x40, 1_700_086_400_000, 0, 0x19e)],
        grant_requests: 32,
        grant_bytes: 262_144,
        heartbeat_ms: 120_000,
        heartbeat_min_ms: 60_000,
        heartbeat_max_ms: 300_000,
        time_ms: 1_700_000_000_000,
        last_sequence: 9,
        frame_len_max: 65_536,
        record_len_max: 16_384,
        user: b(b"alice"),
        dictionary: b(&[0xd1; 32]),
        auth_expires_ms: 1_700_086_400_000,
        suites: b(&[3, 1, 7]),
        key_set: b(&[0x4e; 72]),
    }
}

fn show(schema: &Schema, name: &str, kind: Kind) -> Json {
    let frame = proto::Frame { kind: Some(kind) };
    let (body, encoded) = (frame.encode_to_vec(), frame.encode_length_delimited_to_vec());
    let decoded = Frame::decode(&body).expect("a frame by the rules");
    let (kind, fields) = schema.frame(&body);
    assert_eq!(decoded.name(), kind);
    // Dictionaries are passed over; everything else is written as it was read.
    assert!(encoded == by_hand(&decoded) || kind == "auth", "{kind}: {decoded:?}");
    Json::object([
        ("kind", kind.into()),
        ("name", name.into()),
        ("direction", direction(&encoded).into()),
        ("fields", fields),
        ("length", body.len().into()),
        ("frame", Json::hex(encoded)),
    ])
}

fn by_hand(frame: &Frame<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    frame.encode(&mut out);
    out
}

/// Who takes it on an open link.
fn direction(frame: &[u8]) -> &'static str {
    let mut link = Link::at(State::Open);
    let (up, down) = (link.sealed_up(frame), link.sealed_down(frame));
    let takes = |told: Result<usize, Error>| match told {
        Ok(heard) => heard == 1,
        Err(Error::Unexpected(_)) => false,
        Err(error) => panic!("{error}"),
    };
    match (takes(link.tell_gateway(&up)), takes(link.tell_client(&down))) {
        (true, true) => "both",
        (true, false) => "up",
        (false, true) => "down",
        (false, false) => panic!("nobody takes it"),
    }
}

/// What no encoder of ours writes, and every receiver reads.
fn unusual() -> Vec<(&'static str, Vec<u8>)> {
    let (id, route, payload) = (bytes(1, &ID), bytes(2, b"echo"), bytes(4, b"hello"));
    let request = [&id[..], &route, &payload].concat();
    let ping = |inner: &[u8]| framed(&bytes(4, inner));
    let request_of = |parts: &[&[u8]]| framed(&bytes(2, &parts.concat()));
    let unknown = [number(99, 1), bytes(98, b"later"), fixed64(97, 1), fixed32(96, 1)].concat();
    let last_number = number((1 << 29) - 1, 1);
    vec![
        ("fields in another order", request_of(&[&payload, &route, &id])),
        ("unknown fields in the kind, of every wire type", request_of(&[&request, &unknown])),
        ("an unknown field between known ones", request_of(&[&id, &unknown, &route])),
        ("the largest field number", request_of(&[&request, &last_number])),
        ("unknown fields beside the kind", framed(&[&unknown[..], &bytes(2, &request)].concat())),
        ("unknown fields behind the kind", framed(&[&bytes(2, &request)[..], &unknown].concat())),
        ("defaults that are written", request_of(&[&request, &bytes(3, b""), &number(5, 0), &number(6, 0)])),
        ("a repeated field: the last one counts", ping(&[number(1, 1), number(1, 2)].concat())),
        ("a repeated field of bytes: the last one counts", {
            request_of(&[&id, &bytes(2, b"other"), &route, &bytes(4, b"other"), &payload])
        }),
        ("a repeated field: the last one is the default", ping(&[number(1, 1), number(1, 0)].concat())),
        ("a uint32 with a larger value: its low 32 bits count", ping(&number(1, (7 << 32) | 9))),
        ("the length of the frame in three bytes", [padded_varint(4, 3), bytes(4, &number(1, 7))].concat()),
        ("the length of the frame in ten bytes", [padded_varint(4, 10), bytes(4, &number(1, 7))].concat()),
        (
            "the tag of the kind in two bytes",
            framed(&[padded_varint(0x22, 2), vec![2], number(1, 7)].concat()),
        ),
        ("the length of the kind in two bytes", {
            framed(&[tag(4, 2), padded_varint(2, 2), number(1, 7)].concat())
        }),
        ("a tag of a field in five bytes", ping(&[padded_varint(0x08, 5), vec![7]].concat())),
        ("a value in ten bytes", ping(&[vec![0x08], padded_varint(7, 10)].concat())),
        ("an outcome of a later version counts as UNKNOWN", {
            framed(&bytes(9, &[bytes(1, &ID), number(2, 3)].concat()))
        }),
        ("a close code of a later version", framed(&bytes(7, &number(1, 999)))),
        ("a kind that nobody knows", framed(&bytes(18, b"later"))),
        ("a kind that nobody knows, empty", framed(&bytes(100, b""))),
        ("a field that is no kind", framed(&number(127, 1))),
    ]
}

/// A frame as its receiver reads it.
fn read(schema: &Schema, name: &str, frame: &[u8]) -> Json {
    let (_, prefix) = protocol::wire::varint::decode(frame).expect("a length").expect("a whole one");
    let body = &frame[prefix..];
    let decoded = Frame::decode(body).expect("a frame that can be read");
    let shown = Json::object([("name", name.into()), ("frame", Json::hex(frame))]);
    if decoded == Frame::Unknown {
        return shown.and([("reads", "glitch".into())]);
    }
    let normal = by_hand(&decoded);
    same_by_prost(body, &normal, name);
    let (_, prefix) = protocol::wire::varint::decode(&normal).expect("a length").expect("a whole one");
    let (kind, fields) = schema.frame(&normal[prefix..]);
    shown.and([("reads", Json::object([("kind", kind.into()), ("fields", fields)]))])
}

/// Prost reads the same, except that an enum keeps numbers it does not know.
fn same_by_prost(body: &[u8], normal: &[u8], name: &str) {
    let mut by_prost = proto::Frame::decode(body).expect("prost reads it, too");
    if let Some(Kind::Response(response)) = &mut by_prost.kind {
        response.outcome = response.outcome.min(proto::Outcome::Unknown as i32);
    }
    assert_eq!(by_prost.encode_length_delimited_to_vec(), normal, "{name}");
}
