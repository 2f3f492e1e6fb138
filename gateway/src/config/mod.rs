//! The config: one TOML file, parsed once at the edge into a plain tree of checked values.
//!
//! A `Checked<Config>` exists only if every check passed, so whoever holds one need not check again. Nothing
//! here reads a file, a clock or the machine: text, file contents and machine facts come in.

mod advice;
mod answers;
mod block;
mod capabilities;
mod ceiling;
mod check;
mod core;
mod devices;
mod former;
mod given;
mod guarding;
mod keys_and_suites;
mod listener;
mod next_key;
mod overload;
mod problem;
mod pushes;
mod rates;
mod secret;
mod section;
mod sections;
mod sessions;
mod socket;
mod table;
mod tree;
mod unit;
mod value;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::path::{Path, PathBuf};

use self::value::Kind as _;

pub use self::core::{Core, CoreNumber};
pub use answers::Answers;
pub use capabilities::{Capabilities, Capability};
pub use ceiling::{Ceiling, LINK_BYTES};
pub use devices::{Beyond, DevicePolicy, Devices};
pub use given::{Machine, Overrides, ReadFile};
pub use listener::{BALANCERS_MAX, LISTENERS_MAX, Listener};
pub use next_key::{NEXT_KEYS_MAX, NextKey};
pub use overload::Ladder;
pub use problem::{Problem, Problems};
pub use pushes::Pushes;
pub use rates::{CLASSES_MAX, Class, LinkRates, OwnRates};
pub use secret::{DevelopmentToken, Secret};
pub use section::{Bound, Key, Takes};
pub use sections::{
    Admin, Admission, AuthMode, Balance, CoreDumps, Heartbeat, Level, Limits, Lists, Log, ProxyProtocol,
    Receive, Requests,
};
pub use sessions::Sessions;
pub use socket::{SOCKET_PATH_MAX, beside};
pub use tree::{Auth, Config, Endpoint, Route, Security, Upstream};

/// A value that passed every check.
#[derive(Clone, Debug)]
pub struct Checked<T>(T);

impl<T> Deref for Checked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl Checked<Config> {
    /// With the paths of all that is not read with the config itself meant relative to this folder: lists, the keys of tokens,
    /// the journal, the socket. (`load` is given a reader of the rest that does the same.)
    #[must_use]
    pub fn beside(mut self, folder: &Path) -> Self {
        if let Auth::Jwt { keys, .. } = &mut self.0.auth {
            *keys = folder.join(&*keys);
        }
        let Lists { allow, deny, allow_users, deny_users, journal, .. } = &mut self.0.lists;
        let files = [allow, deny, allow_users, deny_users].into_iter().flatten();
        for path in files.chain(journal).chain(&mut self.0.admin.socket) {
            *path = folder.join(&path);
        }
        self
    }
}

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

/// A time as it is given on a command line, such as `30s`, `1h` or `7d`; `None` if it is none.
#[must_use]
pub fn parse_span(text: &str) -> Option<std::time::Duration> {
    value::span(text)
}

/// The same the other way round, in hours where it has whole ones.
#[must_use]
pub fn show_span(time: std::time::Duration) -> String {
    value::Span::show(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// What a gateway for development is made of.
#[derive(Clone, Debug)]
pub struct Development {
    /// Address clients connect to; loopback, port 7400 if `None`.
    pub listen: Option<SocketAddr>,
    /// Number of workers; one per CPU if `None`.
    pub workers: Option<usize>,
    /// Whether peers on loopback addresses are exempt from limits.
    pub exempt: bool,
    /// The gateway's private key.
    pub server: Secret,
    /// What seals tickets; made at start, and over with the process, if `None`.
    pub tickets: Option<Secret>,
    /// Unix socket the reference service listens on.
    pub service: PathBuf,
    /// Unix socket for `gateway status`.
    pub admin: Option<PathBuf>,
    /// Address of /metrics.
    pub http: Option<SocketAddr>,
}

impl Config {
    /// A gateway for development: routes `echo`, `chat`, `push` and `outcomes` to one service on a private Unix socket, the token of
    /// development mode, and, if it is so wished, no limits for loopback. It runs through the same checks as a file.
    ///
    /// # Errors
    /// When paths or numbers given here are out of bounds.
    pub fn development(with: Development, machine: &Machine) -> Result<Checked<Self>, Problems> {
        let text = development_text(&with);
        let listen = with.listen.unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7400));
        let overrides = Overrides { listen: Some(listen), workers: with.workers };
        let read = |path: &Path| {
            let tickets = with.tickets.as_ref().filter(|_| path.ends_with(TICKET_KEY));
            Ok(protocol::hex::encode(tickets.unwrap_or(&with.server).bytes()))
        };
        load("gateway dev", &text, overrides, machine, &read).map(|(config, _)| config).map_err(
            |mut problems| {
                // Nobody has written the text, so nobody can look up its lines.
                problems.list.iter_mut().for_each(|problem| problem.line = None);
                problems
            },
        )
    }

    /// An address with a port, as it is given on the command line.
    ///
    /// # Errors
    /// What is wrong with the text, and what to write instead.
    pub fn address(text: &str) -> Result<SocketAddr, String> {
        text.parse().map_err(|_| {
            let fix = advice::address(text).unwrap_or_else(|| format!("write {}", value::Address::WRITTEN));
            format!("it is not an IP address with a port; {fix}")
        })
    }

    /// All keys of the file, by table. `core`, `listener`, `route` and `endpoint` are arrays of tables.
    #[must_use]
    pub fn keys() -> Vec<(&'static str, &'static [Key])> {
        check::keys()
    }
}

/// What stands for the file of a key that seals tickets.
const TICKET_KEY: &str = "(tickets)";

fn development_text(with: &Development) -> String {
    let exempt = with.exempt;
    let tickets = with.tickets.as_ref().map_or(String::new(), |_| format!("tickets = [\"{TICKET_KEY}\"]\n"));
    let quoted = |path: &Path| toml::Value::String(path.display().to_string()).to_string();
    let service = quoted(Path::new(&format!("unix:{}", with.service.display())));
    let admin = with.admin.as_ref().map_or(String::new(), |path| format!("socket = {}\n", quoted(path)));
    let http = with.http.map_or("off".to_owned(), |address| address.to_string());
    format!(
        "[keys]\nserver = \"(made at start)\"\n{tickets}\
         [limits]\nloopback_exempt = {exempt}\n\
         [auth]\nmode = \"development\"\n\
         [admin]\n{admin}http = \"{http}\"\n\
         [[route]]\nname = \"echo\"\nendpoints = [\"reference\"]\n\
         [[route]]\nname = \"chat\"\nendpoints = [\"reference\"]\npresence = true\n\
         [[route]]\nname = \"push\"\nendpoints = [\"reference\"]\n\
         [[route]]\nname = \"outcomes\"\nendpoints = [\"reference\"]\n\
         [[endpoint]]\nname = \"reference\"\naddress = {service}\nclear = true\n"
    )
}

#[cfg(test)]
mod tests;
