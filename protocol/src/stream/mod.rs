//! The backend stream: both ends of it. SPEC.md, section "Streams to backends".
//!
//! ```text
//!   gateway (GatewayStream)                           backend (BackendStream)
//!   ───────────────────────                           ───────────────────────
//!   Hailing   ── preamble, key id, message 1 ──►      Hailed
//!             ◄──────────── message 2 ──────────                     (neither in clear mode)
//!   Greeting  ── record: Hello ────────────────►      Live
//!   Live      ◄──────────── record: Ready ──────
//!             ── requests, links, reports, pings ►
//!             ◄── responses, pushes, credit, pongs
//!   Closed    ◄──────────── Close ─────────────►      Closed
//! ```
//!
//! One stream carries the traffic of many links. Both machines are driven by the same verbs:
//!
//! ```text
//!   let mut input = stream.input(&mut chunk);
//!   while let Some(event) = stream.receive(&mut input, now)? { … stream.response(…) … }
//!   stream.keep(input);
//!   if stream.seal(&mut batch) { send(batch) }        one send in flight; meanwhile frames gather
//! ```
//!
//! Frames are lent from the chunk when the record lies in it, else from the stream's own buffer. Every input must be
//! read to its end. Nothing is allocated per message once the buffers have grown. Every error is fatal to the stream.

pub mod backend;
mod credit;
mod end;
mod ephemeral;
pub mod gateway;
mod hello;
mod records;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use backend::{BackendStream, ToBackend};
pub use ephemeral::Ephemeral;
pub use gateway::{GatewayStream, ToGateway};
pub use hello::{Access, Mode};

use crate::limits::{
    CREDIT_OVERHEAD, FRAME_LEN_CEILING, FRAME_LEN_MAX, HEARTBEAT_MAX, STREAM_FRAME_LEN_DEFAULT,
    STREAM_FRAME_LEN_MIN, STREAM_HEARTBEAT_DEFAULT, STREAM_HEARTBEAT_MIN,
};

/// What one end of a stream asks of the other, and grants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Params {
    /// Longest frame body this end takes.
    pub frame_len_max: usize,
    /// Payload this end lets the peer have under way, in bytes counted with
    /// [`credit_cost`](crate::wire::stream::credit_cost).
    pub window: u64,
    /// Time between two pings; said by the gateway, obeyed by the backend.
    pub heartbeat: Duration,
    /// Time from the socket's opening to the peer's first frame.
    pub handshake_deadline: Duration,
    /// Bytes that may wait to be sent before payload is turned away. At twice as many the peer counts as stalled.
    pub pending_bytes_max: usize,
}

/// Bound of the frames of a stream whose payloads clients may send in frames this long: what is added on the way fits.
#[must_use]
pub const fn frame_len_beside(link_frame_len_max: usize) -> usize {
    let longest = if link_frame_len_max > FRAME_LEN_MAX { link_frame_len_max } else { FRAME_LEN_MAX };
    let len = longest + STREAM_FRAME_LEN_MIN;
    if len < FRAME_LEN_CEILING { len } else { FRAME_LEN_CEILING }
}

impl Default for Params {
    fn default() -> Self {
        Self {
            frame_len_max: frame_len_beside(FRAME_LEN_MAX),
            window: 1024 * 1024,
            heartbeat: STREAM_HEARTBEAT_DEFAULT,
            handshake_deadline: Duration::from_secs(5),
            pending_bytes_max: 4 * 1024 * 1024,
        }
    }
}

impl Params {
    /// Whether the numbers fit each other.
    ///
    /// # Errors
    /// What does not, in words.
    pub const fn check(&self) -> Result<(), &'static str> {
        if self.frame_len_max < STREAM_FRAME_LEN_MIN || self.frame_len_max > FRAME_LEN_CEILING {
            return Err("frame_len_max of a stream must lie between 4 KiB and 1 MiB");
        }
        // Credit comes back from half a window on, so the longest frame must fit into the other half.
        if self.window < 2 * (self.frame_len_max as u64 + CREDIT_OVERHEAD) {
            return Err("the window of a stream must hold two of its longest frames");
        }
        if self.heartbeat.as_millis() < STREAM_HEARTBEAT_MIN.as_millis()
            || self.heartbeat.as_millis() > HEARTBEAT_MAX.as_millis()
        {
            return Err("the heartbeat of a stream must lie between 0.1 s and 1 h");
        }
        if self.pending_bytes_max < self.frame_len_max {
            return Err("pending_bytes_max of a stream must hold its longest frame");
        }
        Ok(())
    }

    /// Over this many pending bytes the peer counts as stalled.
    const fn overrun(&self) -> usize {
        2 * self.pending_bytes_max
    }
}

/// Why a payload frame was not taken. Nothing has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// The stream is not live yet, or not any more.
    NotLive,
    /// The peer has not granted enough credit; try again when more came.
    Credit,
    /// Too much waits to be sent; try again after the next send.
    Pending,
    /// The peer does not take frames of this length. Trying again will not help.
    TooLarge,
}

/// The first credit a peer grants, if it is enough for what the peer says it takes: its longest frame, while as much is
/// gathered to be given back. With less, one large frame would wait for ever, and all behind it.
fn first_credit(bytes: u64, frame_len_max: usize) -> Result<u64, crate::Error> {
    let least = 2 * (frame_len_max as u64 + CREDIT_OVERHEAD);
    if (least..credit::BALANCE_END).contains(&bytes) { Ok(bytes) } else { Err(crate::Error::Field("credit")) }
}

/// A frame bound as the peer announced it, if it can be one.
fn announced(frame_len_max: u32) -> Result<usize, crate::Error> {
    match frame_len_max as usize {
        0 => Ok(STREAM_FRAME_LEN_DEFAULT),
        len if len < STREAM_FRAME_LEN_MIN => Err(crate::Error::Field("frame_len_max")),
        len => Ok(len.min(FRAME_LEN_CEILING)),
    }
}
