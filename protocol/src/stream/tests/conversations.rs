//! Two ends that keep the rules.

use proptest::prelude::*;

use super::*;
use crate::wire::proto::stream as proto;
use crate::wire::stream::{
    AuthResult, Authenticate, Kick, LinkClosed, LinkDetached, LinkOpened, PushOutcome, Rare, Report, Resumed,
    Unacknowledged, credit_cost,
};
use crate::{CloseCode, Refusal};

/// A conversation with every kind of frame in it; bytes travel in pieces of `first`, then the rest, then `piece`.
fn converse(mode: &Mode, carry: impl Fn(&mut Pair)) -> (Vec<String>, Vec<String>) {
    let mut pair = Pair::new(mode);
    carry(&mut pair);
    assert_eq!(pair.gateway.routes(), ["echo", "chat"]);
    assert_eq!((pair.gateway.instance(), pair.gateway.boot()), (&b"b-1"[..], Some(&[6; 16])));
    assert_eq!(pair.backend.gateway().report_slots, 1000);
    assert_eq!((pair.backend.gateway().gateway.as_str(), pair.backend.gateway().worker), ("gate-1", 2));
    say_everything(&mut pair);
    carry(&mut pair);
    pair.backend.close(CloseCode::GoingAway, Duration::from_secs(2), "restart");
    carry(&mut pair);
    assert!(pair.gateway.is_closed() && pair.backend.is_closed());
    (pair.at_gateway, pair.at_backend)
}

fn say_everything(pair: &mut Pair) {
    let Pair { gateway, backend, .. } = pair;
    let (user, device, session) = (&b"ann"[..], &b"phone"[..], &[6; 16][..]);
    gateway.link_opened(&LinkOpened { link: 7, user, device, session, suite: 1, ..Default::default() });
    gateway.request(&request(1, b"hello")).unwrap();
    gateway.authenticate(&Authenticate { call: 2, device, handshake: &[1; 32], ..Default::default() });
    gateway.request(&request(3, &[7; 3000])).unwrap();
    let outcome = PushOutcome::Undelivered;
    gateway.report(&Report { number: 4, outcome, reason: 2, report: 9, device, ..Default::default() });
    let unacknowledged = Unacknowledged::of(&[4, 300]);
    gateway.link_detached(&LinkDetached {
        link: 7,
        session,
        until_ms: 5,
        unacknowledged,
        ..Default::default()
    });
    gateway.link_resumed(&[Resumed { old_link: 7, link: 8, link_epoch: 9 }]);
    gateway.link_closed(&LinkClosed { link: 7, user, device, session, code: 1, ..Default::default() });
    backend.push(&push(4, b"news")).unwrap();
    backend.report_ack(4);
    backend.auth_result(&AuthResult { call: 2, accepted: true, user: b"ann", ..Default::default() });
    backend.kick(&Kick { user: b"eve", code: 12, ..Default::default() });
    backend.rare(Rare::Join, &proto::Join { link: 7, room: b"r"[..].into(), ..Default::default() });
    let refused =
        StreamResponse { call: 9, refused: true, status: Refusal::Busy.number(), ..Default::default() };
    backend.response(&refused).unwrap();
    backend.draining(Duration::from_secs(1));
}

#[test]
fn every_kind_of_frame_arrives_in_order() {
    for mode in modes() {
        let (at_gateway, at_backend) = converse(&mode, Pair::settle);
        let starts = |told: &[String], want: &[&str]| {
            assert_eq!(told.len(), want.len(), "{told:#?}");
            for (got, want) in told.iter().zip(want) {
                assert!(got.starts_with(want), "{got} is no {want}");
            }
        };
        starts(
            &at_backend,
            &[
                "Hello",
                "LinkOpened(LinkOpened { link: 7, user: [97, 110, 110]",
                "Request(StreamRequest { call: 1",
                "Authenticate(Authenticate { call: 2",
                "Request(StreamRequest { call: 3",
                "Report(Report { number: 4, outcome: Undelivered, reason: 2, report: 9, device: [112,",
                "LinkDetached(LinkDetached { link: 7, session: [6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6], until_ms: 5, \
                 unacknowledged: [4, 300], link_epoch: 0",
                "LinkResumed([Resumed { old_link: 7, link: 8, link_epoch: 9 }])",
                "LinkClosed(LinkClosed { link: 7",
            ],
        );
        starts(
            &at_gateway,
            &[
                "Ready",
                "Push(StreamPush { number: 4",
                "ReportAck { report: 4",
                "AuthResult(AuthResult { call: 2, accepted: true",
                "Kick(",
                "Skipped",
                "Response(StreamResponse { call: 9, status: 1",
                "Draining",
                "Response(StreamResponse { call: 1",
                "Response(StreamResponse { call: 3",
                "Close(Close { code: 2, retry_after_ms: 2000, text: \"restart\" }",
            ],
        );
    }
}

