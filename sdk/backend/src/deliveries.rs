//! The books of pushes that are to arrive at least once: which of them are open, and what becomes of each. No clock and no
//! socket: time comes in, and what is decided goes out through `settle`, exactly once for each push.
//!
//! ```text
//!              slot free           all reports            ┌─► settled by its reports
//!   waits ───────────────► open ──────────────────────────┘      (early, if no other can change it)
//!                           │  stream ends, it had not left ───► unknown
//!                           │  stream ends, it had left ──► waits for the same worker of the same start
//!                           │      ├─ back in time: open again, its reports come through the new stream
//!                           │      └─ 5 s are over, or another start of this worker ───► unknown
//!                           └─ nothing heard for long since it had to wait ───► unknown
//! ```

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;
use protocol::Time;
use protocol::limits::BOOT_ID_LEN;
use protocol::noise::PublicKey;
use protocol::wire::stream::Report;

use crate::outcome::{Fold, Outcome, Rule};

/// A worker of a gateway from one of its starts: with a number it names a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct WorkerId {
    pub(crate) boot: [u8; BOOT_ID_LEN],
    pub(crate) worker: u32,
}

/// What a worker of a gateway keeps over its starts, as far as a backend can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) gateway: String,
    pub(crate) key: Option<PublicKey>,
    pub(crate) worker: u32,
}

/// A push by its number, or what of it is for one of several users.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Share {
    pub(crate) number: u64,
    /// Empty where it does not name several.
    pub(crate) user: Bytes,
}

#[cfg(test)]
impl Share {
    /// A push to anybody but several users.
    const fn whole(number: u64) -> Self {
        Self { number, user: Bytes::new() }
    }
}

/// Whether there are slots for a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Now,
    /// When others are known.
    Later,
    /// There are not that many.
    Never,
}

/// A push that is to be sent, with whoever waits for what becomes of it.
#[derive(Debug)]
pub(crate) struct Wanted<T> {
    pub(crate) rule: Rule,
    /// Its time to live; zero where it has none of its own.
    pub(crate) ttl: Duration,
    pub(crate) waiter: T,
}

/// All open pushes of a server.
#[derive(Debug)]
pub(crate) struct Deliveries<T> {
    workers: HashMap<WorkerId, Worker<T>>,
    limits: Limits,
    /// The server is: nothing is open any more, and nothing will be.
    is_over: bool,
}

/// How much is kept, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Open pushes of one worker, however many it offers.
    pub(crate) open_max: usize,
    /// Workers without a stream of which pushes are open.
    pub(crate) waiting_max: usize,
    /// How long a push of which nothing was heard stays open after its gateway has come back, if it has no time to live.
    pub(crate) unheard_max: Duration,
}

#[derive(Debug)]
struct Worker<T> {
    place: Place,
    state: State,
    /// When its stream came.
    since: Time,
    slots: usize,
    /// A slot each, those of one push beside each other.
    open: BTreeMap<Share, Open<T>>,
    /// Of those that had to wait for a stream, when they are given up and which: the first is the last of the list.
    unheard: Vec<(Time, Share)>,
    /// The last report that was taken. Reports come in the order of their numbers.
    taken: u64,
    /// Whether it has to be said so.
    owes_ack: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Its stream.
    Live(u64),
    /// Without one: until then.
    Waiting(Time),
}

#[derive(Debug)]
struct Open<T> {
    /// On which stream it was sent.
    stream: u64,
    fold: Fold,
    ttl: Duration,
    /// Until it is settled. Then only the reports are waited for that are still owed, as they hold its slot.
    waiter: Option<T>,
    /// When it is given up unless something is heard of it.
    overdue: Option<Time>,
}

/// How long a worker may be without a stream (SPEC 11.6).
const REDIAL_MAX: Duration = Duration::from_secs(5);

