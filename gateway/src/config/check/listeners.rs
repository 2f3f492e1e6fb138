//! The listeners: each with its key and its suites, and what they must not have in common.

use std::net::SocketAddr;

use protocol::noise::{StaticKey, Suite, Suites};

use super::names::unique;
use super::rates::check as check_rates;
use super::secrets::secret;
use super::tables::Tables;
use crate::config::section::Reader;
use crate::config::sections::{AuthMode, ListenerKeys};
use crate::config::{
    BALANCERS_MAX, LISTENERS_MAX, Listener, NEXT_KEYS_MAX, NextKey, Overrides, OwnRates, ProxyProtocol,
    ReadFile, Secret,
};

/// Resolves and checks all of them. `server` is the key of those without one of their own.
pub(super) fn listeners(
    reader: &mut Reader<'_>,
    tables: &Tables,
    server: Option<&Secret>,
    overrides: Overrides,
    read: ReadFile<'_>,
) -> Option<Vec<Listener>> {
    check_count(reader, tables, overrides);
    let server = server.map(Secret::prepare);
    let mut all = Some(Vec::new());
    for (i, keys) in tables.listeners.iter().enumerate() {
        let path = format!("listener[{i}]");
        check_next(reader, &format!("{path}.next"), &keys.next);
        check_balancers(reader, &path, keys);
        let listener = listener(reader, tables, &path, keys, server.clone(), read);
        all = all.zip(listener).map(|(mut all, one)| {
            all.push(one);
            all
        });
    }
    let mut all = all?;
    if let (Some(address), [only]) = (overrides.listen, &mut all[..]) {
        only.address = address;
    }
    check_apart(reader, &all);
    check_leaving(reader, tables, &all);
    Some(all)
}

fn check_count(reader: &mut Reader<'_>, tables: &Tables, overrides: Overrides) {
    let count = tables.listeners.len();
    if count > LISTENERS_MAX {
        let fix = format!("remove some: {LISTENERS_MAX} are possible");
        reader.error("listener", format!("there are {count} listeners"), fix);
    }
    if count > 1 && overrides.listen.is_some() {
        let reason = format!("--listen gives one address, and there are {count} listeners");
        let fix = "leave --listen out, and write each `address` into the file".to_owned();
        reader.error("listener", reason, fix);
    }
}

/// Clients keep only a few keys of a gateway.
pub(super) fn check_next(reader: &mut Reader<'_>, key: &str, next: &[NextKey]) {
    if next.len() > NEXT_KEYS_MAX {
        let fix = format!("list at most {NEXT_KEYS_MAX}: clients keep only a few");
        reader.error(key, format!("lists {} keys", next.len()), fix);
    }
}

