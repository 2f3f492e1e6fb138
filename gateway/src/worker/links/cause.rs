//! Why a link ends, and what it leaves behind.

use protocol::{CloseCode, Error};

use crate::session::SessionKey;
use crate::worker::settings::Farewell;

/// Why a link ends.
#[derive(Debug)]
pub(in crate::worker) enum Cause {
    /// We close it, and say why.
    Close(Farewell),
    /// We close it, say why, and its session is over, whatever the code.
    Kick(Farewell),
    /// The peer broke a rule: the close code it asks for, or silence.
    Fault(Error),
    /// The client has said `Close` with this code. What it has been sent so far may still leave; nothing more is read.
    Goodbye(u32),
    /// A hello that is not served: this clear reply goes out.
    Refused(Vec<u8>),
    /// The peer ended, or the connection broke, without a close frame: truncation, not a logout.
    Lost,
    /// Nobody is told anything.
    Silent,
}

impl Cause {
    /// Whether only the link ends, and its session waits for the next one.
    pub(super) fn keeps_session(&self) -> bool {
        let says = |code| CloseCode::from_number(code).is_some_and(CloseCode::keeps_session);
        match *self {
            Self::Close(farewell) => says(farewell.code),
            Self::Fault(error) => error.close_code().is_none_or(CloseCode::keeps_session),
            Self::Goodbye(code) => code != CloseCode::Normal.number(),
            Self::Kick(_) | Self::Refused(_) | Self::Silent => false,
            Self::Lost => true,
        }
    }
}

/// What a link leaves behind when it is buried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::worker) struct Parted {
    /// Its session, once authentication had begun.
    pub(in crate::worker) session: Option<SessionKey>,
    /// What was said at the end, by either side; `None` if the link just broke.
    pub(in crate::worker) code: Option<u32>,
    /// Whether somebody may still be judging its token.
    pub(in crate::worker) was_authenticating: bool,
    /// Whether its session goes on without it.
    pub(in crate::worker) leaves_session: bool,
}
