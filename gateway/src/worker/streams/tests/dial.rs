//! A socket is asked for, comes, or does not.

use driver::{Pool, Trust};
use protocol::noise::{PublicKey, StaticKey, Suite};

use super::*;

const REFUSED: Reason = Reason::Errno(Errno(libc::ECONNREFUSED));

fn receive(token: Token) -> Op {
    Op::Receive { token, pool: Pool::Streams, mode: driver::Mode::Multishot }
}

/// The mode of a sealed stream to the backend with this key.
fn sealed(remote: PublicKey) -> Mode {
    Mode::Kk { suite: Suite::KkChaChaPoly, local: StaticKey::from_secret([3; 32]), remote }
}

#[test]
fn every_endpoint_is_dialled_at_once_and_only_once() {
    let mut stage = Stage::new();
    assert_eq!(stage.streams.next_deadline(), Some(Time::ZERO));
    assert!(stage.expire().is_empty());
    let connect = |stream| Op::Connect {
        tag: stage.streams.tag(stream),
        from: None,
        to: Box::new(Endpoint::Unix(PathBuf::from(format!("b-{}", stream.0)))),
        trust: Trust::OwnUser,
    };
    assert_eq!(stage.turn.ops, [connect(FIRST), connect(SECOND)]);
    stage.turn.ops.clear();
    assert!(stage.expire().is_empty() && stage.turn.ops.is_empty());
}

#[test]
fn deadlines_are_looked_at_within_the_budget() {
    let mut stage = Stage::new();
    let mut budget = 1;
    assert_eq!(stage.streams.expire(&mut stage.turn, &mut budget), Some((FIRST, false)));
    assert_eq!(stage.streams.expire(&mut stage.turn, &mut budget), None);
    assert_eq!((stage.dialled(), stage.streams.next_deadline()), (vec![0], Some(Time::ZERO)));
    stage.expire();
    assert_eq!(stage.dialled(), [1]);
}

#[test]
fn a_stream_carries_requests_when_its_backend_is_ready_for_them() {
    let mut stage = Stage::dialling();
    let token = stage.connect(FIRST);
    assert_eq!(stage.ops(), [receive(token)]);
    assert_eq!((stage.choose(b"ann"), stage.streams.ready_len()), (Err(Refusal::NoBackend), 0));
    assert_eq!(stage.streams.request(FIRST, &request(1, b"early")), Err(Blocked::NotLive));
    stage.carry();
    assert_eq!(stage.taken_at_backend(), told(FIRST, &["hello"]));
    let hello = stage.backend(FIRST).gateway();
    assert_eq!((&hello.boot_id[..], &hello.gateway[..], hello.worker), (&[1; 16][..], "gateway", 0));
    assert_eq!(stage.taken_at_gateway(), told(FIRST, &["ready true"]));
    assert_eq!((stage.choose(b"ann"), stage.streams.ready_len()), (Ok(FIRST), 1));
    stage.streams.request(FIRST, &request(1, b"hello")).expect("there is credit");
    stage.carry();
    assert_eq!(stage.taken_at_backend(), told(FIRST, &["request 1"]));
    stage.answer(FIRST, 1);
    assert_eq!(stage.taken_at_gateway(), told(FIRST, &["response 1"]));
    let health = &stage.turn.counters.endpoints[0];
    assert_eq!((health.open.get(), health.left_out.get(), health.dials_failed.get()), (1, 0, 0));
    assert_eq!(stage.turn.counters.streams_opened.get(), 1);
    assert!(stage.turn.ops.is_empty(), "its receive stays armed");
}

#[test]
fn routes_are_found_by_name() {
    let stage = Stage::new();
    assert_eq!((stage.streams.find("echo"), stage.streams.find("ech")), (Ok(ROUTE), Err(Refusal::NoRoute)));
    assert_eq!(stage.streams.deadline_of(ROUTE), Duration::from_secs(10));
}

#[test]
fn a_dial_that_fails_is_counted_with_its_reason_and_made_again_after_a_pause() {
    let mut stage = Stage::dialling();
    for failures in 1..=5 {
        stage.refuse(FIRST, libc::ECONNREFUSED);
        let health = &stage.turn.counters.endpoints[0];
        assert_eq!((health.dials_failed.get(), health.reason()), (failures, Some(REFUSED)));
        let failed = stage.turn.now;
        assert!(stage.expire().is_empty() && stage.turn.ops.is_empty(), "not at once");
        stage.until_ops();
        assert_eq!(stage.dialled(), [0]);
        let ceiling = RULES.pause_first * (1 << (failures - 1)) + TICK;
        assert!(stage.turn.now > failed && stage.turn.now.since(failed) <= ceiling, "{failures}");
    }
    assert_eq!(stage.turn.counters.endpoints[1].dials_failed.get(), 0);
    stage.rise(FIRST);
}

#[test]
fn another_users_socket_is_told_from_other_failures_where_anybody_could_be_there() {
    let tcp = Endpoint::Tcp("127.0.0.1:7".parse().expect("an address"));
    let unix = || Endpoint::Unix(PathBuf::from("b"));
    let key = StaticKey::from_secret([5; 32]).public();
    let other = Reason::Errno(Errno::OTHER_USER);
    for (address, mode, trust, reason) in [
        (unix(), Mode::Clear, Trust::OwnUser, Reason::OtherUser),
        (unix(), sealed(key), Trust::Anybody, other),
        (tcp, Mode::Clear, Trust::Anybody, other),
    ] {
        let first = Backend { address: address.clone(), mode, ..endpoint("b-0") };
        let mut stage = Stage::of(Settings { endpoints: vec![first, endpoint("b-1")], ..settings() });
        stage.expire();
        let tag = stage.streams.tag(FIRST);
        assert_eq!(stage.turn.ops[0], Op::Connect { tag, from: None, to: Box::new(address), trust });
        stage.refuse(FIRST, Errno::OTHER_USER.0);
        assert_eq!(stage.turn.counters.endpoints[0].reason(), Some(reason));
    }
}

