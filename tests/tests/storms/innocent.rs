//! What a storm of others costs somebody who is in, in virtual time: no more than the budgets of a turn allow.

use driver::Peer;
use driver::sim::{Buffers, Socket};

use crate::client::Script;
use crate::reconnect::Distant;
use crate::settings::HANDSHAKES_PER_TURN;
use crate::shape::Shape;
use crate::world::World;

/// What work takes, about, in microseconds: a handshake, a completion, and a turn without any.
const HANDSHAKE: u64 = 100;
const COMPLETION: u64 = 1;
const TURN: u64 = 20;

/// By how many steps chance makes an answer late, of which the client's and the backend's own are most.
const MORE_STEPS: u64 = 8;

/// Somebody is in, and asks one thing after the other.
fn world() -> World {
    let mut world =
        World::standing(Shape { slots: 2000, strangers: 1000, patient: true, ..Shape::plain(1, 1, 1) });
    let client = &mut world.clients[0];
    client.script = Some(Script { lane: ("echo", ""), len: 10, window: 1 });
    (client.stays, client.wanted) = (true, 1);
    world.until("it is in", |world| world.totals.answered == 1);
    world
}

/// Takes a step, and says how long it took the worker.
fn step(world: &mut World) -> u64 {
    let done = |world: &World| {
        let counters = &world.counters[0];
        let work = counters.driver_completions.get() * COMPLETION + counters.turns.get() * TURN;
        work + counters.handshakes.get() * HANDSHAKE
    };
    let before = done(world);
    world.step();
    done(world) - before
}

/// How long the answer to a request takes at most, in steps and in microseconds of work, while others do this.
fn longest(world: &mut World, mut others: impl FnMut(&mut World)) -> (u64, u64) {
    let mut most = (0, 0);
    for _ in 0..40 {
        world.clients[0].wanted = 1;
        while world.clients[0].wanted > 0 {
            others(world);
            step(world);
        }
        let mut took = (0, 0);
        while !world.clients[0].open.is_empty() {
            others(world);
            took = (took.0 + 1, took.1 + step(world));
            assert!(took.0 < 500, "it waits for ever");
        }
        most = (most.0.max(took.0), most.1.max(took.1));
    }
    most
}

#[test]
fn whoever_is_in_is_served_as_fast_while_a_crowd_comes_back() {
    let mut world = world();
    let quiet = longest(&mut world, |_| {});
    let (mut crowd, mut number): (Vec<(u64, Distant)>, u64) = (Vec::new(), 0);
    let storm = longest(&mut world, |world| {
        for _ in 0..8 * HANDSHAKES_PER_TURN {
            number += 1;
            crowd.push((number, Distant::dial(world, number)));
        }
        // Whoever has shaken hands leaves: backends would have to hear of everybody else.
        crowd.retain_mut(|(number, client)| client.step(world, *number) && !client.has_keys());
    });
    assert!(world.counters[0].handshakes.get() > 500, "that was no crowd");
    assert!(storm.0 <= quiet.0 + MORE_STEPS, "{storm:?} steps and microseconds instead of {quiet:?}");
    let turn = TURN + HANDSHAKES_PER_TURN as u64 * HANDSHAKE + 64 * COMPLETION;
    assert!(storm.1 <= storm.0 * turn, "{storm:?} steps and microseconds instead of {quiet:?}");
}

#[test]
fn whoever_is_in_is_served_as_fast_while_a_thousand_links_break() {
    let mut world = world();
    let quiet = longest(&mut world, |_| {});
    let mut idle: Vec<Socket> = Vec::new();
    let storm = longest(&mut world, |world| {
        if idle.len() < 900 {
            let from = Peer::Tcp(([10, 0, 0, 7], 1000).into());
            idle.extend(
                (0..30).map(|_| world.net.connect(&world.front, from, Buffers { send: 64, receive: 64 })),
            );
        } else {
            idle.drain(..).for_each(|socket| socket.reset());
        }
    });
    assert!(world.counters[0].links_lost.get() >= 900, "that were not many");
    assert!(storm.0 <= quiet.0 + MORE_STEPS, "{storm:?} steps and microseconds instead of {quiet:?}");
    // Of each connection it is learned that it came, that it broke and that it is closed.
    assert!(storm.1 <= quiet.1 + MORE_STEPS * TURN + 3 * 900 * COMPLETION, "{storm:?} instead of {quiet:?}");
}