#[test]
fn the_same_is_heard_however_the_bytes_are_cut() {
    for mode in modes() {
        let whole = converse(&mode, Pair::settle);
        let pieces = if matches!(mode, Mode::Clear) { 1..500 } else { 1..80 };
        for piece in pieces {
            let cut = converse(&mode, |pair| while pair.up(piece) | pair.down(piece) {});
            assert!(cut == whole, "pieces of {piece} bytes");
        }
    }
}

/// A batch with a frame cut at every single place.
#[test]
fn the_same_is_heard_wherever_one_cut_falls() {
    let sealed = |mode: &Mode| {
        let mut pair = Pair::live(mode);
        say_everything(&mut pair);
        let mut batch = Vec::new();
        pair.gateway.seal(&mut batch);
        (pair, batch)
    };
    for mode in [Mode::Clear, kk(Suite::KkAesGcm, backend_key().public())] {
        let (mut pair, mut whole) = sealed(&mode);
        pair.tell_backend(&mut whole).unwrap();
        // A clear stream can be asked again and again, a sealed one has to start anew.
        for cut in (0..whole.len()).step_by(if matches!(mode, Mode::Clear) { 1 } else { 37 }) {
            let (mut other, mut bytes) = sealed(&mode);
            let (head, tail) = bytes.split_at_mut(cut);
            other.tell_backend(head).unwrap();
            other.tell_backend(tail).unwrap();
            assert_eq!(other.at_backend, pair.at_backend, "cut at {cut}");
        }
    }
}

#[test]
fn the_backend_knows_whom_it_talks_to() {
    assert_eq!(Pair::live(&modes()[1]).backend.peer(), Some(&gateway_key().public()));
    assert_eq!(Pair::live(&Mode::Clear).backend.peer(), None);
}

#[test]
fn credit_runs_out_and_comes_back() {
    let mut pair = Pair::live(&Mode::Clear);
    let payload = [0; 1000];
    let (mut sent, cost) = (0, credit_cost(payload.len()));
    while pair.gateway.credit_available() >= cost {
        pair.gateway.request(&request(1 + sent, &payload)).unwrap();
        sent += 1;
    }
    assert_eq!(sent, PARAMS.window / cost);
    assert_eq!(pair.gateway.request(&request(1 + sent, &payload)), Err(Blocked::Credit));
    // Control frames never wait for it.
    pair.gateway.report(&Report::default());
    pair.up(usize::MAX);
    assert_eq!(pair.at_backend.len() as u64, 1 + sent + 1);
    pair.settle();
    assert!(pair.at_gateway.iter().any(|event| event == "Credited"));
    assert!(pair.gateway.credit_available() > PARAMS.window / 2);
    assert_eq!(pair.backend.held(), 0);
    pair.gateway.request(&request(1 + sent, &payload)).unwrap();
}

#[test]
fn the_longest_frame_gets_through_whatever_was_sent_before() {
    let mut pair = Pair::live(&Mode::Clear);
    let longest = vec![1; PARAMS.frame_len_max - 64];
    for call in 0..200 {
        let payload = if call % 2 == 0 { &longest[..] } else { &longest[..100 + call as usize] };
        pair.gateway.request(&request(1 + call, payload)).unwrap();
        pair.settle();
    }
    assert_eq!(pair.at_gateway.iter().filter(|event| event.starts_with("Response")).count(), 200);
}

