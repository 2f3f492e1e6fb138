//! From the config of a process to the settings of one worker.

use std::sync::Arc;

use protocol::limits::TAG_LEN;
use protocol::link::Rules;
use protocol::stream::{Mode, Params, frame_len_beside};

use crate::admission::balancers::Balancers;
use crate::admission::buckets::{AddressLimits, Most};
use crate::admission::ladder::Steps;
use crate::admission::rates::{OfClass, Rates};
use crate::answers;
use crate::config::{self, Config, Ladder, LinkRates, OwnRates, Security};
use crate::delivery::Bounds;
use crate::delivery::packages::Limits;
use crate::directory::claims::Allowed;
use crate::session::Grant;
use crate::upstream::route::{Balance, Route};
use crate::upstream::{StreamIndex, park, pending, redial};
use crate::worker::settings::{
    Auth, Backend, Budgets, Heartbeat, Listener, OverloadRules, PushRules, Settings,
};

/// The values of the config, as one worker needs them.
///
/// `index` is the worker's place in [`Config::cores`], `boot_id` identifies this start of the gateway.
///
/// # Panics
/// If the config has no such core.
#[must_use]
pub fn settings(config: &Config, index: u32, boot_id: [u8; 16]) -> Settings {
    let Config { limits, requests, receive, heartbeat, .. } = config;
    let workers = config.cores.len() as u32;
    let core = &config.cores[index as usize];
    let share = |node: usize| (node as u32).div_ceil(workers);
    Settings {
        worker: index,
        workers,
        slots: core.slots,
        parked: core.parked_accepts,
        slots_reserved: config.slots_reserved(core.slots),
        rules: rules(limits),
        handshakes_per_turn: core.handshakes_per_turn,
        handshake_share: limits.handshake_share as u32,
        budgets: Budgets { completions: limits.completions_per_turn, ..Budgets::default() },
        strangers_max: limits.strangers,
        loopback_exempt: limits.loopback_exempt,
        replay_filter_len: limits.replay_filter,
        partial_bytes_max: limits.partial_bytes,
        stranger_bytes_max: limits.stranger_bytes,
        outgoing_len_max: limits.outbox_hard,
        outgoing_len_soft: limits.outbox_soft,
        outgoing_drops_oldest: limits.outbox_drops_oldest,
        outgoing_soft_time: limits.outbox_soft_time,
        outgoing_bytes_max: limits.outbox_pool,
        lingering_max: limits.lingering,
        record_plain_max: limits.record_len_max - TAG_LEN,
        promote_after: receive.promote_after as u8,
        demote_after: receive.demote_after,
        heartbeat: Heartbeat { min: heartbeat.min, max: heartbeat.max, default: heartbeat.default },
        grant: Grant { requests: requests.link_count as u32, bytes: requests.link_bytes as u32 },
        in_flight: in_flight(config, share(requests.node_count)),
        waiting: park::Bounds { requests_max: share(requests.node_count), bytes_max: requests.parked_bytes },
        waiting_max: requests.deadline / 2,
        buffers_idle_max: limits.idle_buffers,
        devices: devices(config),
        classes: config.classes.iter().map(|class| class.name.clone()).collect(),
        tombstones_max: limits.tombstones,
        tombstone_time: limits.tombstone_time.max(config.sessions.window),
        session_window: config.sessions.window,
        sessions_detached_max: config.sessions.detached as u32,
        pushes: pushes(config),
        answers: answers(config),
        realm: config.realm.clone(),
        auth: auth(config),
        routes: config.routes.iter().map(route).collect(),
        endpoints: config.endpoints.iter().map(|endpoint| backend(config, endpoint)).collect(),
        gateway: "gateway".to_owned(),
        boot_id,
        listeners: core.listeners.iter().map(|at| listener(config, *at)).collect(),
        handshakes_waiting_max: limits.handshakes_waiting,
        xx_handshakes_max: limits.xx_handshakes,
        revocations_max: limits.revocations,
        revoked_logins_max: limits.revoked_logins,
        revocation_time: config.auth.revocation_time(),
        overload: overload(config),
        throttles_max: limits.throttles,
        logins: config.admission.logins_per_user,
        logins_max: config.admission.logins_remembered,
        redial: redial(config),
    }
}

const fn rules(limits: &config::Limits) -> Rules {
    Rules {
        record_len_max: limits.record_len_max,
        frame_len_max: limits.frame_len_max,
        handshake_deadline: limits.handshake_deadline,
        auth_deadline: limits.auth_deadline,
        glitches_max: limits.glitches as u8,
    }
}

