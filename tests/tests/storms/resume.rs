//! Sessions that outlive their links, and pushes that are kept for them. SPEC.md, sections "Session and resume" and "Pushes".

use std::time::Duration;

use gateway::counters::Counters;
use gateway::worker::Census;
use protocol::{CloseCode, Undelivered};

use crate::backend::Order;
use crate::client::Manners;
use crate::kept::FIRST;
use crate::shape::Shape;
use crate::world::World;

const USER: &str = "user0";

/// Clients that are the user on one device and stay, each with a login of its own. All workers let in, so that links and owners meet by
/// chance.
fn world(clients: usize, seed: u64) -> World {
    let mut world = World::standing_of(Shape { signed: true, ..Shape::plain(3, clients, 1) }, seed);
    for client in &mut world.clients {
        (client.name, client.device) = (USER.into(), "device");
        (client.wanted, client.stays, client.with_ticket) = (0, true, Some(false));
        client.remembers = true;
    }
    world
}

fn come(world: &mut World, client: usize) {
    let World { clients, net, now, .. } = world;
    clients[client].come(net, *now);
    world.until("it is in", |world| world.clients[client].is_in());
}

fn sum(world: &World, count: impl Fn(&Counters) -> u64) -> u64 {
    world.counters.iter().map(|counters| count(counters)).sum()
}

fn census(world: &World, count: impl Fn(Census) -> usize) -> usize {
    world.workers.iter().map(|worker| count(worker.census())).sum()
}

fn keep(world: &mut World, text: &'static str, ttl: Duration) {
    world.backends[0].desk.orders.push_back(Order::Keep { user: USER, link: 0, text, ttl });
}

const FOR_LONG: Duration = Duration::ZERO;

/// Of enough seeds the link, the user's owner and the next link are on every constellation of workers.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=12;

#[test]
fn a_client_that_comes_back_over_its_half_open_link_goes_on_with_any_login_and_nobody_is_replaced() {
    for seed in SEEDS {
        let mut world = world(1, seed);
        come(&mut world, 0);
        for login in 1..5 {
            world.clients[0].vanish();
            // A fresh token each time: it is the session that it is known by.
            world.clients[0].login = Some(login);
            come(&mut world, 0);
            assert_eq!(world.totals.went_on, login as u64, "seed {seed}");
        }
        world.until("the links before are gone", |world| {
            census(world, |its| its.links - its.lingering) == 1 && census(world, |its| its.sessions) == 1
        });
        assert_eq!(sum(&world, |its| its.closed.of(CloseCode::TryLater).get()), 4, "seed {seed}");
        assert_eq!(sum(&world, |its| its.closed.of(CloseCode::Replaced).get()), 0, "seed {seed}");
        assert_eq!(sum(&world, |its| its.takeovers_remembered.get()), 0, "seed {seed}");
    }
}

#[test]
fn of_links_that_race_for_one_session_one_has_it_and_it_is_in_one_place() {
    for seed in SEEDS {
        let mut world = world(4, seed);
        come(&mut world, 0);
        // The same client by four ways at once, each try with a number of its own.
        world.clients[0].vanish();
        for racer in 1..4 {
            let mut held = world.clients[0].held.clone().expect("it was in");
            held.skip(racer as u32);
            world.clients[racer].held = Some(held);
            world.clients[racer].login = Some(0);
        }
        let World { clients, net, now, .. } = &mut world;
        clients.iter_mut().for_each(|client| client.come(net, *now));
        world.until("all have heard", |world| {
            world.clients.iter().all(|client| client.is_in() || client.closed.is_some())
                && census(world, |its| its.resuming + its.letters + its.unsent) == 0
        });
        world.pass(Duration::from_millis(500));
        let inside: Vec<_> = world.clients.iter().filter(|client| client.is_in()).collect();
        assert_eq!(inside.len(), 1, "seed {seed}: {:?}", world.totals);
        assert!(world.clients[3].is_in(), "seed {seed}: the last try has it, in whatever order they come");
        let lost = |client: &&crate::client::Client| client.closed == Some(CloseCode::TryLater);
        assert_eq!(world.clients.iter().filter(lost).count(), 3, "seed {seed}");
        assert_eq!(census(&world, |its| its.sessions), 1, "seed {seed}");
        assert_eq!((world.totals.began_anew, sum(&world, |its| its.takeovers_remembered.get())), (0, 0));
    }
}

