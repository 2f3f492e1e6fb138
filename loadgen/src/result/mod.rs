//! The result of a run: what the JSON file holds. A figure that was not measured is absent, never zero.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::options::Shared;
use crate::tally::{Counts, Tally};

pub mod abuse;
mod judge;
mod latency;
pub mod pushes;
pub mod storm;

pub(crate) use judge::{Busy, INTERRUPTED};
pub use latency::Latency;

/// Everything a run has to say.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// `idle`, `echo`, `connect`, `push`, `slow`, `abuse` or `storm`.
    pub scenario: &'static str,
    /// What was asked for.
    pub setup: Setup,
    /// Seconds really measured (in `connect`, with the full handshake); less than asked for when the run ended early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured_s: Option<f64>,
    /// Seconds from the start until a signal ended the run early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interrupted_after_s: Option<f64>,
    /// Seconds from the start until the run ended early, since no link was left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deserted_after_s: Option<f64>,
    /// What became of the links; in `connect`, of all of them one after the other.
    pub links: Links,
    /// What became of the messages of the measured part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<Messages>,
    /// What became of those of the warm-up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup: Option<Messages>,
    /// What became of the heartbeats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeats: Option<Heartbeats>,
    /// Messages answered per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_per_second: Option<f64>,
    /// Cycles within the measured part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connects: Option<u64>,
    /// From the planned time (open loop) or the sending (closed loop) to the answer; in `push` and `slow`, to the push that was asked
    /// for, in `slow` of the quick links while others are slow; in `connect`, from the planned or
    /// actual begin of the connect to the answer of the echo.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_us: Option<Latency>,
    /// The part of `connect` with tickets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumed: Option<Resumed>,
    /// What an attack did; its fields stand beside the others.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub abuse: Option<abuse::Abuse>,
    /// What became of the pushes of the whole run, warm-up included; `messages` are the requests for them then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub push: Option<pushes::Pushes>,
    /// The quick and the slow links apart; its fields stand beside the others.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub slow: Option<pushes::Slow>,
    /// How everybody came back; its fields stand beside the others.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub storm: Option<storm::Storm>,
    /// What it cost the gateway's process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Gateway>,
    /// What one end of a link costs the kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<Kernel>,
    /// What it cost this process.
    pub generator: Generator,
    /// Why links failed or were lost and requests were refused, and how often.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub reasons: BTreeMap<String, u64>,
    /// What could not be measured or waited for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What went wrong; empty if nothing did.
    pub problems: Vec<String>,
}

/// What was asked for.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Setup {
    /// Number of links; in `connect`, at once.
    pub links: u32,
    /// Threads of the generator.
    pub workers: u32,
    /// Seconds the measured part was to have.
    pub duration_s: f64,
    /// Name of the Noise protocol.
    pub suite: &'static str,
    /// `open` or `closed`.
    #[serde(rename = "loop", skip_serializing_if = "Option::is_none")]
    pub pacing: Option<&'static str>,
    /// Open loop: messages (in `connect`, cycles) planned per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Closed loop: packets in flight per link (in `connect`, links under way).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<u32>,
    /// Closed loop: packets in flight per link that the gateway grants, where that is fewer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_granted: Option<u32>,
    /// Bytes of payload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<usize>,
    /// Messages per packet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<u32>,
    /// Class of the pushes: `0`, `1` or `both`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<&'static str>,
    /// Pushes that are asked for with one request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pushes_per_request: Option<u32>,
}

/// Who decides when the next message leaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pacing {
    /// The plan.
    Open {
        /// Per second.
        rate: f64,
    },
    /// The answers.
    Closed {
        /// In flight at once.
        window: u32,
    },
}

/// What became of the links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Links {
    /// Welcomed, and not lost.
    pub up: u64,
    /// Never welcomed.
    pub failed: u64,
    /// Ended after their welcome although this side wanted them to live.
    pub lost: u64,
    /// In `storm`, of those that came back: with the session they had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumed: Option<u64>,
    /// In `storm`, of those that came back: by a full handshake, and not by a ticket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full: Option<u64>,
}

