//! The hand-written frames against the generated ones.

mod any;
mod generated;
mod lists;

use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use prost::bytes::Bytes;

use self::any::kind;
use self::generated::as_generated;
use super::*;
use crate::wire::proto::stream as proto;
use proto::frame::Kind;

proptest! {
    /// What prost wrote, ours reads as the same values, and writes as the same bytes.
    #[test]
    fn agrees_with_prost_in_both_directions(kind in kind()) {
        let theirs = proto::Frame { kind: Some(kind.clone()) };
        let body = theirs.encode_to_vec();
        let frame = StreamFrame::decode(&body).unwrap();
        prop_assert_eq!(as_generated(&frame), Some(kind));
        let mut bytes = b"before".to_vec();
        frame.encode(&mut bytes);
        prop_assert_eq!(&bytes[6..], &theirs.encode_length_delimited_to_vec()[..]);
        prop_assert_eq!(bytes.len() - 6, framed_len(body.len()));
        let carries = matches!(frame, StreamFrame::Request(_) | StreamFrame::Response(_) | StreamFrame::Push(_));
        prop_assert_eq!(frame.payload_body_len(), carries.then_some(body.len()));
    }

    #[test]
    fn agrees_with_prost_on_arbitrary_bytes(body in vec(any::<u8>(), 0..64)) {
        compare(&body)?;
    }

    #[test]
    fn agrees_with_prost_on_damaged_frames(
        kind in kind(), hits in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4), cut in any::<prop::sample::Index>(),
    ) {
        let mut body = proto::Frame { kind: Some(kind) }.encode_to_vec();
        for (at, byte) in hits {
            let at = at.index(body.len());
            body[at] = byte;
        }
        compare(&body)?;
        compare(&body[..cut.index(body.len())])?;
    }

    /// Fields of a later version before, between and behind are passed over.
    #[test]
    fn unknown_fields_are_skipped(kind in kind(), number in 33u64..1000, value: u64) {
        let mut body = Vec::new();
        varint::encode(number << 3, &mut body);
        varint::encode(value, &mut body);
        body.extend(proto::Frame { kind: Some(kind.clone()) }.encode_to_vec());
        varint::encode(number << 3 | 1, &mut body);
        body.extend(value.to_le_bytes());
        prop_assert_eq!(StreamFrame::decode(&body).map(|frame| as_generated(&frame)), Ok(Some(kind)));
    }
}

/// Both decoders on the same bytes, with the reason for every difference that is allowed.
fn compare(body: &[u8]) -> Result<(), TestCaseError> {
    let (ours, theirs) = (StreamFrame::decode(body), proto::Frame::decode(body));
    match (ours, theirs) {
        (Err(Error::Field(_)) | Ok(StreamFrame::Flawed(_)), _) => {} // A bound that protobuf does not know.
        (Ok(StreamFrame::Rare(..)), Err(_)) => {}                    // Ours has not looked inside yet.
        (Ok(frame), Ok(theirs)) => prop_assert_eq!(as_generated(&frame), normal(theirs.kind)),
        // Protobuf treats a known field of another wire type as unknown; prost refuses it.
        (Ok(_), Err(error)) => prop_assert!(error.to_string().contains("wire type"), "{error}"),
        // Groups, and more than one kind: ours is stricter.
        (Err(error), Ok(_)) => {
            prop_assert_eq!(error, Error::FrameEncoding);
            let group = body.iter().any(|byte| matches!(byte & 7, 3 | 4));
            prop_assert!(group || kinds(body) > 1, "{:02x?}", body);
        }
        (Err(_), Err(_)) => {}
    }
    Ok(())
}

/// How many kinds stand in a frame.
fn kinds(body: &[u8]) -> usize {
    let mut fields = Fields::new(body);
    let mut count = 0;
    while let Ok(Some((field, value))) = fields.next() {
        count += usize::from((1..=32).contains(&field) && matches!(value, Value::Bytes(_)));
    }
    count
}

