//! One client link: its socket, its protocol state and what is armed on it.

use std::fmt;
use std::time::Duration;

use driver::{Listener, Token};
use protocol::Time;
use protocol::buffer::Place;
use protocol::hidden::Hidden;
use protocol::link::ServerLink;

use crate::address::Address;
use crate::admission::balancers::Introduction;
use crate::admission::rates::Meter;
use crate::rate::ALL;
use crate::session::SessionKey;

/// A client link. Lives in the slot of its socket, so that a completion finds it by index.
pub(super) struct Link {
    /// Its socket.
    pub(super) token: Token,
    /// Protocol state.
    pub(super) machine: ServerLink,
    /// Who is at the other end.
    pub(super) peer: Address,
    /// How that is known. While it is not, the peer is a balancer.
    pub(super) introduction: Introduction,
    /// By which listener it came.
    pub(super) listener: Listener,
    /// Where the rest of its last chunk lies.
    pub(super) place: Place,
    /// Its session, once authentication began.
    pub(super) session: Option<SessionKey>,
    /// Frames that wait for the flush: a two-byte hole and plaintext. Empty when there are none.
    pub(super) outgoing: Vec<u8>,
    /// About how many bytes of them may be dropped if they do not leave, in units of 64; saturates.
    pub(super) droppable: u16,
    /// What is armed for reading.
    pub(super) reading: Reading,
    /// Whether a send is in flight.
    pub(super) sending: bool,
    /// Its bytes, as long as they count towards the bound on all links.
    pub(super) sending_len: u32,
    /// Whether it stands in the list of links to flush.
    pub(super) dirty: bool,
    /// Whether its session is owed more than may wait for it at a time.
    pub(super) hungry: bool,
    /// How far it is on its way out.
    pub(super) ending: Ending,
    /// What it counts as among those that have proved nothing yet.
    pub(super) stranger: Stranger,
    /// Chunks received since `recent_since`, by which it is promoted or demoted; saturates.
    pub(super) recent: u8,
    /// In tenths of a second of the worker's clock.
    pub(super) recent_since: u32,
    /// Since when more than the soft bound waits to be sent, in tenths of a second of the worker's clock, never zero;
    /// zero when it does not.
    pub(super) slow_since: u32,
    /// Bytes discarded since it began to close.
    pub(super) discarded: u32,
    /// Until when nothing of it is read, in tenths of a second of the worker's clock; zero while it is.
    pub(super) paused_until: u32,
    /// The class of its user among those of the config, from one on; zero without one.
    pub(super) class: u8,
    /// Hundredths of its rates that its user has.
    pub(super) user_percent: u8,
    /// What it has said of what it may.
    pub(super) meter: Meter,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("token", &self.token)
            .field("machine", &self.machine)
            .field("session", &self.session)
            .field("outgoing", &Hidden(&self.outgoing))
            .field("reading", &self.reading)
            .field("ending", &self.ending)
            .finish_non_exhaustive()
    }
}

/// What a link counts as among those that have proved nothing yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stranger {
    /// As none of them.
    No,
    /// It has no keys yet.
    Unheard,
    /// Its handshake is done, and the curve work that this took.
    Greeted,
}

/// What is armed on a link for reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// Nothing, because nothing may be read now, or the peer has ended.
    Idle,
    /// Nothing, because the pool of receive buffers was empty; armed again at the end of the turn.
    Starved,
    /// Nothing, because its pause has just ended: it waits until it is its turn to be armed.
    Resuming,
    /// A poll: the cheapest way to wait, for links that seldom speak.
    Poll,
    /// A receive of one chunk.
    Once,
    /// A receive until further notice, for links that speak a lot.
    Multishot,
    /// A multishot receive that is being cancelled to save its memory.
    Demoting,
}

/// ```text
///  No ──mark──► Marked ──has something to say──► Lingering ── FIN, time or bytes ─┐
///                  └──────────── says nothing ────────────────────────────────────┴─► Draining ── nothing armed ─► Closing
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It lives.
    No,
    /// It is gone for everybody, and stands in the list of those that are to be buried.
    Marked,
    /// Its last frame is on the way; input is discarded until the peer ends or the linger bound.
    Lingering,
    /// Everything armed is being cancelled; then its socket is closed.
    Draining,
    /// The close was submitted.
    Closing,
}

impl Ending {
    /// Whether nothing may be armed or sent any more.
    pub(super) const fn is_leaving(self) -> bool {
        matches!(self, Self::Draining | Self::Closing)
    }
}

impl Link {
    /// A link whose socket was just accepted.
    pub(super) fn new(token: Token, listener: Listener, peer: Address, machine: ServerLink) -> Self {
        Self {
            token,
            machine,
            peer,
            introduction: Introduction::Direct,
            listener,
            place: Place::NONE,
            session: None,
            outgoing: Vec::new(),
            droppable: 0,
            reading: Reading::Idle,
            sending: false,
            sending_len: 0,
            dirty: false,
            hungry: false,
            ending: Ending::No,
            stranger: Stranger::No,
            recent: 0,
            recent_since: 0,
            slow_since: 0,
            discarded: 0,
            paused_until: 0,
            class: 0,
            user_percent: ALL,
            meter: Meter::unmetered(Time::ZERO),
        }
    }

    /// Notes a chunk that came. A link that waits with a poll is busy when enough of them come within `window`: the
    /// heartbeats of an idle one never add up. For one whose receive stays armed the timer begins to count anew.
    pub(super) fn note_chunk(&mut self, now: Time, window: Duration) {
        if self.reading != Reading::Multishot && now.since(from_tenths(self.recent_since)) >= window {
            (self.recent, self.recent_since) = (0, to_tenths(now));
        }
        self.recent = self.recent.saturating_add(1);
    }

    /// Whether a balancer is at the other end that has said nothing for anybody: it looks whether the gateway is here.
    pub(super) fn is_check(&self) -> bool {
        self.introduction.is_free()
            && self.place == Place::NONE
            && !self.machine.is_open()
            && !self.machine.is_begun()
    }

    /// Whether anything is armed on the socket.
    pub(super) fn is_armed(&self) -> bool {
        self.sending || !matches!(self.reading, Reading::Idle | Reading::Starved | Reading::Resuming)
    }
}

/// A moment as links note it, in tenths of a second of the worker's clock; 13 years fit.
pub(super) fn to_tenths(time: Time) -> u32 {
    (time.as_millis() / 100) as u32
}

/// The moment so noted.
pub(super) const fn from_tenths(tenths: u32) -> Time {
    Time::from_nanos(tenths as u64 * 100_000_000)
}

const _: () =
    assert!(size_of::<Option<Link>>() <= 272, "100,000 of them are held to 560 bytes each, all told");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_make_a_link_busy_when_they_come_together() {
        let token = Token { slot: 0, generation: 1 };
        let at = |seconds| Time::ZERO + Duration::from_secs(seconds);
        let window = Duration::from_secs(30);
        let mut link = Link::new(token, Listener(0), driver::Peer::Unix.into(), ServerLink::new(at(5)));
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
