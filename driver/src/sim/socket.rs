//! Ends of links that belong to the simulation itself: its clients and its backends.

use std::cell::RefCell;
use std::rc::Rc;

use super::links::{EndId, Phase, Readable};
use super::world::World;
use crate::ops::{Endpoint, Errno, Peer};

/// What a [`Socket`] is able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nobody has answered yet.
    Connecting,
    /// Nobody listens there.
    Refused(Errno),
    /// Bytes go both ways, as far as the other side wants them. What has arrived may still have to be read.
    Open,
    /// The other side has finished sending, and everything it sent was read.
    Eof,
    /// The link is broken, and everything that arrived before was read.
    Broken(Errno),
}

/// One end of a link, held by the simulation. Dropping it closes it as a kernel does: with a reset when something
/// was left unread, otherwise in order.
#[derive(Debug)]
pub struct Socket {
    world: Rc<RefCell<World>>,
    end: EndId,
}

impl Socket {
    pub(super) fn new(world: Rc<RefCell<World>>, end: EndId) -> Socket {
        Socket { world, end }
    }

    /// Leaves bytes with the kernel, as many as it takes; returns how many. None before the link is open.
    pub fn write(&self, bytes: &[u8]) -> usize {
        self.world.borrow_mut().links.write(self.end, bytes)
    }

    /// Appends what has arrived, at most `most` bytes; returns how many.
    pub fn read(&self, into: &mut Vec<u8>, most: usize) -> usize {
        let links = &mut self.world.borrow_mut().links;
        let start = into.len();
        into.resize(start + links.arrived(self.end).min(most), 0);
        links.read(self.end, &mut into[start..])
    }

    /// Finishes sending. What was written before still arrives.
    pub fn shutdown(&self) {
        self.world.borrow_mut().links.shutdown(self.end);
    }

    /// Breaks the link. What was written and has not arrived is lost.
    pub fn reset(&self) {
        self.world.borrow_mut().links.reset(self.end);
    }

    /// What can be done with it.
    #[must_use]
    pub fn state(&self) -> State {
        let links = &self.world.borrow_mut().links;
        let phase = links.get(self.end.link).expect("an end keeps its link alive").phase;
        match (phase, links.readable(self.end)) {
            (Phase::Dialing, _) => State::Connecting,
            (Phase::Refused(errno), _) => State::Refused(errno),
            (Phase::Open, Readable::Nothing | Readable::Bytes) => State::Open,
            (Phase::Open, Readable::Eof) => State::Eof,
            (Phase::Open, Readable::Broken(errno)) => State::Broken(errno),
        }
    }

    /// Who is at the other end: where it was dialled from, or `None` for the side that dialled.
    #[must_use]
    pub fn peer(&self) -> Option<Peer> {
        let links = &self.world.borrow_mut().links;
        let link = links.get(self.end.link).expect("an end keeps its link alive");
        (self.end.side == 1).then_some(link.from)
    }

    /// Bytes that were written and have not reached the other side's buffer.
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.world.borrow_mut().links.unsent(self.end)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // While a panic unwinds, the net may still be borrowed; then it does not matter any more.
        if let Ok(mut world) = self.world.try_borrow_mut() {
            world.links.close(self.end);
        }
    }
}

/// A listener held by the simulation. Dropping it stops listening and breaks the connections that still wait.
#[derive(Debug)]
pub struct Backlog {
    world: Rc<RefCell<World>>,
    door: usize,
}

impl Backlog {
    pub(super) fn new(world: Rc<RefCell<World>>, door: usize) -> Backlog {
        Backlog { world, door }
    }

    /// Takes a waiting connection.
    #[must_use]
    pub fn accept(&self) -> Option<Socket> {
        let end = self.world.borrow_mut().accept(self.door)?;
        Some(Socket::new(Rc::clone(&self.world), end))
    }

    /// Where it listens.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        self.world.borrow_mut().endpoint(self.door)
    }
}

impl Drop for Backlog {
    fn drop(&mut self) {
        if let Ok(mut world) = self.world.try_borrow_mut() {
            world.shut(self.door, None);
        }
    }
}
