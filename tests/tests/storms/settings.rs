//! What the gateways of a storm are built from.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use driver::Endpoint;
use driver::sim::Rng;
use gateway::config::{DevelopmentToken, Machine, Overrides, ProxyProtocol, Secret, load};
use gateway::control;
use gateway::delivery::Bounds;
use gateway::delivery::packages::Limits;
use gateway::session::Grant;
use gateway::tokens::{Draft, Signer};
use gateway::upstream::{park, pending};
use gateway::worker::settings::{Budgets, PushRules, Settings};
use protocol::link::{Acceptor, ClientLink, Dial, Rules};
use protocol::noise::ticket::TicketKeys;
use protocol::noise::{Gate, StaticKey, Suite, Suites};
use protocol::stream::Access;
use protocol::{Time, UnixMillis};

use crate::backend::SMALL;
use crate::balancer::BALANCERS;
use crate::shape::{Costs, STRANGERS, Scarce, Shape, name_of};

/// Table `[auth]` of a gateway whose backend judges tokens.
const DELEGATED: &str = "mode = \"delegated\"\nroute = \"accounts\"\ndeadline = \"2s\"\nin_flight_max = 4";
/// The same of one that verifies them, and remembers few.
const SIGNED: &str = "mode = \"jwt\"\nkeys = \"keys.json\"\nin_flight_max = 4\nremembered = 2\nskew = \"0ms\"\n\
     token_lifetime_max = \"240h\"";
/// Of the names by which users are owned.
pub(crate) const HASH_KEY: [u8; 16] = [5; 16];
/// The gateway's keys, for clients and for backends alike.
pub(crate) const SERVER: [u8; 32] = [9; 32];
/// The key of all backends.
const BACKEND: [u8; 32] = [12; 32];
/// The realm of everybody in a storm.
pub(crate) const REALM: &str = "storm";
pub(crate) const SUITES: Suites = Suites::of(&[Suite::NkChaChaPoly, Suite::NkAesGcm, Suite::IkAesGcm]);
pub(crate) const TICKET_SUITES: Suites = Suites::of(&[
    Suite::NkChaChaPoly,
    Suite::NkAesGcm,
    Suite::IkAesGcm,
    Suite::Nnpsk0ChaChaPoly,
    Suite::Nnpsk0AesGcm,
]);
/// Pushes that the sessions of a worker may be owed, and bytes of memory of them.
pub(crate) const OWED: (usize, usize) = (60, 20 << 10);
/// What bounds packages.
pub(crate) const PACKAGES: Limits = Limits {
    wait: Duration::from_millis(1500),
    session_packages: 4,
    session_parts: 8,
    session_bytes: 6 << 10,
    parts: 20,
    bytes: 10 << 10,
};
/// Handshakes of a worker that may wait for message 3: fewer than there may be strangers.
pub(crate) const BEGUN_MAX: usize = 3;
/// What such a listener serves.
pub(crate) const UNPINNED_SUITES: Suites = Suites::of(&XX);
const XX: [Suite; 2] = [Suite::XxChaChaPoly, Suite::XxAesGcm];
/// The group keys that tickets are sealed with, one after the other.
pub(crate) const GROUP: [u8; 32] = [4; 32];
pub(crate) const NEXT_GROUP: [u8; 32] = [5; 32];
/// The time of day when a storm begins, far enough from zero for tickets of long ago.
pub(crate) const WALL: u64 = 1_000_000_000_000;
/// What a brief turn does.
const BRIEF: Budgets =
    Budgets { completions: 3, letters: 2, ends: 2, deadlines: 2, announcements: 3, listed: 3 };
/// The time a hello may take where that is long.
const PATIENCE: Duration = Duration::from_mins(5);
/// The port clients connect from.
pub(crate) const PORT: u16 = 1000;
pub(crate) const GRANT: usize = 8;
/// About the least: twice what one link may have left over.
pub(crate) const PARTIAL_BYTES_MAX: usize = 16_400;
/// As little for a handful of strangers, so that some are pushed out, and enough for the hellos of as many as there may be.
const STRANGER_BYTES_MAX: usize = 20_000;
pub(crate) const HANDSHAKES_PER_TURN: usize = 2;
/// Requests that wait for credit, per route, and their bytes.
pub(crate) const PARKED_MAX: usize = 8;
pub(crate) const PARKED_BYTES_MAX: usize = 6000;
pub(crate) const IN_FLIGHT_MAX: usize = 32;

pub(crate) fn token() -> DevelopmentToken {
    DevelopmentToken::new(&Secret::new(SERVER))
}

/// Who signs tokens.
fn signer() -> Signer {
    Signer::new([13; 32])
}

/// A token of a user, of a login with this number, that ends at this moment; bound to the key of the devices, or to none.
pub(crate) fn signed_token(user: &str, login: usize, end: Time, is_bound: bool) -> String {
    let mut claims = serde_json::json!({ "sub": user, "jti": login.to_string(), "exp": wall(end).0 / 1000 });
    if is_bound {
        let x = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(device_key().public().0);
        claims["cnf"] = serde_json::json!({ "jwk": { "kty": "OKP", "crv": "X25519", "x": x } });
    }
    signer().sign(&Draft { claims: claims.as_object().expect("an object").clone() })
}

