//! Who comes most often, in a few entries: "space saving" (Metwally, Agrawal and El Abbadi, 2005).

/// The heaviest of many keys, roughly, in `N` entries and no more.
///
/// Whoever has more than an `N`th of the whole weight is among them; a weight is at most so much too high, and never too low.
#[derive(Clone, Debug)]
pub struct Frequent<K, const N: usize> {
    entries: Vec<(K, u64)>,
    whole: u64,
}

impl<K, const N: usize> Default for Frequent<K, N> {
    fn default() -> Self {
        Self { entries: Vec::new(), whole: 0 }
    }
}

impl<K: PartialEq, const N: usize> Frequent<K, N> {
    /// So much more of one key. The lightest entry makes room for a new one, which inherits its weight.
    pub fn add(&mut self, key: K, weight: u64)
    where
        K: Clone,
    {
        self.add_with(|known| *known == key, || key.clone(), weight);
    }

    /// The same of the key that `is_it`, which is made only if it is not known.
    pub fn add_with(&mut self, is_it: impl Fn(&K) -> bool, make: impl FnOnce() -> K, weight: u64) {
        self.whole = self.whole.saturating_add(weight);
        if let Some((_, its)) = self.entries.iter_mut().find(|(known, _)| is_it(known)) {
            *its = its.saturating_add(weight);
        } else if self.entries.len() < N {
            self.entries.push((make(), weight));
        } else if let Some(lightest) = self.entries.iter_mut().min_by_key(|(_, its)| *its) {
            *lightest = (make(), lightest.1.saturating_add(weight));
        }
    }

    /// The keys that are known, with their weights, in no order.
    pub fn entries(&self) -> impl Iterator<Item = (&K, u64)> {
        self.entries.iter().map(|(key, weight)| (key, *weight))
    }

    /// Everything weighs half as much from now on; what weighs nothing is forgotten.
    pub fn fade(&mut self) {
        self.whole /= 2;
        self.entries.iter_mut().for_each(|(_, weight)| *weight /= 2);
        self.entries.retain(|(_, weight)| *weight > 0);
    }

    /// The weight of all keys together.
    #[must_use]
    pub const fn whole(&self) -> u64 {
        self.whole
    }

    /// What the heaviest `count` weigh together at the least: what they may have inherited is not counted.
    #[must_use]
    pub fn heaviest(&self, count: usize) -> u64 {
        let mut weights: Vec<u64> = self.entries.iter().map(|(_, weight)| *weight).collect();
        weights.sort_unstable_by_key(|weight| std::cmp::Reverse(*weight));
        let inherited = if weights.len() < N { 0 } else { weights.last().copied().unwrap_or(0) };
        weights.iter().take(count).map(|weight| weight - inherited).sum()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.whole = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heavy_ones_stay_whoever_else_comes() {
        let mut frequent = Frequent::<u32, 8>::default();
        for round in 0..1000 {
            frequent.add(1, 1);
            frequent.add(2, 1);
            frequent.add(1000 + round, 1);
        }
        assert_eq!(frequent.whole(), 3000);
        let (one, two) = (frequent.heaviest(1), frequent.heaviest(2));
        assert!((800..=1000).contains(&one) && (1600..=2000).contains(&two), "{one}, {two}");
        frequent.clear();
        assert_eq!((frequent.whole(), frequent.heaviest(8)), (0, 0));
    }

    #[test]
    fn of_many_who_are_all_alike_none_is_heavy() {
        let mut frequent = Frequent::<u32, 8>::default();
        (0..10_000).for_each(|key| frequent.add(key, 1));
        assert!(frequent.heaviest(8) < 10, "{}", frequent.heaviest(8));
    }

    #[test]
    fn while_there_is_room_weights_are_exact() {
        let mut frequent = Frequent::<&str, 4>::default();
        [("a", 5), ("b", 7), ("a", 4)].into_iter().for_each(|(key, weight)| frequent.add(key, weight));
        assert_eq!([0, 1, 2, 3].map(|count| frequent.heaviest(count)), [0, 9, 16, 16]);
    }
}
