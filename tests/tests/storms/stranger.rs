//! Peers that do not belong here.

use driver::sim::{Buffers, Net, Rng, Socket, State};
use driver::{Endpoint, Peer};

/// Somebody who does not know the gateway's key, and hears nothing.
pub(crate) struct Stranger {
    socket: Socket,
    unsent: Vec<u8>,
    said: usize,
}

impl Stranger {
    pub(crate) fn new(net: &Net, place: &Endpoint, rng: &mut Rng) -> Self {
        let from = Peer::Tcp(([10, 0, 0, 66], 1000).into());
        let socket = net.connect(place, from, Buffers { send: 256, receive: 256 });
        let mut unsent = vec![0; 1 + rng.below(400)];
        rng.fill(&mut unsent);
        let known = [&b""[..], b"\xac\xce\x55\x0a", b"\xac\xce\x55\x0a\x01\x01"][rng.below(3)];
        let known = &known[..known.len().min(unsent.len())];
        unsent[..known.len()].copy_from_slice(known);
        Self { socket, unsent, said: 0 }
    }

    /// Whether the gateway still listens.
    pub(crate) fn step(&mut self) -> bool {
        self.said += self.socket.write(&self.unsent[self.said..]);
        let mut heard = Vec::new();
        self.socket.read(&mut heard, 64);
        assert!(heard.is_empty(), "a stranger was answered: {heard:?}");
        matches!(self.socket.state(), State::Open | State::Connecting)
    }
}
