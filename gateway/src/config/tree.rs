//! The config as a tree of checked values.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use protocol::noise::ticket::{CLOCK_SKEW_MAX, TICKET_LIFETIME};
use protocol::noise::{PublicKey, StaticKey, Suite};

use super::answers::Answers;
use super::capabilities::Capabilities;
use super::core::Core;
use super::devices::Devices;
use super::listener::Listener;
use super::overload::Ladder;
use super::pushes::Pushes;
use super::rates::Class;
use super::secret::{DevelopmentToken, Secret};
use super::section::Bound;
use super::sections::{Admin, Admission, Balance, Heartbeat, Limits, Lists, Log, Receive, Requests};
use super::sessions::Sessions;
use crate::tokens::Verifier;

/// Everything a gateway is built from. Names are resolved: routes hold indices of endpoints.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where clients connect, in the order of the file; 1 to [`LISTENERS_MAX`](super::LISTENERS_MAX), names and addresses are unique.
    pub listeners: Vec<Listener>,
    /// One entry per worker, 1–4096.
    pub cores: Vec<Core>,
    /// Group keys of tickets, the sealing one first; empty if one shall be made at start.
    pub tickets: Vec<Secret>,
    /// Name of the users' realm.
    pub realm: String,
    /// What links may take.
    pub limits: Limits,
    /// What addresses may cost.
    pub admission: Admission,
    /// Classes of accounts, in the order of the file; at most [`CLASSES_MAX`](super::CLASSES_MAX), names are unique.
    pub classes: Vec<Class>,
    /// Users of whom it is known what they have said lately.
    pub users_rated: usize,
    /// How many devices a user may have linked.
    pub devices: Devices,
    /// How long sessions outlive their links.
    pub sessions: Sessions,
    /// Pushes that are kept until they are acknowledged.
    pub pushes: Pushes,
    /// What is remembered of requests.
    pub answers: Answers,
    /// When something is given up for having too much to do.
    pub overload: Ladder,
    /// Which addresses may come in.
    pub lists: Lists,
    /// Heartbeat bounds; `min <= default <= max`.
    pub heartbeat: Heartbeat,
    /// How workers receive; the pools that are in force are those of [`Core`].
    pub receive: Receive,
    /// Requests under way.
    pub requests: Requests,
    /// Who decides about tokens.
    pub auth: Auth,
    /// Routes, in the order of the file; names are unique.
    pub routes: Vec<Route>,
    /// Backends, in the order of the file; names are unique.
    pub endpoints: Vec<Endpoint>,
    /// Streams to backends.
    pub upstream: Upstream,
    /// How the gateway is watched.
    pub admin: Admin,
    /// What is told.
    pub log: Log,
    /// Every number of the file as it is in force, in the order of the tables, and then those of each core.
    pub bounds: Vec<Bound>,
}

/// Who decides about tokens.
#[derive(Clone, Debug)]
pub enum Auth {
    /// One shared token; the client's `user` field is believed.
    Development {
        /// The token.
        token: DevelopmentToken,
    },
    /// A backend decides.
    Delegated {
        /// Name of one of [`Config::routes`].
        route: String,
        /// Time its backends have.
        deadline: Duration,
        /// Authentications under way per worker.
        in_flight_max: usize,
    },
    /// The gateway, by signed tokens.
    Jwt {
        /// What verifies them.
        verifier: Arc<Verifier>,
        /// The file its keys are from.
        keys: PathBuf,
        /// Tokens that wait to be verified, per worker.
        in_flight_max: usize,
        /// Verified tokens that are remembered, per worker.
        remembered: usize,
    },
}

impl Auth {
    /// How long a revocation has to be remembered: what was issued before it is good for at most so long. Whoever issues tokens
    /// may be ahead of this clock, and the end of a token is looked at as leniently.
    #[must_use]
    pub fn revocation_time(&self) -> Duration {
        let token = match self {
            Self::Jwt { verifier, .. } => {
                let terms = verifier.terms();
                terms.lifetime_max.saturating_add(terms.skew.saturating_mul(2))
            }
            // A backend looks at each token itself.
            Self::Development { .. } | Self::Delegated { .. } => Duration::ZERO,
        };
        TICKET_LIFETIME.max(token).saturating_add(CLOCK_SKEW_MAX)
    }
}

/// A name clients send requests to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The name, 1–32 bytes.
    pub name: String,
    /// Indices into [`Config::endpoints`]; never empty, without repetition.
    pub endpoints: Vec<u16>,
    /// Which of them takes a request.
    pub balance: Balance,
    /// Whether one of them hears of links that open and close.
    pub presence: bool,
    /// Time it has to answer.
    pub deadline: Duration,
}

/// A backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The name, 1–32 bytes.
    pub name: String,
    /// Where it listens.
    pub address: driver::Endpoint,
    /// How the stream is protected.
    pub security: Security,
    /// What it may do.
    pub capabilities: Capabilities,
    /// Credit for payloads it may have under way to each worker, in bytes.
    pub credit_window: usize,
}

/// How a stream is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Noise KK with this public key of the backend.
    Kk {
        /// The backend's static public key.
        key: PublicKey,
        /// The suite, one for streams.
        suite: Suite,
    },
    /// None; Unix sockets, and loopback by opt-in.
    Clear,
}

/// Streams to backends.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// The private key that proves this gateway; present when an endpoint is [`Security::Kk`].
    pub key: Option<StaticKey>,
    /// Bytes on their way to one backend at most.
    pub outbox: usize,
    /// Time from dialling to an open stream.
    pub dial_deadline: Duration,
    /// First pause before redialling.
    pub redial_min: Duration,
    /// Longest pause; not below the first.
    pub redial_max: Duration,
    /// Failures in a row that eject an endpoint.
    pub eject_after: usize,
    /// How long it stays out.
    pub eject_time: Duration,
    /// Interval of heartbeats.
    pub heartbeat: Duration,
}

impl Config {
    /// Slots of a worker with `slots` that links never take: with a full table the kernel would accept connections only
    /// to close them, and a stream that comes back needs a place.
    #[must_use]
    pub fn slots_reserved(&self, slots: u32) -> u32 {
        64.min(slots / 8).max(self.endpoints.len() as u32)
    }

    /// Links a worker with `slots` holds at most, while all its streams are open.
    #[must_use]
    pub fn links_max(&self, slots: u32) -> u32 {
        slots.saturating_sub(self.slots_reserved(slots) + self.endpoints.len() as u32)
    }

    /// Indices of the cores that accept from a listener.
    #[must_use]
    pub fn cores_of(&self, listener: usize) -> Vec<usize> {
        let serves = |at: &usize| self.cores[*at].listeners.contains(&listener);
        (0..self.cores.len()).filter(serves).collect()
    }

    /// The endpoint's index, by name.
    #[must_use]
    pub fn endpoint(&self, name: &str) -> Option<u16> {
        let at = self.endpoints.iter().position(|endpoint| endpoint.name == name)?;
        u16::try_from(at).ok()
    }
}
