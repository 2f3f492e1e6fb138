//! Everything a worker is built from, as plain values: made from the config by `control`, or by hand in the
//! simulator.

use std::sync::Arc;
use std::time::Duration;

use driver::{Endpoint, Trust};
use protocol::CloseCode;
use protocol::link::Rules;
use protocol::noise::Suites;
use protocol::stream::{Mode, Params};

use crate::admission::balancers::Balancers;
use crate::admission::buckets::AddressLimits;
use crate::admission::ladder::Steps;
use crate::admission::rates::OfClass;
#[cfg(test)]
use crate::admission::rates::Rates;
use crate::answers;
use crate::config::{Capabilities, DevelopmentToken, NextKey};
use crate::delivery::Bounds;
use crate::delivery::packages::Limits;
use crate::directory::claims::Allowed;
use crate::rate::Rate;
use crate::session::Grant;
use crate::tokens::Verifier;
use crate::upstream::route::Route;
use crate::upstream::{park, pending, redial};

/// What all workers of a process share, and what tells this one from the others.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Index of this worker.
    pub worker: u32,
    /// Number of workers.
    pub workers: u32,
    /// Size of the socket table.
    pub slots: u32,
    /// Accepts parked on each listener while all slots are free; the fewer are, the fewer it is.
    pub parked: u32,
    /// Slots that stay free for streams, and so that a full table is never met by an accept.
    pub slots_reserved: u32,
    /// What links are held to.
    pub rules: Rules,
    /// Handshakes and verified tokens per turn.
    pub handshakes_per_turn: u32,
    /// Hundredths of the core that they may take while there is something else to do.
    pub handshake_share: u32,
    /// How much else a turn does.
    pub budgets: Budgets,
    /// Links that have not authenticated yet; over it the oldest one is closed.
    pub strangers_max: usize,
    /// Whether peers on this machine are none of them.
    pub loopback_exempt: bool,
    /// Message-1 fingerprints remembered against duplicates of ticket handshakes.
    pub replay_filter_len: usize,
    /// Bytes of buffers with partial records and frames of all links of users together.
    pub partial_bytes_max: usize,
    /// The same of links that have not authenticated yet, their hellos and held frames included.
    pub stranger_bytes_max: usize,
    /// Bytes waiting to be sent to one link; over it the link is closed.
    pub outgoing_len_max: usize,
    /// Bytes waiting to be sent to one link for longer than `outgoing_soft_time`; over it the link is closed.
    pub outgoing_len_soft: usize,
    /// Whether over it the oldest pushes go that are delivered at most once.
    pub outgoing_drops_oldest: bool,
    /// How long a link may be over `outgoing_len_soft`.
    pub outgoing_soft_time: Duration,
    /// Bytes waiting to be sent to all links together; over it the largest waiting link is closed.
    pub outgoing_bytes_max: usize,
    /// Links that linger for their close frame; over it links are closed at once.
    pub lingering_max: usize,
    /// Longest plaintext of a downlink record.
    pub record_plain_max: usize,
    /// Chunks within `demote_after` that make a link a busy one.
    pub promote_after: u8,
    /// Quiet time after which a busy link waits with a poll again.
    pub demote_after: Duration,
    /// Heartbeat bounds and default.
    pub heartbeat: Heartbeat,
    /// Requests in flight and their bytes granted to a link.
    pub grant: Grant,
    /// Requests in flight: per link, per stream, and on this worker.
    pub in_flight: pending::Caps,
    /// Requests that wait for stream credit, per route.
    pub waiting: park::Bounds,
    /// How long a request may wait for stream credit.
    pub waiting_max: Duration,
    /// Idle buffers kept for the next messages, in bytes.
    pub buffers_idle_max: usize,
    /// Devices of one user.
    pub devices: Allowed,
    /// Names of the classes of accounts, in the order in which listeners have their rates.
    pub classes: Vec<String>,
    /// Tombstones of replaced logins.
    pub tombstones_max: usize,
    /// How long a replaced login stays away.
    pub tombstone_time: Duration,
    /// How long a session waits for its client's next link.
    pub session_window: Duration,
    /// Sessions that wait; over it the one that has waited longest ends.
    pub sessions_detached_max: u32,
    /// Pushes that must be acknowledged.
    pub pushes: PushRules,
    /// What is remembered of requests.
    pub answers: answers::Bounds,
    /// Name of the only realm of users.
    pub realm: String,
    /// How users prove themselves.
    pub auth: Auth,
    /// Routes, found by name.
    pub routes: Vec<Route>,
    /// Backends, by index.
    pub endpoints: Vec<Backend>,
    /// The gateway's name, as backends see it.
    pub gateway: String,
    /// Identifies this start of the gateway.
    pub boot_id: [u8; 16],
    /// Where its clients connect, by the driver's index. Never empty.
    pub listeners: Vec<Listener>,
    /// Complete hellos that wait for the handshake budget; over it clients are asked to come back later.
    pub handshakes_waiting_max: usize,
    /// Handshakes of XX that wait for message 3; over it the oldest one ends.
    pub xx_handshakes_max: usize,
    /// Users whose earlier tickets are worth nothing, remembered at a time.
    pub revocations_max: usize,
    /// Single logins that are worth nothing, remembered at a time.
    pub revoked_logins_max: usize,
    /// How long a revocation is remembered: as long as anything from before it can be good.
    pub revocation_time: Duration,
    /// What is given up when there is too much to do.
    pub overload: OverloadRules,
    /// Users whom backends have slowed down, remembered at a time.
    pub throttles_max: usize,
    /// How often a user may log in.
    pub logins: Rate,
    /// Users of whom it is known how often they do.
    pub logins_max: usize,
    /// When streams are dialled again, and endpoints left out.
    pub redial: redial::Rules,
}

