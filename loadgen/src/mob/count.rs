//! What a mob counts.

use std::collections::BTreeMap;
use std::time::Duration;

/// Each attempt is in exactly one of `refused`, `accepted`, `unmade` and `unfinished` once its link is over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Connects that were begun.
    pub attempted: u64,
    /// Of these, the ones that failed by the gateway's side, or were ended by it at once and without a byte.
    pub refused: u64,
    /// The ones that were let in: what is neither of the others.
    pub accepted: u64,
    /// The ones this machine could not make: no port, descriptor or memory left.
    pub unmade: u64,
    /// The ones that were still connecting when everybody left.
    pub unfinished: u64,
    /// Accepted links that the gateway ended, later than at once.
    pub closed: u64,
    /// Accepted links that heard something from the gateway.
    pub served: u64,
    /// Accepted links that were welcomed.
    pub welcomed: u64,
    /// Requests and pings sent.
    pub frames: u64,
    /// The most links that were there at the same time.
    pub links_max: u32,
    /// The shortest time from its connect that any accepted link was there until the gateway ended it.
    pub shortest_life: Option<Duration>,
    /// Why connects failed and links were ended, and how often.
    pub reasons: BTreeMap<String, u64>,
}

impl Count {
    pub(super) fn blame(&mut self, reason: String) {
        *self.reasons.entry(reason).or_default() += 1;
    }

    pub(super) fn lived(&mut self, life: Duration) {
        self.shortest_life = Some(self.shortest_life.map_or(life, |shortest| shortest.min(life)));
    }
}
