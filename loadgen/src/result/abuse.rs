//! What a run of `abuse` gave: the honest load with and without the attack, and what became of the attack.

use std::collections::BTreeMap;

use serde::Serialize;

use super::latency::Latency;

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Asked {
    /// What the attackers did.
    pub kind: &'static str,
    /// Addresses they came from.
    pub sources: u32,
    /// Links they held at most.
    pub links: u32,
    /// Attempts per second.
    pub attempts_per_second: u32,
    /// Pairs of phases.
    pub pairs: u32,
}

/// The honest load in all phases of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Phases {
    /// From the planned sending of a message to its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_us: Option<Latency>,
    /// Messages planned.
    pub planned: u64,
    /// Planned messages that never left, since the gateway held them back.
    pub unsent: u64,
    /// Seconds, all such phases together.
    pub seconds: f64,
    /// CPU time of the gateway meanwhile, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway_cpu_s: Option<f64>,
}

/// What became of honest users.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Honest {
    /// Those that came while the gateway was under attack.
    pub connects: Connects,
}

/// What became of connects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Connects {
    /// Connected, welcomed, and answered once.
    pub ok: u64,
    /// All others.
    pub failed: u64,
    /// Milliseconds that the slowest of those that were welcomed took from its planned connect to its welcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slowest_handshake_ms: Option<f64>,
}

/// What became of the attack: each attempt is in exactly one of `accepted`, `refused`, `unmade` and `unfinished`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Attack {
    /// Connects that were begun.
    pub attempted: u64,
    /// Connected, and not ended at once.
    pub accepted: u64,
    /// Failed by the gateway's side, or ended by it at once and without a word.
    pub refused: u64,
    /// Accepted, and ended by the gateway later.
    pub closed: u64,
    /// Accepted, and heard something from the gateway.
    pub served: u64,
    /// Accepted, and welcomed as users.
    pub welcomed: u64,
    /// Not made for want of ports, descriptors or memory of this machine.
    pub unmade: u64,
    /// Still connecting when a phase ended.
    pub unfinished: u64,
    /// Requests or pings sent.
    pub frames: u64,
    /// The most links there were at the same time.
    pub links_max: u32,
    /// Attempts per second that were really made.
    pub attempts_per_second: f64,
    /// Milliseconds from its connect after which the gateway ended the first of those it had accepted; absent if it ended none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shortest_life_ms: Option<f64>,
    /// Why connects failed and links were ended, and how often.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub reasons: BTreeMap<String, u64>,
}

/// All of that.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Abuse {
    /// What was asked for.
    pub abuse: Asked,
    /// The phases without the attack.
    pub quiet: Phases,
    /// The phases under attack.
    pub attacked: Phases,
    /// Honest users that came meanwhile.
    pub honest: Honest,
    /// The attack.
    pub attack: Attack,
}
