//! The closed set of things a worker can ask of the kernel, and of things it can be told.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::pool::{Chunk, Pool};

/// A socket of this driver: its place in the table, and which tenant of that place is meant.
///
/// Packed with the operation's kind into the kernel's `user_data` (slot 24 bits, generation 32, kind 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token {
    /// Index into the driver's socket table, below 2²⁴.
    pub slot: u32,
    /// Raised each time the slot is closed; wraps.
    pub generation: u32,
}

/// Bytes on their way out. Pooled by the worker: moves in with [`Op::Send`], back with [`Completion::Sent`].
#[derive(Default, PartialEq, Eq)]
pub struct Batch {
    /// Everything to send.
    pub bytes: Vec<u8>,
    /// How much of it the kernel has already taken; a send starts here.
    pub sent: usize,
}

impl fmt::Debug for Batch {
    /// Without what is in it: on a stream in the clear that is payload.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Batch({} B, {} sent)", self.bytes.len(), self.sent)
    }
}

impl Batch {
    /// What is still to be sent.
    #[must_use]
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }
}

/// Index of a listener in the list the driver was built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener(pub u8);

/// Where a connection is to go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// TCP over IPv4 or IPv6.
    Tcp(SocketAddr),
    /// A Unix stream socket by path.
    Unix(PathBuf),
}

impl Endpoint {
    /// Whether a connect to here can come from such an address.
    ///
    /// # Errors
    /// `EINVAL` where this is a Unix socket, which has no such address; `EAFNOSUPPORT` where the two are of different families.
    pub(crate) fn check_source(&self, from: IpAddr) -> Result<(), Errno> {
        match self {
            Self::Tcp(to) if to.is_ipv4() == from.is_ipv4() => Ok(()),
            Self::Tcp(_) => Err(Errno(libc::EAFNOSUPPORT)),
            Self::Unix(_) => Err(Errno(libc::EINVAL)),
        }
    }
}

/// Who is at the other end of an accepted socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A TCP peer's address.
    Tcp(SocketAddr),
    /// A Unix peer, which has no address.
    Unix,
}

/// How long a receive stays armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One chunk, then it is over.
    Once,
    /// Until cancelled, starved or ended by the peer. Costs about 600 bytes of kernel memory more than a poll.
    Multishot,
}

/// An operation that can be armed on a socket and therefore be cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Armed {
    /// [`Op::Poll`].
    Poll,
    /// [`Op::Receive`].
    Receive,
    /// [`Op::Send`].
    Send,
}

/// Who may listen at the other end of an [`Op::Connect`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Whoever does.
    Anybody,
    /// On a Unix socket only this process's own user, or root, as the kernel's `SO_PEERCRED` says; anybody else is
    /// `EPERM`. Over TCP nobody can tell, and it means [`Trust::Anybody`].
    OwnUser,
}

/// What a worker asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Op {
    /// Wait for one connection on a listener. Where several workers have the same listening socket, each connection goes to
    /// the accept that has waited longest. Ends in [`Completion::Accepted`] or [`Completion::AcceptFailed`].
    Park {
        /// The listener to accept from.
        listener: Listener,
    },
    /// Take an accept back that waits on a listener, if there is one. It ends in [`Completion::AcceptFailed`] with
    /// [`Errno::CANCELLED`], or has taken a connection already.
    Unpark {
        /// The listener it waits on.
        listener: Listener,
    },
    /// Open a socket and connect it. Ends in [`Completion::Connected`] with the same `tag`.
    Connect {
        /// Chosen by the worker; comes back with the completion.
        tag: u32,
        /// Which of this machine's addresses it is to come from; `None` leaves that to the kernel. The port is always the
        /// kernel's choice, made when it connects, so that an address has as many for each destination as for all together. An
        /// address that is not this machine's ends in `EADDRNOTAVAIL`, one of another family than `to` in `EAFNOSUPPORT`, and any
        /// for a Unix socket in `EINVAL`. Over io_uring it costs three system calls more: the ring itself can bind only since
        /// Linux 6.11.
        from: Option<IpAddr>,
        /// Where to.
        to: Box<Endpoint>,
        /// Who may be there.
        trust: Trust,
    },
    /// Wait until there is something to read (or an end). Ends in [`Completion::Readable`] or
    /// [`Completion::Ended`].
    Poll {
        /// The socket.
        token: Token,
    },
    /// Receive into the driver's pool. Each arrival is a [`Completion::Received`]; over after the first one with
    /// `more == false`, or with [`Completion::Ended`].
    Receive {
        /// The socket.
        token: Token,
        /// The pool to draw on.
        pool: Pool,
        /// Once or until further notice.
        mode: Mode,
    },
    /// Send `batch.rest()`, which must not be empty. At most one send per socket may be in flight. Ends in
    /// [`Completion::Sent`].
    Send {
        /// The socket.
        token: Token,
        /// The bytes; come back with the completion.
        batch: Batch,
    },
    /// Cancel what is armed. The cancelled operation still ends in its own completion, which may be an ordinary
    /// one if it was already on its way; there is none for the cancel itself.
    Cancel {
        /// The socket.
        token: Token,
        /// What to cancel.
        armed: Armed,
    },
    /// Close the socket. Nothing may be armed on it, and nothing may be submitted on it afterwards. (The io_uring driver
    /// cancels by descriptor what is armed nevertheless, which is slow, and reports those endings first.) Ends in [`Completion::Closed`]; after that the slot belongs
    /// to a new generation.
    Close {
        /// The socket.
        token: Token,
    },
    /// Wake another worker: it sees [`Completion::Rung`]. No completion here. A worker also sees one when it starts, so
    /// that whoever rang before it had a bell is heard.
    Ring {
        /// Index of the worker.
        worker: u32,
    },
}

