//! A process that stood still: its machine was paused, or it was.

use std::time::Duration;

use crate::shape::Shape;
use crate::world::World;

#[test]
fn links_are_not_closed_for_the_time_the_gateway_itself_stood_still() {
    let mut world = World::quiet(Shape::plain(1, 3, 1));
    world.clients.iter_mut().for_each(|client| client.stays = true);
    let sessions = |world: &World| world.workers[0].census().sessions;
    world.until("all are in", |world| sessions(world) == 3);
    // More than twice the heartbeat of 20 s, in one step.
    world.now = world.now + Duration::from_secs(50);
    (0..200).for_each(|_| world.step());
    assert!(
        world.totals.closes.is_empty(),
        "each has a full deadline from now on: {:?}",
        world.totals.closes
    );
    assert_eq!(sessions(&world), 3);
}
