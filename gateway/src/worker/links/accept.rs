//! A socket was accepted: a place in the table, a place among the strangers, the first receive.

use driver::{Listener, Peer, Token};
use protocol::link::ServerLink;

use super::Links;
use super::cause::Cause;
use super::link::Link;
use crate::worker::acceptors::Acceptors;
use crate::worker::turn::Turn;

impl Links {
    /// A connection came by a listener.
    pub(in crate::worker) fn accepted(
        &mut self,
        turn: &mut Turn,
        token: Token,
        listener: Listener,
        peer: Peer,
        acceptors: &Acceptors,
    ) {
        turn.counters.links_accepted.add(1);
        self.table.insert(Link::new(token, listener, peer.into(), ServerLink::new(turn.now)));
        if self.stopping {
            return self.mark(token, Cause::Silent);
        }
        if !(turn.settings.loopback_exempt && is_local(&peer)) {
            self.note_stranger(turn, token, acceptors);
        }
        self.schedule(turn, token);
        self.receive_once(turn, token);
    }

    /// Keeps the number of links that have proved nothing within its bound; the oldest goes first.
    fn note_stranger(&mut self, turn: &mut Turn, token: Token, acceptors: &Acceptors) {
        let most = turn.settings.strangers_max;
        let Self { table, strangers, .. } = self;
        strangers.came(token, most, |&token| table.see(token).is_some_and(|link| link.stranger));
        if let Some(link) = table.living(token) {
            link.stranger = true;
        }
        while let Some(oldest) = self.surplus_stranger(most) {
            turn.counters.strangers_evicted.add(1);
            self.turn_away(turn, oldest, acceptors);
        }
    }

    fn surplus_stranger(&mut self, most: usize) -> Option<Token> {
        let Self { table, strangers, .. } = self;
        strangers.surplus(most, |&token| table.see(token).is_some_and(|link| link.stranger))
    }
}

/// Whether a peer is on this machine.
fn is_local(peer: &Peer) -> bool {
    match peer {
        Peer::Tcp(address) => address.ip().to_canonical().is_loopback(),
        Peer::Unix => true,
    }
}
