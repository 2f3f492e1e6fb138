//! Sockets as completions: one trait, several drivers, the only home of `unsafe` and of system calls.
//!
//! A [`Driver`] takes operations ([`Op`]) and gives completions back ([`Completion`]); nothing else crosses
//! the line. The worker on the other side knows no ring, no descriptor and no errno, so the same worker runs
//! over io_uring, over a fault injector and in the simulator.
//!
//! Three rules hold for every driver:
//!
//! 1. **Memory named in an operation comes back with its completion.** A [`Batch`] moves into [`Op::Send`] and
//!    returns in [`Completion::Sent`]; a [`Chunk`] is a handle into the driver's own pool, not cloneable, and is
//!    given back with [`Driver::recycle`] in the turn it arrived in.
//! 2. **Every token carries a generation.** It changes when a slot is closed, so a late completion can never be
//!    taken for one of the slot's next tenant.
//! 3. **Cancel, drain, close.** Nothing may be armed on a socket when [`Op::Close`] is submitted.

mod address;
mod blocked;
mod config;
mod doorbell;
mod fault;
pub mod limits;
pub mod memory;
mod ops;
mod pool;
pub mod probe;
pub mod signals;
pub mod sim;
mod socket;
pub mod thread;
mod uring;

pub use blocked::Blocked;
pub use config::Config;
pub use doorbell::{Doorbells, Waker};
pub use fault::{Fault, Injected, Plan};
pub use ops::{
    Armed, Batch, Completion, Counters, Driver, End, Endpoint, Errno, Full, Listener, Mode, Op, Peer, Sent,
    Token, Trust,
};
pub use pool::{Chunk, Pool, PoolSize};
pub use probe::{Report, probe};
pub use socket::{ListenOptions, listen, local_address, stop_listening};
pub use uring::{RingConfig, Uring};
