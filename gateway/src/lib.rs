//! The access gateway: many encrypted client links in, few streams to the backends out.
//!
//! Layers, each importing only from those below it: cli, doctor · control · worker · upstream, directory, session,
//! identity, admission · config · tokens · address, collections, id, clock, counters, rate,
//! proxy_header. Only `clock` reads a clock, only `control` and `worker` name a
//! thread, and only `worker` uses a driver's operations.

#![forbid(unsafe_code)]

pub mod address;
pub mod admission;
pub mod answers;
pub mod calendar;
pub mod cli;
pub mod clock;
pub mod collections;
pub mod config;
pub mod control;
pub mod counters;
pub mod delivery;
pub mod directory;
pub mod doctor;
pub mod id;
pub mod identity;
pub mod proxy_header;
pub mod rate;
pub mod session;
pub mod tokens;
pub mod upstream;
pub mod worker;
