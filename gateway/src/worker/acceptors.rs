//! The server's ends of handshakes: one for each listener, as each may have a key and suites of its own.

use driver::Listener;
use protocol::UnixMillis;
use protocol::link::Acceptor;

use crate::config::Secret;

/// The acceptors of a worker, in the order of its listeners.
#[derive(Debug)]
pub(super) struct Acceptors(Vec<Acceptor>);

impl Acceptors {
    /// One for each listener of the worker.
    pub(super) fn new(acceptors: Vec<Acceptor>) -> Self {
        Self(acceptors)
    }

    /// That of a listener.
    pub(super) fn of(&self, listener: Listener) -> &Acceptor {
        &self.0[usize::from(listener.0)]
    }

    /// The keys that tickets are sealed with come of age.
    pub(super) fn advance_tickets(&mut self, wall: UnixMillis) {
        for keys in self.0.iter_mut().filter_map(Acceptor::tickets_mut) {
            keys.advance(wall);
        }
    }

    /// A new group key opens tickets from now on, and seals them a little later; earlier ones open for one lifetime
    /// longer, then they are erased.
    pub(super) fn rotate_tickets(&mut self, key: &Secret, wall: UnixMillis) {
        self.advance_tickets(wall);
        for keys in self.0.iter_mut().filter_map(Acceptor::tickets_mut) {
            keys.announce(*key.bytes(), wall);
        }
    }
}
