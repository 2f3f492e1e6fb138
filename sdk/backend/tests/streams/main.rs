//! A server and the gateway's end of its streams, over real sockets.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod crowd;
mod deliveries;
mod ordered;
mod peer;
mod pushes;
mod requests;
mod service;
mod stops;
