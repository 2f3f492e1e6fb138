//! The SDK of a native client: connect to a gateway, stay linked, send requests, take pushes.
//!
//! A thin Tokio shell around [`protocol::link::ClientLink`], which holds the rules; this crate adds a socket, a clock,
//! randomness and one task per client. It runs on current-thread and multi-thread runtimes.
//!
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod ask;
mod bound;
mod budget;
mod client;
mod clock;
mod config;
mod error;
mod keeper;
mod kept;
mod ledger;
mod link;
mod outbox;
mod pins;
mod push;
mod race;
mod receipts;
mod request;
mod resume;
mod seen;
mod shell;
mod state;
mod store;
mod tickets;
mod vault;
mod wishes;

pub use client::Client;
pub use config::{Binder, Config, Credentials, Occasion};
pub use error::{Closed, Error};
pub use pins::ServerKey;
pub use protocol;
pub use protocol::link::backoff::Backoff;
pub use push::{Push, Pushes};
pub use request::{Doubt, Outcome, Reason, Request};
pub use seen::{RecentIds, SeenIds};
pub use state::{Continuity, Session, State, Warning};
pub use store::{MemoryStore, Store};
pub use vault::FileStore;
