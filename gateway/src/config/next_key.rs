//! Keys a gateway will have.

use protocol::UnixMillis;
use protocol::noise::PublicKey;

/// Clients keep eight keys of a gateway, this one among them.
pub const NEXT_KEYS_MAX: usize = 4;

/// A key this gateway will have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextKey {
    /// The public key.
    pub key: PublicKey,
    /// From when on it may be used.
    pub not_before: UnixMillis,
}
