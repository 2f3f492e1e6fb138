//! The places for connections at one of the two sockets: whoever takes up all of one does not lock the other, and whoever says
//! nothing makes room for whoever comes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tokio::sync::Notify;

/// The places, and how many connections lost theirs.
#[derive(Debug, Default)]
pub(super) struct Places {
    taken: RefCell<Vec<Rc<Seat>>>,
    /// Counts whatever any of them does, so that it is known who did something last.
    stirs: Cell<u64>,
    evicted: Cell<u64>,
}

/// One of them, for one connection.
#[derive(Debug, Default)]
pub(super) struct Seat {
    stirred: Cell<u64>,
    lost: Notify,
}

impl Seat {
    /// Waits until the place is given to another connection.
    pub(super) async fn lost(&self) {
        self.lost.notified().await;
    }
}

impl Places {
    /// Takes a place, to be [left](Self::leave). If `most` are taken, the connection that has done nothing for the longest
    /// time loses its own.
    pub(super) fn enter(&self, most: usize) -> Rc<Seat> {
        let mut taken = self.taken.borrow_mut();
        if taken.len() >= most
            && let Some(idlest) = (0..taken.len()).min_by_key(|at| taken[*at].stirred.get())
        {
            taken.swap_remove(idlest).lost.notify_one();
            self.evicted.set(self.evicted.get() + 1);
        }
        let seat = Rc::new(Seat::default());
        taken.push(Rc::clone(&seat));
        self.stir(&seat);
        seat
    }

    /// Its connection did something.
    pub(super) fn stir(&self, seat: &Seat) {
        self.stirs.set(self.stirs.get() + 1);
        seat.stirred.set(self.stirs.get());
    }

    /// Gives a place back, unless it was lost.
    pub(super) fn leave(&self, seat: &Rc<Seat>) {
        self.taken.borrow_mut().retain(|other| !Rc::ptr_eq(other, seat));
    }

    /// Connections that have one now.
    pub(super) fn open(&self) -> u64 {
        self.taken.borrow().len() as u64
    }

    /// Connections that lost theirs.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_did_nothing_for_the_longest_time_makes_room() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let places = Places::default();
        let [first, second] = [places.enter(2), places.enter(2)];
        places.stir(&first);
        let third = places.enter(2);
        runtime.block_on(second.lost());
        assert_eq!((places.open(), places.evicted()), (2, 1));
        places.leave(&second);
        assert_eq!(places.open(), 2, "what was lost cannot be left");
        places.leave(&third);
        let _fourth = places.enter(2);
        assert_eq!((places.open(), places.evicted()), (2, 1), "there was room");
        let _fifth = places.enter(2);
        runtime.block_on(first.lost());
    }
}
