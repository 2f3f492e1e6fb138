//! How long sessions outlive their links.

use std::time::Duration;

use super::section::section;
use super::sections::SLOTS_MAX;
use super::value::{Count, Span};

section! {
    /// Sessions whose link is gone. A client that shows that it knows its session goes on with it: nothing that was to be
    /// acknowledged is lost, and no device is replaced.
    pub Sessions {
        /// How long a session waits for its client's next link. 0 ends it with its link.
        window: Duration as Span = "'2m'" in 0..=600_000, Restart, "see detached";
        /// Sessions of one worker that wait; over it the one that has waited longest ends.
        detached: usize as Count = "20000" in 0..=SLOTS_MAX, Restart, "676 B each";
    }
}
