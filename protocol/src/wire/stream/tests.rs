//! The hand-written frames against the generated ones.

use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use prost::bytes::Bytes;

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
        Kind::Report(proto::Report { number, outcome, reason, .. }) => {
            let outcome = if matches!(outcome, 0 | 1) { outcome } else { 2 };
            Kind::Report(proto::Report { number, outcome, reason, ..proto::Report::default() })
        }
        Kind::Push(push) => Kind::Push(proto::Push {
            users: Vec::new(),
            ttl_ms: 0,
            rooms: Vec::new(),
            except: Vec::new(),
            package: None,
            node: false,
            coalesce: Bytes::new(),
            ..push
        }),
        kind => kind,
    })
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
    assert_eq!(targets(all), 6);
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

/// A frame as the generated struct it stands for.
fn as_generated(frame: &StreamFrame<'_>) -> Option<Kind> {
    let b = Bytes::copy_from_slice;
    Some(match *frame {
        StreamFrame::Request(r) => Kind::Request(proto::Request {
            call: r.call,
            link: r.link,
            id: b(&r.id),
            user: b(r.user),
            device: b(r.device),
            route: r.route.into(),
            key: b(r.key),
            payload: b(r.payload),
            deadline_ms: r.deadline_ms,
            trace: r.trace,
            again: r.again,
            session: b(r.session),
            realm: r.realm.into(),
        }),
        StreamFrame::Response(r) => Kind::Response(proto::Response {
            call: r.call,
            status: r.status,
            payload: b(r.payload),
            refused: r.refused,
            retry_after_ms: r.retry_after_ms,
            trace: r.trace,
        }),
        StreamFrame::Push(p) => Kind::Push(proto::Push {
            number: p.number,
            link: p.link,
            user: b(p.user),
            room: b(p.room),
            device: b(p.device),
            id: b(p.id),
            payload: b(p.payload),
            class: p.class,
            realm: p.realm.into(),
            ..proto::Push::default()
        }),
        StreamFrame::Credit { bytes } => Kind::Credit(proto::Credit { bytes }),
        StreamFrame::Ping { nonce } => Kind::Ping(proto::Ping { nonce }),
        StreamFrame::Pong { nonce } => Kind::Pong(proto::Pong { nonce }),
        StreamFrame::Report(r) => Kind::Report(proto::Report {
            number: r.number,
            outcome: i32::from(r.outcome as u8),
            reason: r.reason,
            ..proto::Report::default()
        }),
        StreamFrame::ReportAck { report } => Kind::ReportAck(proto::ReportAck { report }),
        StreamFrame::Pad { zeros } => Kind::Pad(proto::Pad { zeros: b(zeros) }),
        StreamFrame::Draining { deadline_ms } => Kind::Draining(proto::Draining { deadline_ms }),
        StreamFrame::LinkOpened(_)
        | StreamFrame::LinkClosed(_)
        | StreamFrame::Authenticate(_)
        | StreamFrame::AuthResult(_)
        | StreamFrame::Kick(_)
        | StreamFrame::Close(_) => presence_as_generated(frame),
        StreamFrame::Rare(rare, inner) => rare_as_generated(rare, inner).unwrap(),
        StreamFrame::Flawed(_) | StreamFrame::Unknown => return None,
    })
}

fn presence_as_generated(frame: &StreamFrame<'_>) -> Kind {
    let b = Bytes::copy_from_slice;
    match *frame {
        StreamFrame::LinkOpened(l) => Kind::LinkOpened(proto::LinkOpened {
            link: l.link,
            user: b(l.user),
            device: b(l.device),
            session: b(l.session),
            address: b(l.address),
            port: l.port,
            suite: l.suite,
            login_ms: l.login_ms,
            agent: l.agent.into(),
            link_epoch: l.link_epoch,
            origin_suite: l.origin_suite,
            peer_key: b(l.peer_key),
            class: l.class,
            realm: l.realm.into(),
        }),
        StreamFrame::LinkClosed(l) => Kind::LinkClosed(proto::LinkClosed {
            link: l.link,
            user: b(l.user),
            device: b(l.device),
            session: b(l.session),
            code: l.code,
            link_epoch: l.link_epoch,
        }),
        StreamFrame::Authenticate(a) => Kind::Authenticate(proto::Authenticate {
            call: a.call,
            link: a.link,
            token: b(a.token),
            device: b(a.device),
            user: b(a.user),
            handshake: b(a.handshake),
            peer_key: b(a.peer_key),
            suite: a.suite,
            address: b(a.address),
            deadline_ms: a.deadline_ms,
            signature: b(a.signature),
            class: a.class,
            realm: a.realm.into(),
        }),
        StreamFrame::AuthResult(a) => Kind::AuthResult(proto::AuthResult {
            call: a.call,
            accepted: a.accepted,
            user: b(a.user),
            expires_ms: a.expires_ms,
            code: a.code,
            retry_after_ms: a.retry_after_ms,
            do_not_reconnect: a.do_not_reconnect,
            class: a.class,
            limit_class: a.limit_class.into(),
            capabilities: a.capabilities,
            ticket_ms: a.ticket_ms,
            no_tickets: a.no_tickets,
            bound_key: b(a.bound_key),
            login: b(a.login),
        }),
        StreamFrame::Kick(k) => Kind::Kick(proto::Kick {
            link: k.link,
            user: b(k.user),
            device: b(k.device),
            code: k.code,
            do_not_reconnect: k.do_not_reconnect,
            revoke: k.revoke,
            realm: k.realm.into(),
        }),
        StreamFrame::Close(c) => {
            Kind::Close(proto::Close { code: c.code, retry_after_ms: c.retry_after_ms, text: c.text.into() })
        }
        ref other => panic!("{} is not about a link", other.name()),
    }
}

