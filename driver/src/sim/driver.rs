//! One worker's view of the [`Net`]: operations in, completions out.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::Rng;
use super::links::{EndId, Owner, Phase, Readable};
use super::net::Net;
use super::pipe::Buffers;
use super::pool::Store;
use super::slots::{Slots, Tenant};
use super::world::{Desk, World};
use crate::ops::{
    Armed, Batch, Completion, Counters, Driver, End, Endpoint, Errno, Full, Listener, Mode, Op, Peer, Sent,
    Token,
};
use crate::pool::{Chunk, Pool, PoolSize};

/// What a worker's driver is made of.
#[derive(Clone, Debug)]
pub struct Config {
    /// Size of the socket table.
    pub slots: u32,
    /// Receive buffers for client links.
    pub links: PoolSize,
    /// Receive buffers for streams to backends.
    pub streams: PoolSize,
    /// Where the worker listens; [`Listener`] is an index into this list.
    pub listeners: Vec<Endpoint>,
    /// Socket buffers of everything accepted and dialled.
    pub buffers: Buffers,
}

/// A [`Driver`] over the simulated [`Net`]. Dropping it is what a killed process is: all its sockets are closed by
/// the kernel, its listeners are gone.
///
/// It never blocks: [`Driver::wait`] returns with whatever is there, the caller decides when time passes, and
/// [`SimDriver::sleeps`] tells whether a thread would have slept meanwhile. A chunk that is not recycled when the next
/// wait begins is a breach of contract.
#[derive(Debug)]
pub struct SimDriver {
    net: Net,
    worker: u32,
    rng: Rng,
    doors: Vec<usize>,
    buffers: Buffers,
    links: Store,
    streams: Store,
    operations: VecDeque<Op>,
    /// Completions by the step they become visible in, then by age.
    ready: BTreeMap<(u64, u64), Completion>,
    /// Completions up to this step can be taken.
    visible: u64,
    age: u64,
    /// By slot and direction (in, out): the step in which the newest completion becomes visible; no later one may
    /// overtake it.
    newest: Vec<[u64; 2]>,
    /// Refuses everything until the next wait.
    is_full: bool,
    /// How long the last wait may take; `None` without end.
    patience: Option<Duration>,
    counters: Counters,
}

impl SimDriver {
    /// Joins a network as its next worker.
    #[must_use]
    pub fn new(net: &Net, config: Config) -> SimDriver {
        let mut world = net.state();
        let worker = world.desks.len() as u32;
        let doors =
            config.listeners.iter().map(|at| world.listen(at, Some(worker), config.buffers)).collect();
        world.desks.push(Desk {
            slots: Slots::new(worker, config.slots),
            taken: VecDeque::new(),
            // A worker hears a ring when it starts: somebody may have rung before it had a bell.
            rung: true,
            is_gone: false,
            chunks_out: 0,
            operations: 0,
            completions: 0,
        });
        let rng = world.rng.fork();
        drop(world);
        SimDriver {
            net: net.clone(),
            worker,
            rng,
            doors,
            buffers: config.buffers,
            links: Store::new(Pool::Links, config.links),
            streams: Store::new(Pool::Streams, config.streams),
            operations: VecDeque::new(),
            ready: BTreeMap::new(),
            visible: 0,
            age: 0,
            newest: vec![[0; 2]; config.slots as usize],
            is_full: false,
            patience: Some(Duration::ZERO),
            counters: Counters::default(),
        }
    }

    /// Its number in the network; what [`Op::Ring`] names.
    #[must_use]
    pub fn worker(&self) -> u32 {
        self.worker
    }

    /// PoolSize handed out and not recycled; 0 between turns.
    #[must_use]
    pub fn chunks_out(&self) -> u32 {
        self.net.audit(self.worker).chunks_out
    }

