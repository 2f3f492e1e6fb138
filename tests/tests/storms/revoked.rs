//! Single logins that are worth nothing any more, while they log in, use tickets, renew and are at rest: whoever comes by one
//! stays out once the user's owner has heard of it, and no other login notices.

use std::time::Duration;

use driver::sim::Rng;
use gateway::collections::HashKey;
use gateway::directory;
use protocol::CloseCode;

use crate::backend::Order;
use crate::client::{Client, DEVICES};
use crate::settings::{HASH_KEY, wall};
use crate::shape::Shape;
use crate::world::World;

/// More than enough for as long as a test takes.
const MANY: u32 = 1_000_000;
/// Some of them are owned by each worker.
const NAMES: [&str; 32] = [
    "ann", "bob", "cy", "dan", "eve", "fay", "gus", "hal", "ida", "joe", "kim", "lea", "max", "ned", "ora",
    "pam", "quin", "ray", "sue", "tom", "una", "val", "wes", "xia", "yan", "zoe", "abe", "bea", "cal", "dee",
    "eli", "flo",
];
/// Storms of each kind.
const SEEDS: u64 = 12;
/// Steps in which a letter of the owner from before the revocation may still arrive.
const ON_ITS_WAY: u32 = 20;
/// Steps in which a client has read that its link is closed.
const TO_READ: u32 = 100;

/// The worker that owns a user, of so many.
fn owner_of(name: &str, workers: u32) -> u32 {
    directory::owner_of(HashKey::new(HASH_KEY).identity(name.as_bytes()), workers)
}

/// Users that this worker owns, of so many workers.
fn owned_by(worker: u32, workers: u32) -> impl Iterator<Item = &'static str> {
    NAMES.into_iter().filter(move |name| owner_of(name, workers) == worker)
}

/// Ann by two logins on two devices, and somebody else of the same owner by a login whose name is that of Ann's first.
fn world(shape: Shape, seed: u64) -> World {
    let mut world = World::standing_of(Shape { tickets: true, ..shape }, seed);
    let owner = owner_of("ann", 3);
    let other = owned_by(owner, 3).find(|&name| name != "ann").expect("of so many names one is");
    let who = [("ann", DEVICES[0], 10), ("ann", DEVICES[1], 20), (other, DEVICES[0], 10)];
    for (client, (name, device, login)) in world.clients.iter_mut().zip(who) {
        (client.name, client.device, client.login) = (name.into(), device, Some(login));
        (client.wanted, client.stays, client.with_ticket) = (MANY, true, Some(false));
    }
    world.until("all are in", |world| world.clients.iter().all(Client::is_in));
    world
}

fn signed() -> Shape {
    Shape { signed: true, ..Shape::plain(3, 3, 1) }
}

fn delegated() -> Shape {
    Shape { delegated: true, ..Shape::plain(3, 3, 1) }
}

fn revoke(world: &mut World, user: &'static str, login: &'static str) {
    world.backends[0].desk.orders.push_back(Order::RevokeLogin { user, login });
}

/// Whether an owner has heard of a revocation.
fn is_heard(world: &World) -> bool {
    world.counters.iter().any(|counters| counters.revoked_logins_remembered.get() > 0)
}

/// A step in which links break, and whoever comes next does so by token or by ticket, as chance has it.
fn stormy_step(world: &mut World, rng: &mut Rng) {
    for client in &mut world.clients {
        client.with_ticket = Some(rng.one_in(2));
        if rng.one_in(40) {
            client.lose_link(&mut world.totals);
        }
    }
    world.backends[0].desk.ponders = Duration::from_millis(rng.below(60) as u64);
    world.step();
    for other in &world.clients[1..] {
        let hurt = [CloseCode::Kicked, CloseCode::AuthFailed].map(Some).contains(&other.closed);
        assert!(!hurt, "{} by login {:?}: {:?}", other.name, other.login, other.closed);
    }
}

fn storm(shape: Shape, seed: u64) {
    let mut rng = Rng::new(seed);
    let mut world = world(shape, seed);
    (0..rng.below(150)).for_each(|_| stormy_step(&mut world, &mut rng));
    revoke(&mut world, "ann", "10");
    let heard = (0..500).any(|_| {
        stormy_step(&mut world, &mut rng);
        is_heard(&world)
    });
    assert!(heard, "no owner hears of it");
    (0..ON_ITS_WAY).for_each(|_| stormy_step(&mut world, &mut rng));
    let latest = wall(world.now).0;
    for step in 0..300 {
        stormy_step(&mut world, &mut rng);
        let Client { welcomed_ms, closed, .. } = world.clients[0];
        assert!(welcomed_ms <= latest, "welcome by a login that was revoked: {closed:?}");
        assert!(step < TO_READ || !world.clients[0].is_in(), "still in by a login that was revoked");
    }
    assert_eq!(world.clients[0].closed, Some(CloseCode::AuthFailed), "it keeps coming");
    // Another login of the same device is as good as any.
    world.clients[0].with_ticket = Some(false);
    world.clients[0].login = Some(30);
    world.until("it is in by another login", |world| world.clients[0].is_in());
    world.until("and so are the others", |world| world.clients.iter().all(Client::is_in));
}

