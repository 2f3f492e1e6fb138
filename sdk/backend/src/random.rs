//! Randomness of the operating system.

use std::io;

use protocol::stream::Ephemeral;

pub(crate) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// What one handshake needs, which nobody else may ever see.
pub(crate) fn ephemeral() -> io::Result<Ephemeral> {
    Ephemeral::fill(|place| getrandom::fill(place).map_err(io::Error::other))
}
