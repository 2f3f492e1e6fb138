//! Signed tokens, for a gateway that verifies them by itself: each link shows one of its own, and is another user.
//!
//! None is shown twice, so that the gateway finds none of them in its memory. As many as are to be kept are signed before the load
//! begins; any more are signed when they are needed, and counted.

use std::collections::VecDeque;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use ring::signature::Ed25519KeyPair;
use serde_json::{Map, Value, json};

/// What signs tokens, and what they say.
#[derive(Clone, Debug, Default, Args)]
pub struct Signing {
    /// Show a signed token with each login, each time another one and of another user: this is the private Ed25519 key to sign
    /// with, as `gateway keygen --tokens` writes it. For a gateway in "jwt" mode that has the key in its set.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["token", "token_file"])]
    pub token_key: Option<PathBuf>,
    /// Who these tokens say has issued them (`iss`).
    #[arg(long, requires = "token_key")]
    pub issuer: Option<String>,
    /// For whom they say they are (`aud`).
    #[arg(long, requires = "token_key")]
    pub audience: Option<String>,
    /// Id of the key (`kid`), instead of the one in its file.
    #[arg(long, requires = "token_key")]
    pub kid: Option<String>,
}

impl Signing {
    /// What signs, if tokens are to be signed, in a run with this number; `now` in seconds of Unix time.
    ///
    /// # Errors
    /// One line that names the file and what is wrong with it, without repeating any of it.
    pub fn signer(&self, run: u32, now: u64) -> Result<Option<Signer>, String> {
        let Some(path) = &self.token_key else { return Ok(None) };
        let told = |wrong: &str| {
            format!("--token-key {}: {wrong}; `gateway keygen --tokens FILE` makes one", path.display())
        };
        let text = read(path).map_err(|error| told(&error))?;
        let (pair, id) = parse(&text).map_err(told)?;
        let mut claims = Map::new();
        claims.insert("iat".to_owned(), json!(now));
        claims.insert("exp".to_owned(), json!(now.saturating_add(LIFE)));
        claims.extend(self.issuer.iter().map(|issuer| ("iss".to_owned(), json!(issuer))));
        claims.extend(self.audience.iter().map(|audience| ("aud".to_owned(), json!(audience))));
        let id = self.kid.as_ref().unwrap_or(&id);
        let head = json!({ "alg": "EdDSA", "typ": "JWT", "kid": id }).to_string();
        Ok(Some(Signer { pair, head: URL_SAFE_NO_PAD.encode(head), claims, run }))
    }
}

/// Seconds for which a token is good: as long as a gateway takes by default, and no run lasts longer.
const LIFE: u64 = 24 * 3600;

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

/// A private key as a JSON Web Key (RFC 8037), and its id.
fn parse(text: &str) -> Result<(Ed25519KeyPair, String), &'static str> {
    let key: Value = serde_json::from_str(text).map_err(|_| "it is no JSON")?;
    let word = |name: &str| key.get(name).and_then(Value::as_str);
    let seed = word("d").and_then(|d| URL_SAFE_NO_PAD.decode(d).ok());
    let pair = seed.and_then(|seed| Ed25519KeyPair::from_seed_unchecked(&seed).ok());
    match (word("crv"), pair, word("kid")) {
        (Some("Ed25519"), Some(pair), Some(id)) => Ok((pair, id.to_owned())),
        _ => Err("it is no private Ed25519 key with a \"kid\""),
    }
}

/// Signs tokens with EdDSA (RFC 8037).
pub struct Signer {
    pair: Ed25519KeyPair,
    /// The header, as it stands in every token.
    head: String,
    /// What every token says.
    claims: Map<String, Value>,
    /// What tells its tokens from those of other runs, of which one may have begun in the same second: signatures of the same words
    /// are the same.
    run: u32,
}

impl Signer {
    /// A token of this user.
    #[must_use]
    pub fn sign(&self, user: &str) -> Vec<u8> {
        let mut claims = self.claims.clone();
        claims.insert("sub".to_owned(), json!(user));
        claims.insert("jti".to_owned(), json!(format!("{:08x}.{user}", self.run)));
        let mut token = format!("{}.{}", self.head, URL_SAFE_NO_PAD.encode(Value::from(claims).to_string()));
        let signature = self.pair.sign(token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        token.into_bytes()
    }
}

/// Without the key.
impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("claims", &self.claims).finish_non_exhaustive()
    }
}

/// The tokens of one fleet.
#[derive(Clone)]
pub struct Tokens {
    signer: Arc<Signer>,
    /// What tells its users from those of other fleets.
    fleet: u32,
    /// How many were signed.
    signed: u64,
    kept: VecDeque<Vec<u8>>,
}

impl Tokens {
    /// Those of a fleet with this number, which no other one of the run has: `keep` are signed now, some 350 bytes each.
    #[must_use]
    pub fn new(signer: Arc<Signer>, fleet: u32, keep: u64) -> Self {
        let mut tokens = Self { signer, fleet, signed: 0, kept: VecDeque::new() };
        tokens.kept = (0..keep).map(|_| tokens.sign()).collect();
        tokens
    }

