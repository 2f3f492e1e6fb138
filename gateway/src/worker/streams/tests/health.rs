//! Whether endpoints take requests.

use super::*;

fn miss(stage: &mut Stage, stream: StreamIndex) -> bool {
    stage.streams.missed(&stage.turn, stream)
}

/// Both up, the first one left out at time zero for ten seconds.
fn ejected() -> Stage {
    let mut stage = Stage::standing(&[FIRST, SECOND]);
    assert!(!miss(&mut stage, FIRST) && miss(&mut stage, FIRST));
    stage
}

fn left_out(stage: &Stage, stream: StreamIndex) -> u64 {
    stage.turn.counters.endpoints[usize::from(stream.0)].left_out.get()
}

#[test]
fn who_misses_too_many_deadlines_is_left_out_for_a_while() {
    let mut stage = ejected();
    assert_eq!((stage.chosen(), left_out(&stage, FIRST)), (vec![1], 1));
    assert_eq!(stage.streams.ready_len(), 2, "its stream stands");
    stage.streams.request(FIRST, &request(1, b"hello")).expect("what holds it there still goes");
    assert!(!miss(&mut stage, FIRST), "it is left out already");
    assert!(stage.until(at(5000)).is_empty());
    stage.carry();
    assert!(stage.until(at(9900)).is_empty());
    stage.carry();
    assert_eq!(stage.until(at(10_000)), [0], "once");
    assert_eq!((stage.chosen(), left_out(&stage, FIRST)), (vec![0, 1], 0));
    stage.carry();
    assert!(stage.until(at(15_000)).is_empty());
}

#[test]
fn what_a_stream_misses_on_its_way_out_is_not_held_against_the_next_one() {
    let mut stage = Stage::standing(&[FIRST, SECOND]);
    stage.streams.mark(FIRST, Reason::Ended);
    assert!((0..10).all(|_| !miss(&mut stage, FIRST)));
    assert_eq!(left_out(&stage, FIRST), 0, "it is down, not left out");
}

#[test]
fn a_second_time_out_lasts_twice_as_long() {
    let mut stage = ejected();
    for second in [5, 10] {
        stage.until(at(1000 * second));
        stage.carry();
    }
    assert!(!miss(&mut stage, FIRST) && miss(&mut stage, FIRST));
    for second in [15, 20, 25, 29] {
        assert!(stage.until(at(1000 * second)).is_empty(), "{second}");
        stage.carry();
    }
    assert_eq!(stage.until(at(30_000)), [0]);
}

#[test]
fn an_answer_in_between_forgives_what_was_missed() {
    let mut stage = Stage::standing(&[FIRST, SECOND]);
    for call in 1..10 {
        assert!(!miss(&mut stage, FIRST), "{call}");
        stage.answer(FIRST, call);
    }
    assert!(!miss(&mut stage, FIRST) && miss(&mut stage, FIRST));
}

#[test]
fn the_last_one_of_a_route_is_not_left_out() {
    let mut stage = Stage::standing(&[FIRST]);
    assert!((0..10).all(|_| !miss(&mut stage, FIRST)), "its neighbour is down");
    assert_eq!((stage.chosen(), left_out(&stage, FIRST)), (vec![0], 0));
    stage.rise(SECOND);
    assert!(miss(&mut stage, FIRST), "now it is not the last one");
    assert!((0..10).all(|_| !miss(&mut stage, SECOND)), "but its neighbour is");
    assert_eq!(stage.chosen(), [1]);
    let solo = vec![route("echo", &[FIRST, SECOND]), route("solo", &[FIRST])];
    let mut stage = Stage::of(Settings { routes: solo, ..settings() });
    stage.expire();
    [FIRST, SECOND].into_iter().for_each(|stream| stage.rise(stream));
    assert!((0..10).all(|_| !miss(&mut stage, FIRST)), "it is of another route");
    assert!(!miss(&mut stage, SECOND) && miss(&mut stage, SECOND));
}

#[test]
fn who_is_left_out_and_dies_is_not_taken_back_before_it_is_ready_again() {
    // Dead and buried, dead and not even noticed by the driver, or marked just now.
    for steps in 0..3 {
        let mut stage = ejected();
        stage.until(at(5000));
        stage.carry();
        stage.streams.mark(FIRST, Reason::Ended);
        if steps > 0 {
            stage.bury();
        }
        if steps > 1 {
            stage.close();
        }
        stage.turn.ops.clear();
        assert!(stage.until(at(10_000)).is_empty(), "{steps}");
        assert_eq!(stage.chosen(), [1]);
    }
    let mut stage = ejected();
    stage.fall(FIRST);
    assert_eq!(left_out(&stage, FIRST), 0, "it is down, not left out");
    stage.rise(FIRST);
    assert_eq!(stage.chosen(), [0, 1], "a new stream is a new chance");
    stage.until(at(5000));
    stage.carry();
    assert!(stage.until(at(10_000)).is_empty(), "nothing is left of the former one's time");
    assert_eq!(stage.chosen(), [0, 1]);
}