#[test]
fn pings_keep_a_quiet_stream_alive() {
    let mut pair = Pair::live(&modes()[1]);
    while pair.now < START + 10 * PARAMS.heartbeat {
        pair.now = pair.gateway.deadline().min(pair.backend.deadline()).unwrap();
        pair.gateway.expire(pair.now).unwrap();
        pair.backend.expire(pair.now).unwrap();
        pair.settle();
    }
    // Ten pings were answered, and the backend had at most one of its own per interval.
    let alive = pair.at_gateway.iter().filter(|event| *event == "Alive").count();
    assert!((10..=21).contains(&alive), "{alive}");
}

/// A gateway of another make may ping only while it has nothing to say; then the backend has to.
#[test]
fn a_backend_that_only_listens_pings_once_per_interval() {
    let mut pair = Pair::live(&Mode::Clear);
    for step in 1..=20 {
        pair.now = START + step * PARAMS.heartbeat / 2;
        pair.gateway.report(&Report::default());
        pair.up(usize::MAX);
        assert_eq!(pair.backend.expire(pair.now), Ok(()));
        pair.batch.clear();
        pair.backend.seal(&mut pair.batch);
        assert_eq!(pair.batch.is_empty(), step % 2 == 0, "half interval {step}");
    }
}

#[test]
fn silence_for_two_intervals_is_death_on_both_ends() {
    let mut pair = Pair::live(&Mode::Clear);
    pair.now = START + PARAMS.heartbeat;
    assert_eq!(pair.gateway.expire(pair.now), Ok(()));
    let dead = START + 2 * PARAMS.heartbeat;
    assert_eq!(pair.gateway.deadline(), Some(dead));
    assert_eq!(pair.backend.deadline(), Some(START + PARAMS.heartbeat / 2), "to see whether a ping is due");
    assert_eq!(pair.backend.expire(START + PARAMS.heartbeat), Ok(()));
    assert_eq!(pair.gateway.expire(dead), Err(Error::HeartbeatTimeout));
    assert_eq!(pair.backend.expire(dead), Err(Error::HeartbeatTimeout));
}

#[test]
fn bytes_that_come_or_are_taken_are_signs_of_life_and_nothing_is_none() {
    let mut pair = Pair::live(&Mode::Clear);
    pair.batch.clear();
    pair.gateway.report(&Report::default());
    pair.gateway.seal(&mut pair.batch);
    let mut bytes = std::mem::take(&mut pair.batch);
    for byte in bytes.chunks_mut(1).take(5) {
        pair.now = pair.now + 3 * PARAMS.heartbeat / 2;
        pair.gateway.taken(pair.now);
        pair.tell_backend(byte).expect("a part of a frame");
        assert_eq!(pair.gateway.expire(pair.now), Ok(()));
        assert_eq!(pair.backend.expire(pair.now), Ok(()));
    }
    for _ in 0..3 {
        pair.now = pair.now + 3 * PARAMS.heartbeat / 2;
        pair.gateway.taken(pair.now);
        pair.backend.taken(pair.now);
        assert_eq!((pair.gateway.expire(pair.now), pair.backend.expire(pair.now)), (Ok(()), Ok(())));
    }
    let dead = pair.now + 2 * PARAMS.heartbeat;
    pair.now = dead - PARAMS.heartbeat / 2;
    pair.tell_backend(&mut []).expect("nothing came");
    assert_eq!(pair.gateway.expire(dead), Err(Error::HeartbeatTimeout));
    assert_eq!(pair.backend.expire(dead), Err(Error::HeartbeatTimeout));
}

#[test]
fn an_end_that_stood_still_grants_one_more_interval() {
    let mut pair = Pair::live(&Mode::Clear);
    let woken = START + 100 * PARAMS.heartbeat;
    assert_eq!(pair.gateway.expire(woken), Ok(()));
    assert_eq!(pair.backend.expire(woken), Ok(()));
    assert_eq!(pair.backend.expire(woken + PARAMS.heartbeat), Err(Error::HeartbeatTimeout));
    pair.now = woken;
    pair.settle();
    assert_eq!(pair.gateway.expire(woken + PARAMS.heartbeat), Ok(()), "the pong came");
}

