//! How much of a core newcomers get beside those who are in, in virtual time: a turn takes a while, and each handshake what it
//! costs nominally.

use std::time::Duration;

use gateway::admission::share::handshake_cost;
use protocol::noise::Suite;

use crate::client::Script;
use crate::reconnect::Distant;
use crate::shape::Shape;
use crate::world::World;

/// What a turn takes without handshakes.
const TURN: Duration = Duration::from_micros(200);
/// Hundredths of the core that newcomers may have.
const SHARE: u32 = 5;
/// How late clients hear everything.
const ROUND_TRIP: Duration = Duration::from_millis(100);
/// How long a storm is watched.
const WATCHED: Duration = Duration::from_secs(2);

/// Handshakes that fit into the share in a second.
fn per_second() -> u64 {
    let cost = handshake_cost(Suite::NkChaChaPoly);
    (Duration::from_secs(1) * SHARE / 100).as_micros() as u64 / cost.as_micros() as u64
}

/// A worker with as much to do as it can, or with nothing.
fn world(is_busy: bool) -> World {
    let clients = if is_busy { 20 } else { 0 };
    let shape = Shape { slots: 4000, strangers: 400, share: SHARE, ..Shape::plain(1, clients, 2) };
    let mut world = World::standing(shape);
    for (index, client) in world.clients.iter_mut().enumerate() {
        client.name = format!("busy{index}");
        client.script = Some(Script { lane: ("echo", ""), len: 10, window: 6 });
        (client.stays, client.wanted) = (true, u32::MAX);
    }
    world.until("those who are in are served", |world| {
        world.workers[0].census().sessions == clients && (clients == 0 || world.totals.answered > 100)
    });
    world.turns_take = Some(TURN);
    world
}

/// What was heard of those who are in, and of backends.
fn heard(world: &World) -> (u64, u64) {
    let counters = &world.counters[0];
    // An `Auth` is a newcomer's.
    (counters.requests.get(), counters.stream_bytes_in.get())
}

/// Newcomers arrive at a rate for a while; handshakes, logins and turns without anything else to do, per second.
fn storm(world: &mut World, arrivals: u64) -> (u64, u64, u64) {
    let mut crowd: Vec<(u64, Distant)> = Vec::new();
    let (begin, mut number, mut idle) = (world.now, 0, 0);
    let count = |world: &World| (world.counters[0].handshakes.get(), world.counters[0].authentications.get());
    let before = count(world);
    while world.now.since(begin) < WATCHED {
        while number < arrivals * world.now.since(begin).as_millis() as u64 / 1000 {
            number += 1;
            crowd.push((number, Distant::dial(world, number).hears_after(ROUND_TRIP)));
        }
        let heard = heard(world);
        world.step();
        idle += u64::from(heard == self::heard(world));
        crowd.retain_mut(|(number, client)| client.step(world, *number));
    }
    let after = count(world);
    let per_second = |count: u64| count / WATCHED.as_secs();
    (per_second(after.0 - before.0), per_second(after.1 - before.1), per_second(idle))
}

#[test]
fn with_twice_as_many_arrivals_as_fit_a_storm_authenticates_at_the_whole_share() {
    let mut world = world(true);
    let (shaken, welcome, idle) = storm(&mut world, 2 * per_second());
    let share = per_second();
    // It takes a breath between two messages now and then. A crowd that waits has no more for that.
    assert!(idle > share / 10, "it had nothing to do in {idle} turns a second");
    assert!(shaken <= share + share / 10, "{shaken} a second, with a share of {share} and {idle} idle turns");
    assert!(welcome * 10 >= share * 8, "{welcome} logins a second, where {share} fit into the share");
    assert!(world.counters[0].handshakes_over_share.get() > 0);
}

#[test]
fn a_worker_that_has_nothing_else_to_do_is_not_held_to_the_share() {
    let mut world = world(false);
    let (shaken, welcome, _) = storm(&mut world, 4 * per_second());
    assert!(shaken >= 3 * per_second() && welcome >= 3 * per_second(), "{shaken}, {welcome}");
}
