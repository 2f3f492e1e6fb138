//! The only way a stream dies.

use protocol::wire::stream::Close;

use super::*;

const EPIPE: Reason = Reason::Errno(Errno(libc::EPIPE));

fn cancels(token: Token, armed: &[Armed]) -> Vec<Op> {
    armed.iter().map(|&armed| Op::Cancel { token, armed }).collect()
}

fn first() -> Token {
    Token { slot: 0, generation: 1 }
}

#[test]
fn whatever_breaks_a_rule_is_marked_with_its_name() {
    let mut stage = Stage::standing(&[FIRST, SECOND]);
    assert!(!stage.hear(FIRST, &mut [0, 0], true), "an empty record");
    assert_eq!(stage.turn.counters.errors.of(Error::RecordEmpty).get(), 1);
    assert_eq!(stage.bury(), [(0, broke(Error::RecordEmpty))]);
    let health = &stage.turn.counters.endpoints[0];
    assert_eq!((health.open.get(), health.lost.get()), (0, 1));
    assert_eq!(health.reason(), Some(broke(Error::RecordEmpty)));
    assert_eq!((stage.turn.counters.streams_lost.get(), stage.turn.counters.streams_opened.get()), (1, 2));
    assert_eq!((stage.chosen(), stage.streams.ready_len()), (vec![1], 1));
}

#[test]
fn a_marked_stream_is_gone_for_everybody() {
    let mut stage = Stage::standing(&[FIRST]);
    let epoch = stage.streams.epoch(FIRST);
    let mut bytes = Vec::new();
    let answer = StreamResponse { call: 1, ..Default::default() };
    stage.backend(FIRST).response(&answer).expect("there is credit");
    assert!(stage.backend(FIRST).seal(&mut bytes));
    stage.streams.request(FIRST, &request(1, b"hello")).expect("there is room");
    stage.streams.mark(FIRST, EPIPE);
    assert_eq!((stage.choose(b"ann"), stage.streams.ready_len()), (Err(Refusal::NoBackend), 0));
    assert!(!stage.streams.has_room(FIRST, 0));
    assert_eq!(stage.streams.request(FIRST, &request(2, b"hello")), Err(Blocked::NotLive));
    stage.streams.report(FIRST, epoch, 5, Undelivered::NoUser, &[]);
    stage.streams.link_opened(FIRST, 1, &opened(1));
    stage.streams.consumed(FIRST, 0);
    assert!(stage.flush().is_empty(), "not even what was queued before");
    assert!(!stage.hear(FIRST, &mut bytes, true) && stage.taken_at_gateway().is_empty());
    stage.until(at(100_000));
    assert!(stage.turn.ops.is_empty(), "no ping and no dial");
    assert!(stage.streams.next_deadline() > Some(stage.turn.now), "nor is there one to wait for");
    assert_eq!(stage.bury(), [(0, EPIPE)]);
}

#[test]
fn a_marked_stream_keeps_the_worker_awake_until_it_is_buried() {
    let mut stage = Stage::standing(&[FIRST]);
    assert_eq!(stage.streams.missed_by(FIRST, 64, 1024), Some(0..64), "all of them at once");
    assert!(!stage.streams.has_work());
    stage.streams.mark(FIRST, EPIPE);
    assert!(stage.streams.has_work());
    stage.bury();
    assert!(!stage.streams.has_work());
}

#[test]
fn frames_behind_the_one_that_ends_a_stream_are_not_read() {
    let mut stage = Stage::standing(&[FIRST]);
    let mut bytes = Vec::new();
    for call in [1, 2] {
        let answer = StreamResponse { call, ..Default::default() };
        stage.backend(FIRST).response(&answer).expect("there is credit");
    }
    assert!(stage.backend(FIRST).seal(&mut bytes));
    let mut input = stage.streams.open(&mut stage.turn, FIRST, &mut bytes, true).expect("it lives");
    assert!(stage.streams.next_event(&mut stage.turn, FIRST, &mut input).is_some());
    stage.streams.mark(FIRST, Reason::Ended);
    assert!(stage.streams.next_event(&mut stage.turn, FIRST, &mut input).is_none());
    assert!(!stage.streams.keep(&mut stage.turn, FIRST, input));
}

#[test]
fn the_first_reason_counts_and_a_stream_is_buried_once() {
    let mut stage = Stage::standing(&[FIRST, SECOND]);
    for (stream, reason) in [(SECOND, EPIPE), (FIRST, Reason::Ended), (SECOND, Reason::Ended)] {
        stage.streams.mark(stream, reason);
    }
    assert_eq!(stage.bury(), [(1, EPIPE), (0, Reason::Ended)], "in the order of their marks");
    stage.streams.mark(FIRST, EPIPE);
    assert!(stage.bury().is_empty());
    stage.streams.part(&mut stage.turn, StreamIndex(0), EPIPE);
    stage.close();
    stage.streams.mark(FIRST, EPIPE);
    assert!(stage.bury().is_empty(), "there is no socket to end");
}

