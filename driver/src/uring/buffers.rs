//! Provided-buffer rings: the kernel picks a buffer when data arrives, the worker gives it back in the same turn.
//!
//! ```text
//! region:  ┌ entry 0 ┬ entry 1 ┬ … ┬ page end ┬ buffer 0 ┬ buffer 1 ┬ …
//!          └ tail lies in entry 0's last two bytes
//! ```

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use crate::memory::Region;
use crate::pool::PoolSize;

/// One ring of buffers and the memory behind it.
#[derive(Debug)]
pub(super) struct Buffers {
    region: Region,
    size: PoolSize,
    first_buffer: usize,
    /// Where the next returned buffer goes; the kernel sees it at the next [`Buffers::publish`].
    tail: u16,
    published: u16,
    /// One bit per buffer that is with the worker. It makes a chunk that is not ours, or is given back twice, a panic
    /// instead of memory shared with the kernel.
    out: Box<[u64]>,
}

impl Buffers {
    /// Maps a ring with all buffers in it. It is of no use to the kernel before it is registered.
    ///
    /// # Errors
    /// `InvalidInput` for a size out of bounds, else what `mmap` says.
    pub(super) fn new(size: PoolSize) -> io::Result<Buffers> {
        if !size.count.is_power_of_two() || size.count > COUNT_MAX || size.size == 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a pool needs a power of two of buffers, at most 32768, of at least one byte",
            ));
        }
        let count = usize::from(size.count);
        let first_buffer = (count * size_of::<BufRingEntry>()).next_multiple_of(BUFFER_ALIGN);
        let region = Region::new(first_buffer + count * size.size as usize)?;
        let out = vec![0; count.div_ceil(64)].into_boxed_slice();
        let mut buffers = Buffers { region, size, first_buffer, tail: 0, published: 0, out };
        for id in 0..size.count {
            buffers.push(id);
        }
        buffers.publish();
        Ok(buffers)
    }

    /// Address and length of the ring, for registering it.
    pub(super) fn ring(&self) -> (u64, u16) {
        (self.region.start().as_ptr() as u64, self.size.count)
    }

    /// Notes that the kernel has handed a buffer over.
    pub(super) fn taken(&mut self, id: u16) {
        let (word, bit) = place(id);
        debug_assert!(self.out[word] & bit == 0, "the kernel hands out only what it was given");
        self.out[word] |= bit;
    }

    /// The bytes of a buffer that is with the worker.
    ///
    /// # Panics
    /// When the buffer is not with the worker, or the range lies outside it.
    pub(super) fn bytes(&mut self, id: u16, start: u32, len: u32) -> &mut [u8] {
        self.check_out(id);
        let end = start.checked_add(len).filter(|&end| end <= self.size.size);
        assert!(end.is_some(), "a chunk lies within its buffer");
        let at = self.buffer(id).as_ptr().wrapping_add(start as usize);
        // SAFETY: the buffer is out, so the kernel does not touch it until `recycle`; it lies within the region, the
        // range within the buffer; and the borrow of `self` keeps everybody else away for as long as the slice lives.
        unsafe { std::slice::from_raw_parts_mut(at, len as usize) }
    }

    /// Takes a buffer back. The kernel gets it with the next [`Buffers::publish`].
    ///
    /// # Panics
    /// When the buffer is not with the worker.
    pub(super) fn recycle(&mut self, id: u16) {
        self.check_out(id);
        let (word, bit) = place(id);
        self.out[word] &= !bit;
        self.push(id);
    }

    /// Shows everything that came back since the last time to the kernel, with one store.
    pub(super) fn publish(&mut self) {
        if self.tail == self.published {
            return;
        }
        self.published = self.tail;
        let first = self.region.start().cast::<BufRingEntry>();
        // SAFETY: `first` is the page-aligned start of a ring whose entries are initialised (zeroed pages at least).
        let tail = unsafe { BufRingEntry::tail(first.as_ptr()) };
        // SAFETY: the tail is an aligned u16 in memory that lives as long as `self`; the kernel only reads it. Release
        // orders the entries before it.
        unsafe { AtomicU16::from_ptr(tail.cast_mut()) }.store(self.tail, Ordering::Release);
    }

    /// Number of buffers that are with the worker.
    pub(super) fn out(&self) -> u32 {
        self.out.iter().map(|word| word.count_ones()).sum()
    }

    fn push(&mut self, id: u16) {
        let index = self.tail & (self.size.count - 1);
        let address = self.buffer(id).as_ptr() as u64;
        let entry = self.region.start().cast::<BufRingEntry>().as_ptr().wrapping_add(usize::from(index));
        // SAFETY: the index is below the count, so the entry lies in the region, and no reference to it exists
        // elsewhere. The kernel reads entries only below the published tail, so it does not look at this one; the
        // setters write address, length and id and leave the bytes of the tail in entry 0 alone.
        let entry = unsafe { &mut *entry };
        entry.set_addr(address);
        entry.set_len(self.size.size);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
    }

    fn buffer(&self, id: u16) -> NonNull<u8> {
        let at = self.first_buffer + usize::from(id) * self.size.size as usize;
        // SAFETY: ids are below the count (the ring is filled with those only, and `check_out` holds foreign ones off),
        // so the offset stays within the region.
        unsafe { self.region.start().add(at) }
    }

    fn check_out(&self, id: u16) {
        let (word, bit) = place(id);
        let is_out = id < self.size.count && self.out[word] & bit != 0;
        assert!(is_out, "buffer {id} is not with the worker: a chunk of another driver, or given back twice");
    }
}

fn place(id: u16) -> (usize, u64) {
    (usize::from(id / 64), 1 << (id % 64))
}

/// What `IORING_REGISTER_PBUF_RING` allows.
const COUNT_MAX: u16 = 1 << 15;
/// Buffers start on their own cache lines.
const BUFFER_ALIGN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn pool() -> Buffers {
        Buffers::new(PoolSize { count: 4, size: 100 }).unwrap()
    }

    #[test]
    fn a_buffer_goes_out_is_written_and_comes_back() {
        let mut buffers = pool();
        buffers.taken(3);
        assert_eq!(buffers.out(), 1);
        buffers.bytes(3, 90, 10).fill(9);
        assert_eq!(buffers.bytes(3, 89, 2), [0, 9]);
        buffers.recycle(3);
        assert_eq!((buffers.out(), buffers.tail, buffers.published), (0, 5, 4));
        buffers.publish();
        assert_eq!(buffers.published, 5);
    }

    #[test]
    #[should_panic(expected = "given back twice")]
    fn giving_back_twice_is_a_bug() {
        let mut buffers = pool();
        buffers.taken(1);
        buffers.recycle(1);
        buffers.recycle(1);
    }

    #[test]
    #[should_panic(expected = "a chunk of another driver")]
    fn a_foreign_buffer_is_a_bug() {
        pool().bytes(40_000, 0, 1);
    }

    #[test]
    #[should_panic(expected = "within its buffer")]
    fn a_range_outside_the_buffer_is_a_bug() {
        let mut buffers = pool();
        buffers.taken(0);
        buffers.bytes(0, 91, 10);
    }

    #[test]
    fn impossible_sizes_are_refused() {
        for (count, size) in [(0, 1), (3, 1), (40_000, 1), (4, 0)] {
            assert!(Buffers::new(PoolSize { count, size }).is_err());
        }
    }
}
