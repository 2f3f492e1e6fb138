//! What sessions remember of the requests that their clients have sent.

use protocol::Time;
use protocol::limits::REQUEST_ID_LEN;

use super::Sessions;
use crate::answers::{Asked, EntryKey, Known, Settled, Wanted, WindowKey};
use crate::id::LinkId;
use crate::session::{Session, SessionKey};

/// A client's name for a request.
type Id = [u8; REQUEST_ID_LEN];

impl Sessions {
    /// The client of a session sends a request by this link. What is new is remembered from now on.
    pub(in crate::worker) fn request_came(
        &mut self,
        key: SessionKey,
        link: LinkId,
        asked: &Asked<'_>,
        now: Time,
    ) -> Known {
        let Some(window) = self.open_window(key, link) else {
            return Known::New { again: asked.again, entry: None };
        };
        let known = self.windows.ask(window, link, asked, now);
        if let Known::Running(Some(entry)) = known
            && let Some(until) = self.windows.until(entry)
        {
            self.unanswered.arm(entry.index(), until);
        }
        known
    }

    /// A request with a key is refused before it is looked at.
    pub(in crate::worker) fn turn_away(
        &mut self,
        key: SessionKey,
        link: LinkId,
        asked: &Asked<'_>,
        now: Time,
    ) {
        if let Some(window) = self.open_window(key, link) {
            self.windows.turn_away(window, asked, now);
        }
    }

    /// Whether a request of this key runs by an earlier link of the session.
    pub(in crate::worker) fn has_away(&self, key: SessionKey, route: u16, order: u32, now: Time) -> bool {
        self.window_of(key).is_some_and(|window| self.windows.has_away(window, route, order, now))
    }

    /// Whether an earlier request of its key has to come again first.
    pub(in crate::worker) fn is_behind(&self, entry: Option<EntryKey>, now: Time) -> bool {
        entry.is_some_and(|entry| self.windows.is_behind(entry, now))
    }

    /// The place of a request in the window of its session, where it is remembered.
    pub(in crate::worker) fn find_request(&self, key: SessionKey, id: &Id) -> Option<EntryKey> {
        self.windows.find(self.window_of(key)?, id)
    }

    /// A request was answered; `body` is `None` where it was lost on the way.
    pub(in crate::worker) fn answer_request(
        &mut self,
        key: SessionKey,
        entry: Option<EntryKey>,
        id: &Id,
        status: u32,
        body: Option<&[u8]>,
    ) -> Settled {
        let entry = self.tenant(key, entry, id);
        entry.map_or(Settled::Unknown, |entry| self.windows.answer(entry, status, body))
    }

    /// A request was refused, or nobody knows what became of it.
    pub(in crate::worker) fn fail_request(
        &mut self,
        key: SessionKey,
        entry: Option<EntryKey>,
        id: &Id,
        may_come_again: bool,
        now: Time,
    ) -> Settled {
        let entry = self.tenant(key, entry, id);
        entry.map_or(Settled::Unknown, |entry| self.windows.fail(entry, may_come_again, now))
    }

    /// A request that waited has gone with its link: no backend has seen it.
    pub(in crate::worker) fn forget_request(&mut self, entry: Option<EntryKey>) {
        if let Some(entry) = entry {
            self.windows.forget(entry);
        }
    }

    /// An answer waits until its link has room for it; whether it is kept for so long.
    pub(in crate::worker) fn want_answer(&mut self, entry: Option<EntryKey>) -> bool {
        entry.is_some_and(|entry| self.windows.want(entry))
    }

    /// The next answer that waits for room.
    pub(in crate::worker) fn next_wanted(&self, key: SessionKey) -> Option<Wanted<'_>> {
        self.windows.next_wanted(self.window_of(key)?)
    }

    /// It is on its way.
    pub(in crate::worker) fn said_answer(&mut self, entry: EntryKey) {
        self.windows.said(entry);
    }

    /// The link of a session is gone: what runs does so without anybody who waits for it.
    pub(in crate::worker) fn leave_requests(&mut self, key: SessionKey) {
        if let Some(window) = self.window_of(key) {
            self.windows.leave(window);
        }
    }

    /// A request of an earlier link of its session that has had no answer for longer than it can run: the present link, and the
    /// request's id. Called until `None`, within `budget`.
    pub(in crate::worker) fn unanswered(&mut self, now: Time, budget: &mut u32) -> Option<(LinkId, Id)> {
        while let Some(index) = self.unanswered.expire(now, budget) {
            let over = self.windows.overdue(index, now);
            if over.is_some() {
                return over;
            }
        }
        None
    }

    /// How many requests are remembered that have ended, how many bytes their answers take, and how many were forgotten for want
    /// of room.
    pub(super) const fn answers_census(&self) -> (u32, usize, u64) {
        self.windows.census()
    }

    fn open_window(&mut self, key: SessionKey, link: LinkId) -> Option<WindowKey> {
        let session = self.table.get_mut(key.into())?;
        let window = session.window().or_else(|| self.windows.open(link))?;
        session.see_through(window);
        Some(window)
    }

    fn window_of(&self, key: SessionKey) -> Option<WindowKey> {
        self.get(key).and_then(Session::window)
    }

    /// The place, if this request has it still.
    fn tenant(&self, key: SessionKey, entry: Option<EntryKey>, id: &Id) -> Option<EntryKey> {
        let window = self.window_of(key)?;
        entry.filter(|&entry| self.windows.is_at(window, entry, id))
    }
}
