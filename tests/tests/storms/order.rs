//! What was said first counts first: pushes behind logins and kicks, ends before beginnings, answers before deadlines.

use std::time::Duration;

use driver::sim::Rng;
use gateway::collections::HashKey;
use gateway::directory::owner_of;
use gateway::worker::Letter;
use protocol::{Time, Undelivered};

use crate::backend::Order;
use crate::client::{Client, Script};
use crate::settings::{HASH_KEY, wall};
use crate::shape::Shape;
use crate::world::World;

const NEVER: Time = Time::from_nanos(u64::MAX);

fn turn(world: &mut World) -> bool {
    world.workers[0].wait().expect("the simulated driver does not break");
    let now = world.now;
    world.workers[0].turn(now, wall(now))
}

#[test]
fn a_push_behind_a_verdict_is_delivered() {
    for workers in [2, 1] {
        let mut world = World::standing(Shape { delegated: true, ..Shape::plain(workers, 6, 1) });
        for (index, client) in world.clients.iter_mut().enumerate() {
            client.name = format!("user{index}");
            client.stays = true;
        }
        world.backends[0].desk.greets = true;
        let all =
            |world: &World| world.workers.iter().map(|worker| worker.census().sessions).sum::<usize>() == 6;
        world.until("all are in", all);
        (0..300).for_each(|_| world.step());
        eprintln!(
            "{workers} workers: pushed {}, undelivered {:?}",
            world.totals.pushed, world.totals.undelivered
        );
        assert!(!world.totals.undelivered.contains(&Undelivered::NoUser), "{workers} workers");
    }
}

/// A user of whom nothing is known but that a worker owns it.
fn owned_by(worker: u32, workers: u32) -> &'static str {
    let hash = HashKey::new(HASH_KEY);
    let users = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let owner = |user: &&&str| owner_of(hash.identity(user.as_bytes()), workers) == worker;
    users.iter().find(owner).expect("each owns some")
}

/// So little is done in a turn that letters to oneself wait for many, and letters of others come meanwhile.
#[test]
fn a_push_to_a_user_that_follows_one_to_its_link_arrives_after_it() {
    let worlds = (1..=12).flat_map(|seed| (0..4).map(move |busy| (seed, busy)));
    for (seed, busy) in worlds {
        let brief = busy < 3;
        let nobody = owned_by(busy % 3, 3);
        let shape = Shape { letters: 256, brief, ..Shape::plain(3, 1, 1) };
        let mut world = World::standing_of(shape, seed);
        (world.clients[0].name, world.clients[0].stays) = ("user0".into(), true);
        world.until("it is known", |world| world.backends[0].present().len() == 1);
        let (&link, _) = world.backends[0].present().first_key_value().expect("just seen");
        let user = "user0";
        for class in [0, 1] {
            let orders = &mut world.backends[0].desk.orders;
            orders.extend([Order::Kick { user: nobody, device: "" }; 80]);
            let (first, second, ttl) = ("to the link", "to the user", Duration::ZERO);
            orders.extend(match class {
                0 => [
                    Order::PushLink { link, user, text: first },
                    Order::Push { user, device: "", text: second },
                ],
                _ => [
                    Order::Keep { user, link, text: first, ttl },
                    Order::Keep { user, link: 0, text: second, ttl },
                ],
            });
            let texts = |world: &World| {
                let Client { pushes, kept, .. } = &world.clients[0];
                if class == 0 { pushes.clone() } else { kept.clone() }
            };
            world.until("both have come", |world| texts(world).len() == 2);
            assert_eq!(texts(&world), [first.as_bytes(), second.as_bytes()], "seed {seed}, busy {busy}");
        }
    }
}

#[test]
fn a_push_behind_a_kick_is_reported() {
    let mut world = World::standing(Shape::plain(1, 1, 1));
    world.clients[0].script = Some(Script { lane: ("echo", ""), len: 10, window: 1 });
    world.clients[0].wanted = 1;
    world.backends[0].desk.kicks = true;
    world.until("kicked", |world| !world.totals.closes.is_empty());
    (0..100).for_each(|_| world.step());
    assert!(world.totals.undelivered.contains(&Undelivered::NoLink), "pushed {}", world.totals.pushed);
}

#[test]
fn the_end_of_a_replaced_link_is_told_before_the_new_one() {
    let mut world = World::standing(Shape::plain(1, 2, 1));
    for client in &mut world.clients {
        client.name = "same".into();
        client.stays = true;
    }
    world.clients[1].wanted = 0;
    world.backends[0].desk.ordered = true;
    world.until("the first is told of", |world| world.backends[0].present().len() == 1);
    world.clients[1].wanted = 1;
    world.until("it is replaced", |world| !world.totals.closes.is_empty());
    (0..100).for_each(|_| world.step());
}

