//! Workers, clients, strangers and backends on one network, step by step.

use std::sync::Arc;
use std::time::Duration;

use driver::sim::{Buffers, Config, Faults, Net, Rng, SimDriver};
use driver::{Endpoint, PoolSize};
use driver::{Fault, Plan};
use gateway::admission::buckets::Buckets;
use gateway::admission::ladder::{Level, Pressure};
use gateway::admission::lists::Lists;
use gateway::admission::rates::Users;
use gateway::admission::share::handshake_cost;
use gateway::collections::HashKey;
use gateway::config::{ProxyProtocol, Secret};
use gateway::counters::Counters;
use gateway::counters::health::Health;
use gateway::session::SessionSecrets;
use gateway::worker::{Census, Letter, Mailbox, Post, Reports, Surroundings, Vacancy, Worker};
use protocol::noise::Suite;
use protocol::{CloseCode, Time};

use crate::Totals;
use crate::backend::BackendActor;
use crate::balancer::Way;
use crate::client::{Client, DEVICES};
use crate::ledger::Ledger;
use crate::planted::{Bug, Planted};
use crate::settings::{
    BEGUN_MAX, HANDSHAKES_PER_TURN, HASH_KEY, IN_FLIGHT_MAX, NEXT_GROUP, OWED, PACKAGES, PARKED_BYTES_MAX,
    PARKED_MAX, PARTIAL_BYTES_MAX, acceptor, outgoing_bytes_max, place, settings, stranger_bytes_max, wall,
};
use crate::shape::{Costs, ROUTES, Shape, name_of};
use crate::stranger::Stranger;

/// Key of the sessions' secrets.
const SESSIONS: [u8; 32] = [0x5e; 32];
/// The buffer that one frame to a client takes here: the bound on what waits is looked at behind each of them.
const FRAME_MAX: usize = 4096;
/// Bytes of the pushes among a worker's letters; more than the longest one.
const LETTER_BYTES_MAX: usize = 4096;
/// Addresses that are known at a time where that matters: few, so that some have to make room.
const ADDRESSES: usize = 4;
/// Steps a seed may take before it counts as stuck.
const STEPS_MAX: u64 = 60_000;
/// Steps with faults.
const STORM_STEPS: u64 = 1_500;
/// Steps a ring takes at most, where none of its completions is held back: refusals of drivers, and workers that seldom
/// take turns.
const RING_STEPS_MAX: u64 = 16;
/// Steps after them in which the drivers let go of what they held back.
const STEPS_TO_LET_GO: u64 = 20;

pub(crate) struct World {
    pub(crate) net: Net,
    rng: Rng,
    pub(crate) now: Time,
    /// What a turn takes, if that is not left to chance; handshakes take longer.
    pub(crate) turns_take: Option<Duration>,
    shaken: u64,
    /// How long a turn took, as the worker is told.
    pub(crate) lag: Duration,
    calm: bool,
    shape: Shape,
    pub(crate) workers: Vec<Worker<Planted>>,
    pub(crate) counters: Vec<Arc<Counters>>,
    pub(crate) posts: Vec<Post>,
    pub(crate) buckets: Arc<Buckets>,
    pub(crate) reports: Arc<Reports>,
    pub(crate) pressure: Arc<Pressure>,
    /// Workers that have to hear of the next key of tickets.
    untold: Vec<usize>,
    /// A worker that stands still.
    pub(crate) frozen: Option<usize>,
    /// Since when each worker waits, while it does.
    waits: Vec<Option<Time>>,
    /// For how many steps each of them has slept over letters.
    slept_over: Vec<u64>,
    /// For how many they may.
    ring_steps_max: u64,
    pub(crate) backends: Vec<BackendActor>,
    pub(crate) clients: Vec<Client>,
    pub(crate) strangers: Vec<Stranger>,
    pub(crate) front: Endpoint,
    /// How those who come are seen there.
    pub(crate) way: Way,
    pub(crate) totals: Totals,
}

/// How long hellos may wait while a worker sleeps: as long as it expects messages, and a step.
const SHARE_WAIT_MAX: Duration = Duration::from_millis(70);

