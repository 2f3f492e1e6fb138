//! Proofs of users that end.

use std::time::Duration;

use gateway::worker::Census;
use protocol::{CloseCode, Time};

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

#[test]
fn a_link_whose_token_was_renewed_ends_with_the_later_one() {
    let mut world = World::standing(Shape { signed: true, ..Shape::plain(2, 3, 1) });
    let end = world.now + Duration::from_secs(4);
    for (index, client) in world.clients.iter_mut().enumerate() {
        client.name = format!("user{index}");
        (client.wanted, client.stays, client.proved_until) = (1, true, end);
    }
    let is_in =
        |world: &World| -> Vec<bool> { world.clients.iter().map(|client| client.link.is_some()).collect() };
    world.until("all are in", |world| world.totals.answered == 3);
    // One of them has another token by now, and one presents what is good no more, which changes nothing.
    world.clients[0].proved_until = end + Duration::from_secs(4);
    world.clients[2].proved_until = Time::ZERO;
    let failed = |world: &World| -> u64 {
        world.counters.iter().map(|counters| counters.authentications_failed.get()).sum()
    };
    world.until("a token was refused", |world| failed(world) > 0);
    world.clients[2].proved_until = end;
    world.pass((end - Duration::from_millis(500)).since(world.now));
    assert!(world.totals.renewed > 0);
    assert_eq!(is_in(&world), [true; 3]);
    world.pass(Duration::from_secs(2));
    assert_eq!(is_in(&world), [true, false, false]);
    world.pass(Duration::from_secs(4));
    assert_eq!(is_in(&world), [false; 3]);
    assert_eq!(world.totals.closes.iter().collect::<Vec<_>>(), [&CloseCode::TokenExpired]);
}