fn storms(shape: &Shape) {
    for seed in 1..=SEEDS {
        let storm = std::panic::AssertUnwindSafe(|| storm(shape.clone(), seed));
        if let Err(panic) = std::panic::catch_unwind(storm) {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn nobody_comes_in_by_a_revoked_login_whose_tokens_are_signed_and_no_other_login_notices() {
    storms(&signed());
}

#[test]
fn nobody_comes_in_by_a_revoked_login_that_a_backend_has_named_and_no_other_login_notices() {
    storms(&delegated());
}

#[test]
fn where_letters_are_few_and_turns_are_brief_it_is_the_same() {
    storms(&Shape { letters: 2, brief: true, ..signed() });
}

#[test]
fn a_link_is_of_the_login_of_its_last_token() {
    for shape in [signed(), delegated()] {
        let mut world = world(shape, 1);
        world.clients[0].login = Some(11);
        // The first welcome may be for a token that was on its way already.
        for _ in 0..2 {
            let before = wall(world.now).0;
            world.until("its token is another login's", |world| world.clients[0].welcomed_ms > before);
        }
        revoke(&mut world, "ann", "10");
        world.until("it is heard", is_heard);
        world.pass(Duration::from_secs(2));
        assert!(world.clients.iter().all(Client::is_in) && world.totals.closes.is_empty());
        revoke(&mut world, "ann", "11");
        world.until("it ends", |world| world.clients[0].closed.is_some());
        assert_eq!(world.clients[0].closed, Some(CloseCode::Kicked), "with the code of the kick");
        assert!(world.clients[1].is_in() && world.clients[2].is_in());
    }
}

#[test]
fn a_link_that_renews_by_a_revoked_login_ends_without_a_welcome() {
    for shape in [signed(), delegated()] {
        let mut world = world(shape, 2);
        revoke(&mut world, "ann", "99");
        world.until("it is heard", is_heard);
        world.pass(Duration::from_secs(1));
        assert!(world.totals.closes.is_empty(), "nobody is in by it");
        // Whatever it had presented before is answered by then.
        world.clients[1].login = None;
        world.pass(Duration::from_secs(1));
        let before = wall(world.now).0;
        world.clients[1].login = Some(99);
        world.until("it ends", |world| world.clients[1].closed.is_some());
        let Client { closed, welcomed_ms, .. } = world.clients[1];
        assert!(closed == Some(CloseCode::AuthFailed) && welcomed_ms <= before, "{closed:?}");
        assert!(world.clients[0].is_in() && world.clients[2].is_in());
    }
}

/// The way from their owner to a worker is as full of kicks as it may be when the word comes that its links are to end: that
/// word waits.
#[test]
fn links_of_revoked_logins_end_however_much_waits_for_their_worker() {
    let mut dropped = 0;
    for (seed, frozen) in [(1, 0), (1, 1), (2, 0), (2, 1), (3, 0), (3, 1)] {
        let shape = Shape { workers: 2, clients: 12, letters: 2, ..signed() };
        let mut world = World::standing_of(shape, seed);
        let names: Vec<_> = owned_by(1 - frozen, 2).take(12).collect();
        assert_eq!(names.len(), 12);
        for (client, name) in world.clients.iter_mut().zip(&names) {
            (client.name, client.login) = ((*name).into(), Some(10));
            (client.wanted, client.stays, client.with_ticket) = (MANY, true, Some(false));
        }
        world.until("all are in", |world| world.clients.iter().all(Client::is_in));
        world.frozen = Some(frozen as usize);
        for user in names[6..].repeat(40) {
            world.backends[0].desk.orders.push_back(Order::Kick { user, device: "" });
        }
        names[..6].iter().for_each(|name| revoke(&mut world, name, "10"));
        (0..300).for_each(|_| world.step());
        world.frozen = None;
        (0..TO_READ).for_each(|_| world.step());
        assert!(!world.clients[..6].iter().any(Client::is_in), "seed {seed}, worker {frozen}");
        dropped += world.counters.iter().map(|counters| counters.letters_dropped.get()).sum::<u64>();
    }
    assert!(dropped > 0, "there was room for all");
}
