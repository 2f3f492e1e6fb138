//! What those may say who are in: whoever says too much is slowed down, then refused, warned and closed, and nobody else
//! notices anything.

use std::time::Duration;

use gateway::counters::guard::Guard;
use protocol::CloseCode;

use crate::client::Script;
use crate::shape::{Costs, Shape};
use crate::talker::{Talker, What};
use crate::world::World;

/// What is in force by default: frames of a link and of a user, each second and at once, and pauses as long as they may be.
const LINK: (f64, f64) = (50.0, 200.0);
const USER: (f64, f64) = (100.0, 400.0);
const CONTROL: (f64, f64) = (20.0, 100.0);
/// Where neither this machine nor a neighbour is.
const ABROAD: [u8; 4] = [10, 0, 9, 9];
/// Interval of heartbeats, in milliseconds: pauses take a quarter of it at most.
const HEARTBEAT: u32 = 4_000;

fn world(workers: usize) -> World {
    let shape = Shape { slots: 200, costs: Costs::Default, ..Shape::plain(workers, 1, 1) };
    let mut world = World::standing(shape);
    world.backends.iter_mut().for_each(|backend| backend.desk.roaming = true);
    let client = &mut world.clients[0];
    client.script = Some(Script { lane: ("echo", ""), len: 10, window: 1 });
    client.name = "bob".into();
    (client.wanted, client.stays) = (1, true);
    world.until("bob is in", |world| world.totals.answered == 1);
    world
}

fn enter(world: &mut World, user: &str, devices: &[&str]) -> Vec<Talker> {
    let mut talkers: Vec<Talker> =
        devices.iter().map(|device| Talker::dial(world, user, device, ABROAD, HEARTBEAT)).collect();
    for _ in 0..500 {
        world.step();
        talkers.iter_mut().for_each(|talker| talker.step(world.now));
    }
    assert!(talkers.iter().all(|talker| talker.heard.welcome));
    talkers
}

/// Lets them say this as fast as the network takes it, `many` at a time, for a while or until they are closed; for how long.
fn talk(world: &mut World, talkers: &mut [Talker], many: usize, time: Duration, what: What) -> f64 {
    let begin = world.now;
    while world.now.since(begin) < time && talkers.iter().any(Talker::is_there) {
        for talker in talkers.iter_mut().filter(|talker| talker.is_there()) {
            if talker.has_room() {
                talker.say(what, many);
            }
            talker.step(world.now);
        }
        world.step();
    }
    world.now.since(begin).as_secs_f64()
}

/// How many steps bob waits for an answer at most.
fn bobs_steps(world: &mut World, mut others: impl FnMut(&mut World)) -> u64 {
    let mut most = 0;
    for _ in 0..30 {
        world.clients[0].wanted = 1;
        let answered = world.totals.answered;
        let mut steps = 0;
        while world.totals.answered == answered {
            others(world);
            world.step();
            steps += 1;
            assert!(steps < 500, "bob waits for ever");
        }
        most = most.max(steps);
    }
    most
}

fn refused(world: &World, guard: Guard) -> u64 {
    world.counters.iter().map(|its| its.listeners[0].refused.of(guard).get()).sum()
}

#[test]
fn whoever_waits_for_answers_is_slowed_down_to_its_rate_and_refused_nothing() {
    let mut world = world(1);
    let mut talkers = enter(&mut world, "alice", &["phone"]);
    let (begin, mut asked) = (world.now, 0);
    while world.now.since(begin) < Duration::from_secs(20) {
        let talker = &mut talkers[0];
        while asked - talker.heard.pongs < 8 && talker.has_room() {
            asked += 1;
            talker.say(What::Ping, 1);
        }
        talker.step(world.now);
        world.step();
    }
    let (seconds, answered) = (world.now.since(begin).as_secs_f64(), talkers[0].heard.pongs);
    let may = CONTROL.1 + CONTROL.0 * seconds;
    assert!((may * 0.9..may * 1.1).contains(&(answered as f64)), "{answered} in {seconds} s");
    assert_eq!((talkers[0].heard.refused, &talkers[0].heard.warned[..]), (0, &[][..]));
    assert!(world.counters[0].pauses.get() > 5);
}