#[test]
fn a_backend_that_is_about_to_leave_gets_nothing_new_and_is_heard_out() {
    let mut stage = Stage::standing(&[FIRST, SECOND]);
    stage.streams.request(FIRST, &request(1, b"hello")).expect("there is room");
    stage.carry();
    stage.backend(FIRST).draining(Duration::from_secs(9));
    stage.carry();
    assert_eq!((stage.chosen(), left_out(&stage, FIRST)), (vec![1], 1));
    let epoch = stage.streams.epoch(FIRST);
    stage.streams.report(FIRST, epoch, 5, Undelivered::NoUser, &[]);
    stage.answer(FIRST, 1);
    assert_eq!(stage.taken_at_gateway(), told(FIRST, &["draining", "response 1"]));
    let report = format!("report 5 {}", Undelivered::NoUser.number());
    assert_eq!(stage.taken_at_backend(), told(FIRST, &["request 1", &report]));
    assert!(stage.bury().is_empty(), "it ends its stream itself");
}

#[test]
fn even_the_last_one_of_a_route_may_leave() {
    let mut stage = Stage::standing(&[FIRST]);
    stage.backend(FIRST).draining(Duration::ZERO);
    stage.carry();
    assert_eq!(stage.choose(b"ann"), Err(Refusal::NoBackend));
}

#[test]
fn who_is_leaving_is_not_taken_back_when_its_time_out_is_over() {
    for leaves_first in [false, true] {
        let mut stage = Stage::standing(&[FIRST, SECOND]);
        if leaves_first {
            stage.backend(FIRST).draining(Duration::ZERO);
            stage.carry();
        }
        assert!(!miss(&mut stage, FIRST) && miss(&mut stage, FIRST));
        if !leaves_first {
            stage.backend(FIRST).draining(Duration::ZERO);
            stage.carry();
        }
        stage.until(at(5000));
        stage.carry();
        assert!(stage.until(at(10_000)).is_empty(), "{leaves_first}");
        assert_eq!((stage.chosen(), left_out(&stage, FIRST)), (vec![1], 1));
        stage.fall(FIRST);
        stage.rise(FIRST);
        assert_eq!((stage.chosen(), left_out(&stage, FIRST)), (vec![0, 1], 0), "it has come back");
    }
}

/// A stage of streams with this heartbeat, both up at time zero.
fn beating(heartbeat: u64) -> Stage {
    let params = Params { heartbeat: Duration::from_secs(heartbeat), ..PARAMS };
    let endpoints = ["b-0", "b-1"].map(|name| Backend { params, ..endpoint(name) }).into();
    let mut stage = Stage::of(Settings { endpoints, ..settings() });
    stage.expire();
    stage.dialled();
    [FIRST, SECOND].into_iter().for_each(|stream| stage.rise(stream));
    stage
}

#[test]
fn a_time_out_is_over_in_time_however_seldom_streams_are_pinged() {
    let mut stage = beating(60);
    // The deadlines of the dials are looked at, and set for nothing.
    stage.until(at(5000));
    assert!(!miss(&mut stage, FIRST) && miss(&mut stage, FIRST));
    assert!(stage.streams.next_deadline() <= Some(at(15_000)));
    assert_eq!(stage.until(at(15_000)), [0]);
}

#[test]
fn the_first_ping_is_on_time_however_long_a_dial_may_take() {
    let mut stage = beating(1);
    assert!(stage.streams.next_deadline() <= Some(at(1000)));
    stage.until(at(1000));
    stage.carry();
    assert_eq!(stage.taken_at_backend(), [told(FIRST, &["alive"]), told(SECOND, &["alive"])].concat());
}

#[test]
fn a_stream_is_pinged_and_ends_when_nothing_is_heard() {
    let mut stage = Stage::standing(&[FIRST]);
    stage.until(at(4900));
    stage.carry();
    assert!(stage.taken_at_backend().is_empty());
    stage.until(at(5000));
    stage.carry();
    assert_eq!(stage.taken_at_backend(), told(FIRST, &["alive"]));
    assert_eq!(stage.taken_at_gateway(), told(FIRST, &["alive"]));
    // From now on its backend hears and says nothing.
    stage.backends[0] = None;
    stage.until(at(10_000));
    stage.carry();
    stage.until(at(14_900));
    assert!(stage.bury().is_empty());
    stage.until(at(15_000));
    assert_eq!(stage.bury(), [(0, broke(Error::HeartbeatTimeout))]);
    assert_eq!(stage.turn.counters.errors.of(Error::HeartbeatTimeout).get(), 1);
}
