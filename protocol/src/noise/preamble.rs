//! The hello: preamble, ticket, message 1; and the clear reply to one that can't be served. SPEC.md, section
//! "Preamble".
//!
//! ```text
//! hello    magic 4 ‖ version 1 ‖ suite 1 ‖ key id 4 ‖ versions u8 ‖ suites u24 ‖ ticket length u16 ‖ tag 16
//!          └──────────────────────────── the fixed 16 bytes ────────────────────────────┘
//!          ‖ ticket ‖ u16 length ‖ message 1                 (all numbers big-endian)
//! reply    magic 4 ‖ version 1 ‖ reason 1 ‖ versions u8 ‖ suites u24 ‖ current key id 4 ‖ u16 wait
//! ```
//!
//! Layout and tag are the same in every version, so that a server can tell its own kind from strangers before it
//! knows whether it speaks the version. A clear stream ends its hello after the preamble.

use std::time::Duration;

use crate::error::Error;
use crate::limits::{
    BUSY_MAX, BUSY_UNIT, CLEAR_REPLY_LEN, GATE_TAG_LEN, PREAMBLE_LEN, TICKET_LEN_MAX, TICKET_LEN_MAX_UNKNOWN,
};
use crate::noise::{CLEAR_SUITE, KeyId, Suite, Suites};

/// The first bytes of a hello and of a clear reply.
pub const MAGIC: [u8; 4] = [0xac, 0xce, 0x55, 0x0a];
/// The version of this text.
pub const VERSION: u8 = 1;
/// The set of versions spoken here: bit n is version n.
pub const VERSIONS: u8 = 1 << VERSION;

/// The fixed part of a hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preamble {
    /// The version in use, at least 1.
    pub version: u8,
    /// The suite in use, as its byte: it may be unknown here.
    pub suite: u8,
    /// Which server key the client means.
    pub key_id: KeyId,
    /// The versions the client offers: bit n is version n.
    pub versions: u8,
    /// The suites the client offers; none on a stream.
    pub suites: Suites,
    /// Bytes of the ticket field: at most [`TICKET_LEN_MAX`] with a version and suite of ours, at most
    /// [`TICKET_LEN_MAX_UNKNOWN`] with others.
    pub ticket_len: u16,
    /// The gate tag.
    pub tag: [u8; GATE_TAG_LEN],
}

impl Preamble {
    /// The part that tag and prologue cover: everything but the tag.
    #[must_use]
    pub fn fixed(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = self.version;
        bytes[5] = self.suite;
        bytes[6..10].copy_from_slice(&self.key_id.0);
        bytes[10..14].copy_from_slice(&encode_offer(self.versions, self.suites));
        bytes[14..].copy_from_slice(&self.ticket_len.to_be_bytes());
        bytes
    }

    /// The suite, if version and suite are known here. The length of message 1 follows from it then.
    #[must_use]
    pub const fn known_suite(&self) -> Option<Suite> {
        if self.version == VERSION { Suite::from_byte(self.suite) } else { None }
    }

    /// Whether version and suite in use are among those offered.
    #[must_use]
    pub const fn offers_what_it_uses(&self) -> bool {
        let version = self.version < 8 && self.versions >> self.version & 1 == 1;
        match self.known_suite() {
            Some(suite) if !suite.is_stream() => version && self.suites.contains(suite),
            _ => version && self.suites.is_empty(),
        }
    }

    /// Whether this opens a clear stream, which has no handshake.
    #[must_use]
    pub const fn is_clear(&self) -> bool {
        self.version == VERSION && self.suite == CLEAR_SUITE
    }

    /// The preamble as it travels.
    #[must_use]
    pub fn encode(&self) -> [u8; PREAMBLE_LEN] {
        let mut bytes = [0; PREAMBLE_LEN];
        bytes[..16].copy_from_slice(&self.fixed());
        bytes[16..].copy_from_slice(&self.tag);
        bytes
    }