    /// Whether a kernel would still keep the caller of the last [`Driver::wait`], `passed` after it was called. The wait
    /// itself never blocks; whoever simulates sleep asks this until it is false, and takes completions only then.
    pub fn sleeps(&mut self, passed: Duration) -> bool {
        self.enter();
        let is_woken = self.ready.first_key_value().is_some_and(|(&(due, _), _)| due <= self.visible);
        !is_woken && self.patience.is_none_or(|most| passed < most)
    }

    /// How long the caller of the last [`Driver::wait`] wants to be kept at most if nothing comes; `None` is for ever.
    pub const fn sleep_max(&self) -> Option<Duration> {
        self.patience
    }

    /// The kernel's part of a wait: carries out what was queued, and learns what has come.
    fn enter(&mut self) {
        let net = self.net.clone();
        let mut world = net.state();
        // Whether the news or the worker's own operations come first decides who wins a race with a cancel.
        let news_first = self.rng.one_in(2);
        for round in 0..2 {
            if news_first == (round == 0) {
                let mut news = world.links.take_news(self.worker);
                self.rng.shuffle(&mut news);
                for slot in news {
                    self.progress(&mut world, slot);
                }
            } else {
                while let Some(op) = self.operations.pop_front() {
                    self.desk(&mut world).operations -= 1;
                    self.execute(&mut world, op);
                }
            }
        }
        self.accept(&mut world);
        if std::mem::take(&mut self.desk(&mut world).rung) {
            self.push(&mut world, None, Completion::Rung);
        }
        // Without that fault nothing is held back any more, not even what it held back before.
        self.visible = if world.faults.late == 0 { u64::MAX } else { world.step };
    }

