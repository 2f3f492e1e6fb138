//! What is lent to every part while it works: the moment, what leaves and what is counted.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use driver::{Listener, Op};
use protocol::{Time, UnixMillis};

use super::reports::Reports;
use super::settings::Settings;
use crate::admission::ladder::Level;
use crate::admission::share::Shares;
use crate::collections::{Identity, Pool};
use crate::counters::Counters;
use crate::counters::guard::KeptOut;
use crate::delivery::Origin;
use crate::delivery::tails::Settled;
use crate::id::LinkId;
use crate::rate::Remainder;
use crate::upstream::StreamIndex;

/// A source of randomness: the operating system's, or a seeded one in the simulator.
pub type Random = Box<dyn FnMut(&mut [u8]) + Send>;

/// The present turn of a worker. Every part is lent it, and none keeps anything of it.
pub(super) struct Turn {
    /// The moment, read once per turn.
    pub(super) now: Time,
    /// The time of day at that moment.
    pub(super) wall: UnixMillis,
    /// What the worker is built from.
    pub(super) settings: Settings,
    /// Operations for the driver, in the order in which they are to be submitted.
    pub(super) ops: VecDeque<Op>,
    /// Buffers of batches and of whatever else waits for a while.
    pub(super) buffers: Pool,
    /// The worker's cells.
    pub(super) counters: Arc<Counters>,
    /// What it tells control.
    pub(super) reports: Arc<Reports>,
    /// A list for those who are to get something, kept for its memory; empty between uses.
    pub(super) receivers: Vec<LinkId>,
    /// The same for the users of a push.
    pub(super) named: Vec<Identity>,
    /// The same for their links.
    pub(super) addressed: Vec<Addressed>,
    /// The same for those who are to be told of a link.
    pub(super) told: Vec<StreamIndex>,
    /// The same for pushes of which it is known what became of them.
    pub(super) settled: Vec<Settled>,
    /// The same for where they came from.
    pub(super) origins: Vec<Origin>,
    /// The same for their numbers.
    pub(super) numbers: Vec<u64>,
    /// How much of the core newcomers may still take.
    pub(super) shares: Shares,
    /// What is given up for having too much to do.
    pub(super) level: Level,
    /// What links were charged of less than their levels count.
    pub(super) small_change: Remainder,
    /// Whether anything of a user or a backend was heard in this turn: then newcomers get no more than their share.
    pub(super) is_busy: bool,
    /// How long after the turn before this one began.
    since_last: Duration,
    /// Until when more messages are expected: a crowd of newcomers gets no more than its share till then either.
    attentive_until: Time,
    random: Random,
}

/// A link that a push to several users is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addressed {
    /// The link.
    pub(super) link: LinkId,
    /// How many devices its user has.
    pub(super) devices: u16,
    /// Which of those users it is of whom the owner was told.
    pub(super) member: u16,
    /// Whether it is the first link of its user.
    pub(super) is_first: bool,
}

/// How long more messages are expected after one. With a hundred a second, one in a hundred and fifty comes later than that.
const ATTENTION: Duration = Duration::from_millis(50);

impl Turn {
    /// The turn in which a worker begins.
    pub(super) fn new(
        settings: Settings,
        counters: Arc<Counters>,
        reports: Arc<Reports>,
        random: Random,
        now: Time,
    ) -> Self {
        let of_listeners = settings.listeners.iter().map(|listener| listener.handshake_share);
        Self {
            shares: Shares::new(settings.handshake_share, of_listeners, now),
            level: Level::Calm,
            small_change: Remainder::default(),
            is_busy: false,
            since_last: Duration::ZERO,
            attentive_until: Time::ZERO,
            now,
            wall: UnixMillis(0),
            ops: VecDeque::new(),
            buffers: Pool::new(settings.buffers_idle_max),
            settings,
            counters,
            reports,
            receivers: Vec::new(),
            named: Vec::new(),
            addressed: Vec::new(),
            told: Vec::new(),
            settled: Vec::new(),
            origins: Vec::new(),
            numbers: Vec::new(),
            random,
        }
    }

    /// Another turn begins.
    pub(super) fn begin(&mut self, now: Time, wall: UnixMillis) {
        self.since_last = now.since(self.now);
        (self.now, self.wall) = (now, wall);
        self.shares.refill(now);
        self.is_busy = false;
        self.counters.turns.add(1);
    }

    /// A message was heard, and where there is one, more may follow. Pings and the opening of links are none.
    pub(super) fn heard_message(&mut self) {
        self.attentive_until = self.now + ATTENTION;
    }

    /// How long it is until no message is expected any more; zero if none is.
    pub(super) fn attention_left(&self) -> Duration {
        self.attentive_until.since(self.now)
    }

    /// How many newcomers are served in this turn at most. Where messages are expected it is one, and one more for each millisecond
    /// since the last turn: one that comes meanwhile waits for one handshake, and where turns are long newcomers still have
    /// their share.
    pub(super) fn handshakes_max(&self) -> u32 {
        let most = self.settings.handshakes_per_turn;
        if self.attention_left().is_zero() {
            return most;
        }
        u32::try_from(1 + self.since_last.as_millis()).unwrap_or(u32::MAX).min(most)
    }

    /// Quiet time after which a busy link waits with a poll again.
    pub(super) fn demote_after(&self) -> Duration {
        if self.level >= Level::Thrifty { self.settings.demote_after / 2 } else { self.settings.demote_after }
    }

    /// Asks the driver for something.
    pub(super) fn submit(&mut self, op: Op) {
        self.ops.push_back(op);
    }

    /// Whom the worker has kept out of one of its listeners.
    pub(super) fn kept_out(&self, listener: Listener) -> &KeptOut {
        &self.counters.listeners[self.settings.listeners[usize::from(listener.0)].place]
    }

    /// Fresh random bytes.
    pub(super) fn random<const LEN: usize>(&mut self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        (self.random)(&mut bytes);
        bytes
    }

    /// Fills a place that must not be copied with fresh random bytes.
    pub(super) fn fill(&mut self, bytes: &mut [u8]) {
        (self.random)(bytes);
    }

    /// A fresh random number.
    pub(super) fn random_number(&mut self) -> u64 {
        u64::from_le_bytes(self.random())
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn").field("now", &self.now).field("ops", &self.ops.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
impl Turn {
    /// A turn for the tests of a part: at time zero, with a random source that counts.
    pub(super) fn of(settings: Settings) -> Self {
        let counters = Arc::new(Counters::new(settings.endpoints.len(), settings.listeners.len()));
        let mut next = 0_u8;
        let random = move |bytes: &mut [u8]| {
            for byte in bytes {
                next = next.wrapping_add(1);
                *byte = next;
            }
        };
        Self::new(settings, counters, Arc::default(), Box::new(random), Time::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_messages_are_expected_there_is_a_handshake_per_millisecond_and_one_at_least() {
        let mut turn = Turn::of(Settings { handshakes_per_turn: 4, ..Settings::small() });
        let mut later = |micros| {
            let now = turn.now + Duration::from_micros(micros);
            turn.begin(now, turn.wall);
            let most = turn.handshakes_max();
            turn.heard_message();
            most
        };
        assert_eq!([0, 100, 1100, 2900, 8000, 50_000].map(&mut later), [4, 1, 2, 3, 4, 4]);
    }

    #[test]
    fn idle_times_are_halved_where_there_is_too_much_to_do() {
        let mut turn = Turn::of(Settings::small());
        let whole = turn.demote_after();
        turn.level = Level::Thrifty;
        assert_eq!((whole, turn.demote_after()), (turn.settings.demote_after, whole / 2));
    }
}