/// An error number of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

impl Errno {
    /// `EPERM`, which a connect ends in where [`Trust::OwnUser`] finds somebody else.
    pub const OTHER_USER: Errno = Errno(libc::EPERM);
    /// `ECANCELED`, in which an accept ends that was taken back.
    pub const CANCELLED: Errno = Errno(libc::ECANCELED);

    /// Whether a connect that ended in it was one this machine could not make, whoever the other end is: no port of the
    /// address, no slot, no descriptor or no memory is left.
    #[must_use]
    pub const fn is_shortage(self) -> bool {
        use libc::{EADDRNOTAVAIL, EAGAIN, EMFILE, ENFILE, ENOBUFS, ENOMEM};
        matches!(self.0, EADDRNOTAVAIL | EAGAIN | EMFILE | ENFILE | ENOBUFS | ENOMEM)
    }
}

/// Why an armed operation is over without data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer has finished sending.
    Eof,
    /// The connection is broken (reset, timed out, unreachable).
    Broken(Errno),
    /// The pool had no buffer. Recycle, then arm again; arming at once would end the same way.
    Starved,
    /// It was cancelled.
    Cancelled,
    /// The kernel ended it without a reason that concerns the peer (a multishot that overflowed, `EINTR`, `EAGAIN`): arm again. After
    /// `ENOMEM` the driver has waited for a moment before it says so.
    Lapsed,
}

/// What became of a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The kernel took this many bytes, at least one; `batch.sent` is already advanced. May be fewer than asked for.
    Bytes(usize),
    /// It was cancelled before the kernel took any.
    Cancelled,
    /// The connection is broken.
    Broken(Errno),
    /// Nothing was taken for a passing reason (`EINTR`, `EAGAIN`): send again. Where the kernel is short of memory
    /// (`ENOBUFS`, `ENOMEM`), the driver has waited for a moment before it says so.
    Again,
}

/// What a worker is told.
///
/// On one socket, completions of the same direction come in the order of the events; a [`Completion::Sent`] and a
/// [`Completion::Received`] may overtake each other. A slot's [`Completion::Closed`] comes before it is given to
/// anybody else.
#[derive(Debug, PartialEq, Eq)]
pub enum Completion {
    /// A parked accept took a connection.
    Accepted {
        /// The listener that was parked on.
        listener: Listener,
        /// The new socket.
        token: Token,
        /// Its peer.
        peer: Peer,
    },
    /// A parked accept failed (a full table, out of memory). Park again later.
    AcceptFailed {
        /// The listener that was parked on.
        listener: Listener,
        /// Why.
        errno: Errno,
    },
    /// A connect is over.
    Connected {
        /// The tag of the operation.
        tag: u32,
        /// The socket, or why there is none. After an error nothing has to be closed.
        result: Result<Token, Errno>,
    },
    /// There is something to read, or the peer has ended. The poll is over.
    Readable {
        /// The socket.
        token: Token,
    },
    /// Bytes arrived.
    Received {
        /// The socket.
        token: Token,
        /// The bytes.
        chunk: Chunk,
        /// Whether the receive is still armed.
        more: bool,
    },
    /// A poll or receive is over without data.
    Ended {
        /// The socket.
        token: Token,
        /// Which operation.
        armed: Armed,
        /// Why.
        why: End,
    },
    /// A send is over.
    Sent {
        /// The socket.
        token: Token,
        /// The bytes, with `sent` advanced.
        batch: Batch,
        /// How it went.
        result: Sent,
    },
    /// The socket is closed; its token is dead.
    Closed {
        /// The token it had.
        token: Token,
    },
    /// Another worker, or the control thread, rang.
    Rung,
}

/// An operation that could not be queued; it is given back unchanged. Wait, then submit it again.
#[derive(Debug)]
pub struct Full(pub Op);

/// What a driver has done since it was built; each field only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// System calls made on the data path (`io_uring_enter`).
    pub system_calls: u64,
    /// Completions handed to the worker.
    pub completions: u64,
    /// Sends submitted.
    pub sends: u64,
    /// Receives that ended because the pool was empty.
    pub starved: u64,
    /// Times the completion queue overflowed into kernel memory.
    pub overflows: u64,
    /// Completions of a dead generation, dropped.
    pub stale: u64,
    /// Times the kernel was short of memory, or of room in another worker's queue, and was given a moment.
    pub pressed: u64,
}

/// Sockets as completions. See the [crate documentation](crate) for the rules.
pub trait Driver {
    /// Queues an operation; it reaches the kernel at the next [`Driver::wait`] at the latest.
    ///
    /// # Errors
    /// [`Full`] gives the operation back when the queue has no room even after flushing.
    fn submit(&mut self, op: Op) -> Result<(), Full>;

    /// Flushes what was queued and waits until `least` completions are there or `most` has passed. With
    /// `least == 0` it does not block. Returns at once when completions are already there.
    ///
    /// # Errors
    /// Only when the driver itself is broken; the worker cannot go on.
    fn wait(&mut self, least: u32, most: Option<Duration>) -> io::Result<()>;

    /// Takes the next completion.
    fn next(&mut self) -> Option<Completion>;

    /// How many completions can be taken now, or a few more. They come in the order of their events: when so many were
    /// taken, all that had happened by now has been told.
    fn waiting(&mut self) -> usize;

    /// The bytes of a chunk, to be opened in place.
    fn bytes(&mut self, chunk: &Chunk) -> &mut [u8];

    /// Gives a chunk back to the pool.
    fn recycle(&mut self, chunk: Chunk);

    /// What has been done so far.
    fn counters(&self) -> Counters;
}
