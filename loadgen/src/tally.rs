//! What a fleet has counted, and the part of it that others may look at while it runs.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::pushes::Outcomes;

/// Everything a fleet counts. Tallies of several fleets add up.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// The plain numbers.
    pub counts: Counts,
    /// What of them became of the messages of warm-ups.
    pub warmup: Counts,
    /// The fewest messages any link may have in flight by what the gateway grants it.
    pub granted: Option<u32>,
    /// One entry per [`Leg`](crate::fleet::Leg) that was run.
    pub legs: Vec<LegTally>,
    /// What became of links that were cut, if they were.
    pub storm: Option<StormTally>,
    /// Tokens that were signed when they were needed, and not before.
    pub signed_late: u64,
    /// Why links failed or were lost, and how often.
    pub reasons: BTreeMap<String, u64>,
    /// What became of pushes at the links: of the quick ones, and of the slow ones.
    pub pushes: [PushTally; 2],
    /// The same as the service says that sent them, if it was asked and has answered.
    pub outcomes: [Option<Outcomes>; 2],
}

/// What became of pushes at the links that asked for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PushTally {
    /// Asked for.
    pub asked: u64,
    /// Of those, the ones whose request was refused, or not answered with all of them.
    pub refused: u64,
    /// Came, of each class; each is counted once.
    pub received: [u64; 2],
    /// Sent again by the gateway with a sequence that had come before, as it may: not given to any application.
    pub repeated: u64,
    /// Came, although they had come before.
    pub duplicated: u64,
    /// Came after a later one of their class and link, or without one before.
    pub misordered: u64,
    /// Were handed to the gateway, as the answers of the service say, and did not come.
    pub lost: u64,
    /// Of those that came, the ones whose request had no answer when its link was cut.
    pub unanswered: u64,
}

impl PushTally {
    fn add(&mut self, other: &Self) {
        self.asked += other.asked;
        self.refused += other.refused;
        for (sum, count) in self.received.iter_mut().zip(other.received) {
            *sum += count;
        }
        self.repeated += other.repeated;
        self.lost += other.lost;
        self.unanswered += other.unanswered;
        self.duplicated += other.duplicated;
        self.misordered += other.misordered;
    }
}

/// What is measured within one leg.
#[derive(Clone, Debug)]
pub struct LegTally {
    /// Nanoseconds from the planned time (open loop) or the sending (closed loop) to the answer.
    pub latency: Histogram<u64>,
    /// Nanoseconds between the planned time and the sending that are the generator's own fault.
    pub late: Histogram<u64>,
    /// Messages (for cycles: links) planned within the measured part, open loop only.
    pub planned: u64,
    /// Of those, the ones that left more than [`LATE_MAX`] late by the generator's own fault, or never: what it had to
    /// wait for the gateway meanwhile is less than that.
    pub missed: u64,
    /// Of the planned ones, those that never left because the gateway held them back. Their latency is recorded as
    /// what they had waited when the leg ended: without them an overloaded gateway would look fast.
    pub unsent: u64,
    /// Cycles that went through, warm-up included.
    pub cycles: u64,
    /// Of those, the ones begun within the measured part.
    pub connects: u64,
    /// The longest that a cycle begun within the measured part took from its begin to its welcome.
    pub welcome_max: Duration,
    /// Turns within the measured part that began more than [`LATE_MAX`] late.
    pub late_turns: u64,
    /// By how much, all of them together.
    pub stalled: Duration,
}

/// What became of links that were cut and came back.
#[derive(Clone, Debug)]
pub struct StormTally {
    /// Nanoseconds from the cut to the welcome, one entry per link that is back.
    pub recovery: Histogram<u64>,
    /// Of those, the ones whose session went on.
    pub resumed: u64,
    /// Of those, the ones with a full handshake.
    pub full: u64,
    /// Connects that were begun.
    pub attempts: u64,
    /// Why attempts failed, and how often. Their links came again.
    pub failures: BTreeMap<String, u64>,
}

