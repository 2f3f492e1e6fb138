//! Byte buffers that are used again. A worker fills a buffer per batch, per partial frame and per parked request;
//! none of them may cost an allocation once the worker has warmed up.
//!
//! Buffers lie on one shelf per power of two, which is their capacity: what is lent is less than twice as large as what
//! was asked for, or of the smallest size. What lies on the shelves is bounded in bytes; what is lent out is not:
//! whoever holds buffers has a cap of its own, because only it knows what to give up.

/// The smallest buffer that is kept.
pub const BUFFER_LEN_MIN: usize = 1 << SHELF_FIRST;
/// The largest buffer that is kept. Larger ones are made and freed as they are needed.
pub const BUFFER_LEN_MAX: usize = 1 << SHELF_LAST;

/// Recycled buffers. See the [module documentation](self).
#[derive(Debug)]
pub struct Pool {
    shelves: [Shelf; SHELVES],
    idle_bytes: usize,
    idle_bytes_max: usize,
    counters: Counters,
}

/// Buffers of one capacity. One that has grown while it was lent comes back to a larger shelf than its own: no more are kept
/// than were ever wanted from there at a time, or a shelf from which nobody takes would fill up.
#[derive(Debug, Default)]
struct Shelf {
    idle: Vec<Vec<u8>>,
    lent: usize,
    most_lent: usize,
}

/// What a pool has done since it was built; each field only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Buffers taken.
    pub taken: u64,
    /// Buffers given back.
    pub given: u64,
    /// Buffers that had to be allocated because their shelf was empty, or because they are too large to keep.
    pub allocated: u64,
    /// Buffers freed when they came back, because the pool was full or they were of a size it does not keep.
    pub freed: u64,
}

impl Pool {
    /// A pool that keeps at most `idle_bytes_max` bytes of capacity on its shelves.
    #[must_use]
    pub fn new(idle_bytes_max: usize) -> Self {
        Self {
            shelves: std::array::from_fn(|_| Shelf::default()),
            idle_bytes: 0,
            idle_bytes_max,
            counters: Counters::default(),
        }
    }

    /// Keeps at most so many bytes on its shelves from now on; what is too much is freed, the largest buffers first.
    pub fn keep_at_most(&mut self, idle_bytes_max: usize) {
        self.idle_bytes_max = idle_bytes_max;
        for shelf in (0..SHELVES).rev() {
            while self.idle_bytes > self.idle_bytes_max
                && let Some(buffer) = self.shelves[shelf].idle.pop()
            {
                self.idle_bytes -= buffer.capacity();
                self.counters.freed += 1;
            }
        }
    }

    /// Makes `count` buffers for `len` bytes each and touches their pages, so that they belong to the start of
    /// the process and not to the first links. Stops where the pool is full.
    pub fn fill(&mut self, len: usize, count: usize) {
        for _ in 0..count {
            let len = len.next_power_of_two().clamp(BUFFER_LEN_MIN, BUFFER_LEN_MAX);
            if self.idle_bytes + len > self.idle_bytes_max {
                return;
            }
            // Ones, because zeroed memory may come from the kernel untouched.
            let mut buffer = vec![1; len];
            buffer.clear();
            let shelf = self.shelf(len);
            shelf.most_lent = shelf.most_lent.max(shelf.idle.len() + 1);
            self.shelve(buffer);
        }
    }

    /// An empty buffer with room for at least `len` bytes, and for less than twice as many or [`BUFFER_LEN_MIN`].
    pub fn take(&mut self, len: usize) -> Vec<u8> {
        self.counters.taken += 1;
        let len = capacity_for(len);
        if len <= BUFFER_LEN_MAX {
            let shelf = self.shelf(len);
            shelf.lent += 1;
            shelf.most_lent = shelf.most_lent.max(shelf.lent);
            if let Some(buffer) = shelf.idle.pop() {
                self.idle_bytes -= len;
                return buffer;
            }
        }
        self.counters.allocated += 1;
        Vec::with_capacity(len)
    }

    /// Makes sure that `more` bytes fit into a buffer of the pool: it may have to be a larger one.
    pub fn make_room(&mut self, buffer: &mut Vec<u8>, more: usize) {
        if buffer.capacity() - buffer.len() < more {
            let mut larger = self.take(buffer.len() + more);
            larger.extend_from_slice(buffer);
            self.give(std::mem::replace(buffer, larger));
        }
    }

