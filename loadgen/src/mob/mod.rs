//! Abusers as one state machine over a driver, as a [fleet](crate::fleet) is one of honest links: completions and time go in,
//! operations come out. It makes attempts at a steady rate as long as it has places, keeps each link in the way that is its
//! [`Conduct`], counts what the gateway does about it, and leaves by itself when its time is over.
//!
//! | step | file |
//! |---|---|
//! | an attempt is due: a place, an address, a connect; and what comes of it | `attempt.rs` |
//! | hellos whole, in part and repeated; junk; floods | `say.rs`, `hello.rs` |
//! | what the gateway says | `hear.rs` |
//! | the end of a link, for any reason, and what it counts as | `leave.rs` |

mod abuser;
mod attempt;
mod count;
mod hear;
mod hello;
mod leave;
mod say;
mod settings;

use std::collections::VecDeque;
use std::time::Duration;

use driver::{Batch, Completion, Driver, Errno, Full, Op, Token};
use protocol::Time;
use protocol::buffer::Partials;

use self::abuser::Abuser;
use crate::timers::Timers;

pub use self::count::Count;
pub use self::settings::{Conduct, JUNK_LEN_MAX, Order, Settings};

/// Gives 32 fresh random bytes for a handshake.
pub type Entropy = Box<dyn FnMut() -> [u8; 32] + Send>;

/// The abusers of one driver.
pub struct Mob {
    settings: Settings,
    entropy: Entropy,
    order: Option<Order>,
    /// When the next attempt is due.
    next: Time,
    /// Attempts of this attack.
    begun: u64,
    abusers: Vec<Abuser>,
    free: VecDeque<u32>,
    /// Which place has a slot of the driver.
    by_slot: Vec<u32>,
    timers: Timers,
    /// Who leaves without an answer, and when: all have the same patience. Those who have left earlier are among them.
    impatient: VecDeque<(Time, Token)>,
    partials: Partials,
    /// Whose receive ended because the pool was empty.
    starved: Vec<u32>,
    ops: VecDeque<Op>,
    batches: Vec<Batch>,
    /// The hello all abusers of [`Conduct::Replay`] and [`Conduct::Drip`] have recorded.
    hello: Vec<u8>,
    count: Count,
}

/// A mob without anything to do looks around this often.
const REST_MAX: Duration = Duration::from_secs(1);
/// Attempts in one turn at most: what a late turn owes is spread, and each has a descriptor of the process for a moment.
const ATTEMPTS_PER_TURN_MAX: u32 = 128;
/// Bytes of partial records of all abusers together.
const PARTIAL_BYTES_MAX: usize = 4 << 20;
/// Batches kept for later sends, and the largest that is kept.
const BATCHES_MAX: usize = 1024;
const BATCH_LEN_MAX: usize = 64 * 1024;

impl Mob {
    /// A mob at rest, with its hello recorded.
    ///
    /// # Errors
    /// One line when no hello can be made for the gateway's key.
    pub fn new(settings: Settings, mut entropy: Entropy) -> Result<Self, String> {
        let hello = hello::record(&settings, entropy())?;
        let links = settings.links;
        let mut timers = Timers::new();
        timers.resize(links as usize);
        Ok(Self {
            order: None,
            next: Time::ZERO,
            begun: 0,
            abusers: (0..links).map(|_| Abuser::NEW).collect(),
            free: (0..links).collect(),
            by_slot: Vec::new(),
            timers,
            impatient: VecDeque::new(),
            partials: Partials::new(PARTIAL_BYTES_MAX),
            starved: Vec::new(),
            ops: VecDeque::new(),
            batches: Vec::new(),
            hello,
            count: Count::default(),
            settings,
            entropy,
        })
    }

    /// Begins an attack, or ends the one that is under way.
    pub fn order(&mut self, order: Order) {
        if let Order::Attack { from, .. } = order {
            self.next = from;
            self.begun = 0;
        }
        self.order = Some(order);
    }

