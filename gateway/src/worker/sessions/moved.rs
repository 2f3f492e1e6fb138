//! Links whose session goes on elsewhere: where to, for whoever still writes to them. Kept for a time, and only so many.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use protocol::Time;

use crate::collections::hash::{ByIdentity, mix};
use crate::id::LinkId;

/// All of a worker's.
#[derive(Debug)]
pub(super) struct Moved {
    to: HashMap<u64, LinkId, ByIdentity>,
    /// In the order of their end.
    order: VecDeque<(u64, Time)>,
    max: usize,
    lasting: Duration,
}

impl Moved {
    /// None, and never more than `max`, each kept for so long.
    pub(super) fn new(max: u32, lasting: Duration) -> Self {
        Self { to: HashMap::default(), order: VecDeque::new(), max: max as usize, lasting }
    }

    /// The session of a link goes on with another one.
    pub(super) fn insert(&mut self, from: LinkId, to: LinkId, now: Time) {
        // Two are dropped for one that comes, so that those whose time is over are caught up with.
        for _ in 0..2 {
            let is_over = |&(_, end): &(u64, Time)| end <= now || self.order.len() >= self.max;
            if let Some((name, _)) = self.order.front().copied().filter(is_over) {
                self.order.pop_front();
                self.to.remove(&name);
            }
        }
        if self.max > 0 {
            let name = mix(from.number());
            self.to.insert(name, to);
            self.order.push_back((name, now + self.lasting));
        }
    }

    /// The link by which the session of this one goes on.
    pub(super) fn get(&self, from: LinkId) -> Option<LinkId> {
        self.to.get(&mix(from.number())).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_session_went_is_known_for_a_time_and_of_so_many() {
        let at = |seconds| Time::ZERO + Duration::from_secs(seconds);
        let link = |slot| LinkId::new(0, slot, 1);
        let mut moved = Moved::new(3, Duration::from_secs(60));
        for slot in 1..=4 {
            moved.insert(link(slot), link(10 + slot), at(0));
        }
        assert_eq!([1, 2, 3, 4].map(|slot| moved.get(link(slot)).is_some()), [false, true, true, true]);
        assert_eq!(moved.get(link(4)), Some(link(14)));
        moved.insert(link(5), link(15), at(61));
        moved.insert(link(6), link(16), at(61));
        assert_eq!([2, 3, 4, 5].map(|slot| moved.get(link(slot)).is_some()), [false, false, false, true]);
        assert_eq!((moved.to.len(), moved.order.len()), (2, 2));
        let mut none = Moved::new(0, Duration::from_secs(60));
        none.insert(link(1), link(2), at(0));
        assert_eq!(none.get(link(1)), None);
    }
}