    /// Gives a buffer back. It may have grown since it was taken, or come from elsewhere.
    pub fn give(&mut self, mut buffer: Vec<u8>) {
        self.counters.given += 1;
        let capacity = buffer.capacity();
        if (BUFFER_LEN_MIN..=BUFFER_LEN_MAX).contains(&capacity) && capacity.is_power_of_two() {
            let has_room = self.idle_bytes + capacity <= self.idle_bytes_max;
            let shelf = self.shelf(capacity);
            shelf.lent = shelf.lent.saturating_sub(1);
            if has_room && shelf.idle.len() < shelf.most_lent {
                buffer.clear();
                self.shelve(buffer);
                return;
            }
        }
        self.counters.freed += 1;
    }

    /// Bytes of capacity that lie on the shelves.
    #[must_use]
    pub fn idle_bytes(&self) -> usize {
        self.idle_bytes
    }

    /// What has been done so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Puts a buffer where requests of its capacity find it.
    fn shelve(&mut self, buffer: Vec<u8>) {
        self.idle_bytes += buffer.capacity();
        self.shelf(buffer.capacity()).idle.push(buffer);
    }

    fn shelf(&mut self, capacity: usize) -> &mut Shelf {
        &mut self.shelves[(capacity.ilog2() - SHELF_FIRST) as usize]
    }
}

/// The capacity of a buffer that is lent for so many bytes.
#[must_use]
pub const fn capacity_for(len: usize) -> usize {
    let len = len.next_power_of_two();
    if len > BUFFER_LEN_MIN { len } else { BUFFER_LEN_MIN }
}

