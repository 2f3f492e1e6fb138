//! Backends that keep users out, let them in again and slow them down, and one that may not.

use std::sync::Arc;
use std::time::Duration;

use gateway::admission::lists::{Lists, NEVER, Subject, Throttle, Throttles};
use gateway::counters::Counters;
use gateway::worker::{Letter, Report};
use protocol::{Time, UnixMillis};

use crate::backend::Order;
use crate::client::Script;
use crate::settings::wall;
use crate::shape::{Costs, Shape, name_of};
use crate::talker::{Talker, What};
use crate::world::World;

const USER: &str = "alice";
/// Control frames of a link each second and at once, by default.
const CONTROL: f64 = 20.0;
const BURST: f64 = 100.0;
/// Where neither this machine nor a neighbour is.
const ABROAD: [u8; 4] = [10, 0, 9, 9];
/// Another block of addresses.
const ELSEWHERE: [u8; 4] = [10, 0, 8, 8];
/// Interval of heartbeats, in milliseconds: pauses take a quarter of it at most.
const HEARTBEAT: u32 = 4_000;

fn world(workers: usize, trusted: bool) -> World {
    let shape = Shape { slots: 200, costs: Costs::Default, trusted, ..Shape::plain(workers, 1, 1) };
    let mut world = World::standing(shape);
    world.backends[0].desk.roaming = true;
    let client = &mut world.clients[0];
    client.script = Some(Script { lane: ("echo", ""), len: 10, window: 1 });
    client.name = "bob".into();
    (client.wanted, client.stays) = (1, true);
    world.until("bob is in", |world| world.totals.answered == 1);
    world
}

/// Has it said, and waits until it has arrived.
fn order(world: &mut World, talkers: &mut [Talker], orders: &[Order]) {
    let heeded = |world: &World| sum(world, |its| its.sanctions.get() + its.backend_flaws.get());
    let before = heeded(world);
    world.backends[0].desk.orders.extend(orders);
    for _ in 0..5000 {
        world.step();
        listen(world, talkers);
        if heeded(world) == before + orders.len() as u64 {
            return;
        }
    }
    panic!("not heeded: {orders:?}");
}

/// Each of them has something to say all the time, or its link would end.
fn listen(world: &World, talkers: &mut [Talker]) {
    for talker in talkers {
        if talker.has_room() && talker.owed() < 8 {
            talker.say(What::Ping, 1);
        }
        talker.step(world.now);
    }
}

fn sum(world: &World, count: impl Fn(&Counters) -> u64) -> u64 {
    world.counters.iter().map(|counters| count(counters)).sum()
}

/// More links of the user.
fn enter(world: &mut World, talkers: &mut Vec<Talker>, devices: &[&str]) {
    enter_as(world, talkers, USER, devices);
}

fn enter_as(world: &mut World, talkers: &mut Vec<Talker>, user: &str, devices: &[&str]) {
    enter_from(world, talkers, user, devices, ABROAD);
}

fn enter_from(world: &mut World, talkers: &mut Vec<Talker>, user: &str, devices: &[&str], from: [u8; 4]) {
    talkers.extend(devices.iter().map(|device| Talker::dial(world, user, device, from, HEARTBEAT)));
    while !talkers.iter().all(|talker| talker.heard.welcome) {
        world.step();
        listen(world, talkers);
    }
}

/// How many answers each of them gets within a time, who waits for answers.
fn answers(world: &mut World, talkers: &mut [Talker], time: Duration) -> Vec<f64> {
    let (begin, before): (_, Vec<u64>) = (world.now, talkers.iter().map(|one| one.heard.pongs).collect());
    while world.now.since(begin) < time {
        world.step();
        (0..8).for_each(|_| listen(world, talkers));
    }
    assert!(
        talkers.iter().all(Talker::is_there),
        "whoever waits for its answers stays: {:?}",
        talkers.iter().map(|one| (&one.heard, world.now)).collect::<Vec<_>>()
    );
    talkers.iter().zip(before).map(|(one, before)| (one.heard.pongs - before) as f64).collect()
}

