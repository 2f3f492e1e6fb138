//! A client that does not wait for its welcome: what it sends is held, up to a bound, and then it is not read.

use driver::Peer;
use driver::sim::Buffers;
use protocol::Time;
use protocol::buffer::{Input, Partials, Place};
use protocol::limits::HELD_BYTES_MAX;
use protocol::link::{ClientLink, Dial};
use protocol::noise::{Gate, StaticKey, Suite, Suites};
use protocol::wire::frame::{Auth, Frame, Request};

use crate::settings::SERVER;
use crate::shape::Shape;
use crate::world::World;

/// What may be held beyond the bound: the record that reaches it, and the next one as far as it has come.
const BEYOND_MAX: usize = 1500;

#[test]
fn a_client_whose_token_is_being_judged_is_read_up_to_a_bound_however_its_bytes_come() {
    let mut world = World::quiet(Shape { delegated: true, ..Shape::plain(1, 0, 1) });
    world.backends[0].desk.mute_until = Time::from_nanos(u64::MAX);
    (0..200).for_each(|_| world.step());
    let from = Peer::Tcp(([10, 0, 0, 66], 1000).into());
    let socket = world.net.connect(&world.front, from, Buffers { send: 256, receive: 256 });
    let server = StaticKey::from_secret(SERVER).public();
    let dial = Dial {
        server: &server,
        gate: &Gate::new(&server),
        suite: Suite::NkChaChaPoly,
        better: Suites::NONE,
        served: Suites::NONE,
        device_key: None,
        ticket: None,
    };
    let mut unsent = Vec::new();
    let mut link = ClientLink::dial(&dial, [8; 32], Time::ZERO, &mut unsent).expect("the keys fit the suite");
    let (mut partials, mut place, mut said_auth, mut held) = (Partials::new(1 << 16), Place::NONE, false, 0);
    for _ in 0..2000 {
        // A byte here and a few there: each is a chunk of its own.
        let most = if said_auth { unsent.len() } else { unsent.len().min(16) };
        let written = socket.write(&unsent[..most]);
        unsent.drain(..written);
        world.step();
        let mut heard = Vec::new();
        socket.read(&mut heard, 256);
        let mut input = Input::new(&mut heard, partials.take(place).expect("there is room"));
        if link.receive(&mut input, Time::ZERO) != Ok(None) {
            break; // nobody has judged the token in time
        }
        place = partials.keep(place, 0, input.into_rest()).expect("there is room");
        if unsent.is_empty() && link.is_open() {
            let request = Frame::Request(Request {
                id: [1; 16],
                route: "echo",
                payload: &[7; 900],
                ..Request::default()
            });
            let auth =
                Frame::Auth(Auth { token: b"token", user: b"eve", device: b"phone", ..Auth::default() });
            let frame = if said_auth { request } else { auth };
            said_auth = true;
            unsent.extend_from_slice(&[0; 2]);
            frame.encode(&mut unsent);
            link.seal(&mut unsent, 0, 1000);
        }
        let census = world.workers[0].census();
        held = held.max(census.stranger_bytes);
        // In buffers up to twice as large.
        assert!(held <= 2 * (HELD_BYTES_MAX + BEYOND_MAX), "{held} bytes are held");
    }
    assert!(held > HELD_BYTES_MAX / 2, "it was read for a while: {held}");
}