    fn desk<'w>(&self, world: &'w mut World) -> &'w mut Desk {
        &mut world.desks[self.worker as usize]
    }

    fn store(&mut self, pool: Pool) -> &mut Store {
        match pool {
            Pool::Links => &mut self.links,
            Pool::Streams => &mut self.streams,
        }
    }

    fn execute(&mut self, world: &mut World, op: Op) {
        match op {
            Op::Park { listener } => {
                let at = usize::from(listener.0);
                world.park(self.doors[at], self.worker, at);
            }
            Op::Unpark { listener } => {
                if world.unpark(self.doors[usize::from(listener.0)], self.worker) {
                    let errno = Errno::CANCELLED;
                    self.push(world, None, Completion::AcceptFailed { listener, errno });
                }
            }
            Op::Connect { tag, from, to, .. } => self.connect(world, tag, from, &to),
            Op::Poll { token } => {
                self.desk(world).slots.at(token.slot).poll = true;
                self.progress(world, token.slot);
            }
            Op::Receive { token, pool, mode } => {
                self.desk(world).slots.at(token.slot).receive = Some((pool, mode));
                self.progress(world, token.slot);
            }
            Op::Send { token, batch } => {
                self.counters.sends += 1;
                self.desk(world).slots.at(token.slot).send = Some(batch);
                self.progress(world, token.slot);
            }
            Op::Cancel { token, armed } => self.cancel(world, token, armed),
            Op::Close { token } => self.close(world, token),
            Op::Ring { worker } => world.ring(worker),
        }
    }

    fn connect(&mut self, world: &mut World, tag: u32, from: Option<IpAddr>, to: &Endpoint) {
        if let Some(Err(errno)) = from.map(|from| to.check_source(from)) {
            return self.push(world, None, Completion::Connected { tag, result: Err(errno) });
        }
        // The tenancy needs the link and the link the slot: the slot comes first, with a link filled in below.
        let nowhere = EndId { link: u32::MAX, side: 0 };
        let desk = &mut world.desks[self.worker as usize];
        let Some(token) = desk.slots.open(&mut self.rng, Tenant::Dialing { tag, end: nowhere }) else {
            let result = Err(Errno(libc::ENFILE));
            return self.push(world, None, Completion::Connected { tag, result });
        };
        let from = match to {
            Endpoint::Tcp(to) => {
                let usual =
                    if to.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
                Peer::Tcp(SocketAddr::new(from.unwrap_or(usual), 0))
            }
            Endpoint::Unix(_) => Peer::Unix,
        };
        let owner = Owner::Worker { worker: self.worker, slot: token.slot };
        let end = world.dial(to, from, owner, self.buffers);
        self.desk(world).slots.at(token.slot).tenant = Tenant::Dialing { tag, end };
    }

    /// Learns of the connections that parked accepts have taken.
    fn accept(&mut self, world: &mut World) {
        while let Some((listener, end)) = self.desk(world).taken.pop_front() {
            self.accepted(world, Listener(listener as u8), end);
        }
    }

    fn accepted(&mut self, world: &mut World, listener: Listener, end: EndId) {
        if self.rng.one_in(world.faults.accept_failed) {
            let errno = Errno([libc::ENOMEM, libc::ECONNABORTED, libc::ENFILE][self.rng.below(3)]);
            world.links.close(end);
            return self.push(world, None, Completion::AcceptFailed { listener, errno });
        }
        let desk = &mut world.desks[self.worker as usize];
        let Some(token) = desk.slots.open(&mut self.rng, Tenant::Open(end)) else {
            // The kernel finds out only after it has taken the connection; all it can do is to drop it.
            world.links.close(end);
            let errno = Errno(libc::ENFILE);
            return self.push(world, None, Completion::AcceptFailed { listener, errno });
        };
        world.links.own(end, Owner::Worker { worker: self.worker, slot: token.slot });
        let peer = world.links.get(end.link).expect("a waiting link is kept alive by its backlog").from;
        self.push(world, Some(token.slot), Completion::Accepted { listener, token, peer });
    }

    /// Looks at everything that is armed on a slot and at what its link has for it.
    fn progress(&mut self, world: &mut World, slot: u32) {
        match self.desk(world).slots.at(slot).tenant {
            Tenant::Dialing { tag, end } => self.progress_connect(world, slot, tag, end),
            Tenant::Open(end) => {
                world.links.looked(end);
                self.progress_poll(world, slot, end);
                while self.progress_receive(world, slot, end) {}
                self.progress_send(world, slot, end);
            }
            Tenant::Free | Tenant::Closing(_) => {}
        }
    }

    fn progress_connect(&mut self, world: &mut World, slot: u32, tag: u32, end: EndId) {
        world.links.looked(end);
        let phase = world.links.get(end.link).expect("a dialling slot keeps its link alive").phase;
        let result = match phase {
            Phase::Dialing => return,
            Phase::Open => {
                let slots = &mut self.desk(world).slots;
                slots.at(slot).tenant = Tenant::Open(end);
                Ok(slots.token(slot))
            }
            Phase::Refused(errno) => {
                world.links.close(end);
                self.desk(world).slots.release(slot);
                Err(errno)
            }
        };
        self.push(world, Some(slot), Completion::Connected { tag, result });
    }

    fn progress_poll(&mut self, world: &mut World, slot: u32, end: EndId) {
        if !self.desk(world).slots.at(slot).poll {
            return;
        }
        let readable = world.links.readable(end);
        let lapsed = self.rng.one_in(world.faults.lapse);
        // For an end alone a kernel may report either; the worker has to live with both.
        let plainly = self.rng.one_in(2);
        let why = match readable {
            _ if lapsed => Some(End::Lapsed),
            Readable::Nothing => return,
            Readable::Eof if !plainly => Some(End::Eof),
            Readable::Broken(errno) if !plainly => Some(End::Broken(errno)),
            Readable::Bytes | Readable::Eof | Readable::Broken(_) => None,
        };
        let slots = &mut self.desk(world).slots;
        slots.at(slot).poll = false;
        let token = slots.token(slot);
        let completion = match why {
            Some(why) => Completion::Ended { token, armed: Armed::Poll, why },
            None => Completion::Readable { token },
        };
        self.push(world, Some(slot), completion);
    }

    /// Returns whether there may be more to do.
    fn progress_receive(&mut self, world: &mut World, slot: u32, end: EndId) -> bool {
        let Some((pool, mode)) = self.desk(world).slots.at(slot).receive else { return false };
        let token = self.desk(world).slots.token(slot);
        let readable = world.links.readable(end);
        let why = match readable {
            _ if self.rng.one_in(world.faults.starved) => Some(End::Starved),
            _ if self.rng.one_in(world.faults.lapse) => Some(End::Lapsed),
            Readable::Nothing => return false,
            Readable::Bytes if !self.store(pool).has_free() => Some(End::Starved),
            Readable::Bytes => None,
            Readable::Eof => Some(End::Eof),
            // A kernel names the reason once.
            Readable::Broken(_) => Some(world.links.take_break(end).map_or(End::Eof, End::Broken)),
        };
        if let Some(why) = why {
            self.desk(world).slots.at(slot).receive = None;
            self.counters.starved += u64::from(why == End::Starved);
            self.push(world, Some(slot), Completion::Ended { token, armed: Armed::Receive, why });
            return false;
        }
        let chunk = self.store(pool).fill(|into| world.links.read(end, into));
        let chunk = chunk.expect("a free buffer was seen just now");
        // A multishot may end with data too: the kernel then leaves the mark for more away.
        let more = mode == Mode::Multishot && !self.rng.one_in(world.faults.lapse);
        if !more {
            self.desk(world).slots.at(slot).receive = None;
        }
        self.push(world, Some(slot), Completion::Received { token, chunk, more });
        more
    }

    fn progress_send(&mut self, world: &mut World, slot: u32, end: EndId) {
        let slots = &mut self.desk(world).slots;
        let token = slots.token(slot);
        let Some(mut batch) = slots.at(slot).send.take() else { return };
        let broken = world.links.is_broken(end);
        let again = !broken && self.rng.one_in(world.faults.again);
        let room = world.links.send_room(end).min(batch.rest().len());
        let result = if broken {
            Sent::Broken(world.links.take_break(end).unwrap_or(Errno(libc::EPIPE)))
        } else if again {
            Sent::Again
        } else if room == 0 {
            self.desk(world).slots.at(slot).send = Some(batch);
            return;
        } else {
            let short = self.rng.one_in(world.faults.short_send);
            let taken = if short { 1 + self.rng.below(room) } else { room };
            world.links.write(end, &batch.rest()[..taken]);
            batch.sent += taken;
            Sent::Bytes(taken)
        };
        self.push(world, Some(slot), Completion::Sent { token, batch, result });
    }

    /// Ends an operation that is still with the kernel. One that is over already keeps its own completion.
    fn cancel(&mut self, world: &mut World, token: Token, armed: Armed) {
        let slot = self.desk(world).slots.at(token.slot);
        let ended = Completion::Ended { token, armed, why: End::Cancelled };
        let completion = match armed {
            Armed::Poll => std::mem::take(&mut slot.poll).then_some(ended),
            Armed::Receive => slot.receive.take().map(|_| ended),
            Armed::Send => {
                let cancelled = |batch: Batch| Completion::Sent { token, batch, result: Sent::Cancelled };
                slot.send.take().map(cancelled)
            }
        };
        if let Some(completion) = completion {
            self.push(world, Some(token.slot), completion);
        }
    }

    fn close(&mut self, world: &mut World, token: Token) {
        let Tenant::Closing(end) = self.desk(world).slots.at(token.slot).tenant else {
            unreachable!("a close is marked when it is submitted")
        };
        world.links.close(end);
        self.push(world, Some(token.slot), Completion::Closed { token });
        self.desk(world).slots.release(token.slot);
    }

    /// Queues a completion, perhaps for a later step, but never ahead of an older one of the same slot and direction.
    fn push(&mut self, world: &mut World, slot: Option<u32>, completion: Completion) {
        let mut due = world.step;
        if self.rng.one_in(world.faults.late) {
            due += 1 + self.rng.below(world.faults.late_steps_max as usize) as u64;
        }
        if let Some(slot) = slot {
            let newest = &mut self.newest[slot as usize];
            match completion {
                Completion::Sent { .. } => {
                    due = due.max(newest[1]);
                    newest[1] = due;
                }
                Completion::Received { .. } | Completion::Readable { .. } | Completion::Ended { .. } => {
                    due = due.max(newest[0]);
                    newest[0] = due;
                }
                // The beginning and the end of a tenancy stand between everything.
                _ => {
                    due = due.max(newest[0]).max(newest[1]);
                    *newest = [due; 2];
                }
            }
        }
        self.age += 1;
        world.note(due << 24 | u64::from(slot.unwrap_or(0)));
        self.ready.insert((due, self.age), completion);
        self.desk(world).completions += 1;
    }
}

