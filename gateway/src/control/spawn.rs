//! Starts the workers: sockets of the listeners, one ring and one thread for each core of the config.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use driver::{Doorbells, Endpoint, ListenOptions, PoolSize, RingConfig, Uring, Waker};
use protocol::link::Acceptor;
use protocol::noise::ticket::TicketKeys;
use protocol::{CloseCode, UnixMillis};

use super::kick::Of;
use super::settings::settings;
use super::{KickUser, Progress, Workers};
use crate::admission::buckets::Buckets;
use crate::admission::ladder::Pressure;
use crate::admission::lists::Lists;
use crate::admission::rates::Users;
use crate::clock::Clock;
use crate::collections::HashKey;
use crate::config::{Checked, Config, Core, Listener, Secret};
use crate::counters::Counters;
use crate::directory::owner_of;
use crate::directory::revocations::Revoked;
use crate::session::SessionSecrets;
use crate::worker::settings::Farewell;
use crate::worker::{Letter, Mailbox, Post, Random, Reports, Surroundings, Vacancy, Worker};

/// Starts one thread per core of the config.
///
/// # Errors
/// One line: what could not be made, and why.
pub fn spawn(config: &Arc<Checked<Config>>, clock: Clock, lists: Lists) -> Result<Workers, String> {
    let process = Process::new(config, clock, lists)?;
    let progress = Arc::new(Progress::default());
    let mut workers = Workers {
        listeners: process.addresses,
        counters: Vec::new(),
        buckets: Arc::clone(&process.buckets),
        pressure: Arc::clone(&process.pressure),
        reports: Arc::clone(&process.reports),
        progress: Arc::clone(&progress),
        stop: Box::new(|| {}),
        rotate_tickets: None,
        tell_lists: Box::new(|_, _| true),
        tell_verifier: Box::new(|_, _| true),
        wake: Box::new(|| {}),
        ask_busiest: Box::new(|_| {}),
        ask_throttled: Box::new(|_| {}),
        kick_user: Box::new(|_, _| true),
        threads: Vec::new(),
    };
    let mut bells = Vec::new();
    let mut mailboxes = process.mailboxes;
    let posts: Vec<Post> = mailboxes.iter().map(Mailbox::post).collect();
    for ((index, listeners), mailbox) in process.listeners.into_iter().enumerate().zip(mailboxes.drain(..)) {
        let counters = Arc::new(Counters::new(config.endpoints.len(), config.listeners.len()));
        workers.counters.push(Arc::clone(&counters));
        let start = Start {
            index: index as u32,
            config: Arc::clone(config),
            doorbells: process.doorbells.clone(),
            listeners,
            counters,
            mailbox,
            posts: posts.clone(),
            secrets: process.secrets.clone(),
            lists: process.lists.clone(),
            buckets: Arc::clone(&process.buckets),
            rated: Arc::clone(&process.rated),
            pressure: Arc::clone(&process.pressure),
            reports: Arc::clone(&process.reports),
            vacancy: Arc::clone(&process.vacancy),
            clock: process.clock,
        };
        let (started, waker) = mpsc::sync_channel(1);
        let ended = progress.until_ended();
        let serving = Arc::clone(&progress);
        let thread = std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
            let _ended = ended;
            start.run(|waker| {
                let sent = started.send(waker);
                serving.serving();
                sent.is_ok()
            })
        });
        let fix = "allow more with TasksMax= in the unit or `ulimit -u`, or use fewer workers";
        workers.threads.push(thread.map_err(|error| format!("a worker's thread: {error}; {fix}"))?);
        // A worker that could not start says so when it is joined.
        if let Ok(waker) = waker.recv() {
            bells.push((posts[index].clone(), waker));
        }
    }
    connect(&mut workers, bells, process.secrets.hash, config.tickets.is_empty());
    Ok(workers)
}

/// The ways by which control tells workers something. `makes_tickets`: keys of tickets are made here.
fn connect(workers: &mut Workers, bells: Vec<(Post, Waker)>, hash: HashKey, makes_tickets: bool) {
    // Keys from the config are shared with other nodes, so rotating them is the operator's part.
    if makes_tickets {
        let bells = bells.clone();
        workers.rotate_tickets =
            Some(Box::new(move |key| tell_all(&bells, || Letter::TicketKey(key.clone()))));
    }
    let (doors, judges) = (bells.clone(), bells.clone());
    workers.tell_lists = Box::new(move |worker, lists| tell_one(&doors, worker, Letter::Lists(lists)));
    workers.tell_verifier =
        Box::new(move |worker, verifier| tell_one(&judges, worker, Letter::Verifier(verifier)));
    workers.kick_user = kick_user(bells.clone(), hash);
    let askers = bells.clone();
    workers.ask_busiest = Box::new(move |to| {
        for worker in 0..askers.len() {
            let _without_it = tell_one(&askers, worker, Letter::Busiest(to.clone()));
        }
    });
    let askers = bells.clone();
    workers.ask_throttled = Box::new(move |to| {
        for worker in 0..askers.len() {
            let _without_it = tell_one(&askers, worker, Letter::Throttled(to.clone()));
        }
    });
    let sleepers = bells.clone();
    workers.wake = Box::new(move || sleepers.iter().for_each(|(_, waker)| waker.wake()));
    workers.stop = Box::new(move || tell_all(&bells, || Letter::Stop));
}

