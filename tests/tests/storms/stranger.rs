//! Peers that do not belong here.

use driver::sim::{Buffers, Net, Rng, Socket, State};
use driver::{Endpoint, Peer};
use protocol::Time;
use protocol::limits::{CLEAR_REPLY_LEN, MESSAGE_1_LEN_MAX_UNKNOWN, TICKET_LEN_MAX_UNKNOWN};
use protocol::noise::preamble::ClearReply;
use protocol::noise::{Gate, StaticKey};

use crate::balancer::{Way, balancer, check};
use crate::settings::{SERVER, dialled_unpinned};

/// Somebody who does not know the gateway's key, and hears nothing.
pub(crate) struct Stranger {
    socket: Socket,
    unsent: Vec<u8>,
    said: usize,
    /// Bytes it may hear.
    may_hear: usize,
    /// What it has heard.
    heard: Vec<u8>,
    /// Whether it goes when it has said everything.
    goes: bool,
    /// What it says when it has heard something.
    behind: Vec<u8>,
}

impl Stranger {
    pub(crate) fn new(net: &Net, place: &Endpoint, way: Way, rng: &mut Rng) -> Self {
        let mut unsent = vec![0; 1 + rng.below(400)];
        rng.fill(&mut unsent);
        let known = [&b""[..], b"\xac\xce\x55\x0a", b"\xac\xce\x55\x0a\x01\x01"][rng.below(3)];
        let known = &known[..known.len().min(unsent.len())];
        unsent[..known.len()].copy_from_slice(known);
        Self::coming(net, place, way, unsent, 0)
    }

    fn coming(net: &Net, place: &Endpoint, way: Way, said: Vec<u8>, may_hear: usize) -> Self {
        let (from, unsent) = way.carry(said.len() as u64, [10, 0, 0, 66], said);
        let socket = dial(net, place, from);
        Self { socket, unsent, said: 0, may_hear, heard: Vec::new(), goes: false, behind: Vec::new() }
    }

    /// A balancer that looks whether the gateway is there.
    pub(crate) fn checking(net: &Net, place: &Endpoint) -> Self {
        let socket = dial(net, place, balancer());
        let (heard, behind) = (Vec::new(), Vec::new());
        Self { socket, unsent: check(), said: 0, may_hear: 0, heard, goes: true, behind }
    }

    /// Somebody who has recorded a hello with a ticket. The worker that has seen it says nothing, or that it has no time for
    /// it; another one answers the handshake and then says, sealed, that nobody has authenticated: of no use without the
    /// secret.
    pub(crate) fn replaying(net: &Net, place: &Endpoint, way: Way, hello: Vec<u8>, workers: usize) -> Self {
        let may_hear = if workers == 1 { CLEAR_REPLY_LEN } else { MESSAGE_2_LEN + CLOSE_LEN };
        Self::coming(net, place, way, hello, may_hear)
    }

    /// A client of a later version of the protocol's text. It knows the key, and so it is told what is spoken here, however
    /// long its hello is.
    pub(crate) fn from_the_future(net: &Net, place: &Endpoint, way: Way, rng: &mut Rng) -> Self {
        let server = StaticKey::from_secret(SERVER).public();
        let ticket = vec![b't'; rng.below(TICKET_LEN_MAX_UNKNOWN + 1)];
        let message_1 = vec![b'm'; 1 + rng.below(MESSAGE_1_LEN_MAX_UNKNOWN)];
        let (version, suite) = [(1, 11), (1, 17), (2, 1)][rng.below(3)];
        let mut fixed = [0xac, 0xce, 0x55, 0x0a, version, suite, 0, 0, 0, 0, 1 << version, 0, 0, 0, 0, 0];
        fixed[6..10].copy_from_slice(&server.key_id().0);
        fixed[11..14].copy_from_slice(&(1_u32 << suite).to_be_bytes()[1..]);
        fixed[14..].copy_from_slice(&(ticket.len() as u16).to_be_bytes());
        let tag = Gate::new(&server).tag(&fixed, &ticket, &message_1);
        let length = (message_1.len() as u16).to_be_bytes();
        let unsent = [&fixed[..], &tag, &ticket, &length, &message_1].concat();
        Self::coming(net, place, way, unsent, CLEAR_REPLY_LEN)
    }

    /// Somebody who comes without a server key, where all do: it hears message 2, or that there is no time, and goes no further,
    /// or says what is no message 3.
    pub(crate) fn half_way(net: &Net, place: &Endpoint, way: Way, rng: &mut Rng) -> Self {
        let (mut hello, mut ephemeral) = (Vec::new(), [0; 32]);
        rng.fill(&mut ephemeral);
        dialled_unpinned(rng, Time::ZERO, ephemeral, &mut hello);
        let junk = [&[][..], &[0, 64], &[0, 63], &[7; 66]][rng.below(4)];
        let whole = [&[0, 64][..], &[7; 64]].concat();
        let mut stranger = Self::coming(net, place, way, hello, UNPINNED_MESSAGE_2_LEN);
        stranger.behind = if rng.one_in(3) { whole } else { junk.to_vec() };
        stranger
    }

    /// Whether it was told in clear what is spoken here.
    pub(crate) fn is_told(&self) -> bool {
        matches!(ClearReply::decode(&self.heard), Ok(Some(reply)) if reply.versions == 2 && reply.wait == 0)
    }

    /// Whether the gateway still listens.
    pub(crate) fn step(&mut self) -> bool {
        if !self.heard.is_empty() {
            self.unsent.append(&mut self.behind);
        }
        self.said += self.socket.write(&self.unsent[self.said..]);
        self.socket.read(&mut self.heard, 64);
        assert!(self.heard.len() <= self.may_hear, "a stranger was answered: {:?}", self.heard);
        let has_gone = self.goes && self.said == self.unsent.len();
        !has_gone && matches!(self.socket.state(), State::Open | State::Connecting)
    }
}

fn dial(net: &Net, place: &Endpoint, from: Peer) -> Socket {
    net.connect(place, from, Buffers { send: 256, receive: 256 })
}

/// Length, ephemeral key, offer and tag.
const MESSAGE_2_LEN: usize = 2 + 52;
/// The same with the server's key in it.
const UNPINNED_MESSAGE_2_LEN: usize = 2 + 100;
/// The record of `Close(auth_timeout)`.
const CLOSE_LEN: usize = 2 + 35;
