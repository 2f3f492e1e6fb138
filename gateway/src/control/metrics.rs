//! Counters as text for Prometheus and everything that reads its formats.

use std::fmt::Write;

use super::log;
use super::places::Places;
use super::snapshot::Snapshot;
use crate::config::Bound;
use crate::counters::guard::{Guard, KeptOut};
use crate::counters::health::Health;
use crate::counters::{Cell, Counters, Family, Form, Metric, Sample};

/// Which of the two formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exposition {
    /// Prometheus text 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Exposition {
    /// The format to answer with, by the value of the `Accept` header.
    #[must_use]
    pub(super) fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Text }
    }

    /// Its media type.
    #[must_use]
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// All metrics of the process.
#[must_use]
pub(super) fn render(snapshot: &Snapshot<'_>, exposition: Exposition) -> String {
    let mut page = Page { text: String::with_capacity(16 << 10), exposition };
    page.process(snapshot);
    page.places(snapshot);
    page.endpoints(snapshot);
    page.guards(snapshot);
    let samples: Vec<Vec<Sample>> = snapshot.counters.iter().map(|counters| counters.samples()).collect();
    for (i, metric) in Counters::METRICS.iter().enumerate() {
        page.head(metric);
        for (worker, samples) in samples.iter().enumerate() {
            match &samples[i] {
                Sample::One(number) => page.line(metric, &format!("worker=\"{worker}\""), *number),
                Sample::Split(label, values) => {
                    for (value, number) in values {
                        page.line(metric, &format!("worker=\"{worker}\",{label}=\"{value}\""), *number);
                    }
                }
            }
        }
    }
    if exposition == Exposition::OpenMetrics {
        page.text.push_str("# EOF\n");
    }
    page.text
}

/// What is told of each guard of a listener: name, help, and where the numbers are.
type GuardMetric = (&'static str, &'static str, fn(&KeptOut) -> &Family<Guard>);
const GUARD_METRICS: &[GuardMetric] = &[
    ("kept_out", "Connections and logins that this guard has kept out.", |kept_out| &kept_out.refused),
    ("would_keep_out", "Those that it would have, were it not on trial.", |kept_out| &kept_out.on_trial),
];

/// What is told of each endpoint: name, help, form, and where the number is.
type EndpointMetric = (&'static str, &'static str, Form, fn(&Health) -> &Cell);
const ENDPOINT_METRICS: &[EndpointMetric] = &[
    ("endpoint_open", "Whether the stream to this endpoint is open.", Form::Gauge, |health| &health.open),
    ("endpoint_left_out", "Whether it is left out, as it answers too late.", Form::Gauge, |health| {
        &health.left_out
    }),
    ("endpoint_dials_failed", "Dials that led to no open stream.", Form::Counter, |health| {
        &health.dials_failed
    }),
    ("endpoint_streams_lost", "Open streams that ended.", Form::Counter, |health| &health.lost),
];

struct Page {
    text: String,
    exposition: Exposition,
}

impl Page {
    fn process(&mut self, snapshot: &Snapshot<'_>) {
        let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
        self.gauge("build_info", "Version of the gateway; always 1.", &version, 1);
        let ready = u64::from(snapshot.not_ready().is_none());
        self.gauge("ready", "Whether every worker serves and every route has a stream.", "", ready);
        let help = "Lines of the log dropped, as standard error was not read.";
        let dropped = Metric { name: "log_lines_dropped", help, form: Form::Counter };
        self.head(&dropped);
        self.line(&dropped, "", log::dropped());
        let started = snapshot.started.0 / 1000;
        self.gauge("start_time_seconds", "When the process started, in Unix time.", "", started);
        let ceiling = snapshot.ceiling.user();
        self.gauge("memory_ceiling_bytes", "The sum of all limits in user space.", "", ceiling);
        let (throttled, refused) = snapshot.throttled_blocks;
        self.gauge("throttled_blocks", "Blocks of addresses slowed down by backends.", "", throttled as u64);
        let help = "Blocks that were not slowed down, as lists.throttled_blocks are already.";
        let not_throttled = Metric { name: "throttled_blocks_refused", help, form: Form::Counter };
        self.head(&not_throttled);
        self.line(&not_throttled, "", refused);
        let slots = Metric { name: "slots", help: "Sockets a worker may have.", form: Form::Gauge };
        self.head(&slots);
        for (worker, core) in snapshot.config.cores.iter().enumerate() {
            self.line(&slots, &format!("worker=\"{worker}\""), u64::from(core.slots));
        }
        let bound = Metric {
            name: "config_bound",
            help: "Every number of the config, as it is in force.",
            form: Form::Gauge,
        };
        self.head(&bound);
        for Bound { key, worker, unit, number } in &snapshot.config.bounds {
            let worker = worker.map_or(String::new(), |worker| format!("worker=\"{worker}\","));
            self.line(&bound, &format!("{worker}key=\"{key}\",unit=\"{unit}\""), *number);
        }
    }

