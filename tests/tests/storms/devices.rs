//! Users with several devices: what is for one of them, and what is for all.

use std::time::Duration;

use gateway::worker::Census;
use protocol::{CloseCode, Undelivered};

use crate::backend::Order;
use crate::client::DEVICES;
use crate::shape::Shape;
use crate::world::World;

const PHONE: &str = DEVICES[0];
const TABLET: &str = DEVICES[1];

/// Ann on two devices, Bob on one; on as many workers.
fn world() -> World {
    let mut world = World::quiet(Shape::plain(3, 3, 1));
    let who = [("ann", PHONE), ("ann", TABLET), ("bob", PHONE)];
    for (client, (name, device)) in world.clients.iter_mut().zip(who) {
        (client.name, client.device) = (name.into(), device);
        (client.wanted, client.stays) = (0, true);
    }
    world.until("streams stand", |world| sum(world, |census| census.streams) == 3);
    world.clients.iter_mut().for_each(|client| client.wanted = 1);
    world.until("all are in", |world| world.totals.answered == 3);
    assert_eq!(sum(&world, |census| census.strangers), 0, "who is in is no stranger");
    world
}

fn sum(world: &World, count: fn(Census) -> usize) -> usize {
    world.workers.iter().map(|worker| count(worker.census())).sum()
}

fn order(world: &mut World, order: Order) {
    world.backends[0].desk.orders.push_back(order);
    (0..60).for_each(|_| world.step());
}

/// How many pushes each has got.
fn pushed(world: &World) -> [usize; 3] {
    [0, 1, 2].map(|at| world.clients[at].pushes.len())
}

fn closed(world: &World) -> [Option<CloseCode>; 3] {
    [0, 1, 2].map(|at| world.clients[at].closed)
}

#[test]
fn a_push_to_a_user_reaches_every_device_and_one_to_a_device_that_one() {
    let mut world = world();
    order(&mut world, Order::Push { user: "ann", device: "", text: "to all" });
    assert_eq!(pushed(&world), [1, 1, 0]);
    order(&mut world, Order::Push { user: "ann", device: TABLET, text: "to one" });
    assert_eq!(pushed(&world), [1, 2, 0]);
    assert!(world.totals.undelivered.is_empty());
    for (user, device) in [("bob", TABLET), ("eve", "")] {
        world.totals.undelivered.clear();
        order(&mut world, Order::Push { user, device, text: "to nobody" });
        assert_eq!(world.totals.undelivered.iter().collect::<Vec<_>>(), [&Undelivered::NoUser], "{user}");
    }
    assert_eq!(pushed(&world), [1, 2, 0]);
}

#[test]
fn of_many_pushes_to_whoever_reads_each_is_delivered_or_reported() {
    let mut world = world();
    let volley = [Order::Push { user: "bob", device: "", text: "one of many" }; 300];
    world.backends[0].desk.orders.extend(volley);
    let known = |world: &World| pushed(world)[2] + world.totals.reports as usize;
    world.until("all are known of", |world| known(world) == 300);
    (0..200).for_each(|_| world.step());
    assert_eq!(known(&world), 300);
    assert!(world.totals.reports > 0 && pushed(&world)[2] > 0, "the way between workers is narrow here");
    assert_eq!(world.totals.undelivered.iter().collect::<Vec<_>>(), [&Undelivered::Busy]);
}

/// The book of the storms takes each report once.
#[test]
fn a_push_that_reaches_none_of_several_devices_is_reported_once() {
    let mut world = world();
    let volley = [Order::Push { user: "ann", device: "", text: "one of many" }; 300];
    world.backends[0].desk.orders.extend(volley);
    world.until("all are sent", |world| world.backends[0].desk.orders.is_empty());
    (0..400).for_each(|_| world.step());
    let [phone, tablet, _] = pushed(&world);
    assert!(
        world.totals.reports > 0 && phone < 300 && tablet < 300,
        "the way between workers is narrow here"
    );
    assert!(phone.max(tablet) + world.totals.reports as usize >= 300);
}

#[test]
fn a_kick_ends_a_device_or_all_of_a_user_and_says_why() {
    let mut world = world();
    order(&mut world, Order::Kick { user: "ann", device: PHONE });
    assert_eq!(closed(&world), [Some(CloseCode::Kicked), None, None]);
    order(&mut world, Order::Kick { user: "ann", device: "" });
    assert_eq!(closed(&world), [Some(CloseCode::Kicked), Some(CloseCode::Kicked), None]);
    assert_eq!(
        world.totals.ends.iter().collect::<Vec<_>>(),
        [&CloseCode::Kicked.number()],
        "backends hear why"
    );
    assert_eq!(sum(&world, |census| census.links), 1);
}

#[test]
fn a_device_has_one_link() {
    let mut world = world();
    world.clients[2].name = "ann".into();
    order(&mut world, Order::Kick { user: "bob", device: "" });
    world.clients[2].wanted = 1;
    world.until("the first link of the device is replaced", |world| {
        closed(world)[0] == Some(CloseCode::Replaced)
    });
    (0..100).for_each(|_| world.step());
    assert_eq!((sum(&world, |census| census.links), closed(&world)[1]), (2, None), "the other device stays");
    order(&mut world, Order::Push { user: "ann", device: "", text: "to all" });
    assert_eq!(pushed(&world), [0, 1, 1]);
}

#[test]
fn a_device_that_is_heard_no_more_is_gone_after_two_intervals() {
    let mut world = world();
    world.pass(Duration::from_secs(50));
    assert_eq!(sum(&world, |census| census.links), 3, "they ping");
    world.clients[1].dead = true;
    world.pass(Duration::from_secs(30));
    assert_eq!(sum(&world, |census| census.links), 3);
    world.until("it is gone", |world| sum(world, |census| census.links) == 2);
    assert_eq!(sum(&world, |census| census.sessions), 3, "its session waits for it");
    world.until("in vain", |world| sum(world, |census| census.sessions) == 2);
}

#[test]
fn a_link_that_has_become_quiet_waits_with_a_poll_again() {
    let mut world = world();
    let armed = |world: &World| (0..3).map(|at| world.net.audit(at).multishot).sum::<u32>();
    world.clients[0].wanted = 40;
    world.until("its receive stays armed", |world| armed(world) == 3 + 1);
    world.until("all is answered", |world| world.totals.answered == 3 + 40);
    world.pass(Duration::from_secs(8));
    assert_eq!(armed(&world), 3, "those of the streams");
}
