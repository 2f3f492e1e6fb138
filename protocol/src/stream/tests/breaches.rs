//! One end, and something at the other that breaks the rules.

use proptest::prelude::*;

use super::*;
use crate::limits::{PREAMBLE_LEN, WORKER_MAX};
use crate::noise::preamble::{Hello, Preamble, VERSIONS};
use crate::noise::{Gate, KeyId, Suites};
use crate::wire::proto::stream as proto;
use crate::wire::stream::{AuthResult, Authenticate, Kick, LinkOpened, Rare, credit_cost};

fn hello() -> proto::Hello {
    proto::Hello {
        boot_id: [1; 16][..].into(),
        gateway: "g".into(),
        worker: 0,
        credit: 10_000,
        frame_len_max: 4096,
        heartbeat_ms: 5000,
        ..Default::default()
    }
}

fn ready() -> proto::Ready {
    proto::Ready {
        instance: b"i"[..].into(),
        routes: vec!["echo".into()],
        credit: 10_000,
        frame_len_max: 4096,
        ..Default::default()
    }
}

fn rare_record(kind: Rare, message: &impl prost::Message) -> Vec<u8> {
    clear_record(&[StreamFrame::Rare(kind, &message.encode_to_vec())])
}

/// A clear backend stream that was told these bytes behind a good preamble.
fn backend_told(records: &[u8]) -> Result<BackendStream, Error> {
    let mut stream = backend(Access::clear(), PARAMS);
    let mut bytes = Vec::new();
    gateway(&Mode::Clear, PARAMS).seal(&mut bytes);
    bytes.truncate(PREAMBLE_LEN);
    bytes.extend_from_slice(records);
    let mut input = stream.input(&mut bytes);
    while stream.receive(&mut input, START)?.is_some() {}
    stream.keep(input);
    Ok(stream)
}

fn gateway_told(records: &[u8]) -> Result<GatewayStream, Error> {
    let mut stream = gateway(&Mode::Clear, PARAMS);
    let mut bytes = records.to_vec();
    let mut input = stream.input(&mut bytes);
    while stream.receive(&mut input, START)?.is_some() {}
    stream.keep(input);
    Ok(stream)
}

#[test]
fn a_hello_out_of_bounds_is_refused() {
    let refused = |hello: proto::Hello| backend_told(&rare_record(Rare::Hello, &hello)).err();
    assert_eq!(refused(hello()), None);
    assert_eq!(
        refused(proto::Hello { boot_id: [1; 15][..].into(), ..hello() }),
        Some(Error::Field("boot_id"))
    );
    assert_eq!(refused(proto::Hello { gateway: "g".repeat(65), ..hello() }), Some(Error::Field("gateway")));
    assert_eq!(refused(proto::Hello { gateway: "g".repeat(64), ..hello() }), None);
    assert_eq!(refused(proto::Hello { worker: WORKER_MAX + 1, ..hello() }), Some(Error::Field("worker")));
    assert_eq!(refused(proto::Hello { worker: WORKER_MAX, ..hello() }), None);
    assert_eq!(refused(proto::Hello { frame_len_max: 4095, ..hello() }), Some(Error::Field("frame_len_max")));
    assert_eq!(refused(proto::Hello { credit: 8319, ..hello() }), Some(Error::Field("credit")));
    assert_eq!(refused(proto::Hello { credit: 8320, ..hello() }), None, "two of the longest frames");
    assert_eq!(refused(proto::Hello { heartbeat_ms: 99, ..hello() }), Some(Error::Field("heartbeat_ms")));
}

