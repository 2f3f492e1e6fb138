//! From text to a config: tables first, then names, files and sums across tables.

mod agreement;
mod auth;
mod cores;
mod listeners;
mod names;
mod rates;
mod secrets;
mod tables;

use std::net::SocketAddr;

use protocol::noise::StaticKey;
use toml::de::DeTable;

use agreement::check_agreement;
use auth::auth;
use cores::cores;
use listeners::listeners;
use names::unique;
use rates::classes;
use secrets::secret;
use tables::{Tables, tables};

pub(super) use tables::keys;

use super::capabilities::Capabilities;
use super::overload::Ladder;
use super::problem::{Problem, nearest};
use super::section::{Reader, line};
use super::sections::{EndpointKeys, UpstreamKeys};
use super::{
    Auth, Bound, Ceiling, Config, Core, Endpoint, Machine, Overrides, ReadFile, Route, Security, Upstream,
};

/// Parses and checks. The config is there if all its parts could be built; whether it may be used depends on the
/// problems as well.
pub(super) fn config(
    text: &str,
    overrides: Overrides,
    machine: &Machine,
    read: ReadFile<'_>,
) -> (Option<Config>, Vec<Problem>) {
    let mut reader = Reader::new(text);
    let root = match DeTable::parse(text) {
        Ok(root) => root,
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start);
            let fix = "correct the TOML; see https://toml.io".to_owned();
            let reason = error.message().to_owned();
            let problem =
                Problem { fatal: true, key: String::new(), line: Some(line(text, at)), reason, fix };
            return (None, vec![problem]);
        }
    };
    let tables = tables(&mut reader, root.get_ref());
    let mut config = tables.and_then(|tables| build(&mut reader, tables, overrides, machine, read));
    if let Some(config) = &mut config {
        // Of what is wrong in itself, sums are wrong as well.
        if !reader.problems.iter().any(|problem| problem.fatal) {
            check_sums(&mut reader, config, machine);
        }
        config.bounds = bounds(std::mem::take(&mut reader.bounds), &config.cores);
    }
    let mut problems = reader.problems;
    problems.sort_by_key(|problem| problem.line.as_ref().map_or(usize::MAX, |(number, _)| *number));
    (config, problems)
}

/// What came of the file, whatever it says: the number of workers, and of each every number.
fn bounds(mut read: Vec<Bound>, cores: &[Core]) -> Vec<Bound> {
    for bound in read.iter_mut().filter(|bound| bound.key == "workers") {
        bound.number = cores.len() as u64;
    }
    read.retain(|bound| !bound.key.starts_with("core["));
    for (worker, core) in (0..).zip(cores) {
        let bound =
            |(name, unit, number)| Bound { key: format!("core.{name}"), worker: Some(worker), unit, number };
        read.extend(core.numbers().map(bound));
    }
    read
}

fn build(
    reader: &mut Reader<'_>,
    tables: Tables,
    overrides: Overrides,
    machine: &Machine,
    read: ReadFile<'_>,
) -> Option<Config> {
    check_agreement(reader, &tables);
    let cores = cores(reader, &tables, overrides, machine);
    let endpoints = endpoints(reader, &tables);
    let routes = routes(reader, &tables);
    let server = secret(reader, "keys.server", &tables.keys.server, read);
    let tickets: Vec<_> =
        tables.keys.tickets.iter().map(|path| secret(reader, "keys.tickets", path, read)).collect();
    let upstream_key = match &tables.upstream.key {
        Some(path) => secret(reader, "upstream.key", path, read).map(|secret| Some(secret.prepare())),
        None => Some(None),
    };
    let auth = auth(reader, &tables, server.as_ref(), read);
    let listeners = listeners(reader, &tables, server.as_ref(), overrides, read);
    let classes = classes(reader, &tables);
    let overload = ladder(reader, &tables);
    let upstream = tables.upstream;
    Some(Config {
        listeners: listeners?,
        cores: cores?,
        tickets: tickets.into_iter().collect::<Option<_>>()?,
        realm: tables.auth.realm,
        limits: tables.limits,
        admission: tables.admission,
        classes: classes?,
        users_rated: tables.rates.users,
        devices: tables.devices,
        sessions: tables.sessions,
        pushes: tables.pushes,
        answers: tables.answers,
        overload: overload?,
        lists: tables.lists,
        heartbeat: tables.heartbeat,
        receive: tables.receive,
        requests: tables.requests,
        auth: auth?,
        routes: routes?,
        endpoints: endpoints?,
        upstream: Upstream {
            key: upstream_key?,
            outbox: upstream.outbox,
            dial_deadline: upstream.dial_deadline,
            redial_min: upstream.redial_min,
            redial_max: upstream.redial_max,
            eject_after: upstream.eject_after,
            eject_time: upstream.eject_time,
            heartbeat: upstream.heartbeat,
        },
        admin: tables.admin,
        log: tables.log,
        bounds: Vec::new(),
    })
}

