//! What all links of a worker have left over between two chunks, in buffers that fit.
//!
//! ```text
//!   take   kept buffer ──copied──► one to work in, large enough for what is usual; the kept one goes to its shelf
//!   keep   one to work in ──copied──► a buffer less than twice as large as what is left, from its shelf
//! ```
//!
//! So nothing is allocated in steady state, and no link sits on the large buffer that a former record of it took. What
//! is longer than the largest shelf stays where it is.

use std::mem;

use super::Rest;
use crate::error::Error;

/// Rests of all links of one worker, whose buffers are bounded in bytes together. Over the bound the oldest partial dies.
#[derive(Debug)]
pub struct Partials {
    slots: Vec<Slot>,
    free: Vec<u32>,
    bytes: usize,
    bytes_max: usize,
    /// Ends of the list of tenants, by age.
    oldest: u32,
    newest: u32,
    evicted: Vec<u32>,
    evictions: u64,
    shelves: Shelves,
    /// Empty buffers to work in.
    workbenches: Vec<Rest>,
}

/// A link's place in [`Partials`]; [`Place::NONE`] when it has nothing there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u32);

impl Place {
    /// Nothing is kept.
    pub const NONE: Self = Self(u32::MAX);
}

#[derive(Debug)]
struct Slot {
    owner: u32,
    rest: Rest,
    counted: usize,
    dead: bool,
    older: u32,
    newer: u32,
}

const NIL: u32 = u32::MAX;

impl Partials {
    /// Bytes of idle buffers that a pool keeps at most, beside its bound.
    pub const IDLE_BYTES_MAX: usize = Shelves::BYTES_MAX + 2 * WORKBENCHES_MAX * WORKBENCH_LEN_MAX;

    /// A pool of buffers of at most `bytes_max` bytes, which must be at least twice as many as the longest frame and two of
    /// the longest records have: a buffer is up to twice as large as what it holds.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            bytes: 0,
            bytes_max,
            oldest: NIL,
            newest: NIL,
            evicted: Vec::new(),
            evictions: 0,
            shelves: Shelves::default(),
            workbenches: Vec::new(),
        }
    }

    /// Bytes of the buffers that hold the rests of all links.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many partials were thrown out so far.
    #[must_use]
    pub const fn evictions(&self) -> u64 {
        self.evictions
    }

    /// The owner of a partial that was thrown out, to be closed.
    pub fn take_evicted(&mut self) -> Option<u32> {
        self.evicted.pop()
    }

    /// Takes what a link left, so that its next chunk can be read. The place stays the link's.
    ///
    /// # Errors
    /// [`Error::PartialEvicted`] when it was thrown out.
    pub fn take(&mut self, place: Place) -> Result<Rest, Error> {
        if place == Place::NONE {
            return Ok(self.workbenches.pop().unwrap_or_default());
        }
        let slot = &mut self.slots[place.0 as usize];
        if slot.dead {
            return Err(Error::PartialEvicted);
        }
        self.bytes -= mem::take(&mut slot.counted);
        let kept = mem::take(&mut slot.rest);
        if kept.capacity() > SHELF_LEN_MAX {
            return Ok(kept);
        }
        let mut rest = self.workbenches.pop().unwrap_or_default();
        rest.sealed.extend_from_slice(&kept.sealed);
        rest.plain.extend_from_slice(&kept.plain);
        self.shelves.give(kept);
        Ok(rest)
    }

    /// Keeps what a link left over, on behalf of `owner`; returns its place.
    ///
    /// # Errors
    /// [`Error::PartialEvicted`] when even without all others there is no room. A place the link had before is still
    /// its own.
    pub fn keep(&mut self, place: Place, owner: u32, rest: Rest) -> Result<Place, Error> {
        if rest.is_empty() {
            self.spare(rest);
            self.release(place);
            return Ok(Place::NONE);
        }
        let is_fresh = place == Place::NONE;
        let place = if is_fresh { self.occupy(owner) } else { place.0 };
        let kept = self.store(rest);
        let slot = &mut self.slots[place as usize];
        slot.counted = kept.capacity();
        self.bytes += slot.counted;
        slot.rest = kept;
        while self.bytes > self.bytes_max {
            let victim = if self.oldest == place { self.slots[place as usize].newer } else { self.oldest };
            if victim == NIL {
                if is_fresh {
                    self.release(Place(place));
                }
                return Err(Error::PartialEvicted);
            }
            self.evict(victim);
        }
        Ok(Place(place))
    }

    /// Gives a link's place back, with whatever is in it.
    pub fn release(&mut self, place: Place) {
        if place == Place::NONE {
            return;
        }
        if !self.slots[place.0 as usize].dead {
            self.unlink(place.0);
        }
        let slot = &mut self.slots[place.0 as usize];
        self.bytes -= mem::take(&mut slot.counted);
        let rest = mem::take(&mut slot.rest);
        self.shelves.give(rest);
        self.free.push(place.0);
    }

    /// Gives the buffers of a rest that is not needed any more back for the next chunk.
    pub fn spare(&mut self, mut rest: Rest) {
        let longest = rest.sealed.capacity().max(rest.plain.capacity());
        if longest <= WORKBENCH_LEN_MAX && self.workbenches.len() < WORKBENCHES_MAX {
            rest.clear();
            self.workbenches.push(rest);
        }
    }

    /// The same in buffers that fit.
    fn store(&mut self, mut rest: Rest) -> Rest {
        let sealed = self.shelves.fit(&mut rest.sealed);
        let plain = self.shelves.fit(&mut rest.plain);
        self.spare(rest);
        Rest { sealed, plain, ..Rest::default() }
    }

    fn occupy(&mut self, owner: u32) -> u32 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                owner,
                rest: Rest::default(),
                counted: 0,
                dead: false,
                older: NIL,
                newer: NIL,
            });
            u32::try_from(self.slots.len() - 1).expect("fewer partials than links")
        });
        let newest = self.newest;
        let slot = &mut self.slots[index as usize];
        (slot.owner, slot.dead, slot.older, slot.newer) = (owner, false, newest, NIL);
        match newest {
            NIL => self.oldest = index,
            newest => self.slots[newest as usize].newer = index,
        }
        self.newest = index;
        index
    }

    /// Throws a partial out. Its owner keeps the dead place until it is closed.
    fn evict(&mut self, index: u32) {
        self.unlink(index);
        let slot = &mut self.slots[index as usize];
        slot.dead = true;
        let rest = mem::take(&mut slot.rest);
        self.bytes -= mem::take(&mut slot.counted);
        self.evicted.push(slot.owner);
        self.evictions += 1;
        self.shelves.give(rest);
    }

    fn unlink(&mut self, index: u32) {
        let Slot { older, newer, .. } = self.slots[index as usize];
        match older {
            NIL => self.oldest = newer,
            older => self.slots[older as usize].newer = newer,
        }
        match newer {
            NIL => self.newest = older,
            newer => self.slots[newer as usize].older = older,
        }
    }
}

