//! What a mob is told to be and to do.

use std::net::SocketAddr;
use std::time::Duration;

use protocol::Time;

use crate::opening::Opening;

/// What all abusers of a mob share.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How they are opened, and what they authenticate with.
    pub opening: Opening,
    /// Where to.
    pub destination: SocketAddr,
    /// How many addresses they come from, in turn: [`crate::sources::attacker`].
    pub sources: u32,
    /// Places: links there may be at once. Whoever is let go comes again.
    pub links: u32,
    /// Between two attempts of the mob as a whole.
    pub interval: Duration,
    /// Attempts per attack at most.
    pub attempts_max: u64,
    /// A link that the gateway ends within this time of its connect, and without a byte for it, was refused.
    pub at_once: Duration,
    /// How long a link may take from connect to welcome, where it wants one.
    pub opening_deadline: Duration,
    /// Where random bytes, and lengths, come from.
    pub seed: u64,
    /// What they do.
    pub conduct: Conduct,
}

/// What an abuser does with its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduct {
    /// Connects and says nothing.
    Silent,
    /// Sends a valid hello, a byte per interval.
    Drip {
        /// Between two bytes.
        interval: Duration,
    },
    /// Sends the same hello as all others, waits for an answer, and begins anew.
    Replay {
        /// The hello was made for the gateway's key. If not, its tag is wrong.
        valid: bool,
        /// How long it waits at most; `None` for as long as it takes.
        patience: Option<Duration>,
    },
    /// Sends random bytes, between 1 and [`JUNK_LEN_MAX`] of them.
    Junk,
    /// Connects and closes.
    Churn,
    /// Authenticates, and then sends so many of the smallest requests per second, whatever it is granted.
    Frames {
        /// By each link.
        per_second: u32,
    },
    /// Authenticates, and then sends so many pings per second.
    Pings {
        /// By each link.
        per_second: u32,
    },
}

/// The most bytes a link of [`Conduct::Junk`] sends.
pub const JUNK_LEN_MAX: usize = 2048;

/// What a mob is told to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Attack within these times, then leave. Done when nobody is left.
    Attack {
        /// When the first attempt is due.
        from: Time,
        /// When everybody leaves.
        to: Time,
    },
    /// Leave now. Done when nobody is left.
    Leave,
}

impl Conduct {
    /// Whether its links authenticate.
    #[must_use]
    pub const fn logs_in(self) -> bool {
        matches!(self, Self::Frames { .. } | Self::Pings { .. })
    }
}
