//! What the gateway uses and says of itself, read from outside; what cannot be read is told once and then absent.

use std::io;
use std::net::SocketAddr;

use crate::target::Target;
use crate::watch::{Cpu, Metrics, Process};

pub(super) struct Gauges {
    process: Option<Process>,
    http: Option<SocketAddr>,
    /// The largest proportional set size so far, in bytes.
    pub(super) pss_max: Option<u64>,
    pub(super) warnings: Vec<String>,
}

/// Said once, when links are seen that no limit counts.
const EXEMPT: &str = "the gateway counts most of these links as nobody's: peers on this machine are exempt from its limits \
                      (loopback_exempt); start it with `gateway dev --protect`";

impl Gauges {
    pub(super) fn new(target: &Target) -> Self {
        let why =
            target.unwatched.iter().map(|why| format!("not measured: what it costs the gateway: {why}"));
        let mut gauges = Self {
            process: target.pid.map(Process::with_pid),
            http: target.http,
            pss_max: None,
            warnings: why.collect(),
        };
        if gauges.process.is_none() && gauges.warnings.is_empty() {
            let hint = "not measured: what it costs the gateway: --target-file or --watch-pid says which process it is";
            gauges.warnings.push(hint.to_owned());
        }
        gauges
    }

    /// The sum of the gateway's limits in bytes, as it says itself.
    pub(super) fn ceiling(&mut self) -> Option<u64> {
        if self.http.is_none() {
            self.warn("not measured: the gateway's ceiling: the ready file (--target-file) says where its /metrics are".to_owned());
        }
        let ceiling = self.metrics()?.sum("gateway_memory_ceiling_bytes");
        if ceiling.is_none() {
            self.warn("not measured: the gateway's ceiling: its /metrics do not tell it".to_owned());
        }
        ceiling.map(|bytes| bytes as u64)
    }

    pub(super) fn cpu(&mut self) -> Option<Cpu> {
        let cpu = self.process.as_ref().map(Process::cpu);
        self.try_read(cpu, "CPU of the gateway")
    }

    /// Looks at its memory.
    pub(super) fn look(&mut self) {
        let pss = self.process.as_ref().map(Process::pss);
        let pss = self.try_read(pss, "memory of the gateway");
        self.pss_max = self.pss_max.max(pss);
    }

    /// Under attack by strangers, beside so many honest links: whether its limits apply to them.
    pub(super) fn look_at_strangers(&mut self, honest: u64) {
        let Some(metrics) = self.metrics() else { return };
        let (Some(links), Some(strangers)) = (metrics.sum("gateway_links"), metrics.sum("gateway_strangers"))
        else {
            return;
        };
        if are_exempt(links, strangers, honest) {
            self.warn(EXEMPT.to_owned());
        }
    }

    fn metrics(&mut self) -> Option<Metrics> {
        let metrics = self.http.map(Metrics::fetch);
        self.try_read(metrics, "what the gateway says of itself")
    }

    fn try_read<T>(&mut self, read: Option<io::Result<T>>, what: &str) -> Option<T> {
        match read? {
            Ok(value) => Some(value),
            Err(error) => {
                self.warn(format!("not measured: {what}: {error}"));
                None
            }
        }
    }

    fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }
}

/// Most of the links beside the honest ones are counted as nobody's. Which of them log in just now does not matter then.
fn are_exempt(links: f64, strangers: f64, honest: u64) -> bool {
    let others = links - honest as f64;
    others >= OTHERS_MIN && strangers < others / 2.0
}

/// Fewer links than this say nothing: so many may come and go between two looks.
const OTHERS_MIN: f64 = 32.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_are_neither_users_nor_strangers_are_exempt() {
        assert!(are_exempt(1200.0, 0.0, 200));
        assert!(are_exempt(1200.0, 499.0, 200), "of 1000");
        assert!(!are_exempt(1200.0, 1000.0, 200));
        assert!(!are_exempt(231.0, 0.0, 200), "too few to tell");
    }

    #[test]
    fn what_cannot_be_read_is_told_once() {
        let target = Target {
            address: "127.0.0.1:1".parse().unwrap(),
            server_key: protocol::noise::PublicKey([9; 32]),
            token: String::new(),
            http: None,
            pid: Some(u32::MAX),
            unwatched: None,
        };
        let mut gauges = Gauges::new(&target);
        for _ in 0..2 {
            gauges.look();
            assert_eq!((gauges.cpu(), gauges.pss_max, gauges.ceiling()), (None, None, None));
        }
        assert_eq!(gauges.warnings.len(), 3, "{:?}", gauges.warnings);
        let nobody = Gauges::new(&Target { pid: None, ..target.clone() });
        assert!(nobody.warnings[0].contains("--watch-pid"));
        let other = Gauges::new(&Target { pid: None, unwatched: Some("gone".to_owned()), ..target });
        assert_eq!(other.warnings, ["not measured: what it costs the gateway: gone"]);
    }
}
