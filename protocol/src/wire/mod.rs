//! Bytes and structs: what can be constructed can be encoded, and decoded again.

pub mod cursor;
mod field;
pub mod frame;
pub mod proto;
pub mod resume;
pub mod sequenced;
mod shown;
mod sink;
pub mod stream;
pub mod varint;
