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
        if let Some(len) = frame.payload_body_len() {
            prop_assert_eq!(len, body.len());
        }
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
    fn unknown_fields_are_skipped(kind in kind(), number in 22u64..1000, value: u64) {
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
        (Ok(StreamFrame::Rare(..)), Err(_)) => {} // Ours has not looked inside yet.
        (Ok(frame), Ok(theirs)) => prop_assert_eq!(as_generated(&frame), normal(theirs.kind)),
        // Protobuf treats a known field of another wire type as unknown; prost refuses it.
        (Ok(_), Err(error)) => prop_assert!(error.to_string().contains("wire type"), "{error}"),
        (Err(Error::Field(_)), _) => {} // A bound that protobuf does not know.
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
        count += usize::from((1..=21).contains(&field) && matches!(value, Value::Bytes(_)));
    }
    count
}

/// Outcomes of a later version read as unknown.
fn normal(kind: Option<Kind>) -> Option<Kind> {
    let Some(Kind::Report(mut report)) = kind else { return kind };
    report.outcome = if matches!(report.outcome, 0 | 1) { report.outcome } else { 2 };
    Some(Kind::Report(report))
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
    encode_raw(22, b"whatever", &mut body);
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

#[test]
fn bounds_are_checked() {
    let request = proto::Request {
        id: Bytes::from_static(&[7; 16]),
        route: "echo".into(),
        user: Bytes::from_static(&[0; 64]),
        ..proto::Request::default()
    };
    let refused = |request: proto::Request| {
        let body = proto::Frame { kind: Some(Kind::Request(request)) }.encode_to_vec();
        StreamFrame::decode(&body).err()
    };
    assert_eq!(refused(request.clone()), None);
    let long = Bytes::from_static(&[0; 65]);
    assert_eq!(refused(proto::Request { user: long.clone(), ..request.clone() }), Some(Error::Field("user")));
    assert_eq!(refused(proto::Request { key: long, ..request.clone() }), Some(Error::Field("key")));
    assert_eq!(refused(proto::Request { id: Bytes::new(), ..request.clone() }), Some(Error::Field("id")));
    assert_eq!(
        refused(proto::Request { route: String::new(), ..request.clone() }),
        Some(Error::Field("route"))
    );
    assert_eq!(refused(proto::Request { route: "r".repeat(33), ..request }), Some(Error::Field("route")));
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
        }),
        StreamFrame::Credit { bytes } => Kind::Credit(proto::Credit { bytes }),
        StreamFrame::Ping { nonce } => Kind::Ping(proto::Ping { nonce }),
        StreamFrame::Pong { nonce } => Kind::Pong(proto::Pong { nonce }),
        StreamFrame::Report(r) => Kind::Report(proto::Report {
            number: r.number,
            outcome: i32::from(r.outcome as u8),
            reason: r.reason,
        }),
        StreamFrame::ReportAck { number } => Kind::ReportAck(proto::ReportAck { number }),
        StreamFrame::LinkOpened(_)
        | StreamFrame::LinkClosed(_)
        | StreamFrame::Authenticate(_)
        | StreamFrame::AuthResult(_)
        | StreamFrame::Kick(_)
        | StreamFrame::Close(_) => presence_as_generated(frame),
        StreamFrame::Rare(rare, inner) => rare_as_generated(rare, inner).unwrap(),
        StreamFrame::Unknown => return None,
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
        }),
        StreamFrame::LinkClosed(l) => Kind::LinkClosed(proto::LinkClosed {
            link: l.link,
            user: b(l.user),
            device: b(l.device),
            session: b(l.session),
            code: l.code,
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
        }),
        StreamFrame::AuthResult(a) => Kind::AuthResult(proto::AuthResult {
            call: a.call,
            accepted: a.accepted,
            user: b(a.user),
            expires_ms: a.expires_ms,
            code: a.code,
            retry_after_ms: a.retry_after_ms,
        }),
        StreamFrame::Kick(k) => Kind::Kick(proto::Kick {
            link: k.link,
            user: b(k.user),
            device: b(k.device),
            code: k.code,
            do_not_reconnect: k.do_not_reconnect,
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
    })
}

fn bytes(max: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..=max).prop_map(Bytes::from)
}

fn words(max: usize) -> impl Strategy<Value = String> {
    vec(prop_oneof![Just('a'), Just('é'), Just('入')], 0..=max / 3).prop_map(String::from_iter)
}

/// Any frame whose fields keep their bounds.
fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![messages(), presence(), seldom()]
}