/// Kicks by a letter to the user's owner, as a backend does.
fn kick_user(bells: Vec<(Post, Waker)>, hash: HashKey) -> KickUser {
    Box::new(move |kick, now| {
        let user = hash.identity(kick.user.bytes());
        let owner = owner_of(user, bells.len() as u32);
        let Some((post, waker)) = bells.get(owner as usize) else { return false };
        let code = CloseCode::Kicked.number();
        let farewell = Farewell { code, retry_after: Duration::ZERO, do_not_reconnect: kick.stay_away };
        let (device, revoked) = match &kick.of {
            Of::All => (None, None),
            Of::AllRevoked => (None, Some(Revoked::UpTo(now))),
            Of::Device(device) => (Some(hash.identity(device.bytes())), None),
            Of::Login(login) => (None, Some(Revoked::Login(group().hash(login.bytes())))),
        };
        let sent = post.send(Letter::EndUser { user, device, farewell, revoked }).is_ok();
        waker.wake();
        sent
    })
}

/// Sends one worker a letter, if there is room for it. One that has not started reads none, and keeps the process from going
/// on.
fn tell_one(bells: &[(Post, Waker)], worker: usize, letter: Letter) -> bool {
    let Some((post, waker)) = bells.get(worker) else { return true };
    let sent = post.send(letter).is_ok();
    waker.wake();
    sent
}

/// Sends every worker that has started a letter. A full mailbox is read by a worker that is awake; it is tried again
/// until it takes, or its worker has ended.
fn tell_all(bells: &[(Post, Waker)], letter: impl Fn() -> Letter) {
    for (post, waker) in bells {
        let mut unsent = letter();
        while let Err(returned) = post.send(unsent) {
            unsent = returned;
            waker.wake();
            std::thread::yield_now();
        }
        waker.wake();
    }
}

/// What all workers of a process share.
struct Process {
    /// By listener of the config; ports are the real ones.
    addresses: Vec<SocketAddr>,
    /// By worker, and in the order in which it counts them.
    listeners: Vec<Vec<OwnedFd>>,
    mailboxes: Vec<Mailbox>,
    doorbells: Doorbells,
    secrets: Secrets,
    lists: Lists,
    buckets: Arc<Buckets>,
    rated: Arc<Users>,
    pressure: Arc<Pressure>,
    reports: Arc<Reports>,
    vacancy: Arc<Vacancy>,
    clock: Clock,
}

/// Random values made once per start.
#[derive(Clone)]
struct Secrets {
    hash: HashKey,
    sessions: SessionSecrets,
    boot_id: [u8; 16],
    /// The sealing one first.
    tickets: Vec<Secret>,
}

impl Secrets {
    fn ticket_keys(&self, realm: &str, now: UnixMillis) -> TicketKeys {
        let (first, others) = self.tickets.split_first().expect("one is made when none is configured");
        let mut keys = TicketKeys::new(*first.bytes(), realm, now);
        for key in others {
            keys.accept(*key.bytes(), UnixMillis(u64::MAX));
        }
        keys
    }
}

impl Process {
    fn new(config: &Config, clock: Clock, lists: Lists) -> Result<Self, String> {
        let cores = config.cores.len();
        let (addresses, listeners) = listen(config)?;
        let mut tickets = config.tickets.clone();
        if tickets.is_empty() {
            tickets.push(Secret::new(random()?));
        }
        let secrets = Secrets {
            hash: HashKey::new(random()?),
            sessions: SessionSecrets::new(&random()?),
            boot_id: random()?,
            tickets,
        };
        let buckets = Buckets::new(config.admission.addresses, config.listeners.len(), secrets.hash);
        Ok(Self {
            addresses,
            listeners,
            mailboxes: (0..cores)
                .map(|_| Mailbox::new(config.limits.letters, config.limits.letter_bytes))
                .collect(),
            doorbells: Doorbells::new(cores as u32),
            secrets,
            lists,
            buckets: Arc::new(buckets),
            rated: Arc::new(Users::new(config.users_rated)),
            pressure: Arc::default(),
            reports: Arc::default(),
            vacancy: Arc::new(Vacancy::new(config.listeners.len())),
            clock,
        })
    }
}

/// Opens every listener: their addresses, and the sockets of each worker that accepts from it. All of them have the same
/// one, so that a connection goes to a worker that has room and is awake.
fn listen(config: &Config) -> Result<(Vec<SocketAddr>, Vec<Vec<OwnedFd>>), String> {
    let mut addresses = Vec::with_capacity(config.listeners.len());
    let mut sockets: Vec<Vec<OwnedFd>> = config.cores.iter().map(|_| Vec::new()).collect();
    for (at, listener) in config.listeners.iter().enumerate() {
        let because = |error| failed(listener, listener.address, &error);
        let socket = open(listener).map_err(because)?;
        // With port 0 the kernel has chosen.
        addresses.push(driver::local_address(&socket).map_err(because)?.unwrap_or(listener.address));
        for worker in config.cores_of(at) {
            sockets[worker].push(socket.try_clone().map_err(because)?);
        }
    }
    Ok((addresses, sockets))
}

