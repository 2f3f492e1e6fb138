//! Any driver, made worse on purpose: a seeded plan of everything a kernel may do on a bad day.
//!
//! The faults are real where that matters: a short send is shortened *before* it is submitted, so the bytes the
//! worker is told were not taken have indeed not left. Nothing here breaks the rules of [`Driver`]: each operation
//! still ends exactly once, completions of one operation keep their order, every batch and chunk comes back in time.
//!
//! ```text
//! submit ─► refuse (Full) ─► decide ─┬─► inner.submit ─► inner.next ─► translate ─┬─► worker
//!                                    └─► an ending of our own ─► held ◄───────────┘
//!                                                                 └─ wait ─► worker
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::time::Duration;

use crate::ops::{Armed, Batch, Completion, Counters, Driver, End, Errno, Full, Mode, Op, Sent, Token};
use crate::pool::{Chunk, Pool};

/// Which faults, how often. Rates are out of [`Plan::ALWAYS`] and apply to each operation or completion of the kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What the sequence of decisions grows from; the same seed and the same calls give the same faults.
    pub seed: u64,
    /// Operations refused with [`Full`]; all others are refused too until the next wait.
    pub full: u16,
    /// Accepts that fail with `ENFILE`.
    pub accept_failed: u16,
    /// Connects that are refused.
    pub refused: u16,
    /// Sends of which only a part is submitted.
    pub short_send: u16,
    /// Sends of which nothing is taken for now.
    pub again: u16,
    /// Polls, receives and sends that end cancelled though nobody asked.
    pub cancelled: u16,
    /// Polls, receives and sends that find the connection reset. From then on everything on that socket does.
    pub broken: u16,
    /// Receives that find the pool empty.
    pub starved: u16,
    /// Polls and receives that end for no reason.
    pub lapsed: u16,
    /// Multishot receives that are over after their first chunk.
    pub single_shot: u16,
    /// Chunks of a multishot receive after which it is cancelled and ends as [`End::Lapsed`].
    pub cut_short: u16,
    /// Completions held back for one to four waits, with everything of the same operation behind them. Arrivals are not:
    /// their chunks have to be given back in the turn they are taken.
    pub delayed: u16,
    /// Completions, arrivals included, that stay where they are until after the next wait, with all that follow.
    pub stalled: u16,
}

impl Plan {
    /// The rate of what happens each time.
    pub const ALWAYS: u16 = 1000;

    /// No faults at all.
    #[must_use]
    pub fn quiet(seed: u64) -> Plan {
        Plan { seed, ..Plan::default() }
    }

    /// Some of everything, resets rarely enough that links get something done.
    #[must_use]
    pub fn rough(seed: u64) -> Plan {
        Plan {
            seed,
            full: 10,
            accept_failed: 50,
            refused: 50,
            short_send: 200,
            again: 50,
            cancelled: 20,
            broken: 2,
            starved: 50,
            lapsed: 30,
            single_shot: 100,
            cut_short: 50,
            delayed: 100,
            stalled: 20,
        }
    }
}

/// How often each fault has happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Injected {
    /// Refusals, by [`Plan::full`].
    pub full: u64,
    /// By [`Plan::accept_failed`].
    pub accept_failed: u64,
    /// By [`Plan::refused`].
    pub refused: u64,
    /// By [`Plan::short_send`].
    pub short_send: u64,
    /// By [`Plan::again`].
    pub again: u64,
    /// By [`Plan::cancelled`].
    pub cancelled: u64,
    /// Sockets broken, by [`Plan::broken`].
    pub broken: u64,
    /// By [`Plan::starved`].
    pub starved: u64,
    /// By [`Plan::lapsed`].
    pub lapsed: u64,
    /// By [`Plan::single_shot`].
    pub single_shot: u64,
    /// By [`Plan::cut_short`].
    pub cut_short: u64,
    /// By [`Plan::delayed`].
    pub delayed: u64,
    /// By [`Plan::stalled`].
    pub stalled: u64,
}

