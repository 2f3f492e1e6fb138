//! What clients have presented and there was no time to look at yet.

use std::collections::HashMap;

use driver::Token;
use protocol::wire::frame::Auth;
use zeroize::Zeroizing;

/// An `Auth`, kept until there is time for it.
pub(in crate::worker) struct Kept {
    token: Zeroizing<Vec<u8>>,
    user: Vec<u8>,
    device: Vec<u8>,
    signature: Vec<u8>,
    heartbeat_ms: u32,
    class: u32,
}

impl Kept {
    fn new(auth: &Auth<'_>) -> Self {
        Self {
            token: Zeroizing::new(auth.token.to_vec()),
            user: auth.user.to_vec(),
            device: auth.device.to_vec(),
            signature: auth.signature.to_vec(),
            heartbeat_ms: auth.heartbeat_ms,
            class: auth.class,
        }
    }

    /// The frame, as far as it matters to whoever judges it.
    pub(in crate::worker) fn auth(&self) -> Auth<'_> {
        Auth {
            token: &self.token,
            user: &self.user,
            device: &self.device,
            signature: &self.signature,
            heartbeat_ms: self.heartbeat_ms,
            class: self.class,
            ..Auth::default()
        }
    }
}

/// All of them, each of another link.
#[derive(Default)]
pub(super) struct Waiting {
    by_slot: HashMap<u32, (Token, Kept)>,
    most: usize,
}

impl Waiting {
    /// As many as `most`.
    pub(super) fn new(most: u32) -> Self {
        Self { by_slot: HashMap::new(), most: most as usize }
    }

    /// Keeps one, unless there are too many, or the link has one that waits.
    pub(super) fn keep(&mut self, link: Token, auth: &Auth<'_>) -> bool {
        let may = self.by_slot.len() < self.most && !self.by_slot.contains_key(&link.slot);
        if may {
            self.by_slot.insert(link.slot, (link, Kept::new(auth)));
        }
        may
    }

    /// Takes out the one of a link.
    pub(super) fn take(&mut self, link: Token) -> Option<Kept> {
        if self.by_slot.get(&link.slot)?.0 != link {
            return None;
        }
        self.by_slot.remove(&link.slot).map(|(_, kept)| kept)
    }

    /// Whether there is one of a link.
    pub(super) fn has(&self, link: Token) -> bool {
        self.by_slot.get(&link.slot).is_some_and(|(whose, _)| *whose == link)
    }

    pub(super) fn len(&self) -> usize {
        self.by_slot.len()
    }
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiting").field("len", &self.len()).finish_non_exhaustive()
    }
}
