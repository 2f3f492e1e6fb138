//! Bytes to and from backends.

use driver::Pool;
use protocol::wire::stream::{StreamPush, credit_cost};

use super::*;

/// A payload of which two exceed what may wait for a backend.
const LARGE: [u8; 4000] = [7; 4000];

fn request_all(stage: &mut Stage, calls: std::ops::Range<u64>, payload: &[u8]) {
    for call in calls {
        stage.streams.request(FIRST, &request(call, payload)).expect("there is room");
    }
}

#[test]
fn what_was_queued_in_a_turn_leaves_in_one_send() {
    let mut stage = Stage::standing(&[FIRST, SECOND]);
    let before = stage.turn.counters.stream_bytes_out.get();
    request_all(&mut stage, 1..4, b"hello");
    stage.streams.request(SECOND, &request(9, b"hello")).expect("there is room");
    assert_eq!(stage.streams.dirty, [FIRST, SECOND], "each stands in the list once");
    let sends = stage.flush();
    let [(first, mut batch), (second, _)] = sends.try_into().expect("one for each stream");
    assert_eq!((first.slot, second.slot), (0, 1));
    assert!(stage.flush().is_empty(), "nothing more to say");
    assert!(stage.turn.counters.stream_bytes_out.get() > before + batch.bytes.len() as u64);
    stage.tell(FIRST, &mut batch.bytes);
    assert_eq!(stage.taken_at_backend(), told(FIRST, &["request 1", "request 2", "request 3"]));
}

#[test]
fn while_a_send_is_in_flight_frames_gather() {
    let mut stage = Stage::standing(&[FIRST]);
    request_all(&mut stage, 1..2, b"hello");
    let (token, batch) = stage.flush().remove(0);
    request_all(&mut stage, 2..4, b"hello");
    assert!(stage.flush().is_empty());
    assert!(stage.sent(token, batch), "there is room");
    let (_, mut batch) = stage.flush().remove(0);
    stage.tell(FIRST, &mut batch.bytes);
    assert_eq!(stage.taken_at_backend(), told(FIRST, &["request 2", "request 3"]));
}

#[test]
fn the_memory_of_a_send_comes_back() {
    let mut stage = Stage::standing(&[FIRST]);
    let lent = |stage: &Stage| {
        let counters = stage.turn.buffers.counters();
        counters.taken - counters.given
    };
    assert_eq!(lent(&stage), 0);
    request_all(&mut stage, 1..2, b"hello");
    let (token, batch) = stage.flush().remove(0);
    assert_eq!(lent(&stage), 1);
    stage.sent(token, batch);
    assert_eq!(lent(&stage), 0);
    assert!(stage.flush().is_empty() && lent(&stage) == 0, "there was nothing to say");
    stage.streams.sent(&mut stage.turn, SECOND, Batch::default(), Sent::Cancelled);
    assert_eq!(stage.turn.buffers.counters().given, stage.turn.buffers.counters().taken + 1);
}

#[test]
fn a_short_send_goes_on_where_it_stopped() {
    let mut stage = Stage::standing(&[FIRST]);
    request_all(&mut stage, 1..2, b"hello");
    let (token, mut batch) = stage.flush().remove(0);
    let all = batch.bytes.clone();
    batch.sent = 10;
    assert!(!stage.streams.sent(&mut stage.turn, FIRST, batch, Sent::Bytes(10)));
    let (again, batch) = stage.flush().remove(0);
    assert_eq!((again, batch.rest()), (token, &all[10..]));
    // Nothing was taken, for a passing reason.
    assert!(!stage.streams.sent(&mut stage.turn, FIRST, batch, Sent::Again));
    request_all(&mut stage, 2..3, b"hello");
    let [(_, batch)] = stage.flush().try_into().expect("the rest, and nothing beside it");
    assert_eq!(batch.rest(), &all[10..]);
    assert!(stage.sent(token, batch), "now there is room");
    assert_eq!(stage.flush().len(), 1);
}

#[test]
fn a_send_that_breaks_ends_the_stream() {
    let broken = Sent::Broken(Errno(libc::EPIPE));
    for (result, reason) in [(broken, Reason::Errno(Errno(libc::EPIPE))), (Sent::Cancelled, Reason::Ended)] {
        let mut stage = Stage::standing(&[FIRST]);
        request_all(&mut stage, 1..2, b"hello");
        let (token, batch) = stage.flush().remove(0);
        assert!(!stage.streams.sent(&mut stage.turn, FIRST, batch, result), "no room for anything");
        assert_eq!(stage.bury(), [(0, reason)]);
        assert_eq!(stage.ops(), [Op::Cancel { token, armed: Armed::Receive }]);
    }
}

