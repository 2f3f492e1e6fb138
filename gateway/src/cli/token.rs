//! `token`: what a client shows, for development and for tests.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::print::print;
use crate::config::{Auth, Checked, Config, Level, parse_span};
use crate::control::{Exit, tell};
use crate::tokens::{Draft, Flaw, Signer, Verifier, choose_cryptography};

/// What a signed token is to say.
#[derive(Debug, clap::Args)]
pub(super) struct Wanted {
    /// In "jwt" mode, the user that the token is about.
    #[arg(long)]
    user: Option<String>,
    /// In "jwt" mode, the private key to sign with, as `gateway keygen --tokens` writes it.
    #[arg(long)]
    sign_with: Option<PathBuf>,
    /// In "jwt" mode, for how long it is good.
    #[arg(long = "for", default_value = "1h", value_parser = span)]
    time: Duration,
    /// In "jwt" mode, one more claim: a name, = and its value, which is JSON or else a text.
    #[arg(long = "claim", value_parser = claim)]
    claims: Vec<(String, Value)>,
}

fn span(text: &str) -> Result<Duration, String> {
    parse_span(text).ok_or_else(|| "it is no time; write 90s, 30m, 1h or 7d".to_owned())
}

fn claim(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("write a name, = and a value")?;
    Ok((name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| json!(value))))
}

/// Prints the token.
pub(super) fn token(config: &Checked<Config>, wanted: &Wanted, now_ms: u64) -> Exit {
    let refused = |text: &str| {
        tell(Level::Error, text);
        Exit::Config
    };
    match (&config.auth, wanted) {
        (Auth::Development { token }, Wanted { user: None, sign_with: None, .. }) => {
            print(&format!("{}\n", token.text()))
        }
        (Auth::Development { .. }, _) => {
            refused("auth.mode is \"development\": its token is for all users, and nobody signs it")
        }
        (Auth::Delegated { .. }, _) => {
            refused("auth.mode is \"delegated\": tokens come from the backend that decides")
        }
        (Auth::Jwt { verifier, .. }, Wanted { user: Some(user), sign_with: Some(file), .. }) => {
            match sign(verifier, file, user, wanted, now_ms) {
                Ok(token) => print(&format!("{token}\n")),
                Err(wrong) => refused(&wrong),
            }
        }
        (Auth::Jwt { .. }, _) => refused(
            "auth.mode is \"jwt\": tokens come from whoever issues them; for a test, add --user NAME and \
             --sign-with FILE, a key that `gateway keygen --tokens FILE` has made",
        ),
    }
}

/// Signs a token that the gateway of this config would take, and says so if it would not.
fn sign(
    verifier: &Verifier,
    file: &Path,
    user: &str,
    wanted: &Wanted,
    now_ms: u64,
) -> Result<String, String> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| format!("{shown}: {error}"))?;
    let signer = Signer::read(&text).map_err(|wrong| format!("{shown} {wrong}"))?;
    choose_cryptography();
    let now = now_ms / 1000;
    let terms = verifier.terms();
    let mut claims = Map::new();
    claims.insert(terms.names.user.clone(), json!(user));
    claims.insert("iat".to_owned(), json!(now));
    claims.insert("exp".to_owned(), json!(now.saturating_add(wanted.time.as_secs())));
    claims.extend(terms.issuer.iter().map(|issuer| ("iss".to_owned(), json!(issuer))));
    claims.extend(terms.audience.first().map(|audience| ("aud".to_owned(), json!(audience))));
    claims.extend(wanted.claims.iter().cloned());
    let token = signer.sign(&Draft { claims });
    if let Err(flaw) = verifier.verify(token.as_bytes(), protocol::UnixMillis(now_ms)) {
        let fix = match flaw {
            Flaw::Lifetime => " (`token_lifetime_max` of [auth])",
            _ => "",
        };
        tell(Level::Warning, &format!("this gateway would refuse the token: {flaw}{fix}"));
    }
    Ok(token)
}
