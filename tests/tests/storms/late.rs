//! Backends whose answers come when nobody waits for them any more.

use std::time::Duration;

use crate::client::Script;
use crate::shape::Shape;
use crate::world::World;

#[test]
fn an_endpoint_that_always_answers_too_late_is_left_out() {
    let mut world = World::standing(Shape::plain(1, 1, 3));
    // A second more than the deadline, so that between two misses there is an answer.
    world.backends[1].desk.late = Duration::from_secs(6);
    world.clients[0].name = "dora".into(); // the hash of the user is for the second backend
    world.clients[0].script = Some(Script { lane: ("echo", ""), len: 10, window: 1 });
    (world.clients[0].wanted, world.clients[0].stays) = (0, true);
    let left_out = |world: &World| world.counters[0].endpoints[1].left_out.get() == 1;
    for misses in 1..=3 {
        // The answer to the one before comes.
        world.pass(Duration::from_secs(2));
        assert!(!left_out(&world), "before miss {misses}");
        world.clients[0].wanted = 1;
        world.until("a request runs into its deadline", |world| world.totals.unknown == misses);
    }
    assert!(left_out(&world));
    world.clients[0].wanted = 1;
    world.until("the other one answers", |world| world.totals.answered == 1);
    assert_eq!([0, 1].map(|at| world.backends[at].desk.known.len()), [1, 3]);
}
