//! What a worker gives up while there is too much to do, whether somebody forces it or it finds so itself, and that it takes all
//! of it back.

use std::time::Duration;

use gateway::admission::ladder::Level;
use gateway::counters::guard::Guard;
use protocol::CloseCode;

use crate::reconnect::Distant;
use crate::settings::outgoing_bytes_max;
use crate::shape::{Scarce, Shape};
use crate::talker::{Talker, What};
use crate::world::World;

/// A gateway with tickets; bob is in, and comes back with one.
fn world() -> World {
    let shape = Shape { tickets: true, slots: 200, strangers: 100, ..Shape::plain(1, 1, 1) };
    let mut world = World::standing(shape);
    world.backends.iter_mut().for_each(|backend| backend.desk.roaming = true);
    let client = &mut world.clients[0];
    (client.name, client.wanted, client.stays) = ("bob".into(), 1, true);
    world.until("bob is in", |world| world.totals.answered == 1);
    world
}

/// The level, after a while.
fn level(world: &mut World) -> Level {
    world.pass(Duration::from_millis(300));
    Level::of(world.counters[0].overload_level.get() as u8)
}

/// Whether somebody without a ticket gets in.
fn gets_in(world: &mut World, number: u64) -> bool {
    let mut newcomer = Distant::dial(world, number).promptly();
    for _ in 0..200 {
        world.step();
        if !newcomer.step(world, number) {
            break;
        }
    }
    newcomer.is_in
}

/// Bob leaves, and tries to come back with a ticket or without; whether he is answered.
fn comes_back(world: &mut World, with_ticket: bool) -> bool {
    world.clients[0].stays = false;
    world.until("bob is out", |world| world.workers[0].census().sessions == 0);
    let answered = world.totals.answered;
    let client = &mut world.clients[0];
    (client.wanted, client.stays, client.with_ticket) = (1, true, Some(with_ticket));
    for _ in 0..400 {
        world.step();
    }
    world.totals.answered > answered
}

#[test]
fn each_level_gives_up_more_and_those_who_are_in_are_served_on_all_of_them() {
    let mut world = world();
    let turned_away = |world: &World| world.counters[0].listeners[0].refused.of(Guard::Overload).get();
    for (number, forced) in (1..).zip(Level::ALL) {
        world.force(forced);
        assert_eq!(level(&mut world), forced);
        let before = turned_away(&world);
        assert_eq!(gets_in(&mut world, number), forced < Level::TicketsOnly, "{forced:?}");
        let is_told = (Level::TicketsOnly..Level::Closed).contains(&forced);
        assert_eq!(turned_away(&world) > before, is_told, "{forced:?}");
        world.clients[0].wanted = 1;
        let answered = world.totals.answered;
        world.until("bob is answered", |world| world.totals.answered > answered);
    }
    world.force(Level::Calm);
    assert_eq!(level(&mut world), Level::Calm);
    assert!(gets_in(&mut world, 99));
}

#[test]
fn with_tickets_only_whoever_has_one_comes_back_and_on_the_next_level_nobody() {
    let mut world = world();
    world.force(Level::TicketsOnly);
    level(&mut world);
    assert!(comes_back(&mut world, true));
    world.force(Level::Shedding);
    level(&mut world);
    assert!(!comes_back(&mut world, true), "not now");
    world.force(Level::Calm);
    world.until("bob is in again", |world| world.workers[0].census().sessions == 1);
}

#[test]
fn turns_that_take_too_long_raise_the_level_and_it_falls_step_by_step_when_they_do_not() {
    let mut world = world();
    world.lag = Duration::from_millis(400);
    world.until("it accepts nothing", |world| world.counters[0].overload_level.get() == 5);
    assert!(!gets_in(&mut world, 1));
    world.lag = Duration::ZERO;
    let mut levels = vec![5];
    let begin = world.now;
    while levels.last() != Some(&0) && world.now.since(begin) < Duration::from_secs(30) {
        world.step();
        let level = world.counters[0].overload_level.get();
        if levels.last() != Some(&level) {
            levels.push(level);
        }
    }
    assert_eq!(levels, [5, 4, 3, 2, 1, 0]);
    let time = world.now.since(begin);
    assert!((Duration::from_secs(5)..Duration::from_secs(8)).contains(&time), "{time:?}, a second each");
    assert!(gets_in(&mut world, 2));
}

#[test]
fn under_a_high_level_links_are_held_to_half_of_their_rates() {
    let pongs = |forced: Level| {
        let shape = Shape { costs: crate::shape::Costs::Default, ..Shape::plain(1, 0, 1) };
        let mut world = World::standing(shape);
        world.backends.iter_mut().for_each(|backend| backend.desk.roaming = true);
        let mut talker = Talker::dial(&world, "alice", "phone", [10, 0, 9, 9], 20_000);
        for _ in 0..200 {
            world.step();
            talker.step(world.now);
        }
        world.force(forced);
        let begin = world.now;
        let mut asked = 0;
        while world.now.since(begin) < Duration::from_secs(20) {
            while asked - talker.heard.pongs < 8 && talker.has_room() {
                asked += 1;
                talker.say(What::Ping, 1);
            }
            talker.step(world.now);
            world.step();
        }
        assert!(talker.is_there(), "{:?}", talker.heard);
        talker.heard.pongs
    };
    // A burst of a hundred, and twenty a second, or ten.
    let [calm, thrifty] = [Level::Calm, Level::Thrifty].map(pongs);
    assert!((450..=560).contains(&calm) && (260..=340).contains(&thrifty), "{calm}, {thrifty}");
}

#[test]
fn whoever_reads_nothing_is_cut_off_first_when_a_worker_sheds() {
    let shape = Shape { scarce: Some(Scarce::Pool), slots: 200, ..Shape::plain(1, 0, 1) };
    let mut world = World::standing(shape);
    world.backends.iter_mut().for_each(|backend| backend.desk.roaming = true);
    let [mut deaf, mut alice] =
        ["deaf", "alice"].map(|user| Talker::dial(&world, user, "phone", [10, 0, 9, 9], 20_000));
    for _ in 0..200 {
        world.step();
        [&mut deaf, &mut alice].into_iter().for_each(|talker| talker.step(world.now));
    }
    // What waits for it takes more than half of what may wait for all, and less than all.
    for _ in 0..100 {
        if world.workers[0].census().outgoing_bytes > outgoing_bytes_max(Some(Scarce::Pool)) / 2 {
            break;
        }
        deaf.say(What::Ping, 30);
        for _ in 0..20 {
            deaf.write();
            world.step();
        }
    }
    assert_eq!(world.workers[0].census().sessions, 2, "{:?}", world.workers[0].census());
    world.force(Level::Shedding);
    world.until("it is cut off", |world| world.workers[0].census().sessions == 1);
    assert_eq!(world.counters[0].closed.of(CloseCode::SlowReader).get(), 1);
    alice.say(What::Ping, 1);
    for _ in 0..50 {
        alice.step(world.now);
        world.step();
    }
    assert_eq!((alice.heard.pongs, alice.is_there()), (1, true));
}
