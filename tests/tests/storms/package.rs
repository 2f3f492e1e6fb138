//! Packages: parts come in any order, over any stream, and are delivered in theirs. SPEC.md, section "Push = 3".

use std::collections::BTreeSet;
use std::time::Duration;

use protocol::Undelivered;

use crate::backend::Order;
use crate::client::Manners;
use crate::settings::PACKAGES;
use crate::shape::Shape;
use crate::world::World;

const USER: &str = "user0";

/// One client, which is in and stays. Workers, and so streams, owners and links, meet by chance.
fn world(seed: u64) -> World {
    let shape = Shape { signed: true, letters: 256, ..Shape::plain(3, 1, 1) };
    let mut world = World::standing_of(shape, seed);
    let client = &mut world.clients[0];
    client.name = USER.into();
    (client.wanted, client.stays, client.remembers, client.with_ticket) = (0, true, true, Some(false));
    come(&mut world);
    world.until("it is known", |world| world.backends[0].present().len() == 1);
    world
}

fn come(world: &mut World) {
    let World { clients, net, now, .. } = world;
    clients[0].come(net, *now);
    world.until("it is in", |world| world.clients[0].is_in());
}

/// Parts of a package of so many; the others never come.
fn push(world: &mut World, class: u32, package: &'static str, parts: &[u32], (count, on_gap): (u32, u32)) {
    for &index in parts {
        let at = (index, count, on_gap);
        world.backends[0].desk.orders.push_back(Order::Part { user: USER, class, package, at });
        (0..3).for_each(|_| world.step());
    }
}

/// Which parts have come, each with how many were missing before it.
fn got(world: &World) -> Vec<(u32, u32)> {
    let client = &world.clients[0];
    let texts = client.pushes.iter().chain(&client.kept);
    let index = |text: &Vec<u8>| String::from_utf8_lossy(&text[5..]).parse().expect("a part says its index");
    texts.map(index).zip(client.gaps.iter().copied()).collect()
}

fn waiting(world: &World) -> usize {
    world.workers.iter().map(|worker| worker.census().parts).sum()
}

/// Why parts were not delivered.
fn lost(world: &World) -> BTreeSet<Undelivered> {
    world.totals.undelivered.union(&world.totals.fates).copied().collect()
}

const SEEDS: std::ops::RangeInclusive<u64> = 1..=12;

#[test]
fn parts_are_delivered_in_their_order_whatever_order_they_come_in() {
    for (seed, class) in SEEDS.flat_map(|seed| [(seed, 0), (seed, 1)]) {
        let mut world = world(seed);
        push(&mut world, class, "p", &[3, 1, 4, 2, 0], (5, 0));
        world.until("all have come", |world| got(world).len() == 5);
        let expected: Vec<_> = (0..5).map(|index| (index, 0)).collect();
        assert_eq!((got(&world), waiting(&world)), (expected, 0), "seed {seed}, class {class}");
        assert!(lost(&world).is_empty(), "seed {seed}, class {class}");
    }
}

#[test]
fn when_the_time_is_over_what_is_there_comes_and_the_first_behind_a_hole_says_so() {
    for (seed, class) in SEEDS.flat_map(|seed| [(seed, 0), (seed, 1)]) {
        let mut world = world(seed);
        push(&mut world, class, "p", &[5, 0, 6, 2], (7, 0));
        world.until("the first has come, and the others wait", |world| {
            (got(world).len(), waiting(world)) == (1, 3)
        });
        world.until("they come", |world| got(world).len() == 4);
        assert_eq!(got(&world), [(0, 0), (2, 1), (5, 2), (6, 0)], "seed {seed}, class {class}");
        // What is late fills no hole that its client was told of.
        push(&mut world, class, "p", &[1], (7, 0));
        world.until("it is told of", |world| lost(world) == BTreeSet::from([Undelivered::Gap]));
        assert_eq!(got(&world).len(), 4);
    }
}

#[test]
fn where_its_backend_wants_it_what_is_behind_a_hole_is_dropped_and_reported() {
    for (seed, class) in SEEDS.flat_map(|seed| [(seed, 0), (seed, 1)]) {
        let mut world = world(seed);
        push(&mut world, class, "p", &[0, 2, 3], (4, 1));
        world.until("both wait", |world| waiting(world) == 2);
        world.until("and are told of", |world| waiting(world) == 0 && !lost(world).is_empty());
        world.pass(Duration::from_secs(1));
        assert_eq!(lost(&world), BTreeSet::from([Undelivered::Gap]), "seed {seed}, class {class}");
        assert_eq!(got(&world), [(0, 0)]);
        assert!(class == 0 || world.backends[0].is_told(), "each of them, once");
    }
}

#[test]
fn a_session_has_only_so_many_parts_wait_and_one_more_is_undelivered() {
    for class in [0, 1] {
        let mut world = world(1);
        let parts: Vec<u32> = (1..=PACKAGES.session_parts + 1).collect();
        push(&mut world, class, "p", &parts, (100, 0));
        world.until("one is told of", |world| lost(world) == BTreeSet::from([Undelivered::QueueFull]));
        assert_eq!(waiting(&world), PACKAGES.session_parts as usize);
        push(&mut world, class, "p", &[0], (100, 0));
        world.until("the others come", |world| got(world).len() == parts.len());
        assert_eq!(waiting(&world), 0);
    }
}

#[test]
fn what_is_kept_waits_while_its_session_has_no_link_and_goes_with_it() {
    for seed in SEEDS {
        let mut world = world(seed);
        push(&mut world, 1, "p", &[2, 0], (4, 0));
        world.until("one has come, one waits", |world| (got(world).len(), waiting(world)) == (1, 1));
        world.clients[0].vanish();
        let World { clients, net, now, .. } = &mut world;
        clients[0].come(net, *now);
        (0..seed).for_each(|_| world.step());
        push(&mut world, 1, "p", &[3], (4, 0));
        world.until("it is in", |world| world.clients[0].is_in());
        push(&mut world, 1, "p", &[1], (4, 0));
        world.until("all have come", |world| got(world).len() == 4);
        assert_eq!(got(&world), [(0, 0), (1, 0), (2, 0), (3, 0)], "seed {seed}");
        assert_eq!((world.totals.went_on, waiting(&world)), (1, 0), "seed {seed}");
    }
}

#[test]
fn what_is_delivered_at_most_once_is_lost_with_its_link() {
    for seed in SEEDS {
        let mut world = world(seed);
        push(&mut world, 0, "p", &[1], (2, 0));
        world.until("it waits", |world| waiting(world) == 1);
        world.clients[0].lose_link(&mut crate::Totals::default());
        world.until("it is told of", |world| lost(world) == BTreeSet::from([Undelivered::NoLink]));
        assert_eq!(waiting(&world), 0, "seed {seed}");
    }
}

#[test]
fn of_a_session_that_is_over_parts_that_wait_are_undelivered() {
    for seed in SEEDS {
        let mut world = world(seed);
        world.clients[0].manners = Manners::Busy;
        push(&mut world, 1, "p", &[1, 2], (3, 0));
        world.until("they wait", |world| waiting(world) == 2);
        world.backends[0].desk.orders.push_back(Order::Kick { user: USER, device: "" });
        world.until("they are told of", |world| world.backends[0].is_told());
        assert_eq!(
            (lost(&world), waiting(&world)),
            (BTreeSet::from([Undelivered::LinkClosed]), 0),
            "seed {seed}"
        );
    }
}