#[test]
fn a_ready_out_of_bounds_is_refused() {
    let refused = |ready: proto::Ready| gateway_told(&rare_record(Rare::Ready, &ready)).err();
    assert_eq!(refused(ready()), None);
    assert_eq!(refused(proto::Ready { instance: b""[..].into(), ..ready() }), Some(Error::Field("instance")));
    assert_eq!(
        refused(proto::Ready { instance: [1; 65][..].into(), ..ready() }),
        Some(Error::Field("instance"))
    );
    assert_eq!(refused(proto::Ready { instance: [1; 64][..].into(), ..ready() }), None);
    assert_eq!(refused(proto::Ready { routes: vec!["r".into(); 64], ..ready() }), None);
    assert_eq!(
        refused(proto::Ready { routes: vec!["r".into(); 65], ..ready() }),
        Some(Error::Field("routes"))
    );
    assert_eq!(
        refused(proto::Ready { routes: vec![String::new()], ..ready() }),
        Some(Error::Field("routes"))
    );
    assert_eq!(
        refused(proto::Ready { routes: vec!["r".repeat(33)], ..ready() }),
        Some(Error::Field("routes"))
    );
    let booted = |len| refused(proto::Ready { boot: vec![1; len].into(), ..ready() });
    assert_eq!(
        [0, 15, 16, 17].map(booted),
        [None, Some(Error::Field("boot")), None, Some(Error::Field("boot"))]
    );
    assert_eq!(refused(proto::Ready { frame_len_max: 1, ..ready() }), Some(Error::Field("frame_len_max")));
    assert_eq!(refused(proto::Ready { credit: 8319, ..ready() }), Some(Error::Field("credit")));
    assert_eq!(refused(proto::Ready { credit: 8320, ..ready() }), None, "two of the longest frames");
    let default = proto::Ready { frame_len_max: 0, ..ready() };
    assert_eq!(refused(default.clone()), Some(Error::Field("credit")), "of the default, that is");
    assert_eq!(refused(proto::Ready { credit: 2 * (65_536 + 64), ..default }), None);
}

#[test]
fn something_else_before_the_introduction_is_refused() {
    let ping = clear_record(&[StreamFrame::Ping { nonce: 1 }]);
    assert_eq!(backend_told(&ping).err(), Some(Error::Unexpected("ping")));
    assert_eq!(gateway_told(&ping).err(), Some(Error::Unexpected("ping")));
    let late = [rare_record(Rare::Hello, &hello()), rare_record(Rare::Hello, &hello())].concat();
    assert_eq!(backend_told(&late).err(), Some(Error::Unexpected("hello")));
}

#[test]
fn frames_of_the_wrong_direction_are_refused() {
    let greeting = rare_record(Rare::Hello, &hello());
    let told = |frame| backend_told(&[greeting.clone(), clear_record(&[frame])].concat()).err();
    assert_eq!(told(StreamFrame::Response(StreamResponse::default())), Some(Error::Unexpected("response")));
    assert_eq!(told(StreamFrame::Push(StreamPush::default())), Some(Error::Unexpected("push")));
    assert_eq!(told(StreamFrame::Rare(Rare::EndSession, b"")), Some(Error::Unexpected("end_session")));
    assert_eq!(told(StreamFrame::Request(request(0, b""))), Some(Error::Field("call")));
    assert_eq!(told(StreamFrame::Authenticate(Authenticate::default())), Some(Error::Field("call")));
    assert_eq!(
        told(StreamFrame::Kick(Kick { device: &[0; 65], ..Kick::default() })),
        Some(Error::Unexpected("kick"))
    );
    let greeting = rare_record(Rare::Ready, &ready());
    let told = |frame| gateway_told(&[greeting.clone(), clear_record(&[frame])].concat()).err();
    assert_eq!(told(StreamFrame::Request(request(1, b""))), Some(Error::Unexpected("request")));
    let opened = LinkOpened { user: b"u", device: b"d", session: &[1; 16], ..LinkOpened::default() };
    assert_eq!(told(StreamFrame::LinkOpened(opened)), Some(Error::Unexpected("link_opened")));
    assert_eq!(told(StreamFrame::LinkOpened(LinkOpened::default())), Some(Error::Unexpected("presence")));
}

#[test]
fn more_than_the_granted_credit_ends_the_stream() {
    let payload = [0; 1000];
    let fits = usize::try_from(PARAMS.window / credit_cost(payload.len())).unwrap();
    let told = |count| {
        let mut records = rare_record(Rare::Hello, &hello());
        for call in 1..=count {
            records.extend(clear_record(&[StreamFrame::Request(request(call as u64, &payload))]));
        }
        backend_told(&records)
    };
    assert_eq!(told(fits).unwrap().held(), fits as u64 * credit_cost(payload.len()));
    let error = told(fits + 1).unwrap_err();
    assert_eq!(error, Error::Credit);
    assert_eq!(error.close_code(), Some(crate::CloseCode::RateExceeded));
}

