//! A core's worker: everything one thread holds, and its turn.
//!
//! ```text
//! wait → learn every completion → (time has passed) → letters → handshakes within budget → flush once
//! ```
//!
//! [`Worker`] is the thin shell over a [`Driver`]; all state is in its core, which knows no driver: completions
//! come in as values, operations leave in a queue. The files of this module are the way of a message, in order.

mod accept;
mod auth;
mod close;
mod delegated;
mod downlink;
mod flush;
mod handshake;
mod letters;
mod mailbox;
mod presence;
mod requests;
pub mod settings;
mod streams;
mod timers;
mod uplink;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use driver::{Completion, Driver, Full, Op, Token};
use protocol::buffer::Partials;
use protocol::link::Acceptor;
use protocol::{Time, UnixMillis};

use crate::admission::ReplayFilter;
use crate::collections::{HashKey, Key, Pool, Slab, Wheel};
use crate::counters::Counters;
use crate::directory::claims::{self, Claims};
use crate::id::LinkId;
use crate::link::Table;
use crate::session::Session;
use crate::upstream::StreamIndex;
use crate::upstream::park::Park;
use crate::upstream::pending::Pending;
use crate::upstream::route::Routes;
pub use mailbox::{Letter, Mailbox, Post};
pub use settings::Settings;

/// A worker over a driver.
#[derive(Debug)]
pub struct Worker<D> {
    driver: D,
    core: Core,
}

/// A source of randomness: the operating system's, or a seeded one in the simulator.
pub type Random = Box<dyn FnMut(&mut [u8]) + Send>;

/// What a worker shares with the rest of its process.
pub struct Surroundings {
    /// The server's end of handshakes.
    pub acceptor: Acceptor,
    /// The worker's cells.
    pub counters: Arc<Counters>,
    /// Its own letters.
    pub mailbox: Mailbox,
    /// The ways to all workers, by index, itself included.
    pub posts: Vec<Post>,
    /// Keys of the hashes that attackers must not predict; the same for all workers.
    pub hash: HashKey,
    /// Key of the hashes that all gateways of a group agree on: where users are placed, what logins are called.
    pub group: HashKey,
    /// Fresh randomness.
    pub random: Random,
}

/// All state of a worker.
pub(crate) struct Core {
    settings: Settings,
    acceptor: Acceptor,
    counters: Arc<Counters>,
    hash: HashKey,
    group: HashKey,
    random: Random,
    now: Time,
    wall: UnixMillis,
    ops: VecDeque<Op>,
    stopping: bool,

    links: Table,
    slots_taken: u32,
    parked: u32,
    /// An accept failed in this turn; parking again at once would fail again.
    /// When accepts may be parked again, after a failure.
    park_at: Option<Time>,
    timers: Wheel,
    partials: Partials,
    buffers: Pool,
    dirty: Vec<Token>,
    starved: Vec<Token>,
    outgoing_bytes: usize,
    /// Bytes of sends in flight to links that are not ending.
    sending_bytes: usize,
    lingering: usize,

    strangers: VecDeque<Token>,
    strangers_count: usize,
    hailed: VecDeque<Token>,
    replays: ReplayFilter,

    sessions: Slab<Session>,
    claims: Claims,
    mailbox: Mailbox,
    posts: Vec<Post>,
    unsent: VecDeque<(u32, Letter)>,
    /// Workers whose queues were found full.
    full: Vec<u32>,
    to_ring: Vec<u32>,

    streams: Vec<streams::Stream>,
    dirty_streams: Vec<u16>,
    starved_streams: Vec<u16>,
    routes: Routes,
    pending: Pending,
    park: Park,
    judging: Slab<delegated::Judging>,
    /// All have the same time, so the first to be asked is the first to be due.
    verdicts_due: VecDeque<(Time, Key)>,
    /// Scratch lists, kept for their memory.
    found: Vec<LinkId>,
    presence: Vec<StreamIndex>,
}

impl<D: Driver> Worker<D> {
    /// A worker at `now`; the first turn parks its accepts and dials its backends.
    #[must_use]
    pub fn new(driver: D, settings: Settings, surroundings: Surroundings, now: Time) -> Self {
        Self { driver, core: Core::new(settings, surroundings, now) }
    }

    /// Waits until there is something to do.
    ///
    /// # Errors
    /// Only when the driver is broken.
    pub fn wait(&mut self) -> io::Result<()> {
        let most = self.core.time_left();
        let least = u32::from(most != Some(Duration::ZERO));
        self.driver.wait(least, most)
    }

