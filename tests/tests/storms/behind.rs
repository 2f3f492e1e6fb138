//! Requests of a key behind one that has to come again first.

use std::time::Duration;

use protocol::{Refusal, Time};

use crate::client::Script;
use crate::settings::GRANT;
use crate::shape::Shape;
use crate::world::World;

const NEVER: Time = Time::from_nanos(u64::MAX);

/// A client of one key, and a backend that neither answers nor gives credit back: two requests use up all there is.
fn world() -> World {
    let mut world = World::quiet(Shape::plain(1, 1, 1));
    let desk = &mut world.backends[0].desk;
    (desk.mute_until, desk.stingy_until) = (NEVER, NEVER);
    let client = &mut world.clients[0];
    let script = Script { lane: ("echo", "left"), len: 3700, window: GRANT };
    client.script = Some(script);
    (client.wanted, client.stays) = (2, true);
    world.until("they run", |world| world.counters[0].requests_in_flight.get() == 2);
    // Two of these may wait.
    let client = &mut world.clients[0];
    (client.wanted, client.script) = (1, Some(Script { len: 1000, ..script }));
    world.until("the third waits", |world| world.totals.parked == 1);
    world
}

/// The backend goes on.
fn go_on(world: &mut World) {
    let desk = &mut world.backends[0].desk;
    (desk.mute_until, desk.stingy_until) = (Time::ZERO, Time::ZERO);
}

#[test]
fn the_later_ones_are_refused_until_it_has_come_and_then_in_their_order() {
    let mut world = world();
    world.until("the third is refused", |world| world.totals.refused == 1);
    go_on(&mut world);
    world.until("the others are answered", |world| world.totals.answered == 2);
    for refused in 2..=3 {
        world.clients[0].wanted = 1;
        world.until("a later one is refused", |world| world.totals.refused == refused);
        assert!(world.totals.refusals.contains(&Refusal::Behind));
    }
    // The fifth is behind the fourth, and that behind the third.
    world.clients[0].repeat(5);
    world.until("it is refused again", |world| world.totals.refused == 4);
    for (number, answered) in [(3, 3), (4, 4), (5, 5)] {
        world.clients[0].repeat(number);
        world.until("it is answered", |world| world.totals.answered == answered);
    }
    world.clients[0].wanted = 1;
    world.until("nothing is in the way any more", |world| world.totals.answered == 6);
}

#[test]
fn one_that_waits_for_credit_does_not_go_once_an_earlier_one_was_refused() {
    let mut world = world();
    world.pass(Duration::from_secs(1));
    world.clients[0].wanted = 1;
    world.until("the fourth waits", |world| world.totals.parked == 2);
    world.until("the third is refused", |world| world.totals.refused == 1);
    go_on(&mut world);
    world.until("and so is the fourth", |world| world.totals.refused == 2);
    world.until("the others are answered", |world| world.totals.answered == 2);
    assert_eq!(world.totals.refusals.iter().collect::<Vec<_>>(), [&Refusal::Busy, &Refusal::Behind]);
}