/// What the ladder's numbers must be to each other.
fn ladder(reader: &mut Reader<'_>, tables: &Tables) -> Option<Ladder> {
    match tables.overload.ladder() {
        Ok(ladder) => Some(ladder),
        Err((key, reason)) => {
            let fix = "write five rising numbers such as `enter = [70, 80, 90, 95, 98]`, and as many for `leave`, \
                       each below its own in `enter`";
            reader.error(&format!("overload.{key}"), reason.to_owned(), fix.to_owned());
            None
        }
    }
}

fn endpoints(reader: &mut Reader<'_>, tables: &Tables) -> Option<Vec<Endpoint>> {
    let mut endpoints: Vec<Endpoint> = Vec::with_capacity(tables.endpoints.len());
    let mut sound = true;
    if tables.endpoints.len() > usize::from(u16::MAX) {
        reader.error("endpoint", "more than 65535 endpoints".to_owned(), "remove some".to_owned());
        return None;
    }
    for (i, keys) in tables.endpoints.iter().enumerate() {
        let path = format!("endpoint[{i}]");
        if endpoints.iter().any(|other| other.name == keys.name) {
            unique(reader, &path, &keys.name);
            sound = false;
        }
        let Some(security) = security(reader, &path, keys, &tables.upstream) else {
            sound = false;
            continue;
        };
        endpoints.push(Endpoint {
            name: keys.name.clone(),
            address: keys.address.clone(),
            security,
            capabilities: keys
                .capabilities
                .as_ref()
                .map_or(Capabilities::UNSAID, |named| named.iter().copied().collect()),
            credit_window: keys.credit_window,
        });
    }
    sound.then_some(endpoints)
}

fn security(
    reader: &mut Reader<'_>,
    path: &str,
    keys: &EndpointKeys,
    upstream: &UpstreamKeys,
) -> Option<Security> {
    let loopback = |address: &SocketAddr| address.ip().to_canonical().is_loopback();
    let problem = match (keys.key, keys.clear, &keys.address) {
        (Some(_), true, _) => ("clear", "has a key and is clear", "keep `key` or `clear`, not both"),
        (None, false, _) => {
            ("name", "has neither a key nor `clear = true`", "give the backend's public key as `key`")
        }
        (Some(_), false, _) if upstream.key.is_none() => {
            ("key", "needs this gateway's own key for backends", "add `key = \"FILE\"` to [upstream]")
        }
        (Some(key), false, _) => return Some(Security::Kk { key, suite: keys.suite }),
        (None, true, driver::Endpoint::Unix(_)) => return Some(Security::Clear),
        (None, true, driver::Endpoint::Tcp(address)) if !loopback(address) => {
            ("clear", "would cross the network in clear", "give the backend's public key as `key`")
        }
        (None, true, driver::Endpoint::Tcp(_)) if !upstream.clear_on_loopback => (
            "clear",
            "any local process could take the backend's port",
            "use a Unix socket or a key, or set `clear_on_loopback = true` in [upstream]",
        ),
        (None, true, driver::Endpoint::Tcp(_)) => return Some(Security::Clear),
    };
    let (key, reason, fix) = problem;
    reader.error(&format!("{path}.{key}"), format!("endpoint \"{}\" {reason}", keys.name), fix.to_owned());
    None
}