#[test]
fn an_end_of_the_peer_marks() {
    for (why, reason) in [(End::Eof, Reason::Ended), (End::Broken(Errno(libc::EPIPE)), EPIPE)] {
        let mut stage = Stage::standing(&[FIRST]);
        stage.streams.ended(&mut stage.turn, FIRST, why);
        assert!(stage.turn.ops.is_empty());
        assert_eq!(stage.bury(), [(0, reason)]);
        assert_eq!(stage.ops(), [Op::Close { token: first() }], "nothing is armed any more");
    }
}

#[test]
fn a_backend_that_shuts_the_door_is_told_from_one_that_leaves() {
    let mut stage = Stage::dialling();
    stage.connect(FIRST);
    stage.streams.ended(&mut stage.turn, FIRST, End::Eof);
    assert_eq!(stage.bury(), [(0, Reason::Ended)]);
    assert_eq!(stage.turn.counters.endpoints[0].reason(), Some(Reason::Shut));
    assert_eq!(stage.turn.counters.endpoints[0].dials_failed.get(), 1);
}

/// A stream that is parted while its receive is armed and a send is in flight.
fn parted() -> (Stage, Batch) {
    let mut stage = Stage::standing(&[FIRST]);
    stage.streams.request(FIRST, &request(1, b"hello")).expect("there is room");
    let (_, batch) = stage.flush().remove(0);
    stage.streams.mark(FIRST, EPIPE);
    assert!(stage.turn.ops.is_empty(), "a mark is all that is made on the way");
    stage.bury();
    assert_eq!(stage.ops(), cancels(first(), &[Armed::Receive, Armed::Send]));
    (stage, batch)
}

fn send_is_over(stage: &mut Stage, batch: Batch, result: Sent) {
    assert!(!stage.streams.sent(&mut stage.turn, FIRST, batch, result), "no room for anything");
}

#[test]
fn a_socket_is_closed_once_when_everything_armed_has_come_back() {
    let (mut stage, batch) = parted();
    send_is_over(&mut stage, batch, Sent::Cancelled);
    assert!(stage.turn.ops.is_empty(), "its receive is armed");
    stage.streams.ended(&mut stage.turn, FIRST, End::Cancelled);
    assert_eq!(stage.ops(), [Op::Close { token: first() }]);
    let (mut stage, batch) = parted();
    stage.streams.ended(&mut stage.turn, FIRST, End::Cancelled);
    assert!(stage.turn.ops.is_empty(), "its send is in flight");
    send_is_over(&mut stage, batch, Sent::Cancelled);
    assert_eq!(stage.ops(), [Op::Close { token: first() }]);
    let buffers = stage.turn.buffers.counters();
    assert_eq!(buffers.taken, buffers.given, "the batch has come back");
    stage.streams.ended(&mut stage.turn, FIRST, End::Cancelled);
    assert!(stage.bury().is_empty() && stage.turn.ops.is_empty(), "and nothing ends it a second time");
}

#[test]
fn a_send_of_a_parted_stream_is_not_continued_however_it_went() {
    for result in [Sent::Bytes(1), Sent::Again, Sent::Broken(Errno(libc::EPIPE))] {
        let (mut stage, mut batch) = parted();
        batch.sent = usize::from(result == Sent::Bytes(1));
        send_is_over(&mut stage, batch, result);
        assert!(stage.turn.ops.is_empty(), "{result:?}");
        stage.streams.ended(&mut stage.turn, FIRST, End::Starved);
        assert_eq!(stage.ops(), [Op::Close { token: first() }], "{result:?}");
    }
}

#[test]
fn bytes_that_still_arrive_on_a_parted_stream_are_dropped() {
    let mut stage = Stage::standing(&[FIRST]);
    stage.streams.mark(FIRST, EPIPE);
    stage.bury();
    assert_eq!(stage.ops(), cancels(first(), &[Armed::Receive]));
    assert!(!stage.hear(FIRST, &mut [0; 100], true));
    assert!(stage.turn.ops.is_empty(), "its receive is still armed");
    assert!(!stage.hear(FIRST, &mut [0; 100], false));
    assert_eq!(stage.ops(), [Op::Close { token: first() }], "the last chunk came with the end of it");
    assert!(stage.taken_at_gateway().is_empty());
}

