//! Virtual sockets: a network in one piece of memory, driven by a seed.
//!
//! A [`Net`] holds listeners and links. Workers reach it through a [`SimDriver`] each; clients and backends of the
//! simulation through a [`Socket`] or a [`Backlog`]. Nothing moves by itself: [`Net::step`] carries a random share of
//! what is under way a random number of bytes on, so that every split and every coalescing comes up. Links overtake
//! each other, bytes of one link never do. The same seed and the same calls give the same run, which
//! [`Net::fingerprint`] proves.
//!
//! ```text
//!  write ──► waiting (send buffer) ──Net::step──► arrived (receive buffer) ──► read
//!                            FIN and RST travel the same way
//! ```
//!
//! [`Faults`] are what a kernel and a network may do within the rules of [`Driver`](crate::Driver). Breaches of these
//! rules by the worker are panics that begin with `contract broken`.

mod driver;
mod faults;
mod links;
mod net;
mod pipe;
mod pool;
mod rng;
mod slots;
mod socket;
#[cfg(test)]
mod tests;
mod world;

pub use driver::{Config, SimDriver};
pub use faults::{Faults, Rate};
pub use net::Net;
pub use pipe::Buffers;
pub use rng::Rng;
pub use socket::{Backlog, Socket, State};
pub use world::Audit;
