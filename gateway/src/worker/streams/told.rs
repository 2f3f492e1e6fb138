//! Which links a backend knows of.
//!
//! Which backend is told of a link changes while the link lives: one dies, one is left out for a while, one comes back. So
//! each stream remembers whom it was told of, and hears of the end of exactly these links.

/// The links a stream was told of, one bit per slot.
#[derive(Debug)]
pub(super) struct Told(Box<[u64]>);

impl Told {
    /// Nobody yet, of this many slots.
    pub(super) fn nobody(slots: u32) -> Self {
        Self(vec![0; slots.div_ceil(64) as usize].into())
    }

    /// Notes a link; whether it is news.
    pub(super) fn insert(&mut self, slot: u32) -> bool {
        let (word, bit) = (&mut self.0[slot as usize / 64], 1 << (slot % 64));
        let news = *word & bit == 0;
        *word |= bit;
        news
    }

    /// Forgets a link; whether it was there.
    pub(super) fn remove(&mut self, slot: u32) -> bool {
        let (word, bit) = (&mut self.0[slot as usize / 64], 1 << (slot % 64));
        let known = *word & bit != 0;
        *word &= !bit;
        known
    }

    /// The stream has ended, and its backend forgets all links.
    pub(super) fn clear(&mut self) {
        self.0.fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_news_once_and_forgotten_once() {
        let mut told = Told::nobody(130);
        for slot in [0, 63, 64, 129] {
            assert!(told.insert(slot) && !told.insert(slot), "{slot}");
        }
        assert!(told.remove(63) && !told.remove(63) && !told.remove(62));
        told.clear();
        assert!(!told.remove(129));
    }
}