fn routes(reader: &mut Reader<'_>, tables: &Tables) -> Option<Vec<Route>> {
    let mut routes: Vec<Route> = Vec::with_capacity(tables.routes.len());
    let mut sound = true;
    for (i, keys) in tables.routes.iter().enumerate() {
        let path = format!("route[{i}]");
        if routes.iter().any(|other| other.name == keys.name) {
            unique(reader, &path, &keys.name);
            sound = false;
        }
        let Some(endpoints) = resolve(reader, &format!("{path}.endpoints"), &keys.endpoints, tables) else {
            sound = false;
            continue;
        };
        routes.push(Route {
            name: keys.name.clone(),
            endpoints,
            balance: keys.balance,
            presence: keys.presence,
            deadline: keys.deadline.unwrap_or(tables.requests.deadline),
        });
    }
    if tables.routes.is_empty() {
        let fix = "add a [[route]] and its [[endpoint]]".to_owned();
        reader.warning("route", "there is no route: every request will be refused".to_owned(), fix);
    }
    sound.then_some(routes)
}

/// Names to indices.
fn resolve(reader: &mut Reader<'_>, path: &str, names: &[String], tables: &Tables) -> Option<Vec<u16>> {
    if names.is_empty() {
        let fix = "name at least one [[endpoint]]".to_owned();
        reader.error(path, "names no endpoint".to_owned(), fix);
        return None;
    }
    let mut found = Vec::with_capacity(names.len());
    for (i, name) in names.iter().enumerate() {
        let known = || tables.endpoints.iter().map(|endpoint| endpoint.name.as_str());
        let Some(at) = known().position(|known| known == name) else {
            let fix = match nearest(name, known()) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("add an [[endpoint]] with name = \"{name}\""),
            };
            reader.error(path, format!("no endpoint is called \"{name}\""), fix);
            return None;
        };
        if names[..i].contains(name) {
            reader.error(path, format!("names \"{name}\" twice"), "name each endpoint once".to_owned());
            return None;
        }
        found.push(u16::try_from(at).expect("endpoints() refuses more than fit"));
    }
    Some(found)
}

/// The key that a listener shows to strangers is not the one that backends know this gateway by.
fn check_upstream_key(reader: &mut Reader<'_>, config: &Config) {
    let upstream = config.upstream.key.as_ref().map(StaticKey::public);
    for (i, listener) in config.listeners.iter().enumerate() {
        if listener.suites.are_unpinned() && Some(listener.key.public()) == upstream {
            let reason = "is this gateway's own key for backends, and strangers are shown it".to_owned();
            let fix = "name another file; `gateway keygen --out FILE` makes one".to_owned();
            reader.error(&format!("listener[{i}].key"), reason, fix);
        }
    }
}

fn check_sums(reader: &mut Reader<'_>, config: &Config, machine: &Machine) {
    if let Auth::Development { .. } = config.auth
        && config.listeners.iter().any(|listener| !listener.address.ip().is_loopback())
    {
        let reason = "in development mode whoever has the token can be any user".to_owned();
        reader.warning("auth.mode", reason, "use \"delegated\" where strangers can connect".to_owned());
    }
    check_upstream_key(reader, config);
    if let Some(http) = config.admin.http
        && !http.ip().is_loopback()
    {
        let reason = format!("{http} is open to the network, in clear and without a password");
        reader.warning("admin.http", reason, "use a loopback address".to_owned());
    }
    let ceiling = Ceiling::of(config);
    let sum = ceiling.user().saturating_add(ceiling.kernel_idle);
    if machine.memory != 0 && sum > machine.memory {
        let (sum, memory) = (sum >> 20, machine.memory >> 20);
        let reason = format!("the sum of all limits is {sum} MiB, but there are {memory} MiB of memory");
        let fix = "lower limits.outbox_pool, limits.strangers or the slots; `gateway check` prints the sum";
        reader.warning("limits", reason, fix.to_owned());
    }
}