#[test]
fn unknown_kinds_are_told_and_passed_over() {
    let mut records = rare_record(Rare::Hello, &hello());
    records.extend([0, 5, 4, 0xb2, 0x06, 1, 7]); // Field 102 in a frame of four bytes.
    records.extend(clear_record(&[StreamFrame::Ping { nonce: 1 }]));
    assert!(backend_told(&records).unwrap().is_live());
}

#[test]
fn so_many_unknown_kinds_at_a_time_end_the_stream_and_as_many_in_all_do_not() {
    let record = [0, 4, 3, 0xf8, 0x07, 1]; // Field 127, a number.
    let mut pair = Pair::live(&Mode::Clear);
    let minute = Duration::from_secs(60);
    for round in 0..3 {
        pair.now = START + minute * round;
        for _ in 0..crate::limits::STREAM_GLITCHES_MAX {
            assert_eq!(pair.tell_backend(&mut record.clone()), Ok(()));
        }
    }
    assert_eq!(pair.tell_backend(&mut record.clone()), Err(Error::Glitches));
    assert_eq!(Error::Glitches.close_code(), Some(crate::CloseCode::Glitches));
}

#[test]
fn padding_and_kinds_that_are_not_served_are_no_glitches() {
    let mut pair = Pair::live(&Mode::Clear);
    let pad = clear_record(&[StreamFrame::Pad { zeros: &[0; 100] }]);
    let announced = rare_record(Rare::Announced, &proto::Announced {});
    let leave = rare_record(Rare::Leave, &proto::Leave::default());
    for _ in 0..=crate::limits::STREAM_GLITCHES_MAX {
        assert_eq!(pair.tell_backend(&mut pad.clone()), Ok(()));
        assert_eq!(pair.tell_backend(&mut announced.clone()), Ok(()));
        assert_eq!(pair.tell_gateway(&mut pad.clone()), Ok(()));
        assert_eq!(pair.tell_gateway(&mut leave.clone()), Ok(()));
    }
    assert_eq!(pair.tell_backend(&mut leave.clone()), Err(Error::Unexpected("leave")), "the wrong way");
    assert_eq!(pair.tell_gateway(&mut announced.clone()), Err(Error::Unexpected("announced")));
}

/// Whom the flawed frames were about that an end was told of, as it should have been told of nothing else.
fn flaws(told: &[String]) -> Vec<&str> {
    let about = |text: &str| text.find("about: ").map(|at| at + "about: ".len());
    told[1..]
        .iter()
        .map(|text| text[about(text).expect("flawed")..].split(',').next().expect("a part"))
        .collect()
}

#[test]
fn a_bad_field_about_one_link_leaves_the_stream_to_the_others() {
    let mut pair = Pair::live(&Mode::Clear);
    let window = PARAMS.window;
    let id = [1; 65];
    let push = StreamPush { number: 4, user: &id, payload: &[0; 100], ..StreamPush::default() };
    let two = StreamPush { number: 5, link: 1, user: b"a", payload: &[0; 100], ..StreamPush::default() };
    let result = AuthResult { call: 6, accepted: true, ..AuthResult::default() };
    let kick = Kick { link: 1, user: b"eve", ..Kick::default() };
    let frames = [
        StreamFrame::Push(push),
        StreamFrame::Push(two),
        StreamFrame::AuthResult(result),
        StreamFrame::Kick(kick),
    ];
    assert_eq!(pair.tell_gateway(&mut clear_record(&frames)), Ok(()));
    assert_eq!(flaws(&pair.at_gateway), ["Push(4)", "Push(5)", "AuthResult(6)", "Kick(1)"]);
    assert!(pair.gateway.is_ready());
    pair.gateway.consumed(100);
    pair.gateway.consumed(100);
    let request = StreamRequest { call: 3, session: &[1; 15], payload: &[0; 50], ..request(3, &[]) };
    let ask = Authenticate { call: 2, handshake: &[1; 31], device: b"d", ..Authenticate::default() };
    let frames = [StreamFrame::Request(request), StreamFrame::Authenticate(ask)];
    assert_eq!(pair.tell_backend(&mut clear_record(&frames)), Ok(()));
    assert_eq!(flaws(&pair.at_backend), ["Request(3)", "Authenticate(2)"]);
    assert_eq!(pair.backend.held(), credit_cost(50), "and it costs what it would have cost");
    assert!(window > pair.backend.held());
}