impl World {
    pub(crate) fn new(seed: u64, bug: Option<Bug>) -> Self {
        let mut rng = Rng::new(seed);
        let proxy = match seed % 6 {
            0 => ProxyProtocol::Required,
            3 => ProxyProtocol::Optional,
            _ => ProxyProtocol::Off,
        };
        let shape = Shape { proxy, ..Shape::draw(&mut rng) };
        let unpinned = seed % 10 == 7 && (shape.signed || shape.delegated);
        let shape =
            Shape { unpinned, tickets: shape.tickets && !unpinned, drops_oldest: seed % 3 == 1, ..shape };
        let faults = if rng.one_in(4) { Faults::storm() } else { Faults::swarm(&mut rng) };
        let mut world = Self::build(shape, seed, rng, bug);
        if faults.late > 0 {
            world.ring_steps_max += u64::from(faults.late_steps_max);
        }
        world.net.set_faults(faults);
        world.clients.iter_mut().for_each(|client| client.asks_again = true);
        world
    }

    /// A world without faults, in which nobody makes trouble by itself.
    pub(crate) fn quiet(shape: Shape) -> Self {
        Self::quiet_of(shape, 1)
    }

    fn quiet_of(shape: Shape, seed: u64) -> Self {
        let mut world = Self::build(shape, seed, Rng::new(seed), None);
        world.clients.iter_mut().for_each(|client| client.device = DEVICES[0]);
        world.end_storm();
        world
    }

    /// A quiet world whose streams all stand before the first client comes.
    pub(crate) fn standing(shape: Shape) -> Self {
        Self::standing_of(shape, 1)
    }

    /// One that another seed makes.
    pub(crate) fn standing_of(shape: Shape, seed: u64) -> Self {
        let mut world = Self::quiet_of(shape, seed);
        let wanted: Vec<u32> =
            world.clients.iter_mut().map(|client| std::mem::take(&mut client.wanted)).collect();
        let backends = world.backends.len();
        world.until("all streams stand", |world| {
            world.workers.iter().all(|worker| worker.census().streams == backends)
        });
        for (client, wanted) in world.clients.iter_mut().zip(wanted) {
            client.wanted = wanted;
        }
        world
    }

    fn build(shape: Shape, seed: u64, mut rng: Rng, bug: Option<Bug>) -> Self {
        let net = Net::new(rng.number());
        let (front, way) = (place("front"), Way(shape.proxy));
        let mailboxes: Vec<_> =
            (0..shape.workers).map(|_| Mailbox::new(shape.letters, LETTER_BYTES_MAX)).collect();
        let posts: Vec<Post> = mailboxes.iter().map(Mailbox::post).collect();
        let hash = HashKey::new(HASH_KEY);
        let counters: Vec<_> =
            (0..shape.workers).map(|_| Arc::new(Counters::new(shape.backends, 1))).collect();
        let (vacancy, reports) = (Arc::new(Vacancy::new(1)), Arc::new(Reports::default()));
        let addresses = if shape.costs == Costs::Little { ADDRESSES } else { 1024 * ADDRESSES };
        let buckets = Arc::new(Buckets::new(addresses, 1, hash));
        let rated = Arc::new(Users::new(1024));
        let pressure = Arc::new(Pressure::default());
        let build = |(index, mailbox)| {
            let config = Config {
                slots: shape.slots,
                links: PoolSize { count: (shape.slots / 16) as u16, size: 64 + 64 * (seed % 8) as u32 },
                streams: PoolSize { count: 2, size: 512 },
                listeners: vec![front.clone()],
                buffers: Buffers { send: 512, receive: 512 },
            };
            let mut random = rng.fork();
            let with = Surroundings {
                acceptors: vec![acceptor(&shape)],
                counters: Arc::clone(&counters[index]),
                mailbox,
                posts: posts.clone(),
                hash,
                secrets: SessionSecrets::new(&SESSIONS),
                group: HashKey::new([6; 16]),
                lists: Lists::default(),
                buckets: Arc::clone(&buckets),
                rated: Arc::clone(&rated),
                pressure: Arc::clone(&pressure),
                reports: Arc::clone(&reports),
                vacancy: Arc::clone(&vacancy),
                random: Box::new(move |out| random.fill(out)),
            };
            let settings = settings(index as u32, &shape);
            let plan = if shape.rough { Plan::rough(rng.number()) } else { Plan::quiet(0) };
            let inner = Fault::new(SimDriver::new(&net, config), plan);
            let seldom = matches!(bug, Some(Bug::DoubleClose | Bug::ForgottenClose | Bug::ForgottenRing));
            let patience = if seldom { 1 + seed as u32 % 4 } else { 20 + 7 * seed as u32 };
            let driver = Planted::new(inner, bug, patience);
            Worker::new(driver, settings, with, Time::ZERO)
        };
        let workers = mailboxes.into_iter().enumerate().map(build).collect();
        let ledger = Ledger::default();
        let backend = |at| BackendActor::new(&net, place(&name_of(at)), at, &shape, ledger.clone());
        let mut backends: Vec<_> = (0..shape.backends).map(backend).collect();
        backends.iter_mut().for_each(|backend: &mut BackendActor| backend.desk.mad = shape.mad);
        let client = |index| Client::new(index, front.clone(), &shape, ledger.clone(), rng.fork());
        let clients = (0..shape.clients).map(client).collect();
        Self {
            net,
            rng,
            now: Time::ZERO,
            turns_take: None,
            shaken: 0,
            lag: Duration::ZERO,
            calm: false,
            posts,
            buckets,
            reports,
            pressure: Arc::clone(&pressure),
            untold: Vec::new(),
            frozen: None,
            waits: vec![None; shape.workers],
            slept_over: vec![0; shape.workers],
            ring_steps_max: RING_STEPS_MAX,
            shape,
            workers,
            counters,
            backends,
            clients,
            strangers: Vec::new(),
            front,
            way,
            totals: Totals::default(),
        }
    }

