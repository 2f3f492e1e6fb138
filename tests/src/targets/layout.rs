//! Hellos and clear replies as SPEC.md, section 3, draws them: written down a second time, so that what the machines
//! read and write has something to be compared with. The layout is the same in every version, and nothing here knows
//! which versions and suites are spoken.

use protocol::noise::{Gate, KeyId};

/// Bytes in front of the ticket.
const PREAMBLE_LEN: usize = 32;
/// Bytes of the preamble that the tag covers.
const FIXED_LEN: usize = 16;
const MAGIC: [u8; 4] = [0xac, 0xce, 0x55, 0x0a];

/// Where the parts of a hello lie.
pub(super) struct Layout<'h> {
    pub(super) fixed: &'h [u8; FIXED_LEN],
    pub(super) tag: &'h [u8; 16],
    pub(super) ticket: &'h [u8],
    pub(super) message_1: &'h [u8],
    /// Bytes of it all.
    pub(super) len: usize,
}

impl<'h> Layout<'h> {
    /// The parts of the hello at the front of `bytes`, if it is whole.
    pub(super) fn read(bytes: &'h [u8]) -> Option<Self> {
        let (preamble, rest) = bytes.split_first_chunk::<PREAMBLE_LEN>()?;
        let (fixed, tag) = (preamble.first_chunk()?, preamble.last_chunk()?);
        if preamble[..4] != MAGIC {
            return None;
        }
        if is_clear(preamble[4], preamble[5]) {
            return Some(Self { fixed, tag, ticket: &[], message_1: &[], len: PREAMBLE_LEN });
        }
        let ticket_len = usize::from(u16::from_be_bytes([preamble[14], preamble[15]]));
        let (ticket, rest) = rest.split_at_checked(ticket_len)?;
        let (length, rest) = rest.split_first_chunk()?;
        let message_1 = rest.get(..usize::from(u16::from_be_bytes(*length)))?;
        let len = PREAMBLE_LEN + ticket.len() + length.len() + message_1.len();
        Some(Self { fixed, tag, ticket, message_1, len })
    }

    /// Whether the tag is the right one for this gate.
    pub(super) fn passes(&self, gate: &Gate) -> bool {
        gate.tag(self.fixed, self.ticket, self.message_1) == *self.tag
    }
}

/// Makes the tag of a whole hello good.
pub(super) fn tag(hello: &mut [u8], gate: &Gate) {
    let Some(layout) = Layout::read(hello) else { return };
    let tag = gate.tag(layout.fixed, layout.ticket, layout.message_1);
    hello[FIXED_LEN..PREAMBLE_LEN].copy_from_slice(&tag);
}

/// Whether the tag is good for one of these gates.
pub(super) fn is_tagged(hello: &[u8], gates: &[&Gate]) -> bool {
    Layout::read(hello).is_some_and(|layout| gates.iter().any(|gate| layout.passes(gate)))
}

/// Whether the bytes are one whole hello and nothing more.
pub(super) fn is_whole(hello: &[u8]) -> bool {
    Layout::read(hello).is_some_and(|layout| layout.len == hello.len())
}

/// A hello of any version and suite.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) version: u8,
    pub(super) suite: u8,
    pub(super) key_id: KeyId,
    pub(super) versions: u8,
    /// A set of 24 bits.
    pub(super) suites: u32,
    pub(super) ticket: Vec<u8>,
    pub(super) message_1: Vec<u8>,
}

impl Made {
    /// The hello with its tag. That of a clear stream ends behind the preamble.
    pub(super) fn encode(&self, gate: &Gate) -> Vec<u8> {
        let [_, suites @ ..] = self.suites.to_be_bytes();
        let mut hello = [&MAGIC[..], &[self.version, self.suite], &self.key_id.0, &[self.versions]].concat();
        hello.extend_from_slice(&suites);
        hello.extend_from_slice(&two(self.ticket.len()));
        hello.resize(PREAMBLE_LEN, 0);
        if !is_clear(self.version, self.suite) {
            hello.extend_from_slice(&self.ticket);
            hello.extend_from_slice(&two(self.message_1.len()));
            hello.extend_from_slice(&self.message_1);
        }
        tag(&mut hello, gate);
        hello
    }

    /// Whether the version in use is among those offered.
    pub(super) const fn offers_version(&self) -> bool {
        self.version < 8 && self.versions >> self.version & 1 == 1
    }

    /// Whether the suite in use is among those offered.
    pub(super) const fn offers_suite(&self) -> bool {
        self.suite < 24 && self.suites >> self.suite & 1 == 1
    }
}

/// Whether this opens a stream without encryption.
pub(super) const fn is_clear(version: u8, suite: u8) -> bool {
    version == 1 && suite == 15
}

/// The clear reply of somebody who speaks version 1 and these suites.
pub(super) fn clear_reply(reason: u8, suites: u32, key_id: KeyId, wait: u16) -> Vec<u8> {
    let [_, suites @ ..] = suites.to_be_bytes();
    [&MAGIC[..], &[1, reason, 1 << 1], &suites, &key_id.0, &wait.to_be_bytes()].concat()
}

fn two(len: usize) -> [u8; 2] {
    u16::try_from(len).expect("lengths of two bytes").to_be_bytes()
}
