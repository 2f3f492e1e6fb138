//! Public keys, their short names on the wire, and static private keys.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey, X25519};
use ring::digest;
use zeroize::Zeroizing;

use crate::hex;

/// An X25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// The key's short name in a preamble: the first four bytes of its SHA-256. It finds a key among a few, it
    /// proves nothing.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        KeyId(first_of(digest::digest(&digest::SHA256, &self.0).as_ref()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// 64 hex digits, as ready files and `gateway keygen` show keys.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What was read is no public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoKey;

impl fmt::Display for NoKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a public key is 64 hex digits")
    }
}

impl std::error::Error for NoKey {}

impl FromStr for PublicKey {
    type Err = NoKey;

    fn from_str(text: &str) -> Result<Self, NoKey> {
        hex::decode_array(text).map(Self).ok_or(NoKey)
    }
}

/// The short name of a public key.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct KeyId(pub [u8; 4]);

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A static private key, prepared once: expanding it and computing its public key costs a curve operation, which a
/// handshake must not pay again. Cloning copies a pointer; the key is wiped with the last clone.
#[derive(Clone)]
pub struct StaticKey(Arc<Pair>);

impl StaticKey {
    /// Prepares a private key. Any 32 bytes are one; good ones are random.
    #[must_use]
    pub fn from_secret(secret: [u8; 32]) -> Self {
        Self(Arc::new(Pair::new(&Zeroizing::new(secret))))
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.0.public
    }

    pub(super) fn pair(&self) -> Arc<Pair> {
        Arc::clone(&self.0)
    }
}

impl fmt::Debug for StaticKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StaticKey(*** of {:?})", self.0.public)
    }
}

/// A private key with its public key beside it.
pub(super) struct Pair {
    private: PrivateKey,
    public: PublicKey,
}

impl Pair {
    pub(super) fn new(secret: &[u8; 32]) -> Self {
        let private = PrivateKey::from_private_key(&X25519, secret).expect("any 32 bytes are an X25519 key");
        let computed = private.compute_public_key().expect("an X25519 key has a public half");
        Self { private, public: PublicKey(first_of(computed.as_ref())) }
    }

    pub(super) fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The shared secret, or `None` if the peer's point has low order: then the secret would not depend on our key.
    pub(super) fn agree(&self, peer: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
        let peer = UnparsedPublicKey::new(&X25519, peer);
        agreement::agree(&self.private, peer, (), |shared| Ok(Zeroizing::new(first_of(shared)))).ok()
    }
}

/// The first `N` bytes of a hash, key or secret known to be long enough.
fn first_of<const N: usize>(bytes: &[u8]) -> [u8; N] {
    *bytes.first_chunk().expect("hashes, keys and shared secrets have 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> [u8; 32] {
        std::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
    }

    #[test]
    fn a_key_is_read_as_it_is_shown() {
        let key = PublicKey(std::array::from_fn(|i| i as u8 * 7));
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!(format!("{key:?}"), key.to_string());
        assert!(["", "09", &"g".repeat(64)].iter().all(|text| text.parse::<PublicKey>() == Err(NoKey)));
    }

    /// RFC 7748, section 6.1.
    #[test]
    fn agrees_with_the_published_exchange() {
        let alice =
            StaticKey::from_secret(hex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"));
        let bob =
            StaticKey::from_secret(hex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"));
        assert_eq!(alice.public().0, hex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"));
        assert_eq!(bob.public().0, hex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"));
        let shared = hex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
        assert_eq!(*alice.0.agree(&bob.public().0).unwrap(), shared);
        assert_eq!(*bob.0.agree(&alice.public().0).unwrap(), shared);
    }

    /// The seven points of low order and their encodings above the prime and with the ignored top bit.
    #[test]
    fn refuses_points_of_low_order() {
        let key = StaticKey::from_secret([0x5a; 32]);
        for text in LOW_ORDER {
            let mut point = hex(text);
            assert!(key.0.agree(&point).is_none(), "{text}");
            point[31] |= 0x80;
            assert!(key.0.agree(&point).is_none(), "{text} with the top bit");
        }
        assert!(key.0.agree(&[9; 32]).is_some());
    }

    #[test]
    fn prints_no_secret() {
        let key = StaticKey::from_secret([0xab; 32]);
        let text = format!("{key:?}");
        assert!(text.contains("***") && !text.contains("abababab"), "{text}");
    }

    const LOW_ORDER: [&str; 7] = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
}