fn open(listener: &Listener) -> std::io::Result<OwnedFd> {
    let options = ListenOptions {
        backlog: listener.backlog as u32,
        send_buffer: Some(listener.send_buffer as u32),
        receive_buffer: Some(listener.receive_buffer as u32),
    };
    driver::listen(&Endpoint::Tcp(listener.address), &options)
}

fn failed(listener: &Listener, address: SocketAddr, error: &std::io::Error) -> String {
    let hint = if error.kind() == ErrorKind::AddrInUse { "; is another gateway running there?" } else { "" };
    format!("listening on {address} for listener \"{}\": {error}{hint}", listener.name)
}

/// What one worker's thread is started with.
struct Start {
    index: u32,
    config: Arc<Checked<Config>>,
    doorbells: Doorbells,
    listeners: Vec<OwnedFd>,
    counters: Arc<Counters>,
    mailbox: Mailbox,
    posts: Vec<Post>,
    secrets: Secrets,
    lists: Lists,
    buckets: Arc<Buckets>,
    rated: Arc<Users>,
    pressure: Arc<Pressure>,
    reports: Arc<Reports>,
    vacancy: Arc<Vacancy>,
    clock: Clock,
}

impl Start {
    /// The thread: a ring of its own, then turns until it is told to stop.
    fn run(self, serving: impl FnOnce(Waker) -> bool) -> Result<(), String> {
        let config = &self.config;
        let core = &config.cores[self.index as usize];
        driver::thread::pin(core.cpu).map_err(|error| {
            format!("binding to CPU {}: {error}; is it offline? See `cpu` of [[core]]", core.cpu)
        })?;
        let driver = Uring::with_ring(
            sockets(config, core, self.listeners, u32::from_ne_bytes(random()?)),
            ring(core),
            self.doorbells,
            self.index,
        )
        .map_err(|blocked| format!("{}; {}", blocked.cause, blocked.fix))?;
        let waker = driver.waker();
        let settings = settings(config, self.index, self.secrets.boot_id);
        // Tickets are of the whole group: which listener takes one is a matter of the server key it was issued under.
        let acceptor = |listener: &Listener| {
            let tickets = self.secrets.ticket_keys(&config.realm, self.clock.unix());
            Acceptor::new(listener.key.clone(), listener.suites, &listener.retired, Some(tickets))
        };
        let surroundings = Surroundings {
            acceptors: core.listeners.iter().map(|at| acceptor(&config.listeners[*at])).collect(),
            counters: self.counters,
            mailbox: self.mailbox,
            posts: self.posts,
            lists: self.lists,
            buckets: self.buckets,
            rated: self.rated,
            pressure: self.pressure,
            reports: self.reports,
            vacancy: self.vacancy,
            hash: self.secrets.hash,
            secrets: self.secrets.sessions,
            group: group(),
            random: system_random(),
        };
        let clock = self.clock;
        let mut worker = Worker::new(driver, settings, surroundings, clock.now());
        worker.turn(clock.now(), clock.unix());
        if !serving(waker) {
            return Ok(());
        }
        loop {
            worker.wait().map_err(|error| format!("worker {}: {error}", self.index))?;
            if !worker.turn(clock.now(), clock.unix()) {
                return Ok(());
            }
            worker.rests(clock.now());
        }
    }
}

/// The key of the hashes on which all gateways of a group agree. It is fixed, and protects nothing.
fn group() -> HashKey {
    HashKey::new(*b"access-gateway v1"[..16].first_chunk().expect("sixteen bytes"))
}

fn sockets(config: &Config, core: &Core, listeners: Vec<OwnedFd>, generation: u32) -> driver::Config {
    driver::Config {
        listeners,
        slots: core.slots,
        generation,
        links: PoolSize { count: core.link_buffers as u16, size: core.link_buffer_len },
        streams: PoolSize { count: core.stream_buffers as u16, size: core.stream_buffer_len },
        connect_timeout: Some(config.upstream.dial_deadline),
        close_timeout: Some(config.limits.close_timeout),
    }
}

fn ring(core: &Core) -> RingConfig {
    RingConfig {
        submissions: core.submissions,
        completions: core.completions,
        batch_wait: Some(core.batch_wait).filter(|wait| !wait.is_zero()),
        batch_least: core.batch_least,
    }
}

fn random<const N: usize>() -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| format!("randomness: {error}"))?;
    Ok(bytes)
}

/// The operating system's randomness, drawn in blocks so that a handshake costs no system call.
fn system_random() -> Random {
    let mut block = zeroize::Zeroizing::new([0u8; 4096]);
    let mut used = block.len();
    Box::new(move |out: &mut [u8]| {
        if block.len() - used < out.len() {
            getrandom::fill(&mut *block).expect("the operating system gives randomness once it has booted");
            used = 0;
        }
        out.copy_from_slice(&block[used..used + out.len()]);
        block[used..used + out.len()].fill(0);
        used += out.len();
    })
}
