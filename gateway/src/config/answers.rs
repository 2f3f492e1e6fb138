//! Requests that are remembered, for clients that send them again.

use std::time::Duration;

use super::section::section;
use super::value::{Count, Size, Span};

const KIB: u64 = 1 << 10;
const GIB: u64 = 1 << 30;

section! {
    /// What became of requests: a client that has lost its link sends them again, and is answered from here.
    #[derive(Copy)]
    pub Answers {
        /// Answered requests remembered of one session, and as many that have to come again before others of their keys.
        session_count: usize as Count = "64" in 1..=65_535, Restart, "see count";
        /// Of all sessions of one worker; then the oldest are forgotten.
        count: usize as Count = "65536" in 16..=16_777_216, Restart, "96 B each";
        /// Bytes of their answers, the oldest of which are forgotten; one of more than an eighth of this is not kept.
        bytes: usize as Size = "'8MiB'" in 64 * KIB..=4 * GIB, Restart, "this per worker";
        /// Requests with a key wait for so long behind an earlier one that was refused or is unknown and did not come again.
        behind: Duration as Span = "'1m'" in 1_000..=3_600_000, Restart, "none";
    }
}