/// Says little, until all that may be held against anybody is forgotten.
fn rest(world: &mut World, talkers: &mut [Talker], until: Time) {
    let mut last = world.now;
    while world.now < until {
        world.step();
        if world.now.since(last) >= Duration::from_secs(1) {
            last = world.now;
            listen(world, talkers);
        }
        talkers.iter_mut().for_each(|talker| talker.step(world.now));
    }
}

/// How long it is measured. Whoever has to pause all the time for longer than a minute or so is closed.
const WHILE: Duration = Duration::from_secs(20);
/// What comes back in that time of a tenth of the rates, and with what one more pause lets through.
const TENTH: f64 = 20.0 * CONTROL / 10.0;
const TENTH_MAX: f64 = TENTH + 10.0;

#[test]
fn a_throttled_user_is_slower_on_all_its_links_and_on_those_that_come_until_it_is_over() {
    for workers in [1, 3] {
        let (mut world, mut talkers) = (world(workers, true), Vec::new());
        enter(&mut world, &mut talkers, &["phone", "laptop"]);
        let end = world.now + Duration::from_secs(150);
        answers(&mut world, &mut talkers, WHILE);
        let slower = Order::Throttle { user: USER, percent: 10, until_ms: wall(end).0 };
        order(&mut world, &mut talkers, &[slower]);
        for got in answers(&mut world, &mut talkers, WHILE) {
            assert!((TENTH / 2.0..=TENTH_MAX).contains(&got), "{got} on one of {workers} workers");
        }
        // One that comes now has its burst, and then no more than they.
        enter(&mut world, &mut talkers, &["desktop"]);
        for got in answers(&mut world, &mut talkers[2..], WHILE) {
            assert!((BURST..=BURST + TENTH_MAX).contains(&got), "{got} on one of {workers} workers");
        }
        talkers.drain(..2);
        assert_eq!(sum(&world, |counters| counters.throttles.get()), 1);
        assert!(world.now < end);
        rest(&mut world, &mut talkers, end + Duration::from_millis(300));
        assert_eq!(sum(&world, |counters| counters.throttles.get()), 0);
        for got in answers(&mut world, &mut talkers, WHILE) {
            assert!(got > 5.0 * TENTH, "{got} on one of {workers} workers");
        }
        assert_eq!(sum(&world, |counters| counters.throttles_refused.get()), 0);
    }
}

#[test]
fn a_throttle_ends_when_its_backend_says_so_and_touches_nobody_else() {
    let (mut world, mut talkers) = (world(2, true), Vec::new());
    enter(&mut world, &mut talkers, &["phone"]);
    let throttle = |user, percent| Order::Throttle { user, percent, until_ms: 0 };
    order(&mut world, &mut talkers, &[throttle("bob", 1), throttle("carol", 1)]);
    let fast = answers(&mut world, &mut talkers, WHILE)[0];
    assert!(fast > 5.0 * TENTH, "{fast}");
    order(&mut world, &mut talkers, &[throttle(USER, 10)]);
    let slow = answers(&mut world, &mut talkers, WHILE)[0];
    assert!(slow <= TENTH_MAX, "{slow}");
    order(&mut world, &mut talkers, &[throttle(USER, 100), throttle("bob", 100)]);
    let fast = answers(&mut world, &mut talkers, WHILE)[0];
    assert!(fast > 5.0 * TENTH, "{fast}");
    assert_eq!(sum(&world, |counters| counters.throttles.get()), 1, "carol's");
}

