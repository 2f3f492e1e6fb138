//! The ends of links and streams that the targets play with: fixed keys, and one way to begin.

use std::sync::LazyLock;

use protocol::link::{Acceptor, ClientLink, Dial, ServerLink};
use protocol::noise::{Gate, Identity, PublicKey, StaticKey, Suite, Suites, TicketKeys};
use protocol::{Error, Time, UnixMillis};

use super::Arrivals;
use super::script::pieces;

/// The moment on the wall clock at which everything happens.
pub(super) const WALL: UnixMillis = UnixMillis(1_700_000_000_000);
/// The suites of links, in the order in which scripts name them.
pub(super) const LINK_SUITES: [Suite; 6] = [
    Suite::NkChaChaPoly,
    Suite::NkAesGcm,
    Suite::IkChaChaPoly,
    Suite::IkAesGcm,
    Suite::Nnpsk0ChaChaPoly,
    Suite::Nnpsk0AesGcm,
];
/// Those of a listener whose clients have no server key.
pub(super) const UNPINNED_SUITES: [Suite; 2] = [Suite::XxChaChaPoly, Suite::XxAesGcm];
/// Those that a narrow listener allows.
pub(super) const NARROW_SUITES: [Suite; 2] = [Suite::NkChaChaPoly, Suite::Nnpsk0ChaChaPoly];
/// Ephemeral secret of whoever asks.
pub(super) const ASKING: [u8; 32] = [0x22; 32];
/// Ephemeral secret of whoever answers.
pub(super) const ANSWERING: [u8; 32] = [0x33; 32];
pub(super) const GROUP_KEY: [u8; 32] = [0x77; 32];
/// The realm of all users.
pub(super) const REALM: &str = "realm";
pub(super) const PSK: [u8; 32] = [0x88; 32];

/// What all runs share, as making it costs curve operations.
pub(super) static PARTIES: LazyLock<Parties> = LazyLock::new(Parties::new);

pub(super) struct Parties {
    pub(super) acceptor: Acceptor,
    /// The same keys, but tickets and most suites are refused.
    pub(super) narrow: Acceptor,
    /// The same keys, for clients that have none of them. (A listener of a gateway has a key of its own for that.)
    pub(super) unpinned: Acceptor,
    pub(super) key: StaticKey,
    pub(super) server: PublicKey,
    pub(super) gate: Gate,
    pub(super) retired: PublicKey,
    pub(super) retired_gate: Gate,
    pub(super) device: StaticKey,
    pub(super) gateway: StaticKey,
    pub(super) backend: StaticKey,
    pub(super) backend_gate: Gate,
    pub(super) ticket: Vec<u8>,
}

impl Parties {
    fn new() -> Self {
        let key = StaticKey::from_secret([0x11; 32]);
        let retired = StaticKey::from_secret([0x12; 32]).public();
        let backend = StaticKey::from_secret([0x15; 32]);
        let server = key.public();
        let tickets = TicketKeys::new(GROUP_KEY, REALM, WALL);
        let ticket = tickets.issue(&identity(server), &[0x99; 16]).expect("a good identity");
        Self {
            narrow: Acceptor::new(key.clone(), Suites::of(&NARROW_SUITES), &[retired], None),
            unpinned: Acceptor::new(key.clone(), Suites::of(&UNPINNED_SUITES), &[retired], None),
            acceptor: Acceptor::new(key.clone(), Suites::of(&LINK_SUITES), &[retired], Some(tickets)),
            key,
            server,
            gate: Gate::new(&server),
            retired,
            retired_gate: Gate::new(&retired),
            device: StaticKey::from_secret([0x13; 32]),
            gateway: StaticKey::from_secret([0x14; 32]),
            backend_gate: Gate::new(&backend.public()),
            backend,
            ticket,
        }
    }

    /// The hello of an honest client, that never learned which suites are served.
    pub(super) fn dial(&self, suite: Suite, better: Suites) -> (Vec<u8>, ClientLink) {
        let mut hello = Vec::new();
        let client = self.redial(suite, better, Suites::NONE, &mut hello).expect("the keys fit the suite");
        (hello, client)
    }

    /// The same of one that learned it on an earlier link.
    pub(super) fn redial(
        &self,
        suite: Suite,
        better: Suites,
        served: Suites,
        hello: &mut Vec<u8>,
    ) -> Result<ClientLink, Error> {
        let wanted = matches!(suite, Suite::IkChaChaPoly | Suite::IkAesGcm);
        let dial = Dial {
            server: &self.server,
            gate: &self.gate,
            suite,
            better,
            served,
            device_key: wanted.then_some(&self.device),
            ticket: suite.is_ticket().then_some((&self.ticket, &PSK)),
        };
        ClientLink::dial(&dial, ASKING, Time::ZERO, hello)
    }

    /// A link between honest ends, with message 2 still to be heard by the client.
    pub(super) fn link(&self, suite: Suite) -> (ServerLink, ClientLink, Vec<u8>) {
        let (mut hello, client) = self.dial(suite, Suites::NONE);
        let (mut server, mut arrivals, mut answer) =
            (ServerLink::new(Time::ZERO), Arrivals::new(), Vec::new());
        for piece in pieces(&mut hello, &[40]) {
            arrivals
                .arrive(piece, |input| server.hail(input, &self.acceptor, &mut answer))
                .expect("an honest hello");
        }
        server
            .handshake(&hello, &self.acceptor, ANSWERING, Time::ZERO, WALL, &mut answer)
            .expect("an honest hello");
        (server, client, answer)
    }
}

/// Who the ticket says the client is.
pub(super) fn identity(server: PublicKey) -> Identity {
    Identity {
        psk: PSK.into(),
        origin_suite: Suite::NkChaChaPoly,
        server_key_id: server.key_id(),
        issued: WALL,
        auth_time: WALL,
        login: 0,
        token_exp: None,
        end: None,
        epoch: 3,
        user: b"alice".to_vec(),
        device: b"phone".to_vec(),
        device_key: None,
        bound_key: None,
        class: protocol::DeviceClass::Unknown,
        limit_class: Vec::new(),
    }
}
