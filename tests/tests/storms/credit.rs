//! Requests that wait for a backend's credit.

use std::time::Duration;

use protocol::limits::CREDIT_OVERHEAD;
use protocol::{Refusal, Time};

use crate::carried::named;
use crate::client::Script;
use crate::settings::GRANT;
use crate::shape::Shape;
use crate::world::World;

/// One client and backends that neither answer nor give credit back. Seven of its requests use up all there is.
fn world(backends: usize, window: usize) -> World {
    let mut world = World::quiet(Shape::plain(1, 1, backends));
    for backend in &mut world.backends {
        (backend.desk.mute_until, backend.desk.stingy_until) = (NEVER, NEVER);
    }
    world.clients[0].script = Some(Script { lane: ("echo", ""), len: 1100, window });
    world
}

const NEVER: Time = Time::from_nanos(u64::MAX);

#[test]
fn a_link_has_its_grant_and_no_more_whether_its_requests_run_or_wait() {
    // Not more of them, or the one that waits has waited for too long when the last one is refused.
    let over = 2;
    let mut world = world(1, GRANT + over);
    world.clients[0].wanted = (GRANT + over) as u32;
    world.until("what is over the grant is refused", |world| world.totals.refused as usize == over);
    assert_eq!(world.totals.refusals.iter().collect::<Vec<_>>(), [&Refusal::InFlight]);
    let desk = &mut world.backends[0].desk;
    (desk.mute_until, desk.stingy_until) = (Time::ZERO, Time::ZERO);
    world.until("the others are answered", |world| world.totals.answered as usize == GRANT);
    world.until("the client has left", |world| world.clients[0].is_done());
}

#[test]
fn whoever_has_waited_for_credit_too_long_is_told_that_its_backend_is_busy() {
    let mut world = world(1, GRANT);
    world.clients[0].wanted = GRANT as u32;
    world.until("one of them waits", |world| world.totals.parked == 1);
    world.until("it waits no longer", |world| world.totals.refused == 1);
    assert_eq!(world.totals.refusals.iter().collect::<Vec<_>>(), [&Refusal::Busy]);
    assert_eq!(world.totals.unknown, 0, "before the deadline of the others");
}

#[test]
fn a_request_that_no_grant_could_hold_is_refused_for_good_and_one_that_just_fits_is_not() {
    let small = || Shape { grant_bytes: 2000, ..Shape::plain(1, 1, 1) };
    // What a client says before what its script adds: whose it is, where it goes, and which it is.
    let head = named(World::quiet(small()).clients[0].name.as_bytes(), "echo", b"").len() + 1;
    let fits = small().grant_bytes as usize - CREDIT_OVERHEAD as usize - head;
    for (len, refusals, answered) in [(fits + 1, &[Refusal::TooLarge][..], 0), (fits, &[], 1)] {
        let mut world = World::quiet(small());
        world.clients[0].script = Some(Script { lane: ("echo", ""), len, window: 1 });
        world.clients[0].wanted = 1;
        world.until("the client has left", |world| world.clients[0].is_done());
        assert_eq!(world.totals.refusals.iter().collect::<Vec<_>>(), refusals.iter().collect::<Vec<_>>());
        assert_eq!((world.totals.answered, world.totals.refused), (answered, 1 - answered));
    }
}

#[test]
fn a_request_that_no_credit_lets_through_is_refused_at_once_and_holds_nobody_up() {
    let mut world = world(1, 1);
    world.until("its stream stands", |world| world.workers[0].census().streams == 1);
    // All the credit there is, but for one more of these.
    world.clients[0].script = Some(Script { lane: ("echo", ""), len: 1100, window: 6 });
    (world.clients[0].wanted, world.clients[0].stays) = (6, true);
    world.until("six are asked", |world| world.backends[0].desk.known.len() == 6);
    // Longer than this backend takes, and than the credit that is left.
    world.clients[0].script = Some(Script { lane: ("echo", ""), len: 4030, window: 7 });
    world.clients[0].wanted = 1;
    world.until("it is refused", |world| world.totals.refused == 1);
    assert_eq!(world.totals.refusals.iter().collect::<Vec<_>>(), [&Refusal::TooLarge]);
    assert_eq!(world.totals.parked, 0, "it waits for nothing");
    world.clients[0].script = Some(Script { lane: ("echo", ""), len: 10, window: 7 });
    world.clients[0].wanted = 1;
    world.until("the next one goes", |world| world.backends[0].desk.known.len() == 7);
}

/// What the two backends of the route have been asked.
fn asked(world: &World) -> [usize; 2] {
    [0, 1].map(|at| world.backends[at].desk.known.len())
}

/// Seven requests are at the second of two backends, which has credit for no more; the first one answers.
fn second_is_full() -> World {
    let mut world = world(3, GRANT);
    world.backends[0].desk.mute_until = Time::ZERO;
    world.clients[0].name = "dora".into(); // the hash of the user is for the second one
    (world.clients[0].wanted, world.clients[0].stays) = (7, true);
    world.until("the second backend has them all", |world| asked(world) == [0, 7]);
    world
}

#[test]
fn what_waits_for_an_endpoint_that_is_left_out_goes_to_another_one() {
    // Of the two that serve the route only the second one may be left out: the first has another one for itself.
    let mut world = second_is_full();

    world.pass(Duration::from_secs(4));
    world.clients[0].wanted = 1;
    world.until("one more waits for credit", |world| world.totals.parked == 1);
    world.until("the seven are given up", |world| world.totals.unknown == 7);
    world.until("the one is answered elsewhere", |world| world.totals.answered == 1);
    assert_eq!((asked(&world), world.totals.refused), ([1, 7], 0));
}

#[test]
fn what_waits_for_a_stream_that_ends_goes_to_another_one_at_once() {
    let mut world = second_is_full();
    world.clients[0].wanted = 1;
    world.until("one more waits for credit", |world| world.totals.parked == 1);
    let ended = world.now;
    world.backends[1].go_away();
    world.until("the seven are given up", |world| world.totals.unknown == 7);
    world.until("the one is answered elsewhere", |world| world.totals.answered == 1);
    assert!(world.now.since(ended) < Duration::from_secs(1), "{:?}", world.now.since(ended));
    assert_eq!((asked(&world)[0], world.totals.refused), (1, 0));
}

#[test]
fn what_waits_for_credit_goes_with_its_link() {
    let mut world = world(1, GRANT);
    world.clients[0].wanted = GRANT as u32;
    world.until("one of them waits", |world| world.workers[0].census().parked == 1);
    world.clients[0].link = None;
    world.clients[0].open.clear();
    world.until("its link has ended", |world| world.workers[0].census().links == 0);
    assert_eq!(world.workers[0].census().parked, 0, "nobody waits for it any more");
    assert_eq!(world.totals.refused, 0);
}
