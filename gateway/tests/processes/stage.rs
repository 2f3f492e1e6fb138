//! What the tests of the whole binary stand on: a folder, processes, and a gateway that is ready.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use protocol::CloseCode;
use protocol::hex;
use protocol::noise::PublicKey;

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway before a service, both of them processes of the test, and the folder they meet in.
pub(crate) struct Stage {
    pub(crate) gateway: Process,
    pub(crate) service: Process,
    pub(crate) target: Target,
    folder: Folder,
}

impl Stage {
    /// The gateway in development mode with these lines in its config, as `table.key = value`. Nothing if this
    /// machine can't run one.
    pub(crate) fn set(settings: &str) -> Option<Self> {
        Folder::new().map(|folder| Self::set_in(folder, settings))
    }

    /// The same in a folder that has something in it.
    pub(crate) fn set_in(folder: Folder, settings: &str) -> Self {
        let mut stage = Self::start(folder, &format!("auth.mode = 'development'\n{settings}"));
        stage.target.token = stage.folder.token();
        stage
    }

    /// The same, but the service decides who gets in.
    pub(crate) fn delegated(settings: &str) -> Option<Self> {
        let settings = format!("auth.mode = 'delegated'\nauth.route = 'echo'\n{settings}");
        Folder::new().map(|folder| Self::start(folder, &settings))
    }

    fn start(folder: Folder, settings: &str) -> Self {
        folder.make_key("server.key");
        let service = Process::service(&folder.file("service.sock"));
        let (gateway, target) = folder.gateway(settings);
        Self { gateway, service, target, folder }
    }

    /// A new service in the place of the present one.
    pub(crate) fn replace_service(&mut self) {
        self.service = Process::service(&self.folder.file("service.sock"));
    }

    /// Ends the gateway and starts one in development mode with other settings and the same key.
    pub(crate) fn replace_gateway(&mut self, settings: &str) {
        self.gateway.signal("TERM");
        assert!(self.gateway.ended().success());
        self.restart_gateway(settings);
    }

    /// Starts a gateway in development mode in the place of one that has ended.
    pub(crate) fn restart_gateway(&mut self, settings: &str) {
        let _old = std::fs::remove_file(self.folder.file("ready.json"));
        let (gateway, target) = self.folder.gateway(&format!("auth.mode = 'development'\n{settings}"));
        self.gateway = gateway;
        self.target = Target { token: self.folder.token(), ..target };
    }

    /// The gateway's folder.
    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.0.clone()
    }

    /// A file of the gateway's folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.file(name)
    }

    /// Writes another config into the gateway's folder.
    pub(crate) fn write_config(&self, settings: &str) -> PathBuf {
        self.folder.write_config(settings)
    }

    /// Gives the gateway another private key, from when it is replaced.
    pub(crate) fn rekey(&self, name: &str) {
        std::fs::copy(self.folder.file(name), self.folder.file("server.key")).expect("a folder of the test");
    }
}