#[test]
fn who_has_taken_the_device_over_keeps_it_and_the_session_before_is_over_for_good() {
    for seed in SEEDS {
        let mut world = world(2, seed);
        come(&mut world, 0);
        come(&mut world, 1);
        world.until("the first one is told", |world| world.clients[0].closed == Some(CloseCode::Replaced));
        // Neither its session nor a fresh login with it brings it back.
        world.clients[0].closed = None;
        world.clients[0].login = Some(7);
        let World { clients, net, now, .. } = &mut world;
        clients[0].come(net, *now);
        world.until("it hears so", |world| world.clients[0].closed == Some(CloseCode::Replaced));
        assert!(world.clients[1].is_in() && world.totals.went_on == 0, "seed {seed}");
    }
}

#[test]
fn a_session_waits_for_its_time_and_then_what_it_was_owed_is_undelivered() {
    for seed in SEEDS {
        let mut world = world(1, seed);
        come(&mut world, 0);
        world.clients[0].lose_link(&mut crate::Totals::default());
        world.until("its link is gone", |world| census(world, |its| its.links) == 0);
        keep(&mut world, "while it waits", FOR_LONG);
        world.until("it is owed", |world| census(world, |its| its.owed) == 1);
        assert_eq!(sum(&world, |its| its.sessions_detached.get()), 1, "seed {seed}");
        world.until("its time is over", |world| census(world, |its| its.sessions + its.claims) == 0);
        world.until("its backend hears so", |world| world.totals.fates.contains(&Undelivered::WindowOver));
        come(&mut world, 0);
        assert_eq!((world.totals.went_on, world.totals.began_anew), (0, 1), "seed {seed}");
    }
}

#[test]
fn backends_hear_that_a_session_waits_and_which_of_their_pushes_it_is_owed_and_that_it_goes_on() {
    for seed in SEEDS {
        let mut world = world(1, seed);
        come(&mut world, 0);
        world.clients[0].manners = Manners::Busy;
        keep(&mut world, "hello", FOR_LONG);
        keep(&mut world, "world", FOR_LONG);
        world.until("it is owed both", |world| census(world, |its| its.owed) == 2);
        world.clients[0].lose_link(&mut crate::Totals::default());
        // Of the pushes by the stream they came by, which may be another worker's.
        world.until("its backend hears that it waits, and for what", |world| {
            world.backends[0].waiting() == (1, vec![FIRST, FIRST + 1])
        });
        assert_eq!(world.backends[0].present().len(), 1, "seed {seed}: it has a device still");
        world.clients[0].manners = Manners::Honest;
        come(&mut world, 0);
        world.until("and that it goes on", |world| {
            world.backends[0].waiting().0 == 0 && world.backends[0].present().len() == 1
        });
        world.until("it takes both", |world| world.totals.kept == 2);
    }
}

#[test]
fn what_comes_while_a_session_waits_or_moves_is_delivered_once_and_in_order() {
    for seed in SEEDS {
        let mut world = world(1, seed);
        come(&mut world, 0);
        let texts = ["1", "2", "3", "4", "5", "6", "7", "8", "9"];
        for round in texts.chunks(3) {
            keep(&mut world, round[0], FOR_LONG);
            (0..seed).for_each(|_| world.step());
            world.clients[0].vanish();
            keep(&mut world, round[1], FOR_LONG);
            (0..seed % 5).for_each(|_| world.step());
            let World { clients, net, now, .. } = &mut world;
            clients[0].come(net, *now);
            (0..2 * seed).for_each(|_| world.step());
            keep(&mut world, round[2], FOR_LONG);
            world.until("it is in", |world| world.clients[0].is_in());
        }
        world.until("all are delivered", |world| world.totals.kept == 9);
        let held = world.clients[0].held.as_ref().expect("it is in");
        assert_eq!((held.received, held.taken, world.totals.went_on), (9, 9, 3), "seed {seed}");
        world.until("nothing is owed", |world| census(world, |its| its.owed + its.owed_bytes) == 0);
    }
}