/// Empty buffers by their capacity, which is a power of two.
#[derive(Debug, Default)]
struct Shelves {
    by_size: [Vec<Vec<u8>>; SHELVES],
    bytes: usize,
}

impl Shelves {
    const BYTES_MAX: usize = 256 << 10;

    /// What is in a buffer, in one that is less than twice as large or of the smallest size; the former one is left empty.
    fn fit(&mut self, from: &mut Vec<u8>) -> Vec<u8> {
        if from.len() > SHELF_LEN_MAX {
            // While it grows it is at most twice as long, and is not moved with each chunk.
            if from.capacity() > 2 * from.len() {
                from.shrink_to_fit();
            }
            return mem::take(from);
        }
        if from.is_empty() {
            return Vec::new();
        }
        let capacity = from.len().next_power_of_two().max(SHELF_LEN_MIN);
        let mut fitting = match self.by_size[shelf(capacity)].pop() {
            Some(buffer) => {
                self.bytes -= capacity;
                buffer
            }
            None => Vec::with_capacity(capacity),
        };
        fitting.extend_from_slice(from);
        from.clear();
        fitting
    }

    fn give(&mut self, rest: Rest) {
        for mut buffer in [rest.sealed, rest.plain] {
            let capacity = buffer.capacity();
            let is_kept = (SHELF_LEN_MIN..=SHELF_LEN_MAX).contains(&capacity) && capacity.is_power_of_two();
            if is_kept && self.bytes + capacity <= Self::BYTES_MAX {
                self.bytes += capacity;
                buffer.clear();
                self.by_size[shelf(capacity)].push(buffer);
            }
        }
    }
}

const fn shelf(capacity: usize) -> usize {
    (capacity.ilog2() - SHELF_LEN_MIN.ilog2()) as usize
}

