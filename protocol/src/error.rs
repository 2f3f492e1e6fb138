//! The peer broke a rule. Every error is fatal to its link or stream; none is recoverable.

use std::fmt;

use crate::code::CloseCode;

/// Which rule the peer broke. Carries numbers, never payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The first bytes are not this protocol's.
    Magic,
    /// The preamble's version byte is zero, its ticket is longer than allowed or not fitting its suite, or it does not offer
    /// what it uses.
    Preamble,
    /// The gate tag does not match.
    Gate,
    /// No common version.
    Version,
    /// No common suite, or one this listener does not allow.
    Suite,
    /// The hello names a server key that is no longer served.
    RetiredKey,
    /// A handshake message has the wrong length.
    HandshakeLength(usize),
    /// A handshake message did not open. Which part failed is not told.
    Handshake,
    /// No key opens the ticket, its time is over, or it is worth nothing on this listener.
    Ticket,
    /// The peer's message 1 was seen before.
    Replay,
    /// The server offered a better common choice than the one in use (downgrade).
    Downgrade,
    /// The server answered a hello with the clear reply. It is only a hint.
    Rejected(u8),
    /// Bytes came when the peer could not yet have anything to say.
    Early,
    /// A record's length is zero or leaves no plaintext.
    RecordEmpty,
    /// A record is longer than allowed here.
    RecordLength(usize),
    /// A record did not open.
    Record,
    /// A frame is longer than allowed here.
    FrameLength(usize),
    /// A frame's length is zero.
    FrameEmpty,
    /// A frame's encoding is broken.
    FrameEncoding,
    /// A field is too long, too short or missing. Carries the field's name.
    Field(&'static str),
    /// A frame that is not allowed in this state or direction. Carries the frame's name.
    Unexpected(&'static str),
    /// The peer used more credit than it was granted.
    Credit,
    /// Too many unknown frames.
    Glitches,
    /// The partial record or frame was thrown out because the pool of partials is full.
    PartialEvicted,
    /// No complete hello in time, or no message 3.
    HandshakeTimeout,
    /// No successful authentication in time.
    AuthTimeout,
    /// Nothing heard for twice the heartbeat interval.
    HeartbeatTimeout,
    /// The peer of a stream does not take what is sent to it.
    Stalled,
}

impl Error {
    /// The code to close the link with, or `None` where the specification demands silence: before the peer has
    /// proved anything, and for every failure of cryptography.
    #[must_use]
    pub const fn close_code(self) -> Option<CloseCode> {
        match self {
            Self::Magic
            | Self::Preamble
            | Self::Gate
            | Self::Version
            | Self::Suite
            | Self::RetiredKey
            | Self::HandshakeLength(_)
            | Self::Handshake
            | Self::Ticket
            | Self::Replay
            | Self::Downgrade
            | Self::Rejected(_)
            | Self::Early
            | Self::HandshakeTimeout
            | Self::Record => None,
            Self::RecordEmpty | Self::FrameEmpty | Self::FrameEncoding | Self::Field(_) => {
                Some(CloseCode::Malformed)
            }
            Self::RecordLength(_) | Self::FrameLength(_) => Some(CloseCode::TooLarge),
            Self::Unexpected(_) => Some(CloseCode::Unexpected),
            Self::Credit => Some(CloseCode::RateExceeded),
            Self::Glitches => Some(CloseCode::Glitches),
            Self::PartialEvicted => Some(CloseCode::TryLater),
            Self::AuthTimeout => Some(CloseCode::AuthTimeout),
            Self::HeartbeatTimeout => Some(CloseCode::HeartbeatTimeout),
            Self::Stalled => Some(CloseCode::SlowReader),
        }
    }

    /// A short name for metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Magic => "magic",
            Self::Preamble => "preamble",
            Self::Gate => "gate",
            Self::Version => "version",
            Self::Suite => "suite",
            Self::RetiredKey => "retired_key",
            Self::HandshakeLength(_) => "handshake_length",
            Self::Handshake => "handshake",
            Self::Ticket => "ticket",
            Self::Replay => "replay",
            Self::Downgrade => "downgrade",
            Self::Rejected(_) => "rejected",
            Self::Early => "early",
            Self::RecordEmpty => "record_empty",
            Self::RecordLength(_) => "record_length",
            Self::Record => "record",
            Self::FrameLength(_) => "frame_length",
            Self::FrameEmpty => "frame_empty",
            Self::FrameEncoding => "frame_encoding",
            Self::Field(_) => "field",
            Self::Unexpected(_) => "unexpected",
            Self::Credit => "credit",
            Self::Glitches => "glitches",
            Self::PartialEvicted => "partial_evicted",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::AuthTimeout => "auth_timeout",
            Self::HeartbeatTimeout => "heartbeat_timeout",
            Self::Stalled => "stalled",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HandshakeLength(n) => write!(f, "handshake message of {n} bytes"),
            Self::RecordLength(n) => write!(f, "record of {n} bytes is longer than allowed"),
            Self::FrameLength(n) => write!(f, "frame of {n} bytes is longer than allowed"),
            Self::Field(name) => write!(f, "field {name} is missing or out of bounds"),
            Self::Unexpected(name) => write!(f, "frame {name} is not allowed here"),
            Self::Rejected(reason) => write!(f, "the server cannot serve this hello (reason {reason})"),
            other => f.write_str(other.name()),
        }
    }
}

impl std::error::Error for Error {}