/// How long a kick may take: less than any session waits by itself.
const SOON: Duration = Duration::from_secs(1);

fn kick_and_see(world: &mut World, seed: u64) {
    world.backends[0].desk.orders.push_back(Order::Kick { user: USER, device: "" });
    world.pass(SOON);
    // It may have come after the kick, to a session that was over.
    let left = if world.clients[0].is_in() { 2 } else { 0 };
    assert_eq!(census(world, |its| its.sessions + its.claims), left, "seed {seed}: {:?}", world.totals);
    assert!(left == 0 || world.totals.began_anew == 1, "seed {seed}: it goes on with what was kicked");
}

#[test]
fn a_kick_ends_a_session_that_waits() {
    for seed in SEEDS {
        let mut world = world(1, seed);
        come(&mut world, 0);
        world.clients[0].lose_link(&mut crate::Totals::default());
        world.until("its link is gone", |world| census(world, |its| its.links) == 0);
        kick_and_see(&mut world, seed);
    }
}

#[test]
fn a_kick_ends_a_session_that_travels_also_where_the_link_is_gone_that_it_travels_to() {
    let mut met = 0;
    for seed in SEEDS {
        for steps in 1..30 {
            let mut world = world(1, seed);
            come(&mut world, 0);
            world.clients[0].vanish();
            let World { clients, net, now, .. } = &mut world;
            clients[0].come(net, *now);
            (0..steps).for_each(|_| world.step());
            if steps % 2 == 0 {
                world.clients[0].lose_link(&mut crate::Totals::default());
                world.step();
            }
            met += census(&world, |its| its.resuming);
            kick_and_see(&mut world, seed);
        }
    }
    assert!(met > 0, "some were on their way");
}

#[test]
fn a_push_to_a_former_link_finds_the_session_where_it_has_gone_on() {
    for seed in SEEDS {
        let mut world = world(1, seed);
        come(&mut world, 0);
        world.until("it is announced", |world| world.backends[0].present().len() == 1);
        let (&link, _) = world.backends[0].present().first_key_value().expect("just seen");
        for round in 1..=3 {
            world.clients[0].vanish();
            come(&mut world, 0);
            let (user, text, ttl) = (USER, "to the first link", FOR_LONG);
            world.backends[0].desk.orders.push_back(Order::Keep { user, link, text, ttl });
            world.until("it is taken", |world| world.totals.kept == round);
        }
        assert_eq!((world.totals.went_on, world.totals.fates.len()), (3, 0), "seed {seed}");
    }
}

#[test]
fn a_push_that_comes_in_the_moment_in_which_a_link_is_lost_is_owed_to_its_session() {
    for seed in SEEDS {
        let mut world = world(1, seed);
        come(&mut world, 0);
        for round in 1..=MOMENTS {
            keep(&mut world, "just now", FOR_LONG);
            (0..round).for_each(|_| world.step());
            let World { clients, totals, .. } = &mut world;
            clients[0].lose_link(totals);
            (0..5).for_each(|_| world.step());
            come(&mut world, 0);
            world.until("it is taken", |world| world.totals.kept == round);
        }
        assert_eq!((world.totals.went_on, world.totals.fates.len()), (MOMENTS, 0), "seed {seed}");
    }
}

/// As many steps as a push takes from its backend to its client, and some more.
const MOMENTS: u64 = 12;

#[test]
fn a_kick_ends_the_session_whatever_its_code() {
    let mut world = world(1, 1);
    come(&mut world, 0);
    world.backends[0].desk.orders.push_back(Order::Slow { user: USER });
    world.until("it is told", |world| world.clients[0].closed == Some(CloseCode::SlowReader));
    assert_eq!(census(&world, |its| its.sessions + its.claims), 0);
    come(&mut world, 0);
    assert_eq!((world.totals.went_on, world.totals.began_anew), (0, 1));
}

