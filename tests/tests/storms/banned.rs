//! Addresses and users that are banned while links from there are in, on their way in, and about to come.

use std::sync::Arc;
use std::time::Duration;

use driver::Peer;
use driver::sim::{Buffers, Socket, State};
use gateway::admission::lists::{Lists, NEVER, Prefixes, Users};
use gateway::counters::guard::Guard;
use gateway::worker::Letter;
use protocol::{CloseCode, Time};

use crate::shape::Shape;
use crate::world::World;

const LINKS: usize = 12;

/// Turns that do three things of each kind, so that a change takes several of them.
fn world() -> World {
    let mut world = World::standing(Shape { brief: true, ..Shape::plain(2, LINKS, 1) });
    for (index, client) in world.clients.iter_mut().enumerate() {
        client.name = format!("user{index}");
        (client.wanted, client.stays) = (1, true);
    }
    world.until("all are in", |world| world.totals.answered == LINKS as u64);
    world
}

fn tell(world: &World, blocks: &[(&str, Time)]) {
    let bans: Prefixes = blocks.iter().map(|&(block, end)| (block.parse().expect("a block"), end)).collect();
    tell_lists(world, &Lists { bans: Arc::new(bans), ..Lists::default() });
}

fn tell_lists(world: &World, lists: &Lists) {
    for (worker, post) in (0..).zip(&world.posts) {
        post.send(Letter::Lists(lists.clone())).expect("there is room");
        world.net.ring(worker);
    }
}

fn links(world: &World) -> usize {
    world.workers.iter().map(|worker| worker.census().links).sum()
}

fn sum(world: &World, count: fn(&gateway::counters::Counters) -> u64) -> u64 {
    world.counters.iter().map(|counters| count(counters)).sum()
}

/// A stranger that has said half of what it was to say.
fn stranger(world: &mut World, ip: [u8; 4]) -> Socket {
    let from = Peer::Tcp((ip, 1000).into());
    let socket = world.net.connect(&world.front, from, Buffers { send: 256, receive: 256 });
    socket.write(&[0; 2]);
    (0..20).for_each(|_| world.step());
    socket
}

#[test]
fn whoever_is_banned_leaves_and_does_not_come_back_before_the_ban_ends() {
    let mut world = world();
    let [near, other] = [[10, 0, 0, 77], [10, 1, 0, 77]].map(|ip| stranger(&mut world, ip));
    assert_eq!([near.state(), other.state()], [State::Open, State::Open]);
    let end = world.now + Duration::from_secs(8);
    tell(&world, &[("10.0.0.0/16", end)]);
    let since = world.now;
    world.until("they have left", |world| links(world) == 1);
    assert!(world.now.since(since) < Duration::from_secs(1), "{:?}", world.now.since(since));
    assert_eq!(world.totals.closes.iter().collect::<Vec<_>>(), [&CloseCode::Banned]);
    assert_eq!(sum(&world, |counters| counters.links_banned.get()), LINKS as u64 + 1);
    assert!(near.state() != State::Open && other.state() == State::Open);

    // They ask again, and again, and hear nothing.
    world.clients.iter_mut().for_each(|client| client.wanted = 1);
    let before = sum(&world, |counters| counters.handshakes.get());
    while world.now + Duration::from_millis(500) < end {
        world.step();
        assert!(links(&world) <= 1, "a place in the table is no place for them");
    }
    assert!(sum(&world, |counters| counters.listeners[0].refused.of(Guard::Lists).get()) >= LINKS as u64);
    assert_eq!(sum(&world, |counters| counters.handshakes.get()), before);
    world.until("the ban is over", |world| world.totals.answered == 2 * LINKS as u64);
    assert!(world.now >= end);
}

#[test]
fn links_are_looked_at_in_slices_one_after_the_other_also_where_nothing_else_happens() {
    let shape = Shape { brief: true, strangers: 64, slots: 128, ..Shape::plain(1, 0, 1) };
    let mut world = World::standing(shape);
    let buffers = Buffers { send: 256, receive: 256 };
    let all: Vec<Socket> = (0..40)
        .map(|number| world.net.connect(&world.front, Peer::Tcp(([10, 2, 0, number], 1000).into()), buffers))
        .collect();
    (0..50).for_each(|_| world.step());
    // Eight of forty, and a turn looks at three.
    tell(&world, &[("10.2.0.0/29", NEVER)]);
    let banned = &all[..8];
    let steps = (0..100).take_while(|_| {
        world.step();
        banned.iter().any(|socket| socket.state() == State::Open)
    });
    let steps = steps.count();
    assert!(steps < 70, "the last went after {steps} steps");
}

#[test]
fn a_ban_that_is_lifted_lets_them_in_at_once_and_one_of_others_touches_nobody() {
    let mut world = world();
    tell(&world, &[("10.0.0.0/21", NEVER), ("2001:db8::/32", NEVER)]);
    world.until("they have left", |world| links(world) == 0);
    tell(&world, &[("192.0.2.0/24", NEVER), ("10.0.0.9", NEVER)]);
    world.clients.iter_mut().for_each(|client| client.wanted = 1);
    world.until("they are back", |world| world.totals.answered == 2 * LINKS as u64);
    world.pass(Duration::from_secs(1));
    assert_eq!(links(&world), LINKS, "they are not on the list");
}

#[test]
fn a_banned_user_leaves_and_is_refused_before_it_is_anybody_and_the_others_stay() {
    let mut world = world();
    let end = world.now + Duration::from_secs(6);
    let bans = [("user3", end), ("user5", end), ("nobody", NEVER)];
    let bans = bans.map(|(user, end)| (user.parse().expect("an id"), end)).into_iter().collect();
    let users = Users { bans: Arc::new(bans), ..Users::default() };
    tell_lists(&world, &Lists { users, ..Lists::default() });
    world.until("they have left", |world| links(world) == LINKS - 2);
    assert_eq!(world.totals.closes.iter().collect::<Vec<_>>(), [&CloseCode::Banned]);
    world.clients.iter_mut().for_each(|client| client.wanted = 1);
    while world.now + Duration::from_millis(500) < end {
        world.step();
        let sessions: usize = world.workers.iter().map(|worker| worker.census().claims).sum();
        assert!(sessions <= LINKS - 2, "nobody is told of a login that was refused");
    }
    assert_eq!(world.totals.answered, 2 * LINKS as u64 - 2);
    assert!(sum(&world, |counters| counters.listeners[0].refused.of(Guard::Users).get()) >= 2);
    assert_eq!(sum(&world, |counters| counters.links_banned.get()), 2);
    world.until("the bans are over", |world| world.now >= end);
    // What they had sent behind their logins is lost.
    for client in [3, 5] {
        world.clients[client].wanted = 1;
    }
    world.until("they are back", |world| world.totals.answered == 2 * LINKS as u64);
}