impl Driver for SimDriver {
    fn submit(&mut self, op: Op) -> Result<(), Full> {
        let net = self.net.clone();
        let mut world = net.state();
        self.is_full |= self.rng.one_in(world.faults.full);
        if self.is_full {
            return Err(Full(op));
        }
        let listeners = self.doors.len();
        let known = !matches!(op, Op::Park { listener } | Op::Unpark { listener }
            if usize::from(listener.0) >= listeners);
        assert!(known, "contract broken by worker {}: {op:?} with {listeners} listeners", self.worker);
        let desk = self.desk(&mut world);
        desk.slots.submitted(&op);
        desk.operations += 1;
        self.operations.push_back(op);
        Ok(())
    }

    fn wait(&mut self, least: u32, most: Option<Duration>) -> io::Result<()> {
        let out = self.net.audit(self.worker).chunks_out;
        assert!(
            out == 0,
            "contract broken by worker {}: {out} chunks not recycled in their turn",
            self.worker
        );
        self.counters.system_calls += 1;
        self.is_full = false;
        self.patience = if least == 0 { Some(Duration::ZERO) } else { most };
        self.enter();
        Ok(())
    }

    fn next(&mut self) -> Option<Completion> {
        let first = self.ready.first_entry().filter(|first| first.key().0 <= self.visible)?;
        let completion = first.remove();
        self.counters.completions += 1;
        let net = self.net.clone();
        let mut world = net.state();
        let desk = self.desk(&mut world);
        desk.completions -= 1;
        desk.slots.taken(&completion);
        if let Completion::Received { chunk, .. } = &completion {
            desk.chunks_out += 1;
            self.store(chunk.pool).hand_out(chunk);
        }
        Some(completion)
    }