    fn sign(&mut self) -> Vec<u8> {
        let user = format!("u{}.{}", self.fleet, self.signed);
        self.signed += 1;
        self.signer.sign(&user)
    }

    /// One that was not shown yet, and whether it was kept: else it was signed just now.
    pub fn take(&mut self) -> (Vec<u8>, bool) {
        match self.kept.pop_front() {
            Some(token) => (token, true),
            None => (self.sign(), false),
        }
    }
}

/// Without what is in them.
impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fleet, signed, kept, .. } = self;
        write!(f, "Tokens({fleet}, {signed} signed, {} kept)", kept.len())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use ring::signature::{ED25519, KeyPair as _, UnparsedPublicKey};

    use super::*;

    fn key(name: &str, text: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("loadgen-key-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        path
    }

    fn jwk() -> String {
        let d = URL_SAFE_NO_PAD.encode([7; 32]);
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": "one", "d": d }).to_string()
    }

    /// Header and claims of a token with a good signature.
    fn opened(signer: &Signer, token: &[u8]) -> [Value; 2] {
        let text = std::str::from_utf8(token).unwrap();
        let (said, signature) = text.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let public = UnparsedPublicKey::new(&ED25519, signer.pair.public_key().as_ref().to_vec());
        public.verify(said.as_bytes(), &signature).unwrap();
        let (head, claims) = said.split_once('.').unwrap();
        [head, claims].map(|part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap())
    }

    #[test]
    fn a_token_is_signed_and_says_what_it_was_told_to() {
        let path = key("good", &jwk());
        let mut signing = Signing { token_key: Some(path.clone()), ..Signing::default() };
        let signer = signing.signer(0xbeef, 1000).unwrap().unwrap();
        let [head, claims] = opened(&signer, &signer.sign("u7.1"));
        assert_eq!(head, json!({ "alg": "EdDSA", "typ": "JWT", "kid": "one" }));
        assert_eq!(claims, json!({ "sub": "u7.1", "jti": "0000beef.u7.1", "iat": 1000, "exp": 87_400 }));
        signing.issuer = Some("login.example".to_owned());
        (signing.audience, signing.kid) = (Some("chat".to_owned()), Some("\"two\"".to_owned()));
        let signer = signing.signer(0xbeef, 1000).unwrap().unwrap();
        let [head, claims] = opened(&signer, &signer.sign("u"));
        assert_eq!(head["kid"], "\"two\"");
        assert_eq!((&claims["iss"], &claims["aud"]), (&json!("login.example"), &json!("chat")));
        let next = signing.signer(0xbef0, 1000).unwrap().unwrap();
        assert_ne!(signer.sign("u"), next.sign("u"), "each run has its own");
        assert!(Signing::default().signer(1, 1000).unwrap().is_none());
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn what_is_no_key_is_told_with_how_to_make_one_and_not_repeated() {
        let public = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "one", "x": "secret" }).to_string();
        let other = jwk().replace("Ed25519", "X25519");
        for (name, text) in [("text", "secret"), ("public", &public), ("curve", &other)] {
            let path = key(name, text);
            let wrong =
                Signing { token_key: Some(path.clone()), ..Signing::default() }.signer(1, 0).unwrap_err();
            assert!(wrong.contains("gateway keygen --tokens") && !wrong.contains("secret"), "{wrong}");
            std::fs::remove_file(path).unwrap();
        }
        let missing = Signing { token_key: Some("/nowhere/key".into()), ..Signing::default() };
        assert!(missing.signer(1, 0).unwrap_err().starts_with("--token-key /nowhere/key: "));
    }

    #[test]
    fn no_token_is_shown_twice_and_those_that_were_not_kept_are_told_apart() {
        let path = key("many", &jwk());
        let signing = Signing { token_key: Some(path.clone()), ..Signing::default() };
        let signer = Arc::new(signing.signer(0xbeef, 1000).unwrap().unwrap());
        let mut fleets = [0, 50].map(|fleet| Tokens::new(Arc::clone(&signer), fleet, 3));
        let taken: Vec<_> =
            fleets.iter_mut().flat_map(|tokens| (0..5).map(|_| tokens.take()).collect::<Vec<_>>()).collect();
        let kept = |of: &[(Vec<u8>, bool)]| of.iter().map(|(_, kept)| *kept).collect::<Vec<_>>();
        assert_eq!(kept(&taken[..5]), [true, true, true, false, false]);
        let users: HashSet<_> = taken
            .iter()
            .map(|(token, _)| opened(&signer, token)[1]["sub"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(users.len(), 10);
        assert_eq!(format!("{:?}", fleets[1]), "Tokens(50, 5 signed, 0 kept)");
        std::fs::remove_file(path).unwrap();
    }
}