/// More workers than CPUs, all of them busy: each end has its turn when it is long due, and reads before it looks at the
/// clock.
#[test]
fn ends_that_are_late_themselves_do_not_take_each_other_for_dead() {
    for (gateway, backend) in (1..20).flat_map(|gateway| (1..20).map(move |backend| (gateway, backend))) {
        let mut pair = Pair::live(&Mode::Clear);
        let tenth = PARAMS.heartbeat / 10;
        let (mut for_backend, mut for_gateway) = (Vec::new(), Vec::new());
        for tick in 1..2000 {
            pair.now = START + tick * tenth;
            if tick % gateway == 0 {
                let mut read = std::mem::take(&mut for_gateway);
                pair.tell_gateway(&mut read).expect("it is well");
                assert_eq!(pair.gateway.expire(pair.now), Ok(()), "tick {tick} of {gateway} and {backend}");
                pair.batch.clear();
                pair.gateway.seal(&mut pair.batch);
                for_backend.append(&mut pair.batch);
            }
            if tick % backend == 0 {
                let mut read = std::mem::take(&mut for_backend);
                pair.tell_backend(&mut read).expect("it is well");
                assert_eq!(pair.backend.expire(pair.now), Ok(()), "tick {tick} of {gateway} and {backend}");
                pair.batch.clear();
                pair.backend.seal(&mut pair.batch);
                for_gateway.append(&mut pair.batch);
            }
        }
    }
}

#[test]
fn a_ping_that_left_late_has_its_interval_and_whoever_looks_late_looks_again() {
    let mut pair = Pair::live(&Mode::Clear);
    let at = |tenths: u32| START + tenths * PARAMS.heartbeat / 10;
    assert_eq!(pair.gateway.expire(at(19)), Ok(()), "the ping leaves nine tenths late");
    assert_eq!(pair.gateway.deadline(), Some(at(29)));
    assert_eq!(pair.gateway.expire(at(28)), Ok(()));
    assert_eq!(pair.gateway.expire(at(31)), Ok(()), "it has not looked in time itself");
    assert_eq!(pair.gateway.deadline(), Some(at(41)));
    assert_eq!(pair.gateway.expire(at(41)), Err(Error::HeartbeatTimeout));
}

#[test]
fn a_dead_peer_is_found_by_an_end_that_is_always_late() {
    let mut pair = Pair::live(&Mode::Clear);
    // Half an interval late each time.
    let died = (1..100).find(|turn| pair.gateway.expire(START + turn * 3 * PARAMS.heartbeat / 2).is_err());
    // The first turn comes before the deadline, and eight are excused.
    assert_eq!(died, Some(10));
}

/// Timers are coarse. Were that an excuse, nobody who is dead would ever be found.
#[test]
fn late_by_a_tick_of_the_timers_is_no_excuse() {
    let quick = Params { heartbeat: STREAM_HEARTBEAT_MIN, ..PARAMS };
    for (params, tick) in [(quick, 100), (PARAMS, 500)] {
        let tick = Duration::from_millis(tick);
        let mut pair = Pair::new(&Mode::Clear);
        (pair.gateway, pair.backend) = (gateway(&Mode::Clear, params), backend(Access::clear(), params));
        pair.settle();
        let (mut at_gateway, mut at_backend) = (START, START);
        while pair.gateway.expire(at_gateway).is_ok() {
            at_gateway = pair.gateway.deadline().unwrap() + tick;
        }
        while pair.backend.expire(at_backend).is_ok() {
            at_backend = pair.backend.deadline().unwrap() + tick;
        }
        // Its ping left late, and the end of all patience came late.
        let latest = START + 2 * params.heartbeat + 2 * tick;
        assert!(at_gateway <= latest && at_backend <= latest, "{at_gateway:?} {at_backend:?}");
    }
}

