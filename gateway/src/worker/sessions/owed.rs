//! What the sessions of a worker are owed: pushes that must be acknowledged, and when clients are asked for that.

use protocol::Time;

use super::Sessions;
use crate::delivery::Origin;
use crate::delivery::bodies::BodyKey;
use crate::delivery::tails::{Full, Next, Packed, Settled};
use crate::id::LinkId;
use crate::session::{Due, Kept, Session, SessionKey};
use crate::worker::settings::PushRules;

/// A push that is owed no more: whom to tell, unless that was done, and memory that nobody needs.
pub(in crate::worker) type Left = (Option<Settled>, Option<Vec<u8>>);

impl Sessions {
    /// Keeps the body of a push, for whichever sessions are owed it.
    ///
    /// # Errors
    /// Gives it back when there is no room.
    pub(in crate::worker) fn keep_body(&mut self, body: Vec<u8>) -> Result<BodyKey, Vec<u8>> {
        self.pushes.bodies().insert(body)
    }

    /// The memory of a body that nobody is owed after all.
    pub(in crate::worker) fn drop_unowed(&mut self, body: BodyKey) -> Option<Vec<u8>> {
        self.pushes.bodies().drop_unheld(body)
    }

    /// A session that has, or had, this link is owed a push.
    ///
    /// # Errors
    /// [`Full`] when it or the worker has its fill.
    pub(in crate::worker) fn owe(
        &mut self,
        key: SessionKey,
        link: LinkId,
        body: BodyKey,
        owed: Settled,
        expiry: Time,
    ) -> Result<(), Full> {
        let session = self.table.get_mut(key.into()).ok_or(Full)?;
        let place = session.owe();
        place.link = Some(link);
        self.pushes.add(&mut place.tail, body, Some(owed), expiry)?;
        if place.expiry.is_none_or(|known| expiry < known) {
            place.expiry = Some(expiry);
            self.schedule(key, true);
        }
        Ok(())
    }

