//! Requests of a worker between its links and its streams, which are numbers here.

use std::path::PathBuf;
use std::time::Duration;

use driver::Endpoint;
use protocol::stream::{Mode, Params};
use protocol::wire::varint;

use super::*;
use crate::config::Capabilities;
use crate::session::{Account, Grant};
use crate::upstream::route::{Balance, Route};
use crate::worker::settings::Backend;

/// The endpoints of both routes.
const FIRST: StreamIndex = StreamIndex(0);
const SECOND: StreamIndex = StreamIndex(1);
const ROUTE: RouteIndex = RouteIndex(0);
/// A key that requests may have.
const ORDER: u32 = 7;

/// Of two routes, each with the same two endpoints. A link may have two requests, a stream three, the worker four; two may
/// wait on each route.
fn requests() -> (Requests, Turn) {
    let endpoint = |name: &str| Backend {
        name: name.to_owned(),
        address: Endpoint::Unix(PathBuf::from(name)),
        mode: Mode::Clear,
        capabilities: Capabilities::UNSAID,
        params: Params::default(),
    };
    let route = |name: &str| Route {
        name: name.to_owned(),
        streams: vec![FIRST, SECOND],
        balance: Balance::User,
        presence: false,
        deadline: Duration::from_secs(10),
    };
    let settings = Settings {
        endpoints: vec![endpoint("b-0"), endpoint("b-1")],
        routes: vec![route("echo"), route("chat")],
        ..Settings::small()
    };
    (Requests::new(&settings, Time::ZERO), Turn::of(settings))
}

fn link(slot: u32) -> LinkId {
    LinkId::new(0, slot, 1)
}

fn at(millis: u64) -> Time {
    Time::ZERO + Duration::from_millis(millis)
}

/// What a link has in flight, of two requests and 1000 bytes granted.
fn running(requests: u32, bytes: u32) -> Account {
    Account { grant: Grant { requests: 2, bytes: 1000 }, running: Grant { requests, bytes } }
}

/// A request of 100 bytes that may wait for a second.
fn way(slot: u32, stream: StreamIndex) -> Way {
    Way { link: link(slot), route: ROUTE, stream, order: 0, cost: 100, entry: None, patience: at(1000) }
}

/// The same as it is noted in flight, for two seconds.
fn noted(slot: u32, stream: StreamIndex) -> pending::Request {
    let id = [slot as u8; 16];
    pending::Request {
        link: link(slot),
        id,
        deadline: at(2000),
        cost: 100,
        order: 0,
        stream,
        route: ROUTE,
        entry: None,
    }
}

/// Hands a request over to a stream that takes it; the number of the call.
fn forward(requests: &mut Requests, request: pending::Request) -> u64 {
    let mut number = 0;
    requests
        .forward(request, |call| {
            number = call;
            Ok(())
        })
        .expect("there is room");
    number
}

fn park(requests: &mut Requests, turn: &mut Turn, way: Way) {
    let id = [way.link.slot() as u8; 16];
    let request = Request { id, route: "echo", payload: b"hello", ..Request::default() };
    requests.park(turn, way, &request).expect("there is room");
}

fn first_link(requests: &Requests, stream: StreamIndex) -> Option<u32> {
    requests.first_parked(stream).map(|waiting| waiting.link.slot())
}

#[test]
fn a_request_goes_when_its_stream_has_room_and_waits_when_it_has_none() {
    let (requests, _) = requests();
    assert_eq!(requests.admit(way(1, FIRST), running(0, 0), true), Ok(Admitted::Goes));
    assert_eq!(requests.admit(way(1, FIRST), running(0, 0), false), Ok(Admitted::Waits));
}

#[test]
fn while_one_waits_for_a_stream_the_later_ones_wait_behind_it() {
    let (mut requests, mut turn) = requests();
    park(&mut requests, &mut turn, way(1, FIRST));
    assert_eq!(requests.admit(way(2, FIRST), running(0, 0), true), Ok(Admitted::Waits));
    assert_eq!(requests.admit(way(2, SECOND), running(0, 0), true), Ok(Admitted::Goes));
}

#[test]
fn a_request_beyond_every_grant_is_too_large_and_waits_for_nothing() {
    let (requests, _) = requests();
    let of = |cost| requests.admit(Way { cost, ..way(1, FIRST) }, running(0, 0), false);
    assert_eq!((of(1001), of(1000)), (Err(Refusal::TooLarge), Ok(Admitted::Waits)));
    let goes = requests.admit(Way { cost: 1001, ..way(1, FIRST) }, running(0, 0), true);
    assert_eq!(goes, Err(Refusal::TooLarge), "not even where there is room");
}

