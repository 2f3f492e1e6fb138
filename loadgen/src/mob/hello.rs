//! The hellos of abusers: their own ones, and the one that was recorded.

use protocol::Time;
use protocol::link::ClientLink;

use super::settings::{Conduct, Settings};

/// Where the tag of a hello stands: behind the fixed part (SPEC.md, section "Preamble").
const TAG_AT: usize = 16;

/// A hello as anybody on the path could have recorded it; with another tag, if the conduct wants it so.
pub(super) fn record(settings: &Settings, ephemeral: [u8; 32]) -> Result<Vec<u8>, String> {
    let mut hello = Vec::new();
    dial(settings, ephemeral, Time::ZERO, &mut hello)?;
    if matches!(settings.conduct, Conduct::Replay { valid: false, .. }) {
        hello[TAG_AT] ^= 1;
    }
    Ok(hello)
}

/// A hello of one's own, appended to `out`.
pub(super) fn dial(
    settings: &Settings,
    ephemeral: [u8; 32],
    now: Time,
    out: &mut Vec<u8>,
) -> Result<ClientLink, String> {
    settings.opening.dial(None, ephemeral, now, out).map_err(|error| format!("hello: {error}"))
}
