//! A small worker that keeps the rules, under every mixture of faults: nothing is lost, mixed up or left hanging.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::sim::{Faults, Rng, State};
use crate::{Armed, Batch, End, Sent};

/// Echoes on every link.
struct Echo {
    driver: SimDriver,
    /// Operations that found the queue full.
    operations: Vec<Op>,
    links: BTreeMap<Token, Link>,
    starved: Vec<Token>,
    /// Faults it has met.
    met: BTreeSet<&'static str>,
}

#[derive(Default)]
struct Link {
    out: Vec<u8>,
    is_sending: bool,
    is_armed: bool,
    /// To be closed as soon as nothing is armed: after everything was sent, or at once.
    ending: Option<bool>,
    is_closing: bool,
}

impl Echo {
    fn new(net: &Net, config: Config) -> Echo {
        let park = || Op::Park { listener: Listener(0) };
        let operations = std::iter::repeat_with(park).take(4).collect();
        let driver = SimDriver::new(net, config);
        Echo { driver, operations, links: BTreeMap::new(), starved: Vec::new(), met: BTreeSet::new() }
    }

    fn turn(&mut self, rng: &mut Rng) {
        self.driver.wait(1, None).unwrap();
        while let Some(completion) = self.driver.next() {
            self.completed(completion, rng);
        }
        for token in std::mem::take(&mut self.starved) {
            self.arm(token, rng);
        }
        self.flush();
        for op in std::mem::take(&mut self.operations) {
            if let Err(full) = self.driver.submit(op) {
                self.met.insert("full");
                self.operations.push(full.0);
            }
        }
    }

    fn completed(&mut self, completion: Completion, rng: &mut Rng) {
        match completion {
            Completion::Accepted { token, .. } => {
                self.operations.push(Op::Park { listener: Listener(0) });
                assert!(self.links.insert(token, Link::default()).is_none());
                self.arm(token, rng);
            }
            Completion::AcceptFailed { .. } => {
                self.met.insert("accept failed");
                self.operations.push(Op::Park { listener: Listener(0) });
            }
            Completion::Received { token, chunk, more } => {
                let link = self.links.get_mut(&token).unwrap();
                link.out.extend_from_slice(self.driver.bytes(&chunk));
                link.is_armed = more;
                self.driver.recycle(chunk);
                if !more {
                    self.arm(token, rng);
                }
            }
            Completion::Readable { token } => {
                self.links.get_mut(&token).unwrap().is_armed = false;
                self.receive(token, Mode::Once);
            }
            Completion::Ended { token, why, .. } => self.ended(token, why, rng),
            Completion::Sent { token, batch, result } => self.sent(token, &batch, result),
            Completion::Closed { token } => drop(self.links.remove(&token).unwrap()),
            Completion::Connected { .. } => unreachable!("it never dials"),
            Completion::Rung => {}
        }
    }

    fn ended(&mut self, token: Token, why: End, rng: &mut Rng) {
        let link = self.links.get_mut(&token).unwrap();
        link.is_armed = false;
        match why {
            End::Eof => link.ending = link.ending.or(Some(true)),
            End::Broken(_) => {
                self.met.insert("broken");
                link.ending = Some(false);
            }
            End::Starved => {
                self.met.insert("starved");
                self.starved.push(token);
            }
            End::Lapsed => {
                self.met.insert("lapsed");
                self.arm(token, rng);
            }
            // Cancels come from a send that found the link broken.
            End::Cancelled => assert_eq!(link.ending, Some(false)),
        }
    }

    fn sent(&mut self, token: Token, batch: &Batch, result: Sent) {
        let link = self.links.get_mut(&token).unwrap();
        link.is_sending = false;
        match result {
            Sent::Bytes(n) => {
                assert_eq!(batch.sent, n);
                if !batch.rest().is_empty() {
                    self.met.insert("short");
                }
            }
            Sent::Again => {
                self.met.insert("again");
                assert_eq!(batch.sent, 0);
            }
            Sent::Broken(_) => link.ending = Some(false),
            Sent::Cancelled => unreachable!("no send is ever cancelled"),
        }
        link.out.splice(0..0, batch.rest().iter().copied());
    }

    fn arm(&mut self, token: Token, rng: &mut Rng) {
        match rng.below(3) {
            0 => self.operations.push(Op::Poll { token }),
            1 => return self.receive(token, Mode::Once),
            _ => return self.receive(token, Mode::Multishot),
        }
        self.links.get_mut(&token).unwrap().is_armed = true;
    }

    fn receive(&mut self, token: Token, mode: Mode) {
        let link = self.links.get_mut(&token).unwrap();
        if link.ending.is_none() {
            link.is_armed = true;
            self.operations.push(receive(token, mode));
        }
    }