#[test]
fn a_link_a_stream_and_the_worker_have_their_fill() {
    let (mut requests, _) = requests();
    let admit = |requests: &Requests, slot, stream| {
        let admitted = requests.admit(way(slot, stream), running(0, 0), true);
        assert_eq!(requests.readmit(way(slot, stream)), admitted.map(|_| ()), "no other rule after a wait");
        admitted
    };
    forward(&mut requests, noted(1, FIRST));
    forward(&mut requests, noted(1, SECOND));
    assert_eq!(admit(&requests, 1, FIRST), Err(Refusal::InFlight), "two of a link");
    forward(&mut requests, noted(2, FIRST));
    assert_eq!(admit(&requests, 3, FIRST), Ok(Admitted::Goes));
    let last = forward(&mut requests, noted(2, FIRST));
    assert_eq!((requests.load(FIRST), requests.load(SECOND)), (3, 1));
    assert_eq!(admit(&requests, 3, FIRST), Err(Refusal::Busy), "three on a stream");
    assert_eq!(admit(&requests, 3, SECOND), Err(Refusal::Busy), "four on the worker");
    assert!(requests.answered(FIRST, last).is_some());
    assert_eq!(admit(&requests, 3, SECOND), Ok(Admitted::Goes));
}

#[test]
fn a_stream_has_its_fill_before_the_worker_has() {
    let (mut requests, _) = requests();
    for slot in [1, 2, 3] {
        forward(&mut requests, noted(slot, FIRST));
    }
    assert_eq!(requests.admit(way(4, FIRST), running(0, 0), true), Err(Refusal::Busy));
    assert_eq!(requests.admit(way(4, SECOND), running(0, 0), true), Ok(Admitted::Goes));
}

#[test]
fn whoever_waits_is_held_to_the_grant_with_what_runs_and_what_waits() {
    let (mut requests, mut turn) = requests();
    let admit = |requests: &Requests, cost, account, has_room| {
        requests.admit(Way { cost, ..way(1, FIRST) }, account, has_room)
    };
    assert_eq!(admit(&requests, 100, running(2, 200), true), Ok(Admitted::Goes), "it is charged later");
    assert_eq!(admit(&requests, 100, running(2, 200), false), Err(Refusal::InFlight));
    assert_eq!(admit(&requests, 901, running(1, 100), false), Err(Refusal::InFlight));
    assert_eq!(admit(&requests, 900, running(1, 100), false), Ok(Admitted::Waits));
    park(&mut requests, &mut turn, Way { cost: 600, ..way(1, FIRST) });
    assert_eq!(admit(&requests, 401, running(0, 0), false), Err(Refusal::InFlight), "600 bytes wait");
    assert_eq!(admit(&requests, 400, running(0, 0), false), Ok(Admitted::Waits));
    assert_eq!(admit(&requests, 100, running(1, 0), false), Err(Refusal::InFlight), "one runs, one waits");
    // Another stream has room, but the link has one that waits.
    let elsewhere = |cost| requests.admit(Way { cost, ..way(1, SECOND) }, running(0, 0), true);
    assert_eq!((elsewhere(400), elsewhere(401)), (Ok(Admitted::Goes), Err(Refusal::InFlight)));
    assert_eq!(requests.admit(way(2, SECOND), running(1, 900), true), Ok(Admitted::Goes), "not another's");
}

#[test]
fn an_answer_finds_its_request_once_and_by_its_own_stream_only() {
    let (mut requests, _) = requests();
    let call = forward(&mut requests, noted(1, FIRST));
    assert_ne!(call, 0, "a call of its own");
    assert_eq!(requests.answered(SECOND, call), None);
    assert_eq!(requests.answered(FIRST, call), Some(noted(1, FIRST)));
    assert_eq!((requests.answered(FIRST, call), requests.load(FIRST)), (None, 0));
}

