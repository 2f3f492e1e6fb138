//! Whether a token may be shown to somebody who has proved nothing. SPEC.md, section 4.4.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use protocol::noise::PublicKey;
use serde_json::Value;

/// Whether a token is worth nothing to anybody but the owner of a key: a JSON Web Token is if its `cnf.jwk` names that key. Of
/// other tokens nothing can be said here. The signature is not looked at: that is for whoever lets the client in.
pub(crate) fn may_be_shown(token: &[u8], own: &PublicKey) -> bool {
    let Some(claims) = claims(token) else { return true };
    let jwk = &claims["cnf"]["jwk"];
    let named = jwk["x"].as_str().and_then(|x| URL_SAFE_NO_PAD.decode(x).ok());
    jwk["kty"] == "OKP" && jwk["crv"] == "X25519" && named.is_some_and(|named| named == own.0)
}

/// The claims of a JSON Web Token, if it is one: three parts, of which the first two are objects.
fn claims(token: &[u8]) -> Option<Value> {
    let mut parts = std::str::from_utf8(token).ok()?.split('.');
    let mut object = || {
        let bytes = URL_SAFE_NO_PAD.decode(parts.next()?).ok()?;
        serde_json::from_slice(&bytes).ok().filter(Value::is_object)
    };
    let (_header, claims) = (object()?, object()?);
    (parts.count() == 1).then_some(claims)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn token(claims: &Value) -> Vec<u8> {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.c2lnbmF0dXJl", part(&json!({ "alg": "EdDSA" })), part(claims)).into_bytes()
    }

    fn bound(curve: &str, key: [u8; 32]) -> Vec<u8> {
        let x = URL_SAFE_NO_PAD.encode(key);
        token(&json!({ "sub": "alice", "cnf": { "jwk": { "kty": "OKP", "crv": curve, "x": x } } }))
    }

    #[test]
    fn a_web_token_is_shown_if_it_names_the_key_and_only_then() {
        let own = PublicKey([7; 32]);
        assert!(may_be_shown(&bound("X25519", [7; 32]), &own));
        let others = [
            bound("X25519", [8; 32]),
            bound("Ed25519", [7; 32]),
            token(&json!({ "sub": "alice" })),
            token(&json!({ "cnf": { "jkt": "thumbprint" } })),
            token(&json!({ "cnf": { "jwk": { "kty": "OKP", "crv": "X25519", "x": "***" } } })),
        ];
        for other in others {
            assert!(!may_be_shown(&other, &own), "{}", String::from_utf8_lossy(&other));
        }
    }

    #[test]
    fn of_other_tokens_nothing_can_be_said() {
        for opaque in [&b"secret"[..], b"", b"a.b.c", b"e30.e30", b"e30.W10.x", b"\xff.\xff.\xff"] {
            assert!(may_be_shown(opaque, &PublicKey([7; 32])));
        }
    }
}