/// A folder that goes with the test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// An empty one, unless this machine can't run a gateway.
    pub(crate) fn new() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if let Err(blocked) = driver::probe() {
            eprintln!("NOT RUN: {}", blocked.cause);
            return None;
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("access-gateway-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the temporary folder can be written");
        Some(Self(path))
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Makes a private key; its public half.
    pub(crate) fn make_key(&self, name: &str) -> PublicKey {
        let made = gateway(&["keygen", "--out", path(&self.file(name))]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let said = String::from_utf8(made.stdout).expect("text");
        let key = said.split_whitespace().find_map(hex::decode_array).expect("it says the public key");
        PublicKey(key)
    }

    /// The token of development mode.
    pub(crate) fn token(&self) -> String {
        let config = self.file("gateway.toml");
        let token = gateway(&["token", "--config", path(&config)]);
        assert!(token.status.success(), "{}", String::from_utf8_lossy(&token.stderr));
        String::from_utf8(token.stdout).expect("text").trim().to_owned()
    }

    /// Writes a config whose routes lead to the service of this folder, with a listener unless the settings have some.
    pub(crate) fn write_config(&self, settings: &str) -> PathBuf {
        let config = self.file("gateway.toml");
        let listener = match settings.contains("listener") {
            true => "",
            false => "listener = [{ name = 'clients', address = '127.0.0.1:0' }]\n",
        };
        let text = format!(
            "{listener}keys.server = 'server.key'\nadmin.http = '127.0.0.1:0'\n\
             upstream.redial_max = '200ms'\n{settings}\
             [[route]]\nname = 'echo'\nendpoints = ['service']\n\
             [[route]]\nname = 'chat'\nendpoints = ['service']\npresence = true\n\
             [[endpoint]]\nname = 'service'\naddress = 'unix:{}'\nclear = true\n\
             capabilities = ['serve', 'push', 'kick', 'ban', 'authenticate']\n",
            path(&self.file("service.sock"))
        );
        std::fs::write(&config, text).expect("a folder of the test");
        config
    }

    /// Starts a gateway with two workers, and waits until it serves.
    pub(crate) fn gateway(&self, settings: &str) -> (Process, Target) {
        let (config, ready) = (self.write_config(settings), self.file("ready.json"));
        let arguments = ["run", "--config", path(&config), "--workers", "2", "--ready-file", path(&ready)];
        let process = Process::gateway(&arguments);
        (process, Target::read(&ready))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs the gateway's binary to its end.
pub(crate) fn gateway(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gateway")).args(arguments).output().expect("cargo built the binary")
}

pub(crate) fn path(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// A child process that does not outlive its test.
pub(crate) struct Process(Child);

impl Process {
    /// Starts the gateway's binary, as a terminal would: whoever runs the tests may be immune to hangups.
    pub(crate) fn gateway(arguments: &[&str]) -> Self {
        let mut command = Command::new("env");
        command.args(["--default-signal=HUP", env!("CARGO_BIN_EXE_gateway")]);
        let child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
        Self(child.expect("cargo built the binary"))
    }

    /// Starts any process.
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.spawn().expect("the program is there"))
    }

    /// Its id.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// What it says on standard error, from now on, if that was kept.
    pub(crate) fn said(&mut self) -> Said {
        let mut stderr = self.0.stderr.take().expect("it was kept");
        let text = Arc::new(Mutex::new(String::new()));
        let heard = Arc::clone(&text);
        let thread = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = stderr.read(&mut bytes) {
                heard.lock().expect("no test panics here").push_str(&String::from_utf8_lossy(&bytes[..read]));
            }
        });
        Said { text, thread }
    }

    /// The same, as nohup starts it.
    pub(crate) fn immune_to_hangup(arguments: &[&str]) -> Self {
        let mut command = Command::new("sh");
        command
            .args(["-c", "trap '' HUP; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_gateway")])
            .args(arguments);
        Self(command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("a shell is there"))
    }

    /// A line of what the kernel tells of it, while it runs.
    pub(crate) fn status(&self, name: &str) -> Option<String> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).ok()?;
        status.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
    }

    /// Starts the reference service on a Unix socket, and waits until it listens.
    pub(crate) fn service(socket: &Path) -> Self {
        let _ = std::fs::remove_file(socket);
        let process = Self::gateway(&["reference-service", socket.to_str().expect("a plain path")]);
        wait_until("the service listens", || std::os::unix::net::UnixStream::connect(socket).is_ok());
        process
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.0.id().to_string()]).status();
        assert!(status.expect("kill is there").success());
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the process ends", || {
            status = self.0.try_wait().expect("it is ours");
            status.is_some()
        });
        status.expect("waited for above")
    }
}

/// What a process says.
pub(crate) struct Said {
    text: Arc<Mutex<String>>,
    thread: JoinHandle<()>,
}

impl Said {
    /// Waits until it has said this.
    pub(crate) fn wait_for(&self, what: &str) {
        wait_until(&format!("it says {what:?}"), || self.text.lock().expect("none panics").contains(what));
    }

    /// All of it, when nobody can say more.
    pub(crate) fn whole(self) -> String {
        self.thread.join().expect("it reads to the end");
        self.text.lock().expect("none panics").clone()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A gateway that is ready, as its ready file describes it.
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) http: Option<SocketAddr>,
    pub(crate) key: PublicKey,
    pub(crate) token: String,
}

impl Target {
    /// Waits for the ready file.
    pub(crate) fn read(file: &Path) -> Self {
        wait_until("the gateway is ready", || file.exists());
        let text = std::fs::read_to_string(file).expect("it was just there");
        let json: serde_json::Value = serde_json::from_str(&text).expect("the ready file is JSON");
        Self {
            address: json["listen"].as_str().expect("an address").parse().expect("an address"),
            http: json["http"].as_str().and_then(|at| at.parse().ok()),
            key: PublicKey(json["server_key"].as_str().and_then(hex::decode_array).expect("a key")),
            token: json["token"].as_str().unwrap_or_default().to_owned(),
        }
    }

    /// The value of a metric, over all workers and labels.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        self.sum(name, "")
    }

    /// The same of those lines that have this label.
    pub(crate) fn sum(&self, name: &str, label: &str) -> u64 {
        let page = self.get("/metrics");
        let lines: Vec<_> = page
            .lines()
            .filter(|line| line.split([' ', '{']).next() == Some(name) && line.contains(label))
            .collect();
        assert!(!lines.is_empty(), "no metric {name} with {label}");
        let value = |line: &&str| line.rsplit(' ').next().expect("a value").parse::<f64>().expect("a number");
        lines.iter().map(|line| value(line) as u64).sum()
    }

    /// How many links were closed with this code.
    pub(crate) fn closed(&self, code: CloseCode) -> u64 {
        self.sum("gateway_closed_total", &format!("code=\"{}\"", code.name()))
    }

    /// A page of the gateway's HTTP endpoint.
    pub(crate) fn get(&self, page: &str) -> String {
        let mut socket = TcpStream::connect(self.http.expect("HTTP is on")).expect("it listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
        write!(socket, "GET {page} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n")
            .expect("connected");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("it answers and closes");
        answer
    }
}

/// Waits for something that will be, and says what did not happen in time.
pub(crate) fn wait_until(what: &str, mut happened: impl FnMut() -> bool) {
    let end = now() + PATIENCE;
    while !happened() {
        assert!(now() < end, "waited in vain until {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

#[expect(clippy::disallowed_methods, reason = "a test of processes runs on real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
