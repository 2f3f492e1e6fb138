//! Frames of a link, by both decoders: ours and prost's.

use std::fmt::Debug;
use std::ops::RangeInclusive;

use protocol::Error;
use protocol::wire::cursor::{Fields, Value};
use protocol::wire::frame::{Auth, Close, Frame, Outcome, Ping, Push, Request, Response, encode_welcome};
use protocol::wire::proto::link::frame::Kind;
use protocol::wire::proto::link::{self as proto, Welcome};
use protocol::wire::varint;

use super::Seed;

/// The body of this target: 1 when the bytes are a frame of a known kind.
pub fn run(body: &[u8]) -> usize {
    let merged = is_resume_repeated(body);
    let ours = Frame::decode(body).map(|frame| {
        let mut encoded = Vec::new();
        frame.encode(&mut encoded);
        let encoded = unframed(&encoded);
        if frame != Frame::Unknown {
            assert_eq!(Frame::decode(&encoded), Ok(frame), "what was written is read as something else");
        }
        let borrowed = match frame {
            Frame::Auth(auth) => merged || !auth.resume.is_empty(),
            Frame::Welcome(_) | Frame::Move(_) => true,
            _ => false,
        };
        Read { encoded, borrowed }
    });
    agree(body, &ours, 1..=15, |frame: &mut proto::Frame| normal(frame, merged));
    usize::from(ours.is_ok_and(|read| !read.encoded.is_empty()))
}

/// What one of our decoders made of a body.
pub(super) struct Read {
    /// The frame, written again, without its length.
    pub(super) encoded: Vec<u8>,
    /// Part of it is a message that was lent as it stood and not looked into.
    pub(super) borrowed: bool,
}

/// Holds our reading of `body` against prost's. SPEC.md, section 7.2, lists what may differ:
///
/// * one kind per frame (prost takes the last, or merges), and no groups: ours refuses;
/// * bounds of fields, which protobuf does not know: ours refuses;
/// * a known field of another wire type: ours skips it, prost refuses;
/// * messages inside that ours lends without looking into them: only prost refuses what is broken in there.
///
/// `normal` takes out of prost's struct what our version does not read.
pub(super) fn agree<M: prost::Message + Default + PartialEq + Debug>(
    body: &[u8],
    ours: &Result<Read, Error>,
    kinds: RangeInclusive<u32>,
    normal: impl Fn(&mut M),
) {
    match (ours, M::decode(body)) {
        (Ok(read), Ok(mut theirs)) => {
            let mut again = M::decode(&read.encoded[..]).expect("what was written can be read");
            assert!(
                read.borrowed || again.encode_to_vec() == read.encoded,
                "there is one way to write a frame"
            );
            normal(&mut again);
            normal(&mut theirs);
            assert_eq!(again, theirs, "{body:02x?}");
        }
        (Ok(read), Err(error)) => {
            assert!(read.borrowed || error.to_string().contains("wire type"), "{body:02x?}: {error}");
        }
        (Err(Error::FrameEncoding), Ok(_)) => {
            let group = body.iter().any(|byte| matches!(byte & 7, 3 | 4));
            assert!(group || count_kinds(body, kinds) > 1, "{body:02x?} was refused");
        }
        (Err(Error::FrameEncoding), Err(_)) | (Err(Error::Field(_)), _) => {}
        (Err(other), _) => panic!("{other:?} is no error of a frame"),
    }
}

/// A frame without its length.
pub(super) fn unframed(encoded: &[u8]) -> Vec<u8> {
    let Ok(Some((len, prefix))) = varint::decode(encoded) else { return Vec::new() };
    assert_eq!(len as usize, encoded.len() - prefix, "the length is that of the body");
    encoded[prefix..].to_vec()
}

fn count_kinds(body: &[u8], kinds: RangeInclusive<u32>) -> usize {
    let (mut fields, mut count) = (Fields::new(body), 0);
    while let Ok(Some((field, value))) = fields.next() {
        count += usize::from(kinds.contains(&field) && matches!(value, Value::Bytes(_)));
    }
    count
}

/// Of a repeated message prost merges all, ours takes the last.
fn is_resume_repeated(body: &[u8]) -> bool {
    let mut fields = Fields::new(body);
    while let Ok(Some((field, value))) = fields.next() {
        if let (1, Value::Bytes(auth)) = (field, value) {
            return count_kinds(auth, 4..=4) > 1;
        }
    }
    false
}

fn normal(frame: &mut proto::Frame, merged: bool) {
    match &mut frame.kind {
        Some(Kind::Auth(auth)) => {
            auth.dictionary.clear();
            // An empty message and none are the same to us.
            if merged || auth.resume == Some(proto::Resume::default()) {
                auth.resume = None;
            }
        }
        Some(Kind::Request(request)) => request.compression = 0,
        Some(Kind::Response(response)) => {
            response.compression = 0;
            if !(0..=1).contains(&response.outcome) {
                response.outcome = 2;
            }
        }
        Some(Kind::Push(push)) => push.compression = 0,
        _ => {}
    }
}

