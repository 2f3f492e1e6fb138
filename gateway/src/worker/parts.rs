//! What a worker holds: its parts, each with a state of its own, and the turn that is lent to them.
//!
//! Parts do not know each other. What one needs of another is carried between them by the [flows](super::flows), a file
//! for each thing that crosses parts; there is no state there, and no decision of a part's own.

use std::fmt;
use std::time::Duration;

use protocol::{Time, UnixMillis};

use super::acceptors::Acceptors;
use super::busiest::Busiest;
use super::census::Census;
use super::door::Door;
use super::identity::Judge;
use super::links::Links;
use super::overload::Overload;
use super::post::Letters;
use super::requests::Requests;
use super::sessions::Sessions;
use super::settings::Settings;
use super::slots::Slots;
use super::streams::Streams;
use super::surroundings::Surroundings;
use super::turn::Turn;

/// The parts of a worker.
pub(super) struct Parts {
    /// Lent to the others.
    pub(super) turn: Turn,
    /// Who may come in, by address.
    pub(super) door: Door,
    /// Whose sockets are.
    pub(super) slots: Slots,
    /// Client links.
    pub(super) links: Links,
    /// Who clients are.
    pub(super) identity: Judge,
    /// Sessions of links, and claims of users.
    pub(super) sessions: Sessions,
    /// Requests on their way.
    pub(super) requests: Requests,
    /// Streams to backends, and the routes to them.
    pub(super) streams: Streams,
    /// Letters to and from other workers.
    pub(super) letters: Letters,
    /// Who keeps it busy.
    pub(super) busiest: Busiest,
    /// How much there is to do.
    pub(super) overload: Overload,
}

/// With this part of those who may wait for curve work at one listener there is a crowd.
const CROWD: usize = 4;

impl Parts {
    pub(super) fn new(settings: Settings, with: Surroundings, now: Time) -> Self {
        let acceptors = Acceptors::new(with.acceptors);
        Self {
            door: Door::new(with.lists, with.buckets),
            slots: Slots::new(&settings, with.vacancy),
            links: Links::new(&settings, with.hash, now),
            identity: Judge::new(&settings, acceptors, with.group, with.hash),
            sessions: Sessions::new(&settings, with.hash, with.secrets, with.rated, now),
            requests: Requests::new(&settings, now),
            streams: Streams::new(&settings, &with.group, now),
            letters: Letters::new(&settings, with.mailbox, with.posts),
            busiest: Busiest::new(now),
            overload: Overload::new(with.pressure, now),
            turn: Turn::new(settings, with.counters, with.reports, with.random, now),
        }
    }

    /// A turn begins.
    pub(super) fn begin(&mut self, now: Time, wall: UnixMillis) {
        self.turn.begin(now, wall);
        self.letters.wake();
    }

    /// How long the driver may wait; `None` without a deadline, zero when work is left over from this turn.
    pub(super) fn time_left(&mut self) -> Option<Duration> {
        let has_work = !self.turn.ops.is_empty()
            || self.door.has_work()
            || self.links.has_work()
            || self.streams.has_work();
        if has_work || !self.letters.may_sleep() {
            return Some(Duration::ZERO);
        }
        let deadline = self.next_deadline().map(|deadline| deadline.since(self.turn.now));
        deadline.into_iter().chain(self.links.time_left(&self.turn)).min()
    }

    /// The end of a turn: all frames of a link become one record and one send, all frames of a stream one batch; what
    /// waits for bytes, connections and letters is armed.
    pub(super) fn flush(&mut self) {
        self.announce_missed();
        self.feed_hungry();
        self.links.flush(&mut self.turn);
        self.streams.flush(&mut self.turn);
        self.links.resume_one(&mut self.turn);
        self.links.rearm_starved(&mut self.turn);
        self.streams.rearm_starved(&mut self.turn);
        let Self { links, slots, turn, .. } = self;
        let crowd = turn.settings.handshakes_waiting_max / CROWD;
        slots.park(turn, |listener| links.waiting_at(listener) >= crowd);
        // Letters were written since the others were read: of links that ended, and for pushes.
        self.letters.ring(&mut self.turn);
    }

    /// Whether the worker was told to stop, and everything is closed.
    pub(super) fn is_stopped(&self) -> bool {
        self.slots.is_stopped() && self.turn.ops.is_empty()
    }

    /// Copies what is not counted where it happens into the worker's cells.
    pub(super) fn publish(&self, driver: driver::Counters) {
        let counters = &self.turn.counters;
        self.slots.publish(&self.turn.settings, counters);
        self.links.publish(counters);
        self.identity.publish(counters);
        self.sessions.publish(counters);
        self.requests.publish(counters);
        self.streams.publish(counters);
        self.letters.publish(counters);
        self.overload.publish(self.turn.level, counters);
        counters.idle_buffer_bytes.set(self.turn.buffers.idle_bytes() as u64);
        counters.driver_system_calls.set(driver.system_calls);
        counters.driver_completions.set(driver.completions);
        counters.driver_starved.set(driver.starved);
        counters.driver_overflows.set(driver.overflows);
    }

    /// How much there is of everything that must go back to zero.
    pub(super) fn census(&self) -> Census {
        let links = self.links.census();
        let (sessions, claims, resuming) = self.sessions.census();
        let (owed, owed_bytes) = self.sessions.owed_census();
        let (pending, parked, parked_bytes) = self.requests.census();
        let (letters, unsent, unrung) = self.letters.census();
        Census {
            links: links.links,
            strangers: links.strangers,
            hailed: links.hailed,
            begun: links.begun,
            marked: links.marked,
            lingering: links.lingering,
            paused: links.paused,
            sessions,
            claims,
            resuming,
            owed,
            owed_bytes,
            parts: self.sessions.parts_census().0,
            partial_bytes: links.partial_bytes,
            stranger_bytes: links.stranger_bytes,
            outgoing_bytes: links.outgoing_bytes,
            pending,
            parked,
            parked_bytes,
            judging: self.identity.asked_len(),
            letters,
            unrung,
            unsent,
            streams: self.streams.ready_len(),
        }
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let worker = self.turn.settings.worker;
        f.debug_struct("Parts").field("worker", &worker).field("census", &self.census()).finish()
    }
}