fn rare_as_generated(rare: Rare, inner: &[u8]) -> Result<Kind, Error> {
    Ok(match rare {
        Rare::LinkDetached => Kind::LinkDetached(Rare::decode(inner)?),
        Rare::Hello => Kind::Hello(Rare::decode(inner)?),
        Rare::Ready => Kind::Ready(Rare::decode(inner)?),
        Rare::Ban => Kind::Ban(Rare::decode(inner)?),
        Rare::Join => Kind::Join(Rare::decode(inner)?),
        Rare::Leave => Kind::Leave(Rare::decode(inner)?),
        Rare::EndSession => Kind::EndSession(Rare::decode(inner)?),
        Rare::LinkResumed => Kind::LinkResumed(Rare::decode(inner)?),
        Rare::Unban => Kind::Unban(Rare::decode(inner)?),
        Rare::Throttle => Kind::Throttle(Rare::decode(inner)?),
        Rare::Announced => Kind::Announced(Rare::decode(inner)?),
        Rare::RoomResult => Kind::RoomResult(Rare::decode(inner)?),
        Rare::RoomAsk => Kind::RoomAsk(Rare::decode(inner)?),
        Rare::RoomAnswer => Kind::RoomAnswer(Rare::decode(inner)?),
        Rare::RoomEvents => Kind::RoomEvents(Rare::decode(inner)?),
        Rare::RoomCount => Kind::RoomCount(Rare::decode(inner)?),
    })
}

fn bytes(max: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..=max).prop_map(Bytes::from)
}

/// A user or a device.
fn id() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 1..=64).prop_map(Bytes::from)
}

/// Bytes of one of these lengths.
fn of(lens: &'static [usize]) -> impl Strategy<Value = Bytes> {
    (prop::sample::select(lens), any::<u8>()).prop_map(|(len, byte)| Bytes::from(vec![byte; len]))
}

fn words(max: usize) -> impl Strategy<Value = String> {
    vec(prop_oneof![Just('a'), Just('é'), Just('入')], 0..=max / 3).prop_map(String::from_iter)
}

/// Any frame whose fields keep their bounds.
fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![messages(), presence(), seldom(), rooms()]
}

