//! The bodies of pushes, each once for all sessions of a worker that are to have it.

use crate::collections::{Key, Slab};

/// Names a body. It stays for as long as anybody holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyKey(u32);

/// All bodies of a worker.
#[derive(Debug)]
pub struct Bodies {
    table: Slab<Body>,
    bytes: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Body {
    bytes: Vec<u8>,
    holders: u32,
}

impl Bodies {
    /// None, and never more than `max`, which take at most so many bytes of memory.
    #[must_use]
    pub fn new(max: u32, bytes_max: usize) -> Self {
        Self { table: Slab::new(max), bytes: 0, bytes_max }
    }

    /// One more, which nobody holds yet.
    ///
    /// # Errors
    /// Gives it back when there are too many, or too many bytes.
    pub fn insert(&mut self, bytes: Vec<u8>) -> Result<BodyKey, Vec<u8>> {
        if self.bytes + bytes.capacity() > self.bytes_max {
            return Err(bytes);
        }
        let len = bytes.capacity();
        let key = self.table.insert(Body { bytes, holders: 0 }).map_err(|body| body.bytes)?;
        self.bytes += len;
        Ok(BodyKey(key.index))
    }

    /// What it says.
    #[must_use]
    pub fn get(&self, key: BodyKey) -> &[u8] {
        self.table.at(key.0).map_or(&[], |(_, body)| &body.bytes)
    }

    /// Bytes of memory it takes.
    #[must_use]
    pub fn capacity(&self, key: BodyKey) -> usize {
        self.table.at(key.0).map_or(0, |(_, body)| body.bytes.capacity())
    }

    /// Whether several hold it.
    #[must_use]
    pub fn is_shared(&self, key: BodyKey) -> bool {
        self.table.at(key.0).is_some_and(|(_, body)| body.holders > 1)
    }

    /// Somebody holds it.
    pub fn hold(&mut self, key: BodyKey) {
        if let Some(body) = self.key(key).and_then(|key| self.table.get_mut(key)) {
            body.holders += 1;
        }
    }

    /// Somebody holds it no more. Its memory, if nobody does.
    pub fn release(&mut self, key: BodyKey) -> Option<Vec<u8>> {
        let key = self.key(key)?;
        let body = self.table.get_mut(key)?;
        body.holders = body.holders.saturating_sub(1);
        if body.holders > 0 {
            return None;
        }
        let bytes = self.table.remove(key)?.bytes;
        self.bytes -= bytes.capacity();
        Some(bytes)
    }

    /// Somebody who held it takes what it says elsewhere: its memory, or a copy in a buffer that comes from `buffer`.
    pub fn take_along(&mut self, key: BodyKey, mut buffer: impl FnMut(usize) -> Vec<u8>) -> Vec<u8> {
        let mut copy = None;
        if self.is_shared(key) {
            let mut bytes = buffer(self.get(key).len());
            bytes.extend_from_slice(self.get(key));
            copy = Some(bytes);
        }
        self.release(key).or(copy).unwrap_or_default()
    }

    /// Drops it if nobody holds it: its memory.
    pub fn drop_unheld(&mut self, key: BodyKey) -> Option<Vec<u8>> {
        let is_held = self.table.at(key.0).is_some_and(|(_, body)| body.holders > 0);
        if is_held { None } else { self.release(key) }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Bytes of memory they take.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    fn key(&self, key: BodyKey) -> Option<Key> {
        self.table.at(key.0).map(|(key, _)| key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_stays_for_as_long_as_anybody_holds_it() {
        let mut bodies = Bodies::new(4, 1000);
        let key = bodies.insert(b"hello".to_vec()).expect("there is room");
        bodies.hold(key);
        bodies.hold(key);
        assert_eq!((bodies.release(key), bodies.get(key)), (None, b"hello".as_slice()));
        assert_eq!(bodies.drop_unheld(key), None);
        assert_eq!(bodies.release(key), Some(b"hello".to_vec()));
        let key = bodies.insert(b"hello".to_vec()).expect("there is room");
        assert_eq!(bodies.drop_unheld(key), Some(b"hello".to_vec()));
        assert_eq!((bodies.len(), bodies.bytes(), bodies.is_empty()), (0, 0, true));
    }

    #[test]
    fn what_is_bounded_is_memory_and_number() {
        let mut bodies = Bodies::new(2, 100);
        let large = Vec::with_capacity(90);
        bodies.insert(large).expect("there is room");
        assert!(bodies.insert(Vec::with_capacity(11)).is_err(), "its length is nothing, but not its memory");
        bodies.insert(Vec::with_capacity(10)).expect("there is room");
        assert!(bodies.insert(Vec::new()).is_err(), "there are two");
        assert_eq!(bodies.bytes(), 100);
    }
}
