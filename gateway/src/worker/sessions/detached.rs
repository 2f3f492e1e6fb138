//! Sessions whose link is gone: each waits for the next one, for a time, and there are only so many.

use std::collections::HashMap;
use std::time::Duration;

use protocol::Time;

use crate::collections::hash::{ByIdentity, mix};
use crate::collections::{Key, Queues, Slab, Wheel};
use crate::id::LinkId;
use crate::session::SessionKey;
use crate::upstream::Connection;

/// One whose link is gone.
#[derive(Debug)]
pub(in crate::worker) struct Detached {
    link: LinkId,
    session: SessionKey,
    told: Box<[Connection]>,
}

impl Detached {
    /// The session in this place had this link, of which backends know by these connections.
    pub(in crate::worker) const fn new(link: LinkId, session: SessionKey, told: Box<[Connection]>) -> Self {
        Self { link, session, told }
    }

    /// The same of a link that no backend knows of.
    pub(in crate::worker) fn unseen(link: LinkId, session: SessionKey) -> Self {
        Self::new(link, session, Box::default())
    }

    /// The link it had.
    pub(in crate::worker) const fn link(&self) -> LinkId {
        self.link
    }

    /// Its place among the sessions.
    pub(in crate::worker) const fn session(&self) -> SessionKey {
        self.session
    }

    /// By which connections backends know of the link.
    pub(in crate::worker) fn told(&self) -> &[Connection] {
        &self.told
    }
}

/// All of a worker. Without any they take no memory.
#[derive(Debug)]
pub(super) struct Waiting {
    entries: Slab<Detached>,
    by_link: HashMap<u64, Key, ByIdentity>,
    /// By place.
    ends: Wheel,
    /// In the order in which they came; made with the first one.
    order: Option<Queues>,
}

/// They end so much too late at most.
const TICK: Duration = Duration::from_millis(100);

impl Waiting {
    /// None, and never more than `max`.
    pub(super) fn new(max: u32, now: Time) -> Self {
        Self {
            entries: Slab::new(max),
            by_link: HashMap::default(),
            ends: Wheel::new(TICK, 0, now),
            order: None,
        }
    }

    /// One more, until then. Gives back whoever has to go for it: the one that has waited longest, or itself where none
    /// may wait.
    pub(super) fn insert(&mut self, detached: Detached, until: Time) -> Option<Detached> {
        let max = self.entries.max() as usize;
        let gone = if self.entries.len() == max { self.take_first() } else { None };
        let link = detached.link;
        match self.entries.insert(detached) {
            Ok(key) => {
                self.by_link.insert(name(link), key);
                self.ends.arm(key.index, until);
                self.order.get_or_insert_with(|| Queues::new(1, max)).push(0, key.index);
                gone
            }
            Err(detached) => Some(detached),
        }
    }

    /// The one that had this link.
    pub(super) fn session_of(&self, link: LinkId) -> Option<SessionKey> {
        let key = *self.by_link.get(&name(link))?;
        self.entries.get(key).map(|detached| detached.session)
    }

    /// Takes out the one that had this link.
    pub(super) fn take(&mut self, link: LinkId) -> Option<Detached> {
        let key = *self.by_link.get(&name(link))?;
        self.remove(key)
    }

    /// Takes out one whose time is over; called until `None`, within `budget`.
    pub(super) fn expire(&mut self, now: Time, budget: &mut u32) -> Option<Detached> {
        let index = self.ends.expire(now, budget)?;
        let (key, _) = self.entries.at(index)?;
        self.remove(key)
    }

    /// When the next one's time is over.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.ends.next_deadline()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Takes out the one that has waited longest.
    pub(super) fn take_first(&mut self) -> Option<Detached> {
        let index = self.order.as_ref()?.first(0)?;
        let (key, _) = self.entries.at(index)?;
        self.remove(key)
    }

    fn remove(&mut self, key: Key) -> Option<Detached> {
        let detached = self.entries.remove(key)?;
        self.by_link.remove(&name(detached.link));
        self.ends.cancel(key.index);
        if let Some(order) = &mut self.order {
            order.remove(0, key.index);
        }
        Some(detached)
    }
}

/// A link's number, spread over all bits.
const fn name(link: LinkId) -> u64 {
    mix(link.number())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detached(slot: u32) -> Detached {
        let key = Key { index: slot, generation: 1 };
        Detached::unseen(LinkId::new(0, slot, 1), key.into())
    }

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    fn slot(detached: Option<Detached>) -> Option<u32> {
        detached.map(|detached| detached.link.slot())
    }

    #[test]
    fn a_session_waits_for_its_time_and_is_found_by_the_link_it_had() {
        let mut waiting = Waiting::new(8, at(0));
        assert!(
            waiting.insert(detached(1), at(60)).is_none() && waiting.insert(detached(2), at(30)).is_none()
        );
        assert_eq!(slot(waiting.expire(at(29), &mut 10)), None);
        assert_eq!(slot(waiting.expire(at(31), &mut 10)), Some(2));
        assert_eq!(slot(waiting.take(LinkId::new(0, 1, 1))), Some(1));
        assert_eq!((slot(waiting.take(LinkId::new(0, 1, 2))), waiting.len()), (None, 0));
        assert_eq!((slot(waiting.expire(at(99), &mut 10)), waiting.next_deadline()), (None, None));
    }

    #[test]
    fn over_the_bound_whoever_has_waited_longest_goes() {
        let mut waiting = Waiting::new(2, at(0));
        let mut insert = |number, until| slot(waiting.insert(detached(number), at(until)));
        assert_eq!(
            [insert(1, 90), insert(2, 10), insert(3, 50), insert(4, 50)],
            [None, None, Some(1), Some(2)]
        );
        assert_eq!(waiting.len(), 2);
    }

    #[test]
    fn where_none_may_wait_none_does() {
        let mut waiting = Waiting::new(0, at(0));
        assert_eq!(slot(waiting.insert(detached(1), at(60))), Some(1));
        assert_eq!((slot(waiting.take(LinkId::new(0, 1, 1))), waiting.len()), (None, 0));
    }
}