/// What prost read, without what this version does not serve and so does not look at; outcomes of a later version read
/// as unknown.
fn normal(kind: Option<Kind>) -> Option<Kind> {
    Some(match kind? {
        Kind::Report(report) => {
            let outcome = if matches!(report.outcome, 0 | 1) { report.outcome } else { 2 };
            let (device, user) = (named(&report.device), named(&report.user));
            Kind::Report(proto::Report { outcome, device, user, queued: 0, dropped: Vec::new(), ..report })
        }
        Kind::Push(push) => Kind::Push(proto::Push {
            rooms: Vec::new(),
            except: Vec::new(),
            node: false,
            coalesce: Bytes::new(),
            ..push
        }),
        kind => kind,
    })
}

/// A name in a report; one that is too long is none.
fn named(name: &Bytes) -> Bytes {
    if name.len() <= 64 { name.clone() } else { Bytes::new() }
}

#[test]
fn a_second_kind_is_refused() {
    let mut body = proto::Frame { kind: Some(Kind::Ping(proto::Ping { nonce: 1 })) }.encode_to_vec();
    body.extend_from_within(..);
    assert_eq!(StreamFrame::decode(&body), Err(Error::FrameEncoding));
}

#[test]
fn a_kind_of_a_later_version_is_unknown_and_encodes_to_nothing() {
    let mut body = Vec::new();
    encode_raw(33, b"whatever", &mut body);
    let frame = StreamFrame::decode(&body[1..]).unwrap();
    assert_eq!(frame, StreamFrame::Unknown);
    let mut out = Vec::new();
    frame.encode(&mut out);
    assert!(out.is_empty());
}

#[test]
fn the_last_of_two_values_counts() {
    let inner = [0x08, 1, 0x08, 2];
    let body = [&[0x22, inner.len() as u8][..], &inner].concat();
    assert_eq!(StreamFrame::decode(&body), Ok(StreamFrame::Credit { bytes: 2 }));
}

fn decoded(kind: Kind) -> Result<StreamFrame<'static>, Error> {
    let body = proto::Frame { kind: Some(kind) }.encode_to_vec();
    StreamFrame::decode(body.leak())
}

/// Whom a frame with a bad field is about, and which field it is.
fn flaw(kind: Kind) -> Option<(About, &'static str)> {
    match decoded(kind).unwrap() {
        StreamFrame::Flawed(flawed) => Some((flawed.about, flawed.field)),
        _ => None,
    }
}

#[test]
fn a_request_out_of_bounds_is_about_its_call_and_says_what_it_cost() {
    let long = Bytes::from_static(&[0; 65]);
    let good = proto::Request {
        call: 7,
        id: Bytes::from_static(&[7; 16]),
        route: "echo".into(),
        user: Bytes::from_static(&[0; 64]),
        device: Bytes::from_static(b"d"),
        payload: Bytes::from_static(&[0; 500]),
        ..proto::Request::default()
    };
    assert_eq!(flaw(Kind::Request(good.clone())), None);
    let wrong = [
        ("user", proto::Request { user: long.clone(), ..good.clone() }),
        ("user", proto::Request { user: Bytes::new(), ..good.clone() }),
        ("device", proto::Request { device: Bytes::new(), ..good.clone() }),
        ("key", proto::Request { key: long, ..good.clone() }),
        ("id", proto::Request { id: Bytes::new(), ..good.clone() }),
        ("id", proto::Request { id: Bytes::from_static(&[1; 15]), ..good.clone() }),
        ("session", proto::Request { session: Bytes::from_static(&[1; 15]), ..good.clone() }),
        ("realm", proto::Request { realm: "r".repeat(65), ..good.clone() }),
        ("route", proto::Request { route: String::new(), ..good.clone() }),
        ("route", proto::Request { route: "r".repeat(33), ..good.clone() }),
    ];
    for (field, request) in wrong {
        let frame = decoded(Kind::Request(request));
        let flawed = Flawed { about: About::Request(7), field, payload_len: Some(500) };
        assert_eq!(frame, Ok(StreamFrame::Flawed(flawed)));
    }
}