    fn flush(&mut self) {
        for (&token, link) in &mut self.links {
            if link.is_sending || link.is_closing {
                continue;
            }
            if !link.out.is_empty() && link.ending != Some(false) {
                link.is_sending = true;
                let batch = Batch { bytes: std::mem::take(&mut link.out), sent: 0 };
                self.operations.push(Op::Send { token, batch });
            } else if link.ending.is_some() && link.is_armed {
                for armed in [Armed::Poll, Armed::Receive] {
                    self.operations.push(Op::Cancel { token, armed });
                }
            } else if link.ending.is_some() {
                link.is_closing = true;
                self.operations.push(Op::Close { token });
            }
        }
    }
}

/// A client that sends its own sequence and knows what has to come back.
struct Client {
    socket: Socket,
    sent: Vec<u8>,
    written: usize,
    got: Vec<u8>,
}

impl Client {
    fn new(net: &Net, number: u16, rng: &mut Rng) -> Client {
        let size = |rng: &mut Rng| 1 + rng.below(600);
        let buffers = Buffers { send: size(rng), receive: size(rng) };
        let mut sent = vec![0; rng.below(4000)];
        rng.fill(&mut sent);
        let socket = net.connect(&place(1), peer(number), buffers);
        Client { socket, sent, written: 0, got: Vec::new() }
    }

    /// Whether it has more to do.
    fn play(&mut self, seed: u64, rng: &mut Rng) -> bool {
        if self.socket.state() == State::Open && self.written < self.sent.len() {
            let piece = 1 + rng.below(self.sent.len() - self.written);
            self.written += self.socket.write(&self.sent[self.written..self.written + piece]);
        }
        if self.written == self.sent.len() && self.socket.state() == State::Open {
            self.socket.shutdown();
        }
        self.socket.read(&mut self.got, 1 + rng.below(500));
        assert!(self.sent.starts_with(&self.got), "seed {seed}: what came back is not what was sent");
        matches!(self.socket.state(), State::Connecting | State::Open)
    }
}

/// What a run came to.
#[derive(Debug, PartialEq)]
struct Run {
    fingerprint: u64,
    /// Clients that got everything back.
    whole: usize,
    met: BTreeSet<&'static str>,
}

fn run(seed: u64, faults: Faults, clients: u16) -> Run {
    let mut rng = Rng::new(seed);
    let net = Net::new(rng.number());
    net.set_faults(faults);
    let slots = 4 + rng.below(12) as u32;
    let pool = PoolSize { count: 1 + rng.below(8) as u16, size: 1 + rng.below(200) as u32 };
    let mut echo = Echo::new(&net, Config { slots, links: pool, ..config() });
    let mut playing: Vec<Client> = Vec::new();
    let (mut begun, mut whole) = (0, 0);
    for step in 0..50_000 {
        if step == 600 {
            net.faults_off();
        }
        if begun < clients && rng.one_in(8) {
            begun += 1;
            playing.push(Client::new(&net, begun, &mut rng));
        }
        playing.retain_mut(|client| {
            let goes_on = client.play(seed, &mut rng);
            whole += usize::from(!goes_on && client.got.len() == client.sent.len());
            goes_on
        });
        net.step();
        echo.turn(&mut rng);
        assert_eq!(net.audit(0).chunks_out, 0, "seed {seed}");
        if step > 600 && begun == clients && playing.is_empty() && net.is_quiet() && echo.links.is_empty() {
            assert_eq!((net.links(), net.bytes_held(), echo.operations.len()), (0, 0, 0), "seed {seed}");
            assert_eq!(net.audit(0), crate::sim::Audit { parked: 4, ..Default::default() }, "seed {seed}");
            return Run { fingerprint: net.fingerprint(), whole, met: echo.met };
        }
    }
    panic!("seed {seed}: not settled: {} clients play on, {:?}", playing.len(), net.audit(0));
}

#[test]
fn everything_comes_back_where_links_do_not_break() {
    for seed in 0..30 {
        let faults = Faults { reset: 0, accept_failed: 0, connect_failed: 0, ..Faults::storm() };
        // Never more clients than the smallest table has room for.
        assert_eq!(run(seed, faults, 4).whole, 4, "seed {seed}");
    }
}

#[test]
fn a_prefix_comes_back_in_the_worst_of_storms_and_everything_settles() {
    let mut met = BTreeSet::new();
    for seed in 0..30 {
        met.extend(run(seed, Faults::storm(), 40).met);
    }
    assert_eq!(met.len(), 7, "a storm has everything: {met:?}");
}

#[test]
fn every_mixture_of_faults_settles() {
    for seed in 0..100 {
        run(seed, Faults::swarm(&mut Rng::new(seed)), 20);
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..10 {
        let first = run(seed, Faults::storm(), 20);
        assert_eq!(run(seed, Faults::storm(), 20), first);
        assert_ne!(run(seed + 1, Faults::storm(), 20), first);
    }
}