#[test]
fn a_dial_without_an_end_is_given_up_and_made_again() {
    let mut stage = Stage::dialling();
    stage.until(at(4900));
    assert!(stage.turn.ops.is_empty());
    stage.until(at(5000));
    assert!(stage.turn.ops.is_empty() && stage.bury().is_empty(), "there is nothing to end");
    stage.until_ops();
    assert!(stage.turn.now > at(5000) && stage.turn.now <= at(5600));
    assert!(!stage.dialled().is_empty());
}

#[test]
fn a_socket_that_is_not_ready_in_time_is_given_up() {
    // Whichever is shorter: the time from dial to ready, or the time from the socket to its first frame.
    for (handshake_deadline, end) in [(60, 5000), (3, 4000)] {
        let params = Params { handshake_deadline: Duration::from_secs(handshake_deadline), ..PARAMS };
        let endpoints = ["b-0", "b-1"].map(|name| Backend { params, ..endpoint(name) }).into();
        let mut stage = Stage::of(Settings { endpoints, ..settings() });
        stage.expire();
        stage.until(at(1000));
        stage.connect(FIRST);
        stage.turn.ops.clear();
        stage.until(Time::from_nanos(at(end).as_nanos() - 100_000_000));
        assert!(stage.bury().is_empty(), "{end}");
        stage.until(at(end));
        assert_eq!(stage.bury(), [(0, broke(Error::HandshakeTimeout))]);
        stage.close();
        let health = &stage.turn.counters.endpoints[0];
        assert_eq!(health.reason(), Some(broke(Error::HandshakeTimeout)));
        assert_eq!((health.dials_failed.get(), health.lost.get()), (1, 0), "it never was open");
    }
}

#[test]
fn a_socket_of_a_dial_that_was_given_up_carries_nothing() {
    let mut stage = Stage::dialling();
    stage.until(at(5000));
    let token = stage.connect(FIRST);
    assert_eq!(stage.ops(), [receive(token)]);
    stage.carry();
    assert_eq!(stage.taken_at_gateway(), told(FIRST, &["ready false"]));
    assert_eq!(stage.choose(b"ann"), Err(Refusal::NoBackend));
    assert_eq!(stage.turn.counters.streams_opened.get(), 0);
    assert_eq!(stage.bury(), [(0, broke(Error::HandshakeTimeout))]);
    stage.close();
    stage.until_ops();
    assert!(stage.dialled().contains(&0));
    stage.rise(FIRST);
}

#[test]
fn the_late_failure_of_a_dial_that_was_given_up_says_nothing_about_the_next_one() {
    let mut stage = Stage::dialling();
    let given_up = stage.streams.tag(FIRST);
    stage.until(at(5000));
    while !stage.dialled().contains(&0) {
        stage.until_ops();
    }
    // The kernel gives the first one up only now, and the second one is under way.
    let timed_out = Errno(libc::ETIMEDOUT);
    stage.streams.connected(&mut stage.turn, given_up, Err(timed_out));
    let health = &stage.turn.counters.endpoints[0];
    assert_eq!((health.dials_failed.get(), health.reason()), (1, Some(Reason::Errno(timed_out))));
    stage.rise(FIRST);
    assert_eq!(stage.choose(b"ann"), Ok(FIRST));
}

#[test]
fn a_second_socket_is_not_wanted() {
    let mut stage = Stage::dialling();
    let token = stage.connect(FIRST);
    stage.turn.ops.clear();
    let second = Token { slot: 40, generation: 1 };
    let tag = stage.streams.tag(FIRST);
    stage.streams.connected(&mut stage.turn, tag, Ok(second));
    assert_eq!(stage.ops(), [Op::Close { token: second }]);
    stage.refuse(FIRST, libc::ECONNREFUSED);
    assert_eq!(stage.turn.counters.endpoints[0].reason(), None, "it says nothing about the first one");
    stage.streams.closed(&mut stage.turn, FIRST, second);
    stage.carry();
    assert_eq!(stage.taken_at_gateway(), told(FIRST, &["ready true"]));
    let sends = stage.flush();
    assert!(sends.is_empty() && stage.bury().is_empty());
    stage.streams.request(FIRST, &request(1, b"hello")).expect("it stands");
    assert_eq!(stage.flush()[0].0, token);
}

#[test]
fn a_stream_that_stands_is_not_dialled() {
    let mut stage = Stage::standing(&[FIRST, SECOND]);
    for second in 1..20 {
        stage.until(at(1000 * second));
        stage.carry();
    }
    assert!(stage.turn.ops.is_empty());
    assert_eq!(stage.streams.ready_len(), 2);
}

#[test]
fn keys_that_cannot_be_used_fail_like_a_dial() {
    let first = Backend { mode: sealed(PublicKey([0; 32])), ..endpoint("b-0") };
    let mut stage = Stage::of(Settings { endpoints: vec![first, endpoint("b-1")], ..settings() });
    stage.expire();
    stage.turn.ops.clear();
    let token = stage.connect(FIRST);
    assert_eq!(stage.ops(), [Op::Close { token }]);
    let health = &stage.turn.counters.endpoints[0];
    assert_eq!((health.dials_failed.get(), health.reason()), (1, Some(broke(Error::Handshake))));
    stage.streams.closed(&mut stage.turn, FIRST, token);
    stage.until_ops();
    assert_eq!(stage.dialled(), [0], "after a pause, as ever");
    assert!(stage.turn.now > Time::ZERO);
}
