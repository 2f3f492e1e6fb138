//! The answers' bytes: written one after the other into a ring, so that the oldest go when there is no more room. Nothing is
//! allocated for an answer, and nothing freed.

/// Where a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Counted from the first byte that was ever written.
    at: u64,
    len: u32,
}

impl Place {
    /// That of a body that is not kept.
    pub(super) const LOST: Self = Self { at: 0, len: u32::MAX };
}

/// A ring of bytes.
#[derive(Debug)]
pub(super) struct Log {
    bytes: Vec<u8>,
    max: usize,
    written: u64,
}

/// One body takes at most this part of the ring: a few large ones must not push out all the others.
const SHARE: usize = 8;

impl Log {
    /// An empty one of so many bytes, of which those that were never written to take no memory.
    pub(super) fn new(max: usize) -> Self {
        Self { bytes: Vec::with_capacity(max), max, written: 0 }
    }

    /// Keeps a body, and forgets the oldest ones for that; `None` for one that is too large.
    pub(super) fn keep(&mut self, body: &[u8]) -> Option<Place> {
        let len = u32::try_from(body.len()).ok()?;
        if body.len() > self.max / SHARE {
            return None;
        }
        if body.is_empty() {
            return Some(Place { at: self.written, len });
        }
        let end = self.index(self.written) + body.len();
        if end > self.max {
            // A body lies in one piece. What is left of this round stays empty.
            self.bytes.resize(self.max, 0);
            self.written = self.written.next_multiple_of(self.max as u64);
        }
        let at = self.written;
        let start = self.index(at);
        if start == self.bytes.len() {
            self.bytes.extend_from_slice(body);
        } else {
            self.bytes[start..start + body.len()].copy_from_slice(body);
        }
        self.written += body.len() as u64;
        Some(Place { at, len })
    }

    /// A body, unless it was forgotten.
    pub(super) fn get(&self, place: Place) -> Option<&[u8]> {
        if place.len == 0 {
            return Some(&[]);
        }
        let is_there = place.at + self.max as u64 >= self.written;
        let start = self.index(place.at);
        self.bytes.get(start..start + place.len as usize).filter(|_| is_there)
    }

    /// Bytes of memory that were written to.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes.len()
    }

    const fn index(&self, at: u64) -> usize {
        if self.max == 0 { 0 } else { (at % self.max as u64) as usize }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_oldest_bodies_go_when_there_is_no_more_room() {
        let mut log = Log::new(80);
        let places: Vec<_> = (0..10).map(|byte| log.keep(&[byte; 10]).expect("it is small enough")).collect();
        let is_kept: Vec<_> = places.iter().map(|&place| log.get(place).is_some()).collect();
        assert_eq!(is_kept, [false, false, true, true, true, true, true, true, true, true]);
        assert_eq!((log.get(places[9]), log.bytes()), (Some([9; 10].as_slice()), 80));
    }

    #[test]
    fn one_that_is_too_large_is_not_kept_and_pushes_nothing_out() {
        let mut log = Log::new(80);
        let place = log.keep(b"small").expect("it is small enough");
        assert_eq!((log.keep(&[0; 11]), log.get(place)), (None, Some(b"small".as_slice())));
        let mut none = Log::new(0);
        assert_eq!(
            (none.keep(b"a"), none.keep(b"").and_then(|place| none.get(place).map(<[u8]>::len))),
            (None, Some(0))
        );
    }

    proptest! {
        /// A body is what it was, or it is gone; and it is not gone while less than a round was written behind it.
        #[test]
        fn what_is_kept_is_what_was_written(bodies in prop::collection::vec((any::<u8>(), 0..32usize), 1..200)) {
            let mut log = Log::new(256);
            let mut places = Vec::new();
            for &(byte, len) in &bodies {
                places.push(log.keep(&vec![byte; len]).expect("it is small enough"));
            }
            let mut behind = 0;
            for (&(byte, len), &place) in bodies.iter().zip(&places).rev() {
                let kept = log.get(place);
                prop_assert!(kept.is_none_or(|kept| kept == vec![byte; len]));
                behind += len;
                // At the end of a round less than a body's length stays empty.
                prop_assert!(kept.is_some() || behind > 256 - 32);
            }
        }
    }
}