/// The worker that has the session stands still meanwhile.
#[test]
fn a_kick_that_comes_before_the_session_to_a_link_that_is_gone_ends_it_all_the_same() {
    let mut met = 0;
    for seed in 1..=60 {
        let mut world = world(1, seed);
        come(&mut world, 0);
        world.clients[0].vanish();
        world.frozen = world.workers.iter().position(|worker| worker.census().links > 0);
        // The one that stands still has accepts in the kernel, which take the first who come.
        for _ in 0..8 {
            world.clients[0].vanish();
            let World { clients, net, now, .. } = &mut world;
            clients[0].come(net, *now);
            (0..30).for_each(|_| world.step());
        }
        let travels = census(&world, |its| its.resuming) > 0;
        world.clients[0].lose_link(&mut crate::Totals::default());
        (0..60).for_each(|_| world.step());
        world.backends[0].desk.orders.push_back(Order::Kick { user: USER, device: "" });
        (0..60).for_each(|_| world.step());
        met += usize::from(travels && world.backends[0].desk.orders.is_empty());
        world.frozen = None;
        world.pass(SOON);
        assert_eq!(census(&world, |its| its.sessions + its.claims), 0, "seed {seed}: {:?}", world.totals);
    }
    assert!(met > 3, "{met} were on their way");
}

#[test]
fn a_client_that_never_acknowledges_is_asked_once_and_loses_its_link_but_not_its_session() {
    let mut world = world(1, 1);
    come(&mut world, 0);
    world.clients[0].manners = Manners::Silent;
    keep(&mut world, "hello", FOR_LONG);
    world.until("it is told", |world| world.clients[0].closed == Some(CloseCode::AckTimeout));
    assert_eq!(sum(&world, |its| its.acks_asked.get()), 1);
    world.clients[0].manners = Manners::Honest;
    come(&mut world, 0);
    world.until("it takes it", |world| world.totals.kept == 1);
    assert_eq!(world.totals.went_on, 1);
}

#[test]
fn an_application_that_takes_its_time_is_asked_nothing_and_sent_nothing_again() {
    let mut world = world(1, 1);
    come(&mut world, 0);
    world.clients[0].manners = Manners::Busy;
    keep(&mut world, "hello", FOR_LONG);
    world.pass(Duration::from_secs(10));
    assert!(world.clients[0].is_in() && world.totals.kept == 0);
    assert_eq!(sum(&world, |its| its.acks_asked.get() + its.pushes_again.get()), 0);
    world.clients[0].manners = Manners::Honest;
    world.until("it takes it", |world| world.totals.kept == 1);
}

#[test]
fn what_a_client_says_it_lacks_is_sent_again_a_few_times_and_then_its_link_ends() {
    let mut world = world(1, 1);
    come(&mut world, 0);
    world.clients[0].manners = Manners::Forgetful(2);
    keep(&mut world, "hello", FOR_LONG);
    world.until("it takes it", |world| world.totals.kept == 1);
    assert_eq!((sum(&world, |its| its.pushes_again.get()), world.clients[0].closed), (2, None));

    world.clients[0].manners = Manners::Forgetful(99);
    keep(&mut world, "hello again", FOR_LONG);
    world.until("it is given up", |world| world.clients[0].closed == Some(CloseCode::AckTimeout));
    // Three tries are what the settings of storms allow.
    assert_eq!(sum(&world, |its| its.pushes_again.get()), 2 + 3);
}

#[test]
fn a_push_whose_time_is_over_is_undelivered_whether_it_was_sent_or_not_and_leaves_no_gap() {
    let mut world = world(1, 1);
    come(&mut world, 0);
    world.clients[0].manners = Manners::Busy;
    keep(&mut world, "sent, and not taken in time", Duration::from_millis(300));
    world.until("it is over", |world| world.totals.fates.contains(&Undelivered::Expired));
    world.totals.fates.clear();
    world.clients[0].lose_link(&mut crate::Totals::default());
    world.until("its link is gone", |world| census(world, |its| its.links) == 0);
    keep(&mut world, "never sent", Duration::from_millis(300));
    keep(&mut world, "sent in the end", FOR_LONG);
    world.until("the first of them is over", |world| world.totals.fates.contains(&Undelivered::Expired));
    world.clients[0].manners = Manners::Honest;
    come(&mut world, 0);
    world.until("the last one is taken", |world| world.totals.kept == 1);
    let held = world.clients[0].held.as_ref().expect("it is in");
    assert_eq!((held.received, held.taken), (2, 2));
}
