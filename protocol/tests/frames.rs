//! Link frames by hand and by prost: the same bytes out, the same values in.
//!
//! The hand-written decoder is stricter in what it may refuse, never laxer: more than one kind in a frame, a field out
//! of its bounds, an empty device or room, an id that is not 16 bytes, invalid UTF-8, and groups.

use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use prost::bytes::Bytes;
use protocol::Error;
use protocol::wire::frame::{Auth, Close, Frame, Outcome, Ping, Push, Request, Response, is_pad};
use protocol::wire::proto::link::{self as proto, frame::Kind};
use protocol::wire::varint;

proptest! {
    #[test]
    fn requests_are_the_same(id in any::<[u8; 16]>(), route in "[a-z]{1,32}", key in vec(any::<u8>(), 0..=64),
                             payload in vec(any::<u8>(), 0..300), counter: u64, again: bool) {
        let frame = Request { id, route: &route, key: &key, payload: &payload, counter, again };
        same(&Frame::Request(frame), Kind::Request(proto::Request {
            id: bytes(&id), route: route.clone(), key: bytes(&key), payload: bytes(&payload), counter, again,
            compression: 0,
        }))?;
    }

    #[test]
    fn responses_are_the_same(id in any::<[u8; 16]>(), outcome in 0..3i32, code: u32, retry_after_ms: u32,
                              payload in vec(any::<u8>(), 0..300)) {
        let by_hand = [Outcome::Answered, Outcome::Refused, Outcome::Unknown][outcome as usize];
        let frame = Response { id, outcome: by_hand, code, retry_after_ms, payload: &payload };
        same(&Frame::Response(frame), Kind::Response(proto::Response {
            id: bytes(&id), outcome, code, retry_after_ms, payload: bytes(&payload), compression: 0,
        }))?;
    }

    #[test]
    fn pushes_are_the_same(sequence: u64, id in vec(any::<u8>(), 0..=16), payload in vec(any::<u8>(), 0..300),
                           class: u32, again: bool, room in vec(any::<u8>(), 0..=64), missed: u32, gap: u32) {
        let frame = Push { sequence, id: &id, payload: &payload, class, again, room: &room, missed, gap };
        same(&Frame::Push(frame), Kind::Push(proto::Push {
            sequence, id: bytes(&id), payload: bytes(&payload), class, again, room: bytes(&room), compression: 0,
            missed, gap,
        }))?;
    }

    #[test]
    fn auths_are_the_same(token in vec(any::<u8>(), 0..200), user in vec(any::<u8>(), 0..=64),
                          device in vec(any::<u8>(), 1..=64), heartbeat_ms: u32, agent in "[ -~]{0,64}",
                          signed: bool, class: u32, dictionaries in vec(any::<[u8; 32]>(), 0..=8)) {
        let signature = [7; 64];
        let signature = if signed { &signature[..] } else { &[] };
        let frame = Auth {
            token: &token, user: &user, device: &device, resume: &[], heartbeat_ms, agent: &agent, signature, class,
        };
        let with = proto::Auth {
            device: bytes(&device), dictionary: dictionaries.iter().map(|hash| bytes(hash)).collect(),
            ..proto::Auth::default()
        };
        prop_assert_eq!(decoded(Kind::Auth(with)).map(|frame| frame.name()), Ok("auth"), "and passed over");
        same(&Frame::Auth(frame), Kind::Auth(proto::Auth {
            token: bytes(&token), user: bytes(&user), device: bytes(&device), resume: None, heartbeat_ms,
            agent: agent.clone(), signature: bytes(signature), dictionary: Vec::new(), class,
        }))?;
    }

    #[test]
    fn closes_are_the_same(code: u32, retry_after_ms: u32, do_not_reconnect: bool, text in "[ -~]{0,128}") {
        let frame = Close { code, retry_after_ms, do_not_reconnect, text: &text };
        same(&Frame::Close(frame), Kind::Close(proto::Close {
            code, retry_after_ms, do_not_reconnect, text: text.clone(),
        }))?;
    }

    #[test]
    fn frames_of_numbers_and_rooms_are_the_same(number: u64, nonce: u32, heartbeat_ms: u32, code: u32,
                                                room in vec(any::<u8>(), 1..=64)) {
        let b = bytes(&room);
        let (taken, received) = (number / 2, number);
        same(&Frame::Ack { taken, received }, Kind::Ack(proto::Ack { taken, received }))?;
        same(&Frame::Warning { code, score: nonce }, Kind::Warning(proto::Warning { code, score: nonce }))?;
        same(&Frame::Pad { zeros: &room }, Kind::Pad(proto::Pad { zeros: b.clone() }))?;
        same(&Frame::AckNow { sequence: number }, Kind::AckNow(proto::AckNow { sequence: number }))?;
        same(&Frame::Ping(Ping { nonce, heartbeat_ms }), Kind::Ping(proto::Ping { nonce, heartbeat_ms }))?;
        same(&Frame::Pong { nonce }, Kind::Pong(proto::Pong { nonce }))?;
        same(&Frame::Join { room: &room }, Kind::Join(proto::Join { room: b.clone() }))?;
        same(&Frame::Leave { room: &room }, Kind::Leave(proto::Leave { room: b.clone() }))?;
        let joined = proto::Joined { room: b.clone(), code, retry_after_ms: code / 2 };
        same(&Frame::Joined { room: &room, code, retry_after_ms: code / 2 }, Kind::Joined(joined))?;
        same(&Frame::Left { room: &room, code }, Kind::Left(proto::Left { room: b, code }))?;
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_what_is_taken_prost_takes_too(body in vec(any::<u8>(), 1..200)) {
        accepted_by_both(&body)?;
    }

    #[test]
    fn damaged_frames_never_panic_and_what_is_taken_prost_takes_too(
        id in any::<[u8; 16]>(), payload in vec(any::<u8>(), 0..40), at: prop::sample::Index, bit in 0..8u8,
        cut: prop::sample::Index,
    ) {
        let mut out = Vec::new();
        Frame::Request(Request { id, route: "echo", payload: &payload, counter: 7, ..Request::default() })
            .encode(&mut out);
        let mut body = out.split_off(1);
        let flipped = at.index(body.len());
        body[flipped] ^= 1 << bit;
        accepted_by_both(&body)?;
        body.truncate(cut.index(body.len()));
        accepted_by_both(&body)?;
    }
}

/// Both encoders give the same bytes, and both decoders read them back.
fn same(frame: &Frame<'_>, kind: Kind) -> Result<(), TestCaseError> {
    let by_prost = proto::Frame { kind: Some(kind) };
    let mut out = Vec::new();
    frame.encode(&mut out);
    prop_assert_eq!(&out, &by_prost.encode_length_delimited_to_vec(), "{}", frame.name());
    let (len, prefix) = varint::decode(&out).expect("a whole frame").expect("a whole frame");
    prop_assert_eq!(len as usize, out.len() - prefix);
    prop_assert_eq!(&Frame::decode(&out[prefix..]).expect("its own encoding"), frame);
    prop_assert_eq!(proto::Frame::decode(&out[prefix..]).expect("its own encoding"), by_prost);
    Ok(())
}

/// What the hand-written decoder takes, prost takes as the same kind.
///
/// One exception goes the other way: a known kind with another wire type is skipped here, as protobuf asks of an
/// unknown field, while prost refuses it.
fn accepted_by_both(body: &[u8]) -> Result<(), TestCaseError> {
    let Ok(frame) = Frame::decode(body) else { return Ok(()) };
    if frame == Frame::Unknown {
        return Ok(());
    }
    let Ok(by_prost) = proto::Frame::decode(body) else {
        // A field inside with another wire type than ours is skipped by hand and refused by prost.
        return Ok(());
    };
    let name = match by_prost.kind.as_ref().expect("the hand-written decoder found one") {
        Kind::Auth(_) => "auth",
        Kind::Request(_) => "request",
        Kind::Ack(_) => "ack",
        Kind::Ping(_) => "ping",
        Kind::Join(_) => "join",
        Kind::Leave(_) => "leave",
        Kind::Close(_) => "close",
        Kind::Welcome(_) => "welcome",
        Kind::Response(_) => "response",
        Kind::Push(_) => "push",
        Kind::AckNow(_) => "ack_now",
        Kind::Pong(_) => "pong",
        Kind::Joined(_) => "joined",
        Kind::Left(_) => "left",
        Kind::Move(_) => "move",
        Kind::Pad(_) => "pad",
        Kind::Warning(_) => "warning",
    };
    prop_assert_eq!(frame.name(), name);
    Ok(())
}

/// What the hand-written decoder says to what prost wrote.
fn decoded(kind: Kind) -> Result<Frame<'static>, Error> {
    Frame::decode(proto::Frame { kind: Some(kind) }.encode_to_vec().leak())
}