/// How pushes are kept that must be acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushRules {
    /// How many, and how many bytes.
    pub bounds: Bounds,
    /// How long parts of packages wait for each other, and how many of them.
    pub packages: Limits,
    /// Undelivered after this time, if their backend does not say.
    pub ttl: Duration,
    /// Without an acknowledgement for so long a client is asked for one.
    pub ack_timeout: Duration,
    /// What a client lacks is sent again so often.
    pub tries: u8,
    /// Of one stream's pushes so many may have reports that their backend does not know yet.
    pub report_slots: u32,
}

#[cfg(test)]
impl OverloadRules {
    /// Those of a small worker.
    const fn small() -> Self {
        let (enter, leave) = ([70, 80, 90, 95, 98], [60, 70, 80, 85, 90]);
        let patience = Duration::from_secs(1);
        Self { steps: Steps { enter, leave, patience }, lag_max: patience, on_trial: false }
    }
}

#[cfg(test)]
impl PushRules {
    /// Those of a small worker.
    const fn small() -> Self {
        Self {
            bounds: Bounds { session_count: 4, session_bytes: 4096, count: 8, bytes: 8192 },
            packages: Limits {
                wait: Duration::from_secs(2),
                session_packages: 2,
                session_parts: 4,
                session_bytes: 4096,
                parts: 8,
                bytes: 8192,
            },
            ttl: Duration::from_secs(60),
            ack_timeout: Duration::from_secs(5),
            tries: 2,
            report_slots: 4,
        }
    }
}

/// When a worker gives something up for having too much to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverloadRules {
    /// The levels.
    pub steps: Steps,
    /// Length of turns that counts as a load of 100.
    pub lag_max: Duration,
    /// Whether the level is only told.
    pub on_trial: bool,
}

/// How much of each kind a turn does at most; the rest is done in the next turn, which then does not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// Completions that are learned.
    pub completions: usize,
    /// Letters of others that are read.
    pub letters: usize,
    /// Ends, and letters to oneself, that are dealt with at each place for them.
    pub ends: usize,
    /// Deadlines that are looked at, of each kind.
    pub deadlines: u32,
    /// Links that a backend which has come back is told of.
    pub announcements: u32,
    /// Links that are looked at since the lists of addresses have changed.
    pub listed: u32,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            completions: 2048,
            letters: 4096,
            ends: 1024,
            deadlines: 4096,
            announcements: 1024,
            listed: 1024,
        }
    }
}

