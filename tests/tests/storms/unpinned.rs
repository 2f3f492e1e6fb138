//! Links without a server key: handshakes of three messages that come, stop half-way, and push each other out.

use std::time::Duration;

use driver::Peer;
use driver::sim::{Buffers, Net, Rng, Socket, State};
use gateway::counters::guard::Guard;
use gateway::worker::Census;
use protocol::Time;

use crate::settings::{BEGUN_MAX, dialled_unpinned};
use crate::shape::{STRANGERS, Shape};
use crate::world::World;

/// A world of such a listener.
fn unpinned(workers: usize, clients: usize) -> Shape {
    Shape { signed: true, unpinned: true, ..Shape::plain(workers, clients, 1) }
}

/// Somebody who says a hello, hears message 2, and then this.
struct Half {
    socket: Socket,
    unsent: Vec<u8>,
    said: usize,
}

impl Half {
    fn dial(net: &Net, world: &World, behind: &[u8]) -> Self {
        let (mut rng, mut hello) = (Rng::new(7), Vec::new());
        dialled_unpinned(&mut rng, Time::ZERO, [7; 32], &mut hello);
        let from = Peer::Tcp(([10, 0, 0, 66], 1000).into());
        let socket = net.connect(&world.front, from, Buffers { send: 256, receive: 256 });
        hello.extend_from_slice(behind);
        Self { socket, unsent: hello, said: 0 }
    }

    /// Whether the gateway still listens. What is said behind the hello waits for message 2.
    fn step(&mut self, heard: &mut usize) -> bool {
        const HELLO_LEN: usize = 32 + 2 + 32;
        let mut bytes = Vec::new();
        self.socket.read(&mut bytes, 200);
        *heard += bytes.len();
        let end = if bytes.is_empty() && self.said <= HELLO_LEN { HELLO_LEN } else { self.unsent.len() };
        self.said += self.socket.write(&self.unsent[self.said..end.max(self.said)]);
        matches!(self.socket.state(), State::Open | State::Connecting)
    }
}

fn begun(world: &World) -> usize {
    world.workers.iter().map(|worker| worker.census().begun).sum()
}

fn evicted(world: &World) -> u64 {
    let of = |counters: &gateway::counters::Counters| {
        let refused = counters.listeners[0].refused.of(Guard::XxHandshakes).get();
        assert_eq!(refused, counters.xx_handshakes_evicted.get());
        refused
    };
    world.counters.iter().map(|counters| of(counters)).sum()
}

/// Lets so many come that stop half-way, a few at a time; how many bytes they have heard.
fn flood(world: &mut World, count: usize, behind: &[u8]) -> usize {
    let (mut crowd, mut heard): (Vec<Half>, _) = (Vec::new(), 0);
    for came in 0..count {
        let net = world.net.clone();
        crowd.push(Half::dial(&net, world, behind));
        for _ in 0..=came % 3 {
            world.step();
            crowd.retain_mut(|half| half.step(&mut heard));
        }
    }
    for _ in 0..20 {
        world.step();
        crowd.retain_mut(|half| half.step(&mut heard));
    }
    assert!(crowd.len() <= BEGUN_MAX, "{} are still there", crowd.len());
    heard
}

#[test]
fn handshakes_that_stop_half_way_push_each_other_out_and_nothing_is_left_of_them() {
    let mut world = World::standing(unpinned(1, 0));
    let heard = flood(&mut world, 60, &[]);
    assert!(heard >= 60 * 102 / 2, "most have heard message 2: {heard}");
    assert_eq!(begun(&world), BEGUN_MAX, "the rest had to go");
    assert!(evicted(&world) > 20, "{}", evicted(&world));
    world.until("they have gone", |world| world.workers[0].census().links == 0);
    let Census { streams, .. } = world.workers[0].census();
    assert_eq!(world.workers[0].census(), Census { streams, ..Census::default() });
}

#[test]
fn a_message_3_that_does_not_open_ends_its_link_and_leaves_nothing() {
    let mut world = World::standing(unpinned(1, 0));
    flood(&mut world, 30, &[&[0, 64][..], &[1; 64]].concat());
    flood(&mut world, 30, &[0, 63]);
    let refused = world.counters[0].listeners[0].refused.of(Guard::Hellos).get();
    assert!(refused >= 20, "{refused}");
    assert_eq!(world.counters[0].handshakes.get(), 0);
    world.until("they have gone", |world| world.workers[0].census().links == 0);
    assert_eq!(begun(&world), 0);
}

/// Who has come last stays longest: clients that go on at once get in while a crowd that never does comes and goes.
#[test]
fn whoever_goes_on_at_once_gets_in_through_a_crowd_that_does_not() {
    let mut world = World::standing(unpinned(1, 4));
    let (mut crowd, mut heard): (Vec<Half>, _) = (Vec::new(), 0);
    for _ in 0..3000 {
        if crowd.len() < BEGUN_MAX.min(STRANGERS) {
            let net = world.net.clone();
            crowd.push(Half::dial(&net, &world, &[]));
        }
        world.step();
        crowd.retain_mut(|half| half.step(&mut heard));
        if world.clients.iter().all(|client| client.is_done()) {
            break;
        }
    }
    assert!(world.clients.iter().all(|client| client.is_done()), "{:?}", world.totals);
    assert!(evicted(&world) > 0, "the crowd was at the bound");
    assert!(world.counters[0].authentications.get() >= 4);
}

/// Long before the time of those is over who never go on.
#[test]
fn who_comes_last_finds_a_place_where_all_are_taken_by_those_who_stay() {
    let mut world = World::standing(unpinned(1, 1));
    let wanted = std::mem::take(&mut world.clients[0].wanted);
    let (net, mut heard) = (world.net.clone(), 0);
    let mut crowd: Vec<Half> = (0..BEGUN_MAX).map(|_| Half::dial(&net, &world, &[])).collect();
    while begun(&world) < BEGUN_MAX {
        world.step();
        assert!(crowd.iter_mut().all(|half| half.step(&mut heard)), "there is room for all of them");
    }
    let since = world.now;
    world.clients[0].wanted = wanted;
    world.until("it is in", |world| world.counters[0].authentications.get() == 1);
    assert!(world.now.since(since) < Duration::from_secs(3), "after {:?}", world.now.since(since));
    crowd.retain_mut(|half| half.step(&mut heard));
    assert_eq!(
        (crowd.len(), evicted(&world)),
        (BEGUN_MAX - 1, 1),
        "the oldest has made room, and nobody else"
    );
}

#[test]
fn a_token_that_names_no_key_of_the_handshake_lets_nobody_in() {
    let mut world = World::standing(unpinned(1, 3));
    world.clients.iter_mut().for_each(|client| client.is_bound = false);
    world.until("they are refused", |world| world.counters[0].authentications_failed.get() >= 6);
    assert_eq!(world.counters[0].authentications.get(), 0);
}
