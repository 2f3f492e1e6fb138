//! The part alone: its own methods, clients that speak the protocol, and a kernel made of lists.
//!
//! What the part submits is read as text (`"receive 0"`: a receive of one chunk on slot 0). The kernel refuses whatever a
//! driver's rules forbid, such as a second send or the close of a socket on which something is armed. When a test is over
//! everything is closed, and nothing may be left over.

mod arriving;
mod clients;
mod closing;
mod introducing;
mod kernel;
mod leftovers;
mod marking;
mod parting;
mod policing;
mod reading;
mod timing;
mod unpinned;
mod writing;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use driver::{Batch, End, Errno, Listener, Peer, Sent, Token};
use protocol::buffer::{Input, Partials, Place};
use protocol::link::Acceptor;
use protocol::noise::{StaticKey, Suite, Suites, TicketKeys};
use protocol::wire::frame::{Auth, Frame, Ping, Request, Response};
use protocol::{CloseCode, Error, Time, UnixMillis};

use self::clients::Client;
use self::kernel::{Kernel, Read};
use super::cause::Parted;
use super::*;
use crate::admission::balancers::Introduction;
use crate::collections::Key;
use crate::counters::{Form, Sample};
use crate::worker::acceptors::Acceptors;
use crate::worker::settings::{self, Farewell};

/// The moment at which a rig begins, a whole number of ticks.
const START: Time = Time::from_nanos(1_000_000_000_000);
const HEARTBEAT: Duration = Duration::from_secs(20);
const FIRST: Listener = Listener(0);
/// A listener that serves other suites than the first one.
const SECOND: Listener = Listener(1);
/// A listener that clients come to without a server key.
const THIRD: Listener = Listener(2);
const RESET: Errno = Errno(104);

fn at(slot: u32) -> Token {
    Token { slot, generation: 1 }
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn abroad() -> Peer {
    Peer::Tcp(SocketAddr::from(([192, 0, 2, 1], 4000)))
}

fn session() -> SessionKey {
    SessionKey::from(Key { index: 5, generation: 1 })
}

/// Settings in which no link becomes a busy one.
fn settings() -> Settings {
    Settings { promote_after: u8::MAX, ..Settings::small() }
}

const AUTH: Frame<'static> = Frame::Auth(Auth {
    token: b"t",
    user: b"alice",
    device: b"phone",
    resume: &[],
    heartbeat_ms: 0,
    agent: "",
    signature: &[],
    class: 0,
});
const PING: Frame<'static> = Frame::Ping(Ping { nonce: 1, heartbeat_ms: 0 });
/// A frame that only a gateway may send.
const PONG: Frame<'static> = Frame::Pong { nonce: 1 };

fn request(payload: &[u8]) -> Frame<'_> {
    Frame::Request(Request { id: [1; 16], route: "echo", payload, ..Request::default() })
}

fn response(payload: &[u8]) -> Frame<'_> {
    Frame::Response(Response { id: [1; 16], payload, ..Response::default() })
}

/// The links of a worker, what is lent to them, and the worlds on both sides.
struct Rig {
    links: Links,
    turn: Turn,
    acceptors: Acceptors,
    kernel: Kernel,
    clients: BTreeMap<Token, Client>,
    /// How it is known whose the next sockets are.
    introduction: Introduction,
    /// Names of the frames that came behind message 3.
    read_behind: Vec<&'static str>,
    /// Counters when they were last looked at.
    counted: BTreeMap<String, u64>,
}

