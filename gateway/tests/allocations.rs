//! In steady state a message costs no heap allocation: counted on the threads of two workers, over real rings, with
//! clients and a backend on threads beside them.
//!
//! A request of one client is answered and pushed to both; the other client answers a push with a request of its own. So
//! the number of messages under way is fixed, and letters go between the workers in all directions: a push finds its
//! way by the worker that owns the user.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use driver::{Doorbells, Endpoint, ListenOptions, Uring};
use gateway::admission::buckets::Buckets;
use gateway::admission::lists::Lists;
use gateway::admission::rates::Users;
use gateway::clock::Clock;
use gateway::collections::HashKey;
use gateway::config::{Config, Development, DevelopmentToken, Machine, Secret};
use gateway::control;
use gateway::counters::Counters;
use gateway::directory::owner_of;
use gateway::rate::Rate;
use gateway::session::SessionSecrets;
use gateway::worker::settings::Settings;
use gateway::worker::{Mailbox, Post, Surroundings, Vacancy, Worker};
use protocol::Time;
use protocol::buffer::{Input, Partials, Place};
use protocol::link::{Acceptor, ClientLink, Dial};
use protocol::noise::{Gate, StaticKey, Suite, Suites};
use protocol::stream::{Access, BackendStream, Params, ToBackend};
use protocol::wire::frame::{Frame, Request};
use protocol::wire::stream::{PushOutcome, StreamPush, StreamResponse};

/// Pushes to each client that fill every pool.
const WARM_UP: u64 = 2_000;
/// Pushes to each client during which nothing may be allocated, and half as many requests.
const COUNTED: u64 = 10_000;
/// Requests under way while the pools fill, and after: what is counted must not be the first to reach a peak.
const WINDOWS: [u64; 2] = [64, 8];
/// How long the test waits for the next figure.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_message_in_steady_state_allocates_nothing() {
    allocate_nothing(0);
}

/// Neither where it is kept until it is acknowledged, and its report until that is.
#[test]
fn a_push_that_is_kept_allocates_nothing_either() {
    allocate_nothing(1);
}

/// With pushes of this class.
fn allocate_nothing(class: u32) {
    if let Err(blocked) = driver::probe() {
        eprintln!("NOT RUN: {}", blocked.cause);
        return;
    }
    let folder = Folder::new(class);
    let backend = UnixListener::bind(folder.0.join("backend")).expect("a fresh folder");
    std::thread::spawn(move || {
        while let Ok((socket, _)) = backend.accept() {
            std::thread::spawn(move || serve(socket, class));
        }
    });
    let (counts, counted) = mpsc::channel();
    let addresses = workers(&folder, &counts);
    let both_live = Arc::new(Barrier::new(2));
    for (worker, address) in (0..).zip(addresses) {
        let (counts, both_live) = (counts.clone(), Arc::clone(&both_live));
        std::thread::spawn(move || talk(address, worker, &both_live, &counts));
    }
    // Two workers and two clients, of which each ends with its figure.
    let (mut allocations, mut pushes) = (Vec::new(), Vec::new());
    while allocations.len() + pushes.len() < 4 {
        match counted.recv_timeout(PATIENCE).expect("messages flow") {
            Count::Allocations(number) => allocations.push(number),
            Count::Pushes(number) => pushes.push(number),
        }
    }
    assert!(pushes.iter().all(|&number| number >= COUNTED), "pushes arrive: {pushes:?}");
    assert_eq!(allocations, [0, 0], "of each worker, in {COUNTED} pushes and half as many requests");
}

/// What a thread has counted.
enum Count {
    /// A worker: allocations while messages were counted.
    Allocations(u64),
    /// A client: pushes it got.
    Pushes(u64),
}

/// Two workers on threads of their own; where they listen.
fn workers(folder: &Folder, counts: &Sender<Count>) -> [SocketAddr; 2] {
    let doorbells = Doorbells::new(2);
    let mailboxes = [Mailbox::new(1024, 1 << 20), Mailbox::new(1024, 1 << 20)];
    let posts: Vec<_> = mailboxes.iter().map(Mailbox::post).collect();
    let mut index = 0;
    mailboxes.map(|mailbox| {
        let options = ListenOptions::default();
        let any = Endpoint::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
        let listener = driver::listen(&any, &options).expect("a free port");
        let address = driver::local_address(&listener).expect("it listens").expect("TCP");
        let (doorbells, posts, counts) = (doorbells.clone(), posts.clone(), counts.clone());
        let settings = settings(folder.0.join("backend"), index);
        std::thread::spawn(move || {
            let config =
                driver::Config { listeners: vec![listener], slots: 1024, ..driver::Config::default() };
            let ring = Uring::new(config, doorbells, index as u32).expect("probed above");
            run(ring, settings, surroundings(mailbox, posts), &counts);
        });
        index += 1;
        address
    })
}