fn listener(
    reader: &mut Reader<'_>,
    tables: &Tables,
    path: &str,
    keys: &ListenerKeys,
    server: Option<StaticKey>,
    read: ReadFile<'_>,
) -> Option<Listener> {
    let (key, next, retired) = match &keys.key {
        Some(file) => {
            let own = secret(reader, &format!("{path}.key"), file, read).map(|secret| secret.prepare());
            (own, &keys.next, &keys.retired)
        }
        None => {
            for (name, given) in [("next", !keys.next.is_empty()), ("retired", !keys.retired.is_empty())] {
                if given {
                    let reason = "belongs to a key of the listener's own, and it has none".to_owned();
                    let fix = format!("add `key = \"FILE\"`, or move the list to `{name}` of [keys]");
                    reader.error(&format!("{path}.{name}"), reason, fix);
                }
            }
            (server, &tables.keys.next, &tables.keys.retired)
        }
    };
    if keys.handshake_share.is_some_and(|own| own > tables.limits.handshake_share) {
        let reason = format!("is more than all listeners together have: {}", tables.limits.handshake_share);
        let fix = "lower it, or raise handshake_share of [limits]".to_owned();
        reader.error(&format!("{path}.handshake_share"), reason, fix);
    }
    let suites = Suites::of(keys.suites.as_ref().unwrap_or(&tables.suites.allowed));
    let may_have_key = check_unpinned(reader, tables, path, keys, suites);
    if keys.suites.is_some() && suites.is_empty() {
        let fix = "name at least one suite, or remove the key".to_owned();
        reader.error(&format!("{path}.suites"), "no client could connect".to_owned(), fix);
    }
    let own = OwnRates {
        frames: keys.frames_per_link,
        control: keys.control_per_link,
        bytes: keys.bytes_per_link,
        user_frames: keys.frames_per_user,
        user_bytes: keys.bytes_per_user,
        overruns: keys.overruns_per_link,
    };
    let rates = tables.rates.rates().with(&own);
    check_rates(reader, path, rates, Some(&own), tables.limits.frame_len_max);
    let admission = &tables.admission;
    Some(Listener {
        name: keys.name.clone(),
        address: keys.address,
        key: key.filter(|_| may_have_key)?,
        next: next.clone(),
        retired: retired.clone(),
        suites,
        suites_announced: suites.without(Suites::of(&tables.suites.leaving)),
        backlog: keys.backlog,
        send_buffer: keys.send_buffer,
        receive_buffer: keys.receive_buffer,
        strangers_per_address: keys.strangers_per_address.unwrap_or(admission.strangers_per_address),
        accepts_per_address: keys.accepts_per_address.unwrap_or(admission.accepts_per_address),
        links_per_address: keys.links_per_address.unwrap_or(admission.links_per_address),
        accepts: keys.accepts,
        handshake_share: keys.handshake_share,
        rates,
        dry_run: keys.dry_run.unwrap_or(admission.dry_run),
        proxy_protocol: keys.proxy_protocol,
        balancers: keys.balancers.clone(),
    })
}

/// Where clients come without a server key: that listener serves nothing else, and neither does its key. Whether it may have
/// the one it would have.
fn check_unpinned(
    reader: &mut Reader<'_>,
    tables: &Tables,
    path: &str,
    keys: &ListenerKeys,
    suites: Suites,
) -> bool {
    let unpinned = Suites::of(&[Suite::XxChaChaPoly, Suite::XxAesGcm]);
    if suites.intersection(unpinned).is_empty() {
        return true;
    }
    let mut error = |key: &str, reason: &str, fix: &str| {
        reader.error(&format!("{path}{key}"), reason.to_owned(), fix.to_owned());
    };
    let suites_key = if keys.suites.is_some() { ".suites" } else { "" };
    if !suites.are_unpinned() {
        let reason = "allows XX and other suites: XX shows the server key to every stranger, and with it the gate that \
                      keeps strangers from the others";
        error(suites_key, reason, "give XX a [[listener]] of its own, with `suites` of XX only");
    }
    if tables.auth.mode == AuthMode::Development {
        let reason = "allows XX, and in development mode tokens name no client's key: whoever takes the connection could \
                      use them";
        error(suites_key, reason, "set auth.mode to \"jwt\" or \"delegated\", or remove the XX suites");
    }
    if keys.key.is_none() {
        let reason = "allows XX and has no server key of its own: strangers are shown it, so it must not be that of [keys]";
        error("", reason, "add `key = \"FILE\"`; `gateway keygen --out FILE` makes one");
    }
    for (name, is_given) in [(".next", !keys.next.is_empty()), (".retired", !keys.retired.is_empty())] {
        if is_given {
            error(
                name,
                "lists keys where clients keep none, as with XX nothing proves one",
                "remove the list",
            );
        }
    }
    if keys.handshake_share.is_none() {
        let reason =
            "allows XX, so that strangers without a key can use up all the time that is for handshakes";
        let fix = "add `handshake_share`, such as 5: hundredths of a core for those who come here";
        reader.warning(path, reason.to_owned(), fix.to_owned());
    }
    keys.key.is_some()
}

