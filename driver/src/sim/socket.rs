//! Ends of links that belong to the simulation itself: its clients and its backends.

use super::links::{EndId, Phase, Readable};
use super::net::Net;
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
    net: Net,
    end: EndId,
}

impl Socket {
    pub(super) fn new(net: Net, end: EndId) -> Socket {
        Socket { net, end }
    }

    /// Leaves bytes with the kernel, as many as it takes; returns how many. None before the link is open.
    pub fn write(&self, bytes: &[u8]) -> usize {
        self.net.state().links.write(self.end, bytes)
    }

    /// Appends what has arrived, at most `most` bytes; returns how many.
    pub fn read(&self, into: &mut Vec<u8>, most: usize) -> usize {
        let links = &mut self.net.state().links;
        let start = into.len();
        into.resize(start + links.arrived(self.end).min(most), 0);
        links.read(self.end, &mut into[start..])
    }

    /// Finishes sending. What was written before still arrives.
    pub fn shutdown(&self) {
        self.net.state().links.shutdown(self.end);
    }

    /// Breaks the link. What was written and has not arrived is lost.
    pub fn reset(&self) {
        self.net.state().links.reset(self.end);
    }

    /// What can be done with it.
    #[must_use]
    pub fn state(&self) -> State {
        let links = &self.net.state().links;
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
        let links = &self.net.state().links;
        let link = links.get(self.end.link).expect("an end keeps its link alive");
        (self.end.side == 1).then_some(link.from)
    }

    /// Bytes that were written and have not reached the other side's buffer.
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.net.state().links.unsent(self.end)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // While a panic unwinds, the net may still be borrowed; then it does not matter any more.
        if let Some(mut net) = self.net.try_state() {
            net.links.close(self.end);
        }
    }
}

/// A listener held by the simulation. Dropping it stops listening and breaks the connections that still wait.
#[derive(Debug)]
pub struct Backlog {
    net: Net,
    door: usize,
}

impl Backlog {
    pub(super) fn new(net: Net, door: usize) -> Backlog {
        Backlog { net, door }
    }

    /// Takes a waiting connection.
    #[must_use]
    pub fn accept(&self) -> Option<Socket> {
        let end = self.net.state().accept(self.door)?;
        Some(Socket::new(self.net.clone(), end))
    }

    /// Where it listens.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        self.net.state().endpoint(self.door)
    }
}

impl Drop for Backlog {
    fn drop(&mut self) {
        if let Some(mut net) = self.net.try_state() {
            net.shut(self.door);
        }
    }
}