/// Completions, as a driver would tell them: each of an operation that was submitted.
impl Rig {
    fn new(settings: Settings) -> Self {
        let server = || StaticKey::from_secret([9; 32]);
        let tickets = || Some(TicketKeys::new([8; 32], "default", UnixMillis(0)));
        let first = Suites::of(&[Suite::NkChaChaPoly, Suite::Nnpsk0ChaChaPoly]);
        let mut settings = settings;
        for place in 1..3 {
            let other = settings::Listener { place, ..settings.listeners[0].clone() };
            settings.listeners.push(other);
        }
        let mut turn = Turn::of(settings);
        (turn.now, turn.wall) = (START, UnixMillis(1));
        Self {
            links: Links::new(&turn.settings, HashKey::new([1; 16]), START),
            turn,
            acceptors: Acceptors::new(vec![
                Acceptor::new(server(), first, &[], tickets()),
                Acceptor::new(server(), Suites::of(&[Suite::NkAesGcm]), &[], None),
                Acceptor::new(StaticKey::from_secret([10; 32]), Suites::of(&[Suite::XxAesGcm]), &[], None),
            ]),
            kernel: Kernel::default(),
            clients: BTreeMap::new(),
            introduction: Introduction::Direct,
            read_behind: Vec::new(),
            counted: BTreeMap::new(),
        }
    }

    fn accept(&mut self, slot: u32) -> Token {
        self.accept_from(slot, FIRST, abroad())
    }

    fn accept_from(&mut self, slot: u32, listener: Listener, peer: Peer) -> Token {
        self.absorb();
        let introduction = self.introduction;
        self.links.accepted(&mut self.turn, at(slot), listener, peer.into(), introduction, &self.acceptors);
        at(slot)
    }

    /// Bytes come; the names of the frames that were lent out of them.
    fn arrive(&mut self, token: Token, bytes: &[u8]) -> Vec<&'static str> {
        self.arrive_and(token, bytes, |_, _| {})
    }

    /// The same; each frame is heeded as soon as it is lent.
    fn arrive_and(
        &mut self,
        token: Token,
        bytes: &[u8],
        heed: impl FnMut(&mut Links, &'static str),
    ) -> Vec<&'static str> {
        self.absorb();
        if self.kernel.reads.get(&token) == Some(&Read::Poll) {
            self.readable(token);
        }
        let more = match self.kernel.reads.get(&token).expect("a receive is armed") {
            Read::Multishot => true,
            Read::Once => false,
            Read::Poll => panic!("a poll is answered by a receive"),
        };
        self.received(token, bytes, more, heed)
    }

    /// The same, when a receive has brought bytes. Without `more` it is over, though it may have been one until further
    /// notice.
    fn received(
        &mut self,
        token: Token,
        bytes: &[u8],
        more: bool,
        heed: impl FnMut(&mut Links, &'static str),
    ) -> Vec<&'static str> {
        self.absorb();
        if !more {
            self.kernel.reads.remove(&token).expect("a receive is armed");
        }
        let mut bytes = bytes.to_vec();
        match self.links.received(&mut self.turn, token, bytes.len(), more) {
            Heard::Header => {
                let known = self.links.introduce(&mut self.turn, token, &mut bytes, &self.acceptors);
                if let Some(Introduced { used, .. }) = known {
                    self.links.note_stranger(&mut self.turn, token, &self.acceptors);
                    self.links.hail(&mut self.turn, token, &mut bytes[used..], &self.acceptors);
                }
            }
            Heard::Hello => self.links.hail(&mut self.turn, token, &mut bytes, &self.acceptors),
            Heard::Last => self.links.hear_last(&mut self.turn, token, &mut bytes, &self.acceptors),
            Heard::Records => return self.read(token, &mut bytes, heed),
            Heard::Nothing => {}
        }
        Vec::new()
    }

    /// Lends the frames of a chunk, or with an empty one those that are held.
    fn read(
        &mut self,
        token: Token,
        bytes: &mut [u8],
        mut heed: impl FnMut(&mut Links, &'static str),
    ) -> Vec<&'static str> {
        let mut names = Vec::new();
        let Some(mut input) = self.links.open(token, bytes) else { return names };
        while let Some(frame) = self.links.next_frame(&mut self.turn, token, &mut input) {
            names.push(frame.0.name());
            heed(&mut self.links, frame.0.name());
        }
        self.links.keep(&mut self.turn, token, input, &self.acceptors);
        names
    }

    fn readable(&mut self, token: Token) {
        self.absorb();
        assert_eq!(self.kernel.reads.remove(&token), Some(Read::Poll));
        self.links.readable(&mut self.turn, token);
        self.absorb();
    }

    /// What is armed for reading is over without data.
    fn ended(&mut self, token: Token, why: End) {
        self.absorb();
        self.kernel.reads.remove(&token).expect("something is armed");
        self.links.ended(&mut self.turn, token, why);
    }

    /// The kernel takes all of a send, and the client gets it.
    fn sent(&mut self, token: Token) {
        self.absorb();
        let len = self.kernel.sends[&token].rest().len();
        self.sent_part(token, len);
    }

    /// The kernel takes this much of a send, and the client gets it.
    fn sent_part(&mut self, token: Token, len: usize) {
        self.absorb();
        let mut batch = self.kernel.sends.remove(&token).expect("a send is in flight");
        if let Some(client) = self.clients.get_mut(&token) {
            client.inbox.extend_from_slice(&batch.rest()[..len]);
        }
        batch.sent += len;
        self.links.sent(&mut self.turn, token, batch, Sent::Bytes(len));
    }

    /// The kernel takes nothing of a send.
    fn unsent(&mut self, token: Token, why: Sent) {
        self.absorb();
        let batch = self.kernel.sends.remove(&token).expect("a send is in flight");
        self.links.sent(&mut self.turn, token, batch, why);
    }

    fn closed(&mut self, token: Token) {
        self.absorb();
        assert!(self.kernel.closes.remove(&token), "its close was submitted");
        self.links.closed(&mut self.turn, token);
    }
}

