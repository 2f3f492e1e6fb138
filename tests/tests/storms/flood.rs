//! A flood of hellos that pass the gate: one that was recorded, sent again and again.

use driver::Peer;
use driver::sim::{Buffers, Socket, State};
use protocol::Error;

use crate::client::Script;
use crate::reconnect::Distant;
use crate::settings::{HANDSHAKES_PER_TURN, dialled};
use crate::shape::{STRANGERS, Shape};
use crate::world::World;

#[test]
fn the_handshake_budget_is_for_hellos_that_are_still_there() {
    let mut world = World::quiet(Shape::plain(1, 1, 1));
    let hello = hello();
    let mut flood: Vec<(Socket, usize)> = Vec::new();
    let mut done = [0; 2];
    for (half, done) in done.iter_mut().enumerate() {
        for _ in 0..100 {
            // More than are computed, so that the oldest are dropped to make room while they wait.
            for _ in 0..2 * HANDSHAKES_PER_TURN {
                let from = Peer::Tcp(([10, 0, 0, 66], 1000).into());
                let socket = world.net.connect(&world.front, from, Buffers { send: 256, receive: 256 });
                flood.push((socket, 0));
            }
            for (socket, said) in &mut flood {
                *said += socket.write(&hello[*said..]);
            }
            flood.retain(|(socket, _)| matches!(socket.state(), State::Open | State::Connecting));
            world.step();
            let waiting = world.workers[0].census().hailed;
            assert!(waiting <= STRANGERS, "half {half}: {waiting} hellos wait");
        }
        *done = world.counters[0].handshakes.get();
    }
    assert!(done[1] >= done[0] + 50, "it goes on: {done:?} handshakes");
}

#[test]
fn peers_on_this_machine_are_no_strangers_where_they_are_exempt() {
    for (exempt, address, evicted) in
        [(true, [127, 0, 0, 9], 0), (true, [10, 0, 0, 66], STRANGERS), (false, [127, 0, 0, 9], STRANGERS)]
    {
        let mut world = World::quiet(Shape { exempt, ..Shape::plain(1, 0, 1) });
        let from = Peer::Tcp((address, 1000).into());
        let buffers = Buffers { send: 256, receive: 256 };
        let _flood: Vec<Socket> =
            (0..2 * STRANGERS).map(|_| world.net.connect(&world.front, from, buffers)).collect();
        let accepted = |world: &World| world.counters[0].links_accepted.get() as usize;
        world.until("all have come", |world| accepted(world) == 2 * STRANGERS);
        let gone = world.counters[0].strangers_evicted.get() as usize;
        assert_eq!(gone, evicted, "from {address:?}, exempt: {exempt}");
    }
}

#[test]
fn a_hello_more_than_may_wait_is_told_to_come_back_even_where_nobody_is_a_stranger() {
    let mut world = World::quiet(Shape { exempt: true, ..Shape::plain(1, 0, 1) });
    let mut flood: Vec<Hostile> = (0..3 * STRANGERS).map(|_| hostile(&world)).collect();
    let accepted = |world: &World| world.counters[0].links_accepted.get() as usize;
    world.until("all have come, as none has said anything", |world| accepted(world) == flood.len());
    (0..100).for_each(|_| say_hello(&mut world, &mut flood));
    let counters = &world.counters[0];
    assert!(counters.clear_replies_busy.get() > 0 && counters.handshakes.get() > 0);
    assert_eq!(counters.strangers_evicted.get(), 0);
}

#[test]
fn a_crowd_waits_outside_and_all_of_it_is_served_in_the_end() {
    let mut world = World::quiet(Shape { exempt: true, ..Shape::plain(1, 0, 1) });
    let mut flood: Vec<Hostile> = (0..3 * STRANGERS).map(|_| hostile(&world)).collect();
    let mut inside = 0;
    for _ in 0..100 {
        say_hello(&mut world, &mut flood);
        inside = inside.max(world.workers[0].census().hailed);
    }
    assert!(inside > 0 && inside < STRANGERS, "{inside} waited, and {STRANGERS} may");
    let counters = &world.counters[0];
    assert_eq!((counters.handshakes.get(), counters.clear_replies_busy.get()), (3 * STRANGERS as u64, 0));
}

