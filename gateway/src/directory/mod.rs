//! Who is where: each user has one owner among the workers, and the owner knows the user's links.

pub mod churn;
pub mod claims;
pub mod revocations;
pub mod throttles;
pub mod tombstones;

pub use claims::{Claim, Claimed, Claims, Outcome};

use crate::collections::Identity;

/// Index of the worker that owns a user, among `workers`. Every worker of the process comes to the same answer,
/// and users spread evenly.
///
/// # Panics
/// When there is no worker.
#[must_use]
pub fn owner_of(user: Identity, workers: u32) -> u32 {
    assert!(workers > 0, "a node has a worker");
    // The low half, because the owner's map spreads its users by the high one.
    ((u128::from(user.low()) * u128::from(workers)) >> 64) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collections::HashKey;

    #[test]
    fn users_spread_evenly_over_their_owners() {
        let key = HashKey::new([7; 16]);
        for workers in [1u32, 2, 3, 51] {
            let mut shares = vec![0; workers as usize];
            for user in 0..u64::from(workers) * 1_000 {
                shares[owner_of(key.identity(&user.to_le_bytes()), workers) as usize] += 1;
            }
            assert!(shares.iter().all(|share| (850..1150).contains(share)), "{shares:?}");
        }
    }
}