/// A backend changes its mind while a worker stands still: no letters pile up for it, and what the backend says last, once there
/// is room, is what holds.
#[test]
fn a_flood_of_throttles_piles_nothing_up_and_the_last_word_counts() {
    let (letters, devices) = (2, ["phone", "laptop", "watch", "desktop"]);
    let mut crowded = 0;
    // Which worker owns whom is the hash's business: of some of these it is another one than that of their links.
    for user in ["ann", "ben", "cid", "dan", "eve", "fay"] {
        let shape = Shape { slots: 200, costs: Costs::Default, letters, ..Shape::plain(3, 0, 1) };
        let (mut world, mut talkers) = (World::standing(shape), Vec::new());
        world.backends[0].desk.roaming = true;
        enter_as(&mut world, &mut talkers, user, &devices);
        let throttle = |percent| Order::Throttle { user, percent, until_ms: 0 };
        world.frozen = world.workers.iter().position(|worker| worker.census().links > 0);
        for number in 0..60 {
            world.backends[0].desk.orders.push_back(throttle(50 + number % 2));
            (0..5).for_each(|_| world.step());
            let unsent = world.workers.iter().map(|worker| worker.census().unsent).max().unwrap_or(0);
            assert!(unsent <= letters + devices.len(), "{unsent} letters wait");
            crowded = crowded.max(unsent);
        }
        world.frozen = None;
        world.until("it has caught up", |world| world.backends[0].desk.orders.is_empty());
        (0..500).for_each(|_| world.step());
        order(&mut world, &mut [], &[throttle(10)]);
        world.until("the last word counts", |world| sum(world, |its| its.throttles.get()) == 1);
        // What comes next may come by another worker, and must not overtake it.
        world.until("all letters are read", |world| {
            world.workers.iter().all(|worker| worker.census().letters + worker.census().unsent == 0)
        });
        order(&mut world, &mut [], &[throttle(100)]);
        world.until("it counts again", |world| sum(world, |its| its.throttles.get()) == 0);
    }
    assert!(crowded >= letters, "somebody was told by way of a full queue: {crowded}");
}

#[test]
fn bans_are_reported_in_their_order_with_who_wants_them_and_until_when() {
    let mut world = world(1, true);
    let until_ms = wall(world.now + Duration::from_secs(60)).0;
    order(
        &mut world,
        &mut [],
        &[
            Order::Ban { user: USER, until_ms, reason: "spam" },
            Order::Unban { user: USER },
            Order::Ban { user: USER, until_ms: 0, reason: "" },
            Order::BanBlock { prefix: [192, 0, 2, 7], prefix_len: 24 },
            Order::ThrottleBlock { prefix: [192, 0, 2, 7], prefix_len: 24, percent: 10, until_ms },
        ],
    );
    let user = || Subject::User(USER.parse().expect("an id"));
    let (by, block) = (|| name_of(0), "192.0.2.0/24".parse().expect("a block"));
    let ban = |whom, until, reason: &str| Report::Ban { by: by(), whom, until, reason: reason.to_owned() };
    let expected = [
        ban(user(), Some(UnixMillis(until_ms)), "spam"),
        Report::Unban { by: by(), whom: user() },
        ban(user(), None, ""),
        ban(Subject::Addresses(block), None, ""),
        Report::Throttle { by: by(), block, percent: 10, until: Some(UnixMillis(until_ms)) },
    ];
    let told: Vec<_> = std::iter::from_fn(|| world.reports.read()).collect();
    assert_eq!(told, expected);
    assert_eq!((sum(&world, |its| its.sanctions.get()), sum(&world, |its| its.backend_flaws.get())), (5, 0));
}

/// Does what control does of throttles that were reported: all workers are told.
fn obey(world: &mut World, book: &mut Throttles) {
    let now = wall(world.now);
    for report in std::iter::from_fn(|| world.reports.read()).collect::<Vec<_>>() {
        let Report::Throttle { by, block, percent, until } = report else { panic!("{report:?}") };
        let left = |until: UnixMillis| Duration::from_millis(until.0.saturating_sub(now.0));
        let end = until.map_or(NEVER, |until| world.now + left(until));
        let throttle = Throttle { percent, end, until, since: now, by };
        book.set(block, throttle, world.now).expect("there is room");
    }
    let lists = Lists { slowed: Arc::new(book.slowed()), ..Lists::default() };
    for (worker, post) in (0..).zip(&world.posts) {
        post.send(Letter::Lists(lists.clone())).expect("there is room");
        world.net.ring(worker);
    }
}

fn slow_block(percent: u32, until_ms: u64) -> Order {
    Order::ThrottleBlock { prefix: ABROAD, prefix_len: 24, percent, until_ms }
}