/// Whose word counts is listed where somebody's does, and only there.
fn check_balancers(reader: &mut Reader<'_>, path: &str, keys: &ListenerKeys) {
    let (is_off, count) = (keys.proxy_protocol == ProxyProtocol::Off, keys.balancers.len());
    let list = format!("{path}.balancers");
    if !is_off && count == 0 {
        let reason = "names no balancer whose headers would be read".to_owned();
        let fix =
            "add `balancers` with their addresses, such as `balancers = [\"10.0.0.0/8\"]`, or remove the key";
        reader.error(&format!("{path}.proxy_protocol"), reason, fix.to_owned());
    }
    if is_off && count > 0 {
        let reason =
            "names balancers, and `proxy_protocol` is off: their headers would be taken for junk".to_owned();
        let fix = "add `proxy_protocol = \"required\"`, or \"optional\" if clients come without them too";
        reader.error(&list, reason, fix.to_owned());
    }
    if count > BALANCERS_MAX {
        let fix = format!("list at most {BALANCERS_MAX}: write blocks rather than single addresses");
        reader.error(&list, format!("lists {count} balancers"), fix);
    }
    if keys.balancers.iter().any(|block| block.prefix_len() == 0) {
        let reason = "holds all addresses: whoever connects can say that it comes from anywhere".to_owned();
        let fix = "list the addresses of your balancers, and nobody else's".to_owned();
        reader.warning(&list, reason, fix);
    }
}

/// Each has a name and an address of its own, and those that share a key are as strong as each other.
fn check_apart(reader: &mut Reader<'_>, all: &[Listener]) {
    for (i, one) in all.iter().enumerate() {
        let path = format!("listener[{i}]");
        let others = &all[..i];
        if others.iter().any(|other| other.name == one.name) {
            unique(reader, &path, &one.name);
        }
        if let Some(other) = others.iter().find(|other| is_same(&other.address, &one.address)) {
            let reason = format!("listener \"{}\" has the address {} already", other.name, one.address);
            let fix = "give each listener an `address` of its own".to_owned();
            reader.error(&format!("{path}.address"), reason, fix);
        }
        for other in others.iter().filter(|other| other.key.public() == one.key.public()) {
            check_twins(reader, &path, one, other);
        }
    }
}

/// Two listeners with one server key, between which a client can't tell the difference.
fn check_twins(reader: &mut Reader<'_>, path: &str, one: &Listener, other: &Listener) {
    let name = &other.name;
    if one.suites.are_unpinned() || other.suites.are_unpinned() {
        let reason = format!(
            "has the server key of listener \"{name}\", and one of them allows XX: the key that strangers are shown must \
             serve nothing else"
        );
        let fix = "give it a key of its own with `key = \"FILE\"` (`gateway keygen --out FILE` makes it)";
        return reader.error(path, reason, fix.to_owned());
    }
    if other.suites != one.suites {
        let reason = format!(
            "has the server key of listener \"{name}\" and other suites: a client could be steered from the \
             stronger to the weaker one, and nothing in message 2 would show it"
        );
        let fix = "give one of them a key of its own with `key = \"FILE\"` (`gateway keygen --out FILE` makes \
                   it), or both the same suites";
        reader.error(path, reason, fix.to_owned());
    }
    if other.next != one.next || other.retired != one.retired {
        let reason = format!(
            "has the server key of listener \"{name}\" and other `next` or `retired` keys: a client forgets at \
             the one which keys to expect at the other"
        );
        reader.error(path, reason, "give both the same lists".to_owned());
    }
}

/// Port 0 stands for a free port, a new one each time.
fn is_same(one: &SocketAddr, other: &SocketAddr) -> bool {
    let canonical = |address: &SocketAddr| (address.ip().to_canonical(), address.port());
    one.port() != 0 && canonical(one) == canonical(other)
}

/// Only what is offered can be on its way out.
fn check_leaving(reader: &mut Reader<'_>, tables: &Tables, all: &[Listener]) {
    let leaving = Suites::of(&tables.suites.leaving);
    if !all.iter().fold(leaving, |left, listener| left.without(listener.suites)).is_empty() {
        let fix = "remove those that are gone from `leaving`".to_owned();
        reader.error("suites.leaving", "lists a suite that no listener allows".to_owned(), fix);
    }
}
