//! A gateway between clients and a backend that write ledgers, all of them processes of their own.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use driver::sim::Rng;
use protocol::hex;

use crate::stage::{Folder, Process, Target, path, wait_until};

/// Whether everything has the size of the requirements.
pub(crate) fn is_full() -> bool {
    std::env::var("DELIVERIES").is_ok_and(|size| size == "full")
}

/// How much is disturbed: in CI, and in full.
pub(crate) fn sized<T>(short: T, full: T) -> T {
    if is_full() { full } else { short }
}

/// How long anything may take that will be.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long after both ends are there everything has to be resolved.
const WITHIN: Duration = Duration::from_secs(5);
/// What a gateway has in its config beside what every test of processes has.
const SETTINGS: &str =
    "auth.mode = 'development'\nkeys.tickets = ['tickets.key']\nlimits.loopback_exempt = true\n";

/// One after the other: each of them takes all processors.
static STAGE: Mutex<()> = Mutex::new(());

/// What there is of everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Clients, each of a user of its own.
    pub(crate) clients: usize,
    /// Requests and messages of each client that are under way at a time.
    pub(crate) requests: usize,
    pub(crate) pushes: usize,
    /// The longest that the backend thinks about a request, and how long an application holds a message.
    pub(crate) think: Duration,
    pub(crate) hold: Duration,
    /// The longest pause between one that has come to its end and the next.
    pub(crate) idle: Duration,
}

/// A gateway, a backend, and the folders they meet and write in.
pub(crate) struct Scene {
    pub(crate) gateway: Process,
    pub(crate) target: Target,
    pub(crate) backend: Peer,
    pub(crate) rng: Rng,
    size: Size,
    seed: u64,
    settings: String,
    folder: Folder,
    stores: Stores,
    ledgers: PathBuf,
    _alone: MutexGuard<'static, ()>,
}

impl Scene {
    /// Starts gateway and backend; nothing if this machine cannot. Ledgers are kept below the tests' folder, by this name.
    pub(crate) fn set(name: &str, size: Size, settings: &str) -> Option<Self> {
        let folder = Folder::new()?;
        let alone = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
        let seed = seed();
        eprintln!("{name}: DELIVERIES_SEED={seed}");
        let ledgers = Path::new(env!("CARGO_TARGET_TMPDIR")).join("deliveries").join(name);
        _ = fs::remove_dir_all(&ledgers);
        fs::create_dir_all(&ledgers).expect("the tests' own folder");
        let stores = Stores::make(seed);
        folder.make_key("server.key");
        folder.make_key("tickets.key");
        let backend = Peer::start(&backend(&folder, &ledgers, size, seed));
        let settings = format!("{SETTINGS}{settings}");
        let (gateway, target) = folder.gateway(&settings);
        wait_until("the streams are open", || target.metric("gateway_streams") == 2);
        let rng = Rng::new(seed);
        Some(Self {
            gateway,
            target,
            backend,
            rng,
            size,
            seed,
            settings,
            folder,
            stores,
            ledgers,
            _alone: alone,
        })
    }

    /// Starts clients: so many from this number on, all of them at one address or each at one of its own.
    pub(crate) fn clients(&self, first: usize, count: usize, at: &[SocketAddr], more: &[&str]) -> Peer {
        let addresses: Vec<String> = at.iter().map(SocketAddr::to_string).collect();
        let mut command = peer("clients", &self.ledgers.join(format!("clients-{first}")), self.seed);
        command
            .args(["--stores", path(&self.stores.0), "--token", &self.folder.token()])
            .args(["--key", &hex::encode(&self.target.key.0), "--address", &addresses.join(",")])
            .args(["--first", &first.to_string(), "--count", &count.to_string()])
            .args(["--requests", &self.size.requests.to_string()])
            .args(["--hold", &self.size.hold.as_millis().to_string()])
            .args(["--idle", &self.size.idle.as_millis().to_string()])
            .args(more);
        Peer::run(&mut command)
    }

    /// All clients at the gateway's own address.
    pub(crate) fn all_clients(&self) -> Peer {
        let clients = self.clients(0, self.size.clients, &[self.target.address], &[]);
        let count = self.size.clients as u64;
        wait_until("all are linked", || self.target.metric("gateway_sessions") == count);
        clients
    }

    /// Kills the backend as it stands, and starts it again from its ledger.
    pub(crate) fn kill_backend(&mut self) {
        self.backend.kill();
        self.backend = Peer::start(&backend(&self.folder, &self.ledgers, self.size, self.seed));
    }

    /// Kills the gateway as it stands, and starts it again with its keys and at its address.
    pub(crate) fn kill_gateway(&mut self) {
        self.gateway.signal("KILL");
        self.gateway.ended();
        fs::remove_file(self.folder.file("ready.json")).expect("it was ready");
        let at = self.target.address;
        let listener = if self.settings.contains("listener") {
            String::new()
        } else {
            format!("listener = [{{ name = 'clients', address = '{at}' }}]\n")
        };
        (self.gateway, self.target) = self.folder.gateway(&format!("{listener}{}", self.settings));
    }

    /// Waits until so many requests and messages are under way at once.
    pub(crate) fn wait_until_under_way(&self, requests: u64, pushes: u64) {
        wait_until(&format!("{requests} requests and {pushes} messages are under way"), || {
            self.target.metric("gateway_requests_in_flight") >= requests
                && self.target.metric("gateway_pushes_owed") >= pushes
        });
    }