impl<T> Deliveries<T> {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { workers: HashMap::new(), limits, is_over: false }
    }

    /// A stream of a worker is live, with room for so many open pushes.
    pub(crate) fn opened(
        &mut self,
        id: WorkerId,
        place: Place,
        stream: u64,
        slots: u32,
        now: Time,
        settle: &mut impl FnMut(T, Outcome),
    ) {
        if self.is_over {
            return;
        }
        // Whoever waits in this place for another start waits in vain.
        let is_past = |other: &WorkerId, worker: &Worker<T>| {
            other.boot != id.boot && worker.place == place && matches!(worker.state, State::Waiting(_))
        };
        for (_, worker) in self.workers.extract_if(|other, worker| is_past(other, worker)) {
            worker.give_up(settle);
        }
        let slots = usize::try_from(slots).unwrap_or(usize::MAX).min(self.limits.open_max);
        let worker = self.workers.entry(id).or_insert_with(|| Worker::new(place));
        (worker.state, worker.since, worker.slots) = (State::Live(stream), now, slots);
        worker.look_out(now, self.limits.unheard_max);
    }

    /// Whether one more push may be sent on this stream, one that takes so many slots. Not on one whose worker has another one by now.
    pub(crate) fn room(&self, id: WorkerId, stream: u64, slots: usize) -> Room {
        match self.workers.get(&id).filter(|worker| worker.state == State::Live(stream)) {
            Some(worker) if slots > worker.slots => Room::Never,
            Some(worker) if worker.open.len() + slots <= worker.slots => Room::Now,
            _ => Room::Later,
        }
    }

    /// A push was given to a stream. Its number is like no other of this server; one to several users is given once for each of them.
    pub(crate) fn sent(
        &mut self,
        id: WorkerId,
        stream: u64,
        share: Share,
        wanted: Wanted<T>,
        settle: &mut impl FnMut(T, Outcome),
    ) {
        let Wanted { rule, ttl, waiter } = wanted;
        let Some(worker) = self.workers.get_mut(&id) else { return settle(waiter, Outcome::Unknown) };
        let open = Open { stream, fold: Fold::new(rule), ttl, waiter: Some(waiter), overdue: None };
        worker.open.insert(share, open);
    }

    /// A report came. Whether it is new: one that was taken before is not looked at, but acknowledged again.
    pub(crate) fn report(
        &mut self,
        id: WorkerId,
        report: &Report<'_>,
        settle: &mut impl FnMut(T, Outcome),
    ) -> bool {
        let Some(worker) = self.workers.get_mut(&id) else { return true };
        if report.report != 0 {
            worker.owes_ack = true;
            if report.report <= worker.taken {
                return false;
            }
            worker.taken = report.report;
        }
        // One of a push that was given up is only acknowledged.
        if report.user.is_empty() {
            worker.shares(report.number).iter().for_each(|share| worker.take(share, report, settle));
        } else {
            let user = Bytes::copy_from_slice(report.user);
            worker.take(&Share { number: report.number, user }, report, settle);
        }
        true
    }

    /// What is to be acknowledged on this stream since the last time.
    pub(crate) fn acknowledge(&mut self, id: WorkerId, stream: u64) -> Option<u64> {
        let worker = self.workers.get_mut(&id).filter(|worker| worker.state == State::Live(stream))?;
        std::mem::take(&mut worker.owes_ack).then_some(worker.taken)
    }

    /// A stream is over. `not_left` are the pushes given to it that have not left this process: they are unknown.
    pub(crate) fn ended(
        &mut self,
        id: WorkerId,
        stream: u64,
        not_left: &[u64],
        now: Time,
        settle: &mut impl FnMut(T, Outcome),
    ) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        for number in not_left {
            let shares = worker.shares(*number);
            shares.iter().filter_map(|share| worker.open.remove(share)).for_each(|open| open.give_up(settle));
        }
        if worker.state != State::Live(stream) {
            // Another one has taken its place already, and it may have sent something since.
            return worker.look_out(now, self.limits.unheard_max);
        }
        let (since, place) = (worker.since, worker.place.clone());
        // It came a moment ago, before this end had noticed that the start before it was over. One that has been there for longer
        // is another gateway of this name.
        let has_followed = |(other, worker): (&WorkerId, &Worker<T>)| {
            let is_later = worker.since >= since && now.since(worker.since) < REDIAL_MAX;
            other.boot != id.boot
                && worker.place == place
                && is_later
                && matches!(worker.state, State::Live(_))
        };
        if self.workers.iter().any(has_followed) {
            if let Some(worker) = self.workers.remove(&id) {
                worker.give_up(settle);
            }
            return;
        }
        let Some(worker) = self.workers.get_mut(&id) else { return };
        if worker.open.is_empty() {
            self.workers.remove(&id);
            return;
        }
        worker.state = State::Waiting(now + REDIAL_MAX);
        self.make_room(settle);
    }

    /// Those that have waited longest go when there are more than there may be.
    fn make_room(&mut self, settle: &mut impl FnMut(T, Outcome)) {
        let waiting = |(id, worker): (&WorkerId, &Worker<T>)| match worker.state {
            State::Waiting(until) => Some((until, *id)),
            State::Live(_) => None,
        };
        let mut all: Vec<_> = self.workers.iter().filter_map(waiting).collect();
        let surplus = all.len().saturating_sub(self.limits.waiting_max);
        all.sort_unstable_by_key(|(until, _)| *until);
        for (_, id) in &all[..surplus] {
            if let Some(worker) = self.workers.remove(id) {
                worker.give_up(settle);
            }
        }
    }

    /// When [`Deliveries::expire`] wants to be called; may move with every call.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let of_worker = |worker: &Worker<T>| {
            let until = match worker.state {
                State::Waiting(until) => Some(until),
                State::Live(_) => None,
            };
            until.into_iter().chain(worker.unheard.last().map(|(at, _)| *at)).min()
        };
        self.workers.values().filter_map(of_worker).min()
    }

    /// Lets time pass.
    pub(crate) fn expire(&mut self, now: Time, settle: &mut impl FnMut(T, Outcome)) {
        let is_over = |worker: &Worker<T>| matches!(worker.state, State::Waiting(until) if now >= until);
        for (_, worker) in self.workers.extract_if(|_, worker| is_over(worker)) {
            worker.give_up(settle);
        }
        for worker in self.workers.values_mut() {
            worker.expire(now, settle);
        }
    }

    /// The server is over: no stream comes any more.
    pub(crate) fn end(&mut self, settle: &mut impl FnMut(T, Outcome)) {
        self.is_over = true;
        self.workers.drain().for_each(|(_, worker)| worker.give_up(settle));
    }
}

