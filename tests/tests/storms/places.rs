//! More clients than places: whoever finds one is served, by whichever worker has it.

use driver::Peer;
use driver::sim::{Buffers, Socket, State};

use gateway::counters::guard::Guard;

use crate::shape::Shape;
use crate::world::World;

const WORKERS: usize = 3;
/// Slots of each worker; two of them are for its streams, and a few more are its reserve.
const SLOTS: u32 = 24;

/// Workers of few slots, clients of the network itself, none of them a stranger.
fn world() -> World {
    World::quiet(Shape { slots: SLOTS, exempt: true, patient: true, ..Shape::plain(WORKERS, 0, 1) })
}

fn connect(world: &World) -> Socket {
    let from = Peer::Tcp(([127, 0, 0, 9], 1000).into());
    world.net.connect(&world.front, from, Buffers { send: 256, receive: 256 })
}

/// Links that a worker has.
fn links(world: &World, worker: usize) -> usize {
    world.workers[worker].census().links
}

/// Links that it has places for.
fn places(world: &World, worker: usize) -> usize {
    world.counters[worker].links_max.get() as usize
}

fn open(sockets: &[Socket]) -> usize {
    sockets.iter().filter(|socket| socket.state() == State::Open).count()
}

/// One after the other comes until the newcomer finds no place.
fn fill(world: &mut World, most: usize) -> Vec<Socket> {
    let mut sockets = Vec::new();
    for _ in 0..most {
        sockets.push(connect(world));
        for _ in 0..12 {
            world.step();
        }
        for at in 0..world.workers.len() {
            // Nobody takes more from its neighbours than it has places for.
            let (parked, left) =
                (world.net.audit(at as u32).parked as usize, places(world, at) - links(world, at));
            assert!(parked <= left.max(1), "worker {at} has {parked} accepts parked and {left} places left");
        }
    }
    sockets
}

#[test]
fn with_room_in_the_process_everybody_is_served() {
    let mut world = world();
    world.until("streams stand", |world| (0..WORKERS).all(|at| world.workers[at].census().streams == 1));
    let all: usize = (0..WORKERS).map(|at| places(&world, at)).sum();
    let mut sockets = fill(&mut world, all);
    let have: Vec<usize> = (0..WORKERS).map(|at| links(&world, at)).collect();
    assert_eq!((open(&sockets), have.iter().sum::<usize>()), (all, all), "{have:?}");
    // The process is full: who comes now hears so at once, and is not queued for somebody to leave.
    sockets.extend(fill(&mut world, 5));
    (0..50).for_each(|_| world.step());
    assert_eq!(open(&sockets), all);
    let away: u64 =
        world.counters.iter().map(|counters| counters.listeners[0].refused.of(Guard::Places).get()).sum();
    assert_eq!(away, 5);
    // They were nobody: no place among links or strangers, from which they might have pushed somebody out.
    let accepted: u64 = world.counters.iter().map(|counters| counters.links_accepted.get()).sum();
    assert_eq!(accepted, all as u64);
    // Somebody leaves, wherever that is, and the next one finds the place.
    sockets.truncate(all);
    drop(sockets.swap_remove(all / 2));
    world.until("a place is free", |world| (0..WORKERS).map(|at| links(world, at)).sum::<usize>() == all - 1);
    (0..30).for_each(|_| world.step());
    sockets.extend(fill(&mut world, 1));
    (0..30).for_each(|_| world.step());
    assert_eq!(open(&sockets), all);
}

#[test]
fn a_worker_that_stands_still_swallows_what_it_has_parked_and_no_more() {
    let mut world = world();
    world.until("streams stand", |world| (0..WORKERS).all(|at| world.workers[at].census().streams == 1));
    (0..20).for_each(|_| world.step());
    let parked = world.net.audit(1).parked as usize;
    assert!((1..=8).contains(&parked), "{parked} accepts are parked");
    world.frozen = Some(1);
    let before = links(&world, 1);
    let sockets = fill(&mut world, 30);
    let served = links(&world, 0) + links(&world, 2);
    assert_eq!((links(&world, 1), open(&sockets)), (before, 30), "the kernel has accepted them all");
    assert_eq!(served, 30 - parked);
    world.frozen = None;
    world.until("it serves them, too", |world| links(world, 1) == parked);
}

#[test]
fn a_worker_that_was_killed_takes_nobody_along_who_was_not_its_own() {
    let mut world = world();
    world.until("streams stand", |world| (0..WORKERS).all(|at| world.workers[at].census().streams == 1));
    let mut sockets = fill(&mut world, 12);
    let (lost, kept) = (links(&world, 2), links(&world, 0) + links(&world, 1));
    assert!(lost > 0 && kept > 0);
    world.kill_last();
    (0..30).for_each(|_| world.step());
    assert_eq!(open(&sockets), kept);
    sockets.retain(|socket| socket.state() == State::Open);
    sockets.extend(fill(&mut world, 12));
    assert_eq!((open(&sockets), links(&world, 0) + links(&world, 1)), (kept + 12, kept + 12));
}
