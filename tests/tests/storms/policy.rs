//! Which of a user's devices may be linked, when several of them come at once, to whichever worker.

use protocol::{CloseCode, DeviceClass};

use crate::shape::Shape;
use crate::talker::Talker;
use crate::world::World;

const ABROAD: [u8; 4] = [10, 0, 9, 9];

fn world(workers: usize) -> World {
    let shape = Shape { few_devices: true, letters: 2, strangers: 64, ..Shape::plain(workers, 0, 1) };
    let mut world = World::standing(shape);
    world.backends.iter_mut().for_each(|backend| backend.desk.roaming = true);
    world
}

fn dial(world: &World, device: &str, class: DeviceClass) -> Talker {
    Talker::dial(world, "alice", device, ABROAD, 20_000).of_class(class)
}

fn settle(world: &mut World, talkers: &mut [Talker]) {
    for _ in 0..600 {
        world.step();
        talkers.iter_mut().for_each(|talker| talker.step(world.now));
    }
}

#[test]
fn of_phones_that_race_one_stays_and_all_others_are_told_to_stay_away() {
    for workers in 1..=3 {
        let mut world = world(workers);
        let devices: Vec<String> = (0..6).map(|number| format!("phone {number}")).collect();
        let mut talkers: Vec<Talker> =
            devices.iter().map(|device| dial(&world, device, DeviceClass::Phone)).collect();
        settle(&mut world, &mut talkers);
        let (stay, gone): (Vec<_>, Vec<_>) = talkers.iter().partition(|talker| talker.is_there());
        assert_eq!((stay.len(), gone.len()), (1, 5), "with {workers} workers");
        assert!(stay[0].heard.welcome);
        for talker in gone {
            let heard = &talker.heard;
            assert_eq!((heard.closed, heard.stays_away), (Some(CloseCode::Replaced), true), "{heard:?}");
        }
        // And the last one takes its place.
        talkers.push(dial(&world, "the last", DeviceClass::Phone));
        settle(&mut world, &mut talkers);
        let there: Vec<_> = talkers.iter().map(Talker::is_there).collect();
        assert_eq!((there.iter().filter(|is| **is).count(), there[6]), (1, true));
        assert_eq!(sessions(&world), 1);
    }
}

#[test]
fn of_desktops_that_race_one_stays_and_the_others_are_refused() {
    let mut world = world(3);
    let devices: Vec<String> = (0..6).map(|number| format!("desk {number}")).collect();
    let mut talkers: Vec<Talker> =
        devices.iter().map(|device| dial(&world, device, DeviceClass::Desktop)).collect();
    talkers.push(dial(&world, "phone", DeviceClass::Phone));
    settle(&mut world, &mut talkers);
    let there = talkers.iter().filter(|talker| talker.is_there()).count();
    assert_eq!((there, sessions(&world)), (2, 2), "a desktop and the phone");
    let told = [DeviceClass::Phone, DeviceClass::Desktop].map(DeviceClass::number);
    assert!(world.backends[0].desk.classes.iter().eq(&told), "{:?}", world.backends[0].desk.classes);
    for heard in talkers.iter().filter(|talker| !talker.is_there()).map(|talker| &talker.heard) {
        assert!(!heard.welcome);
        assert_eq!((heard.closed, heard.stays_away), (Some(CloseCode::DeviceRefused), true), "{heard:?}");
    }
    // The place is free again when it has gone.
    talkers.retain(|talker| !talker.is_there());
    settle(&mut world, &mut talkers);
    let mut home = vec![dial(&world, "home", DeviceClass::Desktop)];
    settle(&mut world, &mut home);
    assert!(home[0].heard.welcome && home[0].is_there(), "{:?}", home[0].heard);
}

fn sessions(world: &World) -> usize {
    world.workers.iter().map(|worker| worker.census().sessions).sum()
}