    fn places(&mut self, snapshot: &Snapshot<'_>) {
        let open = "Open connections at a socket of the control thread.";
        self.each_place(
            snapshot,
            Metric { name: "admin_connections", help: open, form: Form::Gauge },
            Places::open,
        );
        let evicted = "Connections there that were idle and lost their place to another one.";
        let evicted = Metric { name: "admin_evicted", help: evicted, form: Form::Counter };
        self.each_place(snapshot, evicted, Places::evicted);
    }

    fn each_place(&mut self, snapshot: &Snapshot<'_>, metric: Metric, number: fn(&Places) -> u64) {
        self.head(&metric);
        for (socket, places) in snapshot.places {
            self.line(&metric, &format!("socket=\"{socket}\""), number(places));
        }
    }

    fn endpoints(&mut self, snapshot: &Snapshot<'_>) {
        for (name, help, form, cell) in ENDPOINT_METRICS {
            let metric = Metric { name, help, form: *form };
            self.head(&metric);
            for (worker, counters) in snapshot.counters.iter().enumerate() {
                for (endpoint, health) in snapshot.config.endpoints.iter().zip(&counters.endpoints) {
                    let labels = format!("worker=\"{worker}\",endpoint=\"{}\"", endpoint.name);
                    self.line(&metric, &labels, cell(health).get());
                }
            }
        }
        let help = "Why the stream to this endpoint is not open; always 1, and absent while it is.";
        let metric = Metric { name: "endpoint_reason", help, form: Form::Gauge };
        self.head(&metric);
        for (worker, counters) in snapshot.counters.iter().enumerate() {
            for (endpoint, health) in snapshot.config.endpoints.iter().zip(&counters.endpoints) {
                if let Some(reason) = health.reason().filter(|_| health.open.get() == 0) {
                    let (name, reason) = (&endpoint.name, escaped(&reason.to_string()));
                    let labels = format!("worker=\"{worker}\",endpoint=\"{name}\",reason=\"{reason}\"");
                    self.line(&metric, &labels, 1);
                }
            }
        }
    }

    fn guards(&mut self, snapshot: &Snapshot<'_>) {
        for (name, help, family) in GUARD_METRICS {
            let metric = Metric { name, help, form: Form::Counter };
            self.head(&metric);
            for (worker, counters) in snapshot.counters.iter().enumerate() {
                for (listener, kept_out) in snapshot.config.listeners.iter().zip(&counters.listeners) {
                    family(kept_out).each(|guard, number| {
                        let listener = &listener.name;
                        let labels = format!("worker=\"{worker}\",listener=\"{listener}\",guard=\"{guard}\"");
                        self.line(&metric, &labels, number);
                    });
                }
            }
        }
    }

    fn gauge(&mut self, name: &'static str, help: &'static str, labels: &str, number: u64) {
        let metric = Metric { name, help, form: Form::Gauge };
        self.head(&metric);
        self.line(&metric, labels, number);
    }

    /// OpenMetrics names a counter's family without `_total`, the older format with it.
    fn head(&mut self, metric: &Metric) {
        let (form, suffix) = match (metric.form, self.exposition) {
            (Form::Gauge, _) => ("gauge", ""),
            (Form::Counter, Exposition::OpenMetrics) => ("counter", ""),
            (Form::Counter, Exposition::Text) => ("counter", "_total"),
        };
        let Metric { name, help, .. } = metric;
        let written =
            writeln!(self.text, "# HELP gateway_{name}{suffix} {help}\n# TYPE gateway_{name}{suffix} {form}");
        written.expect("a string takes everything");
    }

    fn line(&mut self, metric: &Metric, labels: &str, number: u64) {
        let suffix = if metric.form == Form::Counter { "_total" } else { "" };
        let name = metric.name;
        let written = if labels.is_empty() {
            writeln!(self.text, "gateway_{name}{suffix} {number}")
        } else {
            writeln!(self.text, "gateway_{name}{suffix}{{{labels}}} {number}")
        };
        written.expect("a string takes everything");
    }
}

