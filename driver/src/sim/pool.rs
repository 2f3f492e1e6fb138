//! The driver's receive buffers.

use crate::pool::{Chunk, Pool, PoolSize};

/// One pool. A buffer is free, filled (its completion not taken yet), or out with the worker.
#[derive(Debug)]
pub(super) struct Store {
    pool: Pool,
    len: usize,
    bytes: Vec<u8>,
    free: Vec<u16>,
    out: Vec<bool>,
}

impl Store {
    pub(super) fn new(pool: Pool, size: PoolSize) -> Store {
        assert!(size.count > 0 && size.size > 0, "a pool has at least one buffer of at least one byte");
        let count = usize::from(size.count);
        let len = size.size as usize;
        let free = (0..size.count).rev().collect();
        Store { pool, len, bytes: vec![POISON; count * len], free, out: vec![false; count] }
    }

    pub(super) fn has_free(&self) -> bool {
        !self.free.is_empty()
    }

    /// Fills a free buffer; `read` returns how many bytes it wrote. `None` when no buffer is free.
    pub(super) fn fill(&mut self, read: impl FnOnce(&mut [u8]) -> usize) -> Option<Chunk> {
        let id = self.free.pop()?;
        let start = usize::from(id) * self.len;
        let len = read(&mut self.bytes[start..start + self.len]);
        debug_assert!(len > 0, "a buffer is taken only when there is something to read");
        Some(Chunk { pool: self.pool, id, start: 0, len: len as u32 })
    }

    /// Notes that the worker has the chunk now.
    pub(super) fn hand_out(&mut self, chunk: &Chunk) {
        self.out[usize::from(chunk.id)] = true;
    }

    pub(super) fn bytes(&mut self, chunk: &Chunk) -> &mut [u8] {
        self.check_out(chunk);
        let start = usize::from(chunk.id) * self.len + chunk.start as usize;
        &mut self.bytes[start..start + chunk.len as usize]
    }

    pub(super) fn recycle(&mut self, chunk: Chunk) {
        self.check_out(&chunk);
        let id = usize::from(chunk.id);
        self.out[id] = false;
        // Whoever kept a copy of an offset instead of the bytes reads nonsense from now on.
        self.bytes[id * self.len..(id + 1) * self.len].fill(POISON);
        self.free.push(chunk.id);
    }

    fn check_out(&self, chunk: &Chunk) {
        let is_out = self.out.get(usize::from(chunk.id)).copied().unwrap_or(false);
        assert!(
            is_out,
            "contract broken: chunk {} of {:?} is not one this driver handed out",
            chunk.id, self.pool
        );
    }
}

const POISON: u8 = 0xDB;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_go_out_come_back_poisoned_and_run_dry() {
        let mut pool = Store::new(Pool::Links, PoolSize { count: 1, size: 4 });
        let chunk = pool.fill(|to| {
            to[..2].copy_from_slice(b"hi");
            2
        });
        let chunk = chunk.unwrap();
        assert!(!pool.has_free());
        assert_eq!(pool.fill(|_| unreachable!()), None);
        pool.hand_out(&chunk);
        assert_eq!(pool.bytes(&chunk), b"hi");
        pool.recycle(chunk);
        let chunk = pool.fill(|_| 4).unwrap();
        pool.hand_out(&chunk);
        assert_eq!(pool.bytes(&chunk), [POISON; 4]);
    }

    #[test]
    #[should_panic(expected = "not one this driver handed out")]
    fn a_foreign_chunk_is_a_breach() {
        let mut pool = Store::new(Pool::Links, PoolSize { count: 1, size: 4 });
        pool.recycle(Chunk { pool: Pool::Links, id: 9, start: 0, len: 1 });
    }
}