    /// Reads a preamble from the front of `bytes`, or `None` if it is not complete yet. A stranger is told by the
    /// first wrong byte.
    ///
    /// # Errors
    /// [`Error::Magic`] if this is another protocol, [`Error::Preamble`] for version 0 or a ticket longer than
    /// allowed.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, Error> {
        if bytes.iter().zip(&MAGIC).any(|(got, want)| got != want) {
            return Err(Error::Magic);
        }
        let Some(bytes) = bytes.first_chunk::<PREAMBLE_LEN>() else { return Ok(None) };
        let preamble = Self {
            version: bytes[4],
            suite: bytes[5],
            key_id: KeyId([bytes[6], bytes[7], bytes[8], bytes[9]]),
            versions: bytes[10],
            suites: Suites::from_bits(u32::from_be_bytes([0, bytes[11], bytes[12], bytes[13]])),
            ticket_len: u16::from_be_bytes([bytes[14], bytes[15]]),
            tag: *bytes[16..].first_chunk().expect("a preamble ends with the tag"),
        };
        let ticket_len_max =
            if preamble.known_suite().is_some() { TICKET_LEN_MAX } else { TICKET_LEN_MAX_UNKNOWN };
        if preamble.version == 0 || usize::from(preamble.ticket_len) > ticket_len_max {
            return Err(Error::Preamble);
        }
        Ok(Some(preamble))
    }
}

/// A complete hello, borrowed from the bytes it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello<'b> {
    /// The fixed part.
    pub preamble: Preamble,
    /// The ticket; empty if there is none.
    pub ticket: &'b [u8],
    /// Message 1; empty in the hello of a clear stream, which has none.
    pub message_1: &'b [u8],
}

impl<'b> Hello<'b> {
    /// Reads a hello of a version and suite known here from the front of `bytes`: itself and its length, or `None` if it
    /// is not complete yet. No more than [`crate::limits::HELLO_LEN_MAX`] bytes are ever waited for.
    ///
    /// # Errors
    /// Those of [`Preamble::decode`]; [`Error::Version`] or [`Error::Suite`] if one of them is not known, as such hellos
    /// are not kept (`noise/exchange.rs` hashes them as they come); [`Error::HandshakeLength`] if message 1 is not as long as the suite
    /// has it; [`Error::Preamble`] if a clear stream brings a ticket.
    pub fn decode(bytes: &'b [u8]) -> Result<Option<(Self, usize)>, Error> {
        let Some(preamble) = Preamble::decode(bytes)? else { return Ok(None) };
        let rest = &bytes[PREAMBLE_LEN..];
        if preamble.is_clear() {
            if preamble.ticket_len != 0 {
                return Err(Error::Preamble);
            }
            return Ok(Some((Self { preamble, ticket: &[], message_1: &[] }, PREAMBLE_LEN)));
        }
        if preamble.version != VERSION {
            return Err(Error::Version);
        }
        let suite = preamble.known_suite().ok_or(Error::Suite)?;
        let Some((ticket, rest)) = rest.split_at_checked(usize::from(preamble.ticket_len)) else {
            return Ok(None);
        };
        let Some((length, rest)) = rest.split_first_chunk() else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes(*length));
        if length != suite.message_1_len() {
            return Err(Error::HandshakeLength(length));
        }
        let Some(message_1) = rest.get(..length) else { return Ok(None) };
        let hello_len = PREAMBLE_LEN + ticket.len() + 2 + length;
        Ok(Some((Self { preamble, ticket, message_1 }, hello_len)))
    }

    /// Appends the hello as it travels.
    ///
    /// The caller keeps the lengths in step: `preamble.ticket_len` is the ticket's, and message 1 came from
    /// [`crate::noise::Initiator::create`] or is empty for a clear stream.
    pub fn encode(&self, out: &mut Vec<u8>) {
        debug_assert_eq!(usize::from(self.preamble.ticket_len), self.ticket.len());
        out.extend_from_slice(&self.preamble.encode());
        if self.preamble.is_clear() {
            return;
        }
        let length = u16::try_from(self.message_1.len()).expect("message 1 has at most 96 bytes");
        out.extend_from_slice(self.ticket);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(self.message_1);
    }
}

