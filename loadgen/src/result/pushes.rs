//! What became of pushes: the service's books beside the readers'.

use std::collections::BTreeMap;

use protocol::Undelivered;
use serde::Serialize;

use super::latency::Latency;
use crate::pushes::Outcomes;
use crate::tally::PushTally;

/// What became of pushes: sent = delivered + undelivered + unknown.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Pushes {
    /// Handed to the gateway by the service.
    pub sent: u64,
    /// Class 1: acknowledged, as the gateway has reported. Class 0: received.
    pub delivered: u64,
    /// Class 1: reported as such. Class 0: not received.
    pub undelivered: u64,
    /// Class 1: nobody knows, or not yet.
    pub unknown: u64,
    /// Of the unknown ones, those whose outcome was not known when the run ended.
    pub open: u64,
    /// Received by the readers, each counted once.
    pub received: u64,
    /// Of the received ones, those of class 1, which are at least as many as those of it that were delivered.
    pub received_at_least_once: u64,
    /// Sent by the gateway again with the same sequence, as it may; not given to an application.
    pub repeated: u64,
    /// Received after they had been received.
    pub duplicated: u64,
    /// Received after a later one of the same link and class.
    pub misordered: u64,
    /// Class 1: why they were not delivered, and how often.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub reasons: BTreeMap<&'static str, u64>,
    /// Received per second, in the measured part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_per_second: Option<f64>,
    /// Class 1, as the gateway reported.
    #[serde(skip)]
    pub(crate) delivered_at_least_once: u64,
    /// The service has said what it sent.
    #[serde(skip)]
    pub(crate) is_told: bool,
    /// What the readers have asked for, less what was refused.
    #[serde(skip)]
    pub(crate) asked: u64,
}

impl Pushes {
    /// What readers counted, and what the service says. Without that, what was not received is unknown.
    pub(crate) fn of(read: &PushTally, told: Option<&Outcomes>) -> Self {
        let [at_most_once, at_least_once] = read.received;
        let received = at_most_once + at_least_once;
        let asked = read.asked.saturating_sub(read.refused);
        let readers = Self {
            received,
            received_at_least_once: at_least_once,
            repeated: read.repeated,
            duplicated: read.duplicated,
            misordered: read.misordered,
            asked,
            ..Self::default()
        };
        let Some(told) = told else {
            let unknown = asked.saturating_sub(received);
            return Self { sent: received + unknown, delivered: received, unknown, ..readers };
        };
        let mut reasons = BTreeMap::new();
        for (&number, &count) in &told.undelivered {
            let reason = Undelivered::from_number(number).map_or("for no known reason", Undelivered::name);
            *reasons.entry(reason).or_default() += count;
        }
        Self {
            sent: told.sent[0] + told.sent[1],
            // More than were sent would be an invention, which is told as a trouble of its own.
            delivered: at_most_once.min(told.sent[0]) + told.delivered,
            undelivered: told.sent[0].saturating_sub(at_most_once) + told.undelivered.values().sum::<u64>(),
            unknown: told.unknown + told.open,
            open: told.open,
            reasons,
            delivered_at_least_once: told.delivered,
            is_told: true,
            ..readers
        }
    }

    /// Both together; no rate.
    pub(crate) fn and(mut self, other: &Self) -> Self {
        self.sent += other.sent;
        self.delivered += other.delivered;
        self.undelivered += other.undelivered;
        self.unknown += other.unknown;
        self.open += other.open;
        self.received += other.received;
        self.received_at_least_once += other.received_at_least_once;
        self.repeated += other.repeated;
        self.duplicated += other.duplicated;
        self.misordered += other.misordered;
        for (reason, count) in &other.reasons {
            *self.reasons.entry(reason).or_default() += count;
        }
        self.delivered_at_least_once += other.delivered_at_least_once;
        self.is_told &= other.is_told;
        self.asked += other.asked;
        self
    }

    /// What must not happen to any push, and how often it did.
    pub(crate) fn breaches(&self) -> Vec<(u64, &'static str)> {
        vec![(self.duplicated, "duplicated"), (self.misordered, "misordered"), self.unseen()]
    }