/// What the links of one listener are told; what their handshakes need is in the acceptor of the same index.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its name.
    pub name: String,
    /// Its place among all listeners of the process.
    pub place: usize,
    /// The worker that turns newcomers away while no worker has a place for them.
    pub doorman: u32,
    /// Suites that clients are told to be served under every server key.
    pub suites_announced: Suites,
    /// Server keys that clients are to accept beside the present one, each from its time on.
    pub server_keys_next: Vec<NextKey>,
    /// Of the share for handshakes, how much is for those who come here at most; all of it if that is not said.
    pub handshake_share: Option<u32>,
    /// What addresses may cost here.
    pub addresses: AddressLimits,
    /// What links may say whose users came here: of no class first, then of each class. Never empty.
    pub rates: Vec<OfClass>,
    /// Who says whose a connection is.
    pub balancers: Balancers,
}

#[cfg(test)]
impl Listener {
    /// The only one of a small worker.
    fn small() -> Self {
        Self {
            name: "clients".to_owned(),
            place: 0,
            doorman: 0,
            suites_announced: Suites::NONE,
            server_keys_next: Vec::new(),
            handshake_share: None,
            addresses: AddressLimits::ample(),
            rates: vec![Rates::ample().into()],
            balancers: Balancers::default(),
        }
    }
}

#[cfg(test)]
impl Settings {
    /// A worker of 64 slots with the development token, without backends, for the tests of a part.
    pub(super) fn small() -> Self {
        let seconds = Duration::from_secs;
        Self {
            worker: 0,
            workers: 1,
            slots: 64,
            parked: 4,
            slots_reserved: 8,
            rules: Rules {
                record_len_max: 4096,
                frame_len_max: 4096,
                handshake_deadline: seconds(5),
                auth_deadline: seconds(5),
                glitches_max: 8,
            },
            handshakes_per_turn: 2,
            handshake_share: 100,
            budgets: Budgets::default(),
            strangers_max: 4,
            loopback_exempt: false,
            replay_filter_len: 8,
            partial_bytes_max: 10_000,
            stranger_bytes_max: 10_000,
            outgoing_len_max: 4000,
            outgoing_len_soft: 1000,
            outgoing_drops_oldest: false,
            outgoing_soft_time: seconds(1),
            outgoing_bytes_max: 9000,
            lingering_max: 4,
            record_plain_max: 1000,
            promote_after: 3,
            demote_after: seconds(30),
            heartbeat: Heartbeat { min: seconds(1), max: seconds(60), default: seconds(20) },
            grant: Grant { requests: 2, bytes: 1000 },
            in_flight: pending::Caps { link_max: 2, stream_max: 3, worker_max: 4 },
            waiting: park::Bounds { requests_max: 2, bytes_max: 2048 },
            waiting_max: seconds(2),
            buffers_idle_max: 1 << 16,
            devices: Allowed { most: 2, ..Allowed::default() },
            classes: Vec::new(),
            tombstones_max: 8,
            tombstone_time: seconds(600),
            session_window: seconds(60),
            sessions_detached_max: 8,
            pushes: PushRules::small(),
            answers: answers::Bounds { session_count: 4, count: 16, bytes: 4096, behind: seconds(60) },
            realm: "default".to_owned(),
            auth: Auth::Development { token: DevelopmentToken::new(&crate::config::Secret::new([9; 32])) },
            routes: Vec::new(),
            endpoints: Vec::new(),
            gateway: "gateway".to_owned(),
            boot_id: [1; 16],
            listeners: vec![Listener::small()],
            handshakes_waiting_max: 4,
            xx_handshakes_max: 2,
            revocations_max: 4,
            revoked_logins_max: 4,
            revocation_time: seconds(12 * 3600 + 60),
            overload: OverloadRules::small(),
            throttles_max: 4,
            logins: Rate::new(1000, seconds(1), 1000),
            logins_max: 64,
            redial: redial::Rules::default(),
        }
    }
}