/// A driver that follows a [`Plan`]. See the module's text for what it keeps intact.
#[derive(Debug)]
pub struct Fault<D> {
    inner: D,
    plan: Plan,
    dice: Dice,
    injected: Injected,
    /// Refuse everything until the next wait.
    is_full: bool,
    /// Hand nothing out until the next wait.
    is_stalled: bool,
    /// Number of waits so far.
    turn: u64,
    sockets: BTreeMap<Token, Socket>,
    ready: VecDeque<Completion>,
    held: Vec<Held>,
    /// Cancels the inner driver had no room for.
    owed: Vec<(Token, Armed)>,
}

/// What is known about a socket; absent while there is nothing to know.
#[derive(Debug, Default)]
struct Socket {
    /// Armed in the inner driver.
    armed: Vec<Armed>,
    is_broken: bool,
    /// The multishot receive was cancelled by us.
    is_cut_short: bool,
    /// What was taken off the send in flight.
    tail: Vec<u8>,
}

/// A completion that waits for a turn.
#[derive(Debug)]
struct Held {
    due: u64,
    lane: Option<Lane>,
    completion: Completion,
}

/// Completions of one lane keep their order.
type Lane = (u32, Traffic);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Traffic {
    Life,
    Poll,
    Receive,
    Send,
}

impl<D: Driver> Fault<D> {
    /// Wraps a driver.
    pub fn new(inner: D, plan: Plan) -> Fault<D> {
        Fault {
            inner,
            plan,
            dice: Dice::new(plan.seed),
            injected: Injected::default(),
            is_full: false,
            is_stalled: false,
            turn: 0,
            sockets: BTreeMap::new(),
            ready: VecDeque::new(),
            held: Vec::new(),
            owed: Vec::new(),
        }
    }

    /// Changes the rates from now on; the seed of the new plan is not used. With [`Plan::quiet`] the faults stop, and
    /// what is already broken stays broken.
    pub fn set_plan(&mut self, plan: Plan) {
        self.plan = plan;
    }

    /// How often each fault has happened.
    #[must_use]
    pub fn injected(&self) -> &Injected {
        &self.injected
    }

    /// The driver within.
    pub fn inner(&mut self) -> &mut D {
        &mut self.inner
    }

    fn poll(&mut self, token: Token) -> Result<(), Full> {
        if let Some(why) = self.early_end(token, false) {
            self.hold(Completion::Ended { token, armed: Armed::Poll, why });
            return Ok(());
        }
        self.pass(token, Armed::Poll, Op::Poll { token })
    }

    fn receive(&mut self, token: Token, pool: Pool, mode: Mode) -> Result<(), Full> {
        if let Some(why) = self.early_end(token, true) {
            self.hold(Completion::Ended { token, armed: Armed::Receive, why });
            return Ok(());
        }
        let single = mode == Mode::Multishot && self.dice.roll(self.plan.single_shot);
        let passed_mode = if single { Mode::Once } else { mode };
        match self.pass(token, Armed::Receive, Op::Receive { token, pool, mode: passed_mode }) {
            Err(Full(_)) => Err(Full(Op::Receive { token, pool, mode })),
            Ok(()) => {
                self.injected.single_shot += u64::from(single);
                Ok(())
            }
        }
    }

