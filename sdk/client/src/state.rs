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
    /// Put to sleep ([`Client::sleep`](crate::Client::sleep)), until it is woken. The gateway keeps the session for a while.
    Asleep,
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

/// What has become of the session with a new link (SPEC.md, section 8.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Continuity {
    /// It has begun: there was none to go on with.
    Begun,
    /// It goes on: pushes that were not received come now, before new ones.
    Resumed,
    /// The client wished to go on with one, and the gateway has begun another: it had been waited for too long, or it was elsewhere. What was
    /// not taken by then comes again only if a backend sends it again. Where that matters, ask the backend what was missed.
    NotResumed,
}

/// What the gateway said when it let the client in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The session's name, 16 bytes. A new one tells that another session has begun, even if a change of states was missed.
    pub id: Bytes,
    /// Whether it is the session of the link before.
    pub continuity: Continuity,
    /// Who the client is, as the gateway sees it.
    pub user: Bytes,
    /// The suite of the link's handshake; one of NNpsk0 means that a ticket was used.
    pub suite: Suite,
    /// The heartbeat interval in force.
    pub heartbeat: Duration,
    /// The gateway's keys, known before or announced now, at most 8 ([`Config::server_keys`](crate::Config::server_keys)
    /// says which). Without a [`Store`](crate::Store) the application stores them for the [`Config`](crate::Config)
    /// of its next start, or it will not know the gateway after a change of keys.
    pub server_keys: Vec<ServerKey>,
}
