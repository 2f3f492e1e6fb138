//! The open loop: when each packet of each link is to leave, whatever the answers do.

use std::time::Duration;

/// Every link sends once per interval, at a phase of its own drawn at random, so that the links together send evenly
/// and no answer can delay what is planned. All times are offsets from the start of the plan.
#[derive(Debug)]
pub struct Plan {
    interval: u64,
    /// Phase of each link, in nanoseconds below the interval.
    phases: Vec<u64>,
    /// Links by phase: the order in which they send within each interval.
    order: Vec<u32>,
    /// The next one in `order`.
    at: usize,
    /// The interval it belongs to.
    round: u32,
}

impl Plan {
    /// For links 0 to `links` - 1. Without links, or with an interval of zero, nothing is ever due.
    #[must_use]
    pub fn new(links: u32, interval: Duration, seed: u64) -> Self {
        let interval = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        let links = if interval == 0 { 0 } else { links };
        let phase = |link| (u128::from(mix(seed, u64::from(link))) * u128::from(interval)) >> 64;
        let phases: Vec<u64> = (0..links).map(|link| phase(link) as u64).collect();
        let mut order: Vec<u32> = (0..links).collect();
        order.sort_by_key(|&link| phases[link as usize]);
        Self { interval, phases, order, at: 0, round: 0 }
    }

    /// When packet number `round` of a link is planned.
    #[must_use]
    pub fn offset(&self, link: u32, round: u32) -> Duration {
        let begin = self.interval.saturating_mul(u64::from(round));
        Duration::from_nanos(begin.saturating_add(self.phases[link as usize]))
    }

    /// When the next packet of any link is planned.
    #[must_use]
    pub fn next(&self) -> Option<Duration> {
        self.order.get(self.at).map(|&link| self.offset(link, self.round))
    }

    /// The link whose packet is next, if it is planned before `until`; each packet is given out once.
    pub fn take(&mut self, until: Duration) -> Option<u32> {
        if self.next()? >= until {
            return None;
        }
        let link = self.order[self.at];
        self.at += 1;
        if self.at == self.order.len() {
            self.at = 0;
            self.round += 1;
        }
        Some(link)
    }
}

/// 64 well-mixed bits of a seed and a number: the finaliser of SplitMix64.
#[must_use]
pub fn mix(seed: u64, number: u64) -> u64 {
    let mut z = seed.wrapping_add((number.wrapping_add(1)).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn every_link_sends_once_per_interval_at_its_phase() {
        let mut plan = Plan::new(50, SECOND, 7);
        let mut seen = [0_u32; 50];
        let mut before = Duration::ZERO;
        while let Some(next) = plan.next().filter(|&next| next < 3 * SECOND) {
            assert!(next >= before, "planned times do not go back");
            before = next;
            let link = plan.take(3 * SECOND).expect("it is due");
            assert_eq!(plan.offset(link, seen[link as usize]), next);
            seen[link as usize] += 1;
        }
        assert_eq!(seen, [3; 50]);
        assert_eq!(plan.take(3 * SECOND), None);
    }

    #[test]
    fn phases_fill_the_interval() {
        let plan = Plan::new(4000, SECOND, 1);
        for quarter in 0..4 {
            let range = quarter * SECOND / 4..(quarter + 1) * SECOND / 4;
            let inside = (0..4000).filter(|&link| range.contains(&plan.offset(link, 0))).count();
            assert!((900..1100).contains(&inside), "quarter {quarter} has {inside}");
        }
    }

    #[test]
    fn nothing_is_planned_without_links_or_interval() {
        assert_eq!(Plan::new(0, SECOND, 1).next(), None);
        assert_eq!(Plan::new(3, Duration::ZERO, 1).take(SECOND), None);
    }
}
