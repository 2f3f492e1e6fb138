//! Pushes to several users: one frame, and each user is served and reported by itself. SPEC.md, section "Pushes and reports".

use std::collections::BTreeSet;
use std::time::Duration;

use protocol::Undelivered;

use crate::backend::Order;
use crate::carried;
use crate::client::{Client, DEVICES, Manners};
use crate::settings::OWED;
use crate::shape::{Scarce, Shape};
use crate::world::World;

/// How the payload of a push to several users begins.
pub(crate) fn named(users: &[&[u8]]) -> Vec<u8> {
    [b"&", &users.join(&b',')[..], b"//"].concat()
}

/// Bytes in front of what a push says, if this device of this user was to get it.
pub(crate) fn head_of(payload: &[u8], user: &str, device: &str) -> Option<usize> {
    if let Some(group) = payload.strip_prefix(b"&") {
        let end = group.windows(2).position(|bytes| bytes == b"//")?;
        return group[..end].split(|byte| *byte == b',').any(|it| it == user.as_bytes()).then_some(end + 3);
    }
    let heads = [device, ""].map(|device| carried::named(user.as_bytes(), "", device.as_bytes()));
    heads.into_iter().find(|head| payload.starts_with(head)).map(|head| head.len())
}

const USERS: [&str; 6] = ["user0", "user1", "user2", "user3", "user4", "user5"];
/// Two devices of the first user, one of each other.
const CLIENTS: usize = USERS.len() + 1;

/// All of them are in, on all workers, and stay.
fn world(seed: u64, shape: Shape) -> World {
    let mut world = World::standing_of(Shape { signed: true, clients: CLIENTS, ..shape }, seed);
    for (index, client) in world.clients.iter_mut().enumerate() {
        client.name = USERS[index % USERS.len()].into();
        client.device = DEVICES[index / USERS.len()];
        (client.wanted, client.stays, client.remembers) = (0, true, true);
        client.with_ticket = Some(false);
    }
    let World { clients, net, now, .. } = &mut world;
    clients.iter_mut().for_each(|client| client.come(net, *now));
    world.until("all are in", |world| world.clients.iter().all(|client| client.is_in()));
    world.until("all are known", |world| world.backends[0].present().len() == CLIENTS);
    world
}

fn plain() -> Shape {
    Shape { letters: 256, ..Shape::plain(3, CLIENTS, 1) }
}

fn push(world: &mut World, users: &'static [&'static str], class: u32, text: &'static str) {
    world.backends[0].desk.orders.push_back(Order::Group { users, class, text });
}

fn sum(world: &World, count: impl Fn(&gateway::counters::Counters) -> u64) -> u64 {
    world.counters.iter().map(|counters| count(counters)).sum()
}

fn fates(world: &World) -> BTreeSet<(Vec<u8>, Undelivered)> {
    world.backends[0].desk.fates_of_users.clone()
}

fn fate(user: &str, reason: Undelivered) -> BTreeSet<(Vec<u8>, Undelivered)> {
    BTreeSet::from([(user.as_bytes().to_vec(), reason)])
}

fn owed(world: &World) -> usize {
    world.workers.iter().map(|worker| worker.census().owed).sum()
}

const SOME: &[&str] = &["user0", "user1", "user2", "nobody"];

/// Of enough seeds the stream, the owners and the links are on every constellation of workers.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=12;

#[test]
fn each_device_of_each_user_owes_a_report_and_a_user_without_any_is_told_of_by_name() {
    for seed in SEEDS {
        let mut world = world(seed, plain());
        push(&mut world, SOME, 1, "hello");
        world.until("all have taken it", |world| world.totals.kept_of_group == 4);
        world.until("and nobody has not", |world| !fates(world).is_empty());
        assert_eq!(fates(&world), fate("nobody", Undelivered::NoUser), "seed {seed}");
        world.until("each has said so once", |world| world.backends[0].is_told());
        assert_eq!((sum(&world, |its| its.pushes.get()), world.totals.kept), (4, 4), "seed {seed}");
    }
}

#[test]
fn what_is_not_kept_comes_to_each_link_of_each_user_and_a_user_without_any_is_told_of_by_name() {
    for seed in SEEDS {
        let mut world = world(seed, plain());
        push(&mut world, SOME, 0, "hello");
        let got = |world: &World| {
            let has = |client: &&Client| client.pushes == [b"hello"];
            world.clients.iter().filter(has).map(|client| client.name.clone()).collect::<Vec<_>>()
        };
        world.until("all have it", |world| got(world) == ["user0", "user1", "user2", "user0"]);
        world.until("and nobody has not", |world| !fates(world).is_empty());
        assert_eq!(fates(&world), fate("nobody", Undelivered::NoUser), "seed {seed}");
    }
}