#[test]
fn lengths_are_bounded_before_memory_is_taken() {
    let greeting = rare_record(Rare::Hello, &hello());
    let frame_of_4097 = [&greeting[..], &[0, 2, 0x81, 0x20]].concat();
    assert_eq!(backend_told(&frame_of_4097).err(), Some(Error::FrameLength(4097)));
    let empty_frame = [&greeting[..], &[0, 1, 0]].concat();
    assert_eq!(backend_told(&empty_frame).err(), Some(Error::FrameEmpty));
    let empty_record = [&greeting[..], &[0, 0]].concat();
    assert_eq!(backend_told(&empty_record).err(), Some(Error::RecordEmpty));
    // Before the gateway has introduced itself, records are short.
    assert_eq!(backend_told(&[0x10, 0x01]).err(), Some(Error::RecordLength(4097)));
}

#[test]
fn this_end_keeps_the_bounds_of_the_other() {
    let mut pair = Pair::live(&Mode::Clear);
    let fixed = StreamFrame::Request(request(1, &[0; 1000])).payload_body_len().unwrap() - 1000;
    let longest = vec![0; PARAMS.frame_len_max - fixed];
    assert_eq!(pair.gateway.request(&request(1, &[&longest[..], &[0]].concat())), Err(Blocked::TooLarge));
    assert_eq!(pair.gateway.credit_available(), PARAMS.window, "nothing has happened");
    pair.gateway.request(&request(1, &longest)).unwrap();
    pair.settle();
    assert_eq!(pair.at_gateway.len(), 2, "{:?}", pair.at_gateway);
}

#[test]
fn a_peer_that_takes_nothing_is_stalled() {
    let mut pair = Pair::live(&Mode::Clear);
    let mut report = crate::wire::stream::Report::default();
    while pair.gateway.pending() <= PARAMS.pending_bytes_max {
        assert_ne!(pair.gateway.deadline(), Some(Time::ZERO));
        report.number += 1;
        pair.gateway.report(&report);
    }
    assert_eq!(pair.gateway.request(&request(1, b"")), Err(Blocked::Pending));
    while pair.gateway.pending() <= 2 * PARAMS.pending_bytes_max {
        pair.gateway.report(&report);
    }
    assert_eq!(pair.gateway.deadline(), Some(Time::ZERO));
    assert_eq!(pair.gateway.expire(START), Err(Error::Stalled));
    assert_eq!(pair.tell_gateway(&mut clear_record(&[StreamFrame::Pong { nonce: 0 }])), Err(Error::Stalled));
}

#[test]
fn a_truncated_conversation_is_just_not_over() {
    for mode in modes() {
        let mut pair = Pair::new(&mode);
        let mut bytes = Vec::new();
        pair.gateway.seal(&mut bytes);
        let len = bytes.len();
        pair.tell_backend(&mut bytes[..len - 1]).unwrap();
        assert!(pair.at_backend.is_empty());
        assert!(!pair.backend.seal(&mut Vec::new()), "nothing is said before the hello is whole");
    }
}

/// Each bit of a sealed conversation, one at a time: the stream ends, and nothing wrong was heard.
#[test]
fn no_flipped_bit_goes_unnoticed() {
    let mode = kk(Suite::KkChaChaPoly, backend_key().public());
    let flip = |bytes: &mut [u8], bit: usize| bytes[bit / 8] ^= 1 << (bit % 8);
    let flight = |pair: &mut Pair| {
        let mut bytes = Vec::new();
        pair.gateway.seal(&mut bytes);
        bytes
    };
    let hello_len = flight(&mut Pair::new(&mode)).len();
    for bit in (0..hello_len * 8).step_by(3) {
        let mut pair = Pair::new(&mode);
        let mut bytes = flight(&mut pair);
        flip(&mut bytes, bit);
        let told = pair.tell_backend(&mut bytes);
        assert!(
            told.is_err_and(|error| error.close_code().is_none()) || !pair.backend.is_live(),
            "hello bit {bit}"
        );
        assert!(!pair.backend.seal(&mut Vec::new()), "silence at bit {bit}");
    }
    let mut pair = Pair::live(&mode);
    pair.gateway.request(&request(1, b"pay 100")).unwrap();
    let mut record = flight(&mut pair);
    for bit in 0..record.len() * 8 {
        flip(&mut record, bit);
        let mut pair = Pair::live(&mode);
        let told = pair.tell_backend(&mut record.clone());
        // A length that says more only makes the end wait.
        assert!(told == Err(Error::Record) || bit < 16, "bit {bit}: {told:?}");
        assert_eq!(pair.at_backend, ["Hello"]);
        flip(&mut record, bit);
    }
}

