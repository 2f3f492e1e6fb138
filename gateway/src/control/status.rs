//! The state of the whole process at one moment, for people and for scripts.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use protocol::UnixMillis;
use serde_json::{Map, Value, json};

use super::endpoints::State;
use super::serve::Places;
use crate::config::{Bound, Ceiling, Core, Endpoint, Listener};
use crate::counters::{Counters, Form, Sample};

/// What can be told at one moment.
pub(super) struct Snapshot<'s> {
    /// Whether every worker serves.
    pub(super) ready: bool,
    /// Whether the gateway is on its way out.
    pub(super) stopping: bool,
    /// When the process started.
    pub(super) started: UnixMillis,
    /// Now.
    pub(super) now: UnixMillis,
    /// Where clients connect, in the order of the config.
    pub(super) listeners: &'s [Listener],
    /// Their addresses with the real ports, in the same order.
    pub(super) addresses: &'s [SocketAddr],
    /// Workers' places, in order.
    pub(super) cores: &'s [Core],
    /// The backends, in the order of the config.
    pub(super) endpoints: &'s [Endpoint],
    /// Workers' numbers, in the same order.
    pub(super) counters: &'s [Arc<Counters>],
    /// The sum of all limits.
    pub(super) ceiling: &'s Ceiling,
    /// Each of them.
    pub(super) bounds: &'s [Bound],
    /// The connections at the sockets of the control thread, by name.
    pub(super) places: [(&'static str, &'s Places); 2],
}