    fn waiting(&mut self) -> usize {
        self.ready.range(..=(self.visible, u64::MAX)).count()
    }

    fn bytes(&mut self, chunk: &Chunk) -> &mut [u8] {
        self.store(chunk.pool).bytes(chunk)
    }

    fn recycle(&mut self, chunk: Chunk) {
        self.store(chunk.pool).recycle(chunk);
        self.net.state().desks[self.worker as usize].chunks_out -= 1;
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}

impl Drop for SimDriver {
    fn drop(&mut self) {
        // While a panic unwinds, the net may still be borrowed; then it does not matter any more.
        let Some(mut world) = self.net.try_state() else { return };
        for &door in &self.doors {
            world.shut(door, Some(self.worker));
        }
        while let Some((_, end)) = self.desk(&mut world).taken.pop_front() {
            world.drop_link(end);
        }
        world.links.take_news(self.worker);
        let desk = self.desk(&mut world);
        let gone = std::mem::replace(&mut desk.slots, Slots::new(self.worker, 0));
        desk.is_gone = true;
        (desk.operations, desk.completions, desk.chunks_out, desk.rung) = (0, 0, 0, false);
        for slot in gone.iter() {
            match slot.tenant {
                Tenant::Dialing { end, .. } | Tenant::Open(end) | Tenant::Closing(end) => {
                    world.links.close(end)
                }
                Tenant::Free => {}
            }
        }
    }
}
