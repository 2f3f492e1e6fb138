//! The requests of all sessions: each session's in a list, in the order in which they came first, and those that have ended
//! in one list of all besides, in the order in which they did.

use std::num::NonZeroU32;

use protocol::Time;
use protocol::limits::REQUEST_ID_LEN;

use super::log::Place;
use crate::collections::{Key, Slab};
use crate::id::LinkId;

/// Names a session's window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowKey(NonZeroU32);

/// The place of a request in its window. Whoever kept one asks with the request's id: the place may have another tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryKey(NonZeroU32);

/// All lists of a worker.
#[derive(Debug)]
pub(super) struct Table {
    windows: Slab<Window>,
    entries: Slab<Entry>,
    /// Of all that have ended.
    oldest: u32,
    newest: u32,
    settled: u32,
}

#[derive(Debug)]
pub(super) struct Window {
    /// The link that asked last.
    pub(super) link: LinkId,
    first: u32,
    last: u32,
    running: u32,
    pub(super) answered: u32,
    pub(super) marks: u32,
    /// Of those that run, how many do by an earlier link.
    pub(super) away: u32,
    /// Answers that wait until their link has room.
    pub(super) wanted: u32,
    pub(super) highest: u64,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: [u8; REQUEST_ID_LEN],
    /// In milliseconds of the worker's clock: until when it may run, or is a mark.
    pub(super) until: u64,
    pub(super) answer: Place,
    pub(super) status: u32,
    /// Hash of its ordering key; zero when it has none.
    pub(super) order: u32,
    window: u32,
    before: u32,
    after: u32,
    older: u32,
    newer: u32,
    pub(super) route: u16,
    pub(super) state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// By the link that asked last.
    Running,
    /// By an earlier one; whether the present one has asked for it.
    Away {
        is_asked: bool,
    },
    Answered,
    /// Answered, and its link has no room for it yet.
    Wanted,
    /// Refused or unknown: it comes again before later ones of its key.
    Marked,
}

/// A request as its client sends it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'r> {
    /// Its name.
    pub id: &'r [u8; REQUEST_ID_LEN],
    /// Its number in the session; zero where its client did not know whose session it will be of.
    pub counter: u64,
    /// Whether its client says that it was sent before.
    pub again: bool,
    /// The number of its route.
    pub route: u16,
    /// Hash of its ordering key; zero when it has none.
    pub order: u32,
    /// When it has ended one way or another.
    pub until: Time,
}

impl Table {
    /// None yet, for so many sessions and requests.
    pub(super) fn new(sessions: u32, requests: u32) -> Self {
        let (windows, entries) = (Slab::new(sessions), Slab::new(requests));
        Self { windows, entries, oldest: NOBODY, newest: NOBODY, settled: 0 }
    }

    /// One window more; `None` where there are too many.
    pub(super) fn open(&mut self, link: LinkId) -> Option<WindowKey> {
        let window = Window {
            link,
            first: NOBODY,
            last: NOBODY,
            running: 0,
            answered: 0,
            marks: 0,
            away: 0,
            wanted: 0,
            highest: 0,
        };
        self.windows.insert(window).ok().map(|key| WindowKey::of(key.index))
    }

    /// A window goes, with all that is in it.
    pub(super) fn close(&mut self, key: WindowKey) {
        while let Some(first) = self.first_of(key) {
            self.remove(first);
        }
        if let Some((slot, _)) = self.windows.at(key.index()) {
            self.windows.remove(slot);
        }
    }

    /// The first request of a window.
    pub(super) fn first_of(&self, key: WindowKey) -> Option<EntryKey> {
        self.entries_of(key).next().map(|(at, _)| at)
    }

    /// The next one of the same window.
    pub(super) fn after(&self, at: EntryKey) -> Option<EntryKey> {
        let after = EntryKey::of(self.entry(at)?.after);
        self.entry(after).map(|_| after)
    }

    /// The one that ended first of all that have.
    pub(super) fn oldest(&self) -> Option<EntryKey> {
        let oldest = EntryKey::of(self.oldest);
        self.entry(oldest).map(|_| oldest)
    }

    /// How many have ended.
    pub(super) const fn settled(&self) -> u32 {
        self.settled
    }

    /// How many windows there are, and how many requests run in them.
    pub(super) fn running(&self) -> (usize, usize) {
        (self.windows.len(), self.entries.len() - self.settled as usize)
    }

    /// A request is no more.
    pub(super) fn remove(&mut self, at: EntryKey) {
        if self.entry(at).is_some() {
            self.unsettle(at);
            self.unlink(at);
        }
    }

    /// Notes a request as running, in the last place of its window.
    pub(super) fn insert(&mut self, key: WindowKey, asked: &Asked<'_>) -> Option<EntryKey> {
        let last = self.window(key)?.last;
        let entry = Entry {
            id: *asked.id,
            until: asked.until.as_millis(),
            answer: Place::LOST,
            status: 0,
            order: asked.order,
            window: key.index(),
            before: last,
            after: NOBODY,
            older: NOBODY,
            newer: NOBODY,
            route: asked.route,
            state: State::Running,
        };
        let index = self.entries.insert(entry).ok()?.index;
        if let Some(last) = self.entry_mut(EntryKey::of(last)) {
            last.after = index;
        }
        let window = self.window_mut(key)?;
        window.last = index;
        window.running += 1;
        if window.first == NOBODY {
            window.first = index;
        }
        Some(EntryKey::of(index))
    }