/// Every bound of section 9: one byte more or less is refused by name.
#[test]
fn a_field_out_of_its_bounds_is_refused_by_name() {
    let b = |len: usize| Bytes::from(vec![1; len]);
    let auth = proto::Auth { device: b(64), ..Default::default() };
    let resume = proto::Resume { session: b(16), proof: b(32), ..Default::default() };
    let with_resume = |resume| Kind::Auth(proto::Auth { resume: Some(resume), ..auth.clone() });
    let request = proto::Request { id: b(16), route: "r".repeat(32), key: b(64), ..Default::default() };
    let response = proto::Response { id: b(16), ..Default::default() };
    let push = proto::Push { id: b(16), room: b(64), ..Default::default() };
    let close = proto::Close { text: "x".repeat(128), ..Default::default() };
    let good = [
        Kind::Auth(proto::Auth {
            token: b(3584),
            user: b(64),
            signature: b(64),
            agent: "x".repeat(64),
            ..auth.clone()
        }),
        Kind::Auth(proto::Auth { dictionary: vec![b(32); 8], ..auth.clone() }),
        with_resume(resume.clone()),
        Kind::Request(request.clone()),
        Kind::Response(response.clone()),
        Kind::Push(push.clone()),
        Kind::Close(close.clone()),
    ];
    for kind in good {
        assert!(decoded(kind.clone()).is_ok(), "{kind:?}");
    }
    let wrong = [
        ("token", Kind::Auth(proto::Auth { token: b(3585), ..auth.clone() })),
        ("user", Kind::Auth(proto::Auth { user: b(65), ..auth.clone() })),
        ("device", Kind::Auth(proto::Auth { device: b(65), ..auth.clone() })),
        ("device", Kind::Auth(proto::Auth { device: b(0), ..auth.clone() })),
        ("agent", Kind::Auth(proto::Auth { agent: "x".repeat(65), ..auth.clone() })),
        ("signature", Kind::Auth(proto::Auth { signature: b(63), ..auth.clone() })),
        ("dictionary", Kind::Auth(proto::Auth { dictionary: vec![b(31)], ..auth.clone() })),
        ("dictionary", Kind::Auth(proto::Auth { dictionary: vec![b(32); 9], ..auth.clone() })),
        ("session", with_resume(proto::Resume { session: b(15), ..resume.clone() })),
        ("session", with_resume(proto::Resume { session: b(0), ..resume.clone() })),
        ("proof", with_resume(proto::Resume { proof: b(33), ..resume.clone() })),
        ("proof", with_resume(proto::Resume { proof: b(0), ..resume })),
        ("id", Kind::Request(proto::Request { id: b(15), ..request.clone() })),
        ("id", Kind::Request(proto::Request { id: b(0), ..request.clone() })),
        ("route", Kind::Request(proto::Request { route: "r".repeat(33), ..request.clone() })),
        ("route", Kind::Request(proto::Request { route: String::new(), ..request.clone() })),
        ("key", Kind::Request(proto::Request { key: b(65), ..request.clone() })),
        ("compression", Kind::Request(proto::Request { compression: 7, ..request })),
        ("id", Kind::Response(proto::Response { id: b(17), ..response.clone() })),
        ("compression", Kind::Response(proto::Response { compression: 1, ..response })),
        ("id", Kind::Push(proto::Push { id: b(17), ..push.clone() })),
        ("room", Kind::Push(proto::Push { room: b(65), ..push.clone() })),
        ("compression", Kind::Push(proto::Push { compression: 1, ..push })),
        ("room", Kind::Join(proto::Join { room: b(65) })),
        ("room", Kind::Leave(proto::Leave { room: b(0) })),
        ("text", Kind::Close(proto::Close { text: "x".repeat(129), ..close })),
    ];
    for (name, kind) in wrong {
        assert_eq!(decoded(kind.clone()), Err(Error::Field(name)), "{kind:?}");
    }
}

