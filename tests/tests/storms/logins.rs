//! Logins that are worth nothing any more: a later one of the same device has taken over, or a backend has said so.

use gateway::worker::Census;
use protocol::CloseCode;

use crate::backend::Order;
use crate::shape::Shape;
use crate::world::World;

const USER: &str = "user0";

/// Two clients of one device, each login of which has a name of its own. The first one is in, and has tickets.
fn world() -> World {
    let mut world = World::standing(Shape { delegated: true, tickets: true, ..Shape::plain(3, 2, 1) });
    world.backends[0].desk.logins = Some(0);
    for client in &mut world.clients {
        (client.name, client.device) = (USER.into(), "device");
        (client.wanted, client.stays, client.with_ticket) = (0, true, Some(false));
    }
    come(&mut world, 0, 1);
    world
}

/// A client comes, and waits until so many answers have come.
fn come(world: &mut World, client: usize, answers: u64) {
    world.clients[client].wanted = 1;
    world.until("it is in", |world| world.totals.answered == answers);
}

/// A client comes with a ticket of its last login, and is told why it may not.
fn comes_in_vain(world: &mut World, at: usize) -> CloseCode {
    let client = &mut world.clients[at];
    (client.closed, client.with_ticket, client.wanted) = (None, Some(true), 1);
    world.until("it hears why not", |world| world.clients[at].closed.is_some());
    world.clients[at].wanted = 0;
    world.clients[at].closed.expect("seen just now")
}

fn links(world: &World) -> usize {
    let count = |census: Census| census.links - census.lingering;
    world.workers.iter().map(|worker| count(worker.census())).sum()
}

#[test]
fn a_ticket_of_an_earlier_login_does_not_take_the_device_back() {
    let mut world = world();
    come(&mut world, 1, 2);
    assert_eq!(world.clients[0].closed, Some(CloseCode::Replaced));
    assert_eq!(comes_in_vain(&mut world, 0), CloseCode::Replaced);
    assert_eq!((world.clients[1].closed, links(&world)), (None, 1), "who has it keeps it");
}

#[test]
fn after_a_revocation_tickets_are_worth_nothing_and_a_new_login_is() {
    let mut world = world();
    world.backends[0].desk.orders.push_back(Order::Revoke { user: USER });
    world.until("the link is ended", |world| world.clients[0].closed.is_some());
    assert_eq!(comes_in_vain(&mut world, 0), CloseCode::AuthFailed);
    world.clients[0].with_ticket = Some(false);
    come(&mut world, 0, 2);
    assert_eq!(links(&world), 1);
}
