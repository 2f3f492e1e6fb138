//! Clients that come by a balancer: lists and limits hold for whom it names, and it pays for nobody and nothing.

use std::sync::Arc;
use std::time::Duration;

use driver::Peer;
use driver::sim::{Buffers, Socket, State};
use gateway::admission::lists::{Lists, NEVER, Prefixes};
use gateway::config::ProxyProtocol;
use gateway::counters::Counters;
use gateway::counters::guard::Guard;
use gateway::worker::Letter;
use protocol::{CloseCode, Error};

use crate::balancer::{balancer, check, header};
use crate::reconnect::Distant;
use crate::settings::address_of;
use crate::shape::{Costs, Shape};
use crate::world::World;

fn world(proxy: ProxyProtocol, clients: usize) -> World {
    let shape =
        Shape { slots: 400, strangers: 300, costs: Costs::Default, proxy, ..Shape::plain(2, clients, 1) };
    let mut world = World::standing(shape);
    world.backends.iter_mut().for_each(|backend| backend.desk.roaming = true);
    world
}

fn sum(world: &World, count: fn(&Counters) -> u64) -> u64 {
    world.counters.iter().map(|counters| count(counters)).sum()
}

fn refused(world: &World, guard: Guard) -> u64 {
    world.counters.iter().map(|counters| counters.listeners[0].refused.of(guard).get()).sum()
}

fn all_refused(world: &World) -> u64 {
    Guard::ALL.iter().map(|guard| refused(world, *guard)).sum()
}

fn links(world: &World) -> usize {
    world.workers.iter().map(|worker| worker.census().links).sum()
}

fn strangers_counted(world: &World) -> u64 {
    world.buckets.census()[0].strangers
}

fn is_open(socket: &Socket) -> bool {
    matches!(socket.state(), State::Open | State::Connecting)
}

/// Those who come, say something, and then nothing more.
#[derive(Default)]
struct Crowd(Vec<(Socket, Vec<u8>)>);

impl Crowd {
    /// Somebody comes from there to say this.
    fn dial(&mut self, world: &World, from: Peer, said: Vec<u8>) {
        let buffers = Buffers { send: 256, receive: 256 };
        self.0.push((world.net.connect(&world.front, from, buffers), said));
    }

    /// So many come by the balancer, with what each is to say.
    fn dial_all(world: &World, count: u64, said: impl Fn(u64) -> Vec<u8>) -> Self {
        let mut crowd = Self::default();
        (0..count).for_each(|number| crowd.dial(world, balancer(), said(number)));
        crowd
    }

    fn step(&mut self, world: &mut World) {
        world.step();
        for (socket, said) in &mut self.0 {
            let written = socket.write(said);
            said.drain(..written);
        }
    }

    fn pass(&mut self, world: &mut World, steps: u32) {
        (0..steps).for_each(|_| self.step(world));
    }

    fn until(&mut self, world: &mut World, what: &str, is_so: impl Fn(&World) -> bool) {
        let came = (0..3000).any(|_| {
            self.step(world);
            is_so(world)
        });
        assert!(came, "never: {what}");
    }

    /// How many are not turned away.
    fn open(&self) -> usize {
        self.0.iter().filter(|(socket, _)| is_open(socket)).count()
    }
}

/// One that is not on the list.
fn other() -> Peer {
    Peer::Tcp(([10, 201, 0, 1], 1000).into())
}

fn ban(world: &World, blocks: &[&str]) {
    let bans: Prefixes = blocks.iter().map(|block| (block.parse().expect("a block"), NEVER)).collect();
    for (worker, post) in (0..).zip(&world.posts) {
        let lists = Lists { bans: Arc::new(bans.clone()), ..Lists::default() };
        post.send(Letter::Lists(lists)).expect("there is room");
        world.net.ring(worker);
    }
}

