//! The server: everything between a client's socket and a backend's stream.
#![forbid(unsafe_code)]

pub mod collections;
pub mod id;
pub mod upstream;