#[test]
fn a_flipped_message_2_ends_the_stream() {
    let mode = kk(Suite::KkAesGcm, backend_key().public());
    let mut pair = Pair::new(&mode);
    pair.up(usize::MAX);
    let mut message_2 = Vec::new();
    pair.backend.seal(&mut message_2);
    for bit in 16..message_2.len() * 8 {
        message_2[bit / 8] ^= 1 << (bit % 8);
        let mut other = Pair::new(&mode);
        assert_eq!(other.tell_gateway(&mut message_2.clone()), Err(Error::Handshake));
        message_2[bit / 8] ^= 1 << (bit % 8);
    }
    assert_eq!(pair.tell_gateway(&mut [0xff, 0xff]), Err(Error::HandshakeLength(65_535)));
}

#[test]
fn strangers_meet_silence() {
    let stranger = StaticKey::from_secret([77; 32]);
    let access = |gateways| Access::kk(backend_key(), gateways);
    let answer = |mut gateway: GatewayStream, access: Access| {
        let mut backend = backend(access, PARAMS);
        let mut bytes = Vec::new();
        gateway.seal(&mut bytes);
        let mut input = backend.input(&mut bytes);
        let error = backend.receive(&mut input, START).unwrap_err();
        assert!(!backend.seal(&mut Vec::new()), "{error}");
        error
    };
    let suite = Suite::KkChaChaPoly;
    let known = || kk(suite, backend_key().public());
    // A gateway that is not on the list; one that means another backend; clear at a sealed one, and the reverse.
    assert_eq!(answer(gateway(&known(), PARAMS), access(vec![stranger.public()])), Error::Handshake);
    let listed = || access(vec![gateway_key().public()]);
    assert_eq!(answer(gateway(&kk(suite, stranger.public()), PARAMS), listed()), Error::Gate);
    assert_eq!(answer(gateway(&Mode::Clear, PARAMS), listed()), Error::Suite);
    assert_eq!(answer(gateway(&known(), PARAMS), Access::clear()), Error::Suite);
    // One that only claims to be on the list.
    let liar = Mode::Kk { suite, local: stranger, remote: backend_key().public() };
    assert_eq!(answer(gateway(&liar, PARAMS), listed()), Error::Handshake);
}

/// A hello with a good tag that names this version and suite.
fn foreign(version: u8, suite: u8, suites: u32, ticket: &[u8], message_1: &[u8]) -> Vec<u8> {
    let remote = backend_key().public();
    let mut preamble = Preamble {
        version,
        suite,
        key_id: remote.key_id(),
        versions: 1 << version,
        suites: Suites::from_bits(suites),
        ticket_len: u16::try_from(ticket.len()).unwrap(),
        tag: [0; 16],
    };
    preamble.tag = Gate::new(&remote).tag(&preamble.fixed(), ticket, message_1);
    let mut bytes = Vec::new();
    Hello { preamble, ticket, message_1 }.encode(&mut bytes);
    bytes
}

/// A sealed backend that is told such a hello in pieces: its error, and what it answers.
fn answer_to(hello: &mut [u8], piece: usize) -> (Result<(), Error>, Vec<u8>) {
    let mut pair = Pair::new(&kk(Suite::KkAesGcm, backend_key().public()));
    let told = hello.chunks_mut(piece).try_for_each(|piece| pair.tell_backend(piece));
    let mut reply = Vec::new();
    pair.backend.seal(&mut reply);
    (told, reply)
}

