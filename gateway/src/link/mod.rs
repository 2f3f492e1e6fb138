//! One client link as a worker holds it: its socket, its protocol state and what is armed on it.

mod address;
mod table;

pub use address::Address;
pub use table::{Entry, Table};

use driver::Token;
use protocol::buffer::Place;
use protocol::link::ServerLink;

/// A client link. Lives in the slot of its socket, so that a completion finds it by index.
#[derive(Debug)]
pub struct Link {
    /// Its socket.
    pub token: Token,
    /// Protocol state.
    pub machine: ServerLink,
    /// Who is at the other end.
    pub peer: Address,
    /// Where the rest of its last chunk lies.
    pub place: Place,
    /// Its session's place, once authentication began.
    pub session: Option<SessionIndex>,
    /// Frames that wait for the flush: a two-byte hole and plaintext. Empty when there are none.
    pub outgoing: Vec<u8>,
    /// What is armed for reading.
    pub reading: Reading,
    /// Whether a send is in flight.
    pub sending: bool,
    /// Its bytes, as long as they count towards the bound on all links.
    pub sending_len: u32,
    /// Whether it stands in the list of links to flush.
    pub dirty: bool,
    /// How far it is on its way out.
    pub ending: Ending,
    /// Whether it counts as one that has proved nothing yet.
    pub stranger: bool,
    /// Chunks received since it was last looked at for promotion or demotion; saturates.
    pub recent: u8,
    /// Since when more than the soft bound waits to be sent, in tenths of a second of the worker's clock, never zero;
    /// zero when it does not.
    pub slow_since: u32,
    /// Bytes discarded since it began to close.
    pub discarded: u32,
}

/// Index of a session in the worker's table; `u32::MAX` stands for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionIndex(std::num::NonZeroU32);

impl SessionIndex {
    /// From a table's index.
    #[must_use]
    pub fn new(index: u32) -> Self {
        Self(
            std::num::NonZeroU32::new(index.wrapping_add(1))
                .expect("a table holds fewer than 2^32 - 1 sessions"),
        )
    }

    /// The table's index.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get() - 1
    }
}

/// What is armed on a link for reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Nothing, because nothing may be read now, or the peer has ended.
    Idle,
    /// Nothing, because the pool of receive buffers was empty; armed again at the end of the turn.
    Starved,
    /// A poll: the cheapest way to wait, for links that seldom speak.
    Poll,
    /// A receive of one chunk.
    Once,
    /// A receive until further notice, for links that speak a lot.
    Multishot,
    /// A multishot receive that is being cancelled to save its memory.
    Demoting,
}

/// How far a link is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It lives.
    No,
    /// Its last frame is on the way; input is discarded until the peer ends or the linger bound.
    Lingering,
    /// Everything armed is being cancelled; then its socket is closed.
    Draining,
    /// The close was submitted.
    Closing,
}

impl Link {
    /// A link whose socket was just accepted.
    #[must_use]
    pub const fn new(token: Token, peer: Address, machine: ServerLink) -> Self {
        Self {
            token,
            machine,
            peer,
            place: Place::NONE,
            session: None,
            outgoing: Vec::new(),
            reading: Reading::Idle,
            sending: false,
            sending_len: 0,
            dirty: false,
            ending: Ending::No,
            stranger: true,
            recent: 0,
            slow_since: 0,
            discarded: 0,
        }
    }

    /// Whether anything is armed on the socket.
    #[must_use]
    pub fn is_armed(&self) -> bool {
        self.sending || !matches!(self.reading, Reading::Idle | Reading::Starved)
    }
}

const _: () = assert!(size_of::<Entry>() <= 256, "the memory budget grants a link 256 bytes");
