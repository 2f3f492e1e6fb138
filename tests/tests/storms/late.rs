//! Backends whose answers come when nobody waits for them any more, and such as read slowly.

use std::time::Duration;

use protocol::Time;

use crate::client::Script;
use crate::shape::Shape;
use crate::world::World;

const NEVER: Time = Time::from_nanos(u64::MAX);
/// A second more than the deadline, so that between two misses there is an answer.
const LATE: Duration = Duration::from_secs(6);

/// A client of the second backend, which may be left out as the first one has the same route.
fn world() -> World {
    let mut world = World::standing(Shape::plain(1, 1, 3));
    world.clients[0].name = "dora".into(); // the hash of the user is for the second backend
    world.clients[0].script = Some(Script { lane: ("echo", ""), len: 10, window: 1 });
    (world.clients[0].wanted, world.clients[0].stays) = (0, true);
    world
}

fn left_out(world: &World) -> bool {
    world.counters[0].endpoints[1].left_out.get() == 1
}

/// A request runs into its deadline, after the answer to the one before has come.
fn miss(world: &mut World) {
    world.backends[1].desk.late = LATE;
    world.pass(Duration::from_secs(2));
    let misses = world.totals.unknown + 1;
    world.clients[0].wanted = 1;
    world.until("a request runs into its deadline", |world| world.totals.unknown == misses);
}

/// A request is answered at once.
fn answer(world: &mut World) {
    world.backends[1].desk.late = Duration::ZERO;
    let answers = world.totals.answered + 1;
    world.clients[0].wanted = 1;
    world.until("it is answered", |world| world.totals.answered == answers);
}

#[test]
fn misses_are_counted_in_a_row() {
    let mut world = world();
    for _ in 0..3 {
        miss(&mut world);
        miss(&mut world);
        assert!(!left_out(&world));
        answer(&mut world);
    }
    assert!(!left_out(&world));
}

#[test]
fn an_endpoint_that_was_left_out_is_tried_again() {
    let mut world = world();
    (0..3).for_each(|_| miss(&mut world));
    assert!(left_out(&world));
    answer(&mut world);
    assert_eq!(world.backends[1].desk.known.len(), 3, "by the other one");
    world.pass(Duration::from_secs(3));
    assert!(!left_out(&world));
    answer(&mut world);
    assert_eq!(world.backends[1].desk.known.len(), 4);
}

#[test]
fn an_endpoint_that_always_answers_too_late_is_left_out() {
    let mut world = world();
    for misses in 1..=3 {
        assert!(!left_out(&world), "before miss {misses}");
        miss(&mut world);
    }
    assert!(left_out(&world));
    world.clients[0].wanted = 1;
    world.until("the other one answers", |world| world.totals.answered == 1);
    assert_eq!([0, 1].map(|at| world.backends[at].desk.known.len()), [1, 3]);
}

/// It needs a quarter of a minute for what there is to read, with intervals of two seconds.
#[test]
fn a_backend_that_takes_what_waits_for_it_is_not_dead_and_one_that_takes_nothing_is() {
    let mut world = World::standing(Shape::plain(1, 1, 1));
    let desk = &mut world.backends[0].desk;
    (desk.mute_until, desk.stingy_until, desk.sips) = (NEVER, NEVER, Some(600));
    world.clients[0].script = Some(Script { lane: ("echo", ""), len: 900, window: 8 });
    (world.clients[0].wanted, world.clients[0].stays) = (8, true);
    world.until("all are asked", |world| world.workers[0].census().pending == 8);
    world.pass(Duration::from_secs(8));
    assert_eq!(world.backends[0].desk.born, 1, "the stream it began with");
    world.backends[0].desk.sips = Some(0);
    world.until("it is given up", |world| world.workers[0].census().streams == 0);
}
