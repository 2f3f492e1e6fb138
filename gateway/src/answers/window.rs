//! What clients are told that send a request again, and what is remembered for that.
//!
//! A request that runs is always in its window. Those that were answered, and marks behind which others wait, are forgotten
//! one by one: where one session has its fill of its own, where the worker has of all.

use protocol::Time;
use protocol::limits::REQUEST_ID_LEN;

use super::Bounds;
use super::carried::{Carried, Fate, Request};
use super::log::{Log, Place};
use super::table::{Asked, Entry, EntryKey, State, Table, WindowKey};
use crate::id::LinkId;

/// All windows of a worker.
#[derive(Debug)]
pub struct Windows {
    bounds: Bounds,
    table: Table,
    log: Log,
    forgotten: u64,
}

/// What is known of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing: it goes. Whether its backend may have seen it, and its place.
    New {
        /// It is a repeat.
        again: bool,
        /// `None` where there is no room to remember it.
        entry: Option<EntryKey>,
    },
    /// It runs, and its answer comes when it is there. It has a place if that is by an earlier link.
    Running(Option<EntryKey>),
    /// It was answered.
    Answered(EntryKey),
    /// It was answered, and the answer is forgotten.
    Forgotten,
    /// An earlier one of its key must come again first.
    Behind,
}

/// What follows from the outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Its link is to hear of it.
    Told,
    /// Its link has not asked for it yet.
    Kept,
    /// It is none of this window.
    Unknown,
}

/// An answer for which its link has had no room.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Where it is.
    pub entry: EntryKey,
    /// Whose it is.
    pub id: [u8; REQUEST_ID_LEN],
    /// What the backend said.
    pub status: u32,
    /// The answer; `None` if it was forgotten meanwhile.
    pub body: Option<&'a [u8]>,
}

impl Windows {
    /// None yet, for so many sessions of which so many requests may run.
    #[must_use]
    pub fn new(bounds: Bounds, sessions: u32, running: u32) -> Self {
        Self {
            bounds,
            table: Table::new(sessions, bounds.count.saturating_add(running)),
            log: Log::new(bounds.bytes),
            forgotten: 0,
        }
    }

    /// A window for a session that asks for the first time; `None` where there are too many.
    pub fn open(&mut self, link: LinkId) -> Option<WindowKey> {
        self.table.open(link)
    }

    /// The session is over.
    pub fn close(&mut self, key: WindowKey) {
        self.table.close(key);
    }

    /// A client sends a request by this link. What is new is noted as running.
    pub fn ask(&mut self, key: WindowKey, link: LinkId, asked: &Asked<'_>, now: Time) -> Known {
        let Some(window) = self.table.window_mut(key) else {
            return Known::New { again: asked.again, entry: None };
        };
        window.link = link;
        // Most are new by their number, and are not looked for; those without one are.
        let may_be_known = asked.again || asked.counter <= window.highest;
        let may_wait = asked.order != 0 && window.marks > 0;
        let is_old = asked.counter != 0 && asked.counter <= window.highest;
        window.highest = window.highest.max(asked.counter);
        let (mut known, mut mark) = (None, false);
        if may_be_known || may_wait {
            (known, mark) = self.find_asked(key, asked, now);
        }
        if let Some(found) = known {
            return self.ask_again(found, asked, mark, now);
        }
        if !mark {
            return Known::New { again: asked.again || is_old, entry: self.table.insert(key, asked) };
        }
        // Over the bound it is not noted: those before it still are.
        let has_room = self.table.window(key).is_some_and(|window| window.marks < self.bounds.session_count);
        if has_room && let Some(entry) = self.table.insert(key, asked) {
            self.mark(entry, now);
        }
        Known::Behind
    }

    /// A request is refused before it is looked at. If it is new, later ones of its key wait behind it; one that runs or was
    /// answered stays what it is, and this sending of it has asked for nothing.
    pub fn turn_away(&mut self, key: WindowKey, asked: &Asked<'_>, now: Time) {
        if self.find(key, asked.id).is_none()
            && let Some(entry) = self.table.insert(key, asked)
        {
            self.fail(entry, true, now);
        }
    }

