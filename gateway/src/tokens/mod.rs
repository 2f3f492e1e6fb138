//! Signed tokens that say who a client is: JSON Web Tokens (RFC 7519), verified against a set of keys (RFC 7517).
//!
//! * `keys` — the set, each key with the one algorithm it is for;
//! * `claims` — what a token says, and what its owner has to prove besides;
//! * `mint` — a token for tests.
//!
//! Signatures and encodings are the library's; what a token must say, and when it is good, is decided here, on a time that comes
//! in: the library would read a clock.

mod claims;
mod keys;
mod mint;

use std::collections::HashSet;
use std::time::Duration;

use jsonwebtoken::crypto::aws_lc;
use jsonwebtoken::{Validation, decode, decode_header};
use protocol::UnixMillis;
use protocol::limits::ID_LEN_MAX;
use serde_json::{Map, Value};

pub use self::claims::{Binding, Claims, Names};
pub use self::keys::{Algorithm, KeySet};
pub use self::mint::{Draft, Signer};
pub use crate::counters::flaw::Flaw;

/// What a token must say besides who it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Who must have issued it; anybody if that is not said.
    pub issuer: Option<String>,
    /// For whom it must be, one of these; for nobody in particular if there are none.
    pub audience: Vec<String>,
    /// How far the clocks of whoever issues tokens may be off.
    pub skew: Duration,
    /// The longest that one may be good from when it was issued.
    pub lifetime_max: Duration,
    /// Name of the claim that is the user's id.
    pub names: Names,
}

/// Verifies tokens.
#[derive(Clone, Debug)]
pub struct Verifier {
    keys: KeySet,
    terms: Terms,
}

/// Chooses the cryptography that tokens are verified with. To be called once, before the first token; again, it changes
/// nothing.
pub fn choose_cryptography() {
    // Refused where it was chosen before, by this very function.
    let _chosen = aws_lc::DEFAULT_PROVIDER.install_default();
}

/// Longest token: that of an `Auth` (SPEC.md, section 9).
const TOKEN_LEN_MAX: usize = 3584;

impl Verifier {
    /// One that knows these keys.
    #[must_use]
    pub const fn new(keys: KeySet, terms: Terms) -> Self {
        Self { keys, terms }
    }

    /// The same with other keys.
    #[must_use]
    pub fn with_keys(&self, keys: KeySet) -> Self {
        Self { keys, terms: self.terms.clone() }
    }

    /// The keys.
    #[must_use]
    pub const fn keys(&self) -> &KeySet {
        &self.keys
    }

    /// What a token must say.
    #[must_use]
    pub const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// What the signature of a token costs to verify, if there is a key for it; what needs none is told at once.
    ///
    /// # Errors
    /// [`Flaw::Form`], [`Flaw::Critical`], [`Flaw::Key`] and [`Flaw::Algorithm`].
    pub fn cost(&self, token: &[u8]) -> Result<Duration, Flaw> {
        self.select(token).map(|key| key.algorithm().cost())
    }

    fn select(&self, token: &[u8]) -> Result<&keys::Key, Flaw> {
        if token.len() > TOKEN_LEN_MAX {
            return Err(Flaw::Form);
        }
        let header = decode_header(token).map_err(|_| Flaw::Form)?;
        // Nothing is understood here that a header could demand (RFC 7515, section 4.1.11).
        if header.crit.is_some() {
            return Err(Flaw::Critical);
        }
        let key = self.keys.find(header.kid.as_deref()).ok_or(Flaw::Key)?;
        // A key is for one algorithm: else a public key could be taken for the secret of an HMAC.
        if !key.algorithm().is(header.alg) {
            return Err(Flaw::Algorithm);
        }
        Ok(key)
    }

    /// What a token says, if it is good now.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn verify(&self, token: &[u8], now: UnixMillis) -> Result<Claims, Flaw> {
        let key = self.select(token)?;
        let said = decode::<Map<String, Value>>(token, key.decoding(), &self.validation(key.algorithm()));
        let said = said.map_err(|error| flaw(error.kind()))?.claims;
        let mut claims = Claims::read(&said, &self.terms.names)?;
        let skew = u64::try_from(self.terms.skew.as_millis()).unwrap_or(u64::MAX);
        let latest = UnixMillis(now.0.saturating_add(skew));
        if claims.not_before.max(claims.issued).is_some_and(|begin| begin > latest) {
            return Err(Flaw::Early);
        }
        let end = claims.expires;
        claims.expires = UnixMillis(end.0.saturating_add(skew));
        if claims.expires <= now {
            return Err(Flaw::Expired);
        }
        // What is revoked is not remembered for longer. Of a token that does not say since when it is good, this look at it counts.
        let begin = claims.issued.or(claims.not_before).map_or(now, |begin| begin.min(now));
        let most = u64::try_from(self.terms.lifetime_max.as_millis()).unwrap_or(u64::MAX);
        if end.0.saturating_sub(begin.0) > most {
            return Err(Flaw::Lifetime);
        }
        if claims.user.is_empty() || claims.user.len() > ID_LEN_MAX {
            return Err(Flaw::Claims);
        }
        Ok(claims)
    }

    /// What the library checks. Of issuer and audience it believes a token that does not name any, unless they are required.
    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm.into());
        (validation.validate_exp, validation.validate_nbf) = (false, false);
        validation.required_spec_claims = HashSet::new();
        if let Some(issuer) = &self.terms.issuer {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        if !self.terms.audience.is_empty() {
            validation.set_audience(&self.terms.audience);
            validation.required_spec_claims.insert("aud".to_owned());
        }
        validation
    }
}

fn flaw(kind: &jsonwebtoken::errors::ErrorKind) -> Flaw {
    use jsonwebtoken::errors::ErrorKind;
    match kind {
        ErrorKind::InvalidSignature => Flaw::Signature,
        ErrorKind::InvalidIssuer | ErrorKind::InvalidAudience | ErrorKind::MissingRequiredClaim(_) => {
            Flaw::Terms
        }
        ErrorKind::InvalidAlgorithm => Flaw::Algorithm,
        _ => Flaw::Form,
    }
}

#[cfg(test)]
mod tests;