    /// The next push that is to be sent to a session's link.
    pub(in crate::worker) fn next_push(&self, key: SessionKey) -> Option<Next<'_>> {
        self.pushes.next(&self.get(key)?.owed()?.tail)
    }

    /// That one is on its way.
    pub(in crate::worker) fn said_push(&mut self, key: SessionKey, now: Time) {
        let Some(owed) = self.table.get_mut(key.into()).and_then(Session::owed_mut) else { return };
        let is_first = owed.sends(now);
        self.pushes.advance(&mut owed.tail);
        if is_first {
            self.schedule(key, true);
        }
    }

    /// The client says how far it is. What its application has taken is asked for with [`Sessions::taken`].
    pub(in crate::worker) fn acknowledge(&mut self, key: SessionKey, received: u64, now: Time) {
        let Some(owed) = self.table.get_mut(key.into()).and_then(Session::owed_mut) else { return };
        let before = owed.tail.received();
        self.pushes.acknowledge(&mut owed.tail, received);
        let progressed = owed.tail.received() > before;
        owed.hears(progressed, now);
    }

    /// One that the application has taken; called until `None`.
    pub(in crate::worker) fn taken(&mut self, key: SessionKey, taken: u64) -> Option<Left> {
        let owed = self.table.get_mut(key.into())?.owed_mut()?;
        self.pushes.take(&mut owed.tail, taken)
    }

    /// One of a session that is over; called until `None`.
    pub(in crate::worker) fn left(&mut self, key: SessionKey) -> Option<Left> {
        let owed = self.table.get_mut(key.into())?.owed_mut()?;
        self.pushes.drop_first(&mut owed.tail)
    }

    /// Where those come from that a session is owed, in their order.
    pub(in crate::worker) fn owed(&self, key: SessionKey) -> impl Iterator<Item = Origin> {
        let owed = self.get(key).and_then(Session::owed);
        owed.into_iter().flat_map(|owed| self.pushes.owed(&owed.tail)).chain(self.origins_of_parts(key))
    }

    /// The last push that was ever sent in a session.
    pub(in crate::worker) fn last_sent(&self, key: SessionKey) -> u64 {
        self.get(key).and_then(Session::owed).map_or(0, |owed| owed.tail.sent())
    }

    /// The last push that the present link of a session was sent.
    pub(in crate::worker) fn last_said(&self, key: SessionKey) -> u64 {
        self.get(key).and_then(Session::owed).map_or(0, |owed| owed.tail.said())
    }

    /// A link goes on with a session, and its client has all up to `last`.
    pub(in crate::worker) fn go_on_from(&mut self, key: SessionKey, link: LinkId, last: u64, now: Time) {
        let Some(owed) = self.table.get_mut(key.into()).and_then(Session::owed_mut) else { return };
        owed.link = Some(link);
        self.pushes.rewind(&mut owed.tail, last);
        owed.begin(now);
    }

    /// Sends again what the client says it lacks.
    pub(in crate::worker) fn send_again(&mut self, key: SessionKey) {
        if let Some(owed) = self.table.get_mut(key.into()).and_then(Session::owed_mut) {
            let received = owed.tail.received();
            self.pushes.rewind(&mut owed.tail, received);
        }
    }

    /// Whether a client that has all up to `last` may go on with a session.
    pub(in crate::worker) fn knows(&self, key: SessionKey, last: u64) -> bool {
        self.get(key).and_then(Session::owed).map_or(last == 0, |owed| owed.tail.knows(last))
    }

    /// Takes out a session that goes on with another link; buffers come from `buffer`.
    pub(in crate::worker) fn pack(
        &mut self,
        key: SessionKey,
        mut buffer: impl FnMut(usize) -> Vec<u8>,
    ) -> Option<Kept> {
        self.asks.cancel(key.index());
        let mut session = self.table.remove(key.into())?;
        let id = *session.id();
        let packages = self.pack_parts(&mut session, &mut buffer);
        let owed = session.owed_mut().map(|owed| self.pushes.pack(&mut owed.tail, buffer));
        let mut owed = owed.unwrap_or_default();
        owed.packages = packages;
        let requests = session.window().map(|window| self.windows.pack(window));
        Some(Kept { id, owed, requests: requests.unwrap_or_default() })
    }

    /// A session that was begun goes on as another one, as the link of this number. What it is owed itself comes behind. Parts of packages
    /// that find no place come back, with memory that nobody needs.
    ///
    /// # Errors
    /// Gives back what the other one is owed, where there is no room for it: then it does not go on.
    pub(in crate::worker) fn adopt(
        &mut self,
        key: SessionKey,
        link: LinkId,
        kept: Kept,
        epoch: u64,
        buffer: impl FnMut(usize) -> Vec<u8>,
    ) -> Result<Vec<Left>, Packed> {
        // Its own packages are here already, and those that come are joined to them.
        let Some(session) = self.table.get_mut(key.into()) else { return Err(kept.owed) };
        let own = session.owed_mut().map(|owed| self.pushes.pack(&mut owed.tail, buffer));
        let is_owed = own.is_some() || !kept.owed.is_new();
        let mut all = kept.owed.followed_by(own.unwrap_or_default());
        if !self.packages.fits(&all.packages) {
            return Err(all);
        }
        let packages = std::mem::take(&mut all.packages);
        let tail = match self.pushes.unpack(all) {
            Ok(tail) => tail,
            Err(mut all) => {
                all.packages = packages;
                return Err(all);
            }
        };
        session.rename(kept.id);
        session.number(epoch);
        if is_owed {
            let expiry = self.pushes.next_expiry(&tail);
            let owed = session.owe();
            (owed.tail, owed.expiry) = (tail, expiry);
        }
        // A link has sent no request before its `Welcome`: it has no window of its own.
        if !kept.requests.is_new()
            && let Some(window) = self.windows.unpack(link, kept.requests)
        {
            session.see_through(window);
        }
        let lost = if packages.is_empty() { Vec::new() } else { self.unpack_parts(key, packages) };
        self.schedule(key, false);
        Ok(lost.into_iter().map(|(owed, memory)| (Some(owed), memory)).collect())
    }

    /// The link by which a session is sent what it is owed.
    pub(in crate::worker) fn link_of(&self, key: SessionKey) -> Option<LinkId> {
        self.get(key)?.owed()?.link
    }

    /// The session that is owed what comes for a link that is gone: it waits for another one, or is on its way.
    pub(in crate::worker) fn session_without_link(&self, link: LinkId) -> Option<SessionKey> {
        self.detached.session_of(link).or_else(|| self.resuming.session_of(link))
    }

    /// A session whose client has not been heard for a while, or whose pushes are over; called until `None`, within `budget`.
    pub(in crate::worker) fn overdue_owed(&mut self, now: Time, budget: &mut u32) -> Option<SessionKey> {
        let index = self.asks.expire(now, budget)?;
        self.table.at(index).map(|(key, _)| key.into())
    }

    /// Pushes whose time is over: `tell` is told of each, with memory that nobody needs.
    pub(in crate::worker) fn expire_owed(
        &mut self,
        key: SessionKey,
        now: Time,
        tell: impl FnMut(Settled, Option<Vec<u8>>),
    ) {
        let Some(owed) = self.table.get_mut(key.into()).and_then(Session::owed_mut) else { return };
        if owed.expiry.is_some_and(|expiry| expiry <= now) {
            self.pushes.expire(&mut owed.tail, now, tell);
            owed.expiry = self.pushes.next_expiry(&owed.tail);
        }
    }

    /// What is to be done about a client, if its link lives.
    pub(in crate::worker) fn due(&mut self, key: SessionKey, rules: &PushRules, now: Time) -> Due {
        let owed = self.table.get_mut(key.into()).and_then(Session::owed_mut);
        owed.map_or(Due::Nothing, |owed| owed.due(rules.ack_timeout, rules.tries, now))
    }

    /// How many pushes are owed, and the bytes of memory of their bodies.
    pub(in crate::worker) fn owed_census(&self) -> (usize, usize) {
        self.pushes.census()
    }

    /// Sets a session's timer to its present deadline. Nobody is asked anything without a link.
    pub(in crate::worker) fn schedule(&mut self, key: SessionKey, has_link: bool) {
        let Some(owed) = self.get(key).and_then(Session::owed) else { return };
        let asked = owed.deadline(self.patience).filter(|_| has_link);
        let deadline =
            [owed.expiry, asked, self.packages.next_deadline(&owed.held)].into_iter().flatten().min();
        match deadline {
            Some(deadline) => self.asks.arm(key.index(), deadline),
            None => drop(self.asks.cancel(key.index())),
        }
    }
}