/// A worker's loop. Counts from the first turn with enough pushes behind it to the first with enough more.
fn run(ring: Uring, settings: Settings, surroundings: Surroundings, counts: &Sender<Count>) {
    let clock = Clock::start();
    let counters = Arc::clone(&surroundings.counters);
    let mut worker = Worker::new(ring, settings, surroundings, clock.now());
    let mut before = None;
    loop {
        worker.turn(clock.now(), clock.unix());
        let pushes = counters.pushes.get();
        if before.is_none() && pushes >= WARM_UP {
            before = Some((pushes, ALLOCATIONS.with(Cell::get)));
        }
        if let Some((first, allocations)) = before
            && pushes >= first + COUNTED
        {
            let _the_test_failed = counts.send(Count::Allocations(ALLOCATIONS.with(Cell::get) - allocations));
            before = Some((u64::MAX - COUNTED, 0));
        }
        worker.wait().expect("the ring works");
    }
}

/// What a client has sent and got.
#[derive(Default)]
struct Talk {
    sent: u64,
    answered: u64,
    /// Requests that have a name, each its own: also those that were not taken.
    named: u64,
    /// Pushes of its own requests, and of those of the other client.
    pushed: [u64; 2],
}

impl Talk {
    /// How many requests it may have sent by now. The first client keeps a window of them under way; the second sends
    /// one for each of them.
    fn allowance(&self, worker: u8) -> u64 {
        let [own, other] = self.pushed;
        let done = self.answered.min(own);
        let window = WINDOWS[usize::from(done > WARM_UP / 4)];
        if worker == 0 { done.min(other) + window } else { other.min(done + WINDOWS[0]) }
    }
}

/// Logs in to this worker as [`user_of`] it and talks for ever; says when enough was pushed to it.
fn talk(address: SocketAddr, worker: u8, both_live: &Barrier, counts: &Sender<Count>) {
    let user = user_of(worker);
    let server = StaticKey::from_secret(SERVER).public();
    let gate = Gate::new(&server);
    let dial = Dial {
        server: &server,
        gate: &gate,
        suite: Suite::NkChaChaPoly,
        better: Suites::NONE,
        served: Suites::NONE,
        device_key: None,
        ticket: None,
    };
    let mut socket = TcpStream::connect(address).expect("the gateway listens");
    socket.set_nodelay(true).expect("a TCP socket");
    let mut out = Vec::new();
    let mut link = ClientLink::dial(&dial, [2; 32], Time::ZERO, &mut out).expect("the keys fit");
    socket.write_all(&out).expect("connected");
    let mut partials = Partials::new(1 << 20);
    let (mut place, mut chunk, mut talk) = (Place::NONE, [0; 4096], Talk::default());
    let (mut greeted, mut live) = (false, false);
    let (mut received, mut acknowledged) = (0, 0);
    loop {
        out.clear();
        out.extend_from_slice(&[0; 2]);
        if link.is_open() && !greeted {
            greeted = true;
            let token = DevelopmentToken::new(&Secret::new(SERVER)).text();
            let auth = protocol::wire::frame::Auth {
                token: token.as_bytes(),
                user: user.as_bytes(),
                device: b"phone",
                ..Default::default()
            };
            Frame::Auth(auth).encode(&mut out);
        }
        while live && talk.sent < talk.allowance(worker) {
            (talk.sent, talk.named) = (talk.sent + 1, talk.named + 1);
            let (mut id, counter) = ([0; 16], talk.named);
            id[..8].copy_from_slice(&counter.to_be_bytes());
            let payload = &[worker; 64];
            let request = Request { id, route: "echo", payload, counter, ..Request::default() };
            Frame::Request(request).encode(&mut out);
        }
        if received > acknowledged {
            acknowledged = received;
            Frame::Ack { taken: received, received }.encode(&mut out);
        }
        if out.len() > 2 {
            link.seal(&mut out, 0, 8 * 1024);
            socket.write_all(&out).expect("connected");
        }
        let read = socket.read(&mut chunk).expect("connected");
        assert!(read > 0, "the gateway does not end the link");
        let rest = partials.take(place).expect("the pool is large");
        let mut input = Input::new(&mut chunk[..read], rest);
        while let Some(frame) = link.receive(&mut input, Time::ZERO).expect("the gateway keeps the rules") {
            match frame {
                Frame::Welcome(_) => {
                    both_live.wait();
                    live = true;
                }
                Frame::Push(push) => {
                    received = received.max(push.sequence);
                    talk.pushed[usize::from(push.payload[0] != worker)] += 1;
                    if talk.pushed.iter().sum::<u64>() == WARM_UP + COUNTED {
                        let _the_test_failed = counts.send(Count::Pushes(COUNTED));
                    }
                }
                Frame::Response(response) if response.code == 0 => talk.answered += 1,
                // The stream may not be up yet; the request counts as not sent.
                Frame::Response(_) => talk.sent -= 1,
                other => panic!("unexpected {}", other.name()),
            }
        }
        place = partials.keep(place, 0, input.into_rest()).expect("the pool is large");
    }
}