/// The phases of a turn, and time.
impl Rig {
    /// What the marked leave behind, in the order in which they were marked.
    fn bury(&mut self) -> Vec<Parted> {
        let mut parted = Vec::new();
        while let Some((token, cause)) = self.links.next_marked() {
            parted.extend(self.links.part(&mut self.turn, token, cause));
        }
        parted
    }

    /// What the only one that was marked leaves behind.
    fn bury_one(&mut self) -> Parted {
        let parted = self.bury();
        assert_eq!(parted.len(), 1, "{parted:?}");
        parted[0]
    }

    fn shake_hands(&mut self) {
        let mut budget = self.turn.handshakes_max();
        while let Some(token) = self.links.next_in_line(&mut self.turn, &mut budget) {
            if self.links.is_heard_out(token) {
                self.finish_handshake(token);
            } else {
                assert!(self.links.is_hailed(token), "here nobody else waits");
                self.links.shake_hands(&mut self.turn, token, &self.acceptors);
            }
        }
    }

    fn flush(&mut self) {
        self.links.flush(&mut self.turn);
        self.links.resume_one(&mut self.turn);
        self.links.rearm_starved(&mut self.turn);
    }

    /// All that a turn does after it has learned completions.
    fn finish_turn(&mut self) -> Vec<Parted> {
        self.links.expire(&mut self.turn);
        let mut parted = self.bury();
        self.shake_hands();
        parted.extend(self.bury());
        self.flush();
        parted
    }

    /// A later moment; whose deadline has come by then?
    fn pass(&mut self, time: Duration) {
        self.turn.now = self.turn.now + time;
        self.links.expire(&mut self.turn);
    }

    fn send(&mut self, token: Token, frame: &Frame<'_>) -> bool {
        self.links.send(&mut self.turn, token, frame)
    }
}

/// Links that have come some way, with nothing in flight but what waits for their next bytes.
impl Rig {
    /// A link whose hello is complete.
    fn hailed(&mut self, slot: u32) -> Token {
        let token = self.accept(slot);
        let hello = self.dial(token, Suite::NkChaChaPoly);
        self.arrive(token, &hello);
        token
    }

    /// A link that has keys.
    fn open(&mut self, slot: u32) -> Token {
        let token = self.hailed(slot);
        self.shake_hands();
        self.sent(token);
        assert_eq!(self.told(token), [""; 0]);
        assert!(self.clients[&token].link.is_open());
        self.settle();
        token
    }