    /// The place of this very request, and whether an earlier one of its key must come again first.
    fn find_asked(&self, key: WindowKey, asked: &Asked<'_>, now: Time) -> (Option<EntryKey>, bool) {
        let mut mark = false;
        for (at, entry) in self.table.entries_of(key) {
            if entry.id == *asked.id {
                return (Some(at), mark);
            }
            mark |= asked.order != 0 && entry.holds_back(asked.route, asked.order, now);
        }
        (None, mark)
    }

    /// A client sends a request again that its window knows.
    fn ask_again(&mut self, at: EntryKey, asked: &Asked<'_>, mark: bool, now: Time) -> Known {
        let Some(entry) = self.table.entry(at) else { return Known::Forgotten };
        let is_over = entry.until <= now.as_millis();
        match entry.state {
            State::Running => Known::Running(None),
            State::Away { .. } if is_over => self.restart(at, asked),
            State::Away { .. } => {
                self.table.set(at, State::Away { is_asked: true });
                Known::Running(Some(at))
            }
            State::Answered | State::Wanted if self.log.get(entry.answer).is_some() => Known::Answered(at),
            State::Answered | State::Wanted => Known::Forgotten,
            State::Marked if mark => Known::Behind,
            State::Marked => self.restart(at, asked),
        }
    }

    /// It runs anew, in the place that it had.
    fn restart(&mut self, at: EntryKey, asked: &Asked<'_>) -> Known {
        self.table.set(at, State::Running);
        if let Some(entry) = self.table.entry_mut(at) {
            entry.until = asked.until.as_millis();
        }
        Known::New { again: true, entry: Some(at) }
    }

    /// Whether a request of this key runs by an earlier link: later ones wait until that has ended.
    #[must_use]
    pub fn has_away(&self, key: WindowKey, route: u16, order: u32, now: Time) -> bool {
        let is_one = |entry: &Entry| {
            let is_away = matches!(entry.state, State::Away { .. }) && entry.until > now.as_millis();
            is_away && entry.order == order && entry.route == route
        };
        let some = self.table.window(key).is_some_and(|window| window.away > 0);
        some && order != 0 && self.table.entries_of(key).any(|(_, entry)| is_one(entry))
    }

    /// Whether an earlier request of its key has to come again before this one.
    #[must_use]
    pub fn is_behind(&self, at: EntryKey, now: Time) -> bool {
        let Some(entry) = self.table.entry(at) else { return false };
        let (key, order, route) = (entry.window(), entry.order, entry.route);
        let some = order != 0 && self.table.window(key).is_some_and(|window| window.marks > 0);
        let mut earlier = self.table.entries_of(key).take_while(|&(other, _)| other != at);
        some && earlier.any(|(_, entry)| entry.holds_back(route, order, now))
    }

    /// The place of a request of this id.
    #[must_use]
    pub fn find(&self, key: WindowKey, id: &[u8; REQUEST_ID_LEN]) -> Option<EntryKey> {
        self.table.entries_of(key).find(|(_, entry)| entry.id == *id).map(|(at, _)| at)
    }

    /// Whether this place is that of a request of this id in this window.
    #[must_use]
    pub fn is_at(&self, key: WindowKey, at: EntryKey, id: &[u8; REQUEST_ID_LEN]) -> bool {
        self.table.entry(at).is_some_and(|entry| entry.window() == key && entry.id == *id)
    }

    /// A request was answered; `body` is `None` where that was lost on the way.
    pub fn answer(&mut self, at: EntryKey, status: u32, body: Option<&[u8]>) -> Settled {
        let Some(entry) = self.table.entry(at) else { return Settled::Unknown };
        let settled = match entry.state {
            State::Running | State::Away { is_asked: true } => Settled::Told,
            State::Away { is_asked: false } => Settled::Kept,
            State::Answered | State::Wanted | State::Marked => return Settled::Unknown,
        };
        let answer = body.and_then(|body| self.log.keep(body)).unwrap_or(Place::LOST);
        self.table.set(at, State::Answered);
        if let Some(entry) = self.table.entry_mut(at) {
            (entry.answer, entry.status) = (answer, status);
        }
        self.make_room(at);
        settled
    }

