//! One place of a mob and the link in it.

use driver::Token;
use protocol::Time;
use protocol::buffer::Place;
use protocol::link::ClientLink;

/// ```text
/// Free ─► Connecting ─► Open ─► Closing ─► Closed ─► Free
///             └── failed ─────────────────────────────▲
/// ```
#[derive(Debug)]
pub(super) struct Abuser {
    /// Of those who authenticate, from the hello until the link is closing.
    pub(super) machine: Option<Box<ClientLink>>,
    /// When it was connected.
    pub(super) born: Time,
    pub(super) token: Token,
    /// What is left of a record.
    pub(super) place: Place,
    /// Frames sent since the welcome; of a hello that is sent bit by bit, bytes.
    pub(super) sent: u64,
    pub(super) phase: Phase,
    /// The gateway has said something.
    pub(super) is_served: bool,
    /// Since when it may send frames.
    pub(super) welcome: Option<Time>,
    /// It has shown its token.
    pub(super) has_asked: bool,
    pub(super) reading: Reading,
    pub(super) sending: bool,
    pub(super) cancelling: bool,
    pub(super) unsending: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Free,
    Connecting,
    Open,
    /// What is armed is cancelled; then the socket is closed.
    Closing,
    /// The close is submitted.
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    Nothing,
    Poll,
    Receive,
}

impl Abuser {
    pub(super) const NEW: Self = Self {
        machine: None,
        born: Time::ZERO,
        token: Token { slot: u32::MAX, generation: 0 },
        place: Place::NONE,
        sent: 0,
        phase: Phase::Free,
        is_served: false,
        welcome: None,
        has_asked: false,
        reading: Reading::Nothing,
        sending: false,
        cancelling: false,
        unsending: false,
    };
}
