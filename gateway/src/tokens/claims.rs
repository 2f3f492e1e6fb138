//! What a token says of its user.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use protocol::limits::LIMIT_CLASS_LEN_MAX;
use protocol::{DeviceClass, UnixMillis};
use serde_json::{Map, Value};

use super::Flaw;

/// What a good token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The user's id.
    pub user: Vec<u8>,
    /// The token's own id (`jti`), if it has one.
    pub id: Option<String>,
    /// When it was issued, if it says so.
    pub issued: Option<UnixMillis>,
    /// From when on it is good, if it says so.
    pub not_before: Option<UnixMillis>,
    /// Until when it is good here: its end, and what clocks may be off.
    pub expires: UnixMillis,
    /// The key whose owner alone may use it, if it is bound to one.
    pub binding: Option<Binding>,
    /// What the device is.
    pub class: DeviceClass,
    /// The class of the account, at most [`LIMIT_CLASS_LEN_MAX`] bytes; empty without one.
    pub limit_class: String,
}

/// Names of the claims that every issuer calls as it likes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The user's id.
    pub user: String,
    /// What the device is: a word of SPEC.md, section "Classes of devices", or its number.
    pub class: String,
    /// The class of the account.
    pub limit_class: String,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            user: "sub".to_owned(),
            class: "device_class".to_owned(),
            limit_class: "limit_class".to_owned(),
        }
    }
}

/// The key a token is bound to (`cnf`, RFC 7800).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// The client's static key, which it proves in an IK handshake.
    Static([u8; 32]),
    /// A key that signs for each handshake.
    Signing([u8; 32]),
}

impl Claims {
    /// Reads the claims of a token whose signature is good.
    pub(super) fn read(said: &Map<String, Value>, names: &Names) -> Result<Self, Flaw> {
        let user = said.get(&names.user).and_then(Value::as_str).ok_or(Flaw::Claims)?;
        Ok(Self {
            user: user.as_bytes().to_vec(),
            id: match said.get("jti") {
                None => None,
                Some(id) => Some(id.as_str().ok_or(Flaw::Claims)?.to_owned()),
            },
            issued: moment(said, "iat")?,
            not_before: moment(said, "nbf")?,
            expires: moment(said, "exp")?.ok_or(Flaw::Claims)?,
            binding: said.get("cnf").map(binding).transpose()?,
            class: said.get(&names.class).map_or(Ok(DeviceClass::Unknown), class)?,
            limit_class: said.get(&names.limit_class).map_or(Ok(String::new()), limit_class)?,
        })
    }
}

/// A time in seconds, which may have a fraction (RFC 7519, section 2).
fn moment(said: &Map<String, Value>, name: &str) -> Result<Option<UnixMillis>, Flaw> {
    let Some(value) = said.get(name) else { return Ok(None) };
    let millis = match (value.as_u64(), value.as_f64()) {
        (Some(seconds), _) => seconds.checked_mul(1000),
        (None, Some(seconds)) if (0.0..=SECONDS_MAX).contains(&seconds) => Some((seconds * 1000.0) as u64),
        _ => None,
    };
    millis.map(|millis| Some(UnixMillis(millis))).ok_or(Flaw::Claims)
}

/// A word or a number. One that is not known is of a later version, or of the issuer's own: some other device.
fn class(value: &Value) -> Result<DeviceClass, Flaw> {
    if let Some(word) = value.as_str() {
        let known = DeviceClass::ALL.iter().find(|class| class.name() == word);
        return Ok(known.copied().unwrap_or(DeviceClass::Other));
    }
    let number = value.as_u64().ok_or(Flaw::Claims)?;
    Ok(u32::try_from(number).map_or(DeviceClass::Other, DeviceClass::of))
}

fn limit_class(value: &Value) -> Result<String, Flaw> {
    let name = value.as_str().filter(|name| name.len() <= LIMIT_CLASS_LEN_MAX);
    name.map(str::to_owned).ok_or(Flaw::Claims)
}

/// More than anybody means, and few enough to be counted in milliseconds without loss.
const SECONDS_MAX: f64 = 1e12;

/// A token that is bound to something that is not understood here could be anybody's.
fn binding(cnf: &Value) -> Result<Binding, Flaw> {
    let jwk = cnf.get("jwk").ok_or(Flaw::Binding)?;
    let word = |name: &str| jwk.get(name).and_then(Value::as_str);
    let key = word("x").and_then(|x| URL_SAFE_NO_PAD.decode(x).ok()).and_then(|x| x.try_into().ok());
    match (word("kty"), word("crv"), key) {
        (Some("OKP"), Some("X25519"), Some(key)) => Ok(Binding::Static(key)),
        (Some("OKP"), Some("Ed25519"), Some(key)) => Ok(Binding::Signing(key)),
        _ => Err(Flaw::Binding),
    }
}