/// One of each frame a client says.
pub(super) fn up() -> Vec<(&'static str, Frame<'static>)> {
    let request = Request { id: [1; 16], route: "echo", payload: b"hello", counter: 1, ..Request::default() };
    let full = Request { key: b"room-7", again: true, counter: 1 << 40, ..request };
    let auth = Auth { token: b"a token", user: b"alice", device: b"phone", ..Auth::default() };
    let resume = b"\x0a\x10ssssssssssssssss\x10\x02\x18\x05";
    vec![
        ("auth", Frame::Auth(auth)),
        (
            "auth-full",
            Frame::Auth(Auth { resume, heartbeat_ms: 60_000, agent: "sdk/1", signature: &[9; 64], ..auth }),
        ),
        ("request", Frame::Request(request)),
        ("request-full", Frame::Request(full)),
        ("ack", Frame::Ack { sequence: 300 }),
        ("ping", Frame::Ping(Ping { nonce: 7, heartbeat_ms: 0 })),
        ("ping-empty", Frame::Ping(Ping::default())),
        ("join", Frame::Join { room: b"lobby" }),
        ("leave", Frame::Leave { room: b"lobby" }),
        ("close", Frame::Close(Close { code: 1, retry_after_ms: 500, do_not_reconnect: true, text: "bye" })),
    ]
}

/// One of each frame a gateway says, but those that are borrowed.
pub(super) fn down() -> Vec<(&'static str, Frame<'static>)> {
    let refused = Outcome::Refused;
    vec![
        ("response", Frame::Response(Response { id: [1; 16], payload: b"hello", ..Response::default() })),
        (
            "response-refused",
            Frame::Response(Response {
                id: [2; 16],
                outcome: refused,
                code: 4,
                retry_after_ms: 9,
                payload: b"",
            }),
        ),
        (
            "push",
            Frame::Push(Push {
                sequence: 1,
                id: &[3; 16],
                payload: b"psst",
                class: 1,
                again: true,
                room: b"lobby",
            }),
        ),
        ("ack-now", Frame::AckNow { sequence: 9 }),
        ("pong", Frame::Pong { nonce: 7 }),
        ("joined", Frame::Joined { room: b"lobby", code: 0 }),
        ("left", Frame::Left { room: b"lobby", code: 3 }),
        ("move", Frame::Move(b"\x0a\x0b127.0.0.1:9\x10\x05")),
    ]
}

/// The `Welcome` of all seeds, with its length.
pub(super) fn welcome() -> Vec<u8> {
    let welcome = Welcome {
        session: vec![4; 16].into(),
        secret: vec![5; 32].into(),
        tickets: vec![proto::Ticket { ticket: vec![6; 24].into(), psk: vec![7; 32].into(), expires_ms: 1 }],
        server_keys: vec![proto::ServerKey { key: vec![8; 32].into(), ..proto::ServerKey::default() }],
        heartbeat_ms: 60_000,
        ..Welcome::default()
    };
    let mut out = Vec::new();
    encode_welcome(&welcome, &mut out);
    out
}

/// One of each kind, and bodies that are refused or skipped.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let mut seeds: Vec<Seed> = Vec::new();
    for (name, frame) in up().into_iter().chain(down()) {
        let mut encoded = Vec::new();
        frame.encode(&mut encoded);
        seeds.push((name, unframed(&encoded)));
    }
    seeds.push(("welcome", unframed(&welcome())));
    let ping = [0x22, 2, 8, 7];
    seeds.extend([
        ("two-kinds", [ping, ping].concat()),
        ("unknown-kind", vec![0x82, 1, 1, 0]),
        ("unknown-fields", [&[0xf8, 1, 5][..], &ping, &[0xfd, 1, 1, 2, 3, 4]].concat()),
        ("unknown-field-inside", vec![0x22, 5, 8, 7, 0x7a, 1, 0]),
        ("group", vec![0x22, 2, 0x0b, 0x0c]),
        ("other-wire-type", vec![0x22, 5, 0x0d, 1, 2, 3, 4]),
        ("value-twice", vec![0x22, 4, 8, 7, 8, 8]),
        ("number-too-large", vec![0x22, 7, 8, 0xff, 0xff, 0xff, 0xff, 0x7f, 1]),
        (
            "outcome-too-large",
            [&[0x4a, 24, 0x0a, 16][..], &[1; 16], &[0x10, 0x81, 0x80, 0x80, 0x80, 0x10]].concat(),
        ),
        ("cut-off", vec![0x22, 2, 8]),
    ]);
    seeds
}
