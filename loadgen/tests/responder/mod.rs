//! A gateway in miniature for tests: the protocol's server end over blocking sockets, a thread per link, which answers
//! authentication, pings and echoes itself, and can be told to answer wrongly.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a panic")]
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

pub mod pushing;
mod sessions;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use self::pushing::Books;
use self::sessions::Sessions;
use protocol::buffer::{Input, Rest};
use protocol::limits::{FRAME_LEN_MAX, RECORD_LEN_MAX_UPLINK, RECORD_PLAIN_MAX, SESSION_ID_LEN};
use protocol::link::{Acceptor, Rules, ServerLink};
use protocol::noise::ticket::{Identity, TicketKeys};
use protocol::noise::{StaticKey, Suite, Suites};
use protocol::wire::frame::{Frame, Outcome, RequestId, Response, encode_welcome};
use protocol::wire::proto::link::{Ticket, Welcome};
use protocol::{CloseCode, Time, UnixMillis};

/// What the responder does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Nothing,
    /// The answer to this request of every link is left out.
    Drop(u64),
    /// It is sent twice.
    Duplicate(u64),
    /// It is sent after the next one.
    Reorder(u64),
    /// One bit of it is flipped.
    Corrupt(u64),
    /// It says that the request was refused.
    Refuse(u64),
    /// It says so before it answers the request before this one.
    RefuseAtOnce(u64),
    /// The link is ended instead.
    HangUp(u64),
    /// No ping is answered.
    Mute,
    /// The link is ended instead of a pong.
    Leave,
    /// Every token is refused.
    Deny,
    /// Welcomes carry no tickets.
    Stingy,
    /// Nothing, and so many requests are granted at once.
    Grant(u32),
    /// Nothing, and what memory it holds from before goes with the first login.
    Shed,
    /// Nothing, and heartbeats are so rare that a link outlives a gateway's standing still.
    Rare,
    /// No push comes.
    LosePushes,
    /// This push of every link is left out, and reported as undelivered.
    LosePush(u64),
    /// It is sent twice.
    DoublePush(u64),
    /// It is sent after the next one.
    SwapPush(u64),
    /// It is sent again with its sequence, as it may be.
    RepeatPush(u64),
    /// It has another byte at its end.
    CorruptPush(u64),
    /// The client is asked at once whether it has it.
    AskNow(u64),
    /// No request for pushes is served.
    NoPushes,
    /// No question for outcomes is answered.
    NoOutcomes,
}

pub struct Responder {
    pub address: SocketAddr,
    pub key: String,
    pub house: Arc<House>,
}

pub const TOKEN: &str = "a token for tests";
/// What every link is told; short, so that a test sees heartbeats.
pub const HEARTBEAT: Duration = Duration::from_secs(1);
const HEARTBEAT_RARE: Duration = Duration::from_secs(60);

/// Starts one; it ends with the test's process. `None`, and a line that says why, where io_uring is blocked.
pub fn start(fault: Fault) -> Option<Responder> {
    start_at("127.0.0.1:0", fault)
}

fn start_at(place: &str, fault: Fault) -> Option<Responder> {
    if let Err(blocked) = driver::probe() {
        eprintln!("NOT RUN: {blocked}");
        return None;
    }
    let house = Arc::new(House::new());
    if fault == Fault::Shed {
        *house.ballast.lock().unwrap() = Some(vec![1; BALLAST]);
    }
    let key = key_of(&house);
    let listener = TcpListener::bind(place).unwrap();
    let address = listener.local_addr().unwrap();
    let responder = Responder { address, key, house: Arc::clone(&house) };
    std::thread::spawn(move || {
        for (number, stream) in (0..).zip(listener.incoming()) {
            let (house, stream) = (Arc::clone(&house), stream.unwrap());
            std::thread::spawn(move || serve(stream, Peer::new(fault, number), &house));
        }
    });
    Some(responder)
}

/// A responder in a process of its own, which can be stopped and killed as a gateway can.
pub struct Apart {
    pub process: Child,
    pub responder: Responder,
}

/// Set in that process: where it is to serve.
const APART: &str = "RESPONDER_APART";

impl Apart {
    /// Starts the test binary once more with nothing but `test` to run, which calls [`be_apart`].
    pub fn start(test: &str) -> Option<Self> {
        // Where io_uring is blocked no test runs, and this one says why.
        start(Fault::Nothing)?;
        Some(Self::start_at("127.0.0.1:0", test))
    }

