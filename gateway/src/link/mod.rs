//! One client link as a worker holds it: its socket, its protocol state and what is armed on it.

mod address;
mod table;

pub use address::Address;
pub use table::{Entry, Table};

use std::time::Duration;

use driver::Token;
use protocol::Time;
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
    /// Chunks received since `recent_since`, by which it is promoted or demoted; saturates.
    pub recent: u8,
    /// In tenths of a second of the worker's clock.
    pub recent_since: u32,
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
            recent_since: 0,
            slow_since: 0,
            discarded: 0,
        }
    }

    /// Notes a chunk that came. A link that waits with a poll is busy when enough of them come within `window`: the
    /// heartbeats of an idle one never add up. For one whose receive stays armed the timer begins to count anew.
    pub fn note_chunk(&mut self, now: Time, window: Duration) {
        if self.reading != Reading::Multishot && now.since(from_tenths(self.recent_since)) >= window {
            (self.recent, self.recent_since) = (0, to_tenths(now));
        }
        self.recent = self.recent.saturating_add(1);
    }

    /// Whether anything is armed on the socket.
    #[must_use]
    pub fn is_armed(&self) -> bool {
        self.sending || !matches!(self.reading, Reading::Idle | Reading::Starved)
    }
}

/// A moment as links note it, in tenths of a second of the worker's clock; 13 years fit.
#[must_use]
pub fn to_tenths(time: Time) -> u32 {
    (time.as_millis() / 100) as u32
}

/// The moment so noted.
#[must_use]
pub const fn from_tenths(tenths: u32) -> Time {
    Time::from_nanos(tenths as u64 * 100_000_000)
}

const _: () = assert!(size_of::<Entry>() <= 256, "the memory budget grants a link 256 bytes");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_make_a_link_busy_when_they_come_together() {
        let token = Token { slot: 0, generation: 1 };
        let at = |seconds| Time::ZERO + Duration::from_secs(seconds);
        let window = Duration::from_secs(30);
        let mut link = Link::new(token, driver::Peer::Unix.into(), ServerLink::new(at(5)));
        for minute in 1..100 {
            link.note_chunk(at(60 * minute), window);
            assert_eq!(link.recent, 1, "a heartbeat each minute");
        }
        let busy = 60 * 100;
        for (more, count) in [(0, 1), (10, 2), (29, 3), (30, 1)] {
            link.note_chunk(at(busy + more), window);
            assert_eq!(link.recent, count, "{more} s after the first");
        }
        link.reading = Reading::Multishot;
        for more in 0..300 {
            link.note_chunk(at(busy + 60 + more), window);
        }
        assert_eq!(link.recent, u8::MAX, "the timer's look has not come");
    }
}
