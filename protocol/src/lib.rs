//! The wire of the access gateway, sans-IO: both ends of the client link and of the backend stream.
//!
//! Nothing here knows a socket, a clock, a thread or a source of randomness: bytes, time and random bytes come
//! in, events and bytes go out. The same code runs in the gateway, the SDKs, the load generator, the simulator
//! and the fuzzers. `SPEC.md` beside this crate is the normative text.

#![forbid(unsafe_code)]

pub mod buffer;
pub mod code;
pub mod error;
pub mod hex;
pub mod hidden;
pub mod limits;
pub mod link;
pub mod noise;
mod record;
pub mod stream;
pub mod time;
pub mod wire;

pub use code::{Cause, CloseCode, DeviceClass, Refusal, Undelivered};
pub use error::Error;
pub use time::{Time, UnixMillis};