/// What the reason of a refused request begins with; all other reasons are of links.
pub(crate) const REFUSED: &str = "request refused: ";

/// A planned send that is later than this by the generator's own fault counts as missed.
pub const LATE_MAX: Duration = Duration::from_millis(10);

/// Latencies above this are recorded as this.
const LATENCY_MAX: Duration = Duration::from_secs(120);
/// So are recoveries.
const RECOVERY_MAX: Duration = Duration::from_hours(1);

impl Default for StormTally {
    fn default() -> Self {
        let recovery = Histogram::new_with_bounds(1000, nanos(RECOVERY_MAX), 3);
        let recovery = recovery.expect("the bounds are constants that fit");
        Self { recovery, resumed: 0, full: 0, attempts: 0, failures: BTreeMap::new() }
    }
}

impl StormTally {
    pub(crate) fn record(&mut self, recovery: Duration) {
        self.recovery.saturating_record(nanos(recovery));
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.recovery.add(&other.recovery).expect("all histograms have the same bounds");
        self.resumed += other.resumed;
        self.full += other.full;
        self.attempts += other.attempts;
        for (reason, count) in &other.failures {
            *self.failures.entry(reason.clone()).or_default() += count;
        }
    }
}

impl Default for LegTally {
    fn default() -> Self {
        let max = nanos(LATENCY_MAX);
        let histogram = || Histogram::new_with_bounds(1, max, 3).expect("the bounds are constants that fit");
        Self {
            latency: histogram(),
            late: histogram(),
            planned: 0,
            missed: 0,
            unsent: 0,
            cycles: 0,
            connects: 0,
            welcome_max: Duration::ZERO,
            late_turns: 0,
            stalled: Duration::ZERO,
        }
    }
}

impl LegTally {
    pub(crate) fn record_latency(&mut self, latency: Duration) {
        self.latency.saturating_record(nanos(latency));
    }

    pub(crate) fn record_unsent(&mut self, waited: Duration, count: u64) {
        self.unsent += count;
        self.latency.saturating_record_n(nanos(waited), count);
    }

    pub(crate) fn record_late(&mut self, late: Duration) {
        self.late.saturating_record(nanos(late));
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.latency.add(&other.latency).expect("all histograms have the same bounds");
        self.late.add(&other.late).expect("all histograms have the same bounds");
        self.planned += other.planned;
        self.missed += other.missed;
        self.unsent += other.unsent;
        self.cycles += other.cycles;
        self.connects += other.connects;
        self.welcome_max = self.welcome_max.max(other.welcome_max);
        self.late_turns += other.late_turns;
        self.stalled += other.stalled;
    }
}

impl Tally {
    /// Counts what became of so many messages; `early`: they are of a warm-up.
    pub(crate) fn count(&mut self, early: bool, messages: u64, what: impl Fn(&mut Counts) -> &mut u64) {
        *what(&mut self.counts) += messages;
        if early {
            *what(&mut self.warmup) += messages;
        }
    }

    /// Counts one link that failed or was lost.
    pub(crate) fn blame(&mut self, reason: String) {
        *self.reasons.entry(reason).or_default() += 1;
    }

