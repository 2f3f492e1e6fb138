//! Workers that nothing wakes but what is due.

use std::time::Duration;

use driver::sim::Faults;
use protocol::{CloseCode, Time};

use crate::client::Script;
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
