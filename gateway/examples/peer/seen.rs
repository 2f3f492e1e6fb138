//! The messages an application has taken: the ledger is the file that keeps them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use client::SeenIds;
use protocol::hex;

use crate::ledger::{Entry, Ledger};

/// One client as its application sees it. A line that says that a message was taken keeps its id too, so that there is nothing
/// left to do when the library says that it was taken.
#[derive(Clone, Debug)]
pub(crate) struct Taken(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    ledger: Ledger,
    who: String,
    user: Vec<u8>,
    device: Vec<u8>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    ids: HashSet<Vec<u8>>,
    /// The session in which pushes come now.
    session: Vec<u8>,
}

impl Taken {
    /// Of the client of this name; it has taken these before.
    pub(crate) fn new(
        ledger: Ledger,
        who: String,
        user: Vec<u8>,
        device: Vec<u8>,
        ids: HashSet<Vec<u8>>,
    ) -> Self {
        let state = Mutex::new(State { ids, session: Vec::new() });
        Self(Arc::new(Inner { ledger, who, user, device, state }))
    }

    /// Writes a line of this client.
    pub(crate) fn write(&self, entry: &Entry<'_>) {
        let Inner { ledger, who, user, device, .. } = &*self.0;
        ledger.write(who, &Entry { user, device, ..*entry });
    }

    /// There is a link, with this session.
    pub(crate) fn linked(&self, session: &[u8]) {
        let goes_on = {
            let mut state = self.state();
            let goes_on = state.session == session;
            state.session = session.to_vec();
            goes_on
        };
        self.write(&Entry { kind: if goes_on { "went_on" } else { "began" }, session, ..Entry::default() });
    }

    /// The session in which pushes come now.
    pub(crate) fn session(&self) -> Vec<u8> {
        self.state().session.clone()
    }

    /// The message is taken, and its id kept, in one step.
    pub(crate) fn take(&self, id: &[u8], session: &[u8], sequence: u64) {
        let sequence = Some(sequence);
        self.write(&Entry { kind: "took", id, session, sequence, ..Entry::default() });
        self.state().ids.insert(id.to_vec());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SeenIds for Taken {
    fn contains(&self, id: &[u8]) -> bool {
        self.state().ids.contains(id)
    }

    fn insert(&self, id: &[u8]) {
        assert!(self.contains(id), "{} says that it was taken, and it is not written down", hex::encode(id));
    }

    fn repeated(&self, id: &[u8], sequence: u64) {
        let (session, sequence) = (self.session(), Some(sequence));
        self.write(&Entry { kind: "skipped", id, session: &session, sequence, ..Entry::default() });
    }
}