#[test]
fn a_flood_from_one_address_is_kept_out_and_others_get_in_by_the_same_balancer() {
    let mut world = world(ProxyProtocol::Required, 0);
    let mut flood = Crowd::default();
    let [mut number, mut is_in] = [0; 2];
    let mut honest: Vec<(u64, Distant)> = Vec::new();
    for step in 0..700_u64 {
        flood.dial(&world, balancer(), header(step, [10, 9, 9, 9]));
        if step % 4 == 0 && step < 600 {
            let address = [10, 1, (step % 16) as u8, 1];
            honest.push((number, Distant::dial_from(&world, number, address)));
            number += 1;
        }
        flood.step(&mut world);
        flood.0.retain(|(socket, _)| is_open(socket));
        honest.retain_mut(|(number, client)| {
            let stays = client.step(&world, *number);
            is_in += u64::from(client.is_in);
            stays
        });
    }
    assert_eq!(is_in, number, "all the others got in");
    let kept_out = [Guard::StrangersPerAddress, Guard::AcceptsPerAddress].map(|guard| refused(&world, guard));
    assert!(kept_out[0] + kept_out[1] > 400, "{kept_out:?}");
    flood.0.clear();
    world.until("nobody is left", |world| {
        world.buckets.census().iter().all(|it| it.strangers + it.users == 0)
    });
}

/// More at a time than one address may have, and oftener than it may connect.
#[test]
fn a_balancer_pays_nothing_before_its_header_and_its_clients_once_behind_it() {
    let mut world = world(ProxyProtocol::Required, 0);
    let mut crowd = Crowd::dial_all(&world, 200, |_| Vec::new());
    crowd.until(&mut world, "all have come", |world| links(world) == 200);
    crowd.pass(&mut world, 20);
    assert_eq!((crowd.open(), strangers_counted(&world)), (200, 0));
    for (number, (_, said)) in (0..).zip(&mut crowd.0) {
        *said = header(number, [10, 1, number as u8, 1]);
    }
    crowd.until(&mut world, "each is counted", |world| strangers_counted(world) == 200);
    crowd.pass(&mut world, 20);
    assert_eq!((strangers_counted(&world), all_refused(&world)), (200, 0));
    assert_eq!(sum(&world, |counters| counters.links_forwarded.get()), 200);
    crowd.0.clear();
    world.until("nobody is counted", |world| strangers_counted(world) == 0);
}

#[test]
fn a_header_may_be_cut_anywhere() {
    for proxy in [ProxyProtocol::Required, ProxyProtocol::Optional] {
        let mut world = world(proxy, 0);
        let whole = |number: u64| header(0, [10, 1, number as u8, 1]);
        let count = whole(0).len() as u64;
        let mut crowd = Crowd::dial_all(&world, count, |number| whole(number)[..number as usize].to_vec());
        crowd.pass(&mut world, 60);
        assert_eq!((crowd.open(), strangers_counted(&world)), (count as usize, 0));
        for (number, (_, said)) in (0..).zip(&mut crowd.0) {
            said.extend_from_slice(&whole(number)[number as usize..]);
        }
        crowd.until(&mut world, "each is counted", |world| strangers_counted(world) == count);
        assert_eq!((crowd.open(), all_refused(&world)), (count as usize, 0));
    }
}

#[test]
fn a_balancer_may_look_whether_the_gateway_is_there_as_often_as_it_likes() {
    for proxy in [ProxyProtocol::Required, ProxyProtocol::Optional] {
        let mut world = world(proxy, 0);
        let mut checks = Crowd::default();
        let mut gone = 0;
        for _ in 0..1000 {
            checks.dial(&world, balancer(), check());
            checks.step(&mut world);
            assert_eq!(checks.open(), checks.0.len(), "nobody is turned away");
            assert_eq!(strangers_counted(&world), 0);
            // Whoever has said it goes, when there are some.
            if checks.0.len() > 40 {
                let before = checks.0.len();
                checks.0.retain(|(_, said)| !said.is_empty());
                gone += before - checks.0.len();
            }
        }
        checks.until(&mut world, "all have been seen", |world| {
            sum(world, |counters| counters.balancer_checks.get()) == 1000
        });
        assert!(gone > 800, "{gone} came and went");
        checks.0.clear();
        world.until("all have gone", |world| links(world) == 0);
        let lost = sum(&world, |counters| counters.links_lost.get());
        assert_eq!((all_refused(&world), lost), (0, 0), "nothing was wrong with any of them");
    }
}