#[test]
fn another_version_or_suite_gets_the_clear_reply_if_the_tag_is_right() {
    let known = gateway_key().public().key_id().0;
    let longest = ([7; 1024], [1; 4096]);
    let hellos = [
        (foreign(2, 9, 0, &known, &[1; 48]), Error::Version, 1),
        (foreign(1, 3, 1 << 3, &known, &[1; 96]), Error::Suite, 2),
        (foreign(1, 77, 0, &longest.0, &longest.1), Error::Suite, 2),
        (foreign(7, 77, 0, &[], &[1]), Error::Version, 1),
    ];
    for (hello, want, reason) in hellos {
        for piece in [1, 33, hello.len()] {
            let (told, mut reply) = answer_to(&mut hello.clone(), piece);
            assert_eq!((told, reply.len()), (Err(want), 16), "in pieces of {piece}");
            let mut pair = Pair::new(&kk(Suite::KkAesGcm, backend_key().public()));
            assert_eq!(pair.tell_gateway(&mut reply[..15]), Ok(()));
            assert_eq!(pair.tell_gateway(&mut reply[15..]), Err(Error::Rejected(reason)));
        }
        let last = hello.len() - 1;
        let wrong = [&hello[..last], &[hello[last] ^ 1]].concat();
        assert_eq!(
            answer_to(&mut wrong.clone(), 1024),
            (Err(Error::Gate), vec![]),
            "a stranger hears nothing"
        );
    }
    assert_eq!(answer_to(&mut foreign(1, 9, 1 << 9, &known, &[1; 48]), 99), (Err(Error::Preamble), vec![]));
    let too_long = foreign(2, 9, 0, &[], &[1; 4097]);
    assert_eq!(answer_to(&mut too_long.clone(), 50), (Err(Error::HandshakeLength(4097)), vec![]));
}

#[test]
fn nothing_may_follow_message_1() {
    let mut pair = Pair::new(&modes()[1]);
    let mut bytes = Vec::new();
    pair.gateway.seal(&mut bytes);
    bytes.push(0);
    assert_eq!(pair.tell_backend(&mut bytes), Err(Error::Early));
    assert!(!pair.backend.seal(&mut Vec::new()), "and the answer is silence");
}

#[test]
fn a_clear_hello_with_a_ticket_or_a_version_of_later_is_refused() {
    let base = Preamble {
        version: 1,
        suite: 15,
        key_id: KeyId([0; 4]),
        versions: VERSIONS,
        suites: Suites::NONE,
        ticket_len: 0,
        tag: [0; 16],
    };
    let told = |preamble: Preamble| Pair::new(&Mode::Clear).tell_backend(&mut preamble.encode());
    assert_eq!(told(base), Ok(()));
    assert_eq!(told(Preamble { ticket_len: 4, ..base }), Err(Error::Preamble));
    assert_eq!(told(Preamble { version: 0, ..base }), Err(Error::Preamble));
    assert_eq!(Pair::new(&Mode::Clear).tell_backend(&mut b"GET /".to_owned()), Err(Error::Magic));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, piece in 1..64usize, mode in 0..3usize, behind: bool) {
        let mut pair = if behind { Pair::live(&modes()[mode]) } else { Pair::new(&modes()[mode]) };
        let (mut up, mut down) = (bytes.clone(), bytes);
        let _ = up.chunks_mut(piece).try_for_each(|piece| pair.tell_backend(piece));
        let _ = down.chunks_mut(piece).try_for_each(|piece| pair.tell_gateway(piece));
    }

    /// The same inside the record, where nothing is sealed.
    #[test]
    fn arbitrary_frames_never_panic(
        frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 1..8),
    ) {
        let mut record = vec![0; 2];
        for frame in &frames {
            record.push(frame.len() as u8);
            record.extend_from_slice(frame);
        }
        let len = u16::try_from(record.len() - 2).unwrap();
        record[..2].copy_from_slice(&len.to_be_bytes());
        let _ = Pair::live(&Mode::Clear).tell_backend(&mut record.clone());
        let _ = Pair::live(&Mode::Clear).tell_gateway(&mut record);
    }

    /// A good conversation with some bytes changed: every event that is still heard is one that was sent.
    #[test]
    fn damage_inside_clear_records_never_panics(hits in proptest::collection::vec((0..2000usize, any::<u8>()), 1..6)) {
        let mut pair = Pair::live(&Mode::Clear);
        for call in 0..4 {
            pair.gateway.request(&request(1 + call, &[call as u8; 200])).unwrap();
        }
        let mut bytes = Vec::new();
        pair.gateway.seal(&mut bytes);
        let len = bytes.len();
        for (at, byte) in hits {
            bytes[at % len] = byte;
        }
        let _ = pair.tell_backend(&mut bytes);
        prop_assert!(pair.at_backend.len() <= 1 + len / 2);
    }
}