#[test]
fn a_throttled_block_is_slower_on_all_its_links_and_on_those_that_come_until_it_is_over() {
    for workers in [1, 3] {
        let (mut world, mut talkers, mut book) = (world(workers, true), Vec::new(), Throttles::new(4));
        enter_from(&mut world, &mut talkers, "carol", &["phone"], ELSEWHERE);
        enter(&mut world, &mut talkers, &["phone", "laptop"]);
        answers(&mut world, &mut talkers, WHILE);
        let end = world.now + Duration::from_secs(130);
        order(&mut world, &mut talkers, &[slow_block(10, wall(end).0)]);
        obey(&mut world, &mut book);
        let got = answers(&mut world, &mut talkers, WHILE);
        assert!(got[0] > 5.0 * TENTH, "{got:?}: another block is no matter of it");
        assert!(got[1..].iter().all(|got| (TENTH / 2.0..=TENTH_MAX).contains(got)), "{got:?}");
        // One that comes now has its burst, and then no more than they.
        enter(&mut world, &mut talkers, &["desktop"]);
        let got = answers(&mut world, &mut talkers[3..], WHILE)[0];
        assert!((BURST..=BURST + TENTH_MAX).contains(&got), "{got} on one of {workers} workers");
        talkers.drain(..3);
        assert!(world.now < end);
        rest(&mut world, &mut talkers, end + Duration::from_millis(300));
        let got = answers(&mut world, &mut talkers, WHILE)[0];
        assert!(got > 5.0 * TENTH, "{got} on one of {workers} workers");
    }
}

#[test]
fn of_what_a_user_has_and_what_its_block_has_the_less_counts_whichever_changes() {
    let (mut world, mut talkers, mut book) = (world(2, true), Vec::new(), Throttles::new(4));
    enter(&mut world, &mut talkers, &["phone"]);
    let user = |percent| Order::Throttle { user: USER, percent, until_ms: 0 };
    let is_slow = |world: &mut World, talkers: &mut Vec<Talker>| {
        // What has come back meanwhile is said first.
        answers(world, talkers, WHILE);
        let got = answers(world, talkers, WHILE)[0];
        assert!(got <= TENTH_MAX || got > 5.0 * TENTH, "{got}");
        got <= TENTH_MAX
    };
    let cases = [
        (user(10), true),
        (slow_block(90, 0), true),
        (user(80), false),
        (slow_block(10, 0), true),
        (user(90), true),
        (user(100), true),
        (slow_block(100, 0), false),
    ];
    for (change, slow) in cases {
        order(&mut world, &mut talkers, &[change]);
        obey(&mut world, &mut book);
        (0..20).for_each(|_| world.step());
        assert_eq!(is_slow(&mut world, &mut talkers), slow, "{change:?}");
        // Whoever has to pause all the time is closed, so that there is some time between.
        let until = world.now + Duration::from_secs(120);
        rest(&mut world, &mut talkers, until);
    }
    assert!(book.is_empty());
}

#[test]
fn a_flood_of_bans_is_dropped_and_counted_and_holds_nobody_up() {
    let mut world = world(1, true);
    let flood = vec![Order::Ban { user: USER, until_ms: 0, reason: "spam" }; 1100];
    order(&mut world, &mut [], &flood);
    let told = std::iter::from_fn(|| world.reports.read()).count() as u64;
    assert_eq!(told + sum(&world, |counters| counters.sanctions_lost.get()), 1100);
    assert!(told < 1100 && world.reports.take_lost() == 1100 - told, "{told}");
    world.clients[0].wanted = 1;
    world.until("bob is answered", |world| world.totals.answered == 2);
}

#[test]
fn a_backend_that_may_not_ban_loses_its_stream_and_may_do_the_rest() {
    for forbidden in [
        Order::Ban { user: USER, until_ms: 0, reason: "" },
        Order::Unban { user: USER },
        Order::Throttle { user: "bob", percent: 1, until_ms: 0 },
    ] {
        let mut world = world(1, false);
        world.backends[0].desk.orders.push_back(forbidden);
        world.until("its stream is lost", |world| sum(world, |counters| counters.streams_lost.get()) == 1);
        let counted = |world: &World| {
            (sum(world, |its| its.backend_oversteps.get()), sum(world, |its| its.sanctions.get()))
        };
        assert_eq!((counted(&world), world.reports.read()), ((1, 0), None), "{forbidden:?}");
        world.until("it is back", |world| sum(world, |counters| counters.streams_opened.get()) == 2);
        world.backends[0].desk.orders.push_back(Order::Kick { user: "bob", device: "" });
        world.until("bob has left", |world| !world.totals.closes.is_empty());
        assert_eq!(counted(&world), (1, 0));
    }
}