#[test]
fn a_flood_is_limited_warned_and_closed_whatever_it_is_made_of() {
    for (what, (rate, burst)) in [(What::Request, LINK), (What::Ping, CONTROL), (What::Join, CONTROL)] {
        let mut world = world(1);
        let mut talkers = enter(&mut world, "mallory", &["phone"]);
        let seconds = talk(&mut world, &mut talkers, 100, Duration::from_secs(200), what);
        let heard = talkers[0].heard.clone();
        assert_eq!(heard.closed, Some(CloseCode::RateExceeded), "{what:?}: {heard:?}");
        assert_eq!(heard.warned, [(CloseCode::RateExceeded, 75)], "{what:?}");
        let (may, heeded) = (burst + rate * (seconds + 1.0), (heard.answered + heard.pongs) as f64);
        assert!(heeded <= may && heeded >= burst, "{what:?}: {heeded} in {seconds} s, {heard:?}");
        // A chunk holds so few requests that a pause makes up for all of them.
        let refusals = if what == What::Join { 75..=200 } else { 0..=0 };
        assert!(refusals.contains(&heard.refused), "{what:?}: {heard:?}");
        assert!(what != What::Join || (1..=4000).contains(&heard.retry_after_ms), "{heard:?}");
        world.until("it is gone", |world| world.workers[0].census().sessions == 1);
    }
}

#[test]
fn what_gives_relief_is_charged_and_never_refused() {
    for what in [What::Ack, What::Leave] {
        let mut world = world(1);
        let mut talkers = enter(&mut world, "alice", &["phone"]);
        talk(&mut world, &mut talkers, 20, Duration::from_secs(20), what);
        let heard = &talkers[0].heard;
        assert_eq!((heard.closed, heard.refused, &heard.warned[..]), (None, 0, &[][..]), "{what:?}");
        let counters = &world.counters[0];
        assert!(counters.pauses.get() > 5, "{what:?}: {} pauses", counters.pauses.get());
        assert!(what == What::Ack || heard.left > 100, "{heard:?}");
        // What it sends is slowed down all the same.
        assert!(counters.frames_in.get() < 5_000, "{what:?}: {} frames", counters.frames_in.get());
    }
}

#[test]
fn a_user_pays_for_all_of_its_links_on_whatever_workers_they_are() {
    let mut world = world(3);
    let mut talkers = enter(&mut world, "alice", &["a", "b", "c", "d"]);
    let seconds = talk(&mut world, &mut talkers, 1, Duration::from_secs(20), What::Request);
    let answered: u64 = talkers.iter().map(|talker| talker.heard.answered).sum();
    // What is not yet charged comes on top of it: a lot for each link, and what a pause makes up for.
    let may = USER.1 + USER.0 * seconds + 4.0 * (USER.1 / 16.0 + USER.0);
    let (least, answered) = (USER.0 * seconds * 0.8, answered as f64);
    assert!(answered <= may && answered >= least, "{answered} in {seconds} s, {may} may be");
    let alone = LINK.0 * 4.0 * seconds;
    assert!(answered < alone, "as much as four users");
}

#[test]
fn neighbours_of_a_flood_notice_nothing() {
    let quiet = bobs_steps(&mut world(1), |_| {});
    let mut world = world(1);
    let devices = ["a", "b", "c"];
    let mut talkers: Vec<Talker> =
        (0..8).flat_map(|user| enter(&mut world, &format!("m{user}"), &devices)).collect();
    let attacked = bobs_steps(&mut world, |world| {
        for talker in talkers.iter_mut().filter(|talker| talker.is_there()) {
            if talker.has_room() {
                talker.say(What::Ping, 20);
            }
            talker.step(world.now);
        }
    });
    assert!(refused(&world, Guard::ControlPerLink) > 100, "it was a flood");
    assert!(attacked <= quiet + 5, "{attacked} steps, and {quiet} without it");
}

#[test]
fn a_pause_takes_nobodys_life_and_ends() {
    let mut world = world(1);
    let mut talkers = vec![Talker::dial(&world, "alice", "phone", ABROAD, 1_000)];
    for _ in 0..100 {
        world.step();
        talkers[0].step(world.now);
    }
    // As much as it may, so that it is paused again and again, and does not end.
    talk(&mut world, &mut talkers, 1, Duration::from_secs(15), What::Leave);
    assert!(talkers[0].is_there() && world.counters[0].pauses.get() > 20, "{:?}", talkers[0].heard);
    let begin = world.now;
    while world.now.since(begin) < Duration::from_secs(5) {
        if world.now.as_millis().is_multiple_of(10) {
            talkers[0].say(What::Ping, 1);
        }
        talkers[0].step(world.now);
        world.step();
    }
    assert!(talkers[0].is_there() && talkers[0].heard.pongs > 0);
    // What it has said before is still on its way.
    let mut calm = 0;
    let came = (0..60_000).any(|_| {
        world.step();
        calm = if world.workers[0].census().paused == 0 { calm + 1 } else { 0 };
        calm == 3_000
    });
    assert!(came, "it is paused again and again");
}
