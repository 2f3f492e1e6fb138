//! Frames of a link, by both decoders: ours and prost's.

use std::fmt::Debug;
use std::ops::RangeInclusive;

use protocol::Error;
use protocol::wire::cursor::{Fields, Value};
use protocol::wire::frame::{
    Auth, Close, Frame, Outcome, Ping, Push, Request, Response, encode_welcome, is_pad,
};
use protocol::wire::proto::link::frame::Kind;
use protocol::wire::proto::link::{self as proto, Welcome};
use protocol::wire::resume::Resume;
use protocol::wire::varint;

use super::Seed;
use super::bounds::{self, is_repeated};

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
            Frame::Auth(auth) if !auth.resume.is_empty() => {
                check_resume(auth.resume);
                true
            }
            Frame::Auth(_) => merged,
            Frame::Welcome(_) | Frame::Move(_) => true,
            _ => false,
        };
        Read { encoded, borrowed, flawed: false }
    });
    let is_filling = matches!(Frame::decode(body), Ok(Frame::Pad { .. }));
    // Behind fields of a later version a `Pad` is a frame like others.
    assert_eq!(is_pad(body), is_filling && body.first() == Some(&0x82), "{body:02x?}");
    let rules = Rules {
        kinds: 1..=17,
        normal: |frame: &mut proto::Frame| normal(frame, merged),
        within: bounds::link_frame,
        // A `Resume` is bounded with all that it carries for later versions.
        unbounded: is_repeated(body, &[(1, 8)]) || has_long_resume(body),
    };
    agree(body, &ours, rules);
    usize::from(ours.is_ok_and(|read| !read.encoded.is_empty()))
}

/// What an `Auth` carries to go on with a session can be read, and says the same to prost.
fn check_resume(body: &[u8]) {
    let ours = Resume::decode(body).expect("its frame was read");
    let mut encoded = Vec::new();
    ours.encode(&mut encoded);
    assert_eq!(Resume::decode(&encoded), Ok(ours), "what was written is read as something else");
    match <proto::Resume as prost::Message>::decode(body) {
        Ok(theirs) => {
            let said = (&theirs.session[..], theirs.attempt, theirs.last_sequence, &theirs.proof[..]);
            assert_eq!(
                (&ours.session[..], ours.attempt, ours.last_sequence, &ours.proof[..]),
                said,
                "{body:02x?}"
            );
        }
        Err(error) => assert!(error.to_string().contains("wire type"), "{body:02x?}: {error}"),
    }
}

/// What one of our decoders made of a body.
pub(super) struct Read {
    /// The frame, written again, without its length.
    pub(super) encoded: Vec<u8>,
    /// Part of it is a message that was lent as it stood, or passed over, and not looked into.
    pub(super) borrowed: bool,
    /// It was read as a frame with a field out of its bounds.
    pub(super) flawed: bool,
}

/// How prost's reading of a body is compared with ours.
pub(super) struct Rules<N, W> {
    /// The kinds of a frame.
    pub(super) kinds: RangeInclusive<u32>,
    /// Takes out of prost's struct what our version does not read.
    pub(super) normal: N,
    /// Whether all fields of prost's struct keep their bounds.
    pub(super) within: W,
    /// The body has fields out of their bounds that prost's struct does not show.
    pub(super) unbounded: bool,
}

