//! How a client is doing, as the application is told.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::CloseCode;
use protocol::noise::Suite;

use crate::error::Error;
use crate::pins::ServerKey;

/// How a client is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// An attempt is under way.
    Connecting {
        /// Why the attempt before failed, or the link before ended.
        after: Option<Error>,
    },
    /// Linked and authenticated.
    Up(Arc<Session>),
    /// Between two attempts.
    Waiting {
        /// Why the last attempt failed, or the link ended.
        error: Error,
        /// The time until the next one.
        pause: Duration,
    },
    /// Over for good; a new [`Client`](crate::Client) would be needed.
    Ended(Error),
}

/// What the gateway warns of: it will close the link if the client goes on like this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Warning {
    /// With which code; `None` for one of a later version.
    pub code: Option<CloseCode>,
    /// How near that is, in percent.
    pub score: u32,
}

/// What the gateway said when it let the client in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The session's name, 16 bytes.
    pub id: Bytes,
    /// Who the client is, as the gateway sees it.
    pub user: Bytes,
    /// The suite of the link's handshake; one of NNpsk0 means that a ticket was used.
    pub suite: Suite,
    /// The heartbeat interval in force.
    pub heartbeat: Duration,
    /// The gateway's keys, known before or announced now, at most 8 ([`Config::server_keys`](crate::Config::server_keys)
    /// says which). The application stores them for the [`Config`](crate::Config) of its next start, or it will not
    /// know the gateway after a change of keys.
    pub server_keys: Vec<ServerKey>,
}
