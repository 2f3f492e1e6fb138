//! A socket was accepted: a place in the table, a place among the strangers, the first receive.

use driver::{Listener, Token};
use protocol::link::ServerLink;

use super::Links;
use super::cause::Cause;
use super::link::{Link, Stranger};
use crate::address::Address;
use crate::admission::balancers::Introduction;
use crate::counters::guard::Guard;
use crate::worker::acceptors::Acceptors;
use crate::worker::turn::Turn;

impl Links {
    /// A connection came by a listener.
    pub(in crate::worker) fn accepted(
        &mut self,
        turn: &mut Turn,
        token: Token,
        listener: Listener,
        peer: Address,
        introduction: Introduction,
        acceptors: &Acceptors,
    ) {
        turn.counters.links_accepted.add(1);
        let link = Link::new(token, listener, peer, ServerLink::new(turn.now));
        self.table.insert(Link { introduction, ..link });
        if self.stopping {
            return self.mark(token, Cause::Silent);
        }
        self.note_stranger(turn, token, acceptors);
        self.schedule(turn, token);
        self.receive_once(turn, token);
    }

    /// Keeps the number of links that have proved nothing within its bound; the oldest goes first. One that counts already,
    /// or is exempt, changes nothing.
    pub(in crate::worker) fn note_stranger(&mut self, turn: &mut Turn, token: Token, acceptors: &Acceptors) {
        let most = turn.settings.strangers_max;
        let Self { table, strangers, .. } = self;
        let Some(link) = table.living(token).filter(|link| link.stranger == Stranger::No) else { return };
        if turn.settings.loopback_exempt && link.introduction.is_local(link.peer) {
            return;
        }
        link.stranger = Stranger::Unheard;
        strangers.came(token, most, |token| table.standing(token));
        while let Some(oldest) = self.surplus_stranger(most) {
            turn.counters.strangers_evicted.add(1);
            self.count_refused(turn, oldest, Guard::Strangers);
            self.turn_away(turn, oldest, acceptors);
        }
    }

    fn surplus_stranger(&mut self, most: usize) -> Option<Token> {
        let Self { table, strangers, .. } = self;
        strangers.surplus(most, |token| table.standing(token))
    }

    /// A stranger's handshake is done: it goes behind all others. It has cost more than they have, and its `Auth` takes a
    /// round trip more; if it kept its place, a storm of reconnects in which everybody is turned away for younger ones
    /// would let nobody in.
    pub(super) fn note_greeted(&mut self, turn: &Turn, token: Token) {
        let Self { table, strangers, .. } = self;
        let Some(link) = table.living(token).filter(|link| link.stranger != Stranger::No) else { return };
        link.stranger = Stranger::Greeted;
        strangers.greeted(token, turn.settings.strangers_max, |token| table.standing(token));
    }
}
