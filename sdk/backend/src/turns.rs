//! Whose turn it is where order is kept: of those with the same key one is at work, and the others wait in the order in
//! which they came.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::collections::hash_map::Entry;

use bytes::Bytes;

/// What is handled one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// Place of the route.
    pub(crate) route: usize,
    pub(crate) user: Bytes,
    /// The client's ordering key; empty where all of the user's are one.
    pub(crate) key: Bytes,
}

/// All keys of which one is at work, with those that wait for it.
#[derive(Debug)]
pub(crate) struct Turns<T> {
    busy: HashMap<Key, VecDeque<T>>,
    waiting: usize,
}

/// What becomes of one that has come.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrived<T> {
    /// It is its turn; the key is busy until [`Turns::next`] says otherwise.
    Now(T),
    /// It waits.
    Waits,
    /// As many wait as may.
    Full,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self { busy: HashMap::new(), waiting: 0 }
    }
}

impl<T> Turns<T> {
    /// How many wait, of all keys together.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// One more of this key, of which `most` may wait.
    pub(crate) fn arrive(&mut self, key: &Key, item: T, most: usize) -> Arrived<T> {
        match self.busy.entry(key.clone()) {
            Entry::Vacant(place) => {
                place.insert(VecDeque::new());
                Arrived::Now(item)
            }
            Entry::Occupied(place) if place.get().len() >= most => Arrived::Full,
            Entry::Occupied(mut place) => {
                place.get_mut().push_back(item);
                self.waiting += 1;
                Arrived::Waits
            }
        }
    }

    /// The one at work is done: the next one, whose turn it is now. Without one the key is idle again.
    pub(crate) fn next(&mut self, key: &Key) -> Option<T> {
        let next = self.busy.get_mut(key)?.pop_front();
        match next {
            Some(_) => self.waiting -= 1,
            None => _ = self.busy.remove(key),
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(user: &'static str, key: &'static str) -> Key {
        Key { route: 0, user: user.into(), key: key.into() }
    }

    #[test]
    fn one_of_a_key_is_at_work_and_the_others_wait_in_their_order() {
        let mut turns = Turns::default();
        let (ann, bob) = (key("ann", ""), key("bob", ""));
        assert_eq!(turns.arrive(&ann, 1, 9), Arrived::Now(1));
        assert_eq!([2, 3].map(|item| turns.arrive(&ann, item, 9)), [Arrived::Waits, Arrived::Waits]);
        assert_eq!(turns.arrive(&bob, 4, 9), Arrived::Now(4), "another key waits for nobody");
        assert_eq!(turns.waiting(), 2);
        assert_eq!([(); 3].map(|()| turns.next(&ann)), [Some(2), Some(3), None]);
        assert_eq!((turns.waiting(), turns.busy.len()), (0, 1), "nothing is left of an idle key");
        assert_eq!(turns.arrive(&ann, 5, 9), Arrived::Now(5));
    }

    #[test]
    fn no_more_wait_than_there_may_be_and_of_each_key_for_itself() {
        let mut turns = Turns::default();
        let (order, other) = (key("ann", "order-1"), key("ann", "order-2"));
        let arrived = [1, 2, 3, 4].map(|item| turns.arrive(&order, item, 2));
        assert_eq!(arrived, [Arrived::Now(1), Arrived::Waits, Arrived::Waits, Arrived::Full]);
        assert_eq!([5, 6].map(|item| turns.arrive(&other, item, 2)), [Arrived::Now(5), Arrived::Waits]);
        assert_eq!(turns.next(&order), Some(2));
        assert_eq!(turns.arrive(&order, 7, 2), Arrived::Waits, "there is a place again");
        assert_eq!(turns.arrive(&order, 8, 0), Arrived::Full);
    }
}