fn messages() -> impl Strategy<Value = Kind> {
    prop_oneof![
        (
            any::<(u64, u64, [u8; 16], u32, u64, bool)>(),
            bytes(64),
            bytes(64),
            bytes(64),
            bytes(300),
            bytes(16)
        )
            .prop_map(
                |((call, link, id, deadline_ms, trace, again), user, device, key, payload, session)| {
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
                    })
                }
            ),
        (any::<(u64, u32, bool, u32, u64)>(), bytes(300)).prop_map(
            |((call, status, refused, retry_after_ms, trace), payload)| {
                Kind::Response(proto::Response { call, status, payload, refused, retry_after_ms, trace })
            }
        ),
        (any::<(u64, u64, u32)>(), bytes(64), bytes(64), bytes(64), bytes(16), bytes(300)).prop_map(
            |((number, link, class), user, room, device, id, payload)| {
                Kind::Push(proto::Push { number, link, user, room, device, id, payload, class })
            }
        ),
        any::<u64>().prop_map(|bytes| Kind::Credit(proto::Credit { bytes })),
        any::<u32>().prop_map(|nonce| Kind::Ping(proto::Ping { nonce })),
        any::<u32>().prop_map(|nonce| Kind::Pong(proto::Pong { nonce })),
        (any::<u64>(), 0..3, any::<u32>())
            .prop_map(|(number, outcome, reason)| Kind::Report(proto::Report { number, outcome, reason })),
        any::<u64>().prop_map(|number| Kind::ReportAck(proto::ReportAck { number })),
    ]
}

fn presence() -> impl Strategy<Value = Kind> {
    prop_oneof![
        (any::<(u64, u32, u32, u64)>(), bytes(64), bytes(64), bytes(16), bytes(16), words(64)).prop_map(
            |((link, port, suite, login_ms), user, device, session, address, agent)| {
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
                })
            }
        ),
        (any::<(u64, u32)>(), bytes(64), bytes(64), bytes(16)).prop_map(
            |((link, code), user, device, session)| {
                Kind::LinkClosed(proto::LinkClosed { link, user, device, session, code })
            }
        ),
        (
            any::<(u64, u64, u32, u32)>(),
            bytes(200),
            [bytes(64), bytes(64), bytes(64)],
            bytes(32),
            bytes(32),
            bytes(16)
        )
            .prop_map(
                |(
                    (call, link, suite, deadline_ms),
                    token,
                    [device, user, signature],
                    handshake,
                    peer_key,
                    address,
                )| {
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
                    })
                }
            ),
        (any::<(u64, bool, u64, u32, u32)>(), bytes(64)).prop_map(
            |((call, accepted, expires_ms, code, retry_after_ms), user)| {
                Kind::AuthResult(proto::AuthResult { call, accepted, user, expires_ms, code, retry_after_ms })
            }
        ),
        (any::<(u64, u32, bool)>(), bytes(64), bytes(64)).prop_map(
            |((link, code, do_not_reconnect), user, device)| {
                Kind::Kick(proto::Kick { link, user, device, code, do_not_reconnect })
            }
        ),
        (any::<(u32, u32)>(), words(128)).prop_map(|((code, retry_after_ms), text)| Kind::Close(
            proto::Close { code, retry_after_ms, text }
        )),
    ]
}

fn seldom() -> impl Strategy<Value = Kind> {
    prop_oneof![
        (bytes(16), words(32), any::<(u32, u64, u32, u32)>()).prop_map(
            |(boot_id, gateway, (worker, credit, frame_len_max, heartbeat_ms))| {
                Kind::Hello(proto::Hello { boot_id, gateway, worker, credit, frame_len_max, heartbeat_ms })
            }
        ),
        (bytes(64), vec(words(32), 0..4), any::<(u64, u32)>()).prop_map(
            |(instance, routes, (credit, frame_len_max))| {
                Kind::Ready(proto::Ready { instance, routes, credit, frame_len_max })
            }
        ),
        (any::<(u64, u64)>(), bytes(16), vec(any::<u64>(), 0..5)).prop_map(
            |((link, until_ms), session, unacknowledged)| {
                Kind::LinkDetached(proto::LinkDetached { link, session, until_ms, unacknowledged })
            }
        ),
        (any::<(u32, u64)>(), bytes(64), bytes(16), words(32)).prop_map(
            |((prefix_len, until_ms), user, prefix, reason)| {
                Kind::Ban(proto::Ban { user, prefix, prefix_len, until_ms, reason })
            }
        ),
        (any::<u64>(), bytes(64), bytes(64)).prop_map(|(link, user, room)| Kind::Join(proto::Join {
            link,
            user,
            room
        })),
        (any::<u64>(), bytes(64), bytes(64)).prop_map(|(link, user, room)| Kind::Leave(proto::Leave {
            link,
            user,
            room
        })),
        (bytes(16), any::<u32>())
            .prop_map(|(session, code)| Kind::EndSession(proto::EndSession { session, code })),
    ]
}
