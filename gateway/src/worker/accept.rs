//! A socket was accepted: admission, a slot, the first receive.

use std::time::Duration;

use driver::{Errno, Listener, Mode, Op, Peer, Pool, Token};
use protocol::link::ServerLink;

use super::Core;
use crate::link::{Ending, Entry, Link, Reading};

/// How long nothing is parked after a failure.
const PARK_PAUSE: Duration = Duration::from_millis(20);
/// The one listener of a worker.
const LISTENER: Listener = Listener(0);

impl Core {
    /// Parks accepts while there are slots for them. With a full table the kernel would accept a connection only
    /// to close it, so some slots always stay free.
    pub(super) fn park(&mut self) {
        if self.stopping || self.park_at.is_some_and(|at| self.now < at) {
            return;
        }
        self.park_at = None;
        let taken = self.slots_taken + self.parked + self.settings.slots_reserved;
        let free = self.settings.slots.saturating_sub(taken);
        for _ in 0..free.min(self.settings.parked.saturating_sub(self.parked)) {
            self.parked += 1;
            self.ops.push_back(Op::Park { listener: LISTENER });
        }
    }

    /// A parked accept took a connection.
    pub(super) fn accepted(&mut self, token: Token, peer: Peer) {
        self.parked -= 1;
        self.slots_taken += 1;
        self.counters.links_accepted.add(1);
        let mut link = Link::new(token, peer.into(), ServerLink::new(self.now));
        link.stranger = !(self.settings.loopback_exempt && is_local(&peer));
        if link.stranger {
            self.note_stranger(token);
        }
        self.links.insert(token, Entry::Link(link));
        if self.stopping {
            return self.drain(token);
        }
        self.evict_strangers();
        self.schedule(token);
        self.receive_once(token);
    }

    /// A parked accept failed: there are too many files, or there is too little memory. A while later more are parked.
    pub(super) fn accept_failed(&mut self, _errno: Errno) {
        self.parked -= 1;
        self.counters.accept_failures.add(1);
        self.park_at = Some(self.now + PARK_PAUSE);
    }

    /// Arms a receive of one chunk, unless something is armed already or the link is leaving.
    pub(super) fn receive_once(&mut self, token: Token) {
        let Some(link) = self.links.get(token) else { return };
        let leaving = matches!(link.ending, Ending::Draining | Ending::Closing);
        if !leaving && matches!(link.reading, Reading::Idle | Reading::Starved) {
            link.reading = Reading::Once;
            self.ops.push_back(Op::Receive { token, pool: Pool::Links, mode: Mode::Once });
        }
    }

    /// Lists a stranger behind the others. Those that are none any more leave their places here: they go when there are
    /// as many as there may be strangers.
    fn note_stranger(&mut self, token: Token) {
        if self.strangers.len() >= 2 * self.settings.strangers_max {
            self.strangers.retain(|&token| self.links.get(token).is_some_and(|link| link.stranger));
        }
        self.strangers.push_back(token);
        self.strangers_count += 1;
    }

    /// Keeps the number of links that have proved nothing within its bound; the oldest goes first.
    fn evict_strangers(&mut self) {
        while let Some(&oldest) = self.strangers.front() {
            let stranger = self.links.get(oldest).is_some_and(|link| link.stranger);
            if !stranger {
                self.strangers.pop_front();
            } else if self.strangers_count > self.settings.strangers_max {
                self.strangers.pop_front();
                self.counters.strangers_evicted.add(1);
                self.turn_away(oldest);
            } else {
                break;
            }
        }
    }

    /// A link is no stranger any more: it has authenticated, or it is on its way out.
    pub(super) fn leave_strangers(&mut self, token: Token) {
        if let Some(link) = self.links.get(token)
            && link.stranger
        {
            link.stranger = false;
            self.strangers_count -= 1;
        }
    }
}

/// Whether a peer is on this machine.
fn is_local(peer: &Peer) -> bool {
    match peer {
        Peer::Tcp(address) => address.ip().to_canonical().is_loopback(),
        Peer::Unix => true,
    }
}