    /// A link whose `Auth` is being judged.
    fn authenticating(&mut self, slot: u32) -> Token {
        let token = self.open(slot);
        let auth = self.say(token, &[AUTH]);
        assert_eq!(self.arrive(token, &auth), ["auth"]);
        self.links.attach(token, session());
        self.settle();
        token
    }

    /// A link that was welcomed.
    fn live(&mut self, slot: u32) -> Token {
        let token = self.authenticating(slot);
        self.welcome(token);
        self.flush();
        self.sent(token);
        assert_eq!(self.told(token), ["welcome"]);
        self.settle();
        token
    }

    /// One that was welcomed, and to which this is on its way.
    fn live_sending(&mut self, slot: u32, frame: &Frame<'_>) -> Token {
        let token = self.live(slot);
        assert!(self.send(token, frame));
        self.flush();
        assert_eq!(self.ops(), [format!("send {slot}")]);
        self.settle();
        token
    }

    fn welcome(&mut self, token: Token) {
        self.links.welcome(&mut self.turn, token, HEARTBEAT, |out| Frame::Welcome(&[]).encode(out));
    }

    /// What happened so far is of no interest.
    fn settle(&mut self) {
        self.ops();
        self.counted();
    }
}

/// What can be seen.
impl Rig {
    /// What was submitted since they were last asked for.
    fn ops(&mut self) -> Vec<String> {
        self.absorb();
        std::mem::take(&mut self.kernel.trace)
    }

    /// How many sends were submitted since they were last asked for.
    fn greeted(&mut self) -> usize {
        self.ops().iter().filter(|op| op.starts_with("send")).count()
    }

    fn absorb(&mut self) {
        while let Some(op) = self.turn.ops.pop_front() {
            self.kernel.submit(op);
        }
    }

    /// Counters that have grown since they were last asked for, but for bytes, frames and sends; `+2` behind one that
    /// grew by two.
    fn counted(&mut self) -> Vec<String> {
        const TRAFFIC: [&str; 5] = ["bytes_in", "bytes_out", "frames_in", "frames_out", "sends_out"];
        let (counters, before) = (&self.turn.counters, &self.counted);
        let mut all = BTreeMap::new();
        for (metric, sample) in Counters::METRICS.iter().zip(counters.samples()) {
            match sample {
                _ if metric.form == Form::Gauge || TRAFFIC.contains(&metric.name) => {}
                Sample::One(number) => {
                    all.insert(metric.name.to_owned(), number);
                }
                Sample::Split(_, cells) => {
                    all.extend(
                        cells.iter().map(|(cell, number)| (format!("{} {cell}", metric.name), *number)),
                    );
                }
            }
        }
        let grown = |name: &String, number: u64| number - before.get(name).copied().unwrap_or(0);
        let said = all.iter().filter_map(|(name, &number)| match grown(name, number) {
            0 => None,
            1 => Some(name.clone()),
            more => Some(format!("{name} +{more}")),
        });
        let said = said.collect();
        self.counted = all;
        said
    }

    /// What a client has been told since it was last asked.
    fn told(&mut self, token: Token) -> Vec<String> {
        self.clients.get_mut(&token).expect("it has dialled").read(self.turn.now)
    }

    /// Links, strangers, hellos, marked and lingering ones.
    fn numbers(&self) -> [usize; 5] {
        let Census { links, strangers, hailed, marked, lingering, .. } = self.links.census();
        [links, strangers, hailed, marked, lingering]
    }

    /// Whether something is left over from the turn.
    fn has_work(&self) -> bool {
        self.links.time_left(&self.turn).is_some()
    }

    fn outgoing_bytes(&self) -> usize {
        self.links.census().outgoing_bytes
    }

    fn partial_bytes(&self) -> usize {
        self.links.census().partial_bytes
    }

    fn stranger_bytes(&self) -> usize {
        self.links.census().stranger_bytes
    }
}