    /// The answer waits until its link has room for it; whether it is kept.
    pub fn want(&mut self, at: EntryKey) -> bool {
        let Some(entry) = self.table.entry(at) else { return false };
        let is_kept = self.log.get(entry.answer).is_some();
        match entry.state {
            State::Answered if is_kept => self.table.set(at, State::Wanted),
            State::Wanted => {}
            _ => return false,
        }
        is_kept
    }

    /// The answer at this place, on its way to its link.
    #[must_use]
    pub fn answer_at(&self, at: EntryKey) -> Option<Wanted<'_>> {
        let entry = self.table.entry(at)?;
        let body = self.log.get(entry.answer);
        Some(Wanted { entry: at, id: entry.id, status: entry.status, body })
    }

    /// The next answer that waits for room.
    #[must_use]
    pub fn next_wanted(&self, key: WindowKey) -> Option<Wanted<'_>> {
        if self.table.window(key)?.wanted == 0 {
            return None;
        }
        let (at, _) = self.table.entries_of(key).find(|(_, entry)| entry.state == State::Wanted)?;
        self.answer_at(at)
    }

    /// It is on its way.
    pub fn said(&mut self, at: EntryKey) {
        if self.table.entry(at).is_some_and(|entry| entry.state == State::Wanted) {
            self.table.set(at, State::Answered);
            self.make_room(at);
        }
    }

    /// A request was refused, or is unknown: it is forgotten, or later ones of its key wait behind it if it `may_come_again`.
    pub fn fail(&mut self, at: EntryKey, may_come_again: bool, now: Time) -> Settled {
        let Some(entry) = self.table.entry(at) else { return Settled::Unknown };
        let settled = match entry.state {
            State::Running | State::Away { is_asked: true } => Settled::Told,
            State::Away { is_asked: false } => Settled::Kept,
            State::Answered | State::Wanted | State::Marked => return Settled::Unknown,
        };
        if entry.order != 0 && may_come_again {
            self.mark(at, now);
        } else {
            self.forget(at);
        }
        settled
    }

    /// Nobody has seen a request, and it is forgotten.
    pub fn forget(&mut self, at: EntryKey) {
        self.table.remove(at);
    }

    /// A request that runs by an earlier link, and was asked for, has had no answer for longer than it can run: its link, and
    /// its id.
    pub fn overdue(&mut self, index: u32, now: Time) -> Option<(LinkId, [u8; REQUEST_ID_LEN])> {
        let at = EntryKey::of(index);
        let entry = self.table.entry(at)?;
        let is_over = entry.state == State::Away { is_asked: true } && entry.until <= now.as_millis();
        let (window, id) = (entry.window(), entry.id);
        let link = self.table.window(window).filter(|_| is_over)?.link;
        self.fail(at, true, now);
        Some((link, id))
    }

    /// When a request at this place has ended, whatever happens.
    #[must_use]
    pub fn until(&self, at: EntryKey) -> Option<Time> {
        self.table.entry(at).map(|entry| Time::from_nanos(entry.until.saturating_mul(1_000_000)))
    }

    /// The link is gone, or the session goes on with another one: what runs does so without anybody who waits for it.
    pub fn leave(&mut self, key: WindowKey) {
        let mut next = self.table.first_of(key);
        while let Some(at) = next {
            match self.table.entry(at).map(|entry| entry.state) {
                Some(State::Running | State::Away { .. }) => {
                    self.table.set(at, State::Away { is_asked: false })
                }
                Some(State::Wanted) => self.table.set(at, State::Answered),
                Some(State::Answered | State::Marked) | None => {}
            }
            next = self.table.after(at);
        }
    }

    /// Takes a window out: its session goes on by another worker.
    pub fn pack(&mut self, key: WindowKey) -> Carried {
        let Some(window) = self.table.window(key) else { return Carried::default() };
        let highest = window.highest;
        let requests = self.table.entries_of(key).map(|(_, entry)| Request {
            id: entry.id,
            until: entry.until,
            order: entry.order,
            route: entry.route,
            fate: match entry.state {
                State::Running | State::Away { .. } => Fate::Running,
                State::Answered | State::Wanted => {
                    Fate::Answered { status: entry.status, body: self.log.get(entry.answer).map(Into::into) }
                }
                State::Marked => Fate::Marked,
            },
        });
        let carried = Carried { requests: requests.collect(), highest };
        self.close(key);
        carried
    }

    /// A window that comes from another worker, for the session of this link. What there is no room for is forgotten.
    pub fn unpack(&mut self, link: LinkId, carried: Carried) -> Option<WindowKey> {
        let key = self.open(link)?;
        if let Some(window) = self.table.window_mut(key) {
            window.highest = carried.highest;
        }
        for Request { id, until, order, route, fate } in carried.requests {
            let until = Time::from_nanos(until.saturating_mul(1_000_000));
            let asked = Asked { id: &id, counter: 0, again: true, route, order, until };
            let Some(at) = self.table.insert(key, &asked) else { continue };
            match fate {
                Fate::Running => self.table.set(at, State::Away { is_asked: false }),
                Fate::Marked => self.table.set(at, State::Marked),
                Fate::Answered { status, body } => {
                    let answer = body.and_then(|body| self.log.keep(&body)).unwrap_or(Place::LOST);
                    self.table.set(at, State::Answered);
                    if let Some(entry) = self.table.entry_mut(at) {
                        (entry.answer, entry.status) = (answer, status);
                    }
                }
            }
            self.make_room(at);
        }
        Some(key)
    }

    /// How many requests are remembered that have ended, how many bytes their answers take, and how many were forgotten for want
    /// of room.
    #[must_use]
    pub const fn census(&self) -> (u32, usize, u64) {
        (self.table.settled(), self.log.bytes(), self.forgotten)
    }

    /// How many windows there are, and how many requests run in them.
    #[must_use]
    pub fn running(&self) -> (usize, usize) {
        self.table.running()
    }

    /// Notes that later ones of its key wait behind a request.
    fn mark(&mut self, at: EntryKey, now: Time) {
        let until = (now + self.bounds.behind).as_millis();
        self.table.set(at, State::Marked);
        if let Some(entry) = self.table.entry_mut(at) {
            entry.until = until;
        }
        self.make_room(at);
    }

    /// This one has ended. Where a session now remembers too many of its kind, or the worker too many of all, one of them is
    /// forgotten.
    fn make_room(&mut self, at: EntryKey) {
        if let Some(goes) = self.one_too_many(at) {
            self.drop_settled(goes);
        }
        if self.table.settled() > self.bounds.count
            && let Some(oldest) = self.table.oldest()
        {
            self.drop_settled(oldest);
        }
    }

    /// Of answers the oldest goes, and of marks the latest, as the earlier ones hold back what that did.
    fn one_too_many(&self, at: EntryKey) -> Option<EntryKey> {
        let entry = self.table.entry(at)?;
        let (key, state) = (entry.window(), entry.state);
        let (window, most) = (self.table.window(key)?, self.bounds.session_count);
        let mut others =
            self.table.entries_of(key).filter(|&(other, entry)| entry.state == state && other != at);
        let goes = match state {
            State::Marked if window.marks > most => others.last(),
            State::Answered if window.answered > most => others.next(),
            _ => None,
        };
        goes.map(|(goes, _)| goes)
    }

    /// Forgets one that has ended, for want of room.
    fn drop_settled(&mut self, at: EntryKey) {
        self.forgotten += 1;
        self.forget(at);
    }
}

#[cfg(test)]
mod tests;