/// The user who is linked to this worker, owned by the other one.
fn user_of(worker: u8) -> String {
    let owned =
        |name: &String| owner_of(HashKey::new(HASH).identity(name.as_bytes()), 2) != u32::from(worker);
    (0..).map(|number| format!("user-{number}")).find(owned).expect("half of all names")
}

/// Answers every request of one stream with its own payload, and pushes it to both users.
fn serve(mut socket: UnixStream, class: u32) {
    let users = [user_of(0), user_of(1)];
    let access = Arc::new(Access::clear());
    let mut stream =
        BackendStream::new(access, Params::default(), b"test", vec!["echo".into()], [3; 32], Time::ZERO);
    let (mut chunk, mut batch) = (vec![0; 64 * 1024], Vec::new());
    let (mut number, mut known) = (0, 0);
    while let Ok(read @ 1..) = socket.read(&mut chunk) {
        let mut input = stream.input(&mut chunk[..read]);
        while let Some(event) = stream.receive(&mut input, Time::ZERO).expect("the gateway keeps the rules") {
            if let ToBackend::Report(report) = event {
                assert_eq!(report.outcome, PushOutcome::Delivered, "there is room for all");
                known = report.report;
            }
            if let ToBackend::Request(request) = event {
                let payload = request.payload;
                let answer = StreamResponse { call: request.call, payload, ..StreamResponse::default() };
                stream.response(&answer).expect("credit is never short here");
                stream.consumed(payload.len());
                for user in &users {
                    number += u64::from(class);
                    let push =
                        StreamPush { number, user: user.as_bytes(), payload, class, ..StreamPush::default() };
                    stream.push(&push).expect("credit is never short here");
                }
            }
        }
        stream.keep(input);
        if known > 0 {
            stream.report_ack(std::mem::take(&mut known));
        }
        if stream.seal(&mut batch) {
            if socket.write_all(&batch).is_err() {
                return;
            }
            batch.clear();
        }
    }
}

const SERVER: [u8; 32] = [9; 32];
const HASH: [u8; 16] = [1; 16];

fn surroundings(mailbox: Mailbox, posts: Vec<Post>) -> Surroundings {
    let suites = Suites::of(&[Suite::NkChaChaPoly]);
    Surroundings {
        acceptors: vec![Acceptor::new(StaticKey::from_secret(SERVER), suites, &[], None)],
        counters: Arc::new(Counters::new(1, 1)),
        posts,
        mailbox,
        hash: HashKey::new(HASH),
        secrets: SessionSecrets::new(&[7; 32]),
        group: HashKey::new([2; 16]),
        lists: Lists::default(),
        buckets: Arc::new(Buckets::new(64, 1, HashKey::new([7; 16]))),
        rated: Arc::new(Users::new(64)),
        pressure: Arc::default(),
        reports: Arc::default(),
        vacancy: Arc::new(Vacancy::new(1)),
        random: Box::new(|out| getrandom::fill(out).expect("the system is up")),
    }
}

/// What `gateway dev` runs with, before the test's backend.
fn settings(backend: PathBuf, worker: usize) -> Settings {
    let machine = Machine { cpus: vec![0, 1], open_files: 1024, memory: 0 };
    let with = Development {
        listen: None,
        workers: Some(2),
        exempt: true,
        server: Secret::new(SERVER),
        tickets: None,
        service: backend,
        admin: None,
        http: None,
    };
    let config = Config::development(with, &machine).expect("the config of development is sound");
    let mut settings = control::settings::settings(&config, worker as u32, [1; 16]);
    // Every frame is charged, and none is too many.
    settings.loopback_exempt = false;
    let ample = Rate::new(1_000_000, Duration::from_secs(1), 1_000_000);
    let mut rates = settings.listeners[0].rates[0].whole;
    (rates.frames, rates.control, rates.user_frames) = (ample, ample, ample);
    (rates.bytes, rates.user_bytes) = (ample.times(1000), ample.times(1000));
    settings.listeners[0].rates[0] = rates.into();
    // All that may be under way is owed to two clients.
    settings.pushes.bounds.session_count = settings.pushes.bounds.count / 4;
    settings.pushes.bounds.session_bytes = settings.pushes.bounds.bytes / 4;
    settings
}

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(class: u32) -> Self {
        let name = format!("access-gateway-allocations-{}-{class}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("the temporary folder can be written");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting per thread.
struct Counting;

// SAFETY: every call is passed on unchanged to the system's allocator; the counter neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises about `layout` are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: `at` came from `alloc` above with the same layout, as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(at, layout, len) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;