fn bytes(slice: &[u8]) -> Bytes {
    Bytes::copy_from_slice(slice)
}

/// Other encoders than prost may write a field that says nothing.
#[test]
fn an_outcome_of_zero_may_be_written_out() {
    for (number, outcome) in
        [(0, Outcome::Answered), (1, Outcome::Refused), (2, Outcome::Unknown), (9, Outcome::Unknown)]
    {
        let mut framed = Vec::new();
        Frame::Response(Response { id: [7; 16], ..Response::default() }).encode(&mut framed);
        let mut body = framed[1..].to_vec();
        body.extend([2 << 3, number]);
        body[1] += 2;
        let Ok(Frame::Response(response)) = Frame::decode(&body) else { panic!("a response") };
        assert_eq!((response.id, response.outcome), ([7; 16], outcome));
    }
}

#[test]
fn a_pad_is_told_from_everything_else() {
    let mut framed = Vec::new();
    Frame::Pad { zeros: &[0; 3] }.encode(&mut framed);
    let pad = &framed[1..];
    assert!(is_pad(pad));
    assert!(!is_pad(&pad[..pad.len() - 1]), "it ends too early");
    framed.clear();
    Frame::Ping(Ping::default()).encode(&mut framed);
    assert!(!is_pad(&framed[1..]) && !is_pad(&[]));
}
