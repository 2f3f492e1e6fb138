//! The state of the whole process at one moment, for people and for scripts.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::endpoints::{State, reason};
use super::snapshot::Snapshot;
use crate::counters::{Counters, Form, Sample};

impl Snapshot<'_> {
    /// One JSON object; its fields are only ever added to.
    #[must_use]
    pub(super) fn json(&self) -> Value {
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "ready": self.not_ready().is_none(),
            "not_ready": self.not_ready(),
            "stopping": self.stopping,
            "started_unix_ms": self.started.0,
            "uptime_s": self.now.0.saturating_sub(self.started.0) / 1000,
            "listen": self.addresses[0].to_string(),
            "listeners": self.listeners().collect::<Vec<_>>(),
            "memory_ceiling_bytes": self.ceiling.user(),
            "bans": self.bans,
            "throttled_blocks": self.throttled_blocks.0,
            "bans_read_only": self.bans_read_only,
            "endpoints": self.endpoints().collect::<Vec<_>>(),
            "totals": numbers(&self.totals()),
            "workers": self.workers().collect::<Vec<_>>(),
        })
    }

    /// Each with the values in force for it; times say their unit.
    fn workers(&self) -> impl Iterator<Item = Value> {
        self.config.cores.iter().zip(self.counters).enumerate().map(|(worker, (core, counters))| {
            let listeners = core.listeners.iter().map(|at| &self.config.listeners[*at].name);
            let mut fields = json!({
                "worker": worker,
                "listeners": listeners.collect::<Vec<_>>(),
                "counters": numbers(&counters.samples()),
            });
            for (name, unit, number) in core.numbers() {
                let name = if unit == "microseconds" { format!("{name}_us") } else { name.to_owned() };
                fields[name] = number.into();
            }
            fields
        })
    }

    fn listeners(&self) -> impl Iterator<Item = Value> {
        self.config.listeners.iter().zip(self.addresses).enumerate().map(|(at, (listener, address))| {
            json!({
                "name": listener.name,
                "address": address.to_string(),
                "suites": listener.suite_names(),
                "cores": self.config.cores_of(at),
            })
        })
    }

    fn endpoints(&self) -> impl Iterator<Item = Value> {
        self.config.endpoints.iter().enumerate().map(|(at, endpoint)| {
            let State { open, left_out } = State::of(at, self.counters);
            let down = reason(at, self.counters);
            let past = || self.counters.iter().find_map(|counters| counters.endpoints[at].reason());
            json!({
                "name": endpoint.name,
                "streams_open": open,
                "streams": self.counters.len(),
                "left_out": left_out,
                "reason": down.map(|reason| reason.to_string()),
                "last_reason": down.or_else(past).map(|reason| reason.to_string()),
            })
        })
    }

    /// The same for a person: what is not zero.
    #[must_use]
    pub(super) fn text(&self) -> String {
        let state = self.not_ready().map_or("ready".to_owned(), |reason| format!("not ready: {reason}"));
        let uptime = self.now.0.saturating_sub(self.started.0) / 1000;
        let mut text = format!(
            "gateway {} · {state} · {} · {} workers · up {uptime} s\n",
            env!("CARGO_PKG_VERSION"),
            self.addresses[0],
            self.config.cores.len()
        );
        let (cores, listeners) = (self.config.cores_table(), self.config.listeners_table(self.addresses));
        writeln!(text, "\n{cores}\n{listeners}").expect("a string takes everything");
        for (at, endpoint) in self.config.endpoints.iter().enumerate() {
            let State { open, left_out } = State::of(at, self.counters);
            let left_out = if left_out > 0 { format!(", left out by {left_out}") } else { String::new() };
            let (name, all) = (format!("endpoint {}", endpoint.name), self.counters.len());
            let reason = reason(at, self.counters).map_or(String::new(), |reason| format!(": {reason}"));
            writeln!(text, "{name:<36} {:>16}{reason}", format!("{open} of {all} open{left_out}"))
                .expect("a string takes everything");
        }
        let read_only =
            self.bans_read_only.as_ref().map_or(String::new(), |why| format!(", read-only: {why}"));
        writeln!(text, "{:<36} {:>16}{read_only}", "bans", self.bans).expect("a string takes everything");
        writeln!(text, "{:<36} {:>16}", "throttled_blocks", self.throttled_blocks.0)
            .expect("a string takes everything");
        for (metric, sample) in Counters::METRICS.iter().zip(self.totals()) {
            let mut line = |name: &str, number: u64| {
                if number != 0 || metric.form == Form::Gauge {
                    writeln!(text, "{name:<36} {number:>16}").expect("a string takes everything");
                }
            };
            match sample {
                Sample::One(number) => line(metric.name, number),
                Sample::Split(_, values) => {
                    for (value, number) in values {
                        line(&format!("{} {value}", metric.name), number);
                    }
                }
            }
        }
        text
    }
}