    fn send(&mut self, token: Token, mut batch: Batch) -> Result<(), Full> {
        let early = if self.breaks(token) {
            Some(Sent::Broken(RESET))
        } else if self.dice.roll(self.plan.cancelled) {
            self.injected.cancelled += 1;
            Some(Sent::Cancelled)
        } else if self.dice.roll(self.plan.again) {
            self.injected.again += 1;
            Some(Sent::Again)
        } else {
            None
        };
        if let Some(result) = early {
            self.hold(Completion::Sent { token, batch, result });
            return Ok(());
        }
        let rest = batch.rest().len();
        if rest > 1 && self.dice.roll(self.plan.short_send) {
            self.injected.short_send += 1;
            let keep = batch.sent + 1 + self.dice.below(rest as u64 - 1) as usize;
            self.sockets.entry(token).or_default().tail = batch.bytes.split_off(keep);
        }
        match self.pass(token, Armed::Send, Op::Send { token, batch }) {
            Err(Full(Op::Send { token, batch })) => {
                let batch = self.whole(token, batch);
                Err(Full(Op::Send { token, batch }))
            }
            passed => passed,
        }
    }

    fn cancel(&mut self, token: Token, armed: Armed) -> Result<(), Full> {
        // What we end ourselves is not armed below.
        match self.sockets.get_mut(&token) {
            Some(socket) if socket.armed.contains(&armed) => {
                // Now the worker has asked for it, so it ends as cancelled.
                if armed == Armed::Receive {
                    socket.is_cut_short = false;
                }
                self.owed.retain(|&owed| owed != (token, armed));
                self.inner.submit(Op::Cancel { token, armed })
            }
            _ => Ok(()),
        }
    }

    /// Submits to the inner driver and remembers that it is armed there.
    fn pass(&mut self, token: Token, armed: Armed, op: Op) -> Result<(), Full> {
        self.inner.submit(op)?;
        self.sockets.entry(token).or_default().armed.push(armed);
        Ok(())
    }

    /// How a poll or receive ends before it begins, if it does.
    fn early_end(&mut self, token: Token, is_receive: bool) -> Option<End> {
        if self.breaks(token) {
            return Some(End::Broken(RESET));
        }
        if self.dice.roll(self.plan.cancelled) {
            self.injected.cancelled += 1;
            return Some(End::Cancelled);
        }
        if is_receive && self.dice.roll(self.plan.starved) {
            self.injected.starved += 1;
            return Some(End::Starved);
        }
        if self.dice.roll(self.plan.lapsed) {
            self.injected.lapsed += 1;
            return Some(End::Lapsed);
        }
        None
    }

    /// Whether the socket is broken, or breaks now. What is armed on it then ends as broken too.
    fn breaks(&mut self, token: Token) -> bool {
        let was_broken = self.sockets.get(&token).is_some_and(|socket| socket.is_broken);
        if was_broken || !self.dice.roll(self.plan.broken) {
            return was_broken;
        }
        self.injected.broken += 1;
        let socket = self.sockets.entry(token).or_default();
        socket.is_broken = true;
        self.owed.extend(socket.armed.iter().map(|&armed| (token, armed)));
        true
    }

    /// Turns what the inner driver says into what the worker is told. `None` swallows it.
    fn translate(&mut self, completion: Completion) -> Option<Completion> {
        match completion {
            Completion::Received { token, chunk, more } => self.received(token, chunk, more),
            Completion::Readable { token } => {
                let is_broken = self.ended(token, Armed::Poll);
                Some(if is_broken {
                    Completion::Ended { token, armed: Armed::Poll, why: End::Broken(RESET) }
                } else {
                    Completion::Readable { token }
                })
            }
            Completion::Ended { token, armed, why } => {
                let was_cut_short = armed == Armed::Receive && self.take_cut_short(token);
                let is_broken = self.ended(token, armed);
                let why = match why {
                    _ if is_broken => End::Broken(RESET),
                    End::Cancelled if was_cut_short => End::Lapsed,
                    why => why,
                };
                Some(Completion::Ended { token, armed, why })
            }
            Completion::Sent { token, batch, result } => {
                let batch = self.whole(token, batch);
                let is_broken = self.ended(token, Armed::Send);
                // What the kernel took before the reset was taken.
                let result = match result {
                    Sent::Cancelled | Sent::Again if is_broken => Sent::Broken(RESET),
                    result => result,
                };
                Some(Completion::Sent { token, batch, result })
            }
            Completion::Closed { token } => {
                self.sockets.remove(&token);
                Some(Completion::Closed { token })
            }
            other => Some(other),
        }
    }