/// Of 512 bytes: a record with one small frame.
const SHELF_FIRST: u32 = 9;
/// Of 128 KiB: a batch that has just grown past the longest record.
const SHELF_LAST: u32 = 17;
const SHELVES: usize = (SHELF_LAST - SHELF_FIRST + 1) as usize;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_buffer_comes_back_empty_and_is_used_again() {
        let mut pool = Pool::new(4096);
        let mut buffer = pool.take(100);
        buffer.extend_from_slice(b"alice's secret");
        let place = buffer.as_ptr();
        pool.give(buffer);
        assert_eq!(pool.idle_bytes(), 512);
        let again = pool.take(512);
        assert_eq!((again.as_ptr(), again.len(), pool.idle_bytes()), (place, 0, 0));
        assert_eq!(pool.counters(), Counters { taken: 2, given: 1, allocated: 1, freed: 0 });
    }

    #[test]
    fn what_does_not_fit_is_freed() {
        let mut pool = Pool::new(1024);
        let buffers = [pool.take(1), pool.take(1), pool.take(1)];
        for buffer in buffers {
            pool.give(buffer);
        }
        pool.give(Vec::new());
        pool.give(Vec::with_capacity(2 * BUFFER_LEN_MAX));
        assert_eq!((pool.idle_bytes(), pool.counters().freed), (1024, 3));
    }

    #[test]
    fn nobody_is_lent_more_than_twice_of_what_was_asked_for() {
        let mut pool = Pool::new(1 << 20);
        for len in [600, 70_000, 4096, 100_000] {
            let buffer = pool.take(len);
            pool.give(buffer);
        }
        // One that has grown by itself, to no capacity of a shelf.
        pool.give(Vec::with_capacity(5000));
        for len in [513, 1, 4000, 66_000, 600] {
            let lent = pool.take(len).capacity();
            assert!(lent >= len && (lent < 2 * len || lent == BUFFER_LEN_MIN), "{lent} for {len}");
        }
        assert_eq!(pool.counters().freed, 1, "the one that fits nowhere");
    }

    #[test]
    fn a_buffer_that_has_become_too_small_is_changed_for_a_larger_one() {
        let mut pool = Pool::new(1 << 20);
        let larger = pool.take(4096);
        let place = larger.as_ptr();
        pool.give(larger);
        let mut buffer = pool.take(512);
        buffer.extend_from_slice(&[7; 500]);
        pool.make_room(&mut buffer, 12);
        assert_eq!(buffer.capacity(), 512, "there is room");
        pool.make_room(&mut buffer, 3000);
        assert_eq!((buffer.as_ptr(), buffer.len(), pool.idle_bytes()), (place, 500, 512));
        assert!(buffer.iter().all(|&byte| byte == 7));
    }

    #[test]
    fn a_giant_is_made_and_freed() {
        let mut pool = Pool::new(usize::MAX);
        let giant = pool.take(1 << 20);
        assert!(giant.capacity() >= 1 << 20);
        pool.give(giant);
        assert_eq!((pool.idle_bytes(), pool.counters().allocated, pool.counters().freed), (0, 1, 1));
    }

    #[test]
    fn filling_stops_at_the_cap_and_serves_without_allocating() {
        let mut pool = Pool::new(10_000);
        pool.fill(2000, 100);
        assert_eq!(pool.idle_bytes(), 4 * 2048);
        let _lent: Vec<_> = (0..4).map(|_| pool.take(1500)).collect();
        assert_eq!((pool.idle_bytes(), pool.counters().allocated), (0, 0));
    }

    #[test]
    fn no_more_are_kept_of_a_size_than_were_wanted_of_it_at_a_time() {
        let mut pool = Pool::new(1 << 20);
        for _ in 0..100 {
            let mut buffer = pool.take(BUFFER_LEN_MIN);
            buffer.resize(BUFFER_LEN_MIN + 1, 1);
            pool.give(buffer);
        }
        assert_eq!(pool.idle_bytes(), 0, "all of them have grown, and nobody asks for larger ones");
        for _ in 0..10 {
            let buffer = pool.take(2 * BUFFER_LEN_MIN);
            pool.give(buffer);
        }
        (0..5).for_each(|_| pool.give(Vec::with_capacity(2 * BUFFER_LEN_MIN)));
        assert_eq!(pool.idle_bytes(), 2 * BUFFER_LEN_MIN, "one after the other");
        let lent = [0; 3].map(|_| pool.take(2 * BUFFER_LEN_MIN));
        lent.into_iter().for_each(|buffer| pool.give(buffer));
        (0..5).for_each(|_| pool.give(Vec::with_capacity(2 * BUFFER_LEN_MIN)));
        assert_eq!(pool.idle_bytes(), 3 * 2 * BUFFER_LEN_MIN);
    }

    #[test]
    fn a_pool_that_may_keep_less_frees_the_largest_at_once_and_takes_no_more_than_that_from_then_on() {
        let mut pool = Pool::new(100_000);
        for len in [2048, 16_384, 32_768] {
            pool.fill(len, 1);
        }
        pool.keep_at_most(20_000);
        assert_eq!((pool.idle_bytes(), pool.counters().freed), (2048 + 16_384, 1));
        let large = pool.take(32_768);
        pool.give(large);
        assert_eq!(pool.idle_bytes(), 2048 + 16_384, "there is no room for it");
        pool.keep_at_most(100_000);
        let large = pool.take(32_768);
        pool.give(large);
        assert_eq!(pool.idle_bytes(), 2048 + 16_384 + 32_768);
    }

    proptest! {
        #[test]
        fn has_room_stays_under_its_cap_and_counts_right(
            steps in prop::collection::vec((any::<bool>(), 0..300_000usize, 0..5_000usize), 1..100),
        ) {
            let cap = 400_000;
            let mut pool = Pool::new(cap);
            let mut lent: Vec<Vec<u8>> = Vec::new();
            for (take, len, grow) in steps {
                if take || lent.is_empty() {
                    let buffer = pool.take(len);
                    prop_assert!(buffer.is_empty() && buffer.capacity() >= len);
                    lent.push(buffer);
                } else {
                    let mut buffer = lent.swap_remove(len % lent.len());
                    buffer.extend(std::iter::repeat_n(7, grow));
                    pool.give(buffer);
                }
                prop_assert!(pool.idle_bytes() <= cap);
                let idle: usize = pool.shelves.iter().flat_map(|shelf| &shelf.idle).map(Vec::capacity).sum();
                prop_assert_eq!(pool.idle_bytes(), idle);
                let counters = pool.counters();
                prop_assert_eq!(counters.taken - counters.given, lent.len() as u64);
            }
        }
    }
}
