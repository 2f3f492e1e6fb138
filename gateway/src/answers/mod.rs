//! What a gateway remembers of the requests of its sessions, for clients that ask again.
//!
//! A client that loses its link does not know which of its requests were answered. It sends them again on the next one, and each is
//! done once all the same:
//!
//! ```text
//!             ┌ running ──answered──► answered ──forgotten──► unknown to the window
//! request ──► │    │                     ▲
//!             │    └ refused, unknown: forgotten at once; with a key, a mark that later ones wait behind
//! again ────► └ running: attaches · answered: the answer once more · mark: it goes · unknown to the window: it goes, as a repeat
//! ```
//!
//! * `window` — what is known of a request that comes again;
//! * `table` — the requests of all sessions, a window for each;
//! * `carried` — a window on its way to another worker;
//! * `log` — the answers' bytes.

pub mod carried;
mod log;
mod table;
mod window;

pub use self::table::{Asked, EntryKey, WindowKey};
pub use self::window::{Known, Settled, Wanted, Windows};

use std::time::Duration;

/// How much is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Of one session: so many that were answered, and so many that others wait behind.
    pub session_count: u32,
    /// Of a worker, both together.
    pub count: u32,
    /// Bytes of their answers.
    pub bytes: usize,
    /// Later requests of a key wait for so long behind one that has to be sent again.
    pub behind: Duration,
}