fn pushes(config: &Config) -> PushRules {
    let config::Pushes {
        session_count,
        session_bytes,
        count,
        bytes,
        ttl,
        ack_timeout,
        tries,
        report_slots,
        ..
    } = config.pushes;
    let config::Pushes { package_wait, package_session_count, package_session_parts, .. } = config.pushes;
    let config::Pushes { package_session_bytes, package_parts, package_bytes, .. } = config.pushes;
    PushRules {
        bounds: Bounds { session_count: session_count as u32, session_bytes, count: count as u32, bytes },
        packages: Limits {
            wait: package_wait,
            session_packages: package_session_count as u32,
            session_parts: package_session_parts as u32,
            session_bytes: package_session_bytes,
            parts: package_parts as u32,
            bytes: package_bytes,
        },
        ttl,
        ack_timeout,
        tries: tries as u8,
        report_slots: report_slots as u32,
    }
}

fn in_flight(config: &Config, worker_max: u32) -> pending::Caps {
    let requests = &config.requests;
    pending::Caps {
        link_max: requests.link_count as u32,
        stream_max: requests.stream_count as u32,
        worker_max,
    }
}

fn answers(config: &Config) -> answers::Bounds {
    let config::Answers { session_count, count, bytes, behind } = config.answers;
    answers::Bounds { session_count: session_count as u32, count: count as u32, bytes, behind }
}

fn redial(config: &Config) -> redial::Rules {
    let upstream = &config.upstream;
    redial::Rules {
        dial_deadline: upstream.dial_deadline,
        pause_first: upstream.redial_min,
        pause_max: upstream.redial_max,
        misses_max: upstream.eject_after as u32,
        eject_first: upstream.eject_time,
        ..redial::Rules::default()
    }
}

fn overload(config: &Config) -> OverloadRules {
    let Ladder { enter, leave, patience, lag, dry_run } = config.overload;
    OverloadRules { steps: Steps { enter, leave, patience }, lag_max: lag, on_trial: dry_run }
}

fn devices(config: &Config) -> Allowed {
    Allowed {
        most: config.limits.devices as u32,
        beyond: config.devices.beyond,
        classes: config.devices.by_class(),
        names_logins: !matches!(config.auth, config::Auth::Development { .. }),
    }
}

fn auth(config: &Config) -> Auth {
    match &config.auth {
        config::Auth::Development { token } => Auth::Development { token: token.clone() },
        config::Auth::Delegated { route, deadline, in_flight_max } => Auth::Delegated {
            route: route.clone(),
            deadline: *deadline,
            in_flight_max: *in_flight_max as u32,
        },
        config::Auth::Jwt { verifier, in_flight_max, remembered, .. } => Auth::Jwt {
            verifier: Arc::clone(verifier),
            in_flight_max: *in_flight_max as u32,
            remembered: *remembered,
        },
    }
}

fn listener(config: &Config, place: usize) -> Listener {
    let listener = &config.listeners[place];
    let doorman = config.cores_of(place).first().map_or(0, |&core| core as u32);
    Listener {
        name: listener.name.clone(),
        place,
        doorman,
        suites_announced: listener.suites_announced,
        server_keys_next: listener.next.clone(),
        handshake_share: listener.handshake_share.map(|percent| percent as u32),
        addresses: addresses(config, listener),
        rates: rates(config, listener),
        balancers: Balancers::new(listener.proxy_protocol, &listener.balancers),
    }
}

/// What links may say who came by a listener: those of no class first, then those of each class, in the order of the config.
fn rates(config: &Config, listener: &config::Listener) -> Vec<OfClass> {
    let others = OwnRates::default();
    let classes = config.classes.iter().map(|class| &class.rates);
    let rates = |own| {
        let LinkRates { frames, control, bytes, user_frames, user_bytes, overruns } =
            listener.rates.with(own);
        Rates { frames, control, bytes, user_frames, user_bytes, overruns, on_trial: listener.dry_run }.into()
    };
    std::iter::once(&others).chain(classes).map(rates).collect()
}

fn addresses(config: &Config, listener: &config::Listener) -> AddressLimits {
    let admission = &config.admission;
    AddressLimits {
        address: Most {
            accepts: listener.accepts_per_address,
            strangers: listener.strangers_per_address as u32,
            users: listener.links_per_address as u32,
        },
        prefix_factor: admission.prefix_factor as u32,
        crowd: admission.crowd as u32,
        listener: listener.accepts,
        all: admission.accepts,
        on_trial: listener.dry_run,
    }
}