/// Holds our reading of `body` against prost's. SPEC.md, section 7.2, lists what may differ:
///
/// * one kind per frame (prost takes the last, or merges), and no groups: ours refuses;
/// * bounds of fields, which protobuf does not know: ours refuses;
/// * a known field of another wire type: ours skips it, prost refuses;
/// * messages inside that ours lends without looking into them: only prost refuses what is broken in there.
pub(super) fn agree<M: prost::Message + Default + PartialEq + Debug>(
    body: &[u8],
    ours: &Result<Read, Error>,
    rules: Rules<impl Fn(&mut M), impl Fn(&M) -> bool>,
) {
    match (ours, M::decode(body)) {
        (Ok(Read { flawed: true, .. }) | Err(Error::Field(_)), Ok(theirs)) => {
            // Of several kinds prost has the last one, and ours may have stopped at the first.
            let is_unseen = rules.unbounded || count_kinds(body, rules.kinds) > 1;
            assert!(is_unseen || !(rules.within)(&theirs), "no field is out of its bounds: {theirs:?}");
        }
        (Ok(Read { flawed: true, .. }) | Err(Error::Field(_)), Err(_)) => {}
        (Ok(read), Ok(mut theirs)) => {
            assert!((rules.within)(&theirs), "a field is out of its bounds: {theirs:?}");
            let mut again = M::decode(&read.encoded[..]).expect("what was written can be read");
            assert!(
                read.borrowed || again.encode_to_vec() == read.encoded,
                "there is one way to write a frame"
            );
            (rules.normal)(&mut again);
            (rules.normal)(&mut theirs);
            assert_eq!(again, theirs, "{body:02x?}");
        }
        (Ok(read), Err(error)) => {
            assert!(read.borrowed || error.to_string().contains("wire type"), "{body:02x?}: {error}");
        }
        (Err(Error::FrameEncoding), Ok(_)) => {
            let group = body.iter().any(|byte| matches!(byte & 7, 3 | 4));
            assert!(group || count_kinds(body, rules.kinds) > 1, "{body:02x?} was refused");
        }
        (Err(Error::FrameEncoding), Err(_)) => {}
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
    auth(body).is_some_and(|auth| count_kinds(auth, 4..=4) > 1)
}

fn has_long_resume(body: &[u8]) -> bool {
    let mut fields = Fields::new(auth(body).unwrap_or_default());
    while let Ok(Some((field, value))) = fields.next() {
        if matches!((field, value), (4, Value::Bytes(resume)) if resume.len() > 128) {
            return true;
        }
    }
    false
}

/// What stands inside an `Auth`.
fn auth(body: &[u8]) -> Option<&[u8]> {
    let mut fields = Fields::new(body);
    while let Ok(Some((field, value))) = fields.next() {
        if let (1, Value::Bytes(auth)) = (field, value) {
            return Some(auth);
        }
    }
    None
}

fn normal(frame: &mut proto::Frame, merged: bool) {
    match &mut frame.kind {
        Some(Kind::Auth(auth)) => {
            auth.dictionary.clear();
            if merged {
                auth.resume = None;
            }
        }
        Some(Kind::Response(response)) if !(0..=1).contains(&response.outcome) => response.outcome = 2,
        _ => {}
    }
}

/// One of each frame a client says.
pub(super) fn up() -> Vec<(&'static str, Frame<'static>)> {
    let request = Request { id: [1; 16], route: "echo", payload: b"hello", counter: 1, ..Request::default() };
    let full = Request { key: b"room-7", again: true, counter: 1 << 40, ..request };
    let auth = Auth { token: b"a token", user: b"alice", device: b"phone", ..Auth::default() };
    vec![
        ("auth", Frame::Auth(auth)),
        (
            "auth-full",
            Frame::Auth(Auth {
                resume: RESUME,
                heartbeat_ms: 60_000,
                agent: "sdk/1",
                signature: &[9; 64],
                class: 1,
                ..auth
            }),
        ),
        ("request", Frame::Request(request)),
        ("request-full", Frame::Request(full)),
        ("ack", Frame::Ack { taken: 300, received: 301 }),
        ("ping", Frame::Ping(Ping { nonce: 7, heartbeat_ms: 0 })),
        ("ping-empty", Frame::Ping(Ping::default())),
        ("join", Frame::Join { room: b"lobby" }),
        ("leave", Frame::Leave { room: b"lobby" }),
        ("pad", Frame::Pad { zeros: &[0; 40] }),
        ("close", Frame::Close(Close { code: 1, retry_after_ms: 500, do_not_reconnect: true, text: "bye" })),
    ]
}

/// Session, attempt, last sequence and proof.
const RESUME: &[u8] = b"\x0a\x10ssssssssssssssss\x10\x02\x18\x05\x22\x20pppppppppppppppppppppppppppppppp";

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
                missed: 2,
                gap: 1,
            }),
        ),
        ("ack-now", Frame::AckNow { sequence: 9 }),
        ("pong", Frame::Pong { nonce: 7 }),
        ("joined", Frame::Joined { room: b"lobby", code: 9, retry_after_ms: 5 }),
        ("left", Frame::Left { room: b"lobby", code: 3 }),
        ("move", Frame::Move(b"\x0a\x0b127.0.0.1:9\x10\x05")),
        ("pad-empty", Frame::Pad { zeros: b"" }),
        ("warning", Frame::Warning { code: 15, score: 80 }),
    ]
}

