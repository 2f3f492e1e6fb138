//! Cryptography of links and streams: suites, keys, the gate, the handshake, records, tickets. SPEC.md,
//! sections "Gate", "Handshake", "Records" and "Tickets", and what binds tokens and sessions to a link.
//!
//! ```text
//! hello ─► Gate::verify ─► (TicketKeys::open) ─► Responder::respond ─► Secrets ─► Transport ─► records
//!          one HMAC         one AEAD              curve work, one call             80 bytes are kept
//! ```
//!
//! Nothing here draws randomness or reads a clock: ephemeral keys, salts and times come in as arguments. Whatever
//! a peer sends ends in a value or an [`crate::Error`], never in a panic.
//!
//! Secret bytes of our own are wiped when dropped. What lives shorter than a call inside `ring` and `snow`
//! (expanded AEAD keys, the chaining key) is not wiped by them; it stays on the stack or heap until it is
//! overwritten, which is why the process should exclude its memory from core dumps.

pub mod binding;
pub(crate) mod exchange;
pub mod gate;
pub mod handshake;
pub mod keys;
pub mod preamble;
mod resolver;
pub mod resumption;
pub mod suite;
pub mod ticket;
pub mod transport;

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod vectors;

pub use binding::Bound;
pub use gate::Gate;
pub use handshake::{Initiator, Responder, Secrets, Unfinished, prologue};
pub use keys::{KeyId, NoKey, PublicKey, StaticKey};
pub use resumption::Resumption;
pub use suite::{CLEAR_SUITE, Cipher, Pattern, Suite, Suites};
pub use ticket::{Identity, TicketKeys};
pub use transport::{Opener, Sealer, Transport};