    /// What was invented.
    pub(crate) const fn unseen(&self) -> (u64, &'static str) {
        let unseen = self.delivered_at_least_once.saturating_sub(self.received_at_least_once);
        (unseen, "reported as delivered that nobody received")
    }

    /// What must not happen to the pushes of a reader who keeps up, either.
    pub(crate) fn losses(&self) -> Vec<(u64, &'static str)> {
        vec![
            (self.sent.saturating_sub(self.received), "lost"),
            (self.undelivered, "undelivered"),
            (self.unknown - self.open, "unknown"),
            (self.open, "whose outcome was not known at the end"),
            (self.asked.abs_diff(self.sent), "asked for and not sent, or sent and not asked for"),
        ]
    }
}

/// What a run of `slow` has beside that.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Slow {
    /// The phase in which everybody reads.
    pub quiet: Quiet,
    /// The links that read all the time; their latency beside the slow ones is the run's.
    pub quick: Pushes,
    /// The links that did not.
    pub slow: SlowLinks,
}

/// The phase in which everybody reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Quiet {
    /// Of the pushes to the quick links.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_us: Option<Latency>,
    /// Microseconds of CPU of the gateway per push received.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway_cpu_us_per_push: Option<f64>,
}

/// What became of slow links and their pushes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SlowLinks {
    /// So many there are.
    pub links: u64,
    /// Bytes each reads per second.
    pub speed: u32,
    /// Ended for it.
    pub ended: u64,
    /// Requests of those that were left without an answer; they are in no other figure than those sent.
    pub requests_unanswered: u64,
    /// Links the gateway has closed meanwhile as slow readers, by its own count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow_reader: Option<u64>,
    /// Links it has closed meanwhile since they did not acknowledge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ack_timeout: Option<u64>,
    /// Their pushes.
    #[serde(flatten)]
    pub pushes: Pushes,
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: PushTally = PushTally {
        asked: 110,
        refused: 10,
        received: [40, 55],
        repeated: 2,
        duplicated: 0,
        misordered: 0,
        lost: 0,
        unanswered: 0,
    };

    fn told() -> Outcomes {
        let undelivered = BTreeMap::from([(Undelivered::QueueFull.number(), 3), (999, 1)]);
        Outcomes { sent: [42, 60], delivered: 53, unknown: 1, open: 2, undelivered }
    }

    #[test]
    fn the_books_balance_and_say_what_is_lost() {
        let pushes = Pushes::of(&READ, Some(&told()));
        assert_eq!((pushes.sent, pushes.delivered, pushes.undelivered, pushes.unknown), (102, 93, 6, 3));
        assert_eq!(pushes.sent, pushes.delivered + pushes.undelivered + pushes.unknown);
        assert!(pushes.received >= pushes.delivered);
        let losses: Vec<u64> = pushes.losses().into_iter().map(|(count, _)| count).collect();
        assert_eq!(losses, [7, 6, 1, 2, 2]);
        assert!(pushes.breaches().iter().all(|&(count, _)| count == 0));
        let both = pushes.clone().and(&pushes);
        assert_eq!((both.sent, both.open, both.reasons["queue_full"]), (204, 4, 6));
        let well = PushTally { asked: 9, received: [4, 5], ..PushTally::default() };
        let all = Outcomes { sent: [4, 5], delivered: 5, ..Outcomes::default() };
        let well = Pushes::of(&well, Some(&all));
        assert!(well.losses().into_iter().chain(well.breaches()).all(|(count, _)| count == 0), "{well:?}");
    }

    #[test]
    fn what_was_delivered_and_seen_by_nobody_is_a_breach() {
        let read = PushTally { asked: 60, received: [0, 50], ..PushTally::default() };
        let pushes =
            Pushes::of(&read, Some(&Outcomes { sent: [0, 60], delivered: 60, ..Outcomes::default() }));
        assert_eq!(pushes.breaches()[2].0, 10);
    }

    #[test]
    fn without_the_service_what_was_not_received_is_unknown() {
        let pushes = Pushes::of(&READ, None);
        assert_eq!((pushes.sent, pushes.delivered, pushes.unknown, pushes.is_told), (100, 95, 5, false));
    }
}