    /// Learns what happened, lets time pass and sends what is due. Whether the worker goes on: not after it was
    /// told to stop and everything is closed.
    pub fn turn(&mut self, now: Time, wall: UnixMillis) -> bool {
        let Self { driver, core } = self;
        core.mailbox.wake();
        (core.now, core.wall) = (now, wall);
        core.counters.turns.add(1);
        while let Some(done) = driver.next() {
            completed(driver, core, done);
        }
        core.read_letters();
        core.expire();
        core.run_handshakes();
        core.flush();
        while let Some(op) = core.ops.pop_front() {
            if let Err(Full(op)) = driver.submit(op) {
                core.ops.push_front(op);
                break;
            }
        }
        core.publish(driver.counters());
        !core.is_stopped()
    }

    /// The driver, for the simulator's assertions.
    pub fn driver(&mut self) -> &mut D {
        &mut self.driver
    }

    /// What the worker holds, for the simulator's assertions.
    #[must_use]
    pub fn census(&self) -> Census {
        self.core.census()
    }
}

/// The one `match` over what a driver can tell.
fn completed<D: Driver>(driver: &mut D, core: &mut Core, done: Completion) {
    match done {
        Completion::Accepted { token, peer, .. } => core.accepted(token, peer),
        Completion::AcceptFailed { errno, .. } => core.accept_failed(errno),
        Completion::Connected { tag, result } => core.connected(tag, result),
        Completion::Readable { token } => core.readable(token),
        Completion::Received { token, chunk, more } => {
            core.received(token, driver.bytes(&chunk), more);
            driver.recycle(chunk);
        }
        Completion::Ended { token, why, .. } => core.ended(token, why),
        Completion::Sent { token, batch, result } => core.sent(token, batch, result),
        Completion::Closed { token } => core.closed(token),
        // Letters are read in every turn.
        Completion::Rung => {}
    }
}

/// How much a worker holds of everything that must go back to zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Links in the table.
    pub links: usize,
    /// Links that have proved nothing.
    pub strangers: usize,
    /// Complete hellos that wait for the handshake budget, and those whose link died meanwhile.
    pub hailed: usize,
    /// Links that say their last frame.
    pub lingering: usize,
    /// Sessions.
    pub sessions: usize,
    /// Claims this worker owns.
    pub claims: usize,
    /// Bytes of partial records and frames.
    pub partial_bytes: usize,
    /// Bytes that wait to be sent to links, or are on their way.
    pub outgoing_bytes: usize,
    /// Requests at backends.
    pub pending: usize,
    /// Requests that wait for credit.
    pub parked: usize,
    /// Bytes of them.
    pub parked_bytes: usize,
    /// Tokens at a backend that judges them.
    pub judging: usize,
    /// Letters in its own queue.
    pub letters: usize,
    /// Workers with letters from this one that are still to be rung.
    pub unrung: usize,
    /// Letters that wait for room in another worker's queue.
    pub unsent: usize,
    /// Streams that are ready.
    pub streams: usize,
}

impl Core {
    fn new(settings: Settings, with: Surroundings, now: Time) -> Self {
        let slots = settings.slots as usize;
        let streams_len = settings.endpoints.len() as u16;
        let mut core = Self {
            links: Table::new(slots),
            timers: Wheel::new(TICK, slots + settings.endpoints.len(), now),
            partials: Partials::new(settings.partial_bytes_max),
            buffers: Pool::new(settings.buffers_idle_max),
            replays: ReplayFilter::new(settings.replay_filter_len),
            sessions: Slab::new(settings.slots),
            claims: Claims::new(
                with.hash,
                &claims::Bounds {
                    links: slots,
                    devices_max: settings.devices_max,
                    tombstones_max: settings.tombstones_max,
                    tombstone: settings.tombstone_time,
                    revocations_max: settings.revocations_max,
                },
            ),
            routes: Routes::new(
                &with.group,
                settings.endpoints.iter().map(|endpoint| endpoint.name.as_str()),
                settings.routes.clone(),
            ),
            pending: Pending::new(settings.in_flight, settings.slots, streams_len, now),
            park: Park::new(settings.waiting, settings.routes.len() as u16, streams_len, settings.slots, now),
            judging: Slab::new(settings.auth.in_flight_max()),
            verdicts_due: VecDeque::new(),
            streams: streams::all(&settings, now),
            starved_streams: Vec::new(),
            found: Vec::new(),
            presence: Vec::new(),
            acceptor: with.acceptor,
            counters: with.counters,
            hash: with.hash,
            group: with.group,
            random: with.random,
            mailbox: with.mailbox,
            posts: with.posts,
            settings,
            now,
            wall: UnixMillis(0),
            ops: VecDeque::new(),
            stopping: false,
            slots_taken: 0,
            parked: 0,
            dirty: Vec::new(),
            starved: Vec::new(),
            outgoing_bytes: 0,
            sending_bytes: 0,
            lingering: 0,
            strangers: VecDeque::new(),
            strangers_count: 0,
            hailed: VecDeque::new(),
            unsent: VecDeque::new(),
            full: Vec::new(),
            to_ring: Vec::new(),
            dirty_streams: Vec::new(),
            park_at: None,
        };
        core.dial_all();
        core
    }

