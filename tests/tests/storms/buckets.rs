//! What addresses cost: a crowd of users behind one address gets in, and a crowd of strangers does not keep others out.

use driver::Peer;
use driver::sim::{Buffers, Socket, State};
use gateway::counters::guard::Guard;

use crate::reconnect::Distant;
use crate::shape::{Costs, Shape};
use crate::world::World;

fn world(shape: Shape) -> World {
    let mut world = World::quiet(Shape { slots: 400, strangers: 300, costs: Costs::Default, ..shape });
    world.backends.iter_mut().for_each(|backend| backend.desk.roaming = true);
    world
}

fn refused(world: &World, guard: Guard) -> u64 {
    world.counters.iter().map(|counters| counters.listeners[0].refused.of(guard).get()).sum()
}

fn is_open(socket: &Socket) -> bool {
    matches!(socket.state(), State::Open | State::Connecting)
}

/// Users behind one carrier's address.
const CROWD: u64 = 10_000;
/// Steps until one that was not let in tries again.
const PAUSE: u64 = 300;

#[test]
fn a_crowd_of_users_behind_one_address_gets_in_after_a_restart() {
    // Two workers with two streams each: a single one could not carry what there is to tell of so many links.
    let mut world = world(Shape::plain(2, 0, 2));
    let mut away: Vec<(u64, u64)> = (0..CROWD).map(|number| (number % PAUSE, number)).collect();
    let mut trying: Vec<(u64, Distant)> = Vec::new();
    let mut is_in = 0;
    for step in 0.. {
        assert!(step < CROWD, "{is_in} are in, {} try, {} wait", trying.len(), away.len());
        assert!(step != 1_000 || is_in > CROWD / 20, "{is_in} are in after ten seconds");
        away.retain(|&(when, number)| {
            let stays = when > step;
            if !stays {
                trying.push((number, Distant::dial_from(&world, number, [10, 1, 1, 1])));
            }
            stays
        });
        world.step();
        trying.retain_mut(|(number, client)| {
            let stays = client.step(&world, *number);
            if client.is_in {
                is_in += 1;
            } else if !stays {
                away.push((step + PAUSE, *number));
            }
            stays
        });
        if is_in == CROWD {
            break;
        }
    }
    assert!(refused(&world, Guard::StrangersPerAddress) > 0, "there was a crowd at the door");
    assert_eq!(refused(&world, Guard::LinksPerAddress), 0);
}

#[test]
fn strangers_from_one_address_and_from_one_block_are_few_and_others_get_in_beside_them() {
    let mut world = world(Shape::plain(2, 0, 1));
    let mut flood: Vec<Socket> = Vec::new();
    let [mut number, mut is_in] = [0; 2];
    let mut honest: Vec<(u64, Distant)> = Vec::new();
    for step in 0..700_u32 {
        // From one address, and from all of a block elsewhere.
        for ip in [[10, 9, 9, 9], [10, 8, 8, (step % 256) as u8]] {
            let from = Peer::Tcp((ip, 1000).into());
            flood.push(world.net.connect(&world.front, from, Buffers { send: 64, receive: 64 }));
        }
        if step % 4 == 0 && step < 600 {
            let address = [10, 1, (step % 16) as u8, 1];
            honest.push((number, Distant::dial_from(&world, number, address)));
            number += 1;
        }
        world.step();
        flood.retain(is_open);
        honest.retain_mut(|(number, client)| {
            let stays = client.step(&world, *number);
            is_in += u64::from(client.is_in);
            stays
        });
        let [addresses, prefixes] = world.buckets.census();
        assert_eq!(addresses.strangers, prefixes.strangers);
        let strangers: usize = world.workers.iter().map(|worker| worker.census().strangers).sum();
        assert!(
            strangers as u64 <= addresses.strangers,
            "a stranger that is closed counts until its slot is free"
        );
    }
    assert_eq!(is_in, number, "all the others got in");
    let kept_out = [Guard::StrangersPerAddress, Guard::AcceptsPerAddress].map(|guard| refused(&world, guard));
    assert!(kept_out[0] > 0 && kept_out[1] > 0, "{kept_out:?}");
    flood.clear();
    world.until("nobody is left", |world| {
        world.buckets.census().iter().all(|it| it.strangers + it.users == 0)
    });
}

#[test]
fn whoever_does_nothing_but_connect_and_close_gets_its_rate_and_no_more() {
    let mut world = world(Shape::plain(1, 0, 1));
    let begin = world.now;
    let mut last: Option<Socket> = None;
    for _ in 0..2_000 {
        last.take();
        let from = Peer::Tcp(([10, 9, 9, 9], 1000).into());
        last = Some(world.net.connect(&world.front, from, Buffers { send: 64, receive: 64 }));
        world.step();
    }
    let seconds = world.now.since(begin).as_secs();
    let let_in = world.counters[0].links_accepted.get();
    assert!((20 * seconds..=40 + 20 * (seconds + 1)).contains(&let_in), "{let_in} in {seconds} s");
    assert!(refused(&world, Guard::AcceptsPerAddress) > 0);
}