pub(crate) fn place(name: &str) -> Endpoint {
    Endpoint::Unix(format!("/{name}").into())
}

/// Bytes that may wait for all links of a worker.
pub(crate) fn outgoing_bytes_max(scarce: Option<Scarce>) -> usize {
    if scarce == Some(Scarce::Pool) { 8000 } else { 1 << 18 }
}

/// Bytes that all strangers of a worker may have left over.
pub(crate) const fn stranger_bytes_max(shape: &Shape) -> usize {
    STRANGER_BYTES_MAX * shape.strangers / STRANGERS
}

/// Tables `[[route]]` and `[[endpoint]]`.
fn backends(shape: &Shape) -> String {
    let route = |(name, more)| {
        let endpoints = shape.endpoints_of(name);
        format!("[[route]]\nname = \"{name}\"\nendpoints = {endpoints:?}\n{more}")
    };
    let security = if shape.sealed {
        let key = protocol::hex::encode(&StaticKey::from_secret(BACKEND).public().0);
        format!("key = \"{key}\"")
    } else {
        "clear = true".to_owned()
    };
    let may = match shape.trusted {
        true => "capabilities = [\"serve\", \"push\", \"kick\", \"ban\", \"authenticate\"]\n",
        false => "",
    };
    let endpoint =
        |name| format!("[[endpoint]]\nname = \"{name}\"\naddress = \"unix:/{name}\"\n{security}\n{may}");
    let routes = [("echo", "presence = true\n"), ("mail", "balance = \"key\"\n"), ("accounts", "")];
    routes.map(route).into_iter().chain((0..shape.backends).map(name_of).map(endpoint)).collect()
}

/// Tables `[admission]` and `[rates]`.
const fn costs(costs: Costs) -> &'static str {
    match costs {
        Costs::Whatever => {
            "strangers_per_address = 255\naccepts_per_address = \"1000000/s\"\naccepts = \"1000000/s\"\n\
             logins_per_user = \"1000000/s\"\n\
             [rates]\nframes_per_link = \"1000000/s\"\ncontrol_per_link = \"1000000/s\"\n\
             bytes_per_link = \"1024MiB/s\"\nframes_per_user = \"1000000/s\"\nbytes_per_user = \"1024MiB/s\"\n"
        }
        Costs::Default => "",
        Costs::Little => {
            "strangers_per_address = 3\naccepts_per_address = \"4/s burst 5\"\nprefix_factor = 2\n\
             accepts = \"30/s burst 20\"\nlogins_per_user = \"60/m burst 5\"\n\
             [rates]\nframes_per_link = \"8/s burst 3\"\nbytes_per_link = \"3KiB/s burst 9KiB\"\n\
             frames_per_user = \"6/s burst 32\"\noverruns_per_link = \"1000000/s\"\n"
        }
    }
}

/// Table `[[listener]]`.
fn listener(proxy: ProxyProtocol) -> String {
    let balancers = if proxy == ProxyProtocol::Off { String::new() } else { format!("\"{BALANCERS}\"") };
    let proxy = proxy.word();
    format!("[[listener]]\nname = \"clients\"\nproxy_protocol = \"{proxy}\"\nbalancers = [{balancers}]\n")
}

