//! What a worker shares with the rest of its process.

use std::fmt;
use std::sync::Arc;

use protocol::link::Acceptor;

use super::post::{Mailbox, Post};
use super::reports::Reports;
use super::turn::Random;
use super::vacancy::Vacancy;
use crate::admission::buckets::Buckets;
use crate::admission::ladder::Pressure;
use crate::admission::lists::Lists;
use crate::admission::rates::Users;
use crate::collections::HashKey;
use crate::counters::Counters;
use crate::session::SessionSecrets;

/// What a worker shares with the rest of its process.
pub struct Surroundings {
    /// The server's ends of handshakes, in the order of the listeners the worker's driver was built with.
    pub acceptors: Vec<Acceptor>,
    /// The worker's cells.
    pub counters: Arc<Counters>,
    /// Its own letters.
    pub mailbox: Mailbox,
    /// The ways to all workers, by index, itself included.
    pub posts: Vec<Post>,
    /// Keys of the hashes that attackers must not predict; the same for all workers.
    pub hash: HashKey,
    /// Key of the hashes that all gateways of a group agree on: where users are placed, what logins are called.
    pub group: HashKey,
    /// Makes the secrets of sessions; the same for all workers.
    pub secrets: SessionSecrets,
    /// Who may come in, by address.
    pub lists: Lists,
    /// What addresses have cost so far.
    pub buckets: Arc<Buckets>,
    /// What users have said lately.
    pub rated: Arc<Users>,
    /// What control says of the load.
    pub pressure: Arc<Pressure>,
    /// What they tell control.
    pub reports: Arc<Reports>,
    /// Which workers have a place left.
    pub vacancy: Arc<Vacancy>,
    /// Fresh randomness.
    pub random: Random,
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").field("posts", &self.posts.len()).finish_non_exhaustive()
    }
}
