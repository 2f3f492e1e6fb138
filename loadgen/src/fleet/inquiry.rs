//! Who asks what became of the pushes, and when.

use std::time::Duration;

use protocol::Time;

/// Between an answer that leaves something open and the next question.
const PAUSE: Duration = Duration::from_millis(200);

/// One question at a time, about one run after the other.
#[derive(Debug, Default)]
pub(super) struct Inquiry {
    /// The run that is asked for.
    pub(super) run: usize,
    /// The link that asks, with the number of its request once that was sent.
    pub(super) asking: Option<(u32, Option<u32>)>,
    /// When the next question may be asked.
    at: Time,
    /// No link is left that could ask.
    pub(super) deserted: bool,
}

impl Inquiry {
    /// When the next question is to be asked, if none is under way.
    pub(super) fn next(&self) -> Option<Time> {
        (self.asking.is_none() && !self.deserted).then_some(self.at)
    }

    /// The last one is answered. The next is about the next run of so many, as what is open of one may be so for long.
    pub(super) fn answered(&mut self, runs: usize, is_settled: bool, now: Time) {
        let at = if is_settled { now } else { now + PAUSE };
        *self = Self { run: (self.run + 1) % runs.max(1), asking: None, at, deserted: false };
    }
}
