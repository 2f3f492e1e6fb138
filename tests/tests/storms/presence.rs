//! Backends that keep track of who is there. SPEC.md, section "Links, presence".

use crate::shape::Shape;
use crate::world::World;

/// Two workers and two backends that share a route with presence.
fn world() -> World {
    let mut world = World::standing(Shape::plain(2, 12, 2));
    for (index, client) in world.clients.iter_mut().enumerate() {
        client.name = format!("user{index}");
        client.stays = true;
    }
    world
}

/// How many links backends know of.
fn known(world: &World) -> [usize; 2] {
    [0, 1].map(|backend| world.backends[backend].present().len())
}

#[test]
fn a_backend_that_comes_back_hears_of_each_link_of_its_users_and_the_other_one_of_none() {
    let mut world = world();
    world.until("all links are announced", |world| known(world).iter().sum::<usize>() == 12);
    let [mut first, second] = [0, 1].map(|backend| world.backends[backend].present());
    assert!(!first.is_empty() && !second.is_empty(), "the users are spread: {first:?} {second:?}");

    world.backends[0].go_away();
    let (&link, user) = first.first_key_value().expect("it has users");
    let leaver = world.clients.iter().position(|client| client.name.as_bytes() == user).expect("its client");
    world.clients[leaver].stays = false;
    world.until("its client has left", |world| world.clients[leaver].is_done());
    (0..200).for_each(|_| world.step());
    assert_eq!(known(&world), [0, second.len()], "nobody is told of links that are not its own");

    world.backends[0].come_back();
    first.remove(&link);
    world.until("the links are announced again", |world| known(world)[0] == first.len());
    world.until("and that these are all", |world| world.backends[0].announced() == Some(first.len()));
    (0..200).for_each(|_| world.step());
    assert_eq!([0, 1].map(|backend| world.backends[backend].present()), [first, second]);

    world.clients.iter_mut().for_each(|client| client.stays = false);
    world.until("all ends are announced", |world| known(world) == [0, 0]);
}

#[test]
fn a_link_that_opens_while_its_backend_is_away_is_closed_at_whoever_was_told_of_it() {
    let mut world = world();
    world.backends[0].go_away();
    world.until("the other one hears of all", |world| known(world) == [0, 12]);
    world.backends[0].come_back();
    world.until("its own are announced", |world| known(world)[0] > 0);
    (0..200).for_each(|_| world.step());
    let [first, second] = [0, 1].map(|backend| world.backends[backend].present());
    assert!(first.len() < 12 && first.iter().all(|(link, user)| second.get(link) == Some(user)));

    world.clients.iter_mut().for_each(|client| client.stays = false);
    world.until("both hear of the ends", |world| known(world) == [0, 0]);
}
