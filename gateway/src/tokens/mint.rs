//! Tokens for tests, and the key that signs them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, Header, encode};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::keys::Algorithm;

/// What a token is to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// Claims, as they are to stand in it.
    pub claims: Map<String, Value>,
}

/// An Ed25519 key that signs tokens, written as a private JSON Web Key (RFC 8037).
pub struct Signer {
    seed: Zeroizing<[u8; 32]>,
    id: String,
}

/// A private key in PKCS #8 is these bytes and its seed (RFC 8410, section 7).
const PKCS8_HEAD: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

impl Signer {
    /// One made of 32 random bytes. Its id is made of its public key, so that each key has another one.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        let id = protocol::hex::encode(&public(&seed)[..8]);
        Self { seed, id }
    }

    /// Reads what [`Signer::private`] has written.
    ///
    /// # Errors
    /// What is wrong with it, without repeating any of it.
    pub fn read(text: &str) -> Result<Self, &'static str> {
        let key: Value = serde_json::from_str(text).map_err(|_| "is no JSON")?;
        let word = |name: &str| key.get(name).and_then(Value::as_str);
        let seed = word("d").and_then(|d| URL_SAFE_NO_PAD.decode(d).ok()).map(Zeroizing::new);
        let seed = seed.and_then(|seed| <[u8; 32]>::try_from(&seed[..]).ok());
        match (word("crv"), seed, word("kid")) {
            (Some("Ed25519"), Some(seed), Some(id)) => {
                Ok(Self { seed: Zeroizing::new(seed), id: id.to_owned() })
            }
            _ => Err("is no private Ed25519 key with a \"kid\""),
        }
    }

    /// The private key, as a JSON Web Key.
    #[must_use]
    pub fn private(&self) -> Zeroizing<String> {
        let mut key = self.public_key();
        key["d"] = json!(URL_SAFE_NO_PAD.encode(*self.seed));
        Zeroizing::new(format!("{key:#}\n"))
    }

    /// A key set with the public key, for whoever verifies.
    #[must_use]
    pub fn key_set(&self) -> String {
        format!("{:#}\n", json!({ "keys": [self.public_key()] }))
    }

    fn public_key(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(public(&self.seed));
        json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": self.id, "x": x })
    }

    /// Signs a token.
    ///
    /// # Panics
    /// Never: the library signs with an Ed25519 key whatever is JSON.
    #[must_use]
    pub fn sign(&self, draft: &Draft) -> String {
        let mut der = Zeroizing::new(PKCS8_HEAD.to_vec());
        der.extend_from_slice(&*self.seed);
        let mut header = Header::new(Algorithm::EdDsa.into());
        header.kid = Some(self.id.clone());
        encode(&header, &draft.claims, &EncodingKey::from_ed_der(&der)).expect("the key is an Ed25519 key")
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("id", &self.id).finish_non_exhaustive()
    }
}

fn public(seed: &[u8; 32]) -> [u8; 32] {
    let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("any 32 bytes are a seed");
    pair.public_key().as_ref().try_into().expect("a public key has 32 bytes")
}
