//! The places for connections at one of the two sockets: whoever takes up all of one does not lock the other.

use std::cell::Cell;

/// How many connections there are, and how many found no place.
#[derive(Debug, Default)]
pub(super) struct Places {
    open: Cell<usize>,
    refused: Cell<u64>,
}

impl Places {
    /// Takes a place, if fewer than `most` are taken; it is to be [left](Self::leave).
    pub(super) fn enter(&self, most: usize) -> bool {
        let found = self.open.get() < most;
        if found {
            self.open.set(self.open.get() + 1);
        } else {
            self.refused.set(self.refused.get() + 1);
        }
        found
    }

    /// Gives a place back.
    pub(super) fn leave(&self) {
        self.open.set(self.open.get() - 1);
    }

    /// Connections that are open now.
    pub(super) fn open(&self) -> u64 {
        self.open.get() as u64
    }

    /// Connections that found no place.
    pub(super) fn refused(&self) -> u64 {
        self.refused.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_finds_no_place_is_counted_until_one_is_left() {
        let places = Places::default();
        assert!(places.enter(2) && places.enter(2) && !places.enter(2));
        places.leave();
        assert!(places.enter(2));
        assert_eq!((places.open(), places.refused()), (2, 1));
    }
}