#[test]
fn what_a_stream_does_not_take_was_never_in_flight() {
    let (mut requests, _) = requests();
    let busy = [Blocked::NotLive, Blocked::Credit, Blocked::Pending].map(|blocked| (blocked, Refusal::Busy));
    for (blocked, refusal) in busy.into_iter().chain([(Blocked::TooLarge, Refusal::TooLarge)]) {
        assert_eq!(requests.forward(noted(1, FIRST), |_| Err(blocked)), Err(refusal), "{blocked:?}");
        assert_eq!((requests.census(), requests.load(FIRST)), ((0, 0, 0), 0));
    }
}

#[test]
fn over_a_bound_no_stream_is_asked() {
    let (mut requests, _) = requests();
    forward(&mut requests, noted(1, FIRST));
    forward(&mut requests, noted(1, FIRST));
    let refused = requests.forward(noted(1, FIRST), |_| panic!("a third one of the link"));
    assert_eq!((refused, requests.load(FIRST)), (Err(Refusal::InFlight), 2));
}

#[test]
fn a_parked_request_comes_back_whole() {
    let (mut requests, mut turn) = requests();
    let sent =
        Request { id: [3; 16], route: "echo", key: b"room 5", payload: &[8; 700], counter: 9, again: true };
    let way = Way { order: ORDER, cost: 764, ..way(1, FIRST) };
    requests.park(&mut turn, way, &sent).expect("there is room");
    let lent = turn.buffers.counters();
    assert_eq!(lent.taken - lent.given, 1, "the copy, and nothing else");
    let expected = Waiting {
        link: link(1),
        deadline: at(1000),
        cost: 764,
        order: ORDER,
        stream: FIRST,
        route: ROUTE,
        entry: None,
    };
    assert_eq!((requests.first_parked(FIRST), requests.first_parked(SECOND)), (Some(&expected), None));
    assert!(requests.take_parked(SECOND).is_none());
    let Parked { waiting, bytes } = requests.take_parked(FIRST).expect("it waits");
    let (_, prefix) = varint::decode(&bytes).expect("well formed").expect("whole");
    assert_eq!((waiting, Frame::decode(&bytes[prefix..])), (expected, Ok(Frame::Request(sent))));
    assert_eq!(requests.census(), (0, 0, 0));
}

#[test]
fn each_route_lets_only_so_many_wait() {
    let (mut requests, mut turn) = requests();
    let small = Request { route: "echo", payload: &[1; 10], ..Request::default() };
    let large = Request { payload: &[1; 2048], ..small };
    let other = Way { route: RouteIndex(1), ..way(1, FIRST) };
    assert_eq!(requests.park(&mut turn, way(1, FIRST), &large), Err(Refusal::Busy), "2048 bytes");
    for stream in [FIRST, SECOND] {
        assert_eq!(requests.park(&mut turn, way(1, stream), &small), Ok(()));
    }
    assert_eq!(requests.park(&mut turn, way(2, FIRST), &small), Err(Refusal::Busy), "two requests");
    assert_eq!(requests.park(&mut turn, other, &small), Ok(()), "of another route");
    assert_eq!((requests.parked_len(FIRST), requests.parked_len(SECOND)), (2, 1));
    let lent = turn.buffers.counters();
    assert_eq!(lent.taken - lent.given, 3, "what was refused left no buffer behind");
}

#[test]
fn requests_leave_the_park_in_their_order_and_the_first_one_can_step_back() {
    let (mut requests, mut turn) = requests();
    park(&mut requests, &mut turn, way(1, FIRST));
    park(&mut requests, &mut turn, way(2, FIRST));
    assert_eq!(first_link(&requests, FIRST), Some(1));
    requests.rotate_parked(FIRST);
    let order = [(); 3].map(|()| requests.take_parked(FIRST).map(|parked| parked.waiting.link.slot()));
    assert_eq!(order, [Some(2), Some(1), None]);
}

#[test]
fn later_requests_of_a_key_go_where_the_earlier_ones_are() {
    let (mut requests, mut turn) = requests();
    let held_by = |requests: &Requests| requests.held_by(link(1), ROUTE, ORDER);
    assert_eq!(held_by(&requests), None);
    let call = forward(&mut requests, pending::Request { order: ORDER, ..noted(1, SECOND) });
    assert_eq!(held_by(&requests), Some(SECOND), "in flight");
    park(&mut requests, &mut turn, Way { order: ORDER, ..way(1, FIRST) });
    assert_eq!(held_by(&requests), Some(FIRST), "behind the one that waits");
    assert_eq!(requests.held_by(link(2), ROUTE, ORDER), None, "another link");
    assert_eq!(requests.held_by(link(1), RouteIndex(1), ORDER), None, "another route");
    assert_eq!(requests.held_by(link(1), ROUTE, ORDER + 1), None, "another key");
    assert!(requests.answered(SECOND, call).is_some() && requests.take_parked(FIRST).is_some());
    assert_eq!(held_by(&requests), None);
    forward(&mut requests, noted(1, SECOND));
    assert_eq!(requests.held_by(link(1), ROUTE, 0), None, "no key, no order");
}