/// Each end has its turn only now and then, up to an interval apart: it reads, lets time pass, and writes.
#[test]
fn two_ends_with_a_turn_per_interval_never_take_each_other_for_dead() {
    let mut pair = Pair::live(&Mode::Clear);
    let (mut up, mut down) = (Vec::new(), Vec::new());
    let mut random = 1_u64;
    let mut pause = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        PARAMS.heartbeat * u32::try_from(random >> 33).unwrap().rem_euclid(100) / 100
    };
    let (mut gateway_next, mut backend_next) = (START + pause(), START + pause());
    for _ in 0..20_000 {
        pair.now = gateway_next.min(backend_next);
        pair.batch.clear();
        if pair.now == gateway_next {
            pair.tell_gateway(&mut std::mem::take(&mut down)).unwrap();
            assert_eq!(pair.gateway.expire(pair.now), Ok(()), "at {:?}", pair.now);
            pair.gateway.seal(&mut pair.batch);
            up.append(&mut pair.batch);
            gateway_next = pair.now + pause();
        } else {
            pair.tell_backend(&mut std::mem::take(&mut up)).unwrap();
            assert_eq!(pair.backend.expire(pair.now), Ok(()), "at {:?}", pair.now);
            pair.backend.seal(&mut pair.batch);
            down.append(&mut pair.batch);
            backend_next = pair.now + pause();
        }
    }
}

#[test]
fn a_handshake_is_not_cut_short_by_an_end_that_is_late() {
    for mode in modes() {
        let mut pair = Pair::new(&mode);
        pair.now = START + 2 * PARAMS.handshake_deadline;
        assert_eq!((pair.gateway.expire(pair.now), pair.backend.expire(pair.now)), (Ok(()), Ok(())));
        let granted = pair.now + PARAMS.handshake_deadline;
        assert_eq!(pair.gateway.deadline(), Some(granted));
        assert_eq!(pair.backend.expire(granted), Err(Error::HandshakeTimeout), "and not for ever");
        pair.settle();
        assert!(pair.gateway.is_ready() && pair.backend.is_live());
    }
}

#[test]
fn a_peer_that_never_introduces_itself_is_left_by_an_end_that_is_always_late() {
    let mut pair = Pair::new(&Mode::Clear);
    for excuse in 0..8 {
        pair.now = pair.now + 2 * PARAMS.handshake_deadline;
        assert_eq!(
            (pair.gateway.expire(pair.now), pair.backend.expire(pair.now)),
            (Ok(()), Ok(())),
            "{excuse}"
        );
    }
    pair.now = pair.now + 2 * PARAMS.handshake_deadline;
    assert_eq!(pair.gateway.expire(pair.now), Err(Error::HandshakeTimeout));
    assert_eq!(pair.backend.expire(pair.now), Err(Error::HandshakeTimeout));
}

#[test]
fn nothing_is_asked_before_there_is_anybody_to_ask() {
    let mut pair = Pair::new(&Mode::Clear);
    let hello = pair.gateway.pending();
    pair.now = START + PARAMS.handshake_deadline - Duration::from_millis(1);
    assert_eq!(pair.gateway.expire(pair.now), Ok(()));
    assert_eq!(pair.gateway.pending(), hello, "no ping");
}

#[test]
fn what_waits_and_what_is_unknown_is_told() {
    let mut pair = Pair::live(&Mode::Clear);
    assert_eq!((pair.backend.pending(), pair.backend.glitches()), (0, 0));
    pair.backend.report_ack(1);
    let one = pair.backend.pending();
    pair.backend.report_ack(2);
    assert!(one > 1 && pair.backend.pending() > one);
    // A frame of no known kind: number 15 on one byte.
    for unknown in 1..=3 {
        pair.tell_backend(&mut [0, 4, 3, 0xfa, 0x7f, 0]).expect("a glitch");
        assert_eq!(pair.backend.glitches(), unknown);
    }
}

#[test]
fn a_request_is_too_large_from_the_first_byte_on_that_the_backend_does_not_take() {
    let pair = Pair::live(&Mode::Clear);
    let request = |payload| StreamRequest { call: 1, route: "echo", payload, ..Default::default() };
    let payload = vec![0; PARAMS.frame_len_max];
    let fits = |len: usize| {
        let frame = StreamFrame::Request(request(&payload[..len]));
        frame.payload_body_len().is_some_and(|body| body <= PARAMS.frame_len_max)
    };
    assert!(fits(0) && !fits(payload.len()));
    for len in 0..payload.len() {
        assert_eq!(pair.gateway.is_too_large(&request(&payload[..len])), !fits(len), "{len}");
    }
}

