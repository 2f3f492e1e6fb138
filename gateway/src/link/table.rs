//! What stands behind each socket of a worker, by slot.

use driver::Token;

use super::Link;

/// The tenant of a slot.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every entry is a link; a box would cost a miss per message"
)]
pub enum Entry {
    /// Nobody.
    Free,
    /// A client link.
    Link(Link),
    /// The stream with this index.
    Stream {
        /// Its socket.
        token: Token,
        /// Index in the worker's list of streams.
        index: u16,
    },
}

/// All sockets of one worker. Grows with the highest slot in use, up to the size it was built for, and never
/// moves: its address space is reserved at once, its memory is touched only as slots are used.
#[derive(Debug)]
pub struct Table {
    entries: Vec<Entry>,
    slots_max: usize,
    links: usize,
}

impl Table {
    /// A table of at most `slots_max` slots.
    #[must_use]
    pub fn new(slots_max: usize) -> Self {
        Self { entries: Vec::with_capacity(slots_max), slots_max, links: 0 }
    }

    /// Number of links.
    #[must_use]
    pub const fn links(&self) -> usize {
        self.links
    }

    /// Puts a tenant into its slot.
    ///
    /// # Panics
    /// If the driver hands out a slot beyond the table or one that is taken: two owners of one socket.
    pub fn insert(&mut self, token: Token, entry: Entry) {
        let slot = token.slot as usize;
        assert!(slot < self.slots_max, "the driver was built with the table's size");
        while self.entries.len() <= slot {
            self.entries.push(Entry::Free);
        }
        assert!(matches!(self.entries[slot], Entry::Free), "a slot is closed before it is handed out again");
        self.links += usize::from(matches!(entry, Entry::Link(_)));
        self.entries[slot] = entry;
    }

    /// Frees a slot and gives its tenant back.
    pub fn remove(&mut self, token: Token) -> Option<Entry> {
        let entry = self.entries.get_mut(token.slot as usize)?;
        let matches = match entry {
            Entry::Free => false,
            Entry::Link(link) => link.token == token,
            Entry::Stream { token: own, .. } => *own == token,
        };
        if !matches {
            return None;
        }
        let removed = std::mem::replace(entry, Entry::Free);
        self.links -= usize::from(matches!(removed, Entry::Link(_)));
        Some(removed)
    }

    /// The link with this token, if it still lives.
    #[must_use]
    pub fn get(&mut self, token: Token) -> Option<&mut Link> {
        match self.entries.get_mut(token.slot as usize) {
            Some(Entry::Link(link)) if link.token == token => Some(link),
            _ => None,
        }
    }

    /// The link in this slot.
    #[must_use]
    pub fn at(&mut self, slot: u32) -> Option<&mut Link> {
        match self.entries.get_mut(slot as usize) {
            Some(Entry::Link(link)) => Some(link),
            _ => None,
        }
    }

    /// The stream with this token.
    #[must_use]
    pub fn stream(&self, token: Token) -> Option<u16> {
        match self.entries.get(token.slot as usize) {
            Some(Entry::Stream { token: own, index }) if *own == token => Some(*index),
            _ => None,
        }
    }

    /// One more than the highest slot ever used.
    #[must_use]
    pub const fn slots_used(&self) -> u32 {
        self.entries.len() as u32
    }
}