    fn received(&mut self, token: Token, chunk: Chunk, more: bool) -> Option<Completion> {
        if !more {
            self.take_cut_short(token);
            if !self.ended(token, Armed::Receive) {
                return Some(Completion::Received { token, chunk, more });
            }
            // A reset throws away what had arrived.
            self.inner.recycle(chunk);
            return Some(Completion::Ended { token, armed: Armed::Receive, why: End::Broken(RESET) });
        }
        let socket = self.sockets.entry(token).or_default();
        if socket.is_broken {
            self.inner.recycle(chunk);
            return None;
        }
        if !socket.is_cut_short && self.dice.roll(self.plan.cut_short) {
            self.injected.cut_short += 1;
            socket.is_cut_short = true;
            self.owed.push((token, Armed::Receive));
        }
        Some(Completion::Received { token, chunk, more })
    }

    /// Notes that an operation is over and says whether the socket is broken.
    fn ended(&mut self, token: Token, armed: Armed) -> bool {
        self.owed.retain(|&owed| owed != (token, armed));
        let Some(socket) = self.sockets.get_mut(&token) else { return false };
        socket.armed.retain(|&other| other != armed);
        let is_broken = socket.is_broken;
        if socket.armed.is_empty() && !is_broken {
            self.sockets.remove(&token);
        }
        is_broken
    }

    fn take_cut_short(&mut self, token: Token) -> bool {
        self.sockets.get_mut(&token).is_some_and(|socket| std::mem::take(&mut socket.is_cut_short))
    }

    /// Puts back what was taken off a batch.
    fn whole(&mut self, token: Token, mut batch: Batch) -> Batch {
        if let Some(socket) = self.sockets.get_mut(&token) {
            batch.bytes.append(&mut socket.tail);
        }
        batch
    }

    /// Keeps an ending of our own until after the next wait, as the kernel would.
    fn hold(&mut self, completion: Completion) {
        self.held.push(Held { due: self.turn + 1, lane: lane(&completion), completion });
    }

    /// Whether something of the same lane is being held, so that this has to queue up.
    fn is_behind(&self, lane: Option<Lane>) -> bool {
        lane.is_some() && self.held.iter().any(|held| held.lane == lane)
    }

    /// Lets go of what is due, in order within each lane.
    fn release(&mut self) {
        let mut blocked = BTreeSet::new();
        for held in std::mem::take(&mut self.held) {
            if held.due > self.turn || held.lane.is_some_and(|lane| blocked.contains(&lane)) {
                blocked.extend(held.lane);
                self.held.push(held);
            } else {
                self.ready.push_back(held.completion);
            }
        }
    }

    /// Cancels what we have decided to end.
    fn pay(&mut self) {
        for (token, armed) in std::mem::take(&mut self.owed) {
            if self.inner.submit(Op::Cancel { token, armed }).is_err() {
                self.owed.push((token, armed));
            }
        }
    }
}

impl<D: Driver> Driver for Fault<D> {
    fn submit(&mut self, op: Op) -> Result<(), Full> {
        if !self.is_full && self.dice.roll(self.plan.full) {
            self.is_full = true;
        }
        if self.is_full {
            self.injected.full += 1;
            return Err(Full(op));
        }
        match op {
            Op::Park { listener } if self.dice.roll(self.plan.accept_failed) => {
                self.injected.accept_failed += 1;
                self.hold(Completion::AcceptFailed { listener, errno: Errno(libc::ENFILE) });
                Ok(())
            }
            Op::Connect { tag, .. } if self.dice.roll(self.plan.refused) => {
                self.injected.refused += 1;
                self.hold(Completion::Connected { tag, result: Err(Errno(libc::ECONNREFUSED)) });
                Ok(())
            }
            Op::Poll { token } => self.poll(token),
            Op::Receive { token, pool, mode } => self.receive(token, pool, mode),
            Op::Send { token, batch } => self.send(token, batch),
            Op::Cancel { token, armed } => self.cancel(token, armed),
            op @ (Op::Park { .. }
            | Op::Unpark { .. }
            | Op::Connect { .. }
            | Op::Close { .. }
            | Op::Ring { .. }) => self.inner.submit(op),
        }
    }