fn numbers(samples: &[Sample]) -> Value {
    let mut fields = Map::new();
    for (metric, sample) in Counters::METRICS.iter().zip(samples) {
        let value = match sample {
            Sample::One(number) => json!(number),
            Sample::Split(_, values) => values.iter().map(|(name, number)| (*name, *number)).collect(),
        };
        fields.insert(metric.name.to_owned(), value);
    }
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use protocol::Refusal;
    use serde_json::json;

    use crate::control::snapshot::tests::with_snapshot;
    use crate::counters::health::Reason;

    #[test]
    fn totals_are_the_sums_of_all_workers() {
        with_snapshot(|snapshot| {
            snapshot.counters[0].links.add(2);
            snapshot.counters[1].links.add(3);
            snapshot.counters[1].refusals.of(Refusal::Busy).add(9);
            let json = snapshot.json();
            assert_eq!(json["totals"]["links"], 5);
            assert_eq!(json["totals"]["refusals"]["busy"], 9);
            assert_eq!(json["workers"][0]["counters"]["links"], 2);
            assert_eq!(json["workers"][1]["cpu"], 3);
            assert_eq!(json["uptime_s"], 90);
            assert_eq!(json["ready"], true);
        });
    }

    #[test]
    fn workers_and_listeners_are_told_as_they_are_in_force() {
        with_snapshot(|snapshot| {
            let json = snapshot.json();
            assert_eq!(json["listen"], "127.0.0.1:7400", "the first one's address");
            assert_eq!(json["listeners"][0]["cores"], json!([0, 1]));
            let web = &json["listeners"][1];
            assert_eq!((&web["name"], &web["address"]), (&json!("web"), &json!("[::1]:7401")));
            assert_eq!(web["cores"], json!([1]));
            assert_eq!(web["suites"][0], "NK_ChaChaPoly");
            let [first, second] = &json["workers"].as_array().unwrap()[..] else { panic!("there are two") };
            assert_eq!((&first["slots"], &second["slots"]), (&json!(1000), &json!(700)));
            assert_eq!((&first["batch_wait_us"], &second["batch_wait_us"]), (&json!(0), &json!(50)));
            assert_eq!((&first["parked_accepts"], &second["parked_accepts"]), (&json!(8), &json!(8)));
            assert_eq!(
                (&first["listeners"], &second["listeners"]),
                (&json!(["app"]), &json!(["app", "web"]))
            );
            let text = snapshot.text();
            let rows = ["0     0    1000   512", "1     3    700    512"];
            assert!(rows.iter().all(|row| text.contains(row)), "{text}");
            assert!(text.contains("web       [::1]:7401      1\n"), "{text}");
        });
    }

    #[test]
    fn the_text_shows_gauges_and_what_has_happened() {
        with_snapshot(|snapshot| {
            snapshot.counters[0].refusals.of(Refusal::NoRoute).add(1);
            let text = snapshot.text();
            assert!(text.starts_with("gateway ") && text.contains(" · ready · 127.0.0.1:7400 · 2 workers"));
            assert!(text.contains("refusals no_route") && !text.contains("refusals busy"));
            assert!(text.contains("endpoint chat") && text.contains("1 of 2 open\n"));
            snapshot.counters[1].endpoints[0].failed(Reason::OtherUser);
            let text = snapshot.text();
            assert!(text.contains("1 of 2 open: another user listens"), "{text}");
            let endpoint = &snapshot.json()["endpoints"][0];
            assert!(endpoint["reason"].as_str().is_some_and(|reason| reason.starts_with("another user")));
            assert!(text.contains("sessions") && !text.contains("handshakes_resumed"));
        });
    }
}
