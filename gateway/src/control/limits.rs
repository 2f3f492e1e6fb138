//! `limits` at the admin socket: what is in force at each listener, and whom it has kept out or, on trial, would have.

use std::fmt::Write;

use serde_json::{Value, json};

use super::snapshot::Snapshot;
use crate::config::{Admission, Listener};
use crate::counters::guard::Guard;

/// One guard of a listener.
struct Row {
    guard: Guard,
    value: String,
    is_on_trial: bool,
    kept_out: u64,
    would_keep_out: u64,
}

fn rows(snapshot: &Snapshot<'_>, place: usize) -> Vec<Row> {
    let listener = &snapshot.config.listeners[place];
    let row = |guard: &Guard| {
        let of_all = snapshot.counters.iter().map(|counters| &counters.listeners[place]);
        let (mut kept_out, mut would_keep_out) = (0, 0);
        for counted in of_all {
            kept_out += counted.refused.of(*guard).get();
            would_keep_out += counted.on_trial.of(*guard).get();
        }
        let is_on_trial = listener.dry_run.contains(*guard);
        Row { guard: *guard, value: value(*guard, listener, snapshot), is_on_trial, kept_out, would_keep_out }
    };
    Guard::ALL.iter().map(row).collect()
}

/// What is in force, as one would write it.
fn value(guard: Guard, listener: &Listener, snapshot: &Snapshot<'_>) -> String {
    let Admission { prefix_factor, accepts, logins_per_user, .. } = snapshot.config.admission;
    let limits = &snapshot.config.limits;
    match guard {
        Guard::Places => {
            let cores = snapshot.config.cores.iter();
            cores.map(|core| u64::from(snapshot.config.links_max(core.slots))).sum::<u64>().to_string()
        }
        Guard::Lists | Guard::Users => "see `bans` and [lists]".to_owned(),
        Guard::NotABalancer | Guard::ProxyHeader => listener.proxy_protocol.word().to_owned(),
        Guard::LinksPerAddress => listener.links_per_address.to_string(),
        Guard::StrangersPerAddress => listener.strangers_per_address.to_string(),
        Guard::AcceptsPerAddress => listener.accepts_per_address.to_string(),
        Guard::StrangersPerPrefix => (listener.strangers_per_address * prefix_factor).to_string(),
        Guard::AcceptsPerPrefix => listener.accepts_per_address.times(prefix_factor as u32).to_string(),
        Guard::AcceptsPerListener => listener.accepts.map_or("none".to_owned(), |rate| rate.to_string()),
        Guard::Accepts => accepts.to_string(),
        Guard::LoginsPerUser => logins_per_user.to_string(),
        Guard::Strangers => limits.strangers.to_string(),
        Guard::Hellos | Guard::Tokens => "whoever has none that is good".to_owned(),
        Guard::Waiting => limits.handshakes_waiting.to_string(),
        Guard::XxHandshakes => limits.xx_handshakes.to_string(),
        Guard::Deadlines => {
            format!(
                "{} s + {} s",
                limits.handshake_deadline.as_secs_f32(),
                limits.auth_deadline.as_secs_f32()
            )
        }
        Guard::Overload => "see `ladder`".to_owned(),
        Guard::Devices => format!("{}, see [devices]", snapshot.config.limits.devices),
        Guard::FramesPerLink => listener.rates.frames.to_string(),
        Guard::ControlPerLink => listener.rates.control.to_string(),
        Guard::BytesPerLink => listener.rates.bytes.to_string(),
        Guard::RatesPerUser => {
            format!("{}, bytes {}", listener.rates.user_frames, listener.rates.user_bytes)
        }
    }
}

/// For a person.
pub(super) fn text(snapshot: &Snapshot<'_>) -> String {
    let mut text = String::new();
    let mut line =
        |line: std::fmt::Arguments<'_>| writeln!(text, "{line}").expect("a string takes everything");
    for (place, listener) in snapshot.config.listeners.iter().enumerate() {
        line(format_args!("listener {}", listener.name));
        line(format_args!("  {:<22} {:<22} {:>10}  on trial", "guard", "in force", "kept out"));
        for Row { guard, value, is_on_trial, kept_out, would_keep_out } in rows(snapshot, place) {
            let trial = if is_on_trial { format!("would have: {would_keep_out}") } else { "no".to_owned() };
            line(format_args!("  {:<22} {value:<22} {kept_out:>10}  {trial}", guard.name()));
        }
    }
    let [addresses, prefixes] = snapshot.buckets.census();
    line(format_args!(
        "{} addresses and {} blocks are known, with {} strangers and {} links of users",
        addresses.held, prefixes.held, addresses.strangers, addresses.users
    ));
    text
}

/// For a script.
pub(super) fn json(snapshot: &Snapshot<'_>) -> Value {
    let listener = |(place, listener): (usize, &Listener)| {
        let row = |row: Row| {
            json!({
                "guard": row.guard.name(),
                "value": row.value,
                "dry_run": row.is_on_trial,
                "kept_out": row.kept_out,
                "would_keep_out": row.would_keep_out,
            })
        };
        let limits: Vec<Value> = rows(snapshot, place).into_iter().map(row).collect();
        json!({ "name": listener.name, "limits": limits })
    };
    let listeners: Vec<Value> = snapshot.config.listeners.iter().enumerate().map(listener).collect();
    let [addresses, prefixes] = snapshot.buckets.census();
    json!({
        "listeners": listeners,
        "addresses": { "known": addresses.held, "strangers": addresses.strangers, "users": addresses.users },
        "prefixes": { "known": prefixes.held },
    })
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::tests::with_snapshot;
    use super::*;

    #[test]
    fn what_is_in_force_is_told_with_whom_it_has_kept_out() {
        with_snapshot(|snapshot| {
            snapshot.counters[0].listeners[1].refused.of(Guard::StrangersPerAddress).add(3);
            snapshot.counters[1].listeners[1].refused.of(Guard::StrangersPerAddress).add(4);
            snapshot.counters[1].listeners[1].on_trial.of(Guard::Accepts).add(5);
            let told = json(snapshot);
            let limit = |listener: usize, guard: &str| {
                let limits = told["listeners"][listener]["limits"].as_array().expect("a list");
                limits.iter().find(|limit| limit["guard"] == guard).expect("each guard is there").clone()
            };
            assert_eq!(told["listeners"][1]["name"], "web");
            let strangers = limit(1, "strangers_per_address");
            assert_eq!((&strangers["value"], &strangers["kept_out"]), (&json!("8"), &json!(7)));
            assert_eq!(limit(0, "strangers_per_address")["value"], "64");
            assert_eq!(limit(0, "accepts_per_prefix")["value"], "320/s burst 640");
            let accepts = limit(1, "accepts");
            assert_eq!((&accepts["dry_run"], &accepts["would_keep_out"]), (&json!(true), &json!(5)));
            assert_eq!(limit(0, "accepts")["dry_run"], false);
            let text = text(snapshot);
            assert!(
                text.contains("accepts_per_address    20/s burst 40                   0  no\n"),
                "{text}"
            );
            assert!(text.contains("would have: 5\n") && text.contains("0 addresses and 0 blocks are known"));
        });
    }
}