    fn wait(&mut self, least: u32, most: Option<Duration>) -> io::Result<()> {
        self.is_full = false;
        self.is_stalled = false;
        self.turn += 1;
        self.pay();
        self.release();
        let is_held = !self.ready.is_empty() || !self.held.is_empty() || !self.owed.is_empty();
        self.inner.wait(if is_held { 0 } else { least }, most)
    }

    fn waiting(&mut self) -> usize {
        self.ready.len() + self.inner.waiting()
    }

    fn next(&mut self) -> Option<Completion> {
        loop {
            if let Some(completion) = self.ready.pop_front() {
                return Some(completion);
            }
            if !self.is_stalled && self.dice.roll(self.plan.stalled) {
                self.injected.stalled += 1;
                self.is_stalled = true;
            }
            if self.is_stalled {
                return None;
            }
            let inner = self.inner.next()?;
            let Some(completion) = self.translate(inner) else { continue };
            if matches!(completion, Completion::Received { .. }) {
                // Nothing can be held in its lane: that would be an ending, and endings come last.
                return Some(completion);
            }
            let lane = lane(&completion);
            let delay = self.dice.roll(self.plan.delayed);
            if !delay && !self.is_behind(lane) {
                return Some(completion);
            }
            self.injected.delayed += u64::from(delay);
            let due = self.turn + if delay { 1 + self.dice.below(4) } else { 1 };
            self.held.push(Held { due, lane, completion });
        }
    }

    fn bytes(&mut self, chunk: &Chunk) -> &mut [u8] {
        self.inner.bytes(chunk)
    }

    fn recycle(&mut self, chunk: Chunk) {
        self.inner.recycle(chunk);
    }

    fn counters(&self) -> Counters {
        let counters = self.inner.counters();
        Counters { starved: counters.starved + self.injected.starved, ..counters }
    }
}

/// The lane of a completion; `None` for those that stand alone.
fn lane(completion: &Completion) -> Option<Lane> {
    match *completion {
        Completion::Accepted { token, .. }
        | Completion::Connected { result: Ok(token), .. }
        | Completion::Closed { token } => Some((token.slot, Traffic::Life)),
        Completion::Readable { token } | Completion::Ended { token, armed: Armed::Poll, .. } => {
            Some((token.slot, Traffic::Poll))
        }
        Completion::Received { token, .. } | Completion::Ended { token, armed: Armed::Receive, .. } => {
            Some((token.slot, Traffic::Receive))
        }
        Completion::Sent { token, .. } | Completion::Ended { token, armed: Armed::Send, .. } => {
            Some((token.slot, Traffic::Send))
        }
        Completion::AcceptFailed { .. } | Completion::Connected { result: Err(_), .. } | Completion::Rung => {
            None
        }
    }
}

/// xorshift64*: small, and the same everywhere.
#[derive(Clone, Debug)]
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Dice {
        // The state must not be zero, and neighbouring seeds should part at once.
        let mut dice = Dice((seed ^ 0x9E37_79B9_7F4A_7C15).max(1));
        for _ in 0..4 {
            dice.next();
        }
        dice
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `limit`, which is not zero.
    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 16) % limit
    }

    /// Throws for every rate, zero included, so that changing one rate leaves the sequence of the others as it was.
    fn roll(&mut self, rate: u16) -> bool {
        self.below(Plan::ALWAYS.into()) < u64::from(rate)
    }
}

/// What a broken connection says.
const RESET: Errno = Errno(libc::ECONNRESET);