/// The `Welcome` of all seeds, with its length.
pub(super) fn welcome() -> Vec<u8> {
    let welcome = Welcome {
        session: vec![4; 16].into(),
        secret: vec![5; 32].into(),
        tickets: vec![proto::Ticket { ticket: vec![6; 24].into(), psk: vec![7; 32].into(), expires_ms: 1 }],
        server_keys: vec![proto::ServerKey {
            key: vec![8; 32].into(),
            suites: 0x1e,
            ..proto::ServerKey::default()
        }],
        heartbeat_ms: 60_000,
        suites: vec![1, 2].into(),
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
        ("unknown-kind", vec![0x92, 1, 1, 0]),
        ("unknown-fields", [&[0xf8, 1, 5][..], &ping, &[0xfd, 1, 1, 2, 3, 4]].concat()),
        ("unknown-field-inside", vec![0x22, 5, 8, 7, 0x7a, 1, 0]),
        ("group", vec![0x22, 2, 0x0b, 0x0c]),
        // Ours stops at the id that is too long; the other one stands behind a group.
        (
            "group-before-second-id",
            message(10, &[&message(2, &[3; 17])[..], &[0x73, 0x74], &message(2, b"id")].concat()),
        ),
        ("other-wire-type", vec![0x22, 5, 0x0d, 1, 2, 3, 4]),
        ("value-twice", vec![0x22, 4, 8, 7, 8, 8]),
        ("number-too-large", vec![0x22, 7, 8, 0xff, 0xff, 0xff, 0xff, 0x7f, 1]),
        (
            "outcome-too-large",
            [&[0x4a, 24, 0x0a, 16][..], &[1; 16], &[0x10, 0x81, 0x80, 0x80, 0x80, 0x10]].concat(),
        ),
        ("cut-off", vec![0x22, 2, 8]),
        ("pad-behind-unknown-field", vec![0xf8, 1, 5, 0x82, 1, 0]),
        ("pad-long-way-to-say-it", vec![0x82, 0x81, 0, 0]),
        ("pad-twice", vec![0x82, 1, 0, 0x82, 1, 0]),
    ]);
    seeds.extend(out_of_bounds());
    seeds
}

/// Frames with one field too short, too long or missing.
fn out_of_bounds() -> Vec<Seed> {
    let auth = proto::Auth { device: b"phone".to_vec().into(), ..proto::Auth::default() };
    let request = proto::Request { id: vec![1; 16].into(), route: "echo".into(), ..Default::default() };
    let resume = proto::Resume { session: vec![1; 16].into(), ..proto::Resume::default() };
    let long_resume = [RESUME, &[0x2a, 80], &[0; 80]].concat();
    let auth_with =
        |field: u32, inner: &[u8]| message(1, &[message(3, b"phone"), message(field, inner)].concat());
    let written = |kind: Kind| prost::Message::encode_to_vec(&proto::Frame { kind: Some(kind) });
    let dictionary = vec![vec![2; 32].into(); 8];
    let too_many = vec![vec![2; 32].into(); 9];
    vec![
        ("auth-no-device", written(Kind::Auth(proto::Auth::default()))),
        (
            "auth-resume-without-proof",
            written(Kind::Auth(proto::Auth { resume: Some(resume), ..auth.clone() })),
        ),
        ("auth-resume-empty", auth_with(4, &[])),
        ("auth-resume-long", auth_with(4, &long_resume)),
        ("auth-signature-short", auth_with(7, &[1; 63])),
        ("auth-dictionaries", written(Kind::Auth(proto::Auth { dictionary, ..auth.clone() }))),
        ("auth-dictionaries-too-many", written(Kind::Auth(proto::Auth { dictionary: too_many, ..auth }))),
        (
            "request-no-route",
            written(Kind::Request(proto::Request { route: String::new(), ..request.clone() })),
        ),
        ("request-compressed", written(Kind::Request(proto::Request { compression: 1, ..request }))),
        ("join-nowhere", message(5, &[])),
        ("push-id-long", message(10, &message(2, &[3; 17]))),
        ("text-no-utf-8", message(7, &message(4, &[0xff]))),
    ]
}

/// A field of bytes, or a message.
pub(super) fn message(field: u32, inner: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    varint::encode(u64::from(field << 3 | 2), &mut out);
    varint::encode(inner.len() as u64, &mut out);
    out.extend_from_slice(inner);
    out
}