/// Why a hello with a good tag can't be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Rejection {
    /// No common version.
    Version = 1,
    /// No common suite.
    Suite = 2,
    /// The named server key is retired.
    RetiredKey = 3,
    /// There are too many at a time. The wait is in the reply.
    Busy = 4,
    /// No key opens the ticket, or it is worth nothing here any more.
    TicketRefused = 5,
}

impl Rejection {
    /// The reason of this number; `None` for one that only a later version knows.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Version, Self::Suite, Self::RetiredKey, Self::Busy, Self::TicketRefused]
            .into_iter()
            .find(|reason| *reason as u8 == number)
    }
}

/// The one thing the server ever says in the clear. Anybody could have written it, so it is only a hint: a client
/// may try again with something else from its own list and must never fall back to less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClearReply {
    /// Why, as the number of a [`Rejection`] or of one a later version knows.
    pub reason: u8,
    /// The versions the server speaks.
    pub versions: u8,
    /// The suites the server speaks here.
    pub suites: Suites,
    /// The server key in use now.
    pub key_id: KeyId,
    /// How long to stay away, in units of [`BUSY_UNIT`]; 0 but for [`Rejection::Busy`].
    pub wait: u16,
}

/// Version of the clear reply's layout, the same in all versions of the protocol.
const LAYOUT: u8 = 1;

impl ClearReply {
    /// The reply as it travels.
    #[must_use]
    pub fn encode(&self) -> [u8; CLEAR_REPLY_LEN] {
        let mut bytes = [0; CLEAR_REPLY_LEN];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = LAYOUT;
        bytes[5] = self.reason;
        bytes[6..10].copy_from_slice(&encode_offer(self.versions, self.suites));
        bytes[10..14].copy_from_slice(&self.key_id.0);
        bytes[14..].copy_from_slice(&self.wait.to_be_bytes());
        bytes
    }

    /// How long a busy server wants the client to stay away, within what a client grants anybody on the path. Zero for
    /// other reasons.
    #[must_use]
    pub fn busy_for(&self) -> Duration {
        let is_busy = self.reason == Rejection::Busy as u8;
        if is_busy { (BUSY_UNIT * u32::from(self.wait)).min(BUSY_MAX) } else { Duration::ZERO }
    }

    /// Whether an answer that begins with `bytes` is a clear reply: read as the length of message 2, the magic is
    /// longer than any. `None` if there are too few bytes to tell.
    #[must_use]
    pub fn announced(bytes: &[u8]) -> Option<bool> {
        bytes.first_chunk::<2>().map(|first| *first == [MAGIC[0], MAGIC[1]])
    }

    /// Reads a reply from the front of `bytes`, or `None` if it is not complete yet.
    ///
    /// # Errors
    /// [`Error::Magic`] if it is none, or one of a layout that is not known.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, Error> {
        if bytes.iter().zip(MAGIC.iter().chain(&[LAYOUT])).any(|(got, want)| got != want) {
            return Err(Error::Magic);
        }
        let Some(bytes) = bytes.first_chunk::<CLEAR_REPLY_LEN>() else { return Ok(None) };
        Ok(Some(Self {
            reason: bytes[5],
            versions: bytes[6],
            suites: Suites::from_bits(u32::from_be_bytes([0, bytes[7], bytes[8], bytes[9]])),
            key_id: KeyId([bytes[10], bytes[11], bytes[12], bytes[13]]),
            wait: u16::from_be_bytes([bytes[14], bytes[15]]),
        }))
    }
}

/// Versions and suites as they travel: in the preamble, in the clear reply, and as payload of message 2.
#[must_use]
pub fn encode_offer(versions: u8, suites: Suites) -> [u8; 4] {
    let [_, suites @ ..] = suites.bits().to_be_bytes();
    [versions, suites[0], suites[1], suites[2]]
}

/// The versions and suites in the payload of message 2; what follows them is left to later versions. `None` if it is
/// too short.
#[must_use]
pub fn decode_offer(payload: &[u8]) -> Option<(u8, Suites)> {
    let &[versions, a, b, c] = payload.first_chunk()?;
    Some((versions, Suites::from_bits(u32::from_be_bytes([0, a, b, c]))))
}
