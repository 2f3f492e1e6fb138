//! The client link: both ends of it.
//!
//! ```text
//!   client (ClientLink)                              gateway (ServerLink)
//!   ───────────────────                              ────────────────────
//!   Hailing   ── preamble, ticket, message 1 ──►     Hello
//!                                                    Hailed       gate passed; waits for its handshake budget
//!   Open      ◄──────────── message 2 ─────────      Greeting     keys are there, nothing else is
//!             ── with XX: message 3 ──────────►                   and before that Begun
//!             ── record: Auth, first requests ─►     Authenticating   further frames are held
//!   Live      ◄──────────── record: Welcome ───      Live
//!             ◄─────────────── records ────────►
//!   Closing   ── Close ─────────────────────────►    Closing      input is discarded until FIN or the linger bound
//! ```
//!
//! Both machines are driven by the same verbs: `receive` lends the frames of an [`Input`](crate::buffer::Input),
//! `seal` turns frames that were encoded into a batch into records, `deadline` says when `expire` wants to be
//! called. Every error is fatal to the link.

pub mod backoff;
pub mod client;
pub mod hello;
pub mod server;

pub use client::{ClientLink, Dial};
pub use hello::Acceptor;
pub use server::{Rules, ServerLink};

#[cfg(test)]
mod tests;
