//! Frames of a link with one field out of its bounds, which the name tells. SPEC.md, section 9.

use prost::Message;
use protocol::wire::proto::link::{self as proto, frame::Kind};

use crate::parts::{bytes, framed, number};
use crate::stream_cases::b;

const ID: [u8; 16] = [0x1d; 16];
/// A byte that UTF-8 never has.
const NO_TEXT: &[u8] = &[b'a', 0xff];

fn frame(kind: Kind) -> Vec<u8> {
    proto::Frame { kind: Some(kind) }.encode_length_delimited_to_vec()
}

pub(crate) fn up() -> Vec<(String, Vec<u8>)> {
    let mut all = auths();
    all.extend(requests());
    all.extend(rooms());
    all.extend(closes());
    all.into_iter().map(|(name, frame)| (name.to_owned(), frame)).collect()
}

fn auths() -> Vec<(&'static str, Vec<u8>)> {
    let good = || proto::Auth { device: b(b"phone"), ..Default::default() };
    let resume = || proto::Resume { session: b(&[1; 16]), attempt: 1, last_sequence: 0, proof: b(&[2; 32]) };
    let of = |auth| frame(Kind::Auth(auth));
    let resuming = |resume| of(proto::Auth { resume: Some(resume), ..good() });
    let raw = |field: &[u8]| framed(&bytes(1, &[&bytes(3, b"phone")[..], field].concat()));
    let long_resume = [bytes(1, &[1; 16]), bytes(4, &[2; 32]), bytes(99, &[0; 74])].concat();
    assert_eq!(long_resume.len(), 129);
    vec![
        ("Auth.token of 3,585 bytes", of(proto::Auth { token: b(&[1; 3585]), ..good() })),
        ("Auth.user of 65 bytes", of(proto::Auth { user: b(&[1; 65]), ..good() })),
        ("Auth.device is missing", of(proto::Auth { device: b(b""), user: b(b"alice"), ..good() })),
        ("Auth of no fields", framed(&bytes(1, b""))),
        ("Auth.device of 65 bytes", of(proto::Auth { device: b(&[1; 65]), ..good() })),
        ("Auth.agent of 65 bytes", of(proto::Auth { agent: "a".repeat(65), ..good() })),
        ("Auth.agent is not UTF-8", raw(&bytes(6, NO_TEXT))),
        ("Auth.signature of 63 bytes", of(proto::Auth { signature: b(&[1; 63]), ..good() })),
        ("Auth.signature of 65 bytes", of(proto::Auth { signature: b(&[1; 65]), ..good() })),
        ("Auth.dictionary of 31 bytes", of(proto::Auth { dictionary: vec![b(&[1; 31])], ..good() })),
        ("Auth.dictionary nine times", of(proto::Auth { dictionary: vec![b(&[1; 32]); 9], ..good() })),
        ("Auth.resume of 129 bytes", raw(&bytes(4, &long_resume))),
        ("Auth.resume without session", resuming(proto::Resume { session: b(b""), ..resume() })),
        ("Auth.resume, session of 15 bytes", resuming(proto::Resume { session: b(&[1; 15]), ..resume() })),
        ("Auth.resume without proof", resuming(proto::Resume { proof: b(b""), ..resume() })),
        ("Auth.resume, proof of 31 bytes", resuming(proto::Resume { proof: b(&[1; 31]), ..resume() })),
    ]
}

fn requests() -> Vec<(&'static str, Vec<u8>)> {
    let good = || proto::Request { id: b(&ID), route: "echo".into(), ..Default::default() };
    let of = |request| frame(Kind::Request(request));
    let raw = |route: &[u8]| framed(&bytes(2, &[bytes(1, &ID), bytes(2, route)].concat()));
    vec![
        ("Request.id is missing", of(proto::Request { id: b(b""), ..good() })),
        ("Request.id of 15 bytes", of(proto::Request { id: b(&[1; 15]), ..good() })),
        ("Request.id of 17 bytes", of(proto::Request { id: b(&[1; 17]), ..good() })),
        ("Request.route is missing", of(proto::Request { route: String::new(), ..good() })),
        ("Request.route of 33 bytes", of(proto::Request { route: "r".repeat(33), ..good() })),
        ("Request.route is not UTF-8", raw(NO_TEXT)),
        ("Request.key of 65 bytes", of(proto::Request { key: b(&[1; 65]), ..good() })),
        ("Request.compression 1", of(proto::Request { compression: 1, ..good() })),
    ]
}

fn rooms() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("Join.room is missing", frame(Kind::Join(proto::Join::default()))),
        ("Join.room of 65 bytes", frame(Kind::Join(proto::Join { room: b(&[1; 65]) }))),
        ("Leave.room is missing", frame(Kind::Leave(proto::Leave::default()))),
        ("Leave.room of 65 bytes", frame(Kind::Leave(proto::Leave { room: b(&[1; 65]) }))),
    ]
}

fn closes() -> Vec<(&'static str, Vec<u8>)> {
    let close = proto::Close { code: 1, text: "t".repeat(129), ..Default::default() };
    vec![
        ("Close.text of 129 bytes", frame(Kind::Close(close))),
        ("Close.text is not UTF-8", framed(&bytes(7, &[number(1, 1), bytes(4, NO_TEXT)].concat()))),
    ]
}

pub(crate) fn down() -> Vec<(String, Vec<u8>)> {
    let response = || proto::Response { id: b(&ID), ..Default::default() };
    let of = |response| frame(Kind::Response(response));
    let push = |push| frame(Kind::Push(push));
    let joined = |room| frame(Kind::Joined(proto::Joined { room, code: 0, retry_after_ms: 0 }));
    let left = |room| frame(Kind::Left(proto::Left { room, code: 0 }));
    let mut all = vec![
        ("Response.id is missing", of(proto::Response { id: b(b""), ..response() })),
        ("Response.id of 15 bytes", of(proto::Response { id: b(&[1; 15]), ..response() })),
        ("Response.compression 1", of(proto::Response { compression: 1, ..response() })),
        ("Push.id of 17 bytes", push(proto::Push { id: b(&[1; 17]), ..Default::default() })),
        ("Push.room of 65 bytes", push(proto::Push { room: b(&[1; 65]), ..Default::default() })),
        ("Push.compression 1", push(proto::Push { compression: 1, ..Default::default() })),
        ("Joined.room is missing", joined(b(b""))),
        ("Joined.room of 65 bytes", joined(b(&[1; 65]))),
        ("Left.room is missing", left(b(b""))),
        ("Left.room of 65 bytes", left(b(&[1; 65]))),
    ];
    all.extend(closes());
    all.into_iter().map(|(name, frame)| (name.to_owned(), frame)).collect()
}
