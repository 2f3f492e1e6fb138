//! The only source of chance in a simulation.

/// A small generator (SplitMix64). Not for secrets: whoever knows the seed knows every number.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The same seed gives the same numbers on every machine.
    #[must_use]
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    /// Any 64-bit number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number from 0 to `bound - 1`; 0 for a bound of 0.
    pub fn below(&mut self, bound: usize) -> usize {
        // The multiplication takes the upper half of a 128-bit product, which is below the bound.
        ((u128::from(self.number()) * bound as u128) >> 64) as usize
    }

    /// True once in `n` times on average; never for 0.
    pub fn one_in(&mut self, n: u32) -> bool {
        n != 0 && self.below(n as usize) == 0
    }

    /// Fills a buffer, for keys and ids of a simulation.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for piece in bytes.chunks_mut(8) {
            piece.copy_from_slice(&self.number().to_le_bytes()[..piece.len()]);
        }
    }

    /// Puts values in a random order.
    pub fn shuffle<T>(&mut self, values: &mut [T]) {
        for place in (1..values.len()).rev() {
            values.swap(place, self.below(place + 1));
        }
    }

    /// An independent generator, so that one part's use of chance does not shift another's.
    #[must_use]
    pub fn fork(&mut self) -> Rng {
        Rng(self.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_repeat_with_the_seed_and_stay_below_their_bound() {
        let mut a = Rng::new(7);
        let mut b = Rng::new(7);
        let mut seen = [0_u32; 5];
        for _ in 0..1000 {
            let n = a.below(5);
            assert_eq!(n, b.below(5));
            seen[n] += 1;
        }
        assert!(seen.iter().all(|&n| n > 120), "{seen:?}");
        assert_ne!(Rng::new(7).number(), Rng::new(8).number());
        assert!((0..100).all(|_| !a.one_in(0) && a.one_in(1)));
    }

    #[test]
    fn a_shuffle_keeps_every_value() {
        let mut values: Vec<u32> = (0..50).collect();
        Rng::new(1).shuffle(&mut values);
        assert_ne!(values, (0..50).collect::<Vec<_>>());
        values.sort_unstable();
        assert_eq!(values, (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn forks_differ_and_odd_lengths_are_filled() {
        let mut rng = Rng::new(3);
        let (mut a, mut b) = ([0; 13], [0; 13]);
        rng.fork().fill(&mut a);
        rng.fork().fill(&mut b);
        assert_ne!(a, b);
        assert!(a[8..].iter().any(|&byte| byte != 0));
    }
}
