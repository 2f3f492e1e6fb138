//! The driver over io_uring: one ring per worker, all sockets in the ring's own table.
//!
//! ```text
//!            submit          wait (one system call)         next
//! Op ──► submit.rs ──► SQ ──► ring.rs ──► CQ ──► complete.rs ──► Completion
//!              │                                     │
//!              └── slots.rs: whose slot, what armed ─┘── buffers.rs: chunks
//!                             ▲                      │
//!                             └── owed: follow-ups ◄─┘
//! ```
//!
//! * Sockets are direct descriptors: they take no entry in the process's table, and the kernel picks the slot.
//! * Each parked accept is a single shot with an address of its own, because a multishot accept shares one.
//! * User space keeps 8 bytes per slot; a batch is kept for the time of its send, 36 bytes in a side table.
//! * A completion only records. What it makes necessary (the second step of a connect, a close that waited for the
//!   last ending) is *owed* and queued at the start of the next wait.

mod buffers;
mod complete;
mod ring;
pub(crate) mod setup;
mod slots;
mod stable;
mod submit;
mod tag;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::OwnedFd;
use std::time::Duration;

use io_uring::opcode;
use io_uring::squeue::Flags;
use io_uring::types::{CancelBuilder, Timespec};

use self::buffers::Buffers;
use self::ring::{Ring, Sleep};
use self::slots::Slots;
use self::stable::Stable;
use self::tag::{Kind, pack_index};
use crate::address::{Address, PeerRoom};
use crate::doorbell::{Doorbells, Waker};
use crate::ops::{Armed, Completion, Counters, Driver, Full, Listener, Op, Token};
use crate::pool::{Chunk, Pool};

pub use self::setup::RingConfig;

/// A worker's ring. Stays on the thread that built it.
pub struct Uring {
    ring: Ring,
    lent: ManuallyDrop<Lent>,
    listeners: Vec<OwnedFd>,
    doorbells: Doorbells,
    index: u32,
    waker: Waker,
    /// What the worker is to be told before the next completion of the kernel.
    ready: VecDeque<Completion>,
    owed: VecDeque<Owed>,
    /// Operations the kernel has not completed for the last time.
    in_flight: u32,
    /// Completions handed out since the last wait.
    turn: u32,
    counters: Counters,
    batch_wait: Option<Duration>,
    batch_least: u32,
    connect_timeout: Option<Duration>,
    /// Places of parked accepts, by listener.
    parked: Vec<Vec<u32>>,
    pressed: Pressed,
}

/// Memory the kernel knows addresses of. It must not be freed before every operation is over.
struct Lent {
    slots: Slots,
    links: Buffers,
    streams: Buffers,
    parks: Stable<Park>,
    dials: Stable<Dial>,
    /// Where the eventfd's counter is read to.
    woken: Stable<u64>,
    /// The `TCP_USER_TIMEOUT` of sockets that are closed, in milliseconds; nothing where there is none.
    close_timeout: Stable<i32>,
}

/// An accept that waits.
#[derive(Clone, Copy)]
struct Park {
    listener: Listener,
    peer: PeerRoom,
}

/// A connect under way: `Socket` → options and `Connect` (with its time limit) → done, or `Abandon` → failed. From a
/// certain address: `Install` instead of `Socket`. To a Unix socket of a certain user: `Install` → done or failed.
struct Dial {
    tag: u32,
    address: Address,
    slot: u32,
    errno: i32,
    limit: Option<Timespec>,
    /// The socket that is on its way into a slot. The kernel gets a descriptor of its own.
    made: Option<OwnedFd>,
    /// In: the descriptor of `made`; out: the slot.
    install: i32,
    /// `made` is connected already, and not merely bound.
    is_connected: bool,
}

impl Dial {
    fn new(tag: u32, address: Address) -> Dial {
        Dial { tag, address, slot: 0, errno: 0, limit: None, made: None, install: -1, is_connected: false }
    }
}

/// What a completion has left to be submitted.
#[derive(Debug)]
enum Owed {
    Wake,
    Dial { place: u32 },
    Abandon { place: u32 },
    Close { token: Token },
    Cancel { token: Token, armed: Armed },
    Ring { worker: u32 },
    Pause,
}

/// What has to wait for a moment since the kernel is short of memory: tried again at once, it would fail again, and the
/// worker would do nothing else.
#[derive(Debug, Default)]
struct Pressed {
    /// What the worker is told then.
    completions: Vec<Completion>,
    /// Workers that are to be rung then.
    rings: Vec<u32>,
    /// Whether the moment is under way.
    pauses: bool,
}

impl Uring {
    /// Size of the socket table, after all limits.
    #[must_use]
    pub fn slots(&self) -> u32 {
        self.lent.slots.len()
    }

    /// Wakes this worker from any thread.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// The listening sockets, in the order of their indices.
    #[must_use]
    pub fn listeners(&self) -> &[OwnedFd] {
        &self.listeners
    }