/// A label's value as both formats want it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use protocol::CloseCode;

    use super::super::snapshot::tests::with_snapshot;
    use super::*;
    use crate::counters::health::Reason;

    #[test]
    fn a_label_does_not_end_before_its_value() {
        assert_eq!(escaped("a \"b\" \\\nc"), "a \\\"b\\\" \\\\\\nc");
    }

    #[test]
    fn counters_of_all_workers_appear_with_their_labels() {
        with_snapshot(|snapshot| {
            snapshot.counters[1].handshakes.add(7);
            snapshot.counters[0].closed.of(CloseCode::SlowReader).add(3);
            snapshot.counters[1].listeners[1].refused.of(Guard::Lists).add(4);
            snapshot.counters[0].listeners[0].on_trial.of(Guard::Accepts).add(5);
            let text = render(snapshot, Exposition::Text);
            assert!(text.contains("gateway_handshakes_total{worker=\"0\"} 0\n"));
            assert!(text.contains("gateway_handshakes_total{worker=\"1\"} 7\n"));
            assert!(text.contains("gateway_closed_total{worker=\"0\",code=\"slow_reader\"} 3\n"));
            let guards = [
                "gateway_kept_out_total{worker=\"1\",listener=\"web\",guard=\"lists\"} 4\n",
                "gateway_would_keep_out_total{worker=\"0\",listener=\"app\",guard=\"accepts\"} 5\n",
            ];
            assert!(guards.iter().all(|line| text.contains(line)), "{text}");
            let open = "gateway_endpoint_open{worker=\"1\",endpoint=\"chat\"} 0\n";
            assert!(text.contains("# TYPE gateway_endpoint_open gauge\n") && text.contains(open));
            assert!(!text.contains("gateway_endpoint_reason{"), "nothing has failed");
            snapshot.counters[1].endpoints[0].failed(Reason::Shut);
            let text = render(snapshot, Exposition::Text);
            let why = "gateway_endpoint_reason{worker=\"1\",endpoint=\"chat\",reason=\"the backend ended the stream";
            assert!(text.contains(why), "{text}");
            assert!(text.contains("# TYPE gateway_links gauge\n"));
            let blocks = ["gateway_throttled_blocks 2\n", "gateway_throttled_blocks_refused_total 3\n"];
            assert!(blocks.iter().all(|line| text.contains(line)), "{text}");
            assert!(text.contains("gateway_config_bound{key=\"limits.letters\",unit=\"1\"} 64\n"));
            let slots = "gateway_config_bound{worker=\"1\",key=\"core.slots\",unit=\"1\"} 700\n";
            let wait = "gateway_config_bound{worker=\"0\",key=\"core.batch_wait\",unit=\"microseconds\"} 0\n";
            assert!(text.contains(slots) && text.contains(wait));
            assert!(text.contains("# TYPE gateway_handshakes_total counter\n"));
        });
    }

    #[test]
    fn openmetrics_names_families_without_total_and_ends_with_eof() {
        with_snapshot(|snapshot| {
            let text = render(snapshot, Exposition::OpenMetrics);
            assert!(text.contains("# TYPE gateway_handshakes counter\n"));
            assert!(text.contains("gateway_handshakes_total{worker=\"0\"} 0\n"));
            assert!(text.ends_with("\n# EOF\n"));
            assert_eq!(text.matches("# EOF").count(), 1);
        });
    }

    /// The grammar both formats share: help, type, then that family's samples, all together, none twice.
    #[test]
    fn every_line_follows_the_grammar_and_no_series_appears_twice() {
        for exposition in [Exposition::Text, Exposition::OpenMetrics] {
            with_snapshot(|snapshot| {
                let text = render(snapshot, exposition);
                let (mut family, mut families, mut series) = (String::new(), HashSet::new(), HashSet::new());
                for line in text.lines().filter(|line| *line != "# EOF") {
                    if let Some(rest) = line.strip_prefix("# HELP ") {
                        family = rest.split_once(' ').expect("a help text").0.to_owned();
                        assert!(families.insert(family.clone()), "{family} is torn apart");
                    } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                        assert_eq!(rest.split(' ').next(), Some(family.as_str()));
                    } else {
                        let (name, number) = line.rsplit_once(' ').expect("a number");
                        assert!(name.starts_with(&family), "{line}");
                        assert!(number.parse::<u64>().is_ok(), "{line}");
                        assert!(series.insert(name.to_owned()), "{name} appears twice");
                        let plain = name.split('{').next().expect("a name");
                        assert!(plain.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{line}");
                    }
                }
            });
        }
    }

    #[test]
    fn the_format_follows_the_accept_header() {
        assert_eq!(Exposition::accepted("*/*"), Exposition::Text);
        let prometheus = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.3";
        assert_eq!(Exposition::accepted(prometheus), Exposition::OpenMetrics);
    }
}
