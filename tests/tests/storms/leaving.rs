//! Backends that leave and say so.

use std::time::Duration;

use crate::backend::Order;
use crate::client::Script;
use crate::shape::Shape;
use crate::world::World;

#[test]
fn who_is_about_to_leave_gets_nothing_new() {
    let mut world = World::standing(Shape::plain(1, 1, 3));
    world.clients[0].name = "dora".into(); // the hash of the user is for the second backend
    world.clients[0].script = Some(Script { lane: ("echo", ""), len: 10, window: 1 });
    (world.clients[0].wanted, world.clients[0].stays) = (1, true);
    world.until("it is answered", |world| world.totals.answered == 1);
    let desk = &mut world.backends[1].desk;
    desk.hasty = false;
    desk.orders.push_back(Order::Leave { after: Duration::from_secs(3) });
    world.until("the gateway knows", |world| world.counters[0].endpoints[1].left_out.get() == 1);
    world.clients[0].wanted = 4;
    world.until("all are answered", |world| world.totals.answered == 5);
    assert_eq!([0, 1].map(|at| world.backends[at].desk.known.len()), [4, 1]);
    world.until("it has left", |world| world.workers[0].census().streams == 2);
    world.until("it is back", |world| world.workers[0].census().streams == 3);
    world.clients[0].wanted = 1;
    world.until("it is asked again", |world| world.backends[1].desk.known.len() == 2);
}

#[test]
fn who_asks_not_to_be_dialled_for_a_while_is_not() {
    let mut world = World::standing(Shape::plain(2, 0, 1));
    assert_eq!(world.backends[0].desk.born, 2, "one stream of each worker");
    let wait = Duration::from_secs(4);
    world.backends[0].desk.orders.push_back(Order::Close { wait });
    let streams = |world: &World| world.workers.iter().map(|worker| worker.census().streams).sum::<usize>();
    world.until("one stream is over", |world| streams(world) == 1);
    world.pass(wait - Duration::from_millis(100));
    assert_eq!((world.backends[0].desk.born, streams(&world)), (2, 1));
    world.until("it is dialled again", |world| streams(world) == 2);
}