/// What became of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Messages {
    /// Requests sent.
    pub sent: u64,
    /// Answered with the payload they carried.
    pub received: u64,
    /// Left without any answer.
    pub lost: u64,
    /// Answers beyond the first to a request.
    pub duplicated: u64,
    /// Answers that came after the answer to a later request of their link.
    pub misordered: u64,
    /// Answers with another payload, or to no request.
    pub corrupted: u64,
    /// Refused by the gateway.
    pub refused: u64,
    /// Ended as unknown.
    pub unknown: u64,
    /// Open loop: planned within the measured part (in `connect`, with their cycle) and never sent, because the gateway
    /// held them back until the load was over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsent: Option<u64>,
}

/// What became of the heartbeats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Heartbeats {
    /// Pings sent.
    pub sent: u64,
    /// Pings answered.
    pub answered: u64,
    /// Pings whose answer did not come before the next one was due, the link ended or the run was over.
    pub unanswered: u64,
}

/// The part of `connect` with tickets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Resumed {
    /// Cycles within the measured part.
    pub connects: u64,
    /// As for the full handshake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_us: Option<Latency>,
}

/// What it cost the gateway's process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Gateway {
    /// Microseconds of CPU, user and system, per message answered (request and response together).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_us_per_message: Option<f64>,
    /// Microseconds of CPU per push received, with the requests for them, their answers and the acknowledgements.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_us_per_push: Option<f64>,
    /// Microseconds of CPU per cycle of connect, handshake, authentication, echo, close.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_us_per_connect: Option<f64>,
    /// The same for links opened with a ticket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_us_per_connect_resumed: Option<f64>,
    /// Microseconds of CPU from the cut, or from when the new process was ready, until the last link was back, per link that came
    /// back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_us_per_link: Option<f64>,
    /// Growth of its proportional set size per link, over the process before the first connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pss_bytes_per_link: Option<f64>,
    /// Microseconds of CPU per attempt of an attack: what was used under attack beyond what the quiet phases lead to expect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_us_per_attempt: Option<f64>,
    /// The largest proportional set size that was seen, looking once per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pss_bytes_max: Option<u64>,
    /// The sum of all its limits in user space, as it says itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ceiling_bytes: Option<u64>,
}

/// Kernel memory of the gateway's end of a link, from the growth of slab caches. Both ends are on this machine: what
/// they share alike is halved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Kernel {
    /// Socket, inode, file and what else belongs to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket_bytes_per_link: Option<f64>,
    /// Armed operations of the gateway and their companions: the growth less the polls of this process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_uring_bytes_per_link: Option<f64>,
    /// All other caches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other_bytes_per_link: Option<f64>,
}

/// What it cost this process, and whether it kept up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Generator {
    /// Open loop: more than 1 % of the planned sends were missed through this process's own fault. Closed loop: its
    /// workers stood still for more than 5 % of the time because turns began late, or one of them used a whole processor
    /// while no thread of the gateway did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limited: Option<bool>,
    /// Turns within the measured part that began more than 10 ms late.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_turns: Option<u64>,
    /// By how much, all of them together: so long its workers stood still.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stalled_ms: Option<f64>,
    /// Closed loop: the part of a processor its busiest thread used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub busy: Option<f64>,
    /// Open loop: sends planned within the measured part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub planned: Option<u64>,
    /// Open loop: of those, left late, or never, by more than 10 ms of the generator's own fault, for the greater part of
    /// the time. While the gateway lets a send wait, that is only when the generator itself stood still.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed: Option<u64>,
    /// Open loop: 99 of 100 sends were at most so late by the generator's own fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_us_p99: Option<f64>,
    /// Microseconds of CPU per message answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_us_per_message: Option<f64>,
    /// Microseconds of CPU per push received.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_us_per_push: Option<f64>,
    /// Microseconds of CPU per cycle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_us_per_connect: Option<f64>,
    /// Growth of this process's proportional set size per link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pss_bytes_per_link: Option<f64>,
}

