//! Many queues over the entries of one table: each entry, named by its index, stands in at most one of them.
//!
//! A table whose entries have several owners (a request belongs to a link and to a stream) keeps one [`Queues`]
//! per kind of owner, and so finds, counts and ends what belongs to one owner without a search and without memory
//! of the owner's own.

/// First-in-first-out queues of indices; leaving from the middle costs as little as from the front.
#[derive(Debug)]
pub struct Queues {
    heads: Vec<Head>,
    /// By entry. Each queue is a ring, so that its first entry knows the last.
    neighbours: Vec<Neighbours>,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    /// Of no meaning while the queue is empty.
    first: u32,
    len: u32,
}

#[derive(Clone, Copy, Debug)]
struct Neighbours {
    before: u32,
    after: u32,
}

impl Queues {
    /// `queues` empty queues over a table of `entries` entries. Takes 8 bytes for each of either.
    #[must_use]
    pub fn new(queues: usize, entries: usize) -> Self {
        Self {
            heads: vec![Head { first: NOBODY, len: 0 }; queues],
            neighbours: vec![Neighbours { before: NOBODY, after: NOBODY }; entries],
        }
    }

    /// Puts an entry at the end of a queue.
    ///
    /// # Panics
    /// When the queue or the entry is beyond what this was built for, or the entry stands in a queue already.
    pub fn push(&mut self, queue: usize, entry: u32) {
        assert!(self.neighbours[entry as usize].before == NOBODY, "an entry stands in one queue");
        let head = &mut self.heads[queue];
        head.len += 1;
        if head.len == 1 {
            head.first = entry;
            self.neighbours[entry as usize] = Neighbours { before: entry, after: entry };
            return;
        }
        let first = head.first;
        let last = self.neighbours[first as usize].before;
        self.neighbours[last as usize].after = entry;
        self.neighbours[entry as usize] = Neighbours { before: last, after: first };
        self.neighbours[first as usize].before = entry;
    }

    /// Takes an entry out of the queue it stands in, which the caller knows.
    ///
    /// # Panics
    /// When the entry stands in no queue.
    pub fn remove(&mut self, queue: usize, entry: u32) {
        let Neighbours { before, after } = self.neighbours[entry as usize];
        assert!(before != NOBODY, "only what was queued is taken out");
        self.neighbours[before as usize].after = after;
        self.neighbours[after as usize].before = before;
        self.neighbours[entry as usize].before = NOBODY;
        let head = &mut self.heads[queue];
        head.len -= 1;
        if head.first == entry {
            head.first = after;
        }
    }

    /// The entry that has stood longest in a queue.
    #[must_use]
    pub fn first(&self, queue: usize) -> Option<u32> {
        self.heads.get(queue).filter(|head| head.len > 0).map(|head| head.first)
    }

    /// The entries of a queue, oldest first.
    pub fn iter(&self, queue: usize) -> impl Iterator<Item = u32> {
        let mut next = self.first(queue).unwrap_or(NOBODY);
        (0..self.len(queue)).map(move |_| {
            let entry = next;
            next = self.neighbours[entry as usize].after;
            entry
        })
    }

    /// How many entries stand in a queue.
    #[must_use]
    pub fn len(&self, queue: usize) -> u32 {
        self.heads.get(queue).map_or(0, |head| head.len)
    }

    /// Whether no entry stands in a queue.
    #[must_use]
    pub fn is_empty(&self, queue: usize) -> bool {
        self.len(queue) == 0
    }
}

/// The neighbour of an entry that stands in no queue.
const NOBODY: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    #[test]
    fn entries_leave_in_the_order_they_came_or_from_the_middle() {
        let mut queues = Queues::new(2, 5);
        for entry in [3, 1, 4] {
            queues.push(0, entry);
        }
        queues.push(1, 2);
        queues.remove(0, 1);
        assert!(queues.iter(0).eq([3, 4]));
        queues.remove(0, 3);
        queues.push(0, 3);
        assert!(queues.iter(0).eq([4, 3]));
        assert_eq!((queues.first(1), queues.len(1), queues.first(7)), (Some(2), 1, None));
    }

    #[test]
    #[should_panic(expected = "an entry stands in one queue")]
    fn an_entry_cannot_stand_in_two_queues() {
        let mut queues = Queues::new(2, 2);
        queues.push(0, 1);
        queues.push(1, 1);
    }

    proptest! {
        #[test]
        fn behaves_like_separate_lists(steps in prop::collection::vec((0..3usize, 0..16u32), 1..200)) {
            let mut queues = Queues::new(3, 16);
            let mut model: [VecDeque<u32>; 3] = Default::default();
            for (queue, entry) in steps {
                match model.iter().position(|list| list.contains(&entry)) {
                    Some(stands) => {
                        queues.remove(stands, entry);
                        model[stands].retain(|&other| other != entry);
                    }
                    None => {
                        queues.push(queue, entry);
                        model[queue].push_back(entry);
                    }
                }
                for (queue, list) in model.iter().enumerate() {
                    prop_assert!(queues.iter(queue).eq(list.iter().copied()));
                    prop_assert_eq!(queues.first(queue), list.front().copied());
                    prop_assert_eq!(queues.is_empty(queue), list.is_empty());
                }
            }
        }
    }
}