/// What the config of a small gateway gives a worker, and then less of everything, so that all bounds are met.
pub(crate) fn settings(worker: u32, shape: &Shape) -> Settings {
    let auth = match shape {
        Shape { delegated: true, .. } => DELEGATED,
        Shape { signed: true, .. } => SIGNED,
        _ => "mode = \"development\"",
    };
    let Shape { workers, scarce, .. } = *shape;
    let text = format!(
        "workers = {workers}\n[keys]\nserver = \"key\"\n[auth]\n{auth}\n\
         [admission]\n{}\
         [heartbeat]\nmin = \"1s\"\nmax = \"60s\"\ndefault = \"20s\"\n\
         [limits]\nframe_len_max = \"4KiB\"\nhandshakes_per_turn = {HANDSHAKES_PER_TURN}\nglitches = 10\ndevices = 4\n\
         [receive]\nparked_accepts = 4\npromote_after = 3\ndemote_after = \"2s\"\n\
         [requests]\nlink_count = {GRANT}\nlink_bytes = \"64KiB\"\nstream_count = 24\ndeadline = \"5s\"\n\
         [upstream]\nkey = \"key\"\nredial_max = \"1s\"\nheartbeat = \"2s\"\neject_time = \"2s\"\n\
         [devices]\n{}{}{}",
        costs(shape.costs),
        if shape.few_devices { "phone = \"replace 1\"\ndesktop = \"refuse 1\"\n" } else { "" },
        listener(shape.proxy),
        backends(shape)
    );
    let machine = Machine { cpus: vec![0], open_files: shape.slots.max(64).into(), memory: 0 };
    let read = |path: &Path| match path.extension() {
        Some(_) => Ok(signer().key_set()),
        None => Ok(protocol::hex::encode(&SERVER)),
    };
    let config = match load("storm.toml", &text, Overrides::default(), &machine, &read) {
        Ok((config, _)) => config,
        Err(problems) => panic!("{problems}"),
    };
    let mut all = control::settings::settings(&config, worker, [1; 16]);
    all.endpoints.iter_mut().for_each(|endpoint| endpoint.params = SMALL);
    Settings {
        rules: Rules {
            handshake_deadline: if shape.patient { PATIENCE } else { all.rules.handshake_deadline },
            ..all.rules
        },
        budgets: if shape.brief { BRIEF } else { Budgets::default() },
        slots: shape.slots,
        slots_reserved: all.slots_reserved.min(shape.slots / 8),
        handshake_share: shape.share,
        strangers_max: shape.strangers,
        handshakes_waiting_max: shape.strangers,
        xx_handshakes_max: BEGUN_MAX,
        loopback_exempt: shape.exempt,
        replay_filter_len: 64,
        partial_bytes_max: PARTIAL_BYTES_MAX,
        stranger_bytes_max: stranger_bytes_max(shape),
        outgoing_len_max: if scarce == Some(Scarce::Hard) { 3000 } else { 1 << 16 },
        outgoing_len_soft: if scarce == Some(Scarce::Soft) { 1500 } else { 1 << 16 },
        outgoing_drops_oldest: shape.drops_oldest,
        outgoing_soft_time: Duration::from_secs(1),
        outgoing_bytes_max: outgoing_bytes_max(scarce),
        lingering_max: 16,
        record_plain_max: 1000,
        grant: Grant { bytes: shape.grant_bytes, ..all.grant },
        in_flight: pending::Caps { link_max: GRANT as u32, stream_max: 24, worker_max: IN_FLIGHT_MAX as u32 },
        waiting: park::Bounds { requests_max: PARKED_MAX as u32, bytes_max: PARKED_BYTES_MAX },
        waiting_max: Duration::from_secs(2),
        tombstones_max: 64,
        pushes: PushRules {
            bounds: Bounds { session_count: 20, session_bytes: 8 << 10, count: OWED.0 as u32, bytes: OWED.1 },
            packages: PACKAGES,
            ttl: Duration::from_secs(30),
            ack_timeout: Duration::from_secs(1),
            tries: 3,
            report_slots: 40,
        },
        session_window: Duration::from_secs(3),
        sessions_detached_max: if shape.forgetful { 2 } else { 1000 },
        ..all
    }
}

/// Which streams a backend accepts.
pub(crate) fn access(shape: &Shape) -> Arc<Access> {
    if !shape.sealed {
        return Arc::new(Access::clear());
    }
    let gateways = vec![StaticKey::from_secret(SERVER).public()];
    Arc::new(Access::kk(StaticKey::from_secret(BACKEND), gateways))
}

/// The server's end of handshakes.
pub(crate) fn acceptor(shape: &Shape) -> Acceptor {
    let tickets = shape.tickets.then(|| TicketKeys::new(GROUP, REALM, UnixMillis(WALL)));
    let suites = match shape {
        Shape { unpinned: true, .. } => UNPINNED_SUITES,
        Shape { tickets: true, .. } => TICKET_SUITES,
        _ => SUITES,
    };
    Acceptor::new(StaticKey::from_secret(SERVER), suites, &[], tickets)
}

/// A client's end of a link that is opened with NK, and its hello.
pub(crate) fn dialled(ephemeral: [u8; 32]) -> (ClientLink, Vec<u8>) {
    let server = StaticKey::from_secret(SERVER).public();
    let dial = Dial {
        server: &server,
        gate: &Gate::new(&server),
        suite: Suite::NkChaChaPoly,
        better: Suites::NONE,
        served: Suites::NONE,
        device_key: None,
        ticket: None,
    };
    let mut hello = Vec::new();
    let machine = ClientLink::dial(&dial, ephemeral, Time::ZERO, &mut hello).expect("the keys fit the suite");
    (machine, hello)
}

/// The key of every user's device, which their tokens name.
pub(crate) fn device_key() -> StaticKey {
    StaticKey::from_secret([8; 32])
}

/// A client's end of a link without a server key, and its hello.
pub(crate) fn dialled_unpinned(
    rng: &mut Rng,
    now: Time,
    ephemeral: [u8; 32],
    hello: &mut Vec<u8>,
) -> ClientLink {
    let suite = XX[rng.below(XX.len())];
    ClientLink::dial_unpinned(suite, Suites::NONE, &device_key(), ephemeral, now, hello)
        .expect("the key fits the suite")
}

/// Where a user connects from: some are neighbours of others.
pub(crate) fn address_of(user: &[u8]) -> [u8; 4] {
    let sum = user.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    [10, 0, (sum % 3) as u8, (sum / 3 % 3) as u8]
}

/// The time of day.
pub(crate) fn wall(now: Time) -> UnixMillis {
    UnixMillis(WALL + now.as_millis())
}