    pub(crate) fn run(&mut self) -> Totals {
        for step in 0..STEPS_MAX {
            if step == STORM_STEPS {
                self.end_storm();
            }
            self.step();
            let calm = step > STORM_STEPS + STEPS_TO_LET_GO;
            if calm && self.net.is_quiet() {
                for worker in 0..self.workers.len() {
                    let audit = self.net.audit(worker as u32);
                    let paused = self.workers[worker].census().paused as u32;
                    assert!(audit.deaf <= paused, "worker {worker} forgot to arm: {audit:?}");
                }
            }
            if calm
                && self.clients.iter().all(Client::is_done)
                && self.strangers.is_empty()
                && self.backends.iter().all(|it| it.is_alone() && it.is_credited() && it.is_told())
                && self.is_settled()
            {
                self.assert_nothing_left();
                for worker in &mut self.workers {
                    self.totals.injected.push(*worker.driver().injected());
                }
                for counters in &self.counters {
                    self.totals.forwarded += counters.links_forwarded.get();
                    self.totals.checked += counters.balancer_checks.get();
                    let slow = counters.closed.of(CloseCode::SlowReader).get();
                    *self.totals.slow.entry(self.shape.scarce).or_default() += slow;
                }
                return self.totals.clone();
            }
        }
        let census: Vec<_> = self.workers.iter().map(Worker::census).collect();
        let clients: Vec<_> =
            self.clients.iter().map(|c| (c.wanted, c.open.len(), c.link.is_some())).collect();
        panic!("stuck after {STEPS_MAX} steps: {census:?}, clients {clients:?}");
    }