#[test]
fn who_does_not_introduce_itself_in_time_is_left() {
    for mode in modes() {
        let mut pair = Pair::new(&mode);
        let late = START + PARAMS.handshake_deadline;
        assert_eq!((pair.gateway.deadline(), pair.backend.deadline()), (Some(late), Some(late)));
        assert_eq!(pair.gateway.expire(late), Err(Error::HandshakeTimeout));
        assert_eq!(pair.backend.expire(late), Err(Error::HandshakeTimeout));
    }
}

#[test]
fn after_close_nothing_more_is_said_or_heard() {
    let mut pair = Pair::live(&Mode::Clear);
    pair.gateway.request(&request(1, b"last")).unwrap();
    pair.gateway.close(CloseCode::Normal, Duration::ZERO, &"ü".repeat(100));
    assert_eq!(pair.gateway.request(&request(2, b"")), Err(Blocked::NotLive));
    pair.gateway.report(&Report::default());
    pair.backend.push(&push(0, b"too late")).unwrap();
    pair.settle();
    assert_eq!(pair.at_backend.len(), 3);
    assert!(pair.at_backend[2].starts_with("Close(Close { code: 1"), "{:?}", pair.at_backend);
    assert_eq!(pair.at_gateway, ["Ready"]);
    assert_eq!((pair.gateway.deadline(), pair.backend.deadline()), (None, None));
}

#[test]
fn a_backend_may_close_before_it_is_ready() {
    let mut pair = Pair::new(&Mode::Clear);
    pair.tell_gateway(&mut clear_record(&[StreamFrame::Close(Default::default())])).unwrap();
    assert!(pair.gateway.is_closed());
    assert_eq!(pair.at_gateway.len(), 1);
}

#[test]
fn buffers_are_exchanged_and_stop_growing() {
    let mut pair = Pair::live(&modes()[2]);
    let mut sizes = Vec::new();
    let mut batch = Vec::new();
    for round in 0..20 {
        for call in 0..5 {
            pair.gateway.request(&request(1 + call, &[1; 600])).unwrap();
        }
        batch.clear();
        pair.gateway.seal(&mut batch);
        pair.tell_backend(&mut batch).unwrap();
        pair.down(usize::MAX);
        if round > 3 {
            sizes.push(batch.capacity());
        }
    }
    sizes.dedup();
    assert!(sizes.len() <= 2, "two buffers take turns: {sizes:?}");
}

proptest! {

    /// Whatever is sent in whatever pieces arrives once, in order and whole, and credit adds up in the end.
    #[test]
    fn nothing_is_lost_doubled_or_mixed_up(
        mode in 0..3usize,
        steps in proptest::collection::vec((0..4u8, 0..3000usize, 1..5000usize), 1..60),
    ) {
        let mut pair = Pair::live(&modes()[mode]);
        let (mut asked, mut pushed) = (0, 0);
        for (step, len, piece) in steps {
            match step {
                0 => asked += u64::from(pair.gateway.request(&request(1 + asked, &vec![asked as u8; len])).is_ok()),
                1 => pushed += u64::from(pair.backend.push(&push(pushed, &vec![pushed as u8; len])).is_ok()),
                2 => while pair.up(piece) | pair.down(usize::MAX) {},
                _ => while pair.down(piece) | pair.up(usize::MAX) {},
            }
        }
        pair.settle();
        let calls = |told: &[String], start: &str| -> Vec<u64> {
            let number = |event: &String| event.strip_prefix(start)?.split(',').next()?.parse().ok();
            told.iter().filter_map(number).collect()
        };
        let all: Vec<u64> = (1..=asked).collect();
        prop_assert_eq!(calls(&pair.at_backend, "Request(StreamRequest { call: "), all.clone());
        prop_assert_eq!(calls(&pair.at_gateway, "Response(StreamResponse { call: "), all);
        let all: Vec<u64> = (0..pushed).collect();
        prop_assert_eq!(calls(&pair.at_gateway, "Push(StreamPush { number: "), all);
        prop_assert!(pair.gateway.credit_available() > PARAMS.window / 2);
        prop_assert!(pair.backend.credit_available() > PARAMS.window / 2);
        prop_assert_eq!(pair.backend.held(), 0);
    }
}