#[test]
fn a_push_to_several_keeps_its_place_among_those_to_each_of_them() {
    const BOTH: &[&str] = &["user1", "user4"];
    for seed in SEEDS {
        let mut world = world(seed, plain());
        for text in ["1", "2", "3", "4", "5"] {
            world.backends[0].desk.orders.push_back(Order::Push { user: "user1", device: "", text });
            push(&mut world, BOTH, 0, text);
        }
        let pairs: Vec<_> =
            ["1", "1", "2", "2", "3", "3", "4", "4", "5", "5"].map(|it| it.as_bytes().to_vec()).into();
        world.until("all have come", |world| world.clients[1].pushes.len() == 10);
        assert_eq!(world.clients[1].pushes, pairs, "seed {seed}");
    }
}

#[test]
fn more_users_than_there_are_slots_are_busy_and_a_slot_is_free_again_when_its_reports_are_known() {
    for seed in SEEDS {
        let mut world = world(seed, plain());
        world.clients.iter_mut().for_each(|client| client.manners = Manners::Busy);
        // Of forty slots of the one stream that is used each takes six.
        for round in 1..=6 {
            push(&mut world, &USERS, 1, "hello");
            world.until("all are owed it", |world| owed(world) == round * CLIENTS);
        }
        push(&mut world, &USERS, 1, "one too many");
        world.until("that is said", |world| world.totals.fates.contains(&Undelivered::Busy));
        world.clients.iter_mut().for_each(|client| client.manners = Manners::Honest);
        world.until("the others are taken", |world| world.totals.kept_of_group == 6 * CLIENTS as u64);
        world.until("and known", |world| world.backends[0].is_told());
        world.pass(Duration::from_secs(1));
        world.totals.fates.clear();
        push(&mut world, &USERS, 1, "once more");
        world.until("it finds room", |world| world.totals.kept_of_group == 7 * CLIENTS as u64);
        assert!(world.totals.fates.is_empty(), "seed {seed}");
    }
}

#[test]
fn a_user_who_is_owed_all_that_it_may_be_keeps_nothing_from_the_others() {
    for seed in SEEDS {
        let mut world = world(seed, plain());
        world.clients[3].manners = Manners::Busy;
        for _ in 0..20 {
            world.backends[0].desk.orders.push_back(Order::Keep {
                user: "user3",
                link: 0,
                text: "more",
                ttl: Duration::ZERO,
            });
            (0..40).for_each(|_| world.step());
        }
        world.until("it is owed its fill", |world| world.totals.fates.contains(&Undelivered::QueueFull));
        push(&mut world, &USERS, 1, "hello");
        world.until("the others take it", |world| world.totals.kept_of_group == CLIENTS as u64 - 1);
        world.until("and that one is told of", |world| !fates(world).is_empty());
        assert_eq!(fates(&world), fate("user3", Undelivered::QueueFull), "seed {seed}");
    }
}

#[test]
fn a_link_that_reads_nothing_keeps_nothing_from_the_others() {
    let shape = Shape { scarce: Some(Scarce::Hard), ..plain() };
    for seed in SEEDS {
        let mut world = world(seed, shape.clone());
        world.clients[2].is_deaf = true;
        // Far more than may wait for one link.
        for round in 1..=40 {
            push(&mut world, &USERS, 0, LONG);
            let all = |world: &World| {
                let others = world.clients.iter().enumerate().filter(|(index, _)| *index != 2);
                others.map(|(_, client)| client.pushes.len()).all(|count| count == round)
            };
            world.until("the others have it", all);
        }
        assert!(sum(&world, |its| its.closed.of(protocol::CloseCode::SlowReader).get()) == 1, "seed {seed}");
    }
}

const LONG: &str = "a push that is long enough for forty of them to fill a queue of three thousand bytes behind what is on its way";

#[test]
fn what_says_the_same_to_several_sessions_of_a_worker_lies_there_once() {
    let mut world = world(1, Shape { workers: 1, ..plain() });
    world.clients.iter_mut().for_each(|client| client.manners = Manners::Busy);
    push(&mut world, &USERS, 1, LONG);
    world.until("all are owed it", |world| owed(world) == CLIENTS);
    let bytes = world.workers[0].census().owed_bytes;
    assert!((LONG.len()..2 * LONG.len() + 512).contains(&bytes), "{bytes} of {OWED:?}");
}