/// An answer lies in the driver when a worker that stood still goes on, behind this many other completions.
fn stalled(noise: u32) {
    let mut world = World::standing(Shape { sleepy: false, ..Shape::plain(1, 1, 1) });
    world.clients[0].script = Some(Script { lane: ("echo", ""), len: 10, window: 1 });
    world.clients[0].wanted = 1;
    world.clients[0].stays = true;
    world.backends[0].desk.mute_until = NEVER;
    world.until("it is asked", |world| world.workers[0].census().pending == 1);
    world.pass(Duration::from_millis(4200));
    world.backends[0].desk.mute_until = Time::ZERO;
    let mut rng = Rng::new(7);
    for _ in 0..60 {
        world.net.step();
        world.now = world.now + Duration::from_millis(20);
        let (now, World { backends, totals, .. }) = (world.now, &mut world);
        backends[0].step(&mut rng, now, totals);
    }
    world.workers[0].driver().noise = noise;
    turn(&mut world);
    world.until("it is over", |world| world.totals.answered + world.totals.unknown == 1);
    assert_eq!((world.totals.answered, world.totals.unknown), (1, 0), "noise {noise}");
}

#[test]
fn an_answer_that_is_there_counts_after_a_stall_control() {
    stalled(0);
}

#[test]
fn an_answer_that_is_there_counts_after_a_stall() {
    stalled(16 * 1024);
}

#[test]
fn an_answer_that_is_there_counts_however_much_is_learned_before_it() {
    // Fifty turns' worth.
    stalled(50 * 2048);
}

#[test]
fn an_auth_that_is_there_counts_after_a_stall() {
    let mut world = World::standing(Shape { sleepy: false, ..Shape::plain(1, 1, 1) });
    world.clients[0].stays = true;
    world.until("hands are shaken", |world| world.counters[0].handshakes.get() == 1);
    world.clients[0].wanted = 0;
    turn(&mut world);
    for _ in 0..30 {
        world.net.step();
        let (now, World { clients, totals, net, .. }) = (world.now, &mut world);
        clients[0].step(net, now, totals);
    }
    world.now = world.now + Duration::from_secs(12);
    turn(&mut world);
    (0..100).for_each(|_| world.step());
    assert!(world.totals.closes.is_empty(), "{:?}", world.totals.closes);
    assert_eq!(world.workers[0].census().sessions, 1);
}

#[test]
fn stopping_counts_no_unknown_requests() {
    let mut world = World::standing(Shape { sleepy: false, ..Shape::plain(1, 1, 1) });
    world.backends[0].desk.mute_until = NEVER;
    world.clients[0].script = Some(Script { lane: ("echo", ""), len: 10, window: 1 });
    world.clients[0].wanted = 1;
    world.until("it is asked", |world| world.workers[0].census().pending == 1);
    assert!(world.posts[0].send(Letter::Stop).is_ok());
    turn(&mut world);
    assert_eq!(world.counters[0].requests_unknown.get(), 0);
}

#[test]
fn everybody_stops() {
    let mut slowest = 0;
    for seed in 1..=400_u64 {
        let mut world = World::new(seed, None);
        for _ in 0..20 + seed * 37 % 1400 {
            world.step();
        }
        let mut rng = Rng::new(seed);
        let count = world.workers.len();
        let (mut told, mut over) = (vec![false; count], vec![false; count]);
        for step in 0..8000 {
            if step == 600 {
                world.end_storm();
            }
            world.now = world.now + Duration::from_millis(10);
            world.net.step();
            let now = world.now;
            let World { clients, totals, net, backends, workers, posts, .. } = &mut world;
            clients.iter_mut().for_each(|client| client.step(net, now, totals));
            backends.iter_mut().for_each(|backend| backend.step(&mut rng, now, totals));
            for at in 0..count {
                if over[at] || step < 600 && !rng.one_in(3) {
                    continue;
                }
                told[at] = told[at] || posts[at].send(Letter::Stop).is_ok();
                workers[at].wait().expect("the simulated driver does not break");
                over[at] = !workers[at].turn(now, wall(now));
            }
            if over.iter().all(|&over| over) {
                slowest = slowest.max(step);
                break;
            }
        }
        for worker in &world.workers {
            let census = worker.census();
            let left = (
                census.links,
                census.strangers,
                census.marked,
                census.lingering,
                census.sessions,
                census.partial_bytes,
                census.outgoing_bytes,
                census.pending,
                census.parked,
                census.parked_bytes,
                census.judging,
                census.streams,
            );
            assert_eq!(left, Default::default(), "seed {seed}: {census:?} told {told:?} over {over:?}");
        }
        assert!(over.iter().all(|&over| over), "seed {seed} told {told:?} over {over:?}");
    }
    eprintln!("slowest {slowest}");
}
