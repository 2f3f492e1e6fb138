//! What one worker says of the users it owns whom backends have slowed down.

use crate::directory::throttles::{Throttle, Throttles};

/// The first users whom one worker names, and how many there are.
#[derive(Clone, Debug, Default)]
pub struct Throttled {
    /// Those whose throttles end first, at most [`Throttled::NAMED_MAX`].
    pub users: Vec<Throttle>,
    /// How many there are.
    pub count: usize,
}

impl Throttled {
    /// How many a worker names: no more than it does by the way.
    pub const NAMED_MAX: usize = 100;

    /// Of these.
    pub(super) fn of(throttles: &Throttles) -> Self {
        let users = throttles.iter().take(Self::NAMED_MAX).cloned().collect();
        Self { users, count: throttles.len() }
    }
}
