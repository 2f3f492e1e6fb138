//! Primitives for `snow`: X25519 from aws-lc with a static key that was prepared beforehand, hash and AEAD from
//! ring, and "randomness" that is exactly the ephemeral key the caller brought.

use std::sync::Arc;

use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::{digest, hmac};
use snow::Error;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::CryptoResolver;
use snow::types;
use zeroize::{Zeroize, Zeroizing};

use super::keys::{Pair, StaticKey};
use super::suite::Cipher;

/// Marks "use the prepared key" where snow's builder wants the bytes of a private key.
pub(super) const PREPARED: &[u8] = &[];

/// Hands one handshake its primitives.
pub(super) struct Resolver {
    local: Option<Arc<Pair>>,
    ephemeral: Zeroizing<[u8; 32]>,
}

impl Resolver {
    pub(super) fn new(local: Option<&StaticKey>, ephemeral: [u8; 32]) -> Self {
        Self { local: local.map(StaticKey::pair), ephemeral: Zeroizing::new(ephemeral) }
    }
}

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn types::Random>> {
        Some(Box::new(Once(Some(self.ephemeral.clone()))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn types::Dh>> {
        match choice {
            DHChoice::Curve25519 => Some(Box::new(Dh { local: self.local.clone(), pair: None })),
            _ => None,
        }
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn types::Hash>> {
        match choice {
            HashChoice::SHA256 => Some(Box::new(Hash(digest::Context::new(&digest::SHA256)))),
            _ => None,
        }
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn types::Cipher>> {
        let cipher = match choice {
            CipherChoice::ChaChaPoly => Cipher::ChaChaPoly,
            CipherChoice::AESGCM => Cipher::AesGcm,
        };
        Some(Box::new(Aead { cipher, key: Zeroizing::new([0; 32]) }))
    }
}

/// Gives the ephemeral key once and fails the second time, so that it can't be used twice.
struct Once(Option<Zeroizing<[u8; 32]>>);

impl types::Random for Once {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Error> {
        let bytes = self.0.take().ok_or(Error::Rng)?;
        if dest.len() != bytes.len() {
            return Err(Error::Rng);
        }
        dest.copy_from_slice(&*bytes);
        Ok(())
    }
}

/// One X25519 key of a handshake. snow asks for two of these and makes one the static key by `set`, the other the
/// ephemeral by `generate`.
struct Dh {
    local: Option<Arc<Pair>>,
    pair: Option<Arc<Pair>>,
}

impl types::Dh for Dh {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        32
    }

    fn priv_len(&self) -> usize {
        32
    }

    /// Takes the prepared key; the bytes are only [`PREPARED`].
    fn set(&mut self, _privkey: &[u8]) {
        self.pair = self.local.take();
    }

    fn generate(&mut self, rng: &mut dyn types::Random) -> Result<(), Error> {
        let mut secret = Zeroizing::new([0; 32]);
        rng.try_fill_bytes(&mut *secret)?;
        self.pair = Some(Arc::new(Pair::new(&secret)));
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        self.pair.as_ref().map_or(&[0; 32], |pair| &pair.public().0)
    }

    /// snow reads it only where it generates static keys, which we never ask for.
    fn privkey(&self) -> &[u8] {
        &[]
    }

    /// snow keeps room for longer keys of other curves, so only the first 32 bytes count.
    fn dh(&self, pubkey: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let peer = pubkey.first_chunk::<32>().ok_or(Error::Dh)?;
        let shared = self.pair.as_ref().and_then(|pair| pair.agree(peer)).ok_or(Error::Dh)?;
        out.get_mut(..32).ok_or(Error::Dh)?.copy_from_slice(&*shared);
        Ok(())
    }
}

/// SHA-256 and what Noise derives from it.
struct Hash(digest::Context);

impl types::Hash for Hash {
    fn name(&self) -> &'static str {
        "SHA256"
    }

    fn block_len(&self) -> usize {
        64
    }

    fn hash_len(&self) -> usize {
        32
    }

    fn reset(&mut self) {
        self.0 = digest::Context::new(&digest::SHA256);
    }

    fn input(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn result(&mut self, out: &mut [u8]) {
        out[..32].copy_from_slice(self.0.clone().finish().as_ref());
    }

    /// The same as snow's own, but the key derived in the middle is expanded once and not three times.
    fn hkdf(
        &mut self,
        chaining_key: &[u8],
        input: &[u8],
        outputs: usize,
        out1: &mut [u8],
        out2: &mut [u8],
        out3: &mut [u8],
    ) {
        let extracted = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, chaining_key), input);
        let key = hmac::Key::new(hmac::HMAC_SHA256, extracted.as_ref());
        let mut block = Zeroizing::new([0; 33]);
        let mut filled = 0;
        for (count, out) in (1u8..).zip([out1, out2, out3]).take(outputs) {
            block[filled] = count;
            let tag = hmac::sign(&key, &block[..=filled]);
            out[..32].copy_from_slice(tag.as_ref());
            block[..32].copy_from_slice(tag.as_ref());
            filled = 32;
        }
    }
}

/// One cipher state of a handshake. A key seals or opens one or two messages there, so it is expanded at use;
/// expanding it when it is set would also expand the two of the split, which snow never uses here.
struct Aead {
    cipher: Cipher,
    key: Zeroizing<[u8; 32]>,
}

impl types::Cipher for Aead {
    fn name(&self) -> &'static str {
        match self.cipher {
            Cipher::ChaChaPoly => "ChaChaPoly",
            Cipher::AesGcm => "AESGCM",
        }
    }

    fn set(&mut self, key: &[u8; 32]) {
        *self.key = *key;
    }

    fn encrypt(&self, nonce: u64, authtext: &[u8], plaintext: &[u8], out: &mut [u8]) -> usize {
        let (body, rest) = out.split_at_mut(plaintext.len());
        body.copy_from_slice(plaintext);
        let tag = self
            .cipher
            .expand(&self.key)
            .seal_in_place_separate_tag(self.cipher.nonce(nonce), Aad::from(authtext), body)
            .expect("a handshake message is far below the AEAD's limit");
        rest[..tag.as_ref().len()].copy_from_slice(tag.as_ref());
        plaintext.len() + tag.as_ref().len()
    }

    fn decrypt(
        &self,
        nonce: u64,
        authtext: &[u8],
        ciphertext: &[u8],
        out: &mut [u8],
    ) -> Result<usize, Error> {
        let (body, tag) = ciphertext.split_last_chunk::<16>().ok_or(Error::Decrypt)?;
        let out = out.get_mut(..body.len()).ok_or(Error::Decrypt)?;
        out.copy_from_slice(body);
        let opened = self.cipher.expand(&self.key).open_in_place_separate_tag(
            self.cipher.nonce(nonce),
            Aad::from(authtext),
            aead::Tag::from(*tag),
            out,
            0..,
        );
        if opened.is_err() {
            out.zeroize();
            return Err(Error::Decrypt);
        }
        Ok(body.len())
    }
}

impl Cipher {
    /// The expanded key. ring's key schedule lives on the stack of the batch that needs it.
    pub(super) fn expand(self, key: &[u8; 32]) -> LessSafeKey {
        let algorithm = match self {
            Self::ChaChaPoly => &aead::CHACHA20_POLY1305,
            Self::AesGcm => &aead::AES_256_GCM,
        };
        LessSafeKey::new(UnboundKey::new(algorithm, key).expect("both ciphers take keys of 32 bytes"))
    }

    /// The nonce of a counter (Noise, section 12): four zero bytes, then the counter in the cipher's byte order.
    pub(super) fn nonce(self, counter: u64) -> Nonce {
        let counter = match self {
            Self::ChaChaPoly => counter.to_le_bytes(),
            Self::AesGcm => counter.to_be_bytes(),
        };
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&counter);
        Nonce::assume_unique_for_key(nonce)
    }
}
