//! Keyed hashing of what comes from outside: SipHash (Aumasson and Bernstein, 2012).
//!
//! A peer chooses its user id, device id and keys. With an unkeyed hash it could choose them so that they fall
//! into one bucket of a map or onto one backend. The standard library has SipHash-1-3 only with random keys,
//! which would make a simulator run unrepeatable, and not in the 128-bit form that identities are kept as.
//!
//! One compression round per word and three at the end, as in the standard library: what is asked for is that
//! nobody can aim at a bucket, not that nobody can forge a tag.

use std::hash::{BuildHasherDefault, Hasher};

/// The secret the hashes of this process depend on. Every worker of a process must have the same one, or they
/// would not agree on who owns a user.
#[derive(Clone, Copy)]
pub struct HashKey {
    low: u64,
    high: u64,
}

impl HashKey {
    /// A key from 16 random bytes.
    #[must_use]
    pub fn new(bytes: [u8; 16]) -> Self {
        let bytes = u128::from_le_bytes(bytes);
        Self { low: bytes as u64, high: (bytes >> 64) as u64 }
    }

    /// The 64-bit hash of `bytes`.
    #[must_use]
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        Sip::<1, 3>::absorbed(self, 0, bytes).short()
    }

    /// The 128-bit hash of `bytes`, which stands for the bytes themselves: two different inputs share one with a
    /// probability of 2⁻¹²⁸, and without the key nobody can look for such a pair.
    #[must_use]
    pub fn identity(&self, bytes: &[u8]) -> Identity {
        Identity(Sip::<1, 3>::absorbed(self, WIDE, bytes).long())
    }
}

impl std::fmt::Debug for HashKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HashKey(***)")
    }
}

/// The keyed 128-bit hash that stands for a user, a device or another name in maps and letters. Only of use
/// inside the process whose [`HashKey`] made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity([u8; 16]);

impl Identity {
    /// The one that has these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Its 64 low bits: as evenly spread as the whole.
    #[must_use]
    pub fn low(self) -> u64 {
        self.0[..8].iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
    }

    /// Its 64 high bits: independent of the low ones, so that what is chosen by one half is still evenly spread
    /// by the other.
    #[must_use]
    pub fn high(self) -> u64 {
        self.0[8..].iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
    }
}

impl std::hash::Hash for Identity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.high());
    }
}

/// Builds the hasher of maps whose keys are [`Identity`]s.
pub type ByIdentity = BuildHasherDefault<AsIs>;

/// Takes the one word an [`Identity`] gives as the hash: it is a keyed hash already.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsIs(u64);

impl Hasher for AsIs {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = mix(self.0 ^ u64::from(byte));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 ^= word;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Spreads a word over all its bits (the finaliser of MurmurHash3). Not keyed: only for words that already
/// depend on a [`HashKey`].
#[must_use]
pub const fn mix(mut word: u64) -> u64 {
    word ^= word >> 33;
    word = word.wrapping_mul(0xff51_afd7_ed55_8ccd);
    word ^= word >> 33;
    word = word.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    word ^ word >> 33
}

/// The state of SipHash with `C` rounds per word and `D` rounds at the end.
struct Sip<const C: usize, const D: usize> {
    v: [u64; 4],
}

impl<const C: usize, const D: usize> Sip<C, D> {
    /// The state after `bytes`. `width` is 0 for 64 bits of output and [`WIDE`] for 128.
    fn absorbed(key: &HashKey, width: u64, bytes: &[u8]) -> Self {
        let mut sip = Self {
            v: [
                key.low ^ 0x736f_6d65_7073_6575,
                key.high ^ 0x646f_7261_6e64_6f6d ^ width,
                key.low ^ 0x6c79_6765_6e65_7261,
                key.high ^ 0x7465_6462_7974_6573,
            ],
        };
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            sip.absorb(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        last[7] = bytes.len() as u8;
        sip.absorb(u64::from_le_bytes(last));
        sip
    }

    fn absorb(&mut self, word: u64) {
        self.v[3] ^= word;
        self.rounds::<C>();
        self.v[0] ^= word;
    }

    fn short(mut self) -> u64 {
        self.v[2] ^= 0xff;
        self.rounds::<D>();
        self.folded()
    }

    fn long(mut self) -> [u8; 16] {
        self.v[2] ^= WIDE;
        self.rounds::<D>();
        let low = self.folded();
        self.v[1] ^= 0xdd;
        self.rounds::<D>();
        (u128::from(self.folded()) << 64 | u128::from(low)).to_le_bytes()
    }

    fn folded(&self) -> u64 {
        self.v[0] ^ self.v[1] ^ self.v[2] ^ self.v[3]
    }

    fn rounds<const N: usize>(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.v;
        for _ in 0..N {
            a = a.wrapping_add(b);
            c = c.wrapping_add(d);
            b = b.rotate_left(13) ^ a;
            d = d.rotate_left(16) ^ c;
            a = a.rotate_left(32).wrapping_add(d);
            c = c.wrapping_add(b);
            d = d.rotate_left(21) ^ a;
            b = b.rotate_left(17) ^ c;
            c = c.rotate_left(32);
        }
        self.v = [a, b, c, d];
    }
}

/// What tells the 128-bit form from the 64-bit form.
const WIDE: u64 = 0xee;

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::DefaultHasher;