    /// Kills the process and starts another one that serves in its place.
    pub fn replace(&mut self, test: &str) {
        self.signal("-KILL");
        self.process.wait().unwrap();
        *self = Self::start_at(&self.responder.address.to_string(), test);
    }

    fn start_at(place: &str, test: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(APART, place)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        let place = lines.find_map(|line| line.split_once("serves at ").map(|(_, place)| place.to_owned()));
        let address = place.expect("it says where it serves").parse().unwrap();
        let house = Arc::new(House::new());
        Self { process, responder: Responder { address, key: key_of(&house), house } }
    }

    pub fn signal(&self, signal: &str) {
        let killed = Command::new("kill").args([signal, &self.process.id().to_string()]).status().unwrap();
        assert!(killed.success());
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// In the process started by [`Apart::start`]: serves until its input ends. Elsewhere it does nothing.
pub fn be_apart() {
    if std::env::var_os(APART).is_none() {
        return;
    }
    let address = start(Fault::Rare).unwrap().address;
    std::io::stdout().write_all(format!("serves at {address}\n").as_bytes()).unwrap();
    _ = std::io::stdin().read_to_end(&mut Vec::new());
}

fn key_of(house: &House) -> String {
    house.acceptor.public().0.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Responder {
    /// The options that name this responder.
    pub fn options(&self) -> Vec<String> {
        ["--addr", &self.address.to_string(), "--server-key", &self.key, "--token", TOKEN]
            .map(str::to_owned)
            .to_vec()
    }

    /// Writes a ready file with the pid of this process, which is no gateway by its name.
    pub fn ready_file(&self, name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("loadgen-{}-{name}.json", std::process::id()));
        let (pid, address, key) = (std::process::id(), self.address, &self.key);
        let json = format!(
            r#"{{"pid":{pid},"listen":"{address}","server_key":"{key}","token":"{TOKEN}","admin":"/nowhere"}}"#
        );
        std::fs::write(&path, json).unwrap();
        path
    }
}

const WALL: UnixMillis = UnixMillis(1_000_000);
const RULES: Rules = Rules {
    record_len_max: RECORD_LEN_MAX_UPLINK,
    frame_len_max: FRAME_LEN_MAX,
    handshake_deadline: Duration::from_secs(10),
    auth_deadline: Duration::from_secs(10),
    glitches_max: 10,
};

/// The gateway's end of one link: bytes in, bytes out.
pub struct Peer {
    machine: ServerLink,
    rest: Rest,
    fault: Fault,
    /// Which link of the responder this is; makes its handshake's key and its tickets its own.
    number: u64,
    requests: u64,
    session: [u8; SESSION_ID_LEN],
    /// An answer that waits for the next one.
    late: Option<(RequestId, Vec<u8>)>,
}

/// What one frame asks for, once it no longer borrows the input.
enum Asked {
    Login { user: Vec<u8>, device: Vec<u8>, token: Vec<u8>, resume: Vec<u8> },
    Echo { id: RequestId, payload: Vec<u8> },
    Push { id: RequestId, payload: Vec<u8> },
    Outcomes { id: RequestId, payload: Vec<u8> },
    Taken(u64),
    Pong(u32),
    End,
    Nothing,
}

/// What all peers share.
pub struct House {
    pub acceptor: Acceptor,
    /// Links opened with a ticket.
    pub resumed: AtomicU32,
    /// What became of pushes.
    pub books: Books,
    /// What it keeps of its users.
    pub sessions: Sessions,
    /// So many of the next logins are told to come later.
    pub turns_away: AtomicU32,
    /// Its tickets are worth nothing.
    pub spoils: AtomicBool,
    /// Memory that is in use until it is shed.
    ballast: Mutex<Option<Vec<u8>>>,
}

/// How long who is turned away is to stay away, in milliseconds.
pub const LATER_MS: u32 = 1500;

/// More than anything a test takes meanwhile.
const BALLAST: usize = 64 << 20;

impl House {
    pub fn new() -> Self {
        let tickets = TicketKeys::new([8; 32], "default", WALL);
        let key = StaticKey::from_secret([7; 32]);
        let acceptor = Acceptor::new(key, Suites::of(&Suite::ALL), &[], Some(tickets));
        Self {
            acceptor,
            resumed: AtomicU32::new(0),
            books: Books::default(),
            sessions: Sessions::default(),
            turns_away: AtomicU32::new(0),
            spoils: AtomicBool::new(false),
            ballast: Mutex::new(None),
        }
    }
}

fn less_one(count: u32) -> Option<u32> {
    count.checked_sub(1)
}

/// Until either side ends the link. A client that goes away is no failure of the test.
fn serve(mut stream: TcpStream, mut peer: Peer, house: &House) {
    stream.set_nodelay(true).unwrap();
    let (mut chunk, mut out) = ([0; 4096], Vec::new());
    while let Ok(len @ 1..) = stream.read(&mut chunk) {
        let lives = peer.receive(&mut chunk[..len], house, &mut out);
        if stream.write_all(&out).is_err() || !lives {
            return;
        }
        out.clear();
    }
}

impl Peer {
    pub fn new(fault: Fault, number: u64) -> Self {
        let machine = ServerLink::new(Time::ZERO);
        let (rest, session) = (Rest::default(), [0; SESSION_ID_LEN]);
        Self { machine, rest, fault, number, requests: 0, session, late: None }
    }

    /// Reads a chunk and appends what is to be sent; whether the link lives on.
    pub fn receive(&mut self, chunk: &mut [u8], house: &House, out: &mut Vec<u8>) -> bool {
        let mut input = Input::new(chunk, std::mem::take(&mut self.rest));
        if !self.machine.is_open() {
            let complete = self.machine.hail(&mut input, &house.acceptor, &mut Vec::new()).unwrap();
            self.rest = input.into_rest();
            if complete {
                let hello = std::mem::take(&mut self.rest);
                let mut ephemeral = [9; 32];
                ephemeral[..8].copy_from_slice(&self.number.to_be_bytes());
                let (hello, acceptor) = (hello.gathered(), &house.acceptor);
                let shaken = self.machine.handshake(hello, acceptor, ephemeral, Time::ZERO, WALL, out);
                // With a ticket that is worth nothing the clear reply is in `out`.
                assert!(shaken.is_ok() || house.spoils.load(Ordering::Relaxed), "{shaken:?}");
                return shaken.is_ok();
            }
            return true;
        }
        loop {
            let asked = match self.machine.receive(&mut input, &RULES, Time::ZERO).unwrap() {
                None => break,
                Some(Frame::Auth(auth)) => Asked::Login {
                    user: auth.user.to_vec(),
                    device: auth.device.to_vec(),
                    token: auth.token.to_vec(),
                    resume: auth.resume.to_vec(),
                },
                Some(Frame::Request(request)) => {
                    self.requests += 1;
                    if house.sessions.is_with(&self.session, self.number) {
                        house.sessions.count(&self.session, request.counter);
                    }
                    let (id, payload) = (request.id, request.payload.to_vec());
                    match request.route {
                        "echo" => Asked::Echo { id, payload },
                        "push" => Asked::Push { id, payload },
                        "outcomes" => Asked::Outcomes { id, payload },
                        other => panic!("{other}"),
                    }
                }
                Some(Frame::Ack { taken, received }) => {
                    assert_eq!(taken, received, "the application takes everything at once");
                    Asked::Taken(taken)
                }
                Some(Frame::Ping(ping)) => Asked::Pong(ping.nonce),
                Some(Frame::Close(_)) => Asked::End,
                Some(_) => Asked::Nothing,
            };
            let is_login = matches!(asked, Asked::Login { .. });
            if !is_login && !house.sessions.is_with(&self.session, self.number) {
                return false;
            }
            if !self.answer(asked, house, out) {
                return false;
            }
        }
        self.rest = input.into_rest();
        true
    }

    fn answer(&mut self, asked: Asked, house: &House, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        out.extend_from_slice(&[0; 2]);
        let lives = match asked {
            Asked::Login { user, device, token, resume } => {
                let h = self.machine.binding().unwrap().0;
                self.session = house.sessions.enter(&resume, h, self.number, self.fault, &house.books);
                self.login(user, device, &token, house, out)
            }
            Asked::Echo { id, payload } => self.echo(id, payload, out),
            Asked::Push { id, payload } => {
                house.sessions.pusher(&self.session, |pusher| pusher.push(id, &payload, &house.books, out))
            }
            Asked::Outcomes { .. } if self.fault == Fault::NoOutcomes => true,
            Asked::Outcomes { id, payload } => house.books.tell(id, &payload, out),
            Asked::Taken(taken) => {
                house.sessions.pusher(&self.session, |pusher| pusher.taken(taken, &house.books))
            }
            Asked::Pong(_) if self.fault == Fault::Leave => false,
            Asked::Pong(nonce) => {
                if self.fault != Fault::Mute {
                    Frame::Pong { nonce }.encode(out);
                }
                true
            }
            Asked::End => false,
            Asked::Nothing => true,
        };
        if out.len() == start + 2 {
            out.truncate(start);
        } else {
            self.machine.seal(out, start, RECORD_PLAIN_MAX);
        }
        lives
    }

    fn login(
        &mut self,
        user: Vec<u8>,
        device: Vec<u8>,
        token: &[u8],
        house: &House,
        out: &mut Vec<u8>,
    ) -> bool {
        let identity = self.machine.identity().cloned();
        let is_user = user.starts_with(b"u") || user.starts_with(b"abuser");
        if let Ok(left) = house.turns_away.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less_one) {
            assert!(left > 0);
            let code = CloseCode::TryLater.number();
            let retry_after_ms = LATER_MS;
            Frame::Close(protocol::wire::frame::Close { code, retry_after_ms, ..Default::default() })
                .encode(out);
            return false;
        }
        let known = identity.is_some() || (token == TOKEN.as_bytes() && is_user);
        if !known || self.fault == Fault::Deny {
            let code = CloseCode::AuthFailed.number();
            Frame::Close(protocol::wire::frame::Close { code, ..Default::default() }).encode(out);
            return false;
        }
        if let Some(identity) = &identity {
            house.resumed.fetch_add(1, Ordering::Relaxed);
            assert_eq!(identity.device, device);
        }
        let user = identity.map_or(user, |identity| identity.user);
        let tickets =
            if self.fault == Fault::Stingy { vec![] } else { vec![self.ticket(user, device, house)] };
        let heartbeat = if self.fault == Fault::Rare { HEARTBEAT_RARE } else { HEARTBEAT };
        let heartbeat_ms = u32::try_from(heartbeat.as_millis()).unwrap();
        self.machine.welcome(heartbeat, Time::ZERO);
        let grant_requests = if let Fault::Grant(requests) = self.fault { requests } else { 0 };
        if self.fault == Fault::Shed {
            drop(house.ballast.lock().unwrap().take());
        }
        let welcome =
            Welcome { heartbeat_ms, tickets, grant_requests, ..house.sessions.welcome(&self.session) };
        encode_welcome(&welcome, out);
        house.sessions.pusher(&self.session, |pusher| pusher.push_again(out));
        true
    }

    fn ticket(&self, user: Vec<u8>, device: Vec<u8>, house: &House) -> Ticket {
        let acceptor = &house.acceptor;
        let mut psk = [3; 32];
        psk[..8].copy_from_slice(&self.number.to_be_bytes());
        let identity = Identity {
            psk: psk.into(),
            origin_suite: Suite::NkChaChaPoly,
            server_key_id: acceptor.public().key_id(),
            issued: WALL,
            auth_time: WALL,
            login: 0,
            token_exp: None,
            end: None,
            epoch: 0,
            user,
            device,
            device_key: None,
            bound_key: None,
            class: protocol::DeviceClass::Unknown,
            limit_class: Vec::new(),
        };
        let mut salt = [4; 16];
        salt[..8].copy_from_slice(&self.number.to_be_bytes());
        let mut ticket = acceptor.tickets().unwrap().issue(&identity, &salt).unwrap();
        if house.spoils.load(Ordering::Relaxed) {
            ticket[30] ^= 1;
        }
        Ticket { ticket: ticket.into(), psk: psk.to_vec().into(), expires_ms: 0 }
    }

    fn echo(&mut self, id: RequestId, mut payload: Vec<u8>, out: &mut Vec<u8>) -> bool {
        let number = self.requests;
        let mut outcome = Outcome::Answered;
        match self.fault {
            Fault::Drop(at) if at == number => return true,
            Fault::HangUp(at) if at == number => return false,
            Fault::Reorder(at) if at == number => {
                self.late = Some((id, payload));
                return true;
            }
            Fault::RefuseAtOnce(at) if at == number + 1 => {
                self.late = Some((id, payload));
                return true;
            }
            Fault::RefuseAtOnce(at) if at == number => outcome = Outcome::Refused,
            Fault::Corrupt(at) if at == number => payload[3] ^= 0x10,
            Fault::Refuse(at) if at == number => outcome = Outcome::Refused,
            Fault::Duplicate(at) if at == number => {
                Frame::Response(Response { id, payload: &payload, ..Response::default() }).encode(out);
            }
            _ => {}
        }
        Frame::Response(Response { id, outcome, payload: &payload, ..Response::default() }).encode(out);
        if let Some((id, payload)) = self.late.take() {
            Frame::Response(Response { id, payload: &payload, ..Response::default() }).encode(out);
        }
        true
    }
}
