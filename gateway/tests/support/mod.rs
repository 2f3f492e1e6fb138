//! Processes and a blocking client for the tests of the whole binary.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use protocol::Time;
use protocol::buffer::{Input, Rest};
use protocol::link::{ClientLink, Dial};
use protocol::noise::{Gate, PublicKey, Suite, Suites};
use protocol::wire::frame::{Auth, Frame, Outcome, Request};

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A folder that goes with the test.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("access-gateway-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the temporary folder can be written");
        Self(path)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A child process that does not outlive its test.
pub(crate) struct Process(Child);

impl Process {
    /// Starts the gateway's binary.
    pub(crate) fn gateway(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
        let child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
        Self(child.expect("cargo built the binary"))
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
    pub(crate) fn ended(mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the process ends", || {
            status = self.0.try_wait().expect("it is ours");
            status.is_some()
        });
        status.expect("waited for above")
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
        let key = json["server_key"].as_str().expect("a key");
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&key[2 * at..2 * at + 2], 16).expect("hex");
        }
        Self {
            address: json["listen"].as_str().expect("an address").parse().expect("an address"),
            http: json["http"].as_str().and_then(|at| at.parse().ok()),
            key: PublicKey(bytes),
            token: json["token"].as_str().unwrap_or_default().to_owned(),
        }
    }

    /// The value of a metric without labels.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let page = self.get("/metrics");
        let line = page.lines().find(|line| line.split([' ', '{']).next() == Some(name));
        let lines: Vec<_> = page.lines().filter(|line| line.split([' ', '{']).next() == Some(name)).collect();
        assert!(line.is_some(), "no metric {name}");
        lines
            .iter()
            .map(|line| line.rsplit(' ').next().expect("a value").parse::<f64>().expect("a number") as u64)
            .sum()
    }

    /// A page of the gateway's HTTP endpoint.
    pub(crate) fn get(&self, page: &str) -> String {
        let mut socket = TcpStream::connect(self.http.expect("HTTP is on")).expect("it listens");
        write!(socket, "GET {page} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n")
            .expect("connected");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("it answers and closes");
        answer
    }
}

/// A client on a blocking socket.
pub(crate) struct Client {
    socket: TcpStream,
    link: ClientLink,
    rest: Rest,
    next: u64,
    /// Heard and not yet asked for, oldest first.
    heard: VecDeque<Heard>,
}

/// What a client heard.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Welcome,
    Response(Outcome, u32, Vec<u8>),
    Push(Vec<u8>),
    Close(u32),
    Other(&'static str),
    /// The gateway closed the socket.
    End,
}

impl Client {
    /// Connects and finishes the handshake.
    pub(crate) fn connect(target: &Target) -> Self {
        let gate = Gate::new(&target.key);
        let dial = Dial {
            server: &target.key,
            gate: &gate,
            suite: Suite::NkAesGcm,
            better: Suites::NONE,
            device_key: None,
            ticket: None,
        };
        let mut ephemeral = [0; 32];
        getrandom::fill(&mut ephemeral).expect("the system is up");
        let mut hello = Vec::new();
        let link = ClientLink::dial(&dial, ephemeral, Time::ZERO, &mut hello).expect("the keys fit");
        let mut socket = TcpStream::connect(target.address).expect("the gateway listens");
        socket.set_nodelay(true).expect("a TCP socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a TCP socket");
        socket.write_all(&hello).expect("connected");
        let mut client = Self { socket, link, rest: Rest::default(), next: 1, heard: VecDeque::new() };
        while !client.link.is_open() {
            client.read();
            assert!(client.heard.is_empty(), "before a frame of the client came {:?}", client.heard);
        }
        client
    }

    /// Connects and authenticates.
    pub(crate) fn login(target: &Target, user: &str) -> Self {
        let mut client = Self::connect(target);
        let (token, user) = (target.token.as_bytes(), user.as_bytes());
        client.send(&[Frame::Auth(Auth { token, user, device: b"test", ..Auth::default() })]);
        assert_eq!(client.hear(1), [Heard::Welcome]);
        client
    }

    /// Sends frames as one record.
    pub(crate) fn send(&mut self, frames: &[Frame<'_>]) {
        let mut out = vec![0; 2];
        for frame in frames {
            frame.encode(&mut out);
        }
        self.link.seal(&mut out, 0, 16 * 1024 - 16);
        self.socket.write_all(&out).expect("connected");
    }

    /// Sends one request.
    pub(crate) fn request(&mut self, route: &str, payload: &[u8]) {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.next.to_be_bytes());
        self.next += 1;
        self.send(&[Frame::Request(Request { id, route, payload, ..Request::default() })]);
    }

    /// The next `count` things it hears; fewer when the last one is the end.
    pub(crate) fn hear(&mut self, count: usize) -> Vec<Heard> {
        let mut heard = Vec::new();
        while heard.len() < count && heard.last() != Some(&Heard::End) {
            heard.push(self.hear_one(|_| true));
        }
        heard
    }

    /// The next thing it hears of this kind; what came before it is still to be heard.
    pub(crate) fn hear_one(&mut self, wanted: impl Fn(&Heard) -> bool) -> Heard {
        loop {
            if let Some(at) = self.heard.iter().position(&wanted) {
                return self.heard.remove(at).expect("it was just found");
            }
            assert_ne!(self.heard.back(), Some(&Heard::End), "closed before that: {:?}", self.heard);
            self.read();
        }
    }

    /// Reads once from the socket.
    fn read(&mut self) {
        let mut chunk = [0; 4096];
        let read = match self.socket.read(&mut chunk) {
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => 0,
            Err(error) => panic!("nothing heard in time: {error}"),
        };
        let mut input = Input::new(&mut chunk[..read], std::mem::take(&mut self.rest));
        while let Some(frame) =
            self.link.receive(&mut input, Time::ZERO).expect("the gateway keeps the rules")
        {
            self.heard.push_back(match frame {
                Frame::Welcome(_) => Heard::Welcome,
                Frame::Response(answer) => {
                    Heard::Response(answer.outcome, answer.code, answer.payload.to_vec())
                }
                Frame::Push(push) => Heard::Push(push.payload.to_vec()),
                Frame::Close(close) => Heard::Close(close.code),
                other => Heard::Other(other.name()),
            });
        }
        self.rest = input.into_rest();
        if read == 0 {
            self.heard.push_back(Heard::End);
        }
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
fn now() -> Instant {
    Instant::now()
}