    /// Lets time pass until something is so.
    pub(crate) fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let came = (0..3000).any(|_| {
            self.step();
            is_so(self)
        });
        assert!(came, "never: {what}, {:?}", self.totals);
    }

    /// No worker is below this level from now on, and all hear of it.
    pub(crate) fn force(&self, level: Level) {
        self.pressure.force(level);
        (0..).zip(&self.workers).for_each(|(worker, _)| self.net.ring(worker));
    }

    /// Lets so much time pass.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step();
        }
    }

    /// Kills the last worker, as a kernel kills a thread: its sockets are closed, and nobody is told.
    pub(crate) fn kill_last(&mut self) {
        drop(self.workers.pop());
    }

    /// Tells workers of the next key of tickets: one whose mailbox is full is told later, or what another one issues would be
    /// refused there.
    fn tell_of_key(&mut self) {
        let (posts, net) = (&self.posts, &self.net);
        self.untold.retain(|&worker| {
            let told = posts[worker].send(Letter::TicketKey(Secret::new(NEXT_GROUP)));
            if let Ok(true) = told {
                net.ring(worker as u32);
            }
            told.is_err()
        });
    }

    pub(crate) fn end_storm(&mut self) {
        self.net.faults_off();
        self.calm = true;
        self.force(Level::Calm);
        self.workers.iter_mut().for_each(|worker| worker.driver().calm());
        for BackendActor { desk, .. } in &mut self.backends {
            (desk.calm, desk.hasty) = (true, true);
            (desk.mute_until, desk.stingy_until) = (Time::ZERO, Time::ZERO);
        }
        self.clients.iter_mut().for_each(|client| client.calm = true);
    }

    pub(crate) fn step(&mut self) {
        self.now = self.now + self.time_of_a_step();
        self.net.step();
        for client in &mut self.clients {
            client.step(&self.net, self.now, &mut self.totals);
        }
        if !self.calm && self.strangers.len() < 3 && self.rng.one_in(100) {
            let one = if self.rng.one_in(3) { Stranger::from_the_future } else { Stranger::new };
            let one = if self.shape.unpinned && self.rng.one_in(2) { Stranger::half_way } else { one };
            let stranger = one(&self.net, &self.front, self.way, &mut self.rng);
            self.strangers.push(stranger);
        }
        self.check();
        self.replay();
        if self.shape.drills && !self.calm && self.rng.one_in(300) {
            let level = Level::ALL[self.rng.below(Level::ALL.len())];
            self.force(level);
        }
        if self.shape.tickets && !self.calm && self.rng.one_in(1000) {
            self.untold = (0..self.posts.len()).collect();
        }
        self.tell_of_key();
        self.strangers.retain_mut(|stranger| {
            let stays = stranger.step();
            self.totals.told += u64::from(!stays && stranger.is_told());
            stays
        });
        for backend in &mut self.backends {
            backend.step(&mut self.rng, self.now, &mut self.totals);
        }
        let first = self.rng.below(self.workers.len());
        for at in 0..self.workers.len() {
            let at = (first + at) % self.workers.len();
            if self.frozen == Some(at) || !self.calm && !self.rng.one_in(self.shape.pace) {
                continue;
            }
            let since = self.begin_wait(at);
            if self.shape.sleepy && self.workers[at].driver().sleeps(self.now.since(since)) {
                self.assert_not_forgotten(at, self.now.since(since));
                continue;
            }
            (self.waits[at], self.slept_over[at]) = (None, 0);
            let worker = &mut self.workers[at];
            let shaken = self.counters[at].handshakes.get();
            assert!(worker.turn(self.now, wall(self.now)), "nobody said stop");
            worker.rests(self.now + self.lag);
            let shaken = self.counters[at].handshakes.get() - shaken;
            assert!(shaken <= HANDSHAKES_PER_TURN as u64, "{shaken} handshakes in one turn");
            assert_eq!(worker.driver().chunks_out(), 0, "chunks are given back in their turn");
            let census = worker.census();
            let tickets = self.shape.tickets;
            self.counters[at].errors.each(|name, count| {
                let of_strangers = ["magic", "preamble", "handshake_length", "gate", "version", "suite"];
                let of_tickets = ["ticket", "replay", "handshake"];
                let of_time = ["handshake_timeout", "auth_timeout", "heartbeat_timeout", "partial_evicted"];
                assert!(
                    count == 0
                        || of_strangers.contains(&name)
                        || of_time.contains(&name)
                        || self.shape.mad
                        || !self.shape.trusted && name == "unexpected"
                        || tickets && of_tickets.contains(&name)
                        || self.shape.unpinned && name == "handshake"
                        // Some present their tokens again and again.
                        || self.shape.signed && name == "glitches",
                    "{count} × {name}, and no client breaks a rule here"
                );
            });
            let parked_max = (PARKED_MAX * ROUTES.len(), PARKED_BYTES_MAX * ROUTES.len());
            assert!(census.parked <= parked_max.0 && census.parked_bytes <= parked_max.1, "{census:?}");
            self.totals.parked = self.totals.parked.max(census.parked);
            let outgoing_max = outgoing_bytes_max(self.shape.scarce) + FRAME_MAX;
            assert!(census.outgoing_bytes <= outgoing_max, "{census:?}");
            let partial_max = (PARTIAL_BYTES_MAX, stranger_bytes_max(&self.shape));
            assert!(census.partial_bytes <= partial_max.0, "{census:?}");
            assert!(census.stranger_bytes <= partial_max.1, "{census:?}");
            assert!(census.begun <= BEGUN_MAX, "{census:?}");
            let bodies_max = OWED.1 + PACKAGES.bytes;
            assert!(census.owed <= OWED.0 && census.owed_bytes <= bodies_max, "{census:?}");
            assert!(census.parts <= PACKAGES.parts as usize, "{census:?}");
            assert_eq!(census.unrung, 0, "before it sleeps, a worker rings those it wrote to");
            assert!(
                census.strangers.max(census.hailed) <= self.shape.strangers
                    && census.pending <= IN_FLIGHT_MAX,
                "{census:?}"
            );
        }
    }

    fn time_of_a_step(&mut self) -> Duration {
        let Some(turn) = self.turns_take else { return Duration::from_millis(1 + self.rng.below(20) as u64) };
        let shaken = self.counters.iter().map(|counters| counters.handshakes.get()).sum();
        let since = shaken - std::mem::replace(&mut self.shaken, shaken);
        turn + handshake_cost(Suite::NkChaChaPoly) * since as u32
    }

    /// A worker waits, unless it does already; since when.
    fn begin_wait(&mut self, at: usize) -> Time {
        *self.waits[at].get_or_insert_with(|| {
            self.workers[at].wait().expect("the simulated driver does not break");
            self.now
        })
    }

    /// Whoever has letters is woken, as soon as the ring arrives.
    fn assert_not_forgotten(&mut self, at: usize, slept: Duration) {
        let Census { letters, hailed, marked, .. } = self.workers[at].census();
        assert_eq!(marked, 0, "worker {at} sleeps, and has ends left over");
        // A crowd waits for its share, at most until no message is expected any more.
        assert!(hailed == 0 || slept < SHARE_WAIT_MAX, "worker {at} sleeps, and has hellos left over");
        let steps = &mut self.slept_over[at];
        *steps = if letters == 0 { 0 } else { *steps + 1 };
        assert!(*steps <= self.ring_steps_max, "worker {at} sleeps, and has {letters} letters");
    }

    /// Somebody sends a client's hello again.
    fn replay(&mut self) {
        if self.calm || self.strangers.len() >= 3 || !self.rng.one_in(30) {
            return;
        }
        let client = self.rng.below(self.clients.len());
        if let Some(hello) = self.clients[client].hello.take() {
            self.totals.replayed += 1;
            let workers = self.workers.len();
            let stranger = Stranger::replaying(&self.net, &self.front, self.way, hello, workers);
            self.strangers.push(stranger);
        }
    }

    /// A balancer looks whether the gateway is there.
    fn check(&mut self) {
        let has_balancer = self.shape.proxy != ProxyProtocol::Off;
        if has_balancer && !self.calm && self.strangers.len() < 3 && self.rng.one_in(50) {
            self.strangers.push(Stranger::checking(&self.net, &self.front));
        }
    }

    fn is_settled(&self) -> bool {
        // An endpoint that was left out is taken up again, if only after a while.
        let left_out = |counters: &Arc<Counters>| counters.endpoints.iter().any(|its| its.left_out.get() > 0);
        !self.counters.iter().any(left_out)
            && self.workers.iter().all(|worker| {
                let Census {
                    links,
                    sessions,
                    claims,
                    pending,
                    parked,
                    judging,
                    letters,
                    unsent,
                    streams,
                    ..
                } = worker.census();
                links + sessions + claims + pending + parked + judging + letters + unsent == 0
                    && streams == self.backends.len()
            })
    }

    fn assert_nothing_left(&self) {
        for census in self.buckets.census() {
            assert_eq!((census.strangers, census.users), (0, 0), "nobody is there: {census:?}");
        }
        for (index, worker) in self.workers.iter().enumerate() {
            let streams = self.backends.len();
            assert_eq!(worker.census(), Census { streams, ..Census::default() }, "worker {index}");
            let audit = self.net.audit(index as u32);
            assert_eq!((audit.deaf, audit.chunks_out), (0, 0), "worker {index}: {audit:?}");
            let endpoints = &self.counters[index].endpoints;
            let open = |health: &Health| health.open.get() == 1;
            assert!(endpoints.iter().all(open), "worker {index} tells of {endpoints:?}");
        }
    }
}
