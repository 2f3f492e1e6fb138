//! Peers that do not belong here.

use driver::sim::{Buffers, Net, Rng, Socket, State};
use driver::{Endpoint, Peer};

/// Somebody who does not know the gateway's key, and hears nothing.
pub(crate) struct Stranger {
    socket: Socket,
    unsent: Vec<u8>,
    said: usize,
    /// Bytes it may hear.
    may_hear: usize,
}

impl Stranger {
    pub(crate) fn new(net: &Net, place: &Endpoint, rng: &mut Rng) -> Self {
        let mut unsent = vec![0; 1 + rng.below(400)];
        rng.fill(&mut unsent);
        let known = [&b""[..], b"\xac\xce\x55\x0a", b"\xac\xce\x55\x0a\x01\x01"][rng.below(3)];
        let known = &known[..known.len().min(unsent.len())];
        unsent[..known.len()].copy_from_slice(known);
        Self { socket: dial(net, place), unsent, said: 0, may_hear: 0 }
    }

    /// Somebody who has recorded a hello with a ticket. The worker that has seen it says nothing; another one
    /// answers the handshake and then says, sealed, that nobody has authenticated: of no use without the secret.
    pub(crate) fn replaying(net: &Net, place: &Endpoint, hello: Vec<u8>, workers: usize) -> Self {
        let may_hear = if workers == 1 { 0 } else { MESSAGE_2_LEN + CLOSE_LEN };
        Self { socket: dial(net, place), unsent: hello, said: 0, may_hear }
    }

    /// Whether the gateway still listens.
    pub(crate) fn step(&mut self) -> bool {
        self.said += self.socket.write(&self.unsent[self.said..]);
        let mut heard = Vec::new();
        self.socket.read(&mut heard, 64);
        assert!(heard.len() <= self.may_hear, "a stranger was answered: {heard:?}");
        self.may_hear -= heard.len();
        matches!(self.socket.state(), State::Open | State::Connecting)
    }
}

fn dial(net: &Net, place: &Endpoint) -> Socket {
    let from = Peer::Tcp(([10, 0, 0, 66], 1000).into());
    net.connect(place, from, Buffers { send: 256, receive: 256 })
}

/// Length, ephemeral key, offer and tag.
const MESSAGE_2_LEN: usize = 2 + 52;
/// The record of `Close(auth_timeout)`.
const CLOSE_LEN: usize = 2 + 35;