    /// Takes one out of its window.
    fn unlink(&mut self, at: EntryKey) {
        let Some(slot) = self.slot(at) else { return };
        let Some(Entry { window, before, after, state, .. }) = self.entries.remove(slot) else { return };
        if let Some(before) = self.entry_mut(EntryKey::of(before)) {
            before.after = after;
        }
        if let Some(after) = self.entry_mut(EntryKey::of(after)) {
            after.before = before;
        }
        let Some(window) = self.window_mut(WindowKey::of(window)) else { return };
        *window.count(state) -= 1;
        if window.first == at.index() {
            window.first = after;
        }
        if window.last == at.index() {
            window.last = before;
        }
    }

    /// Changes what is known of a request, and what is counted.
    pub(super) fn set(&mut self, at: EntryKey, state: State) {
        let Some(entry) = self.entry_mut(at) else { return };
        let was = std::mem::replace(&mut entry.state, state);
        let key = WindowKey::of(entry.window);
        if let Some(window) = self.window_mut(key) {
            *window.count(was) -= 1;
            *window.count(state) += 1;
        }
        match (was.is_settled(), state.is_settled()) {
            (false, true) => self.settle(at),
            (true, false) => self.unsettle(at),
            _ => {}
        }
    }

    /// It has ended: it is the last of those to be forgotten.
    fn settle(&mut self, at: EntryKey) {
        let newest = std::mem::replace(&mut self.newest, at.index());
        match self.entry_mut(EntryKey::of(newest)) {
            Some(entry) => entry.newer = at.index(),
            None => self.oldest = at.index(),
        }
        if let Some(entry) = self.entry_mut(at) {
            (entry.older, entry.newer) = (newest, NOBODY);
        }
        self.settled += 1;
    }

    /// It is none of those to be forgotten any more, if it was.
    fn unsettle(&mut self, at: EntryKey) {
        let Some(&Entry { older, newer, .. }) = self.entry(at) else { return };
        if self.oldest != at.index() && older == NOBODY {
            return;
        }
        match self.entry_mut(EntryKey::of(older)) {
            Some(entry) => entry.newer = newer,
            None => self.oldest = newer,
        }
        match self.entry_mut(EntryKey::of(newer)) {
            Some(entry) => entry.older = older,
            None => self.newest = older,
        }
        if let Some(entry) = self.entry_mut(at) {
            (entry.older, entry.newer) = (NOBODY, NOBODY);
        }
        self.settled -= 1;
    }

    pub(super) fn entries_of(&self, key: WindowKey) -> impl Iterator<Item = (EntryKey, &Entry)> {
        let mut next = self.window(key).map_or(NOBODY, |window| window.first);
        std::iter::from_fn(move || {
            let at = EntryKey::of(next);
            let entry = self.entry(at)?;
            next = entry.after;
            Some((at, entry))
        })
    }

    fn slot(&self, at: EntryKey) -> Option<Key> {
        self.entries.at(at.index()).map(|(key, _)| key)
    }

    pub(super) fn entry(&self, at: EntryKey) -> Option<&Entry> {
        self.entries.at(at.index()).map(|(_, entry)| entry)
    }

    pub(super) fn entry_mut(&mut self, at: EntryKey) -> Option<&mut Entry> {
        let slot = self.slot(at)?;
        self.entries.get_mut(slot)
    }

    pub(super) fn window(&self, key: WindowKey) -> Option<&Window> {
        self.windows.at(key.index()).map(|(_, window)| window)
    }

    pub(super) fn window_mut(&mut self, key: WindowKey) -> Option<&mut Window> {
        let (slot, _) = self.windows.at(key.index())?;
        self.windows.get_mut(slot)
    }
}

impl WindowKey {
    pub(super) fn of(index: u32) -> Self {
        Self(NonZeroU32::MIN.saturating_add(index))
    }

    const fn index(self) -> u32 {
        self.0.get() - 1
    }
}

impl Window {
    /// How many are in this state.
    const fn count(&mut self, state: State) -> &mut u32 {
        match state {
            State::Running => &mut self.running,
            State::Away { .. } => &mut self.away,
            State::Answered => &mut self.answered,
            State::Wanted => &mut self.wanted,
            State::Marked => &mut self.marks,
        }
    }
}

impl EntryKey {
    pub(super) fn of(index: u32) -> Self {
        Self(NonZeroU32::MIN.saturating_add(index))
    }

    /// The number of the place.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.0.get() - 1
    }
}

impl Entry {
    /// Whose it is.
    pub(super) fn window(&self) -> WindowKey {
        WindowKey::of(self.window)
    }

    /// Whether later requests of this key wait behind it.
    pub(super) const fn holds_back(&self, route: u16, order: u32, now: Time) -> bool {
        let is_mark = matches!(self.state, State::Marked) && self.until > now.as_millis();
        is_mark && self.order == order && self.route == route
    }
}

impl State {
    pub(super) const fn is_settled(self) -> bool {
        matches!(self, Self::Answered | Self::Wanted | Self::Marked)
    }
}

/// No entry.
const NOBODY: u32 = u32::MAX;