#[test]
fn the_lengths_of_what_concerns_a_link_are_exact() {
    let b = |len: usize| Bytes::from(vec![1; len]);
    let push = |push: proto::Push| flaw(Kind::Push(proto::Push { number: 3, ..push }));
    let of_push = |field| Some((About::Push(3), field));
    assert_eq!(push(proto::Push { user: b(64), id: b(16), ..proto::Push::default() }), None);
    assert_eq!(push(proto::Push { user: b(65), ..proto::Push::default() }), of_push("user"));
    assert_eq!(push(proto::Push { id: b(17), ..proto::Push::default() }), of_push("id"));
    assert_eq!(push(proto::Push { users: vec![b(65)], ..proto::Push::default() }), of_push("users"));
    assert_eq!(push(proto::Push { users: vec![b(1), b(0)], ..proto::Push::default() }), of_push("users"));
    let many = |len| push(proto::Push { users: vec![b(64); len], ..proto::Push::default() });
    assert_eq!((many(256), many(257)), (None, of_push("users")));
    let part = |id, index, count| {
        let package = Some(proto::Package { id: b(id), index, count, on_gap: 0 });
        push(proto::Push { package, ..proto::Push::default() })
    };
    assert_eq!([part(1, 0, 1), part(16, 8, 9)], [None; 2]);
    let wrong = [part(0, 0, 1), part(17, 0, 1), part(1, 0, 0), part(1, 1, 1)];
    assert_eq!(wrong, [of_push("package"); 4]);
    assert_eq!(push(proto::Push { coalesce: b(65), ..proto::Push::default() }), of_push("coalesce"));
    let opened =
        proto::LinkOpened { link: 9, user: b(1), device: b(1), session: b(16), ..Default::default() };
    let of_link = |field| Some((About::Presence(9), field));
    for (len, field) in [(0, None), (4, None), (16, None), (5, of_link("address"))] {
        assert_eq!(flaw(Kind::LinkOpened(proto::LinkOpened { address: b(len), ..opened.clone() })), field);
    }
    let without_session = proto::LinkOpened { session: Bytes::new(), ..opened.clone() };
    assert_eq!(flaw(Kind::LinkOpened(without_session)), of_link("session"));
    let with_key = |len| flaw(Kind::LinkOpened(proto::LinkOpened { peer_key: b(len), ..opened.clone() }));
    assert_eq!((with_key(32), with_key(31)), (None, of_link("peer_key")));
    let ask = proto::Authenticate { call: 5, device: b(1), handshake: b(32), ..Default::default() };
    let asked = |ask| flaw(Kind::Authenticate(ask));
    let of_ask = |field| Some((About::Authenticate(5), field));
    assert_eq!(asked(ask.clone()), None);
    assert_eq!(asked(proto::Authenticate { handshake: b(31), ..ask.clone() }), of_ask("handshake"));
    assert_eq!(asked(proto::Authenticate { signature: b(63), ..ask.clone() }), of_ask("signature"));
    assert_eq!(asked(proto::Authenticate { token: b(3585), ..ask.clone() }), of_ask("token"));
    assert_eq!(asked(proto::Authenticate { device: b(0), ..ask }), of_ask("device"));
    let result = |result: proto::AuthResult| flaw(Kind::AuthResult(proto::AuthResult { call: 4, ..result }));
    let of_result = |field| Some((About::AuthResult(4), field));
    assert_eq!(result(proto::AuthResult::default()), None, "a refusal names nobody");
    assert_eq!(result(proto::AuthResult { accepted: true, ..Default::default() }), of_result("user"));
    assert_eq!(result(proto::AuthResult { bound_key: b(31), ..Default::default() }), of_result("bound_key"));
    assert_eq!(result(proto::AuthResult { login: b(65), ..Default::default() }), of_result("login"));
    let kick = proto::Kick { link: 9, device: b(65), ..Default::default() };
    assert_eq!(flaw(Kind::Kick(kick)), Some((About::Kick(9), "device")));
    let of_login = |len| flaw(Kind::Kick(proto::Kick { user: b(1), login: b(len), ..Default::default() }));
    assert_eq!((of_login(256), of_login(257)), (None, Some((About::Kick(0), "login"))));
}

