//! Proofs of users that end.

use std::time::Duration;

use gateway::worker::Census;
use protocol::CloseCode;

use crate::shape::Shape;
use crate::world::World;

#[test]
fn a_link_ends_when_the_proof_of_its_user_does() {
    let mut world = World::standing(Shape { delegated: true, ..Shape::plain(2, 2, 1) });
    for (index, client) in world.clients.iter_mut().enumerate() {
        client.name = format!("user{index}");
        (client.wanted, client.stays) = (0, true);
    }
    world.backends[0].desk.proved_for = Some(Duration::from_secs(3));
    let sum = |world: &World, count: fn(Census) -> usize| -> usize {
        world.workers.iter().map(|worker| count(worker.census())).sum()
    };
    world.clients.iter_mut().for_each(|client| client.wanted = 1);
    world.until("both are in", |world| world.totals.answered == 2);
    world.pass(Duration::from_millis(1500));
    assert_eq!(
        (sum(&world, |census| census.links), world.totals.closes.len()),
        (2, 0),
        "not before its time"
    );
    world.pass(Duration::from_millis(3000));
    assert_eq!(world.totals.closes.iter().collect::<Vec<_>>(), [&CloseCode::TokenExpired]);
    world.until("nothing is left", |world| sum(world, |census| census.links + census.claims) == 0);
}
