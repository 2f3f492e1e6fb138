//! Whole gateways in a storm: workers, clients and backends on a seeded network that shortens, delays, reorders,
//! starves and resets. Whatever happens, answers reach whom they belong to, every request has one outcome, and when
//! the storm is over nothing is left behind.
//!
//! `SIM_SEEDS=n` runs more of them, `SIM_SEED=x` one of them.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use driver::Endpoint;
use driver::sim::{Backlog, Buffers, Config, Faults, Net, Rng, SimDriver, Socket, State};
use driver::{Chunk, Completion, Driver, Full, Op, Peer, PoolSize};
use gateway::collections::HashKey;
use gateway::config::{DevelopmentToken, Machine, Overrides, Secret, hex, load};
use gateway::control;
use gateway::counters::Counters;
use gateway::upstream::{park, pending};
use gateway::worker::settings::Settings;
use gateway::worker::{Census, Mailbox, Post, Surroundings, Worker};
use protocol::buffer::{Input, Rest};
use protocol::link::{Acceptor, ClientLink, Dial};
use protocol::noise::{Gate, StaticKey, Suite, Suites};
use protocol::stream::{Access, BackendStream, Params, ToBackend};
use protocol::wire::frame::{self, Frame, Outcome, Request};
use protocol::wire::stream::{AuthResult, Kick, StreamPush, StreamResponse};
use protocol::{CloseCode, Time, UnixMillis};

const SEEDS: u64 = 200;
/// Steps a seed may take before it counts as stuck.
const STEPS_MAX: u64 = 60_000;
/// Steps with faults.
const STORM_STEPS: u64 = 1_500;

