//! Links that go on with a session: what they have asked for, and those whose answer is on its way. A link may end, or its
//! client come by another one, before the session is there.
//!
//! ```text
//! Auth, proof good ─► asked ─► claimed ─► answered: Claimed, or the session itself
//!                                │ the link ends: what becomes of the session is said here
//!                                └ a later link of its client wants it: it travels on
//! ```

use std::collections::HashMap;

use crate::collections::hash::{ByIdentity, mix};
use crate::directory::claims::{HandOver, Resumption};
use crate::id::LinkId;
use crate::session::SessionKey;

/// All of a worker's.
#[derive(Debug, Default)]
pub(super) struct Resuming {
    /// Of links that are not judged yet.
    asked: HashMap<u64, Resumption, ByIdentity>,
    /// Of links that are claimed.
    claimed: HashMap<u64, Awaiting, ByIdentity>,
}

/// A link whose answer is on its way.
#[derive(Clone, Copy, Debug)]
pub(in crate::worker) struct Awaiting {
    session: SessionKey,
    gone: Option<Gone>,
    next: Option<HandOver>,
}

/// What is known of a link when its answer is there: the session that has begun with it, which ends where the other one goes on;
/// what becomes of that if the link has ended meanwhile; and the later link that is to have it.
pub(in crate::worker) type Answered = (SessionKey, Option<Gone>, Option<HandOver>);

impl Awaiting {
    /// The link has ended, and this becomes of the session that comes for it.
    pub(in crate::worker) const fn end(&mut self, gone: Gone) {
        self.gone = Some(gone);
    }

    /// Whether the link has ended.
    pub(in crate::worker) const fn is_gone(&self) -> bool {
        self.gone.is_some()
    }

    /// A later link is to have the session.
    pub(in crate::worker) const fn overtake(&mut self, next: HandOver) {
        self.next = Some(next);
    }
}

/// How a link ended before its session came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::worker) enum Gone {
    /// Its session waits for another one.
    Detached,
    /// Its session is over, with this close code.
    Over(Option<u32>),
}

impl Resuming {
    /// A link has shown that it knows a session.
    pub(super) fn ask(&mut self, link: LinkId, asked: Resumption) {
        self.asked.insert(name(link), asked);
    }

    /// The link is not judged any more: what it had asked for.
    pub(super) fn take_asked(&mut self, link: LinkId) -> Option<Resumption> {
        self.asked.remove(&name(link))
    }

    /// The link is claimed, and an answer will come.
    pub(super) fn claimed(&mut self, link: LinkId, session: SessionKey) {
        self.claimed.insert(name(link), Awaiting { session, gone: None, next: None });
    }

    /// The link whose answer is on its way.
    pub(super) fn awaiting(&mut self, link: LinkId) -> Option<&mut Awaiting> {
        self.claimed.get_mut(&name(link))
    }

    /// The session that has begun with a link whose answer is on its way.
    pub(super) fn session_of(&self, link: LinkId) -> Option<SessionKey> {
        self.claimed.get(&name(link)).map(|awaiting| awaiting.session)
    }

    /// The answer is there.
    pub(super) fn answered(&mut self, link: LinkId) -> Option<Answered> {
        self.claimed.remove(&name(link)).map(|Awaiting { session, gone, next }| (session, gone, next))
    }

    /// How many answers are on their way.
    pub(super) fn len(&self) -> usize {
        self.asked.len() + self.claimed.len()
    }
}

/// A link's number, spread over all bits.
const fn name(link: LinkId) -> u64 {
    mix(link.number())
}
