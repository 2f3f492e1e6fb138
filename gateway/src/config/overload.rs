//! When a gateway that has too much to do gives something up.

use std::time::Duration;

use super::section::section;
use super::value::{Count, Flag, ListOf, Span};

section! {
    /// The overload ladder: five levels, each of which a worker enters when its load reaches a number and leaves when it has been
    /// below another one for a while. The load is the worst of three: the memory of the process against its ceiling, how long turns
    /// take against `lag`, and the fullest queue.
    pub(super) Overload {
        /// Load at which each level is entered, in hundredths: 1 gives up what is only counted for operators, 2 halves idle times and
        /// rates, 3 asks newcomers without a ticket to come back later, 4 all newcomers, and cuts off whoever has most waiting to be
        /// sent, 5 accepts nothing.
        enter: Vec<usize> as ListOf<Count> = "[70, 80, 90, 95, 98]", Restart, "none";
        /// Load below which each level is left.
        leave: Vec<usize> as ListOf<Count> = "[60, 70, 80, 85, 90]", Restart, "none";
        /// For how long the load has to be below.
        patience: Duration as Span = "'1s'" in 100..=600_000, Restart, "none";
        /// Length of turns that counts as a load of 100.
        lag: Duration as Span = "'250ms'" in 10..=60_000, Restart, "none";
        /// The level is told, and nothing is given up for it.
        dry_run: bool as Flag = "false", Restart, "none";
    }
}

/// The ladder, as it is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ladder {
    /// Load at which each level is entered, in hundredths, rising.
    pub enter: [u8; 5],
    /// Load below which each is left, each below its `enter`.
    pub leave: [u8; 5],
    /// For how long.
    pub patience: Duration,
    /// Length of turns that counts as a load of 100.
    pub lag: Duration,
    /// Whether nothing is given up.
    pub dry_run: bool,
}

impl Overload {
    /// The ladder that the keys amount to.
    ///
    /// # Errors
    /// The key that is wrong, and why.
    pub(super) fn ladder(&self) -> Result<Ladder, (&'static str, &'static str)> {
        let five = |numbers: &[usize]| -> Option<[u8; 5]> {
            let bytes: Vec<u8> = numbers.iter().filter_map(|number| u8::try_from(*number).ok()).collect();
            bytes.try_into().ok().filter(|_| numbers.iter().all(|number| (1..=200).contains(number)))
        };
        let enter = five(&self.enter).ok_or(("enter", "is not five numbers from 1 to 200"))?;
        let leave = five(&self.leave).ok_or(("leave", "is not five numbers from 1 to 200"))?;
        if !enter.is_sorted() {
            return Err(("enter", "falls from one level to a higher one"));
        }
        if leave.iter().zip(enter).any(|(leave, enter)| *leave >= enter) {
            return Err(("leave", "is not below `enter` at each level: the level would come and go"));
        }
        let Self { patience, lag, dry_run, .. } = *self;
        Ok(Ladder { enter, leave, patience, lag, dry_run })
    }
}
