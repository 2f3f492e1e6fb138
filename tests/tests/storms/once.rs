//! Requests over links that break: each is done once, answered once, and keeps its order.

use std::time::Duration;

use gateway::counters::Counters;

use crate::backend::BackendActor;
use crate::client::Script;
use crate::shape::Shape;
use crate::world::World;

/// Of enough seeds links and their followers are on every constellation of workers.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=16;

/// Clients that ask again and backends that always answer, a while after they were asked.
fn world(workers: usize, seed: u64, late: Duration) -> World {
    let mut world = World::standing_of(Shape { signed: true, ..Shape::plain(workers, 3, 2) }, seed);
    world.end_storm();
    for (index, client) in world.clients.iter_mut().enumerate() {
        (client.name, client.device) = (format!("user{index}"), "device");
        (client.wanted, client.with_ticket) = (60, Some(false));
        (client.remembers, client.is_ordered, client.asks_again) = (true, true, true);
    }
    for backend in &mut world.backends {
        backend.desk.late = late;
    }
    world
}

/// Breaks all links several times, some of them so that the gateway does not hear of it, and waits until everything is answered.
fn tear(world: &mut World) {
    for round in 0..12 {
        world.pass(Duration::from_millis(150));
        let World { clients, totals, .. } = &mut *world;
        for (index, client) in clients.iter_mut().enumerate().filter(|(_, client)| client.is_in()) {
            match (round + index) % 3 {
                0 => client.lose_link(totals),
                1 => client.vanish(),
                _ => {}
            }
        }
    }
    world.until("everything is answered", |world| world.clients.iter().all(|client| client.is_done()));
}

#[test]
fn whatever_becomes_of_links_each_request_is_done_once_and_answered_once_in_its_order() {
    for seed in SEEDS {
        let mut world = world(3, seed, Duration::from_millis(40));
        tear(&mut world);
        let totals = &world.totals;
        assert_eq!((totals.answered, totals.unknown, totals.refused), (180, 0, 0), "seed {seed}: {totals:?}");
        assert!(totals.went_on > 10 && totals.lost > 30, "seed {seed}: {totals:?}");
        assert_eq!(
            world.backends[0].desk.ledger.doubled(),
            0,
            "seed {seed}: a backend has seen nothing twice"
        );
        let repeated = sum(&world, |its| its.requests_repeated.get());
        assert!(repeated > 10, "seed {seed}: {repeated}");
    }
}

#[test]
fn whoever_asks_again_is_answered_from_memory_and_not_before_it_asks() {
    for seed in SEEDS {
        let mut world = world(3, seed, Duration::from_millis(1500));
        for client in &mut world.clients {
            (client.wanted, client.stays) = (3, true);
        }
        world.until("all is under way", |world| sum(world, |its| its.requests_in_flight.get()) == 9);
        world.until("all are in", |world| world.clients.iter().all(|client| client.is_in()));
        let World { clients, totals, now, .. } = &mut world;
        let later = *now + Duration::from_millis(2200);
        for client in clients {
            client.lose_link(totals);
            client.not_before = later;
        }
        // The backends answer while nobody is there.
        world.pass(Duration::from_secs(2));
        let kept = sum(&world, |its| its.answers_remembered.get());
        assert_eq!((kept, world.totals.answered), (9, 0), "seed {seed}");
        world.until("all is answered", |world| world.totals.answered == 9);
        assert_eq!(world.backends[0].desk.ledger.doubled(), 0, "seed {seed}");
    }
}

#[test]
fn a_request_of_a_key_waits_until_the_one_of_the_link_before_has_ended() {
    for seed in SEEDS {
        let mut world = world(3, seed, Duration::from_millis(700));
        for client in &mut world.clients {
            client.script = Some(Script { lane: ("echo", "left"), len: 0, window: 1 });
            (client.wanted, client.stays) = (1, true);
        }
        world.until("all have asked", |world| {
            world.clients.iter().all(|client| client.is_in() && client.open.len() == 1)
        });
        world.pass(Duration::from_millis(200));
        let World { clients, totals, .. } = &mut world;
        clients.iter_mut().for_each(|client| client.lose_link(totals));
        for client in &mut world.clients {
            (client.wanted, client.script) = (2, Some(Script { lane: ("echo", "left"), len: 0, window: 3 }));
        }
        world.until("a later one waits", |world| sum(world, |its| its.requests_parked.get()) > 0);
        world.until("all is answered", |world| world.totals.answered == 9);
        assert_eq!((world.backends[0].desk.ledger.doubled(), world.totals.unknown), (0, 0), "seed {seed}");
        assert!(world.totals.refusals.is_empty(), "seed {seed}: it waited too long: {:?}", world.totals);
    }
}

#[test]
fn requests_that_waited_for_credit_when_their_link_was_lost_go_when_they_come_again() {
    for seed in SEEDS {
        let mut world = world(2, seed, Duration::ZERO);
        let stingy_until = world.now + Duration::from_secs(4);
        for BackendActor { desk, .. } in &mut world.backends {
            desk.stingy_until = stingy_until;
        }
        let is_parked = |world: &World| sum(world, |its| its.requests_parked.get()) > 0;
        for _ in 0..3 {
            world.until("some wait", is_parked);
            let World { clients, totals, .. } = &mut world;
            clients.iter_mut().for_each(|client| client.lose_link(totals));
        }
        world.until("all is over", |world| world.clients.iter().all(|client| client.is_done()));
        assert_eq!(world.backends[0].desk.ledger.doubled(), 0, "seed {seed}");
    }
}

#[test]
fn an_old_number_is_a_repeat_for_its_backend_even_if_the_client_does_not_say_so() {
    let mut world = world(1, 1, Duration::ZERO);
    let client = &mut world.clients[0];
    client.script = Some(Script { lane: ("echo", ""), len: 0, window: 1 });
    (client.wanted, client.stays, client.is_silent) = (70, true, true);
    world.until("more are answered than are remembered", |world| world.clients[0].wanted == 0);
    // The sixth one is the last that was forgotten, as 64 are remembered.
    world.until("the last is answered", |world| world.clients[0].open.is_empty());
    world.clients[0].repeat(6);
    world.until("it has come once more", |world| world.backends[0].desk.ledger.doubled() == 1);
}

fn sum(world: &World, count: impl Fn(&Counters) -> u64) -> u64 {
    world.counters.iter().map(|counters| count(counters)).sum()
}