    /// Whether nobody is there any more and nobody will come, at `now`.
    #[must_use]
    pub fn is_done(&self, now: Time) -> bool {
        self.is_leaving(now) && self.free.len() == self.abusers.len()
    }

    /// One turn: learns every completion, lets time pass, makes the attempts that are due. Afterwards [`Driver::wait`] for at
    /// most [`Mob::rest`].
    pub fn turn(&mut self, driver: &mut impl Driver, now: Time) {
        while let Some(completion) = driver.next() {
            self.complete(driver, completion, now);
        }
        if self.is_leaving(now) {
            self.leave_all(now);
        } else {
            self.attempt(now);
        }
        self.pass(now);
        for index in std::mem::take(&mut self.starved) {
            self.arm(index);
        }
        while let Some(op) = self.ops.pop_front() {
            if let Err(Full(op)) = driver.submit(op) {
                self.ops.push_front(op);
                break;
            }
        }
    }

    /// How long there is nothing to do unless a completion arrives.
    #[must_use]
    pub fn rest(&self, now: Time) -> Duration {
        if !self.ops.is_empty() {
            return Duration::ZERO;
        }
        let (attempt, end) = match self.order {
            Some(Order::Attack { to, .. }) if now < to => {
                (self.has_attempts_left().then_some(self.next), Some(to))
            }
            _ => (None, None),
        };
        let next = [attempt, end, self.timers.next(), self.impatient.front().map(|(end, _)| *end)]
            .into_iter()
            .flatten()
            .min();
        next.map_or(REST_MAX, |next| next.since(now).min(REST_MAX))
    }

    /// What was counted so far; what has become of the links that are there is not known yet.
    #[must_use]
    pub const fn count(&self) -> &Count {
        &self.count
    }

    /// The end, when nobody is left. Whoever is there nevertheless is counted as it stands.
    #[must_use]
    pub fn finish(mut self, now: Time) -> Count {
        for index in 0..self.settings.links {
            match self.abusers[index as usize].phase {
                abuser::Phase::Connecting => self.count.unfinished += 1,
                abuser::Phase::Open => self.settle(index, None, now),
                abuser::Phase::Free | abuser::Phase::Closing | abuser::Phase::Closed => {}
            }
        }
        self.count
    }

    fn is_leaving(&self, now: Time) -> bool {
        match self.order {
            Some(Order::Attack { to, .. }) => now >= to,
            Some(Order::Leave) | None => true,
        }
    }

    fn has_attempts_left(&self) -> bool {
        self.begun < self.settings.attempts_max && !self.free.is_empty()
    }

    fn complete(&mut self, driver: &mut impl Driver, completion: Completion, now: Time) {
        match completion {
            Completion::Connected { tag, result } => self.connected(tag, result, now),
            Completion::Readable { token } => self.readable(token),
            Completion::Received { token, chunk, more } => self.received(driver, token, chunk, more, now),
            Completion::Ended { token, why, .. } => self.ended(token, why, now),
            Completion::Sent { token, batch, result } => self.sent(token, batch, result, now),
            Completion::Closed { token } => self.closed(token),
            // Nothing is ever parked, and a ring only says that an order has come.
            Completion::Accepted { .. } | Completion::AcceptFailed { .. } | Completion::Rung => {}
        }
    }

    fn find(&self, token: Token) -> Option<u32> {
        let &index = self.by_slot.get(token.slot as usize)?;
        let abuser = self.abusers.get(index as usize)?;
        (abuser.token == token && abuser.phase != abuser::Phase::Free).then_some(index)
    }

    fn give_batch(&mut self, mut batch: Batch) {
        if self.batches.len() < BATCHES_MAX && batch.bytes.capacity() <= BATCH_LEN_MAX {
            batch.bytes.clear();
            batch.sent = 0;
            self.batches.push(batch);
        }
    }
}

/// The error in words.
fn describe(errno: Errno) -> std::io::Error {
    std::io::Error::from_raw_os_error(errno.0)
}

impl std::fmt::Debug for Mob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mob")
            .field("settings", &self.settings)
            .field("order", &self.order)
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}
