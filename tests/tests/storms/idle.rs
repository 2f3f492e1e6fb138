//! What links leave behind that come one after the other and then say nothing.

use crate::shape::Shape;
use crate::world::World;

const LINKS: usize = 200;
/// What a worker has at hand that serves one link at a time: buffers of its start, and a few of each size it used.
const IDLE_BYTES_MAX: u64 = 32 << 10;

#[test]
fn buffers_do_not_grow_in_number_with_the_links_that_used_them() {
    // A welcome with tickets outgrows the buffer it was begun in.
    let mut world =
        World::standing(Shape { slots: LINKS as u32 + 8, tickets: true, ..Shape::plain(1, LINKS, 1) });
    world.clients.iter_mut().for_each(|client| (client.stays, client.wanted) = (true, 0));
    for link in 0..LINKS {
        world.clients[link].wanted = 1;
        world.until("it is in and has its answer", |world| world.totals.answered == 1 + link as u64);
    }
    assert!(world.counters[0].handshakes.get() >= LINKS as u64);
    let idle = world.counters[0].idle_buffer_bytes.get();
    assert!(idle <= IDLE_BYTES_MAX, "{LINKS} links left {idle} bytes of buffers");
}