    /// Lets the time pass that chance allots, up to `most`.
    pub(crate) fn let_pass(&mut self, most: Duration) {
        let millis = self.rng.below(most.as_millis() as usize) as u64;
        pass(Duration::from_millis(millis));
    }

    /// Writes down that somebody may go on that was stopped, or everybody.
    pub(crate) fn released(&self, client: Option<usize>) {
        released(&self.ledgers.join("disturbance"), client);
    }

    /// Lets everybody come to an end with what it has begun, and holds the ledgers against each other.
    pub(crate) fn settle(mut self, mut clients: Vec<Peer>, amplification: &str) {
        clients.iter_mut().for_each(Peer::quiet);
        clients.iter().for_each(Peer::wait_until_quiet);
        self.backend.quiet();
        self.backend.wait_until_quiet();
        drop(clients);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/ledger/check.py");
        let within = WITHIN.as_millis().to_string();
        let checked = Command::new("python3")
            .arg(script)
            .args(["--complete", "--within", &within, "--amplification", amplification])
            .arg(&self.ledgers)
            .output()
            .expect("Python is there, as CONTRIBUTING.md asks");
        let said = String::from_utf8_lossy(&checked.stdout);
        let lines: Vec<_> = said.lines().collect();
        eprintln!("{}", lines.last().copied().unwrap_or_default());
        let first = lines[..lines.len().min(40)].join("\n");
        assert!(checked.status.success(), "{}:\n{first}", self.ledgers.display());
    }
}

/// A folder for the stores of clients, in memory where there is such a place: thousands of clients that write to one disk would wait
/// for it and not for the gateway.
struct Stores(PathBuf);

impl Stores {
    fn make(seed: u64) -> Self {
        let memory = Path::new("/dev/shm");
        let within = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let folder = within.join(format!("access-gateway-stores-{}-{seed}", std::process::id()));
        fs::create_dir_all(&folder).expect("it can be written");
        Self(folder)
    }
}

impl Drop for Stores {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

/// Lets time pass in which the others do what they do: what is disturbed is chosen by chance, and so is when.
pub(crate) fn pass(time: Duration) {
    let (_never, told) = channel::<()>();
    _ = told.recv_timeout(time);
}

/// Writes down that a client's link, or everything, may go on.
pub(crate) fn released(ledger: &Path, client: Option<usize>) {
    let device =
        client.map_or_else(|| "-".to_owned(), |number| hex::encode(format!("phone-{number}").as_bytes()));
    let line = format!("disturbance released - - {device} - - - at={}\n", unix_millis());
    let mut file = fs::OpenOptions::new().create(true).append(true).open(ledger).expect("the test's own");
    file.write_all(line.as_bytes()).expect("the test's own");
}

/// A process that writes a ledger.
pub(crate) struct Peer {
    child: Child,
    orders: ChildStdin,
    said: Receiver<String>,
}

impl Peer {
    fn run(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| {
            panic!("{error}: `cargo test -p gateway` builds the example `peer`, and `--examples` does beside `--test`")
        });
        let orders = child.stdin.take().expect("it is piped");
        let out = BufReader::new(child.stdout.take().expect("it is piped"));
        let (say, said) = channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| say.send(line)));
        Self { child, orders, said }
    }

    /// Starts a backend, and waits until it listens.
    fn start(backend: &Backend) -> Self {
        _ = fs::remove_file(&backend.socket);
        let mut command = peer("backend", &backend.ledger, backend.seed);
        let Size { clients, pushes, think, idle, .. } = backend.size;
        let [pushes, users] = [pushes, clients].map(|count| count.to_string());
        let [think, idle] = [think, idle].map(|time| time.as_millis().to_string());
        command
            .args(["--socket", path(&backend.socket), "--users", &users, "--pushes", &pushes])
            .args(["--hold", &think, "--idle", &idle]);
        let peer = Self::run(&mut command);
        wait_until("the backend listens", || backend.socket.exists());
        peer
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.expect("kill is there").success());
    }

    fn kill(&mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it is ours");
    }

    /// It is to begin nothing new.
    fn quiet(&mut self) {
        self.orders.write_all(b"quiet\n").expect("it lives");
    }

    /// Waits until all that it has begun has come to its end.
    fn wait_until_quiet(&self) {
        let said = self.said.recv_timeout(PATIENCE).expect("all of it comes to its end");
        assert_eq!(said, "quiet");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// What a backend is started with, each time.
struct Backend {
    ledger: PathBuf,
    socket: PathBuf,
    size: Size,
    seed: u64,
}

fn backend(folder: &Folder, ledgers: &Path, size: Size, seed: u64) -> Backend {
    Backend { ledger: ledgers.join("backend"), socket: folder.file("service.sock"), size, seed }
}

fn peer(verb: &str, ledger: &Path, seed: u64) -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_gateway")).with_file_name("examples").join("peer");
    let mut command = Command::new(program);
    command.args([verb, "--ledger", path(ledger), "--seed", &seed.to_string()]);
    command
}

/// The one that is asked for, or a new one.
fn seed() -> u64 {
    let asked = std::env::var("DELIVERIES_SEED").ok().and_then(|seed| seed.parse().ok());
    asked.unwrap_or_else(|| unix_millis() as u64)
}

#[expect(clippy::disallowed_methods, reason = "a test of processes runs on real time")]
fn unix_millis() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis())
}
