//! Pushes that must be acknowledged, from when they are accepted until their backend knows what became of them.
//!
//! ```text
//!            ┌ session's tail ─────────────────────────────┐
//! push ─add──► sent, not taken … │ not sent yet …          │ ──taken──► delivered
//!            └───────────────────┴─────────────────────────┘ ──end, time over──► undelivered
//!                                cursor: the next to be sent
//! ```
//!
//! * `bodies` — what is to be sent, once for all sessions of a worker that are to have it;
//! * `members` — whom a push to several users is for, on its way to them;
//! * `tails` — what a session is owed, in order, with its sequence;
//! * `oldest` — which pushes that are delivered at most once go from a queue that is too long;
//! * `packages` — parts that are delivered in the order of their index;
//! * `parts` — what of such a package a session has;
//! * `reports` — what backends have still to be told, until they say that they know.
//!
//! Nothing here knows a link, a socket or a clock.

pub mod bodies;
pub mod members;
pub mod oldest;
pub mod packages;
pub mod parts;
pub mod reports;
pub mod tails;

/// Where a push has come from, and where its reports go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The worker by whose stream it came.
    pub worker: u16,
    /// The stream's place there.
    pub stream: u16,
    /// Which start of its backend that was, as that worker counts them.
    pub boot: u32,
    /// The backend's number of the push; 0 wants no report.
    pub number: u64,
}

/// What bounds what is kept on one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Pushes of one session.
    pub session_count: u32,
    /// Bytes of memory of their bodies, each counted for each session.
    pub session_bytes: usize,
    /// Pushes of all sessions.
    pub count: u32,
    /// Bytes of memory of their bodies.
    pub bytes: usize,
}