#[test]
fn a_stream_has_room_for_what_its_backend_grants() {
    let mut stage = Stage::dialling();
    stage.grants.window = PARAMS.window;
    assert!(!stage.streams.has_room(FIRST, 0), "there is no stream");
    stage.connect(FIRST);
    assert!(!stage.streams.has_room(FIRST, 1), "it is not ready");
    stage.carry();
    let cost = credit_cost(LARGE.len());
    let left = (PARAMS.window - cost) as u32;
    request_all(&mut stage, 1..2, &LARGE);
    assert!(stage.streams.has_room(FIRST, left) && !stage.streams.has_room(FIRST, left + 1));
    stage.carry();
    request_all(&mut stage, 2..3, &LARGE);
    stage.carry();
    assert_eq!(stage.streams.request(FIRST, &request(3, &LARGE)), Err(Blocked::Credit));
    stage.taken_at_gateway();
    stage.backend(FIRST).consumed(LARGE.len());
    stage.backend(FIRST).consumed(LARGE.len());
    stage.carry();
    assert_eq!(stage.taken_at_gateway(), told(FIRST, &["credited"]));
    assert!(stage.streams.has_room(FIRST, cost as u32));
}

#[test]
fn a_stream_has_room_until_too_much_waits_for_its_backend() {
    let mut stage = Stage::standing(&[FIRST]);
    request_all(&mut stage, 1..3, &LARGE);
    assert!(stage.streams.has_room(FIRST, 64), "8000 bytes wait");
    request_all(&mut stage, 3..4, &[1; 200]);
    assert!(!stage.streams.has_room(FIRST, 0), "however much is granted");
    assert_eq!(stage.streams.request(FIRST, &request(4, b"")), Err(Blocked::Pending));
    stage.streams.publish(&stage.turn.counters);
    assert!(stage.turn.counters.stream_outbox_bytes.get() >= 8192);
    assert_eq!(stage.turn.counters.streams.get(), 1);
    assert_eq!(stage.flush().len(), 1);
    assert!(stage.streams.has_room(FIRST, 64), "a send has taken it");
}

#[test]
fn a_request_that_was_not_taken_sends_nothing() {
    let mut stage = Stage::standing(&[FIRST]);
    assert_eq!(stage.streams.request(FIRST, &request(1, &[1; 5000])), Err(Blocked::TooLarge));
    assert_eq!(stage.streams.request(SECOND, &request(1, b"hello")), Err(Blocked::NotLive));
    assert!(stage.streams.dirty.is_empty() && stage.flush().is_empty());
}

#[test]
fn credit_goes_back_for_what_was_consumed() {
    let mut stage = Stage::standing(&[FIRST]);
    let answer = StreamResponse { payload: &LARGE, ..Default::default() };
    for call in 1..=10 {
        let sent = stage.backend(FIRST).response(&StreamResponse { call, ..answer });
        assert_eq!(sent, Ok(()), "more than the window holds in all");
        stage.carry();
    }
    assert_eq!(stage.taken_at_gateway().len(), 10);
    assert_eq!(stage.taken_at_backend(), vec![(0, "credited".to_owned()); 5], "each for half a window");
}

#[test]
fn more_payload_than_granted_ends_the_stream() {
    let mut stage = Stage::standing(&[FIRST]);
    // An end that takes itself to be granted more than it is.
    let hold = |stage: &mut Stage| {
        let push = StreamPush { number: 1, user: b"bob", payload: &LARGE, ..Default::default() };
        let mut out = vec![0; 2];
        protocol::wire::stream::StreamFrame::Push(push).encode(&mut out);
        let len = u16::try_from(out.len() - 2).expect("a short record");
        out[..2].copy_from_slice(&len.to_be_bytes());
        let mut input = stage.streams.open(&mut stage.turn, FIRST, &mut out, true).expect("it lives");
        stage.streams.next_event(&mut stage.turn, FIRST, &mut input).is_some()
    };
    assert!(hold(&mut stage) && hold(&mut stage));
    assert!(!hold(&mut stage), "nothing was consumed");
    assert_eq!(stage.bury(), [(0, broke(Error::Credit))]);
}

#[test]
fn frames_are_found_wherever_the_bytes_are_cut() {
    let mut stage = Stage::standing(&[FIRST]);
    for call in 1..=3 {
        let answer = StreamResponse { call, payload: b"hello", ..Default::default() };
        stage.backend(FIRST).response(&answer).expect("there is credit");
    }
    let (mut bytes, before) = (Vec::new(), stage.turn.counters.stream_bytes_in.get());
    assert!(stage.backend(FIRST).seal(&mut bytes));
    let len = bytes.len() as u64;
    for piece in bytes.chunks_mut(7) {
        assert!(stage.hear(FIRST, piece, true));
    }
    assert_eq!(stage.taken_at_gateway(), told(FIRST, &["response 1", "response 2", "response 3"]));
    assert_eq!(stage.turn.counters.stream_bytes_in.get(), before + len);
    assert!(stage.turn.ops.is_empty(), "its receive is armed");
}

#[test]
fn questions_about_tokens_reach_the_backend() {
    let mut stage = Stage::standing(&[FIRST]);
    let ask =
        Authenticate { call: 5, token: b"t", device: b"phone", handshake: &[1; 32], ..Default::default() };
    stage.streams.authenticate(FIRST, &ask);
    stage.streams.authenticate(SECOND, &ask);
    stage.carry();
    assert_eq!(stage.taken_at_backend(), told(FIRST, &["authenticate 5"]));
}

