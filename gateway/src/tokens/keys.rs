//! The keys that tokens are signed with: a JSON Web Key Set (RFC 7517), of which each key is for one algorithm.

use std::fmt;
use std::time::Duration;

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk};
use serde_json::Value;

/// How tokens may be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519 (RFC 8037).
    EdDsa,
    /// ECDSA with P-256 and SHA-256.
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// HMAC with SHA-256: whoever verifies can also sign.
    Hs256,
}

impl Algorithm {
    /// What it costs to verify a token of a few hundred bytes, about (`cargo bench -p benches --bench tokens`).
    #[must_use]
    pub const fn cost(self) -> Duration {
        Duration::from_micros(match self {
            Self::EdDsa => 85,
            Self::Es256 => 105,
            Self::Rs256 => 40,
            Self::Hs256 => 6,
        })
    }

    /// Whether a token's header names it.
    pub(super) fn is(self, named: jsonwebtoken::Algorithm) -> bool {
        jsonwebtoken::Algorithm::from(self) == named
    }
}

impl From<Algorithm> for jsonwebtoken::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::EdDsa => Self::EdDSA,
            Algorithm::Es256 => Self::ES256,
            Algorithm::Rs256 => Self::RS256,
            Algorithm::Hs256 => Self::HS256,
        }
    }
}

/// One key.
#[derive(Clone)]
pub(super) struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    decoding: DecodingKey,
}

impl Key {
    pub(super) const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(super) const fn decoding(&self) -> &DecodingKey {
        &self.decoding
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// All keys, found by their ids. Never empty.
#[derive(Clone, Debug)]
pub struct KeySet(Vec<Key>);

/// Keys of a set at most.
const KEYS_MAX: usize = 64;
/// The shortest secret of an HMAC and the shortest modulus of RSA, in bytes (RFC 7518, sections 3.2 and 3.3).
const HMAC_LEN_MIN: usize = 32;
const RSA_LEN_MIN: usize = 256;

impl KeySet {
    /// Reads a set. Keys for encryption, and of kinds that are not served here, are left out.
    ///
    /// # Errors
    /// What is wrong with it, without repeating any of it.
    pub fn read(text: &str) -> Result<Self, String> {
        let set: Value = serde_json::from_str(text)
            .map_err(|error| format!("is no JSON: line {}, column {}", error.line(), error.column()))?;
        let listed = set.get("keys").and_then(Value::as_array);
        let Some(listed) = listed else { return Err("has no list \"keys\"".to_owned()) };
        if listed.len() > KEYS_MAX {
            return Err(format!("has {} keys, and {KEYS_MAX} are possible", listed.len()));
        }
        let mut keys: Vec<Key> = Vec::new();
        for (at, value) in listed.iter().enumerate() {
            let read = read_key(value).map_err(|wrong| format!("key {} {wrong}", at + 1))?;
            let Some(key) = read else { continue };
            if keys.iter().any(|other| other.id == key.id) {
                return Err(format!("key {} has the \"kid\" of an earlier one", at + 1));
            }
            keys.push(key);
        }
        if keys.is_empty() {
            return Err("has no key that tokens could be verified with".to_owned());
        }
        if keys.len() > 1 && keys.iter().any(|key| key.id.is_none()) {
            return Err("has several keys, and one of them has no \"kid\"".to_owned());
        }
        Ok(Self(keys))
    }

    /// The key with this id. A token without one may be verified where there is only one key.
    pub(super) fn find(&self, id: Option<&str>) -> Option<&Key> {
        match (id, &self.0[..]) {
            (None, [only]) => Some(only),
            (None, _) => None,
            (Some(id), keys) => keys.iter().find(|key| key.id.as_deref().is_none_or(|its| its == id)),
        }
    }

    /// How many there are.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is at least one")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// One key of the list, if it is for tokens.
fn read_key(value: &Value) -> Result<Option<Key>, &'static str> {
    let jwk: Jwk = serde_json::from_value(value.clone()).map_err(|_| "is none that can be read")?;
    let word = |name: &str| value.get(name).and_then(Value::as_str);
    if word("use").is_some_and(|its| its != "sig") {
        return Ok(None);
    }
    let Some(algorithm) = algorithm(&jwk.algorithm, word("alg"))? else { return Ok(None) };
    let decoding = DecodingKey::from_jwk(&jwk).map_err(|_| "has a value that is no base64url")?;
    check_length(&jwk, &decoding)?;
    Ok(Some(Key { id: word("kid").map(str::to_owned), algorithm, decoding }))
}

/// What a key is for: what it says, if that fits its kind, or what its kind is for. A secret has to say it.
fn algorithm(kind: &AlgorithmParameters, said: Option<&str>) -> Result<Option<Algorithm>, &'static str> {
    let of_kind = match kind {
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => Algorithm::EdDsa,
        AlgorithmParameters::EllipticCurve(point) if point.curve == EllipticCurve::P256 => Algorithm::Es256,
        AlgorithmParameters::RSA(_) => Algorithm::Rs256,
        AlgorithmParameters::OctetKey(_) if said.is_none() => {
            return Err("is a secret without \"alg\": write \"alg\": \"HS256\" if that is what it is for");
        }
        AlgorithmParameters::OctetKey(_) => Algorithm::Hs256,
        _ => return Ok(None),
    };
    let said = match said {
        None => return Ok(Some(of_kind)),
        Some("EdDSA") => Algorithm::EdDsa,
        Some("ES256") => Algorithm::Es256,
        Some("RS256") => Algorithm::Rs256,
        Some("HS256") => Algorithm::Hs256,
        Some(_) => return Ok(None),
    };
    if said == of_kind { Ok(Some(said)) } else { Err("has an \"alg\" that is none of its kind") }
}

fn check_length(jwk: &Jwk, decoding: &DecodingKey) -> Result<(), &'static str> {
    let len = decoding.try_get_as_bytes().map_or(0, <[u8]>::len);
    match &jwk.algorithm {
        AlgorithmParameters::OctetKeyPair(_) if len != 32 => {
            Err("is an Ed25519 key of another length than 32 bytes")
        }
        AlgorithmParameters::EllipticCurve(_) if len != 65 => {
            Err("is a P-256 key of another length than 2 × 32 bytes")
        }
        AlgorithmParameters::OctetKey(_) if len < HMAC_LEN_MIN => Err("is a secret of less than 32 bytes"),
        // Four letters for three bytes.
        AlgorithmParameters::RSA(rsa) if rsa.n.len() * 3 / 4 < RSA_LEN_MIN => {
            Err("is an RSA key of less than 2048 bits")
        }
        _ => Ok(()),
    }
}
