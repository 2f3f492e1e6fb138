//! Workers that nothing wakes but what is due.

use std::time::Duration;

use driver::Peer;
use driver::sim::{Buffers, Faults, Socket};
use gateway::worker::{Census, Letter};
use protocol::{CloseCode, Time};

use crate::client::Script;
use crate::flood::hello;
use crate::settings::{HANDSHAKES_PER_TURN, wall};
use crate::shape::Shape;
use crate::world::World;

/// How late a worker may notice that something is due: a tick of its timers, and some steps of the world. A stream's
/// heartbeat would wake it within two seconds anyway.
const LATE_MAX: Duration = Duration::from_millis(300);
const NEVER: Time = Time::from_nanos(u64::MAX);

#[test]
fn a_request_is_given_up_when_it_is_due() {
    for steps in 0..10 {
        let mut world = World::quiet(Shape::plain(1, 1, 1));
        world.backends[0].desk.mute_until = NEVER;
        world.clients[0].script = Some(Script { lane: ("echo", ""), len: 10, window: 1 });
        world.clients[0].wanted = 0;
        (0..200 + 20 * steps).for_each(|_| world.step());
        world.clients[0].wanted = 1;
        world.until("it is asked", |world| world.workers[0].census().pending == 1);
        let asked = world.now;
        world.until("it is given up", |world| world.totals.unknown == 1);
        let waited = world.now.since(asked);
        assert!(waited < Duration::from_secs(5) + LATE_MAX, "{waited:?} for a deadline of 5 s");
    }
}

#[test]
fn a_login_is_put_off_when_its_verdict_is_due() {
    for steps in 0..10 {
        let mut world = World::quiet(Shape { delegated: true, ..Shape::plain(1, 1, 1) });
        world.backends[0].desk.mute_until = NEVER;
        world.clients[0].wanted = 0;
        (0..200 + 20 * steps).for_each(|_| world.step());
        world.clients[0].wanted = 1;
        world.until("it is asked", |world| world.workers[0].census().judging == 1);
        let asked = world.now;
        world.until("it is put off", |world| world.totals.closes.contains(&CloseCode::TryLater));
        let waited = world.now.since(asked);
        assert!(waited < Duration::from_secs(2) + LATE_MAX, "{waited:?} for a deadline of 2 s");
    }
}

#[test]
fn logins_whose_backend_breaks_are_put_off_at_once() {
    let mut world = World::standing(Shape { delegated: true, ..Shape::plain(1, 1, 1) });
    world.backends[0].desk.mute_until = NEVER;
    world.clients[0].wanted = 1;
    world.until("it is asked", |world| world.workers[0].census().judging == 1);
    world.backends[0].go_away();
    let broke = world.now;
    world.until("it is put off", |world| world.totals.closes.contains(&CloseCode::TryLater));
    assert!(world.now.since(broke) < LATE_MAX);
}

#[test]
fn accepts_are_parked_again_when_the_pause_is_over() {
    for steps in 0..10 {
        let mut world = World::quiet(Shape::plain(1, 1, 1));
        world.clients[0].wanted = 0;
        (0..200 + 20 * steps).for_each(|_| world.step());
        world.net.set_faults(Faults { accept_failed: 1, ..Faults::none() });
        world.clients[0].wanted = 1;
        world.clients[0].stays = true;
        world.until("all parked accepts fail", |world| world.counters[0].accept_failures.get() == 4);
        world.net.faults_off();
        let failed = world.now;
        world.until("it is in", |world| world.workers[0].census().sessions == 1);
        let waited = world.now.since(failed);
        assert!(waited < Duration::from_secs(1) + LATE_MAX, "{waited:?} for a pause of 20 ms");
    }
}

/// The worker takes a turn for which there is more than it has time for, and is to sleep; the world stands still.
fn assert_awake_after_a_turn(world: &mut World, left_over: fn(Census) -> usize) {
    let (now, worker) = (world.now, &mut world.workers[0]);
    worker.wait().expect("the simulated driver does not break");
    assert!(worker.turn(now, wall(now)), "there are links");
    assert!(left_over(worker.census()) > 0, "{:?}", worker.census());
    worker.wait().expect("the simulated driver does not break");
    assert_eq!(worker.driver().sleep_max(), Some(Duration::ZERO), "{:?}", worker.census());
}

#[test]
fn ends_that_are_left_over_forbid_sleep() {
    let mut world = World::quiet(Shape { brief: true, exempt: true, ..Shape::plain(1, 0, 1) });
    let from = Peer::Tcp(([127, 0, 0, 9], 1000).into());
    let connect = |_| world.net.connect(&world.front, from, Buffers { send: 256, receive: 256 });
    let _links: Vec<Socket> = (0..30).map(connect).collect();
    world.until("all have come", |world| world.workers[0].census().links == 30);
    // Streams that are to end forbid it too.
    world.backends[0].go_away();
    (0..200).for_each(|_| world.step());
    assert!(world.posts[0].send(Letter::Stop).is_ok());
    assert_awake_after_a_turn(&mut world, |census| census.marked);
}

#[test]
fn hellos_that_are_left_over_forbid_sleep() {
    let mut world = World::standing(Shape { exempt: true, ..Shape::plain(1, 0, 1) });
    let hello = hello();
    let from = Peer::Tcp(([127, 0, 0, 9], 1000).into());
    let connect = |_| world.net.connect(&world.front, from, Buffers { send: 256, receive: 256 });
    let links: Vec<Socket> = (0..3 * HANDSHAKES_PER_TURN).map(connect).collect();
    world.until("all have come", |world| world.workers[0].census().links == links.len());
    (0..200).for_each(|_| world.step());
    links.iter().for_each(|link| assert_eq!(link.write(&hello), hello.len()));
    for _ in 0..20 {
        world.net.step();
    }
    assert_awake_after_a_turn(&mut world, |census| census.hailed);
}
