//! In steady state a message costs no heap allocation: counted on the worker's own thread, over a real ring, with a
//! client and a backend on threads beside it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use driver::{Doorbells, Endpoint, ListenOptions, Uring};
use gateway::clock::Clock;
use gateway::collections::HashKey;
use gateway::config::{Config, Development, DevelopmentToken, Machine, Secret};
use gateway::control;
use gateway::counters::Counters;
use gateway::worker::settings::Settings;
use gateway::worker::{Mailbox, Surroundings, Worker};
use protocol::Time;
use protocol::buffer::{Input, Partials, Place};
use protocol::link::{Acceptor, ClientLink, Dial};
use protocol::noise::{Gate, StaticKey, Suite, Suites};
use protocol::stream::{Access, BackendStream, Params, ToBackend};
use protocol::wire::frame::{Frame, Request};
use protocol::wire::stream::StreamResponse;

/// Messages that fill every pool.
const WARM_UP: u64 = 2_000;
/// Messages during which nothing may be allocated.
const COUNTED: u64 = 10_000;
/// Requests in flight.
const WINDOW: usize = 8;

#[test]
fn a_message_in_steady_state_allocates_nothing() {
    if let Err(blocked) = driver::probe() {
        eprintln!("NOT RUN: {}", blocked.cause);
        return;
    }
    let folder = Folder::new();
    let backend = UnixListener::bind(folder.0.join("backend")).expect("a fresh folder");
    std::thread::spawn(move || serve(&backend));
    let options = ListenOptions::default();
    let listener =
        driver::listen(&Endpoint::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))), &options).expect("a free port");
    let address = driver::local_address(&listener).expect("it listens").expect("TCP");
    let config = driver::Config { listeners: vec![listener], slots: 1024, ..driver::Config::default() };
    let ring = Uring::new(config, Doorbells::new(1), 0).expect("probed above");
    let clock = Clock::start();
    let mut worker = Worker::new(ring, settings(folder.0.join("backend")), surroundings(), clock.now());
    let answered = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&answered);
    let client = std::thread::spawn(move || talk(address, &counted));
    let mut before = None;
    while !client.is_finished() {
        worker.turn(clock.now(), clock.unix());
        let messages = answered.load(Ordering::Acquire);
        if before.is_none() && messages >= WARM_UP {
            before = Some((messages, ALLOCATIONS.with(Cell::get)));
        }
        if let Some((first, allocations)) = before
            && messages >= first + COUNTED
        {
            assert_eq!(ALLOCATIONS.with(Cell::get) - allocations, 0, "in {} messages", messages - first);
            return;
        }
        worker.wait().expect("the ring works");
    }
    client.join().expect("the client has its answers");
    panic!("the client ended after {} messages", answered.load(Ordering::Acquire));
}

/// Keeps a window of echo requests under way until enough are answered.
fn talk(address: SocketAddr, answered: &AtomicU64) {
    let server = StaticKey::from_secret(SERVER).public();
    let gate = Gate::new(&server);
    let dial = Dial {
        server: &server,
        gate: &gate,
        suite: Suite::NkChaChaPoly,
        better: Suites::NONE,
        device_key: None,
        ticket: None,
    };
    let mut socket = TcpStream::connect(address).expect("the gateway listens");
    socket.set_nodelay(true).expect("a TCP socket");
    let mut out = Vec::new();
    let mut link = ClientLink::dial(&dial, [2; 32], Time::ZERO, &mut out).expect("the keys fit");
    socket.write_all(&out).expect("connected");
    let mut partials = Partials::new(1 << 20);
    let (mut place, mut chunk, mut sent, mut greeted, mut live) =
        (Place::NONE, [0; 4096], 0u64, false, false);
    while answered.load(Ordering::Acquire) < WARM_UP + COUNTED + 4 * WINDOW as u64 {
        out.clear();
        out.extend_from_slice(&[0; 2]);
        if link.is_open() && !greeted {
            greeted = true;
            let token = DevelopmentToken::new(&Secret::new(SERVER)).text();
            let auth = protocol::wire::frame::Auth {
                token: token.as_bytes(),
                user: b"alice",
                device: b"phone",
                ..Default::default()
            };
            Frame::Auth(auth).encode(&mut out);
        }
        while live && sent < answered.load(Ordering::Acquire) + WINDOW as u64 {
            sent += 1;
            let mut id = [0; 16];
            id[..8].copy_from_slice(&sent.to_be_bytes());
            let request = Request { id, route: "echo", payload: &[7; 64], ..Request::default() };
            Frame::Request(request).encode(&mut out);
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
                Frame::Welcome(_) => live = true,
                Frame::Response(response) if response.code == 0 => {
                    answered.fetch_add(1, Ordering::Release);
                }
                // The stream may not be up yet; the request counts as sent again.
                Frame::Response(_) => sent -= 1,
                other => panic!("unexpected {}", other.name()),
            }
        }
        place = partials.keep(place, 0, input.into_rest()).expect("the pool is large");
    }
}

/// Answers every request of one stream with its own payload.
fn serve(listener: &UnixListener) {
    let (mut socket, _) = listener.accept().expect("the gateway dials");
    let access = Arc::new(Access::clear());
    let mut stream =
        BackendStream::new(access, Params::default(), b"test", vec!["echo".into()], [3; 32], Time::ZERO);
    let (mut chunk, mut batch) = (vec![0; 64 * 1024], Vec::new());
    while let Ok(read @ 1..) = socket.read(&mut chunk) {
        let mut input = stream.input(&mut chunk[..read]);
        while let Some(event) = stream.receive(&mut input, Time::ZERO).expect("the gateway keeps the rules") {
            if let ToBackend::Request(request) = event {
                let payload = request.payload;
                let answer = StreamResponse { call: request.call, payload, ..StreamResponse::default() };
                stream.response(&answer).expect("credit is never short here");
                stream.consumed(payload.len());
            }
        }
        stream.keep(input);
        if stream.seal(&mut batch) {
            if socket.write_all(&batch).is_err() {
                return;
            }
            batch.clear();
        }
    }
}

const SERVER: [u8; 32] = [9; 32];

fn surroundings() -> Surroundings {
    let suites = Suites::of(&[Suite::NkChaChaPoly]);
    let mailbox = Mailbox::new(16);
    Surroundings {
        acceptor: Acceptor::new(StaticKey::from_secret(SERVER), suites, &[], None),
        counters: Arc::new(Counters::default()),
        posts: vec![mailbox.post()],
        mailbox,
        hash: HashKey::new([1; 16]),
        placement: HashKey::new([2; 16]),
        random: Box::new(|out| getrandom::fill(out).expect("the system is up")),
    }
}

/// What `gateway dev` runs with, before the test's backend.
fn settings(backend: PathBuf) -> Settings {
    let machine = Machine { cpus: vec![0], open_files: 1024, memory: 0 };
    let with = Development {
        listen: None,
        workers: Some(1),
        server: Secret::new(SERVER),
        service: backend,
        admin: None,
        http: None,
    };
    let config = Config::development(with, &machine).expect("the config of development is sound");
    control::settings::settings(&config, 0, [1; 16])
}

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("access-gateway-allocations-{}", std::process::id()));
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