#[test]
fn a_sanction_names_a_user_or_a_prefix_and_never_both() {
    let b = |len| Bytes::from(vec![1; len]);
    let ban = |user: usize, prefix: usize, prefix_len| {
        flaw(Kind::Ban(proto::Ban { user: b(user), prefix: b(prefix), prefix_len, ..Default::default() }))
    };
    let field = |field| Some((About::Ban, field));
    assert_eq!([ban(64, 0, 0), ban(0, 4, 1), ban(0, 4, 32), ban(0, 16, 128)], [None; 4]);
    assert_eq!([ban(0, 0, 0), ban(1, 4, 32)], [field("target"); 2]);
    assert_eq!([ban(65, 0, 0), ban(0, 5, 8)], [field("user"), field("prefix")]);
    assert_eq!([ban(0, 4, 0), ban(0, 4, 33), ban(0, 16, 129), ban(1, 0, 8)], [field("prefix_len"); 4]);
    let reason = proto::Ban { user: b(1), reason: "r".repeat(129), ..Default::default() };
    assert_eq!(flaw(Kind::Ban(reason)), field("reason"));
    let unban = proto::Unban { user: b(1), realm: "r".repeat(65), ..Default::default() };
    assert_eq!(flaw(Kind::Unban(unban)), Some((About::Unban, "realm")));
    let throttle =
        |percent| flaw(Kind::Throttle(proto::Throttle { user: b(1), percent, ..Default::default() }));
    let percent = Some((About::Throttle, "percent"));
    assert_eq!([0, 1, 100, 101].map(throttle), [percent, None, None, percent]);
}

/// What it says of its push is worth more than the name.
#[test]
fn a_report_with_a_name_that_is_too_long_is_one_without_it() {
    let report = |device: usize, user: usize| {
        let b = |len| Bytes::from(vec![b'a'; len]);
        let report = proto::Report { number: 4, report: 9, devices: 2, ..Default::default() };
        match decoded(Kind::Report(proto::Report { device: b(device), user: b(user), ..report })) {
            Ok(StreamFrame::Report(report)) => {
                assert_eq!((report.number, report.report, report.devices), (4, 9, 2));
                (report.device.len(), report.user.len())
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!([report(64, 65), report(65, 64), report(300, 0)], [(64, 0), (0, 64), (0, 0)]);
}

#[test]
fn what_concerns_the_stream_itself_is_an_error() {
    let close = proto::Close { text: "x".repeat(129), ..proto::Close::default() };
    assert_eq!(decoded(Kind::Close(close)), Err(Error::Field("text")));
    // Its bad field stands before the end of a length that is none.
    let cut_off = [&[0x82, 0x01, 0x46, 0x12, 0x41][..], &[0; 65], &[0x3a, 0x7f]].concat();
    assert_eq!(StreamFrame::decode(&cut_off), Err(Error::FrameEncoding));
}

#[test]
fn a_push_counts_its_targets_served_or_not() {
    let targets = |push: proto::Push| match decoded(Kind::Push(push)).unwrap() {
        StreamFrame::Push(push) => push.targets(),
        other => panic!("{}", other.name()),
    };
    let b = Bytes::from_static(b"x");
    assert_eq!(targets(proto::Push::default()), 0);
    let all = proto::Push {
        link: 1,
        user: b.clone(),
        room: b.clone(),
        users: vec![b.clone(), b.clone()],
        rooms: vec![b],
        node: true,
        ..proto::Push::default()
    };
    assert_eq!(targets(all), 6, "several users are one target");
    assert_eq!(targets(proto::Push { node: true, ..proto::Push::default() }), 1);
}

#[test]
fn encoding_into_a_grown_batch_takes_no_memory() {
    let mut out = Vec::with_capacity(256);
    let at = out.as_ptr();
    let request = StreamRequest { id: [1; 16], route: "echo", payload: &[9; 64], ..StreamRequest::default() };
    StreamFrame::Request(request).encode(&mut out);
    assert_eq!((out.as_ptr(), out.capacity()), (at, 256));
}

/// Other encoders than prost may write a field that says nothing.
#[test]
fn an_outcome_of_zero_may_be_written_out() {
    let tag = |field: u8| field << 3;
    for (number, outcome) in [
        (0, PushOutcome::Delivered),
        (1, PushOutcome::Undelivered),
        (2, PushOutcome::Unknown),
        (9, PushOutcome::Unknown),
    ] {
        let mut body = Vec::new();
        StreamFrame::Report(Report { number: 5, ..Report::default() }).encode(&mut body);
        let head = body[1];
        let body = [head, 4, tag(1), 5, tag(2), number];
        let Ok(StreamFrame::Report(report)) = StreamFrame::decode(&body) else { panic!("a report") };
        assert_eq!((report.number, report.outcome), (5, outcome));
    }
}
