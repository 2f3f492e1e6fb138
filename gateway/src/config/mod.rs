//! The config: one TOML file, parsed once at the edge into a plain tree of checked values.
//!
//! A `Checked<Config>` exists only if every check passed, so whoever holds one need not check again. Nothing
//! here reads a file, a clock or the machine: text, file contents and machine facts come in.

mod ceiling;
mod check;
mod core;
mod listener;
mod problem;
mod secret;
mod section;
mod sections;
mod table;
mod value;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::UnixMillis;
use protocol::noise::{PublicKey, StaticKey, Suite};

pub use self::core::{Core, CoreNumber};
pub use ceiling::{Ceiling, LINK_BYTES};
pub use listener::{LISTENERS_MAX, Listener};
pub use problem::{Problem, Problems};
pub use secret::{DevelopmentToken, Secret};
pub use section::{Bound, Key, Takes};
pub use sections::{Admin, AuthMode, Balance, Heartbeat, Level, Limits, Log, Receive, Requests};

/// A value that passed every check.
#[derive(Clone, Debug)]
pub struct Checked<T>(T);

impl<T> Deref for Checked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// Everything a gateway is built from. Names are resolved: routes hold indices of endpoints.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where clients connect, in the order of the file; 1 to [`LISTENERS_MAX`], names and addresses are unique.
    pub listeners: Vec<Listener>,
    /// One entry per worker, 1–4096.
    pub cores: Vec<Core>,
    /// Group keys of tickets, the sealing one first; empty if one shall be made at start.
    pub tickets: Vec<Secret>,
    /// Name of the users' realm.
    pub realm: String,
    /// What links may take.
    pub limits: Limits,
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

/// Clients keep eight keys of a gateway, this one among them.
pub const NEXT_KEYS_MAX: usize = 4;

/// A key this gateway will have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextKey {
    /// The public key.
    pub key: PublicKey,
    /// From when on it may be used.
    pub not_before: UnixMillis,
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
    /// `TCP_USER_TIMEOUT` of those over TCP.
    pub user_timeout: Duration,
}

/// Facts of the machine that defaults and checks depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// CPUs this process may run on; never empty.
    pub cpus: Vec<u32>,
    /// Open files this process may have (`RLIMIT_NOFILE`, after it was raised as far as allowed).
    pub open_files: u64,
    /// Bytes of memory this process may use; 0 if not known.
    pub memory: u64,
}

/// What the command line says over the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--listen`; of the only listener, and an error with several.
    pub listen: Option<SocketAddr>,
    /// `--workers`; replaces the list of cores.
    pub workers: Option<usize>,
}

/// Reads a file that the config names; says why it can't.
pub type ReadFile<'f> = &'f dyn Fn(&Path) -> Result<String, String>;

/// Parses and checks the text of a config file.
///
/// # Errors
/// All problems at once, warnings included, if one of them is fatal.
pub fn load(
    file: &str,
    text: &str,
    overrides: Overrides,
    machine: &Machine,
    read: ReadFile<'_>,
) -> Result<(Checked<Config>, Problems), Problems> {
    let (config, list) = check::config(text, overrides, machine, read);
    let problems = Problems { file: file.to_owned(), list };
    match config {
        Some(config) if !problems.fatal() => Ok((Checked(config), problems)),
        _ => Err(problems),
    }
}

/// What a gateway for development is made of.
#[derive(Clone, Debug)]
pub struct Development {
    /// Address clients connect to; loopback, port 7400 if `None`.
    pub listen: Option<SocketAddr>,
    /// Number of workers; one per CPU if `None`.
    pub workers: Option<usize>,
    /// The gateway's private key.
    pub server: Secret,
    /// Unix socket the reference service listens on.
    pub service: PathBuf,
    /// Unix socket for `gateway status`.
    pub admin: Option<PathBuf>,
    /// Address of /metrics.
    pub http: Option<SocketAddr>,
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

    /// A gateway for development: routes `echo` and `chat` to one service on a private Unix socket, the token of
    /// development mode, and no limits for loopback. It runs through the same checks as a file.
    ///
    /// # Errors
    /// When paths or numbers given here are out of bounds.
    pub fn development(with: Development, machine: &Machine) -> Result<Checked<Self>, Problems> {
        let text = development_text(&with);
        let listen = with.listen.unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7400));
        let overrides = Overrides { listen: Some(listen), workers: with.workers };
        let read = |_: &Path| Ok(protocol::hex::encode(with.server.bytes()));
        load("development config", &text, overrides, machine, &read).map(|(config, _)| config)
    }

    /// All keys of the file, by table. `core`, `listener`, `route` and `endpoint` are arrays of tables.
    #[must_use]
    pub fn keys() -> Vec<(&'static str, &'static [Key])> {
        check::keys()
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

fn development_text(with: &Development) -> String {
    let quoted = |path: &Path| toml::Value::String(path.display().to_string()).to_string();
    let service = quoted(Path::new(&format!("unix:{}", with.service.display())));
    let admin = with.admin.as_ref().map_or(String::new(), |path| format!("socket = {}\n", quoted(path)));
    let http = with.http.map_or("off".to_owned(), |address| address.to_string());
    format!(
        "[keys]\nserver = \"(made at start)\"\n\
         [limits]\nloopback_exempt = true\n\
         [auth]\nmode = \"development\"\n\
         [admin]\n{admin}http = \"{http}\"\n\
         [[route]]\nname = \"echo\"\nendpoints = [\"reference\"]\n\
         [[route]]\nname = \"chat\"\nendpoints = [\"reference\"]\npresence = true\n\
         [[endpoint]]\nname = \"reference\"\naddress = {service}\nclear = true\n"
    )
}

#[cfg(test)]
mod tests;
