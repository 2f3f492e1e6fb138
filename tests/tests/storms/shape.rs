//! What the world of a seed is made of.

use driver::sim::Rng;
use gateway::config::ProxyProtocol;

/// Drawn once per seed, before anything happens.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) workers: usize,
    pub(crate) clients: usize,
    /// Backends, each of which serves what [`Shape::routes_of`] says.
    pub(crate) backends: usize,
    /// Whether a backend judges tokens.
    pub(crate) delegated: bool,
    /// Whether tokens are signed, and the gateway verifies them; if no backend judges them.
    pub(crate) signed: bool,
    /// Letters that may wait for a worker.
    pub(crate) letters: usize,
    /// Of so many steps a worker takes one, so that letters pile up.
    pub(crate) pace: u32,
    /// Whether workers sleep until something comes or is due, as threads do. Those that don't take turns all the time.
    pub(crate) sleepy: bool,
    /// Whether each worker's driver makes faults of its own, besides those of the network.
    pub(crate) rough: bool,
    /// Whether links may be opened with tickets.
    pub(crate) tickets: bool,
    /// Sockets of a worker.
    pub(crate) slots: u32,
    /// How many links of a worker may have proved nothing yet.
    pub(crate) strangers: usize,
    /// Whether streams to backends are encrypted.
    pub(crate) sealed: bool,
    /// Whether backends write nonsense now and then.
    pub(crate) mad: bool,
    /// Whether backends may keep users out and slow them down.
    pub(crate) trusted: bool,
    /// Whether a turn does only a little of everything.
    pub(crate) brief: bool,
    /// Whether a hello may take minutes.
    pub(crate) patient: bool,
    /// Hundredths of a core that handshakes may take.
    pub(crate) share: u32,
    /// What addresses may cost.
    pub(crate) costs: Costs,
    /// Whether a balancer stands in front.
    pub(crate) proxy: ProxyProtocol,
    /// Whether operators force levels of the overload ladder.
    pub(crate) drills: bool,
    /// Whether a user may have one phone, of which the last to come stays, and one desktop, of which the first does.
    pub(crate) few_devices: bool,
    /// Whether peers on this machine are no strangers.
    pub(crate) exempt: bool,
    /// What is scarce for clients that do not read. Without it all of them read.
    pub(crate) scarce: Option<Scarce>,
    /// Whether clients come without a server key.
    pub(crate) unpinned: bool,
    /// Bytes of requests a link may have in flight.
    pub(crate) grant_bytes: u32,
    /// Whether backends want some of their pushes acknowledged.
    pub(crate) keeps: bool,
    /// Whether only two sessions of a worker may wait for their next link.
    pub(crate) forgetful: bool,
    /// Whether pushes that are delivered at most once make no slow readers.
    pub(crate) drops_oldest: bool,
}

/// What addresses may cost before they authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Costs {
    /// As much as can be.
    Whatever,
    /// What they may by default.
    Default,
    /// Less than clients that break and come back would like, and few addresses are known at a time.
    Little,
}

/// The bounds on what waits for clients, one of them small in a seed, so that each is seen to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scarce {
    /// Bytes for one link.
    Hard,
    /// Bytes for one link for longer than a while.
    Soft,
    /// Bytes for all links of a worker.
    Pool,
}

impl Scarce {
    pub(crate) const ALL: [Self; 3] = [Self::Hard, Self::Soft, Self::Pool];
}

/// So few that clients push each other out.
pub(crate) const STRANGERS: usize = 8;
/// More than all requests of a link's grant cost together.
const GRANT_BYTES: u32 = 64 << 10;

/// Routes that clients may name.
pub(crate) const ROUTES: [&str; 2] = ["echo", "mail"];

impl Shape {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        Self {
            workers: 1 + rng.below(3),
            clients: 1 + rng.below(8),
            backends: 1 + rng.below(3),
            delegated: rng.one_in(3),
            signed: rng.one_in(3),
            letters: if rng.one_in(2) { 1 + rng.below(3) } else { 1 + rng.below(64) },
            pace: if rng.one_in(3) { 6 } else { 1 },
            sleepy: rng.one_in(2),
            rough: rng.one_in(3),
            tickets: rng.one_in(2),
            slots: 64,
            strangers: STRANGERS,
            sealed: rng.one_in(3),
            mad: rng.one_in(4),
            trusted: true,
            brief: rng.one_in(3),
            patient: false,
            share: if rng.one_in(3) { 1 } else { 30 },
            costs: if rng.one_in(3) { Costs::Little } else { Costs::Whatever },
            proxy: ProxyProtocol::Off,
            drills: rng.one_in(4),
            few_devices: false,
            exempt: false,
            scarce: if rng.one_in(2) { Some(Scarce::ALL[rng.below(3)]) } else { None },
            unpinned: false,
            grant_bytes: GRANT_BYTES,
            keeps: true,
            forgetful: rng.one_in(4),
            drops_oldest: false,
        }
    }

    /// A world in which only what a test does happens.
    pub(crate) fn plain(workers: usize, clients: usize, backends: usize) -> Self {
        Self {
            workers,
            clients,
            backends,
            delegated: false,
            signed: false,
            letters: 64,
            pace: 1,
            sleepy: true,
            rough: false,
            tickets: false,
            slots: 64,
            strangers: STRANGERS,
            sealed: false,
            mad: false,
            trusted: true,
            brief: false,
            patient: false,
            share: 30,
            costs: Costs::Whatever,
            proxy: ProxyProtocol::Off,
            drills: false,
            few_devices: false,
            exempt: false,
            scarce: None,
            unpinned: false,
            grant_bytes: GRANT_BYTES,
            keeps: false,
            forgetful: false,
            drops_oldest: false,
        }
    }

    /// Routes of a backend: the first two share `echo`, the last one has `mail` for itself, the first one judges.
    pub(crate) fn routes_of(&self, backend: usize) -> Vec<&'static str> {
        let serves =
            [("echo", backend < 2), ("mail", backend + 1 == self.backends), ("accounts", backend == 0)];
        serves.into_iter().filter(|&(_, serves)| serves).map(|(route, _)| route).collect()
    }

    /// Endpoints of a route, as the config lists them.
    pub(crate) fn endpoints_of(&self, route: &str) -> Vec<String> {
        (0..self.backends).filter(|&at| self.routes_of(at).contains(&route)).map(name_of).collect()
    }
}

/// Name of a backend, and of the socket it listens at.
pub(crate) fn name_of(backend: usize) -> String {
    format!("back{backend}")
}