fn route(route: &config::Route) -> Route {
    Route {
        name: route.name.clone(),
        streams: route.endpoints.iter().copied().map(StreamIndex).collect(),
        balance: match route.balance {
            config::Balance::User => Balance::User,
            config::Balance::Key => Balance::Key,
            config::Balance::Least => Balance::Least,
        },
        presence: route.presence,
        deadline: route.deadline,
    }
}

/// Bytes that a push is at most longer in a link's queue than on its stream.
const FRAMED_MORE: usize = 16;

fn backend(config: &Config, endpoint: &config::Endpoint) -> Backend {
    let mode = match endpoint.security {
        Security::Clear => Mode::Clear,
        Security::Kk { key, suite } => {
            let local =
                config.upstream.key.clone().expect("a checked config has a key for encrypted streams");
            Mode::Kk { suite, local, remote: key }
        }
    };
    let limits = &config.limits;
    // What backends may send must fit into the empty queue of a link, and into a letter to its worker.
    let queue = limits.outbox_hard.min(limits.letter_bytes) - FRAMED_MORE;
    let params = Params {
        frame_len_max: frame_len_beside(limits.frame_len_max).min(queue),
        window: endpoint.credit_window as u64,
        heartbeat: config.upstream.heartbeat,
        handshake_deadline: config.upstream.dial_deadline,
        pending_bytes_max: config.upstream.outbox,
    };
    let capabilities = endpoint.capabilities;
    Backend { name: endpoint.name.clone(), address: endpoint.address.clone(), mode, capabilities, params }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{Machine, Overrides, load};

    #[test]
    fn a_worker_gets_what_is_in_force_for_its_core_and_its_listeners() {
        let text = "[keys]\nserver = 'key'\n[auth]\nmode = 'development'\n\
                    [[listener]]\nname = 'app'\n[[listener]]\nname = 'web'\naddress = '[::1]:0'\n\
                    [[core]]\nslots = 700\nparked_accepts = 9\nhandshakes_per_turn = 3\n\
                    [[core]]\nlisteners = ['web']\n";
        let machine = Machine { cpus: vec![0], open_files: 20_000, memory: 0 };
        let read = |_: &Path| Ok(protocol::hex::encode(&[9; 32]));
        let (config, _) = load("gateway.toml", text, Overrides::default(), &machine, &read)
            .unwrap_or_else(|problems| panic!("{problems}"));
        let [first, second] = [0, 1].map(|worker| super::settings(&config, worker, [1; 16]));
        assert_eq!((first.slots, first.parked, first.handshakes_per_turn), (700, 9, 3));
        assert_eq!((second.slots, second.parked, second.handshakes_per_turn), (20_000, 8, 4));
        let names = |settings: &super::Settings| -> Vec<String> {
            settings.listeners.iter().map(|listener| listener.name.clone()).collect()
        };
        assert_eq!((names(&first), names(&second)), (vec!["app".into(), "web".into()], vec!["web".into()]));
    }

    #[test]
    fn backends_may_send_what_fits_into_a_links_queue_and_no_more() {
        let longest = |limits: &str| {
            let text = format!(
                "[keys]\nserver = 'key'\n[auth]\nmode = 'development'\n[limits]\n{limits}\n\
                 [[route]]\nname = 'echo'\nendpoints = ['one']\n\
                 [[endpoint]]\nname = 'one'\naddress = 'unix:/one'\nclear = true\n"
            );
            let machine = Machine { cpus: vec![0], open_files: 20_000, memory: 0 };
            let read = |_: &Path| Ok(protocol::hex::encode(&[9; 32]));
            let (config, _) = load("gateway.toml", &text, Overrides::default(), &machine, &read)
                .unwrap_or_else(|problems| panic!("{problems}"));
            super::settings(&config, 0, [1; 16]).endpoints[0].params.frame_len_max
        };
        assert_eq!(longest(""), 69_632);
        let small = "frame_len_max = '8KiB'\noutbox_soft = '8KiB'\n";
        assert_eq!(longest(&format!("{small}outbox_hard = '32KiB'")), 32 * 1024 - super::FRAMED_MORE);
        assert_eq!(longest(&format!("{small}letter_bytes = '64KiB'")), 64 * 1024 - super::FRAMED_MORE);
    }
}