#[test]
fn a_report_reaches_the_socket_its_push_came_by_and_no_later_one() {
    let mut stage = Stage::standing(&[FIRST]);
    let epoch = stage.streams.epoch(FIRST);
    assert_eq!((epoch, stage.streams.epoch(SECOND)), (1, 0));
    stage.streams.report(FIRST, epoch, 5, Undelivered::NoUser, &[]);
    stage.streams.report(FIRST, epoch, 0, Undelivered::NoUser, &[]);
    stage.streams.report(SECOND, 0, 6, Undelivered::NoUser, &[]);
    stage.carry();
    let expected = format!("report 5 {}", Undelivered::NoUser.number());
    assert_eq!(stage.taken_at_backend(), told(FIRST, &[&expected]));
    stage.fall(FIRST);
    stage.rise(FIRST);
    assert_eq!(stage.streams.epoch(FIRST), 2);
    stage.streams.report(FIRST, epoch, 7, Undelivered::NoUser, &[]);
    stage.carry();
    assert!(stage.taken_at_backend().is_empty());
}

#[test]
fn a_receive_that_is_over_is_armed_again() {
    let mut stage = Stage::standing(&[FIRST]);
    let token = Token { slot: 0, generation: 1 };
    let receive = || Op::Receive { token, pool: Pool::Streams, mode: driver::Mode::Multishot };
    stage.answer(FIRST, 1);
    let mut bytes = Vec::new();
    stage.backend(FIRST).report_ack(1);
    assert!(stage.backend(FIRST).seal(&mut bytes));
    // The last chunk of a receive, whose bytes are read before it is armed again.
    let mut input = stage.streams.open(&mut stage.turn, FIRST, &mut bytes, false).expect("it lives");
    while stage.streams.next_event(&mut stage.turn, FIRST, &mut input).is_some() {}
    assert!(stage.turn.ops.is_empty());
    assert!(stage.streams.keep(&mut stage.turn, FIRST, input));
    assert_eq!(stage.ops(), [receive()]);
    for why in [End::Lapsed, End::Cancelled] {
        stage.streams.ended(&mut stage.turn, FIRST, why);
        assert_eq!(stage.ops(), [receive()], "{why:?}");
    }
}

#[test]
fn a_starved_receive_is_armed_again_once_buffers_are_back() {
    let mut stage = Stage::standing(&[FIRST, SECOND]);
    stage.streams.ended(&mut stage.turn, FIRST, End::Starved);
    stage.streams.ended(&mut stage.turn, SECOND, End::Starved);
    assert!(stage.turn.ops.is_empty(), "it would end the same way");
    stage.streams.mark(SECOND, Reason::Ended);
    stage.streams.rearm_starved(&mut stage.turn);
    let token = Token { slot: 0, generation: 1 };
    assert_eq!(
        stage.ops(),
        [Op::Receive { token, pool: Pool::Streams, mode: driver::Mode::Multishot }],
        "the other one is on its way out"
    );
    stage.streams.rearm_starved(&mut stage.turn);
    assert!(stage.turn.ops.is_empty() && stage.streams.starved.is_empty(), "once");
}

#[test]
fn sessions_that_go_on_together_are_told_of_in_one_frame_and_before_whatever_is_said_of_their_links() {
    let mut stage = Stage::standing(&[FIRST, SECOND]);
    let of = |stage: &Stage, stream| Connection { stream, epoch: stage.streams.epoch(stream) };
    let (first, second) = (of(&stage, FIRST), of(&stage, SECOND));
    let resumed = |link| Resumed { old_link: link, link: link + 1000, link_epoch: 5 };
    (1..=3).for_each(|link| stage.streams.tell_resumed(&[first, second], resumed(link)));
    stage.streams.tell_resumed(&[Connection { epoch: 99, ..first }], resumed(4));
    stage.streams.tell(&[first], |machine| machine.link_closed(&closed(1001)));
    stage.streams.tell_resumed(&[first], resumed(5));
    stage.carry();
    let mut taken = stage.taken_at_backend();
    taken.sort_by_key(|(stream, _)| *stream);
    let mut expected = told(FIRST, &["resumed 3", "closed 1001", "resumed 1"]);
    expected.extend(told(SECOND, &["resumed 3"]));
    assert_eq!(taken, expected);

    (0..RESUMED_MAX as u64 + 2).for_each(|link| stage.streams.tell_resumed(&[first], resumed(link)));
    stage.carry();
    assert_eq!(stage.taken_at_backend(), told(FIRST, &["resumed 128", "resumed 2"]));

    stage.streams.tell_resumed(&[first], resumed(1));
    stage.fall(FIRST);
    stage.rise(FIRST);
    stage.carry();
    let taken = stage.taken_at_backend();
    assert!(
        taken.iter().all(|(_, text)| !text.starts_with("resumed")),
        "that was another connection: {taken:?}"
    );
}
