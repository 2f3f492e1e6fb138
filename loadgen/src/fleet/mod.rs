//! Many client links as one state machine over a driver: completions and time go in, operations come out. It reads no
//! clock and draws no randomness, so that it runs in a simulator as it runs on a ring.
//!
//! | step | file |
//! |---|---|
//! | connect, hello, keys, auth; the ramp and the cycles | `open.rs` |
//! | bytes in, frames, answers checked against the ledger | `receive.rs` → `hear.rs` → `ledger.rs` |
//! | what is planned becomes due; one send per link and turn | `flush.rs` |
//! | pushes: asked for, checked against the books, acknowledged; at the end, what became of them | `pushed.rs` → `book.rs`; `outcomes.rs` |
//! | links that read slowly | `pace.rs` |
//! | heartbeats and deadlines | `deadlines.rs` |
//! | who let a planned send wait | `stalls.rs`, `desk.rs` |
//! | the end of a link, for any reason | `close.rs` |
//! | all links at once: how they are cut and come back, and what they go on with | `storm.rs`, `session.rs` |

mod book;
mod close;
mod deadlines;
mod desk;
mod flush;
mod hear;
mod inquiry;
mod ledger;
mod link;
mod open;
mod outcomes;
mod pace;
mod pushed;
mod receive;
mod session;
mod settings;
mod stalls;
mod storm;

use std::collections::VecDeque;
use std::time::Duration;

use driver::{Completion, Driver, Errno, Full, Op, Token};
use protocol::Time;
use protocol::buffer::Partials;

use self::desk::Desk;
use self::link::Link;
use crate::tally::{Counts, Tally};
use crate::timers::Timers;

pub use self::settings::{Cut, Kind, Leg, Load, Order, Pushes, Settings, Slowness, Storm};

/// Gives 32 fresh random bytes for a handshake.
pub type Entropy = Box<dyn FnMut() -> [u8; 32] + Send>;

/// The links of one driver.
pub struct Fleet {
    desk: Desk,
    entropy: Entropy,
    links: Vec<Link>,
    timers: Timers,
    /// When links are to acknowledge what they were pushed.
    acks: Timers,
    /// When slow links read on.
    reads: Timers,
    partials: Partials,
    /// Which link has a slot of the driver.
    by_slot: Vec<u32>,
    /// Links that have something to send.
    dirty: Vec<u32>,
    /// Links whose receive ended because the pool was empty.
    starved: Vec<u32>,
    /// Places for the next cycles.
    free: VecDeque<u32>,
    /// Links that were cut, and whose time to come back has come.
    returning: VecDeque<u32>,
    /// The next link of the ramp, or the next one to be closed.
    next: u32,
    /// Links that are not absent.
    present: u32,
    /// Links that are leaving or closing.
    going: u32,
    /// Cycles started in the measured part of this leg.
    started: u64,
    /// When the next turn is to begin at the latest.
    wanted: Time,
}

/// A fleet at rest looks around this often.
const REST_MAX: Duration = Duration::from_secs(1);

/// Bytes of partial records of all links of a fleet together.
const PARTIAL_BYTES_MAX: usize = 16 << 20;

impl Fleet {
    /// A fleet at rest.
    #[must_use]
    pub fn new(settings: Settings, entropy: Entropy) -> Self {
        let count = settings.links as usize;
        let cycles = matches!(settings.load, Load::Cycle { .. });
        Self {
            links: Vec::with_capacity(count),
            timers: Timers::new(),
            acks: Timers::new(),
            reads: Timers::new(),
            partials: Partials::new(PARTIAL_BYTES_MAX),
            by_slot: Vec::new(),
            dirty: Vec::new(),
            starved: Vec::new(),
            free: if cycles { (0..settings.links).collect() } else { VecDeque::new() },
            returning: VecDeque::new(),
            next: 0,
            present: 0,
            going: 0,
            started: 0,
            wanted: Time::ZERO,
            desk: Desk::new(settings),
            entropy,
        }
    }

    /// Begins the next stage at `now`; a leg that is under way ends there.
    pub fn order(&mut self, order: Order, now: Time) {
        // A leg that is given up knows what happened until then.
        self.begin_turn(now);
        // Here and not before, so that a baseline taken before the first order lacks them.
        self.links.resize_with(self.desk.settings.links as usize, Link::new);
        self.timers.resize(self.desk.settings.links as usize);
        if let Some(pushes) = &self.desk.settings.pushes {
            self.acks.resize(self.links.len());
            self.reads.resize(if pushes.slow.is_some() { self.links.len() } else { 0 });
        }
        if !matches!(order, Order::Storm(_)) {
            self.give_up_returns();
        }
        match order {
            Order::Run(leg) => {
                self.started = 0;
                for link in &mut self.links {
                    link.before = link.packets;
                }
                self.desk.begin_leg(leg);
            }
            Order::Drain => {
                self.desk.slow_heard = now;
                self.give_up_planned(now);
            }
            Order::Brace => self.brace(now),
            Order::Storm(storm) => self.cut(storm.cut, now),
            Order::Ramp | Order::Close => self.next = 0,
            Order::Inquire => {}
        }
        self.desk.stage = Some(order);
        self.change_pace();
    }