/// The smallest buffer: a hello, or the head of a record.
const SHELF_LEN_MIN: usize = 128;
/// The largest one that is kept for the next partial.
const SHELF_LEN_MAX: usize = 8 << 10;
const SHELVES: usize = shelf(SHELF_LEN_MAX) + 1;
/// The largest buffer to work in that is kept for the next chunk.
const WORKBENCH_LEN_MAX: usize = 64 << 10;
/// Chunks are read one after the other.
const WORKBENCHES_MAX: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(len: usize) -> Rest {
        Rest { sealed: vec![1; len], ..Rest::default() }
    }

    #[test]
    fn over_the_bound_the_oldest_partial_dies() {
        // Each in a buffer of 128 bytes.
        let mut partials = Partials::new(300);
        let first = partials.keep(Place::NONE, 1, rest(40)).unwrap();
        let second = partials.keep(Place::NONE, 2, rest(40)).unwrap();
        let third = partials.keep(Place::NONE, 3, rest(40)).unwrap();
        assert_eq!((partials.take_evicted(), partials.take_evicted()), (Some(1), None));
        assert_eq!(partials.take(first).err(), Some(Error::PartialEvicted));
        assert_eq!(partials.take(second).unwrap().len(), 40);
        partials.release(first);
        partials.release(second);
        assert_eq!(partials.bytes(), 128);
        assert_eq!(partials.take(third).unwrap().len(), 40);
        assert!(partials.keep(third, 3, rest(301)).is_err(), "more than the pool holds");
        partials.release(third);
        assert!(partials.keep(Place::NONE, 4, rest(301)).is_err(), "nor without a place before");
        let places = (partials.slots.len(), partials.free.len());
        assert_eq!((partials.bytes(), places), (0, (3, 3)), "and no place is lost");
    }

    #[test]
    fn the_bound_itself_may_be_reached_and_each_that_dies_for_it_is_counted() {
        let mut partials = Partials::new(256);
        for (owner, evictions) in [(1, 0), (2, 0), (3, 1), (4, 2)] {
            partials.keep(Place::NONE, owner, rest(40)).unwrap();
            assert_eq!(partials.evictions(), evictions, "with {owner}");
        }
        assert_eq!(partials.bytes(), 256);
    }

    #[test]
    fn a_long_buffer_of_up_to_twice_its_length_is_not_moved() {
        for (capacity, kept) in [(100_000, 100_000), (100_001, 50_000)] {
            let mut partials = Partials::new(1 << 20);
            let mut long = Rest { sealed: Vec::with_capacity(capacity), ..Rest::default() };
            long.sealed.resize(50_000, 1);
            partials.keep(Place::NONE, 1, long).unwrap();
            assert_eq!(partials.bytes(), kept);
        }
    }

    #[test]
    fn what_is_left_of_something_long_does_not_keep_its_buffer() {
        let mut partials = Partials::new(1 << 20);
        let mut place = partials.keep(Place::NONE, 1, rest(60_000)).unwrap();
        assert_eq!(partials.bytes(), 60_000);
        let mut long = partials.take(place).unwrap();
        long.sealed.truncate(1);
        long.plain = Vec::with_capacity(100_000);
        place = partials.keep(place, 1, long).unwrap();
        assert_eq!(partials.bytes(), 128);
        assert_eq!(partials.take(place).unwrap().sealed, [1]);
    }

    #[test]
    fn a_rest_is_the_same_after_it_was_kept_and_its_buffer_less_than_twice_as_large() {
        let mut partials = Partials::new(1 << 20);
        let mut place = Place::NONE;
        for len in [1, 127, 129, 5000, 3, 8192, 8193, 70_000, 20] {
            let mut work = partials.take(place).unwrap();
            work.clear();
            work.sealed.extend((0..len).map(|byte| byte as u8));
            work.plain.extend((0..len / 2).map(|byte| byte as u8 ^ 0x55));
            place = partials.keep(place, 1, work).unwrap();
            let held = len + len / 2;
            assert!((held..=2 * held + 2 * SHELF_LEN_MIN).contains(&partials.bytes()), "{len}");
            let again = partials.take(place).unwrap();
            assert!(again.sealed.iter().copied().eq((0..len).map(|byte| byte as u8)), "{len}");
            assert!(again.plain.iter().copied().eq((0..len / 2).map(|byte| byte as u8 ^ 0x55)), "{len}");
            place = partials.keep(place, 1, again).unwrap();
        }
        partials.release(place);
        assert_eq!(partials.bytes(), 0);
    }

    #[test]
    fn idle_buffers_are_bounded() {
        let mut partials = Partials::new(1 << 30);
        let places: Vec<Place> =
            (0..300).map(|owner| partials.keep(Place::NONE, owner, rest(8000)).unwrap()).collect();
        places.into_iter().for_each(|place| partials.release(place));
        (0..9).for_each(|_| partials.spare(rest(60_000)));
        partials.spare(rest(WORKBENCH_LEN_MAX + 1));
        assert_eq!(
            (partials.shelves.bytes, partials.workbenches.len()),
            (Shelves::BYTES_MAX, WORKBENCHES_MAX)
        );
        let shelved: usize = partials.shelves.by_size.iter().flatten().map(Vec::capacity).sum();
        assert_eq!(shelved, Shelves::BYTES_MAX);
        // What is taken from a shelf makes room on it.
        let places: Vec<Place> =
            (0..300).map(|owner| partials.keep(Place::NONE, owner, rest(8000)).unwrap()).collect();
        assert_eq!(partials.shelves.bytes, 0);
        places.into_iter().for_each(|place| partials.release(place));
        assert_eq!(partials.shelves.bytes, Shelves::BYTES_MAX);
    }
}
