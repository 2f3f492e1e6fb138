//! Who decides about tokens: what each mode needs, and what means nothing in it.

use std::path::Path;
use std::sync::Arc;

use super::tables::Tables;
use crate::config::problem::nearest;
use crate::config::section::Reader;
use crate::config::sections::{AuthKeys, AuthMode};
use crate::config::{Auth, DevelopmentToken, ReadFile, Secret};
use crate::tokens::Names;
use crate::tokens::{KeySet, Terms, Verifier};

/// Resolves and checks the mode. `server` is the key that the development token is made of.
pub(super) fn auth(
    reader: &mut Reader<'_>,
    tables: &Tables,
    server: Option<&Secret>,
    read: ReadFile<'_>,
) -> Option<Auth> {
    let keys = &tables.auth;
    let foreign = foreign(keys);
    for (key, means) in &foreign {
        let fix = format!("remove `{key}`, or set mode = \"{means}\"");
        let reason = format!("has no meaning in \"{}\" mode", keys.mode.word());
        reader.error(&format!("auth.{key}"), reason, fix);
    }
    let auth = match keys.mode {
        AuthMode::Development => {
            server.map(|server| Auth::Development { token: DevelopmentToken::new(server) })
        }
        AuthMode::Delegated => delegated(reader, tables),
        AuthMode::Jwt => jwt(reader, keys, read),
    };
    auth.filter(|_| foreign.is_empty())
}

/// Keys that are given and belong to another mode, and to which.
fn foreign(keys: &AuthKeys) -> Vec<(&'static str, &'static str)> {
    let given = [
        ("route", AuthMode::Delegated, keys.route.is_some()),
        ("keys", AuthMode::Jwt, keys.keys.is_some()),
        ("issuer", AuthMode::Jwt, keys.issuer.is_some()),
        ("audience", AuthMode::Jwt, !keys.audience.is_empty()),
    ];
    let foreign = given.into_iter().filter(|(_, mode, is_given)| *is_given && *mode != keys.mode);
    foreign.map(|(key, mode, _)| (key, mode.word())).collect()
}

fn delegated(reader: &mut Reader<'_>, tables: &Tables) -> Option<Auth> {
    let keys = &tables.auth;
    let Some(route) = &keys.route else {
        let fix = "add `route`: the name of the [[route]] whose backends decide".to_owned();
        reader.error("auth.mode", "\"delegated\" needs a route".to_owned(), fix);
        return None;
    };
    let known = || tables.routes.iter().map(|route| route.name.as_str());
    if known().any(|name| name == route) {
        let (deadline, in_flight_max) = (keys.deadline, keys.in_flight_max);
        return Some(Auth::Delegated { route: route.clone(), deadline, in_flight_max });
    }
    let fix = match nearest(route, known()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("add a [[route]] with name = \"{route}\""),
    };
    reader.error("auth.route", format!("no route is called \"{route}\""), fix);
    None
}

fn jwt(reader: &mut Reader<'_>, keys: &AuthKeys, read: ReadFile<'_>) -> Option<Auth> {
    let Some(path) = &keys.keys else {
        let fix = "add `keys = \"FILE\"`: a JSON Web Key Set with the public keys of whoever issues tokens"
            .to_owned();
        reader.error("auth.mode", "\"jwt\" needs keys".to_owned(), fix);
        return None;
    };
    match key_set(path, read) {
        Ok(set) => {
            let terms = Terms {
                issuer: keys.issuer.clone(),
                audience: keys.audience.clone(),
                skew: keys.skew,
                lifetime_max: keys.token_lifetime_max,
                names: Names {
                    user: keys.user_claim.clone(),
                    class: keys.device_class_claim.clone(),
                    limit_class: keys.limit_class_claim.clone(),
                },
            };
            let verifier = Arc::new(Verifier::new(set, terms));
            let (in_flight_max, remembered) = (keys.in_flight_max, keys.remembered);
            Some(Auth::Jwt { verifier, keys: path.clone(), in_flight_max, remembered })
        }
        Err(wrong) => {
            let fix =
                "name a JSON Web Key Set; for tests `gateway keygen --tokens FILE` makes one".to_owned();
            reader.error("auth.keys", format!("{}: {wrong}", path.display()), fix);
            None
        }
    }
}

fn key_set(path: &Path, read: ReadFile<'_>) -> Result<KeySet, String> {
    let text = read(path).map_err(|error| error.to_string())?;
    KeySet::read(&text)
}