/// Heartbeat intervals a client may choose from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Shortest.
    pub min: Duration,
    /// Longest.
    pub max: Duration,
    /// For clients that do not say.
    pub default: Duration,
}

/// How users prove themselves.
#[derive(Clone)]
pub enum Auth {
    /// One shared token, and the client says who it is. For development and load tests.
    Development {
        /// The token.
        token: DevelopmentToken,
    },
    /// A backend judges the token.
    Delegated {
        /// Its route.
        route: String,
        /// How long it may take.
        deadline: Duration,
        /// How many may be judged at once, per worker.
        in_flight_max: u32,
    },
    /// Signed tokens, verified here.
    Jwt {
        /// What verifies them.
        verifier: Arc<Verifier>,
        /// How many may wait for that, per worker.
        in_flight_max: u32,
        /// How many verified ones are remembered, per worker.
        remembered: usize,
    },
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Development { .. } => f.write_str("Development(***)"),
            Self::Delegated { route, .. } => write!(f, "Delegated({route})"),
            Self::Jwt { .. } => f.write_str("Jwt"),
        }
    }
}

/// One backend process.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Its name, which decides where users are placed.
    pub name: String,
    /// Where it listens.
    pub address: Endpoint,
    /// In clear, or with which keys.
    pub mode: Mode,
    /// What it may do.
    pub capabilities: Capabilities,
    /// What is asked of it and granted to it.
    pub params: Params,
}

impl Backend {
    /// Who may listen there. In clear, only the system can say who does.
    #[must_use]
    pub fn trust(&self) -> Trust {
        match (&self.mode, &self.address) {
            (Mode::Clear, Endpoint::Unix(_)) => Trust::OwnUser,
            _ => Trust::Anybody,
        }
    }
}

/// Why a link is told to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Farewell {
    /// The number of the close code: one of [`CloseCode`], or one that a backend knows and this version does not.
    pub code: u32,
    /// How long it should stay away.
    pub retry_after: Duration,
    /// Whether it should come back by itself at all.
    pub do_not_reconnect: bool,
}

impl Farewell {
    /// Whether it asks a client to come back later and does not say when, as a backend's may: its time is to be
    /// [spread](Farewell::spread).
    #[must_use]
    pub fn is_timeless(&self) -> bool {
        self.code == CloseCode::TryLater.number() && self.retry_after.is_zero()
    }

    /// Asks a client to come back a little later, and not together with all the others: `random` tells them apart.
    #[must_use]
    pub fn spread(self, random: u64) -> Self {
        Self { retry_after: TRY_LATER / 2 + TRY_LATER * (random % 256) as u32 / 256, ..self }
    }
}

/// When a client is told to try later, it is on average after this time.
const TRY_LATER: Duration = Duration::from_secs(2);

impl From<CloseCode> for Farewell {
    fn from(code: CloseCode) -> Self {
        let final_codes = [CloseCode::Replaced, CloseCode::Banned, CloseCode::DeviceRefused];
        let do_not_reconnect = final_codes.contains(&code);
        Self { code: code.number(), retry_after: Duration::ZERO, do_not_reconnect }
    }
}

impl Heartbeat {
    /// The interval a client gets that wants one of `wanted_ms` milliseconds; 0 is no wish.
    #[must_use]
    pub fn choose(&self, wanted_ms: u32) -> Duration {
        match wanted_ms {
            0 => self.default,
            wanted => Duration::from_millis(wanted.into()).clamp(self.min, self.max),
        }
    }
}

impl Auth {
    /// How many tokens may be judged at once.
    #[must_use]
    pub const fn in_flight_max(&self) -> u32 {
        match self {
            Self::Development { .. } => 0,
            Self::Delegated { in_flight_max, .. } | Self::Jwt { in_flight_max, .. } => *in_flight_max,
        }
    }

    /// Whether a token is of one login, and not shared by all clients.
    #[must_use]
    pub const fn names_logins(&self) -> bool {
        matches!(self, Self::Delegated { .. } | Self::Jwt { .. })
    }
}
