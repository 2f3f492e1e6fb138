//! Names a session of a worker, and never its successor in the same place of the table.

use std::num::NonZeroU32;

use crate::collections::Key;

/// A session's place in the table, and which tenant of it is meant. Eight bytes, and no more for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionKey {
    index: u32,
    generation: NonZeroU32,
}

impl SessionKey {
    /// Its place in the table.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.index
    }
}

impl From<Key> for SessionKey {
    fn from(Key { index, generation }: Key) -> Self {
        Self {
            index,
            generation: NonZeroU32::new(generation).expect("generations of a table are never zero"),
        }
    }
}

impl From<SessionKey> for Key {
    fn from(SessionKey { index, generation }: SessionKey) -> Self {
        Self { index, generation: generation.get() }
    }
}

const _: () = assert!(size_of::<Option<SessionKey>>() == 8, "a link keeps one in its 256 bytes");