impl<T> Worker<T> {
    fn new(place: Place) -> Self {
        let state = State::Waiting(Time::ZERO);
        let open = BTreeMap::new();
        let unheard = Vec::new();
        Self { place, state, since: Time::ZERO, slots: 0, open, unheard, taken: 0, owes_ack: false }
    }

    /// What is open of a push.
    fn shares(&self, number: u64) -> Vec<Share> {
        let first = Share { number, user: Bytes::new() };
        let of_push = self.open.range(first..).take_while(|(share, _)| share.number == number);
        of_push.map(|(share, _)| share.clone()).collect()
    }

    fn take(&mut self, share: &Share, report: &Report<'_>, settle: &mut impl FnMut(T, Outcome)) {
        let Some(open) = self.open.get_mut(share) else { return };
        open.fold.take(report);
        if let Some(outcome) = open.fold.outcome()
            && let Some(waiter) = open.waiter.take()
        {
            settle(waiter, outcome);
        }
        if open.fold.is_complete() {
            self.open.remove(share);
        }
    }

    /// What had left on an earlier stream than this one may have been lost with it, and then nobody will ever report it: so it is
    /// not waited for without end.
    fn look_out(&mut self, now: Time, unheard_max: Duration) {
        let is_earlier =
            |open: &&mut Open<T>| self.state != State::Live(open.stream) && open.fold.is_unheard();
        for open in self.open.values_mut().filter(is_earlier) {
            let longest = if open.ttl.is_zero() { unheard_max } else { open.ttl.min(unheard_max) };
            open.overdue = open.overdue.or(Some(now + longest));
        }
        let overdue = |(share, open): (&Share, &Open<T>)| open.overdue.map(|at| (at, share.clone()));
        self.unheard = self.open.iter().filter_map(overdue).collect();
        self.unheard.sort_unstable_by(|one, other| other.cmp(one));
    }

    fn expire(&mut self, now: Time, settle: &mut impl FnMut(T, Outcome)) {
        while let Some((_, share)) = self.unheard.pop_if(|(at, _)| now >= *at) {
            if self.open.get(&share).is_some_and(|open| open.fold.is_unheard())
                && let Some(open) = self.open.remove(&share)
            {
                open.give_up(settle);
            }
        }
    }

    fn give_up(mut self, settle: &mut impl FnMut(T, Outcome)) {
        std::mem::take(&mut self.open).into_values().for_each(|open| open.give_up(settle));
    }
}

impl<T> Open<T> {
    fn give_up(self, settle: &mut impl FnMut(T, Outcome)) {
        if let Some(waiter) = self.waiter {
            settle(waiter, Outcome::Unknown);
        }
    }
}

#[cfg(test)]
mod tests;
