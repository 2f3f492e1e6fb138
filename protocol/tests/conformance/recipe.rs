//! Hellos of any kind: right ones, and those that no client sends.

use protocol::noise::preamble::{Hello, MAGIC, Preamble, VERSION};
use protocol::noise::{CLEAR_SUITE, Gate, Initiator, PublicKey, StaticKey, Suite, Suites, prologue};

use crate::keys::*;

/// What a hello is made from. The tag is always right, for its key.
#[derive(Clone)]
pub(crate) struct Recipe {
    pub(crate) version: u8,
    pub(crate) suite: u8,
    /// The server key it means.
    pub(crate) key: PublicKey,
    pub(crate) versions: u8,
    pub(crate) suites: u32,
    pub(crate) ticket: Vec<u8>,
    pub(crate) psk: [u8; 32],
    pub(crate) message_1: Message1,
}

#[derive(Clone)]
pub(crate) enum Message1 {
    /// As the suite wants it.
    Right,
    /// The same, with a bit flipped.
    Flipped,
    /// So many bytes of no meaning.
    Filler(usize),
}

/// A hello of a link as it should be.
pub(crate) fn link(suite: Suite) -> Recipe {
    Recipe {
        version: VERSION,
        suite: suite.byte(),
        key: public(SERVER_SECRET),
        versions: 1 << VERSION,
        suites: suite.bit(),
        ticket: Vec::new(),
        psk: PSK,
        message_1: Message1::Right,
    }
}

/// The same with a ticket.
pub(crate) fn with_ticket(ticket: Vec<u8>) -> Recipe {
    Recipe { ticket, ..link(Suite::Nnpsk0ChaChaPoly) }
}

/// A hello of a stream as it should be.
pub(crate) fn stream(suite: Suite) -> Recipe {
    Recipe { ticket: public(GATEWAY_SECRET).key_id().0.to_vec(), ..link(suite) }
}

/// One of a suite or version from the future, with the longest fields such a hello may have.
pub(crate) fn foreign(version: u8, suite: u8) -> Recipe {
    Recipe {
        version,
        suite,
        versions: 0b10 | 1_u8.checked_shl(version.into()).unwrap_or(0),
        suites: 1_u32.checked_shl(suite.into()).unwrap_or(0) & 0xff_ffff,
        ticket: vec![0x5c; 1024],
        message_1: Message1::Filler(4096),
        ..link(Suite::NkChaChaPoly)
    }
}

impl Recipe {
    /// The hello as it travels.
    pub(crate) fn hello(&self) -> Vec<u8> {
        let mut preamble = Preamble {
            version: self.version,
            suite: self.suite,
            key_id: self.key.key_id(),
            versions: self.versions,
            suites: Suites::from_bits(self.suites),
            ticket_len: u16::try_from(self.ticket.len()).expect("tickets are short"),
            tag: [0; 16],
        };
        let message_1 = self.message_1(&prologue(&preamble.fixed(), &self.ticket));
        preamble.tag = Gate::new(&self.key).tag(&preamble.fixed(), &self.ticket, &message_1);
        let mut out = Vec::new();
        Hello { preamble, ticket: &self.ticket, message_1: &message_1 }.encode(&mut out);
        out
    }

    fn message_1(&self, prologue: &[u8]) -> Vec<u8> {
        if let Message1::Filler(len) = self.message_1 {
            return vec![0x3e; len];
        }
        let suite = Suite::from_byte(self.suite).expect("a suite that is known");
        let own = if suite.is_stream() { GATEWAY_SECRET } else { DEVICE_SECRET };
        let mut out = Vec::new();
        Initiator::create(
            suite,
            Some(&StaticKey::from_secret(own)),
            Some(&self.key),
            Some(&self.psk),
            prologue,
            INITIATOR_EPHEMERAL,
            &mut out,
        )
        .expect("good keys");
        if matches!(self.message_1, Message1::Flipped) {
            *out.last_mut().expect("it has bytes") ^= 1;
        }
        out
    }
}

/// The preamble of a clear stream.
pub(crate) fn clear() -> Vec<u8> {
    let mut bytes = [&MAGIC[..], &[VERSION, CLEAR_SUITE, 0, 0, 0, 0, 1 << VERSION]].concat();
    bytes.resize(32, 0);
    bytes
}

/// The same bytes with this one changed.
pub(crate) fn with_byte(mut bytes: Vec<u8>, at: usize, value: u8) -> Vec<u8> {
    assert_ne!(bytes[at], value, "it changes");
    bytes[at] = value;
    bytes
}

/// The same bytes with the lowest bit of one flipped.
pub(crate) fn flipped(mut bytes: Vec<u8>, at: usize) -> Vec<u8> {
    bytes[at] ^= 1;
    bytes
}
