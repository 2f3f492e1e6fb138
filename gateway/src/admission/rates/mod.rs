//! What those may say who are in: frames and bytes, of each link and of all links of a user.
//!
//! Whoever says too much is not heard for a while first: a client that waits for its socket slows down by itself and loses
//! nothing. What even the longest pause would not make up for is refused, and a link of which too much was refused ends.
//!
//! * `meter` — one link: what it has used, its pause and its score;
//! * `users` — what all links of a user have used, counted by all workers together.

mod meter;
mod users;

use std::time::Duration;

use crate::counters::guard::Guards;
use crate::rate::Rate;

pub use self::meter::{Charge, Judged, Meter, Pause, Refused, Score, WARN_AT};
pub use self::users::Users;

/// What a link may say, and its user on all of its links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Frames of a link.
    pub frames: Rate,
    /// Those among them that are work for the gateway and not for a backend.
    pub control: Rate,
    /// Bytes of a link, as they arrive.
    pub bytes: Rate,
    /// Frames of a user.
    pub user_frames: Rate,
    /// Bytes of a user.
    pub user_bytes: Rate,
    /// Frames of a link that may be refused for all that before it ends; a second of pauses for its frames counts as two.
    pub overruns: Rate,
    /// Those that are on trial: they are asked, and nobody pauses or is refused for them.
    pub on_trial: Guards,
}

impl Rates {
    /// So many hundredths of all of them, but for what may be held against a link.
    #[must_use]
    pub fn percent(self, percent: u8) -> Self {
        Self {
            frames: self.frames.percent(percent),
            control: self.control.percent(percent),
            bytes: self.bytes.percent(percent),
            user_frames: self.user_frames.percent(percent),
            user_bytes: self.user_bytes.percent(percent),
            ..self
        }
    }
}

/// What holds for those of a class, by how much there is to do; worked out once, as it is looked at for each message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfClass {
    /// As they are.
    pub whole: Rates,
    /// Half of them, while there is too much to do.
    pub halved: Rates,
}

impl From<Rates> for OfClass {
    fn from(whole: Rates) -> Self {
        Self { whole, halved: whole.percent(50) }
    }
}

/// What a user is to be charged for: a lot of what one of its links has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Frames and bytes.
    pub lot: (u32, u32),
    /// What is in force for the link.
    pub rates: Rates,
    /// Hundredths of it that hold.
    pub percent: u8,
    /// The longest pause of the link.
    pub grace: Duration,
}

/// The longest pause of a link with this heartbeat. SPEC.md, section "Heartbeat".
#[must_use]
pub fn pause_max(heartbeat: Duration) -> Duration {
    (heartbeat / 4).min(Duration::from_secs(1))
}

#[cfg(test)]
impl Rates {
    /// More than a test of something else needs.
    pub(crate) fn ample() -> Self {
        let ample = Rate::new(1_000_000, Duration::from_secs(1), 1_000_000);
        Self {
            frames: ample,
            control: ample,
            bytes: ample.times(1000),
            user_frames: ample,
            user_bytes: ample.times(1000),
            overruns: ample,
            on_trial: Guards::NONE,
        }
    }
}
