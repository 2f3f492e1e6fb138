//! Which slots are still to be looked at: all of them once after each change, a slice at a time, around.
//!
//! A change in between takes the walk no step back: it goes on where it is, until it has come around. So changes that never
//! end, such as the ends of many throttles, keep nobody from being looked at.

use std::ops::Range;

/// A walk over the slots of a worker.
#[derive(Debug, Default)]
pub(super) struct Walk {
    next: u32,
    /// How many slots there are left to look at.
    left: u32,
}

impl Walk {
    /// Everybody who is in is to be looked at, from now on.
    pub(super) const fn begin(&mut self) {
        self.left = u32::MAX;
    }

    /// The slots that are to be looked at now: so many of those that were ever used, at most.
    pub(super) fn slice(&mut self, most: u32, slots_used: u32) -> Range<u32> {
        let first = if self.next < slots_used { self.next } else { 0 };
        // Whoever got a slot that was not used before was judged when it came.
        let left = self.left.min(slots_used);
        let end = first.saturating_add(most.min(left)).min(slots_used);
        self.left = left - (end - first);
        self.next = end;
        first..end
    }

    /// Whether there are slots left to look at.
    pub(super) const fn is_under_way(&self) -> bool {
        self.left > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_change_everybody_is_looked_at_once_a_slice_at_a_time() {
        let mut walk = Walk::default();
        assert_eq!((walk.slice(4, 10), walk.is_under_way()), (0..0, false));
        walk.begin();
        assert!(walk.is_under_way());
        let slices: Vec<_> = (0..3).map(|_| walk.slice(4, 10)).collect();
        assert_eq!((slices, walk.is_under_way()), (vec![0..4, 4..8, 8..10], false));
        walk.begin();
        assert_eq!((walk.slice(4, 0), walk.is_under_way()), (0..0, false), "nobody was ever in");
    }

    #[test]
    fn a_change_in_between_takes_no_step_back_and_forgets_nobody() {
        let mut walk = Walk::default();
        walk.begin();
        assert_eq!([walk.slice(4, 10), walk.slice(4, 10)], [0..4, 4..8]);
        walk.begin();
        let slices: Vec<_> = (0..3).map(|_| walk.slice(4, 12)).collect();
        assert_eq!((slices, walk.is_under_way()), (vec![8..12, 0..4, 4..8], false));
        // One that comes in every turn.
        let mut looked_at = [0; 12];
        for _ in 0..6 {
            walk.begin();
            walk.slice(4, 12).for_each(|slot| looked_at[slot as usize] += 1);
        }
        assert_eq!(looked_at, [2; 12]);
    }
}