#[test]
fn whoever_says_a_hello_and_leaves_costs_no_curve_work_while_others_wait() {
    const MANY: usize = 64;
    let served = |stay: bool| {
        let mut world = World::quiet(Shape {
            exempt: true,
            strangers: MANY,
            slots: 2 * MANY as u32,
            ..Shape::plain(1, 0, 1)
        });
        let mut flood: Vec<Hostile> = (0..MANY).map(|_| hostile(&world)).collect();
        for _ in 0..100 {
            say_hello(&mut world, &mut flood);
            flood.retain(|(_, said)| stay || *said < hello().len());
        }
        assert_eq!(world.workers[0].census().hailed, 0);
        world.counters[0].handshakes.get()
    };
    let [patient, hasty] = [true, false].map(served);
    assert_eq!(patient, MANY as u64);
    assert!(hasty < patient * 3 / 4, "{hasty} of {patient}");
}

/// Each turn has one system call; one more is what lets messages leave before the handshakes of the same turn.
#[test]
fn what_was_heard_leaves_before_handshakes_are_made_and_only_then_a_turn_has_a_second_system_call() {
    let more_calls = |asks: bool, newcomers: bool| {
        let mut world =
            World::standing(Shape { exempt: true, slots: 400, strangers: 64, ..Shape::plain(1, 1, 1) });
        world.clients[0].script = Some(Script { lane: ("echo", ""), len: 10, window: 1 });
        (world.clients[0].wanted, world.clients[0].stays) = (if asks { 1000 } else { 1 }, true);
        world.until("bob is in", |world| world.totals.answered > 0);
        (0..100).for_each(|_| world.step());
        let count = |world: &World| {
            let counters = &world.counters[0];
            (counters.driver_system_calls.get(), counters.turns.get())
        };
        let (before, mut flood) = (count(&world), Vec::new());
        for _ in 0..200 {
            if newcomers {
                flood.push(hostile(&world));
            }
            say_hello(&mut world, &mut flood);
        }
        let (calls, turns) = count(&world);
        (calls - before.0).saturating_sub(turns - before.1)
    };
    let [both, messages, newcomers] =
        [(true, true), (true, false), (false, true)].map(|(a, b)| more_calls(a, b));
    assert!(both > 5 && messages <= 1 && newcomers <= 1, "{both}, {messages}, {newcomers}");
}

/// Somebody who wants to be no more than a burden, and how much it has said of its hello.
type Hostile = (Socket, usize);

fn hostile(world: &World) -> Hostile {
    let from = Peer::Tcp(([127, 0, 0, 9], 1000).into());
    (world.net.connect(&world.front, from, Buffers { send: 256, receive: 256 }), 0)
}

/// A step in which all of them say as much of a hello as they can.
fn say_hello(world: &mut World, flood: &mut Vec<Hostile>) {
    let hello = hello();
    for (socket, said) in &mut *flood {
        *said += socket.write(&hello[*said..]);
    }
    flood.retain(|(socket, _)| matches!(socket.state(), State::Open | State::Connecting));
    world.step();
}

#[test]
fn strangers_that_dawdle_push_each_other_out_and_hold_no_more_than_they_may() {
    let mut world = World::quiet(Shape::plain(1, 0, 1));
    let mut crowd: Vec<Distant> = Vec::new();
    let mut came = 0;
    for _ in 0..400 {
        if crowd.len() < STRANGERS && came < 40 {
            came += 1;
            let mut client = Distant::dial(&world, came);
            client.dawdles = true;
            crowd.push(client);
        }
        world.step();
        crowd.retain_mut(|client| client.step(&world, 0));
    }
    // Whoever was pushed out in the last of these steps hears of it later.
    for _ in 0..400 {
        world.step();
        crowd.retain_mut(|client| client.step(&world, 0));
    }
    let counters = &world.counters[0];
    let pushed_out = counters.errors.of(Error::PartialEvicted).get();
    let gone = pushed_out + counters.strangers_evicted.get();
    assert!(pushed_out > 20, "{pushed_out} were pushed out");
    assert_eq!(gone + crowd.len() as u64, came, "and are gone");
    assert!(world.workers[0].census().stranger_bytes > 0);
}

/// A hello as anybody who knows the gateway's key can make it.
pub(crate) fn hello() -> Vec<u8> {
    dialled([8; 32]).1
}
