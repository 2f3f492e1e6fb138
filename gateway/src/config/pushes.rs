//! Pushes that are kept until they are acknowledged.

use std::time::Duration;

use super::section::section;
use super::value::{Count, Size, Span};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

section! {
    /// Pushes of class 1, which are kept for a session until its application has taken them.
    #[derive(Copy)]
    pub Pushes {
        /// Pushes one session may owe; one more is undelivered.
        session_count: usize as Count = "256" in 1..=65_535, Restart, "see count";
        /// Bytes of memory of them.
        session_bytes: usize as Size = "'256KiB'" in 4 * KIB..=64 * MIB, Restart, "see bytes";
        /// Pushes that all sessions of one worker may owe.
        count: usize as Count = "65536" in 16..=16_777_216, Restart, "100 B each";
        /// Bytes of memory of them; one that several sessions of a worker owe counts once.
        bytes: usize as Size = "'64MiB'" in 64 * KIB..=64 * GIB, Restart, "this per worker";
        /// A push is undelivered after this time, if its backend does not say when.
        ttl: Duration as Span = "'1h'" in 1_000..=86_400_000, Restart, "none";
        /// Without an acknowledgement for so long after a push was sent, the client is asked for one.
        ack_timeout: Duration as Span = "'10s'" in 1_000..=600_000, Restart, "none";
        /// What a client says it lacks is sent again so often, each time after twice as long.
        tries: usize as Count = "4" in 1..=16, Restart, "none";
        /// Pushes of one stream whose backend may not know yet what became of them, each of the users of one counting; it waits with more.
        report_slots: usize as Count = "4096" in 1..=1_048_576, Restart, "288 B each, and 128 B for each device of a user";
        /// Parts of a package wait so long for those before them; then what is there is delivered, or dropped, as its backend says.
        package_wait: Duration as Span = "'2s'" in 100..=60_000, Restart, "none";
        /// Packages of one session that are not complete; a part of one more is undelivered.
        package_session_count: usize as Count = "16" in 1..=256, Restart, "see package_parts";
        /// Parts of one session that wait; one more is undelivered.
        package_session_parts: usize as Count = "64" in 1..=65_535, Restart, "see package_parts";
        /// Bytes of memory of them.
        package_session_bytes: usize as Size = "'128KiB'" in 4 * KIB..=64 * MIB, Restart, "see package_bytes";
        /// Parts of all sessions of one worker that wait, and packages.
        package_parts: usize as Count = "4096" in 16..=1_048_576, Restart, "256 B each";
        /// Bytes of memory of these parts.
        package_bytes: usize as Size = "'8MiB'" in 64 * KIB..=16 * GIB, Restart, "this per worker";
    }
}
