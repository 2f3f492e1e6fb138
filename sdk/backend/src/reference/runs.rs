//! What became of the pushes of each run: a bounded table of counters.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::Undelivered;

use crate::outcome::Outcome;

/// Length of the name of a run, in bytes.
pub(super) const RUN_LEN: usize = 16;

/// Names a run: chosen at random by whoever asks for its pushes.
pub(super) type RunId = [u8; RUN_LEN];

/// The last [`RUNS_MAX`] runs; with one more the oldest goes, and its outcomes are counted for nobody.
#[derive(Debug, Default)]
pub(super) struct Runs(Mutex<VecDeque<(RunId, Arc<Run>)>>);

/// Runs that are kept.
const RUNS_MAX: usize = 64;

impl Runs {
    /// The run of this name, begun with this if there is none.
    pub(super) fn begin(&self, id: &RunId) -> Arc<Run> {
        let mut runs = self.lock();
        if let Some(run) = find(&runs, id) {
            return run;
        }
        if runs.len() == RUNS_MAX {
            runs.pop_front();
        }
        let run = Arc::<Run>::default();
        runs.push_back((*id, Arc::clone(&run)));
        run
    }

    /// The run of this name, if it is kept.
    pub(super) fn find(&self, id: &RunId) -> Option<Arc<Run>> {
        find(&self.lock(), id)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(RunId, Arc<Run>)>> {
        // A list of handles is never half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn find(runs: &VecDeque<(RunId, Arc<Run>)>, id: &RunId) -> Option<Arc<Run>> {
    runs.iter().rev().find(|(known, _)| known == id).map(|(_, run)| Arc::clone(run))
}

/// The counters of one run.
#[derive(Debug, Default)]
pub(super) struct Run {
    at_most_once: AtomicU64,
    at_least_once: AtomicU64,
    delivered: AtomicU64,
    unknown: AtomicU64,
    /// By [`Undelivered::number`] less one.
    undelivered: [AtomicU64; Undelivered::ALL.len()],
}

impl Run {
    /// A push was handed to the gateway that nobody reports on.
    pub(super) fn sent_at_most_once(&self) {
        self.at_most_once.fetch_add(1, Ordering::Relaxed);
    }

    /// A push was handed to the gateway whose outcome is to come.
    pub(super) fn sent_at_least_once(&self) {
        self.at_least_once.fetch_add(1, Ordering::Relaxed);
    }

    /// What became of one of these.
    pub(super) fn settle(&self, outcome: Outcome) {
        let counter = match outcome {
            Outcome::Delivered => &self.delivered,
            Outcome::Unknown => &self.unknown,
            Outcome::Undelivered(reason) => &self.undelivered[reason.number() as usize - 1],
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Appends the counters to `out`, as docs/PUSHES.md has them.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (delivered, unknown) = (read(&self.delivered), read(&self.unknown));
        let reasons: Vec<_> = Undelivered::ALL
            .iter()
            .zip(&self.undelivered)
            .map(|(reason, count)| (reason, read(count)))
            .collect();
        let settled = delivered + unknown + reasons.iter().map(|(_, count)| count).sum::<u64>();
        // Read last: what is settled meanwhile was sent before, and is open until it is asked for again.
        let at_least_once = read(&self.at_least_once);
        let open = at_least_once.saturating_sub(settled);
        for number in [read(&self.at_most_once), at_least_once, delivered, unknown, open] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        for (reason, count) in reasons.into_iter().filter(|&(_, count)| count > 0) {
            out.extend_from_slice(&reason.number().to_be_bytes());
            out.extend_from_slice(&count.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> RunId {
        (number as u128).to_be_bytes()
    }

    #[test]
    fn every_outcome_is_in_one_counter_and_the_rest_is_open() {
        let run = Run::default();
        run.sent_at_most_once();
        (0..6).for_each(|_| run.sent_at_least_once());
        for outcome in [
            Outcome::Delivered,
            Outcome::Unknown,
            Outcome::Undelivered(Undelivered::QueueFull),
            Outcome::Undelivered(Undelivered::QueueFull),
            Outcome::Undelivered(Undelivered::Malformed),
        ] {
            run.settle(outcome);
        }
        let mut told = Vec::new();
        run.encode(&mut told);
        let mut expected: Vec<u8> = [1_u64, 6, 1, 1, 1].map(u64::to_be_bytes).concat();
        for (reason, count) in [(3_u32, 2_u64), (14, 1)] {
            expected.extend_from_slice(&reason.to_be_bytes());
            expected.extend_from_slice(&count.to_be_bytes());
        }
        assert_eq!(told, expected);
    }

    #[test]
    fn a_run_is_found_again_until_there_are_too_many_later_ones() {
        let runs = Runs::default();
        runs.begin(&id(0)).sent_at_most_once();
        for number in 1..RUNS_MAX {
            runs.begin(&id(number));
        }
        let first = runs.begin(&id(0));
        assert_eq!(first.at_most_once.load(Ordering::Relaxed), 1, "it is the same one");
        runs.begin(&id(RUNS_MAX));
        assert!(runs.find(&id(0)).is_none(), "the oldest has gone");
        assert!(runs.find(&id(1)).is_some() && runs.find(&id(RUNS_MAX)).is_some());
    }
}