#[test]
fn after_a_storm_everything_is_resolved_and_nothing_is_left() {
    let seeds: Vec<u64> = match (number("SIM_SEED"), number("SIM_SEEDS")) {
        (Some(seed), _) => vec![seed],
        (None, count) => (1..=count.unwrap_or(SEEDS)).collect(),
    };
    let mut totals = Totals::default();
    for seed in seeds {
        match catch_unwind(AssertUnwindSafe(|| World::new(seed, None).run())) {
            Ok(seen) => totals.add(&seen),
            Err(panic) => {
                eprintln!("SIM_SEED={seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    // A storm that nothing survives, or that harms nothing, proves nothing.
    assert!(totals.answered > 0 && totals.unknown > 0 && totals.refused > 0 && totals.lost > 0, "{totals:?}");
    assert!(totals.pushed > 0, "{totals:?}");
    let closes = [CloseCode::AuthFailed, CloseCode::TryLater, CloseCode::Kicked, CloseCode::Replaced];
    assert!(closes.iter().all(|code| totals.closes.contains(code)), "{totals:?}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [3, 17] {
        let prints = [World::new(seed, None), World::new(seed, None)].map(|mut world| {
            world.run();
            world.net.fingerprint()
        });
        assert_eq!(prints[0], prints[1], "seed {seed}");
    }
}

#[test]
fn planted_bugs_are_caught() {
    World::new(1, None).run(); // what everything fails, shows nothing
    std::panic::set_hook(Box::new(|_| {}));
    let missed: Vec<Bug> = Bug::ALL
        .into_iter()
        .filter(|&bug| !(1..=40).any(|seed| catch_unwind(|| World::new(seed, Some(bug)).run()).is_err()))
        .collect();
    let _ = std::panic::take_hook();
    assert!(missed.is_empty(), "not caught: {missed:?}");
}

/// What a worker or its driver might do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    /// A completion carries the generation of the slot's former tenant.
    StaleGeneration,
    /// A poll or receive is not armed.
    MissedRearm,
    /// A socket is closed twice.
    DoubleClose,
    /// Two sends go to each other's sockets.
    SwappedSends,
    /// A send's completion is lost.
    LostSent,
    /// A chunk is not given back.
    KeptChunk,
    /// Bytes are handed to the worker twice.
    DoubledReceive,
    /// A socket is never closed.
    ForgottenClose,
}

impl Bug {
    const ALL: [Self; 8] = [
        Self::StaleGeneration,
        Self::MissedRearm,
        Self::DoubleClose,
        Self::SwappedSends,
        Self::LostSent,
        Self::KeptChunk,
        Self::DoubledReceive,
        Self::ForgottenClose,
    ];
}

/// A driver that makes a mistake once, some operations or completions after the beginning.
struct Planted {
    inner: SimDriver,
    bug: Option<Bug>,
    /// Occasions to let pass before the mistake.
    patience: u32,
    held: Option<Op>,
    copy: Vec<u8>,
    show_again: bool,
}

impl Planted {
    fn strikes(&mut self, bug: Bug) -> bool {
        if self.bug != Some(bug) {
            return false;
        }
        self.patience = self.patience.wrapping_sub(1);
        self.patience == 0
    }
}

impl Driver for Planted {
    fn submit(&mut self, op: Op) -> Result<(), Full> {
        match op {
            Op::Receive { .. } | Op::Poll { .. } if self.strikes(Bug::MissedRearm) => Ok(()),
            Op::Close { .. } if self.strikes(Bug::ForgottenClose) => Ok(()),
            Op::Close { token } if self.strikes(Bug::DoubleClose) => {
                self.inner.submit(Op::Close { token })?;
                self.inner.submit(Op::Close { token })
            }
            Op::Send { .. } if self.held.is_none() && self.strikes(Bug::SwappedSends) => {
                self.held = Some(op);
                Ok(())
            }
            Op::Send { token, batch } => match self.held.take() {
                Some(Op::Send { token: other, batch: others }) if other.slot != token.slot => {
                    self.inner.submit(Op::Send { token, batch: others })?;
                    self.inner.submit(Op::Send { token: other, batch })
                }
                held => {
                    self.held = held;
                    self.inner.submit(Op::Send { token, batch })
                }
            },
            op => self.inner.submit(op),
        }
    }

    fn wait(&mut self, least: u32, most: Option<Duration>) -> std::io::Result<()> {
        self.inner.wait(least, most)
    }

    fn next(&mut self) -> Option<Completion> {
        let mut done = self.inner.next()?;
        match &mut done {
            Completion::Sent { .. } if self.strikes(Bug::LostSent) => return self.next(),
            Completion::Received { token, .. } | Completion::Readable { token }
                if self.strikes(Bug::StaleGeneration) =>
            {
                token.generation = token.generation.wrapping_sub(1);
            }
            _ => {}
        }
        Some(done)
    }

    fn bytes(&mut self, chunk: &Chunk) -> &mut [u8] {
        if std::mem::take(&mut self.show_again) {
            // The worker is shown the bytes of the chunk before, where new ones have arrived.
            return &mut self.copy;
        }
        if self.strikes(Bug::DoubledReceive) {
            self.copy = self.inner.bytes(chunk).to_vec();
            self.show_again = true;
        }
        self.inner.bytes(chunk)
    }

    fn recycle(&mut self, chunk: Chunk) {
        if !self.strikes(Bug::KeptChunk) {
            self.inner.recycle(chunk);
        }
    }

    fn counters(&self) -> driver::Counters {
        self.inner.counters()
    }
}

/// What the clients of a run have seen.
#[derive(Clone, Debug, Default)]
struct Totals {
    answered: u64,
    refused: u64,
    unknown: u64,
    /// Requests whose link broke first.
    lost: u64,
    pushed: u64,
    /// Why links were closed.
    closes: BTreeSet<CloseCode>,
}

impl Totals {
    fn add(&mut self, other: &Self) {
        self.answered += other.answered;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.lost += other.lost;
        self.pushed += other.pushed;
        self.closes.extend(&other.closes);
    }
}

struct World {
    net: Net,
    rng: Rng,
    now: Time,
    workers: Vec<Worker<Planted>>,
    counters: Vec<Arc<Counters>>,
    backend: BackendActor,
    clients: Vec<Client>,
    strangers: Vec<Stranger>,
    front: Endpoint,
    totals: Totals,
}

impl World {
    fn new(seed: u64, bug: Option<Bug>) -> Self {
        let mut rng = Rng::new(seed);
        let net = Net::new(rng.number());
        let workers = 1 + rng.below(3);
        let clients = 1 + rng.below(8);
        let delegated = rng.one_in(3);
        let (front, back) = (place("/front"), place("/back"));
        let faults = if rng.one_in(4) { Faults::storm() } else { Faults::swarm(&mut rng) };
        net.set_faults(faults);
        let mailboxes: Vec<_> = (0..workers).map(|_| Mailbox::new(1 + rng.below(64))).collect();
        let posts: Vec<Post> = mailboxes.iter().map(Mailbox::post).collect();
        let hash = HashKey::new([5; 16]);
        let counters: Vec<_> = (0..workers).map(|_| Arc::new(Counters::default())).collect();
        let build = |(index, mailbox)| {
            let config = Config {
                slots: 64,
                links: PoolSize { count: 4, size: 64 + 64 * (seed % 8) as u32 },
                streams: PoolSize { count: 2, size: 512 },
                listeners: vec![front.clone()],
                buffers: Buffers { send: 512, receive: 512 },
            };
            let mut random = rng.fork();
            let with = Surroundings {
                acceptor: Acceptor::new(StaticKey::from_secret(SERVER), SUITES, &[], None),
                counters: Arc::clone(&counters[index]),
                mailbox,
                posts: posts.clone(),
                hash,
                placement: hash,
                random: Box::new(move |out| random.fill(out)),
            };
            let settings = settings(index as u32, workers as u32, delegated);
            let inner = SimDriver::new(&net, config);
            let seldom = matches!(bug, Some(Bug::DoubleClose | Bug::ForgottenClose));
            let patience = if seldom { 1 + seed as u32 % 4 } else { 20 + 7 * seed as u32 };
            let driver = Planted { inner, bug, patience, held: None, copy: Vec::new(), show_again: false };
            Worker::new(driver, settings, with, Time::ZERO)
        };
        let workers = mailboxes.into_iter().enumerate().map(build).collect();
        let backend = BackendActor::new(&net, back);
        let clients =
            (0..clients).map(|index| Client::new(index, front.clone(), delegated, rng.fork())).collect();
        Self {
            net,
            rng,
            now: Time::ZERO,
            workers,
            counters,
            backend,
            clients,
            strangers: Vec::new(),
            front,
            totals: Totals::default(),
        }
    }

    fn run(&mut self) -> Totals {
        for step in 0..STEPS_MAX {
            if step == STORM_STEPS {
                self.net.faults_off();
                self.backend.calm = true;
                self.clients.iter_mut().for_each(|client| client.calm = true);
            }
            self.step();
            if step > STORM_STEPS && self.net.is_quiet() {
                for worker in 0..self.workers.len() {
                    let audit = self.net.audit(worker as u32);
                    assert_eq!(audit.deaf, 0, "worker {worker} forgot to arm: {audit:?}");
                }
            }
            if step > STORM_STEPS
                && self.clients.iter().all(Client::is_done)
                && self.strangers.is_empty()
                && self.is_settled()
            {
                self.assert_nothing_left();
                return self.totals.clone();
            }
        }
        let census: Vec<_> = self.workers.iter().map(Worker::census).collect();
        let clients: Vec<_> =
            self.clients.iter().map(|c| (c.wanted, c.open.len(), c.link.is_some())).collect();
        panic!("stuck after {STEPS_MAX} steps: {census:?}, clients {clients:?}");
    }

    fn step(&mut self) {
        self.now = self.now + Duration::from_millis(1 + self.rng.below(20) as u64);
        self.net.step();
        for client in &mut self.clients {
            client.step(&self.net, self.now, &mut self.totals);
        }
        if !self.backend.calm && self.strangers.len() < 3 && self.rng.one_in(100) {
            self.strangers.push(Stranger::new(&self.net, &self.front, &mut self.rng));
        }
        self.strangers.retain_mut(Stranger::step);
        self.backend.step(&mut self.rng, self.now);
        let first = self.rng.below(self.workers.len());
        for at in 0..self.workers.len() {
            let at = (first + at) % self.workers.len();
            let worker = &mut self.workers[at];
            worker.wait().expect("the simulated driver does not break");
            assert!(worker.turn(self.now, UnixMillis(1_000_000 + self.now.as_millis())), "nobody said stop");
            assert_eq!(worker.driver().inner.chunks_out(), 0, "chunks are given back in their turn");
            let census = worker.census();
            self.counters[at].errors.each(|name, count| {
                let of_strangers = ["magic", "preamble", "handshake_length", "gate"];
                let of_time = ["handshake_timeout", "auth_timeout", "heartbeat_timeout", "partial_evicted"];
                assert!(
                    count == 0 || of_strangers.contains(&name) || of_time.contains(&name),
                    "{count} × {name}, and no client breaks a rule here"
                );
            });
            assert!(census.partial_bytes <= PARTIAL_BYTES_MAX, "{census:?}");
            assert!(census.strangers <= STRANGERS_MAX && census.pending <= IN_FLIGHT_MAX, "{census:?}");
        }
    }

    fn is_settled(&self) -> bool {
        self.workers.iter().all(|worker| {
            let Census { links, sessions, claims, pending, parked, judging, unsent, streams, .. } =
                worker.census();
            links + sessions + claims + pending + parked + judging + unsent == 0 && streams == 1
        })
    }

    fn assert_nothing_left(&self) {
        for (index, worker) in self.workers.iter().enumerate() {
            assert_eq!(worker.census(), Census { streams: 1, ..Census::default() }, "worker {index}");
            let audit = self.net.audit(index as u32);
            assert_eq!((audit.deaf, audit.chunks_out), (0, 0), "worker {index}: {audit:?}");
        }
    }
}

/// One user who sends requests until all of them have been tried, over as many links as it takes.
struct Client {
    name: String,
    place: Endpoint,
    rng: Rng,
    /// Requests still to be sent.
    wanted: u32,
    next: u64,
    calm: bool,
    /// Whether a backend judges its token.
    delegated: bool,
    not_before: Time,
    link: Option<Link>,
    /// Requests under way: id and payload.
    open: BTreeMap<[u8; 16], Vec<u8>>,
}

struct Link {
    socket: Socket,
    machine: ClientLink,
    rest: Rest,
    unsent: Vec<u8>,
    said_auth: bool,
    welcome: bool,
    closing: bool,
}

impl Client {
    fn new(index: usize, place: Endpoint, delegated: bool, mut rng: Rng) -> Self {
        let wanted = 1 + rng.below(60) as u32;
        Self {
            // Some are the same user on the same device.
            name: if rng.one_in(6) { "user0".into() } else { format!("user{index}") },
            place,
            rng,
            wanted,
            next: 0,
            calm: false,
            delegated,
            not_before: Time::ZERO,
            link: None,
            open: BTreeMap::new(),
        }
    }

    fn is_done(&self) -> bool {
        self.wanted == 0 && self.open.is_empty() && self.link.is_none()
    }

    fn step(&mut self, net: &Net, now: Time, totals: &mut Totals) {
        if self.link.is_none() && self.wanted > 0 && now >= self.not_before {
            self.link = Some(self.dial(net, now));
        }
        let Some(mut link) = self.link.take() else { return };
        self.speak(&mut link, now);
        let written = link.socket.write(&link.unsent);
        link.unsent.drain(..written);
        if !self.calm && self.rng.one_in(2000) {
            link.socket.reset();
        }
        let over = self.listen(&mut link, now, totals);
        let gone = matches!(link.socket.state(), State::Broken(_) | State::Refused(_) | State::Eof);
        if over || gone {
            // What the link carried is unknown to this client, and it does not ask again.
            totals.lost += self.open.len() as u64;
            self.open.clear();
            self.not_before = now + Duration::from_millis(self.rng.below(500) as u64);
        } else {
            self.link = Some(link);
        }
    }

    fn dial(&mut self, net: &Net, now: Time) -> Link {
        let server = StaticKey::from_secret(SERVER).public();
        let gate = Gate::new(&server);
        let device_key = StaticKey::from_secret([8; 32]);
        let suite = [Suite::NkChaChaPoly, Suite::NkAesGcm, Suite::IkAesGcm][self.rng.below(3)];
        let dial = Dial {
            server: &server,
            gate: &gate,
            suite,
            better: Suites::NONE,
            device_key: (suite == Suite::IkAesGcm).then_some(&device_key),
            ticket: None,
        };
        let (mut ephemeral, mut unsent) = ([0; 32], Vec::new());
        self.rng.fill(&mut ephemeral);
        let machine = ClientLink::dial(&dial, ephemeral, now, &mut unsent).expect("the keys fit the suite");
        let from = Peer::Tcp(([10, 0, 0, 1], 1000).into());
        let socket = net.connect(&self.place, from, Buffers { send: 256, receive: 256 });
        Link {
            socket,
            machine,
            rest: Rest::default(),
            unsent,
            said_auth: false,
            welcome: false,
            closing: false,
        }
    }

    /// `Auth` first, requests behind it without waiting, `Close` when all is said and answered.
    fn speak(&mut self, link: &mut Link, now: Time) {
        if !link.machine.is_open() || link.closing || !link.unsent.is_empty() {
            return;
        }
        let mut out = vec![0; 2];
        if !link.said_auth {
            link.said_auth = true;
            // A backend that judges tokens takes the user's name for one.
            let token = if self.delegated { self.name.clone() } else { token().text().to_string() };
            let auth = frame::Auth {
                token: token.as_bytes(),
                user: self.name.as_bytes(),
                device: b"device",
                ..frame::Auth::default()
            };
            Frame::Auth(auth).encode(&mut out);
        }
        if link.machine.expire(now).is_ok_and(|due| due) {
            Frame::Ping(frame::Ping::default()).encode(&mut out);
        }
        let window = if link.welcome { GRANT } else { 3 };
        while self.wanted > 0 && self.open.len() < window && self.rng.below(3) > 0 {
            self.wanted -= 1;
            self.next += 1;
            let mut id = [0; 16];
            id[..8].copy_from_slice(&self.next.to_be_bytes());
            let mut payload = format!("{}/{}/", self.name, self.next).into_bytes();
            let longest = if self.rng.one_in(5) { 2000 } else { 40 };
            payload.resize(payload.len() + self.rng.below(longest), b'x');
            let request = Request { id, route: "echo", payload: &payload, ..Request::default() };
            Frame::Request(request).encode(&mut out);
            self.open.insert(id, payload);
        }
        if link.welcome && self.wanted == 0 && self.open.is_empty() {
            link.closing = true;
            Frame::Close(frame::Close { code: 1, ..frame::Close::default() }).encode(&mut out);
        }
        if out.len() > 2 {
            link.machine.seal(&mut out, 0, 1000);
            link.unsent = out;
        }
    }

    /// Whether the link is over.
    fn listen(&mut self, link: &mut Link, now: Time, totals: &mut Totals) -> bool {
        let mut bytes = Vec::new();
        link.socket.read(&mut bytes, 1 + self.rng.below(300));
        let mut input = Input::new(&mut bytes, std::mem::take(&mut link.rest));
        while let Some(frame) = link.machine.receive(&mut input, now).expect("the gateway keeps the rules") {
            match frame {
                Frame::Welcome(_) => {
                    link.welcome = true;
                    link.machine.welcomed(Duration::from_secs(20), 0, now);
                }
                Frame::Response(response) => {
                    let asked =
                        self.open.remove(&response.id).expect("one outcome for each request, and no other");
                    match response.outcome {
                        Outcome::Answered => {
                            assert!(
                                response.payload == asked,
                                "{} asked {:?} and got {:?}",
                                self.name,
                                String::from_utf8_lossy(&asked),
                                String::from_utf8_lossy(response.payload)
                            );
                            totals.answered += 1;
                        }
                        Outcome::Refused => totals.refused += 1,
                        Outcome::Unknown => totals.unknown += 1,
                    }
                }
                Frame::Push(push) => {
                    assert!(
                        push.payload.starts_with(self.name.as_bytes()),
                        "{} got another's push",
                        self.name
                    );
                    totals.pushed += 1;
                }
                Frame::Pong { .. } => {}
                Frame::Close(close) => {
                    let code = CloseCode::from_number(close.code).expect("a known code");
                    totals.closes.insert(code);
                    if code == CloseCode::Replaced {
                        // Another client of this device has come; whoever is told so stays away.
                        self.wanted = 0;
                    }
                    return true;
                }
                other => panic!("unexpected {}", other.name()),
            }
        }
        link.rest = input.into_rest();
        false
    }
}

/// Somebody who does not know the gateway's key, and hears nothing.
struct Stranger {
    socket: Socket,
    unsent: Vec<u8>,
    said: usize,
}

impl Stranger {
    fn new(net: &Net, place: &Endpoint, rng: &mut Rng) -> Self {
        let from = Peer::Tcp(([10, 0, 0, 66], 1000).into());
        let socket = net.connect(place, from, Buffers { send: 256, receive: 256 });
        let mut unsent = vec![0; 1 + rng.below(400)];
        rng.fill(&mut unsent);
        let known = [&b""[..], b"\xac\xce\x55\x0a", b"\xac\xce\x55\x0a\x01\x01"][rng.below(3)];
        let known = &known[..known.len().min(unsent.len())];
        unsent[..known.len()].copy_from_slice(known);
        Self { socket, unsent, said: 0 }
    }

    /// Whether the gateway still listens.
    fn step(&mut self) -> bool {
        self.said += self.socket.write(&self.unsent[self.said..]);
        let mut heard = Vec::new();
        self.socket.read(&mut heard, 64);
        assert!(heard.is_empty(), "a stranger was answered: {heard:?}");
        matches!(self.socket.state(), State::Open | State::Connecting)
    }
}

/// A backend that echoes, pushes to who asks, and is killed now and then.
struct BackendActor {
    net: Net,
    place: Endpoint,
    backlog: Option<Backlog>,
    streams: Vec<Carried>,
    calm: bool,
    born: u64,
}

struct Carried {
    socket: Socket,
    machine: BackendStream,
    unsent: Vec<u8>,
    unread: Vec<u8>,
}

impl BackendActor {
    fn new(net: &Net, place: Endpoint) -> Self {
        Self { net: net.clone(), place, backlog: None, streams: Vec::new(), calm: false, born: 0 }
    }

    fn step(&mut self, rng: &mut Rng, now: Time) {
        if !self.calm && self.backlog.is_some() && rng.one_in(400) {
            self.backlog = None;
            self.streams.drain(..).for_each(|stream| stream.socket.reset());
        }
        if self.backlog.is_none() && (self.calm || rng.one_in(50)) {
            self.backlog = Some(self.net.listen(&self.place, Buffers { send: 400, receive: 400 }));
        }
        while let Some(socket) = self.backlog.as_ref().and_then(Backlog::accept) {
            self.born += 1;
            let access = Arc::new(Access::clear());
            let machine = BackendStream::new(
                access,
                Params::default(),
                b"back",
                vec!["echo".into(), "accounts".into()],
                [1; 32],
                now,
            );
            self.streams.push(Carried { socket, machine, unsent: Vec::new(), unread: Vec::new() });
        }
        let calm = self.calm;
        self.streams.retain_mut(|stream| stream.step(rng, now, calm));
    }
}

impl Carried {
    /// Whether the stream lives.
    fn step(&mut self, rng: &mut Rng, now: Time, calm: bool) -> bool {
        if !calm && rng.one_in(3) {
            return true;
        }
        self.socket.read(&mut self.unread, 700);
        let mut bytes = std::mem::take(&mut self.unread);
        let mut input = self.machine.input(&mut bytes);
        let mut pushes = Vec::new();
        loop {
            match self.machine.receive(&mut input, now) {
                Ok(Some(ToBackend::Request(request))) => {
                    let payload = request.payload;
                    let answer = StreamResponse { call: request.call, payload, ..StreamResponse::default() };
                    if !calm && rng.one_in(100) {
                        self.machine.kick(&Kick {
                            link: request.link,
                            code: CloseCode::Kicked.number(),
                            ..Kick::default()
                        });
                    }
                    if rng.one_in(8) {
                        pushes.push((request.link, request.user.to_vec()));
                    }
                    let mine = payload.starts_with(request.user);
                    assert!(mine, "a request carries the user who made it");
                    // Without credit it stays unanswered, and the gateway's deadline resolves it.
                    let _ = self.machine.response(&answer);
                    self.machine.consumed(payload.len());
                }
                Ok(Some(ToBackend::Authenticate(asked))) => {
                    let accepted = calm || !rng.one_in(10);
                    let verdict =
                        AuthResult { call: asked.call, accepted, user: asked.token, ..AuthResult::default() };
                    // The silent ones are resolved by the gateway's deadline.
                    if calm || !rng.one_in(10) {
                        self.machine.auth_result(&verdict);
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => panic!("the gateway breaks the stream's rules: {error}"),
            }
        }
        self.machine.keep(input);
        for (link, user) in pushes {
            let by_link = rng.one_in(2);
            let push = StreamPush {
                number: 1,
                link: if by_link { link } else { 0 },
                user: if by_link { &[] } else { &user },
                payload: &user,
                ..StreamPush::default()
            };
            let _ = self.machine.push(&push);
        }
        if self.machine.expire(now).is_err() {
            self.socket.reset();
            return false;
        }
        if self.unsent.is_empty() {
            self.machine.seal(&mut self.unsent);
        }
        let written = self.socket.write(&self.unsent);
        self.unsent.drain(..written);
        matches!(self.socket.state(), State::Open | State::Connecting)
    }
}

const DELEGATED: &str = "mode = \"delegated\"\nroute = \"accounts\"\ndeadline = \"2s\"\nin_flight_max = 4";
const SERVER: [u8; 32] = [9; 32];
const SUITES: Suites = Suites::of(&[Suite::NkChaChaPoly, Suite::NkAesGcm, Suite::IkAesGcm]);
const GRANT: usize = 8;
const PARTIAL_BYTES_MAX: usize = 4096;
const STRANGERS_MAX: usize = 8;
const IN_FLIGHT_MAX: usize = 32;

fn token() -> DevelopmentToken {
    DevelopmentToken::new(&Secret::new(SERVER))
}

fn place(name: &str) -> Endpoint {
    Endpoint::Unix(name.into())
}

/// What the config of a small gateway gives a worker, and then less of everything, so that all bounds are met.
fn settings(worker: u32, workers: u32, delegated: bool) -> Settings {
    let auth = if delegated { DELEGATED } else { "mode = \"development\"" };
    let text = format!(
        "workers = {workers}\n[keys]\nserver = \"key\"\n[auth]\n{auth}\n\
         [heartbeat]\nmin = \"1s\"\nmax = \"60s\"\ndefault = \"20s\"\n\
         [limits]\nframe_len_max = \"4KiB\"\nhandshakes_per_turn = 2\nglitches = 10\ndevices = 4\n\
         [receive]\nparked_accepts = 4\npromote_after = 3\ndemote_after = \"2s\"\n\
         [requests]\nlink_count = {GRANT}\nlink_bytes = \"64KiB\"\nstream_count = 24\ndeadline = \"5s\"\n\
         [upstream]\nredial_max = \"1s\"\nheartbeat = \"2s\"\n\
         [[route]]\nname = \"echo\"\nendpoints = [\"back\"]\npresence = true\n\
         [[route]]\nname = \"accounts\"\nendpoints = [\"back\"]\n\
         [[endpoint]]\nname = \"back\"\naddress = \"unix:/back\"\nclear = true\n"
    );
    let machine = Machine { cpus: vec![0], open_files: 64, memory: 0 };
    let read = |_: &Path| Ok(hex::encode(&SERVER));
    let config = match load("storm.toml", &text, Overrides::default(), &machine, &read) {
        Ok((config, _)) => config,
        Err(problems) => panic!("{problems}"),
    };
    Settings {
        strangers_max: STRANGERS_MAX,
        replay_filter_len: 64,
        partial_bytes_max: PARTIAL_BYTES_MAX,
        outgoing_len_max: 1 << 16,
        outgoing_len_soft: 1 << 14,
        outgoing_bytes_max: 1 << 18,
        lingering_max: 16,
        record_plain_max: 1000,
        in_flight: pending::Caps { link_max: GRANT as u32, stream_max: 24, worker_max: IN_FLIGHT_MAX as u32 },
        waiting: park::Bounds { requests_max: 8, bytes_max: 1 << 14 },
        waiting_max: Duration::from_secs(2),
        tombstones_max: 64,
        ..control::settings::settings(&config, worker, [1; 16])
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