impl Report {
    pub(crate) fn new(scenario: &'static str, setup: Setup, tally: &Tally, warnings: Vec<String>) -> Self {
        let Counts { welcomed, failed, lost, cut, .. } = tally.counts;
        Self {
            scenario,
            setup,
            links: Links { up: welcomed - lost - cut, failed, lost, ..Links::default() },
            reasons: tally.reasons.clone(),
            warnings,
            ..Self::default()
        }
    }

    pub(crate) fn count_messages(&mut self, tally: &Tally) {
        self.messages = Some(Messages::of(&tally.counts.since(&tally.warmup)));
        self.warmup = Some(Messages::of(&tally.warmup)).filter(|warmup| *warmup != Messages::default());
    }

    pub(crate) fn count_heartbeats(&mut self, counts: &Counts) {
        let Counts { pings, pongs, pings_unanswered, .. } = *counts;
        self.heartbeats =
            (pings > 0).then_some(Heartbeats { sent: pings, answered: pongs, unanswered: pings_unanswered });
    }
}

impl Setup {
    pub(crate) fn new(shared: &Shared, links: u32, workers: u32, duration: Duration) -> Self {
        let suite = shared.suite.suite().name();
        Self { links, workers, duration_s: duration.as_secs_f64(), suite, ..Self::default() }
    }

    pub(crate) fn pace(&mut self, pacing: Pacing) {
        match pacing {
            Pacing::Open { rate } => (self.pacing, self.rate) = (Some("open"), Some(rate)),
            Pacing::Closed { window } => (self.pacing, self.window) = (Some("closed"), Some(window)),
        }
    }

    /// Notes how many messages the gateway lets each link have in flight, if the window is wider.
    pub(crate) fn grant(&mut self, messages: Option<u32>, batch: u32) {
        let packets = messages.map(|messages| messages / batch.max(1));
        self.window_granted = packets.filter(|&packets| self.window.is_some_and(|window| packets < window));
    }
}

impl Messages {
    fn of(counts: &Counts) -> Self {
        Self {
            sent: counts.sent,
            received: counts.received,
            lost: counts.unanswered,
            duplicated: counts.duplicated,
            misordered: counts.misordered,
            corrupted: counts.corrupted,
            refused: counts.refused,
            unknown: counts.unknown,
            unsent: None,
        }
    }
}

impl Gateway {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Kernel {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The part of the time, if there was any.
pub(crate) fn part(time: Duration, whole: Duration) -> Option<f64> {
    (!whole.is_zero()).then(|| time.as_secs_f64() / whole.as_secs_f64())
}

/// Things per second, if there was any time.
pub(crate) fn per_second(count: u64, time: Duration) -> Option<f64> {
    (!time.is_zero()).then(|| count as f64 / time.as_secs_f64())
}

/// Microseconds per thing, if there was any.
pub(crate) fn micros_per(spent: Option<Duration>, count: u64) -> Option<f64> {
    spent.filter(|_| count > 0).map(|spent| spent.as_secs_f64() * 1e6 / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_is_absent() {
        let json = serde_json::to_value(Report::default()).unwrap();
        for absent in ["messages", "latency_us", "gateway", "kernel", "resumed", "heartbeats", "reasons"] {
            assert_eq!(json.get(absent), None, "{absent}");
        }
        assert_eq!(json["generator"], serde_json::json!({}));
        let report = Report {
            gateway: Some(Gateway { cpu_us_per_message: Some(2.5), ..Gateway::default() }),
            ..Report::default()
        };
        let json = serde_json::to_value(report).unwrap();
        assert_eq!(json["gateway"], serde_json::json!({ "cpu_us_per_message": 2.5 }));
        assert_eq!(micros_per(Some(Duration::from_secs(1)), 0), None);
        assert_eq!((per_second(3, Duration::ZERO), per_second(3, Duration::from_secs(2))), (None, Some(1.5)));
    }
}
