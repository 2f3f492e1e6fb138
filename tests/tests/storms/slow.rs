//! Clients that read slowly, where what is delivered at most once makes no slow reader. SPEC.md, section "Set by the operator".

use protocol::CloseCode;

use crate::backend::Order;
use crate::client::Script;
use crate::shape::{Scarce, Shape};
use crate::world::World;

const LONG: &str = "a push of which twenty do not fit below a soft bound of fifteen hundred bytes, whatever stands beside it";
const ROUNDS: usize = 60;

/// A client that reads nothing, of a gateway that drops or does not.
fn world(drops_oldest: bool, scarce: Scarce) -> World {
    let shape = Shape { scarce: Some(scarce), drops_oldest, ..Shape::plain(1, 2, 1) };
    let mut world = World::standing(shape);
    for (client, name) in world.clients.iter_mut().zip(["user0", "user1"]) {
        (client.name, client.stays, client.wanted) = (name.into(), true, 0);
    }
    let World { clients, net, now, .. } = &mut world;
    clients.iter_mut().for_each(|client| client.come(net, *now));
    world.until("both are in", |world| world.clients.iter().all(|client| client.is_in()));
    world.until("and known", |world| world.backends[0].present().len() == 2);
    world.clients[0].is_deaf = true;
    world
}

/// To both of them, which the second one gets.
fn push_all(world: &mut World) {
    for round in 1..=ROUNDS {
        let users = &["user0", "user1"];
        world.backends[0].desk.orders.push_back(Order::Group { users, class: 0, text: LONG });
        world.until("the other one has it", |world| world.clients[1].pushes.len() == round);
    }
}

#[test]
fn who_reads_slowly_misses_the_oldest_and_keeps_its_link_and_the_others_miss_nothing() {
    let mut world = world(true, Scarce::Soft);
    push_all(&mut world);
    // Longer than a link may be slow.
    world.pass(std::time::Duration::from_secs(3));
    let dropped = world.counters[0].pushes_dropped.get();
    assert!(world.clients[0].is_in() && dropped > 20, "{dropped} were dropped");
    world.clients[0].is_deaf = false;
    let rest = ROUNDS - dropped as usize;
    world.until("it gets the rest", |world| world.clients[0].pushes.len() == rest);
    assert_eq!(world.counters[0].closed.of(CloseCode::SlowReader).get(), 0);
    assert!(world.totals.undelivered.is_empty(), "what was queued is not reported");
}

#[test]
fn without_the_operators_word_nothing_is_dropped_and_the_link_ends() {
    let mut world = world(false, Scarce::Soft);
    push_all(&mut world);
    world.until("it is told", |world| world.counters[0].closed.of(CloseCode::SlowReader).get() == 1);
    assert_eq!(world.counters[0].pushes_dropped.get(), 0);
}

/// Answers are nobody's to drop, and wait where they are remembered.
#[test]
fn answers_wait_for_who_reads_slowly_and_make_no_slow_reader() {
    for drops_oldest in [false, true] {
        let mut world = world(drops_oldest, Scarce::Soft);
        world.clients[0].is_deaf = true;
        world.clients[0].script = Some(Script { lane: ("echo", ""), len: 500, window: 8 });
        world.clients[0].wanted = 8;
        world.until("all are answered", |world| world.counters[0].responses.get() == 8);
        // Longer than a link may be slow.
        world.pass(std::time::Duration::from_secs(3));
        assert!(world.clients[0].is_in() && world.totals.answered == 0);
        world.clients[0].is_deaf = false;
        world.until("it gets them all", |world| world.totals.answered == 8);
        assert_eq!(world.counters[0].closed.of(CloseCode::SlowReader).get(), 0);
    }
}
