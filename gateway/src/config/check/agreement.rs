//! Keys that must agree with each other, whatever each of them allows by itself.

use protocol::limits::CREDIT_OVERHEAD;
use protocol::noise::Suites;
use protocol::stream::frame_len_beside;

use super::listeners::check_next;
use super::tables::Tables;
use crate::config::Capability;
use crate::config::section::Reader;
use crate::config::sections::{RouteKeys, SuiteKeys};

/// Notes every disagreement between keys of these tables.
pub(super) fn check_agreement(reader: &mut Reader<'_>, tables: &Tables) {
    check_order(reader, tables);
    check_partials(reader, tables);
    check_grant(reader, tables);
    check_judges(reader, tables);
    check_capabilities(reader, tables);
    check_suites(reader, &tables.suites);
    check_next(reader, "keys.next", &tables.keys.next);
}

/// Pairs of keys of which one must not exceed the other.
fn check_order(reader: &mut Reader<'_>, tables: &Tables) {
    let (limits, heartbeat, requests) = (&tables.limits, &tables.heartbeat, &tables.requests);
    let mut ordered = |least: &str, most: &str, holds: bool| {
        if !holds {
            let key = most.trim_start_matches("half of ");
            reader.error(least, format!("is greater than {most}"), format!("lower {least} or raise {key}"));
        }
    };
    ordered("heartbeat.min", "heartbeat.default", heartbeat.min <= heartbeat.default);
    ordered("heartbeat.default", "heartbeat.max", heartbeat.default <= heartbeat.max);
    ordered("limits.outbox_soft", "limits.outbox_hard", limits.outbox_soft <= limits.outbox_hard);
    ordered("limits.outbox_hard", "limits.outbox_pool", limits.outbox_hard <= limits.outbox_pool);
    ordered("limits.frame_len_max", "limits.outbox_hard", limits.frame_len_max <= limits.outbox_hard);
    ordered("limits.frame_len_max", "limits.letter_bytes", limits.frame_len_max <= limits.letter_bytes);
    ordered(
        "limits.frame_len_max",
        "upstream.outbox",
        frame_len_beside(limits.frame_len_max) <= tables.upstream.outbox,
    );
    ordered("requests.link_count", "requests.node_count", requests.link_count <= requests.node_count);
    ordered(
        "upstream.redial_min",
        "upstream.redial_max",
        tables.upstream.redial_min <= tables.upstream.redial_max,
    );
    for (i, endpoint) in tables.endpoints.iter().enumerate() {
        // Credit comes back from half a window on, so the longest frame must fit into the other half.
        let longest = frame_len_beside(limits.frame_len_max) as u64 + CREDIT_OVERHEAD;
        let holds = 2 * longest <= endpoint.credit_window as u64;
        ordered("limits.frame_len_max", &format!("half of endpoint[{i}].credit_window"), holds);
    }
}

/// A link may hold an incomplete frame, in whose last record the next one begins, and an incomplete record, and must not
/// push itself out. Buffers are up to twice as large as what they hold.
fn check_partials(reader: &mut Reader<'_>, tables: &Tables) {
    let limits = &tables.limits;
    let longest = 2 * (limits.frame_len_max + 2 * limits.record_len_max);
    if longest > limits.partial_bytes {
        let reason = format!("one link may need {longest} B, for an incomplete frame and record");
        let fix = "raise it to that, or lower limits.frame_len_max or limits.record_len_max".to_owned();
        reader.error("limits.partial_bytes", reason, fix);
    }
}

/// A request as long as a frame may be must fit into an idle link's grant, or it would be refused for ever.
fn check_grant(reader: &mut Reader<'_>, tables: &Tables) {
    let longest = tables.limits.frame_len_max as u64 + CREDIT_OVERHEAD;
    if longest > tables.requests.link_bytes as u64 {
        let reason = format!("the longest request costs {longest} B, which no link is granted");
        let fix = "raise requests.link_bytes to that, or lower limits.frame_len_max".to_owned();
        reader.error("requests.link_bytes", reason, fix);
    }
}

/// Tokens are as good as passwords: they go to backends sealed, or over a Unix socket whose other end is known.
fn check_judges(reader: &mut Reader<'_>, tables: &Tables) {
    let Some(route) = tables.routes.iter().find(|route| Some(&route.name) == tables.auth.route.as_ref())
    else {
        return;
    };
    for (i, endpoint) in tables.endpoints.iter().enumerate() {
        let is_tcp = matches!(endpoint.address, driver::Endpoint::Tcp(_));
        if route.endpoints.contains(&endpoint.name) && endpoint.clear && is_tcp {
            let reason = format!(
                "endpoint \"{}\" judges tokens, which would reach it in clear over TCP",
                endpoint.name
            );
            let fix = "use a Unix socket, or give the backend's public key as `key`".to_owned();
            reader.error(&format!("endpoint[{i}].clear"), reason, fix);
        }
    }
}

/// A route leads to nobody who may not answer on it, and tokens to nobody who may not judge them: the first word of such a
/// backend would end its stream.
fn check_capabilities(reader: &mut Reader<'_>, tables: &Tables) {
    for (i, endpoint) in tables.endpoints.iter().enumerate() {
        let Some(named) = &endpoint.capabilities else { continue };
        let of_endpoint = |route: &&RouteKeys| route.endpoints.contains(&endpoint.name);
        for route in tables.routes.iter().filter(of_endpoint) {
            let judges = Some(&route.name) == tables.auth.route.as_ref();
            let wanted =
                [(true, Capability::Serve, "serve"), (judges, Capability::Authenticate, "authenticate")];
            for (_, _, word) in wanted.iter().filter(|(needed, may, _)| *needed && !named.contains(may)) {
                let reason = format!("lacks \"{word}\", and route \"{}\" leads there", route.name);
                let fix = format!("add \"{word}\", or take \"{}\" out of the route", endpoint.name);
                reader.error(&format!("endpoint[{i}].capabilities"), reason, fix);
            }
        }
    }
}

/// Somebody must be able to connect.
fn check_suites(reader: &mut Reader<'_>, keys: &SuiteKeys) {
    let suites = Suites::of(&keys.allowed);
    if suites == Suites::NONE {
        let fix = "name at least one suite, or remove the key".to_owned();
        reader.error("suites.allowed", "no client could connect".to_owned(), fix);
    }
}