fn messages() -> impl Strategy<Value = Kind> {
    let request = (
        any::<(u64, u64, [u8; 16], u32, u64, bool)>(),
        [id(), id()],
        bytes(64),
        bytes(300),
        of(&[0, 16]),
        words(64),
    )
        .prop_map(
            |((call, link, id, deadline_ms, trace, again), [user, device], key, payload, session, realm)| {
                let (id, route) = (Bytes::copy_from_slice(&id), "chat".into());
                Kind::Request(proto::Request {
                    call,
                    link,
                    id,
                    user,
                    device,
                    route,
                    key,
                    payload,
                    deadline_ms,
                    trace,
                    again,
                    session,
                    realm,
                })
            },
        );
    prop_oneof![
        request,
        (any::<(u64, u32, bool, u32, u64)>(), bytes(300)).prop_map(
            |((call, status, refused, retry_after_ms, trace), payload)| {
                Kind::Response(proto::Response { call, status, payload, refused, retry_after_ms, trace })
            }
        ),
        (any::<(u64, u64, u32)>(), [bytes(64), bytes(64), bytes(64)], bytes(16), bytes(300), words(64))
            .prop_map(|((number, link, class), [user, room, device], id, payload, realm)| {
                let push = proto::Push {
                    number,
                    link,
                    user,
                    room,
                    device,
                    id,
                    payload,
                    class,
                    ..Default::default()
                };
                Kind::Push(proto::Push { realm, ..push })
            }),
        any::<u64>().prop_map(|bytes| Kind::Credit(proto::Credit { bytes })),
        any::<u32>().prop_map(|nonce| Kind::Ping(proto::Ping { nonce })),
        any::<u32>().prop_map(|nonce| Kind::Pong(proto::Pong { nonce })),
        (any::<u64>(), 0..3, any::<u32>()).prop_map(|(number, outcome, reason)| Kind::Report(
            proto::Report { number, outcome, reason, ..Default::default() }
        )),
        any::<u64>().prop_map(|report| Kind::ReportAck(proto::ReportAck { report })),
        bytes(40).prop_map(|zeros| Kind::Pad(proto::Pad { zeros })),
        any::<u32>().prop_map(|deadline_ms| Kind::Draining(proto::Draining { deadline_ms })),
    ]
}

fn presence() -> impl Strategy<Value = Kind> {
    let opened = (
        any::<(u64, u32, u32, u64, u64, u32, u32)>(),
        [id(), id()],
        of(&[16]),
        of(&[0, 4, 16]),
        of(&[0, 32]),
        [words(64), words(64)],
    )
        .prop_map(|(numbers, [user, device], session, address, peer_key, [agent, realm])| {
            let (link, port, suite, login_ms, link_epoch, origin_suite, class) = numbers;
            Kind::LinkOpened(proto::LinkOpened {
                link,
                user,
                device,
                session,
                address,
                port,
                suite,
                login_ms,
                agent,
                link_epoch,
                origin_suite,
                peer_key,
                class,
                realm,
            })
        });
    prop_oneof![
        opened,
        (any::<(u64, u32, u64)>(), [id(), id()], of(&[16])).prop_map(
            |((link, code, link_epoch), [user, device], session)| {
                Kind::LinkClosed(proto::LinkClosed { link, user, device, session, code, link_epoch })
            }
        ),
        judging(),
        (any::<(u64, u32, bool, bool)>(), [bytes(64), bytes(64)], words(64)).prop_map(
            |((link, code, do_not_reconnect, revoke), [user, device], realm)| {
                Kind::Kick(proto::Kick { link, user, device, code, do_not_reconnect, revoke, realm })
            }
        ),
        (any::<(u32, u32)>(), words(128)).prop_map(|((code, retry_after_ms), text)| Kind::Close(
            proto::Close { code, retry_after_ms, text }
        )),
    ]
}

fn judging() -> impl Strategy<Value = Kind> {
    let ask = (
        any::<(u64, u64, u32, u32, u32)>(),
        bytes(200),
        (id(), bytes(64)),
        [of(&[32]), of(&[32])],
        (of(&[0, 4, 16]), of(&[0, 64])),
        words(64),
    )
        .prop_map(
            |(numbers, token, (device, user), [handshake, peer_key], (address, signature), realm)| {
                let (call, link, suite, deadline_ms, class) = numbers;
                Kind::Authenticate(proto::Authenticate {
                    call,
                    link,
                    token,
                    device,
                    user,
                    handshake,
                    peer_key,
                    suite,
                    address,
                    deadline_ms,
                    signature,
                    class,
                    realm,
                })
            },
        );
    let result =
        (
            any::<(u64, bool, u64, u32, u32, bool, u32, u64, u32, bool)>(),
            id(),
            words(32),
            of(&[0, 32]),
            bytes(64),
        )
            .prop_map(|(numbers, user, limit_class, bound_key, login)| {
                let (
                    call,
                    accepted,
                    expires_ms,
                    code,
                    retry_after_ms,
                    do_not_reconnect,
                    class,
                    capabilities,
                    ..,
                ) = numbers;
                let (.., ticket_ms, no_tickets) = numbers;
                Kind::AuthResult(proto::AuthResult {
                    call,
                    accepted,
                    user,
                    expires_ms,
                    code,
                    retry_after_ms,
                    do_not_reconnect,
                    class,
                    limit_class,
                    capabilities,
                    ticket_ms,
                    no_tickets,
                    bound_key,
                    login,
                })
            });
    prop_oneof![ask, result]
}