#[test]
fn a_receive_that_ends_before_the_burial_is_not_cancelled() {
    let mut stage = Stage::standing(&[FIRST]);
    stage.streams.mark(FIRST, EPIPE);
    stage.streams.ended(&mut stage.turn, FIRST, End::Starved);
    assert!(stage.turn.ops.is_empty(), "it is not buried yet");
    stage.bury();
    assert_eq!(stage.ops(), [Op::Close { token: first() }]);
    stage.streams.rearm_starved(&mut stage.turn);
    assert!(stage.turn.ops.is_empty());
}

#[test]
fn when_the_socket_is_closed_its_endpoint_is_dialled_again() {
    let mut stage = Stage::standing(&[FIRST, SECOND]);
    stage.streams.mark(FIRST, EPIPE);
    stage.bury();
    stage.until(at(9900));
    assert_eq!(stage.ops(), cancels(first(), &[Armed::Receive]), "not as long as there is a socket");
    stage.streams.ended(&mut stage.turn, FIRST, End::Cancelled);
    let other = Token { slot: 9, generation: 9 };
    stage.streams.closed(&mut stage.turn, FIRST, other);
    assert!(stage.streams.see(FIRST).socket.is_some(), "that was another socket");
    stage.streams.closed(&mut stage.turn, FIRST, first());
    stage.turn.ops.clear();
    stage.carry();
    stage.until_ops();
    assert_eq!(stage.dialled(), [0]);
    assert!(stage.turn.now > at(9900) && stage.turn.now <= at(10_500));
    stage.rise(FIRST);
    assert_eq!((stage.chosen(), stage.turn.counters.endpoints[0].open.get()), (vec![0, 1], 1));
}

#[test]
fn a_backend_that_closes_its_stream_says_when_it_wants_to_be_dialled_again() {
    let mut stage = Stage::standing(&[FIRST]);
    stage.until(at(9000));
    let close = Close { retry_after_ms: 4000, ..Close::default() };
    stage.streams.closed_by_backend(&stage.turn, FIRST, &close);
    assert_eq!(stage.bury(), [(0, Reason::Ended)]);
    stage.close();
    while !stage.until_ops_of(FIRST) {
        assert!(stage.turn.now < at(20_000), "it is dialled again");
    }
    let waited = stage.turn.now.since(at(9000)).as_millis();
    assert!((4000..=4700).contains(&waited), "{waited} ms");
}

#[test]
fn a_dial_that_comes_due_waits_for_the_former_socket_to_be_closed() {
    let mut stage = Stage::dialling();
    let token = stage.connect(FIRST);
    stage.turn.ops.clear();
    // Nothing was heard, so the dial is given up, and the next one comes due while the receive is being cancelled.
    stage.until(at(3000));
    assert_eq!(stage.bury(), [(0, broke(Error::HandshakeTimeout))]);
    stage.until(at(5000));
    assert_eq!(stage.ops(), cancels(token, &[Armed::Receive]));
    stage.until(at(6000));
    assert_eq!(stage.dialled(), [1], "the other one still has a socket");
    stage.streams.ended(&mut stage.turn, FIRST, End::Cancelled);
    assert_eq!(stage.ops(), [Op::Close { token }]);
    stage.streams.closed(&mut stage.turn, FIRST, token);
    stage.until_ops();
    assert_eq!(stage.dialled(), [0]);
    stage.rise(FIRST);
}

#[test]
fn a_new_socket_knows_nothing_of_what_waited_for_the_former_one() {
    let mut stage = Stage::standing(&[FIRST]);
    stage.streams.request(FIRST, &request(1, b"hello")).expect("there is room");
    stage.streams.mark(FIRST, EPIPE);
    stage.bury();
    stage.close();
    stage.until_ops();
    stage.dialled();
    stage.connect(FIRST);
    stage.turn.ops.clear();
    stage.carry();
    assert_eq!(stage.taken_at_backend(), told(FIRST, &["hello"]));
}

#[test]
fn a_worker_that_stops_ends_all_streams_and_dials_none() {
    let mut stage = Stage::standing(&[FIRST]);
    stage.streams.stop();
    assert_eq!((stage.choose(b"ann"), stage.bury()), (Err(Refusal::NoBackend), vec![(0, Reason::Ended)]));
    assert_eq!(stage.ops(), cancels(first(), &[Armed::Receive]));
    stage.streams.ended(&mut stage.turn, FIRST, End::Cancelled);
    assert_eq!(stage.ops(), [Op::Close { token: first() }]);
    stage.streams.closed(&mut stage.turn, FIRST, first());
    // The other stream's dial was under way.
    let late = Token { slot: 1, generation: 9 };
    let tag = stage.streams.tag(SECOND);
    stage.streams.connected(&mut stage.turn, tag, Ok(late));
    assert_eq!(stage.ops(), [Op::Close { token: late }]);
    stage.streams.closed(&mut stage.turn, SECOND, late);
    for second in 1..100 {
        stage.until(at(1000 * second));
    }
    assert!(stage.turn.ops.is_empty());
}
