//! Whether a token is good, and what it proves: one question, and three who answer it.
//!
//! * `provider` — the question, and those who answer it without work: the shared token of development, and whoever leaves it
//!   to a backend;
//! * `signed` — signed tokens, verified and remembered.

mod provider;
mod signed;

pub use provider::{Delegated, Development, Good, Opinion, Presented, Provider};
pub use signed::Signed;
