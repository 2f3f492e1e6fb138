//! Bytes and structs: what can be constructed can be encoded, and decoded again.

pub mod cursor;
pub mod frame;
pub mod proto;
pub mod stream;
pub mod varint;