#[test]
fn bans_hold_for_those_whom_a_balancer_names_before_and_after_they_are_in() {
    let mut world = world(ProxyProtocol::Required, 8);
    for (index, client) in world.clients.iter_mut().enumerate() {
        client.name = format!("user{index}");
        (client.wanted, client.stays) = (1, true);
    }
    world.until("all are in", |world| world.totals.answered == 8);
    let is_near = |name: &str| address_of(name.as_bytes())[..3] == [10, 0, 0];
    let near = world.clients.iter().filter(|client| is_near(&client.name)).count();
    assert!(near > 0 && near < 8);
    ban(&world, &["10.0.0.0/24", "192.0.2.0/24"]);
    world.until("those from there have left", |world| links(world) == 8 - near);
    assert_eq!(world.totals.closes.iter().collect::<Vec<_>>(), [&CloseCode::Banned]);
    let mut banned = Crowd::dial_all(&world, 30, |number| header(number, [192, 0, 2, number as u8]));
    banned.until(&mut world, "those who come are kept out", |world| refused(world, Guard::Lists) == 30);
    banned.pass(&mut world, 60);
    assert_eq!((banned.open(), links(&world)), (0, 8 - near));

    // A balancer that is banned brings nobody, and those who came by it stay.
    let mut own = Crowd::dial_all(&world, 2, |number| if number == 0 { Vec::new() } else { check() });
    own.until(&mut world, "they have come", |world| links(world) == 8 - near + 2);
    ban(&world, &["10.200.0.0/24"]);
    own.until(&mut world, "what it said for nobody is gone", |world| links(world) == 8 - near);
    let mut others = Crowd::dial_all(&world, 9, |number| header(number, [10, 1, 1, 1]));
    others.until(&mut world, "they are kept out", |world| refused(world, Guard::Lists) == 30 + 9);
    others.pass(&mut world, 60);
    assert_eq!((others.open(), links(&world)), (0, 8 - near));
}

#[test]
fn whoever_is_no_balancer_is_kept_out_where_headers_are_required() {
    let mut world = world(ProxyProtocol::Required, 0);
    let mut others = Crowd::default();
    for number in 0..20 {
        others.dial(&world, other(), header(number, [10, 1, 1, 1]));
    }
    others.until(&mut world, "they are kept out", |world| refused(world, Guard::NotABalancer) == 20);
    others.pass(&mut world, 60);
    assert_eq!((others.open(), strangers_counted(&world)), (0, 0));
    assert_eq!(sum(&world, |counters| counters.links_accepted.get()), 0);
    let junk = [&b"\xac\xce\x55\x0a"[..], b"PROXY TCP4 ", b"\r\n\r\n\0\r\nQUIT\n\x11"];
    let mut junk = Crowd::dial_all(&world, 3, |number| junk[number as usize].to_vec());
    let since = world.now;
    junk.until(&mut world, "they are counted", |world| refused(world, Guard::ProxyHeader) == 3);
    assert!(world.now.since(since) < Duration::from_secs(2), "nobody waits for the rest of what is none");
    junk.pass(&mut world, 60);
    assert_eq!((junk.open(), links(&world)), (0, 0));
}

#[test]
fn a_header_of_somebody_else_is_junk_where_clients_come_without_one_too() {
    let mut world = world(ProxyProtocol::Optional, 0);
    let mut forged = Crowd::default();
    for number in 0..9 {
        forged.dial(&world, other(), header(number, [10, 1, 1, 1]));
    }
    let magic = |world: &World| sum(world, |counters| counters.errors.of(Error::Magic).get());
    forged.until(&mut world, "they are met with silence", |world| magic(world) == 9);
    forged.pass(&mut world, 60);
    assert_eq!((forged.open(), links(&world)), (0, 0));
    assert_eq!(sum(&world, |counters| counters.links_forwarded.get()), 0);
    // A client on the balancer's own machine pays for itself.
    let mut own = Crowd::dial_all(&world, 9, |_| b"\xac\xce".to_vec());
    own.until(&mut world, "they are counted", |world| strangers_counted(world) == 9);
    assert_eq!(own.open(), 9);
}