    /// Number of chunks that are with the worker. Zero between turns.
    #[must_use]
    pub fn chunks_out(&self) -> u32 {
        self.lent.links.out() + self.lent.streams.out()
    }

    /// Number of accepts that are parked.
    #[must_use]
    pub fn parked(&self) -> usize {
        self.lent.parks.len()
    }

    fn pool(&mut self, pool: Pool) -> &mut Buffers {
        match pool {
            Pool::Links => &mut self.lent.links,
            Pool::Streams => &mut self.lent.streams,
        }
    }
}

impl Driver for Uring {
    fn submit(&mut self, op: Op) -> Result<(), Full> {
        if !self.ring.has_room(ENTRIES_PER_OP) {
            return Err(Full(op));
        }
        match op {
            Op::Park { listener } => self.park(listener),
            Op::Unpark { listener } => self.unpark(listener),
            Op::Connect { tag, from, to, trust } => self.dial(tag, from, &to, trust),
            Op::Poll { token } => self.poll(token),
            Op::Receive { token, pool, mode } => self.receive(token, pool, mode),
            Op::Send { token, batch } => self.send(token, batch),
            Op::Cancel { token, armed } => self.cancel(token, armed),
            Op::Close { token } => self.close(token),
            Op::Ring { worker } => self.ring_worker(worker),
        }
        Ok(())
    }

    fn wait(&mut self, least: u32, most: Option<Duration>) -> io::Result<()> {
        self.lent.links.publish();
        self.lent.streams.publish();
        self.pay();
        let busy = std::mem::take(&mut self.turn) >= self.batch_least;
        let must_not_sleep = least == 0 || !self.ready.is_empty() || !self.owed.is_empty();
        let sleep = if must_not_sleep || self.ring.waiting() > 0 {
            Sleep::No
        } else {
            match self.batch_wait {
                Some(batch) if busy => {
                    Sleep::Until { least: least.max(self.batch_least), most, batch: Some(batch) }
                }
                _ => Sleep::Until { least, most, batch: None },
            }
        };
        self.ring.enter(sleep)
    }

    fn next(&mut self) -> Option<Completion> {
        let completion = loop {
            if let Some(completion) = self.ready.pop_front() {
                break completion;
            }
            let event = self.ring.take()?;
            if let Some(completion) = self.complete(event) {
                break completion;
            }
        };
        self.turn += 1;
        self.counters.completions += 1;
        Some(completion)
    }

    fn waiting(&mut self) -> usize {
        self.ready.len() + self.ring.waiting()
    }

    fn bytes(&mut self, chunk: &Chunk) -> &mut [u8] {
        self.pool(chunk.pool).bytes(chunk.id, chunk.start, chunk.len)
    }

    fn recycle(&mut self, chunk: Chunk) {
        self.pool(chunk.pool).recycle(chunk.id);
    }

    fn counters(&self) -> Counters {
        Counters { system_calls: self.ring.system_calls(), overflows: self.ring.overflows(), ..self.counters }
    }
}

impl Drop for Uring {
    /// Cancels everything and waits until the kernel has let go of our memory. Should it not, for a second, the memory
    /// is leaked: a leak at exit is better than a kernel that writes into freed pages.
    fn drop(&mut self) {
        self.doorbells.leave(self.index);
        for _ in 0..DROP_TRIES {
            if self.in_flight > 0 && self.ring.has_room(1) {
                let entry = opcode::AsyncCancel2::new(CancelBuilder::any())
                    .build()
                    .flags(Flags::SKIP_SUCCESS)
                    .user_data(pack_index(0, Kind::CancelAll));
                // SAFETY: the entry names no memory.
                unsafe { self.ring.push(&entry) };
            }
            let least = u32::from(self.in_flight > 0);
            let sleep = Sleep::Until { least, most: Some(DROP_PATIENCE), batch: None };
            if self.ring.enter(sleep).is_err() {
                break;
            }
            while self.ring.waiting() > 0 {
                self.next();
            }
            if self.in_flight == 0 {
                // SAFETY: dropped here only, and never used again: no operation is left that knows its addresses.
                unsafe { ManuallyDrop::drop(&mut self.lent) };
                break;
            }
        }
        debug_assert!(
            self.in_flight == 0 || std::thread::panicking(),
            "{} operations never ended",
            self.in_flight
        );
        // Closes the sockets now and not when the kernel gets round to taking the ring apart.
        let _best_effort = self.ring.io().submitter().unregister_files();
    }
}

impl fmt::Debug for Uring {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Uring")
            .field("index", &self.index)
            .field("slots", &self.slots())
            .field("in_flight", &self.in_flight)
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}

/// The most entries one operation or follow-up takes: an option, a connect and its time limit, or an option and a close.
const ENTRIES_PER_OP: usize = 4;
const DROP_TRIES: u32 = 20;
const DROP_PATIENCE: Duration = Duration::from_millis(50);