fn seldom() -> impl Strategy<Value = Kind> {
    prop_oneof![
        (bytes(16), words(32), any::<(u32, u64, u32, u32, u32)>()).prop_map(
            |(boot_id, gateway, (worker, credit, frame_len_max, heartbeat_ms, report_slots))| {
                let hello =
                    proto::Hello { boot_id, gateway, worker, credit, frame_len_max, ..Default::default() };
                Kind::Hello(proto::Hello { heartbeat_ms, report_slots, ..hello })
            }
        ),
        (bytes(64), vec(words(32), 0..4), any::<(u64, u32, bool, bool)>(), bytes(16)).prop_map(
            |(instance, routes, (credit, frame_len_max, room_events, room_counts), boot)| {
                let ready = proto::Ready { instance, routes, credit, frame_len_max, ..Default::default() };
                Kind::Ready(proto::Ready { boot, room_events, room_counts, ..ready })
            }
        ),
        (any::<(u64, u64, u64, u32)>(), bytes(16), vec(any::<u64>(), 0..5)).prop_map(
            |((link, until_ms, link_epoch, unacknowledged_count), session, unacknowledged)| {
                let detached =
                    proto::LinkDetached { link, session, until_ms, unacknowledged, ..Default::default() };
                Kind::LinkDetached(proto::LinkDetached { link_epoch, unacknowledged_count, ..detached })
            }
        ),
        vec(any::<(u64, u64, u64)>(), 0..4).prop_map(|links| {
            let resumed = |(old_link, link, link_epoch)| proto::Resumed { old_link, link, link_epoch };
            Kind::LinkResumed(proto::LinkResumed { links: links.into_iter().map(resumed).collect() })
        }),
        (any::<(u32, u64)>(), bytes(64), bytes(16), [words(32), words(64)]).prop_map(
            |((prefix_len, until_ms), user, prefix, [reason, realm])| {
                Kind::Ban(proto::Ban { user, prefix, prefix_len, until_ms, reason, realm })
            }
        ),
        (any::<u32>(), bytes(64), bytes(16), words(64)).prop_map(|(prefix_len, user, prefix, realm)| {
            Kind::Unban(proto::Unban { user, prefix, prefix_len, realm })
        }),
        (any::<(u32, u32, u64)>(), bytes(64), bytes(16), words(64)).prop_map(
            |((prefix_len, percent, until_ms), user, prefix, realm)| {
                Kind::Throttle(proto::Throttle { user, prefix, prefix_len, percent, until_ms, realm })
            }
        ),
        Just(Kind::Announced(proto::Announced {})),
        (bytes(16), any::<u32>())
            .prop_map(|(session, code)| Kind::EndSession(proto::EndSession { session, code })),
    ]
}

fn rooms() -> impl Strategy<Value = Kind> {
    let event =
        (any::<(u64, bool, u64)>(), [id(), id()]).prop_map(|((link, left, epoch), [user, device])| {
            proto::RoomEvent { link, user, device, left, epoch }
        });
    let members = (id(), any::<(u64, u64)>()).prop_map(|(room, (members, epoch))| proto::RoomMembers {
        room,
        members,
        epoch,
        realm: String::new(),
    });
    prop_oneof![
        (any::<(u64, u64)>(), (bytes(64), id(), bytes(64)), words(64)).prop_map(
            |((link, number), (user, room, device), realm)| {
                Kind::Join(proto::Join { link, user, room, device, number, realm })
            }
        ),
        (any::<(u64, u64)>(), (bytes(64), id(), bytes(64)), words(64)).prop_map(
            |((link, number), (user, room, device), realm)| {
                Kind::Leave(proto::Leave { link, user, room, device, number, realm })
            }
        ),
        any::<(u64, u32, u32)>().prop_map(|(number, code, links)| Kind::RoomResult(proto::RoomResult {
            number,
            code,
            links
        })),
        (any::<(u64, u64, u32)>(), [id(), id(), id()], of(&[16]), words(64)).prop_map(
            |((call, link, deadline_ms), [user, device, room], session, realm)| {
                Kind::RoomAsk(proto::RoomAsk { call, link, user, device, session, room, deadline_ms, realm })
            }
        ),
        any::<(u64, u32, u32)>().prop_map(|(call, code, retry_after_ms)| Kind::RoomAnswer(
            proto::RoomAnswer { call, code, retry_after_ms }
        )),
        (id(), vec(event, 0..3)).prop_map(|(room, events)| Kind::RoomEvents(proto::RoomEvents {
            room,
            events,
            realm: String::new()
        })),
        vec(members, 0..3).prop_map(|rooms| Kind::RoomCount(proto::RoomCount { rooms })),
    ]
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
