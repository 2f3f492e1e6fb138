//! What can be told of the whole process at one moment.

use std::net::SocketAddr;
use std::sync::Arc;

use protocol::UnixMillis;

use super::endpoints::reason;
use super::fullness::{self, is_full};
use super::places::Places;
use crate::admission::buckets::Buckets;
use crate::config::{Ceiling, Config, Route};
use crate::counters::{Counters, Sample};

/// What can be told at one moment.
pub(super) struct Snapshot<'s> {
    /// Whether every worker serves.
    pub(super) serving: bool,
    /// Whether the gateway is on its way out.
    pub(super) stopping: bool,
    /// When the process started.
    pub(super) started: UnixMillis,
    /// Now.
    pub(super) now: UnixMillis,
    /// What is in force.
    pub(super) config: &'s Config,
    /// The addresses clients connect to with their real ports, by listener of the config.
    pub(super) addresses: &'s [SocketAddr],
    /// Workers' numbers, by core of the config.
    pub(super) counters: &'s [Arc<Counters>],
    /// The sum of all limits.
    pub(super) ceiling: &'s Ceiling,
    /// What addresses have cost so far.
    pub(super) buckets: &'s Buckets,
    /// How many bans there are.
    pub(super) bans: usize,
    /// How many blocks of addresses are slowed down, and how many are not, as there was no room.
    pub(super) throttled_blocks: (usize, u64),
    /// Why no ban can be set or lifted, if so.
    pub(super) bans_read_only: Option<String>,
    /// The connections at the sockets of the control thread, by name.
    pub(super) places: [(&'static str, &'s Places); 2],
}

impl Snapshot<'_> {
    /// Why no new clients should be sent here, if so: they or each of their requests would be turned away.
    pub(super) fn not_ready(&self) -> Option<String> {
        if self.stopping {
            return Some("stopping".to_owned());
        }
        if !self.serving {
            return Some("not every worker serves".to_owned());
        }
        let takes_requests = |endpoint: &u16| {
            let healths = self.counters.iter().map(|its| &its.endpoints[usize::from(*endpoint)]);
            healths.into_iter().any(|health| health.open.get() != 0 && health.left_out.get() == 0)
        };
        let without = self.config.routes.iter().filter(|route| !route.endpoints.iter().any(takes_requests));
        let mut named: Vec<_> = without.map(|route| self.describe(route)).collect();
        let full = (0..self.config.listeners.len()).filter(|at| is_full(self.config, self.counters, *at));
        named.extend(full.map(|at| fullness::describe(self.config, self.counters, at)));
        (!named.is_empty()).then(|| named.join("; "))
    }

    /// That new clients are welcome, and what an operator has to see to all the same.
    pub(super) fn ready(&self) -> String {
        match &self.bans_read_only {
            None => "ready\n".to_owned(),
            Some(why) => {
                format!("ready; bans can neither be set nor lifted: {why}; start the gateway again\n")
            }
        }
    }

    /// A route without a stream, and why its endpoints have none.
    fn describe(&self, route: &Route) -> String {
        let endpoint = |endpoint: &u16| {
            let at = usize::from(*endpoint);
            let reason = reason(at, self.counters).map(|reason| format!(": {reason}"));
            format!("endpoint {}{}", self.config.endpoints[at].name, reason.unwrap_or_default())
        };
        let endpoints: Vec<_> = route.endpoints.iter().map(endpoint).collect();
        format!("route {} has no stream ({})", route.name, endpoints.join(", "))
    }

    /// Sums over all workers, in the order of [`Counters::METRICS`].
    pub(super) fn totals(&self) -> Vec<Sample> {
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

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;

    use super::*;
    use crate::collections::HashKey;
    use crate::config::{Checked, Machine, Overrides, load};

    /// A config of two workers with a listener each.
    pub(in crate::control) fn config() -> Checked<Config> {
        let text = "[keys]\nserver = 'key'\n[auth]\nmode = 'development'\n[limits]\nletters = 64\n\
                    [[listener]]\nname = 'app'\naddress = '127.0.0.1:7400'\n\
                    [[listener]]\nname = 'web'\naddress = '[::1]:0'\nstrangers_per_address = 8\ndry_run = true\n\
                    [[core]]\ncpu = 0\nlisteners = ['app']\n\
                    [[core]]\ncpu = 3\nslots = 700\nbatch_wait = '50us'\nlisteners = ['app', 'web']\n\
                    [[route]]\nname = 'chat'\nendpoints = ['chat']\n\
                    [[endpoint]]\nname = 'chat'\naddress = 'unix:/run/chat.sock'\nclear = true\n";
        let machine = Machine { cpus: vec![0, 3], open_files: 1000, memory: 0 };
        let read = |_: &Path| Ok("05".repeat(32));
        load("f", text, Overrides::default(), &machine, &read).unwrap_or_else(|p| panic!("{p}")).0
    }

    /// A gateway with it, and a stream on one of its workers.
    pub(in crate::control) fn with_snapshot(look: impl FnOnce(&Snapshot<'_>)) {
        let counters = [Arc::new(Counters::new(1, 2)), Arc::new(Counters::new(1, 2))];
        counters.iter().for_each(|its| its.link_places_left.set(1));
        counters[0].endpoints[0].opened();
        let config = config();
        let ceiling = Ceiling { parts: vec![("links", 1 << 20)], kernel_idle: 0, kernel_full: 0 };
        look(&Snapshot {
            serving: true,
            stopping: false,
            started: UnixMillis(1_000_000),
            now: UnixMillis(1_090_500),
            config: &config,
            addresses: &["127.0.0.1:7400", "[::1]:7401"].map(|address| address.parse().unwrap()),
            counters: &counters,
            ceiling: &ceiling,
            buckets: &Buckets::new(64, 2, HashKey::new([3; 16])),
            bans: 0,
            throttled_blocks: (2, 3),
            bans_read_only: None,
            places: [("http", &Places::default()), ("admin", &Places::default())],
        });
    }
}
