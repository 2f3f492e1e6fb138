//! Somebody has a user's token, and logs in with it as fast as it can, on a made-up device each time.

use gateway::counters::guard::Guard;
use gateway::worker::Report;
use protocol::CloseCode;

use crate::reconnect::Distant;
use crate::shape::{Costs, Shape};
use crate::world::World;

const USER: &str = "ann";
const ABROAD: [u8; 4] = [10, 0, 7, 7];
const HERE: [u8; 4] = [127, 0, 0, 7];

fn world(exempt: bool) -> World {
    let mut world = World::standing(Shape { costs: Costs::Default, exempt, ..Shape::plain(2, 1, 2) });
    world.backends.iter_mut().for_each(|backend| backend.desk.roaming = true);
    let client = &mut world.clients[0];
    client.name = "bob".into();
    (client.wanted, client.stays) = (1, true);
    world.until("bob is in", |world| world.totals.answered == 1);
    world
}

/// So many logins of that user, one after the other; how many got in.
fn logins(world: &mut World, from: [u8; 4], count: u64) -> u64 {
    let mut is_in = 0;
    for number in 0..count {
        let device = format!("made up {number}");
        let mut client = Distant::dial_from(world, number, from).on_device(USER, &device).promptly();
        loop {
            world.step();
            if !client.step(world, number) {
                break;
            }
        }
        is_in += u64::from(client.is_in);
    }
    is_in
}

fn kept_out(world: &World) -> u64 {
    let of = |guard| world.counters.iter().map(|its| its.listeners[0].refused.of(guard).get()).sum::<u64>();
    of(Guard::LoginsPerUser)
}

#[test]
fn a_user_logs_in_so_often_and_a_flood_of_logins_is_reported() {
    let mut world = world(false);
    let begin = world.now;
    let is_in = logins(&mut world, ABROAD, 60);
    let minutes = world.now.since(begin).as_secs_f64() / 60.0;
    assert!(is_in as f64 <= 20.0 + 10.0 * minutes + 1.0 && is_in >= 20, "{is_in} in {minutes} minutes");
    assert_eq!((kept_out(&world), world.reports.read()), (60 - is_in, None), "it may be a client in a hurry");
    let more = logins(&mut world, ABROAD, 400);
    assert!(more < 40, "{more}");
    assert_eq!(world.reports.read(), Some(Report::LoginFlood(USER.parse().expect("an id"))));
    // Nobody else has noticed anything.
    world.clients[0].wanted = 1;
    world.until("bob is answered", |world| world.totals.answered == 2);
    assert!(!world.totals.closes.contains(&CloseCode::TryLater), "{:?}", world.totals.closes);
}

#[test]
fn where_peers_of_this_machine_are_exempt_they_log_in_as_often_as_they_like() {
    for (exempt, from, all) in [(true, HERE, true), (true, ABROAD, false), (false, HERE, false)] {
        let mut world = world(exempt);
        assert_eq!(logins(&mut world, from, 40) == 40, all, "exempt: {exempt}, from {from:?}");
    }
}
