//! What those may say who are in: for all of them, and for classes of accounts.

use super::guarding::{BytesOf, RateOf};
use super::section::section;
use super::value::{Count, Name, Optional};
use crate::rate::Rate;

section! {
    /// What links may say that are authenticated, and users on all of their links. Whoever says more is not read for a while, at
    /// most a second or a quarter of its heartbeat; what even that would not make up for is refused.
    pub(super) RateKeys {
        /// Frames of a link.
        frames_per_link: Rate as RateOf = "'50/s burst 200'", Live, "none";
        /// Frames of a link that are work for the gateway and not for a backend: pings, acknowledgements, joins and leaves of rooms,
        /// padding, renewals of tokens.
        control_per_link: Rate as RateOf = "'20/s burst 100'", Live, "none";
        /// Bytes of a link, as they arrive.
        bytes_per_link: Rate as BytesOf = "'256KiB/s burst 1MiB'", Live, "none";
        /// Frames of a user, on all of its links.
        frames_per_user: Rate as RateOf = "'100/s burst 400'", Live, "none";
        /// Bytes of a user, on all of its links.
        bytes_per_user: Rate as BytesOf = "'512KiB/s burst 2MiB'", Live, "none";
        /// Frames of a link that may be refused for all that; a second in which it is not read for its frames counts as two. At three
        /// quarters of them it is warned; for one more it is closed.
        overruns_per_link: Rate as RateOf = "'1/s burst 100'", Live, "none";
        /// Users of whom it is known what they have said lately; one more takes the place of the one who has said least.
        users: usize as Count = "65536" in 1024..=16_777_216, Restart, "32 B each, and up to twice that";
    }
}

section! {
    /// A class of accounts that may say more or less than others: a service is not a phone. Who is of a class is said by its token
    /// or by the backend that judges it.
    pub(super) ClassKeys {
        /// Its name, as tokens and backends have it.
        name: String as Name = "", Restart, "none";
        /// Absent: as for the others.
        frames_per_link: Option<Rate> as Optional<RateOf> = "", Live, "none";
        /// Absent: as for the others.
        control_per_link: Option<Rate> as Optional<RateOf> = "", Live, "none";
        /// Absent: as for the others.
        bytes_per_link: Option<Rate> as Optional<BytesOf> = "", Live, "none";
        /// Absent: as for the others.
        frames_per_user: Option<Rate> as Optional<RateOf> = "", Live, "none";
        /// Absent: as for the others.
        bytes_per_user: Option<Rate> as Optional<BytesOf> = "", Live, "none";
        /// Absent: as for the others.
        overruns_per_link: Option<Rate> as Optional<RateOf> = "", Live, "none";
    }
}

/// What a link may say, and its user on all of its links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkRates {
    /// Frames of a link.
    pub frames: Rate,
    /// Those of them that are work for the gateway alone.
    pub control: Rate,
    /// Bytes of a link.
    pub bytes: Rate,
    /// Frames of a user.
    pub user_frames: Rate,
    /// Bytes of a user.
    pub user_bytes: Rate,
    /// Frames of a link that may be refused before it is closed.
    pub overruns: Rate,
}

/// What some have of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnRates {
    /// [`LinkRates::frames`].
    pub frames: Option<Rate>,
    /// [`LinkRates::control`].
    pub control: Option<Rate>,
    /// [`LinkRates::bytes`].
    pub bytes: Option<Rate>,
    /// [`LinkRates::user_frames`].
    pub user_frames: Option<Rate>,
    /// [`LinkRates::user_bytes`].
    pub user_bytes: Option<Rate>,
    /// [`LinkRates::overruns`].
    pub overruns: Option<Rate>,
}

impl OwnRates {
    /// Which of them are set, in the order of [`LinkRates::each`].
    pub(super) const fn are_set(&self) -> [bool; 6] {
        let Self { frames, control, bytes, user_frames, user_bytes, overruns } = self;
        [
            frames.is_some(),
            control.is_some(),
            bytes.is_some(),
            user_frames.is_some(),
            user_bytes.is_some(),
            overruns.is_some(),
        ]
    }
}

/// A class of accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// Its name, 1–32 bytes.
    pub name: String,
    /// What its members have of their own.
    pub rates: OwnRates,
}

/// Classes of accounts at most: what a link is of is kept in a byte.
pub const CLASSES_MAX: usize = 64;

impl LinkRates {
    /// The same, but for what some have of their own.
    #[must_use]
    pub fn with(self, own: &OwnRates) -> Self {
        Self {
            frames: own.frames.unwrap_or(self.frames),
            control: own.control.unwrap_or(self.control),
            bytes: own.bytes.unwrap_or(self.bytes),
            user_frames: own.user_frames.unwrap_or(self.user_frames),
            user_bytes: own.user_bytes.unwrap_or(self.user_bytes),
            overruns: own.overruns.unwrap_or(self.overruns),
        }
    }

    /// Each of them, by the key that sets it.
    pub(super) const fn each(&self) -> [(&'static str, Rate); 6] {
        [
            ("frames_per_link", self.frames),
            ("control_per_link", self.control),
            ("bytes_per_link", self.bytes),
            ("frames_per_user", self.user_frames),
            ("bytes_per_user", self.user_bytes),
            ("overruns_per_link", self.overruns),
        ]
    }
}

impl RateKeys {
    /// What all have.
    pub(super) const fn rates(&self) -> LinkRates {
        LinkRates {
            frames: self.frames_per_link,
            control: self.control_per_link,
            bytes: self.bytes_per_link,
            user_frames: self.frames_per_user,
            user_bytes: self.bytes_per_user,
            overruns: self.overruns_per_link,
        }
    }
}

impl ClassKeys {
    /// What its members have of their own.
    pub(super) const fn rates(&self) -> OwnRates {
        OwnRates {
            frames: self.frames_per_link,
            control: self.control_per_link,
            bytes: self.bytes_per_link,
            user_frames: self.frames_per_user,
            user_bytes: self.bytes_per_user,
            overruns: self.overruns_per_link,
        }
    }
}
