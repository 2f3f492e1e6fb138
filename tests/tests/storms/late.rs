//! Backends whose answers come when nobody waits for them any more.

use std::time::Duration;

use crate::client::Script;
use crate::shape::Shape;
use crate::world::World;

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
