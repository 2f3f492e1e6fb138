//! Who is the tenant of a slot, and the accepts that wait for new ones.
//!
//! A token says which socket is meant and not what it is: whether a completion is about a link or about a stream is
//! looked up here, once. `accept` has the accepts, `tenants` who came of them.

mod accept;
mod tenants;

use driver::{Listener, Token};
use protocol::Time;

pub(super) use tenants::Tenant;

use self::accept::Parked;
use self::tenants::Tenants;
use super::turn::Turn;
use crate::counters::Counters;
use crate::upstream::StreamIndex;

/// The sockets of one worker: how many there are, whose they are, and how many more may come.
#[derive(Debug)]
pub(super) struct Slots {
    tenants: Tenants,
    parked: Parked,
    /// Sockets there are.
    taken: u32,
    stopping: bool,
}

impl Slots {
    /// No sockets yet, of at most `slots`, to be accepted on this many listeners.
    pub(super) fn new(slots: u32, listeners: usize) -> Self {
        Self { tenants: Tenants::new(slots), parked: Parked::new(listeners), taken: 0, stopping: false }
    }

    /// Whose socket this is.
    pub(super) fn tenant(&self, token: Token) -> Tenant {
        self.tenants.of(token.slot)
    }

    /// A parked accept took a connection: its slot is a link's.
    pub(super) fn accepted(&mut self, listener: Listener) {
        self.parked.ended(listener);
        self.taken += 1;
    }

    /// A parked accept failed: there are too many files, or there is too little memory. A while later more are parked.
    pub(super) fn accept_failed(&mut self, turn: &mut Turn, listener: Listener) {
        self.parked.failed(listener, turn.now);
        turn.counters.accept_failures.add(1);
    }

    /// A dial led to a socket: its slot is a stream's.
    pub(super) fn connected(&mut self, token: Token, stream: StreamIndex) {
        self.tenants.let_to_stream(token.slot, stream);
        self.taken += 1;
    }

    /// A socket is closed: its slot is free for the next tenant. Whose it was.
    pub(super) fn closed(&mut self, token: Token) -> Tenant {
        self.taken -= 1;
        self.tenants.leave(token.slot)
    }

    /// Parks accepts while there are slots for them. With a full table the kernel would accept a connection only
    /// to close it, so some slots always stay free.
    pub(super) fn park(&mut self, turn: &mut Turn) {
        if !self.stopping {
            let settings = &turn.settings;
            let free = settings.slots.saturating_sub(self.taken + settings.slots_reserved);
            self.parked.top_up(free, settings.parked, turn.now, &mut turn.ops);
        }
    }

    /// When accepts may be parked again, after a failure.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.parked.pause_end().filter(|_| !self.stopping)
    }

    /// The process ends: nothing new is let in.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
    }

    /// Whether the worker was told to stop and has no socket any more.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopping && self.taken == 0
    }

    /// Copies what is not counted where it happens.
    pub(super) fn publish(&self, counters: &Counters) {
        counters.accepts_parked.set(self.parked.len().into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::settings::Settings;
    use driver::Op;

    const FIRST: Listener = Listener(0);

    fn at(slot: u32) -> Token {
        Token { slot, generation: 1 }
    }

    /// A worker of eight slots, two of them reserved, that parks up to four accepts.
    fn turn() -> Turn {
        let settings = Settings { slots: 8, slots_reserved: 2, parked: 4, ..Settings::small() };
        Turn::of(settings)
    }

    fn parked(turn: &mut Turn) -> usize {
        let all = turn.ops.drain(..);
        all.map(|op| assert!(matches!(op, Op::Park { listener: FIRST }), "{op:?}")).count()
    }

    #[test]
    fn accepts_are_parked_while_there_are_slots_beside_the_reserved_ones() {
        let (mut slots, mut turn) = (Slots::new(8, 1), turn());
        slots.park(&mut turn);
        assert_eq!(parked(&mut turn), 4);
        for _ in 0..3 {
            slots.accepted(FIRST);
        }
        slots.park(&mut turn);
        assert_eq!(parked(&mut turn), 2, "three taken, one parked, two reserved");
        for _ in 0..3 {
            slots.accepted(FIRST);
        }
        slots.park(&mut turn);
        assert_eq!(parked(&mut turn), 0);
        assert_eq!(slots.closed(at(5)), Tenant::Link);
        slots.park(&mut turn);
        assert_eq!(parked(&mut turn), 1);
    }

    #[test]
    fn after_a_failure_nothing_is_parked_for_a_while() {
        let (mut slots, mut turn) = (Slots::new(8, 1), turn());
        slots.park(&mut turn);
        turn.ops.clear();
        slots.accept_failed(&mut turn, FIRST);
        slots.park(&mut turn);
        assert_eq!(parked(&mut turn), 0);
        turn.now = slots.next_deadline().expect("a pause has an end");
        slots.park(&mut turn);
        assert_eq!((parked(&mut turn), slots.next_deadline()), (1, None));
        assert_eq!(turn.counters.accept_failures.get(), 1);
    }

    #[test]
    fn a_worker_has_stopped_when_its_last_socket_is_closed() {
        let (mut slots, mut turn) = (Slots::new(8, 1), turn());
        slots.connected(at(3), StreamIndex(7));
        slots.park(&mut turn);
        turn.ops.clear();
        slots.accept_failed(&mut turn, FIRST);
        slots.stop();
        slots.park(&mut turn);
        assert_eq!((parked(&mut turn), slots.next_deadline()), (0, None), "nothing new is let in");
        assert!(!slots.is_stopped());
        assert_eq!(slots.tenant(at(3)), Tenant::Stream(StreamIndex(7)));
        assert_eq!(slots.closed(at(3)), Tenant::Stream(StreamIndex(7)));
        assert!(slots.is_stopped());
    }
}