impl Snapshot<'_> {
    /// One JSON object; its fields are only ever added to.
    #[must_use]
    pub(super) fn json(&self) -> Value {
        let workers: Vec<Value> = self
            .cores
            .iter()
            .zip(self.counters)
            .enumerate()
            .map(|(worker, (core, counters))| {
                let numbers = numbers(&counters.samples());
                json!({ "worker": worker, "cpu": core.cpu, "slots": core.slots, "counters": numbers })
            })
            .collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "ready": self.ready,
            "stopping": self.stopping,
            "started_unix_ms": self.started.0,
            "uptime_s": self.now.0.saturating_sub(self.started.0) / 1000,
            "listen": self.addresses[0].to_string(),
            "listeners": self.listeners().collect::<Vec<_>>(),
            "memory_ceiling_bytes": self.ceiling.user(),
            "endpoints": self.endpoints().collect::<Vec<_>>(),
            "totals": numbers(&self.totals()),
            "workers": workers,
        })
    }

    fn listeners(&self) -> impl Iterator<Item = Value> {
        self.listeners.iter().zip(self.addresses).map(|(listener, address)| {
            json!({
                "name": listener.name,
                "address": address.to_string(),
                "suites": listener.suite_names(),
                "cores": (0..self.cores.len()).collect::<Vec<_>>(),
            })
        })
    }

    fn endpoints(&self) -> impl Iterator<Item = Value> {
        self.endpoints.iter().enumerate().map(|(at, endpoint)| {
            let State { open, left_out } = State::of(at, self.counters);
            let reason = self.counters.iter().find_map(|counters| counters.endpoints[at].reason());
            json!({
                "name": endpoint.name,
                "streams_open": open,
                "streams": self.counters.len(),
                "left_out": left_out,
                "last_reason": reason.map(|reason| reason.to_string()),
            })
        })
    }

    /// The same for a person: what is not zero.
    #[must_use]
    pub(super) fn text(&self) -> String {
        let state = match (self.stopping, self.ready) {
            (true, _) => "stopping",
            (false, true) => "ready",
            (false, false) => "starting",
        };
        let uptime = self.now.0.saturating_sub(self.started.0) / 1000;
        let mut text = format!(
            "gateway {} · {state} · {} · {} workers · up {uptime} s\n",
            env!("CARGO_PKG_VERSION"),
            self.addresses[0],
            self.cores.len()
        );
        for (listener, address) in self.listeners.iter().zip(self.addresses) {
            let name = format!("listener {}", listener.name);
            writeln!(text, "{name:<36} {:>16}", address.to_string()).expect("a string takes everything");
        }
        for (at, endpoint) in self.endpoints.iter().enumerate() {
            let State { open, left_out } = State::of(at, self.counters);
            let left_out = if left_out > 0 { format!(", left out by {left_out}") } else { String::new() };
            let (name, all) = (format!("endpoint {}", endpoint.name), self.counters.len());
            writeln!(text, "{name:<36} {:>16}", format!("{open} of {all} open{left_out}"))
                .expect("a string takes everything");
        }
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

    /// Sums over all workers, in the order of [`Counters::METRICS`].
    fn totals(&self) -> Vec<Sample> {
        let mut workers = self.counters.iter().map(|counters| counters.samples());
        let mut totals = workers.next().unwrap_or_default();
        for samples in workers {
            for (total, sample) in totals.iter_mut().zip(samples) {
                match (total, sample) {
                    (Sample::One(total), Sample::One(number)) => *total = total.wrapping_add(number),
                    (Sample::Split(_, totals), Sample::Split(_, numbers)) => {
                        for ((_, total), (_, number)) in totals.iter_mut().zip(numbers) {
                            *total = total.wrapping_add(number);
                        }
                    }
                    _ => unreachable!("all workers have the same metrics"),
                }
            }
        }
        totals
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
pub(super) mod tests {
    use protocol::Refusal;

    use super::*;
    use crate::config::{Config, Development, Machine, Secret, Security};

    /// A backend's entry in a config.
    pub(in crate::control) fn endpoint() -> Endpoint {
        Endpoint {
            name: "chat".to_owned(),
            address: driver::Endpoint::Unix("/run/chat.sock".into()),
            security: Security::Clear,
            credit_window: 1 << 20,
        }
    }

    /// The listener of a config that says nothing of it.
    pub(in crate::control) fn listener() -> Listener {
        let with = Development {
            listen: None,
            workers: Some(1),
            server: Secret::new([5; 32]),
            service: "/run/chat.sock".into(),
            admin: None,
            http: None,
        };
        let machine = Machine { cpus: vec![0], open_files: 1000, memory: 0 };
        Config::development(with, &machine).unwrap().listeners[0].clone()
    }

    /// A gateway with two workers.
    pub(in crate::control) fn with_snapshot(look: impl FnOnce(&Snapshot<'_>)) {
        let counters = [Arc::new(Counters::new(1)), Arc::new(Counters::new(1))];
        let endpoint = endpoint();
        let ceiling = Ceiling { parts: vec![("links", 1 << 20)], kernel_idle: 0, kernel_full: 0 };
        look(&Snapshot {
            ready: true,
            stopping: false,
            started: UnixMillis(1_000_000),
            now: UnixMillis(1_090_500),
            listeners: &[listener()],
            addresses: &["127.0.0.1:7400".parse().unwrap()],
            cores: &[Core { cpu: 0, slots: 100 }, Core { cpu: 3, slots: 200 }],
            endpoints: std::slice::from_ref(&endpoint),
            counters: &counters,
            ceiling: &ceiling,
            places: [("http", &Places::default()), ("admin", &Places::default())],
            bounds: &[Bound { key: "limits.letters".to_owned(), unit: "1", number: 64 }],
        });
    }

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
    fn the_text_shows_gauges_and_what_has_happened() {
        with_snapshot(|snapshot| {
            snapshot.counters[0].refusals.of(Refusal::NoRoute).add(1);
            let text = snapshot.text();
            assert!(text.starts_with("gateway ") && text.contains(" · ready · 127.0.0.1:7400 · 2 workers"));
            assert!(text.contains("refusals no_route") && !text.contains("refusals busy"));
            assert!(text.contains("endpoint chat") && text.contains("0 of 2 open"));
            assert!(text.contains("sessions") && !text.contains("handshakes_resumed"));
        });
    }
}