    fn counting(len: usize) -> Vec<u8> {
        (0..len).map(|byte| byte as u8).collect()
    }

    fn key() -> HashKey {
        HashKey::new(std::array::from_fn(|byte| byte as u8))
    }

    /// The vectors that ship with the reference implementation: key 00 01 … 0f, input 00 01 … of growing length.
    #[test]
    fn two_four_gives_the_published_vectors() {
        let short = |len| Sip::<2, 4>::absorbed(&key(), 0, &counting(len)).short();
        assert_eq!(short(0).to_le_bytes(), [0x31, 0x0e, 0x0e, 0xdd, 0x47, 0xdb, 0x6f, 0x72]);
        assert_eq!(short(1).to_le_bytes(), [0xfd, 0x67, 0xdc, 0x93, 0xc5, 0x39, 0xf8, 0x74]);
        assert_eq!(short(5), 0x1876_5564_cd99_a68d);
        assert_eq!(short(8), 0x93f5_f579_9a93_2462);
        assert_eq!(short(15), 0xa129_ca61_49be_45e5);

        let long = |len| u128::from_be_bytes(Sip::<2, 4>::absorbed(&key(), WIDE, &counting(len)).long());
        assert_eq!(long(0), 0xa381_7f04_ba25_a8e6_6df6_7214_c755_0293);
        assert_eq!(long(1), 0xda87_c1d8_6b99_af44_3476_5911_9b22_fc45);
        assert_eq!(long(4), 0xf881_64c1_2d9c_8faf_7d0f_6e7c_7bcd_5579);
        assert_eq!(long(8), 0x3b62_a9ba_6258_f561_0f83_e264_f314_97b4);
        assert_eq!(long(15), 0x5493_e999_33b0_a811_7e08_ec0f_97cf_c3d9);
    }

    #[test]
    fn one_three_agrees_with_the_standard_library() {
        let zero = HashKey::new([0; 16]);
        for len in 0..70 {
            let bytes = counting(len);
            let mut std = DefaultHasher::new();
            std.write(&bytes);
            assert_eq!(zero.hash(&bytes), std.finish(), "{len} bytes");
        }
    }

    #[test]
    fn every_part_of_the_key_and_of_the_input_counts() {
        let base = key().identity(b"alice");
        for bit in 0..128 {
            let other = HashKey::new(
                (u128::from_le_bytes(std::array::from_fn(|byte| byte as u8)) ^ 1 << bit).to_le_bytes(),
            );
            assert_ne!(other.identity(b"alice"), base);
            assert_ne!(other.hash(b"alice"), key().hash(b"alice"));
        }
        assert_ne!(key().identity(b"alicf"), base);
        assert_ne!(key().identity(b"alice\0"), base);
    }

    #[test]
    fn the_halves_of_an_identity_are_its_bytes() {
        let identity = key().identity(b"alice");
        let whole = u128::from_le_bytes(identity.0);
        assert_eq!(identity.low(), whole as u64);
        assert_eq!(identity.high(), (whole >> 64) as u64);
    }

    #[test]
    fn the_key_does_not_print() {
        assert_eq!(format!("{:?}", key()), "HashKey(***)");
    }
}