    /// How long the driver may wait; `None` without a deadline, zero when work is left over from this turn.
    fn time_left(&mut self) -> Option<Duration> {
        let work_left = !self.ops.is_empty() || !self.hailed.is_empty() || !self.unsent.is_empty();
        let work_left = work_left || self.has_missed();
        if work_left || !self.mailbox.may_sleep() {
            return Some(Duration::ZERO);
        }
        self.next_deadline().map(|deadline| deadline.since(self.now))
    }

    /// A fresh random number.
    fn random_number(&mut self) -> u64 {
        let mut bytes = [0; 8];
        (self.random)(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// Copies what is not counted where it happens into the worker's cells.
    fn publish(&self, driver: driver::Counters) {
        let counters = &self.counters;
        counters.links.set(self.links.links() as u64);
        counters.strangers.set(self.strangers_count as u64);
        counters.links_lingering.set(self.lingering as u64);
        counters.sessions.set(self.sessions.len() as u64);
        counters.takeovers_remembered.set(self.claims.tombstones().len() as u64);
        counters.takeovers_forgotten.set(self.claims.tombstones().evicted());
        counters.revocations_remembered.set(self.claims.revocations().len() as u64);
        counters.revocations_forgotten.set(self.claims.revocations().evicted());
        counters.authentications_in_flight.set(self.judging.len() as u64);
        counters.hellos_remembered.set(self.replays.len() as u64);
        counters.handshakes_waiting.set(self.hailed.len() as u64);
        counters.outbox_bytes.set((self.outgoing_bytes + self.sending_bytes) as u64);
        counters.partial_bytes.set(self.partials.bytes() as u64);
        counters.requests_in_flight.set(self.pending.len().into());
        counters.requests_parked.set(self.park.len() as u64);
        counters.requests_parked_bytes.set(self.park.bytes() as u64);
        counters.idle_buffer_bytes.set(self.buffers.idle_bytes() as u64);
        counters.streams.set(self.streams.iter().filter(|stream| stream.is_ready()).count() as u64);
        counters.stream_outbox_bytes.set(self.streams.iter().map(|stream| stream.pending() as u64).sum());
        counters.letters_waiting.set(self.mailbox.len() as u64);
        counters.driver_system_calls.set(driver.system_calls);
        counters.driver_completions.set(driver.completions);
        counters.driver_starved.set(driver.starved);
        counters.driver_overflows.set(driver.overflows);
    }

    fn census(&self) -> Census {
        Census {
            links: self.links.links(),
            strangers: self.strangers_count,
            hailed: self.hailed.len(),
            lingering: self.lingering,
            sessions: self.sessions.len(),
            claims: self.claims.len(),
            partial_bytes: self.partials.bytes(),
            outgoing_bytes: self.outgoing_bytes + self.sending_bytes,
            pending: self.pending.len() as usize,
            parked: self.park.len(),
            parked_bytes: self.park.bytes(),
            judging: self.judging.len(),
            letters: self.mailbox.len(),
            unrung: self.to_ring.len(),
            unsent: self.unsent.len(),
            streams: self.streams.iter().filter(|stream| stream.is_ready()).count(),
        }
    }

    fn is_stopped(&self) -> bool {
        self.stopping && self.slots_taken == 0 && self.ops.is_empty()
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("worker", &self.settings.worker).field("census", &self.census()).finish()
    }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").field("posts", &self.posts.len()).finish_non_exhaustive()
    }
}

/// Resolution of deadlines: fine enough for a handshake's five seconds, coarse enough to batch heartbeats.
const TICK: Duration = Duration::from_millis(100);