#[test]
fn a_link_that_is_gone_leaves_nothing_behind_and_says_whether_others_may_go() {
    let (mut requests, mut turn) = requests();
    forward(&mut requests, noted(1, FIRST));
    assert!(!requests.forget(&mut turn, link(1)), "nothing of it was parked");
    assert!(!requests.forget(&mut turn, link(1)), "nothing is left");
    forward(&mut requests, noted(1, FIRST));
    forward(&mut requests, noted(1, SECOND));
    forward(&mut requests, noted(2, FIRST));
    park(&mut requests, &mut turn, way(1, FIRST));
    park(&mut requests, &mut turn, way(2, FIRST));
    assert!(requests.forget(&mut turn, link(1)));
    assert_eq!((requests.load(FIRST), requests.load(SECOND), requests.parked_len(FIRST)), (1, 0, 1));
    assert_eq!(first_link(&requests, FIRST), Some(2));
    let lent = turn.buffers.counters();
    assert_eq!(lent.taken - lent.given, 1, "that of the other link");
}

#[test]
fn a_stream_that_has_ended_gives_its_own_requests_up() {
    let (mut requests, _) = requests();
    for (slot, stream) in [(1, FIRST), (2, SECOND), (3, FIRST)] {
        forward(&mut requests, noted(slot, stream));
    }
    let abandoned = [(); 3].map(|()| requests.abandoned(FIRST).map(|request| request.link.slot()));
    assert_eq!(abandoned, [Some(1), Some(3), None]);
    assert_eq!((requests.load(FIRST), requests.load(SECOND)), (0, 1));
}

#[test]
fn times_that_are_over_are_found_within_the_budget() {
    let (mut requests, mut turn) = requests();
    for slot in [1, 2] {
        forward(&mut requests, noted(slot, FIRST));
        park(&mut requests, &mut turn, way(slot, FIRST));
    }
    assert!(requests.next_deadline() <= Some(at(1000)), "patience ends first");
    let (mut plenty, mut one, mut another) = (100, 1, 1);
    assert!(requests.out_of_patience(at(999), &mut plenty).is_none());
    assert!(requests.overdue(at(1999), &mut plenty).is_none());
    assert!(requests.out_of_patience(at(1000), &mut one).is_some_and(|it| it.waiting.link == link(1)));
    assert!(requests.out_of_patience(at(1000), &mut one).is_none(), "the budget is spent");
    assert!(requests.next_deadline() <= Some(at(1000)), "there is more to do");
    assert!(requests.out_of_patience(at(1000), &mut another).is_some_and(|it| it.waiting.link == link(2)));
    assert!(requests.next_deadline().is_some_and(|next| next > at(1000) && next <= at(2000)));
    let (mut one, mut another) = (1, 1);
    assert_eq!(requests.overdue(at(2000), &mut one), Some(noted(1, FIRST)));
    assert_eq!((requests.overdue(at(2000), &mut one), one), (None, 0));
    assert_eq!(requests.overdue(at(2000), &mut another), Some(noted(2, FIRST)));
    assert_eq!((requests.next_deadline(), requests.census()), (None, (0, 0, 0)));
}

#[test]
fn how_many_there_are_is_told() {
    let (mut requests, mut turn) = requests();
    forward(&mut requests, noted(1, FIRST));
    park(&mut requests, &mut turn, way(2, FIRST));
    park(&mut requests, &mut turn, way(3, FIRST));
    let bytes = requests.first_parked(FIRST).map(|_| requests.census().2).expect("two wait");
    requests.publish(&turn.counters);
    let counters = &turn.counters;
    assert_eq!((counters.requests_in_flight.get(), counters.requests_parked.get()), (1, 2));
    assert_eq!(counters.requests_parked_bytes.get(), bytes as u64);
    let parked = requests.take_parked(FIRST).expect("two wait");
    assert_eq!(requests.census(), (1, 1, bytes - parked.bytes.capacity()));
}