    /// Adds another fleet's tally.
    pub fn add(&mut self, other: &Self) {
        self.counts.add(&other.counts);
        self.warmup.add(&other.warmup);
        self.signed_late += other.signed_late;
        self.granted = self.granted.into_iter().chain(other.granted).min();
        if let Some(theirs) = &other.storm {
            self.storm.get_or_insert_default().add(theirs);
        }
        self.legs.resize_with(self.legs.len().max(other.legs.len()), LegTally::default);
        for (leg, theirs) in self.legs.iter_mut().zip(&other.legs) {
            leg.add(theirs);
        }
        for (sum, pushes) in self.pushes.iter_mut().zip(&other.pushes) {
            sum.add(pushes);
        }
        for (known, told) in self.outcomes.iter_mut().zip(&other.outcomes) {
            // All fleets ask the same service; who was told later knows more.
            let open = |told: &Option<Outcomes>| told.as_ref().map_or(u64::MAX, |told| told.open);
            if open(told) < open(known) {
                known.clone_from(told);
            }
        }
        for (reason, count) in &other.reasons {
            *self.reasons.entry(reason.clone()).or_default() += count;
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Counts {
    /// Links that are up, as far as is known: of a board, an end may be read before its beginning.
    #[must_use]
    pub const fn up(&self) -> u64 {
        self.welcomed.saturating_sub(self.lost + self.cut)
    }
}

/// Declares the counters once: as plain numbers, as atomics, and the ways between them.
macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// Counters; each only grows but `opening`.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counts { $($(#[$doc])* pub $name: u64,)+ }

        impl Counts {
            /// Adds another fleet's counters.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)+
            }

            /// What was added since `earlier`; for what has shrunk, zero.
            #[must_use]
            pub fn since(&self, earlier: &Self) -> Self {
                Self { $($name: self.$name.saturating_sub(earlier.$name),)+ }
            }
        }

        /// A fleet's counters as of its last turn, for other threads.
        #[derive(Debug, Default)]
        pub struct Board { $($name: AtomicU64,)+ }

        impl Board {
            /// Shows the counters. One writer only.
            pub fn publish(&self, counts: &Counts) {
                $(self.$name.store(counts.$name, Ordering::Relaxed);)+
            }

            /// The counters last shown; several of them may be from neighbouring turns.
            #[must_use]
            pub fn read(&self) -> Counts {
                Counts { $($name: self.$name.load(Ordering::Relaxed),)+ }
            }
        }
    };
}

counts! {
    /// Links between the start of their connect and their welcome.
    opening,
    /// Links that were welcomed.
    welcomed,
    /// Links that were not welcomed.
    failed,
    /// Links that ended after their welcome although nobody here wanted it.
    lost,
    /// Links that were cut on purpose after their welcome.
    cut,
    /// Cycles of connect, echo and close that went through.
    cycles,
    /// Requests sent.
    sent,
    /// Requests answered with the payload they carried, each counted once.
    received,
    /// Answers to requests that had been answered before.
    duplicated,
    /// Answers that came after the answer to a later request of their link.
    misordered,
    /// Answers to requests that were never sent, or with another payload.
    corrupted,
    /// Requests the gateway refused.
    refused,
    /// Requests of which the gateway does not know what became of them.
    unknown,
    /// Requests left without any answer: at the end, or when their link was lost.
    unanswered,
    /// Requests left without any answer since their link was cut on purpose.
    severed,
    /// Pings sent.
    pings,
    /// Pings answered with their nonce.
    pongs,
    /// Pings whose answer can no longer come, because the link ended or the next ping was due.
    pings_unanswered,
    /// Planned sends that were missed so far.
    missed,
    /// Planned sends that never left because the gateway held them back.
    unsent,
    /// Pushes received, each counted once.
    pushed,
    /// Of the lost links, those that had been slow.
    shed,
    /// Requests of links that had been slow that were left without any answer, and count as nothing else.
    unheard,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_add_up_with_legs_of_different_number() {
        let mut sum = Tally::default();
        for (latency, legs) in [(1, 1), (3, 2)] {
            let mut one = Tally { counts: Counts { sent: latency, ..Counts::default() }, ..Tally::default() };
            one.blame("eof".to_owned());
            for _ in 0..legs {
                one.legs.push(LegTally::default());
                one.legs.last_mut().unwrap().record_latency(Duration::from_millis(latency));
            }
            sum.add(&one);
        }
        assert_eq!((sum.counts.sent, sum.reasons["eof"]), (4, 2));
        assert_eq!((sum.legs[0].latency.len(), sum.legs[1].latency.len()), (2, 1));
    }

    #[test]
    fn the_board_shows_what_was_published() {
        let board = Board::default();
        let counts = Counts { opening: 3, pongs: 4, ..Counts::default() };
        board.publish(&counts);
        assert_eq!(board.read(), counts);
    }
}
