//! What a backend gets wrong about one link, which must cost nobody else anything.

use driver::sim::Rng;
use protocol::Undelivered;
use protocol::stream::BackendStream;
use protocol::wire::stream::{Kick, StreamPush};

/// Says something that cannot be meant, about a link and its user. Where it is a push of this number, returns what has
/// to be reported of it.
pub(crate) fn commit(
    machine: &mut BackendStream,
    number: u64,
    (link, user): (u64, &[u8]),
    rng: &mut Rng,
) -> Option<Undelivered> {
    let push = StreamPush { number, payload: b"to nobody", ..StreamPush::default() };
    let (push, reason) = match rng.below(5) {
        0 => (StreamPush { link, user, ..push }, Undelivered::Malformed),
        1 => (push, Undelivered::Malformed),
        2 => (StreamPush { user: &[b'u'; 65], ..push }, Undelivered::Malformed),
        3 => (StreamPush { room: b"lobby", ..push }, Undelivered::Unsupported),
        _ => {
            machine.kick(&Kick { link, user, ..Kick::default() });
            return None;
        }
    };
    machine.push(&push).ok().map(|()| reason)
}