    /// Whether the last order is done.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let cycles = matches!(self.desk.settings.load, Load::Cycle { .. });
        match self.desk.stage {
            None => true,
            Some(Order::Ramp) => {
                cycles || (self.next == self.desk.settings.links && self.desk.tally.counts.opening == 0)
            }
            // Links that are gone stay away, and nothing comes of the load without any.
            Some(Order::Run(leg)) => self.present == 0 && (!cycles || self.cannot_start(&leg)),
            Some(Order::Drain) => {
                let is_pushed = self.acks.next().is_none() && self.desk.is_slow_over(self.wanted);
                self.desk.awaited == 0 && is_pushed && (!cycles || self.present == 0)
            }
            Some(Order::Inquire) => self.knows_outcomes(),
            Some(Order::Brace) => true,
            Some(Order::Storm(_)) => self.desk.out == 0,
            Some(Order::Close) => self.present == 0,
        }
    }

    /// One turn: learns every completion, lets time pass, sends what is due. Afterwards [`Driver::wait`] for at most
    /// [`Fleet::rest`].
    pub fn turn(&mut self, driver: &mut impl Driver, now: Time) {
        self.begin_turn(now);
        while let Some(completion) = driver.next() {
            self.complete(driver, completion, now);
        }
        self.pass(now);
        self.launch(now);
        self.follow_plan(now);
        self.inquire(now);
        self.flush(now);
        for index in std::mem::take(&mut self.starved) {
            self.arm(index);
        }
        while let Some(op) = self.desk.ops.pop_front() {
            if let Err(Full(op)) = driver.submit(op) {
                self.desk.ops.push_front(op);
                break;
            }
        }
        self.wanted = now + self.rest(now);
    }

    /// How long there is nothing to do unless a completion arrives.
    #[must_use]
    pub fn rest(&self, now: Time) -> Duration {
        if !self.desk.ops.is_empty() || self.has_returns() {
            return Duration::ZERO;
        }
        let start = self.desk.running().map(|leg| leg.start).filter(|&start| start > now);
        let planned = self.desk.next_planned().filter(|_| !self.desk.held);
        [start, planned, self.timers.next(), self.acks.next(), self.reads.next(), self.next_question()]
            .into_iter()
            .flatten()
            .min()
            .map_or(REST_MAX, |next| next.since(now))
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.desk.tally.counts
    }

    /// The end: whatever still awaits an answer is counted as unanswered.
    #[must_use]
    pub fn finish(mut self) -> Tally {
        self.give_up_returns();
        for (index, link) in (0..).zip(&mut self.links) {
            self.desk.write_off(link, index);
        }
        let counts = &mut self.desk.tally.counts;
        counts.failed += std::mem::take(&mut counts.opening);
        self.desk.close_books();
        self.desk.tally
    }

    /// Notes how late it is; once, if an order comes just before the turn.
    fn begin_turn(&mut self, now: Time) {
        self.desk.begin_turn(self.wanted, now);
        self.wanted = self.wanted.max(now);
    }

    fn complete(&mut self, driver: &mut impl Driver, completion: Completion, now: Time) {
        match completion {
            Completion::Connected { tag, result } => self.connected(tag, result, now),
            Completion::Readable { token } => self.readable(token),
            Completion::Received { token, chunk, more } => self.received(driver, token, chunk, more, now),
            Completion::Ended { token, why, .. } => self.ended(token, why),
            Completion::Sent { token, batch, result } => self.sent(token, batch, result),
            Completion::Closed { token } => self.closed(token, now),
            // Nothing is ever parked, and a ring only says that an order has come.
            Completion::Accepted { .. } | Completion::AcceptFailed { .. } | Completion::Rung => {}
        }
    }

    fn find(&self, token: Token) -> Option<u32> {
        let &index = self.by_slot.get(token.slot as usize)?;
        let link = self.links.get(index as usize)?;
        (link.token == token && !link.is_absent()).then_some(index)
    }

    fn mark(&mut self, index: u32) {
        let link = &mut self.links[index as usize];
        if !link.dirty {
            link.dirty = true;
            self.dirty.push(index);
        }
    }

    fn submit(&mut self, op: Op) {
        self.desk.ops.push_back(op);
    }
}

/// The error in words.
fn describe(errno: Errno) -> std::io::Error {
    std::io::Error::from_raw_os_error(errno.0)
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fleet")
            .field("settings", &self.desk.settings)
            .field("stage", &self.desk.stage)
            .field("present", &self.present)
            .finish_non_exhaustive()
    }
}
