//! The fault injector on a real ring: each fault by itself, and all together under an echo that must stay right.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a panic")]

mod rig;

use std::collections::{BTreeMap, VecDeque};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use driver::{
    Armed, Batch, Completion, Config, Doorbells, Driver, End, Endpoint, Errno, Fault, Full, Listener, Mode,
    Op, Plan, Pool, Sent, Token, Trust, Uring,
};
use rig::{Rig, read_exactly, rig, small, write_all};

fn faulty(config: Config) -> Option<Rig<Fault<Uring>>> {
    let Rig { driver, address } = rig(config)?;
    Some(Rig { driver: Fault::new(driver, Plan::quiet(1)), address })
}

#[test]
fn a_short_send_is_short_on_the_wire_too() {
    let Some(mut rig) = faulty(small()) else { return };
    let (token, mut client) = rig.meet();
    rig.driver.set_plan(Plan { short_send: Plan::ALWAYS, ..Plan::quiet(0) });
    let mut batch = Batch { bytes: b"--0123456789".to_vec(), sent: 2 };
    let mut sends = 0;
    while !batch.rest().is_empty() {
        let before = batch.sent;
        rig.submit(Op::Send { token, batch });
        let Completion::Sent { batch: back, result: Sent::Bytes(taken), .. } = rig.await_one() else {
            panic!("not sent")
        };
        assert_eq!((back.sent, &back.bytes[..]), (before + taken, &b"--0123456789"[..]));
        assert_eq!(read_exactly(&mut client, taken), &back.bytes[before..back.sent]);
        assert!(taken < 10 - (before - 2) || taken == 1, "something is left unless there was one byte only");
        batch = back;
        sends += 1;
    }
    assert!(sends > 1);
    client.set_nonblocking(true).unwrap();
    assert!(client.read(&mut [0; 1]).is_err(), "nothing went out twice");
}

#[test]
fn endings_without_a_beginning_leave_nothing_armed() {
    let Some(mut rig) = faulty(small()) else { return };
    let (token, mut client) = rig.meet();
    for (plan, why) in [
        (Plan { starved: Plan::ALWAYS, ..Plan::quiet(0) }, End::Starved),
        (Plan { lapsed: Plan::ALWAYS, ..Plan::quiet(0) }, End::Lapsed),
        (Plan { cancelled: Plan::ALWAYS, ..Plan::quiet(0) }, End::Cancelled),
    ] {
        rig.driver.set_plan(plan);
        rig.receive(token, Mode::Multishot);
        assert_eq!(rig.driver.next(), None, "not in the turn it was submitted in");
        assert_eq!(rig.await_one(), Completion::Ended { token, armed: Armed::Receive, why });
        if why != End::Starved {
            rig.submit(Op::Poll { token });
            assert_eq!(rig.await_one(), Completion::Ended { token, armed: Armed::Poll, why });
        }
        rig.cancel(token, Armed::Receive);
        assert_eq!(rig.glance(), None);
    }
    rig.driver.set_plan(Plan { again: Plan::ALWAYS, ..Plan::quiet(0) });
    rig.send(token, b"kept");
    let Completion::Sent { batch, result: Sent::Again, .. } = rig.await_one() else { panic!("not refused") };
    assert_eq!((batch.sent, batch.rest()), (0, &b"kept"[..]));
    rig.driver.set_plan(Plan::quiet(0));
    rig.submit(Op::Send { token, batch });
    assert!(matches!(rig.await_one(), Completion::Sent { result: Sent::Bytes(4), .. }));
    assert_eq!(read_exactly(&mut client, 4), b"kept");
    rig.close(token);
}

#[test]
fn a_multishot_becomes_a_single_shot_or_lapses_after_data() {
    let Some(mut rig) = faulty(small()) else { return };
    let (token, mut client) = rig.meet();
    rig.driver.set_plan(Plan { single_shot: Plan::ALWAYS, ..Plan::quiet(0) });
    rig.receive(token, Mode::Multishot);
    write_all(&mut client, b"one");
    let completion = rig.await_one();
    assert_eq!(rig.arrival(completion), (token, b"one".to_vec(), false));
    rig.driver.set_plan(Plan { cut_short: Plan::ALWAYS, ..Plan::quiet(0) });
    rig.receive(token, Mode::Multishot);
    write_all(&mut client, b"two");
    let completion = rig.await_one();
    assert_eq!(rig.arrival(completion), (token, b"two".to_vec(), true));
    assert_eq!(rig.await_one(), Completion::Ended { token, armed: Armed::Receive, why: End::Lapsed });
    rig.close(token);
}

#[test]
fn a_broken_socket_is_broken_for_everything() {
    let Some(mut rig) = faulty(small()) else { return };
    let (token, mut client) = rig.meet();
    rig.receive(token, Mode::Multishot);
    assert_eq!(rig.glance(), None);
    rig.driver.set_plan(Plan { broken: Plan::ALWAYS, ..Plan::quiet(0) });
    let reset = Errno(104);
    rig.send(token, b"lost");
    rig.driver.set_plan(Plan::quiet(0));
    let mut seen = [rig.await_one(), rig.await_one()];
    seen.sort_by_key(|completion| matches!(completion, Completion::Sent { .. }));
    assert_eq!(seen[0], Completion::Ended { token, armed: Armed::Receive, why: End::Broken(reset) });
    let batch = Batch { bytes: b"lost".to_vec(), sent: 0 };
    assert_eq!(seen[1], Completion::Sent { token, batch, result: Sent::Broken(reset) });
    rig.receive(token, Mode::Once);
    let why = End::Broken(reset);
    assert_eq!(rig.await_one(), Completion::Ended { token, armed: Armed::Receive, why });
    rig.close(token);
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn accepts_and_connects_fail_and_the_queue_is_full_until_the_next_wait() {
    let Some(mut rig) = faulty(small()) else { return };
    rig.driver.set_plan(Plan { accept_failed: Plan::ALWAYS, refused: Plan::ALWAYS, ..Plan::quiet(0) });
    rig.park();
    let listener = Listener(0);
    assert_eq!(rig.await_one(), Completion::AcceptFailed { listener, errno: Errno(23) });
    let to = Box::new(Endpoint::Tcp(rig.address));
    rig.submit(Op::Connect { tag: 5, from: None, to, trust: Trust::Anybody });
    assert_eq!(rig.await_one(), Completion::Connected { tag: 5, result: Err(Errno(111)) });
    assert_eq!(rig.driver.inner().parked(), 0, "nothing reached the ring");
    rig.driver.set_plan(Plan { full: Plan::ALWAYS, ..Plan::quiet(0) });
    let Err(Full(op)) = rig.driver.submit(Op::Park { listener }) else { panic!("not full") };
    assert_eq!(op, Op::Park { listener });
    rig.driver.set_plan(Plan::quiet(0));
    assert!(rig.driver.submit(Op::Park { listener }).is_err(), "full until the next wait");
    rig.driver.wait(0, None).unwrap();
    rig.submit(op);
    assert_eq!(rig.driver.injected().full, 2);
}

#[test]
fn a_connect_from_an_address_passes_through_or_is_refused_as_any_other() {
    let Some(mut rig) = faulty(small()) else { return };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connect = || {
        let (from, to) = (Some([127, 1, 0, 8].into()), Box::new(Endpoint::Tcp(address)));
        Op::Connect { tag: 6, from, to, trust: Trust::Anybody }
    };
    rig.submit(connect());
    let Completion::Connected { tag: 6, result: Ok(token) } = rig.await_one() else { panic!("no connect") };
    assert_eq!(listener.accept().unwrap().1.ip().to_string(), "127.1.0.8");
    rig.close(token);
    rig.driver.set_plan(Plan { refused: Plan::ALWAYS, ..Plan::quiet(0) });
    rig.submit(connect());
    assert_eq!(rig.await_one(), Completion::Connected { tag: 6, result: Err(Errno(111)) });
}

#[test]
fn a_seed_gives_the_same_faults_again() {
    let run = |seed| {
        let mut fault = Fault::new(rig::ring(small(), Doorbells::new(1), 0)?, Plan::rough(seed));
        // Nobody has this token, so what passes ends at once, and the ring has no say in the order.
        let token = Token { slot: 0, generation: 9 };
        let mut told = Vec::new();
        for _ in 0..300 {
            let refused = fault.submit(Op::Poll { token }).is_err();
            fault.wait(0, None).unwrap();
            told.push((refused, std::iter::from_fn(|| fault.next()).collect::<Vec<_>>()));
        }
        Some((told, *fault.injected()))
    };
    let Some(first) = run(7) else { return };
    assert_eq!(Some(&first), run(7).as_ref());
    assert_ne!(Some(&first), run(8).as_ref());
}

/// An echo server that does what the trait's rules allow and nothing more.
struct Echo<D> {
    driver: D,
    links: BTreeMap<Token, Link>,
    /// Operations that met a full queue.
    later: VecDeque<Op>,
    accepted: usize,
}

#[derive(Default)]
struct Link {
    is_receiving: bool,
    is_sending: bool,
    is_over: bool,
    is_closing: bool,
    waiting: Vec<u8>,
}

impl<D: Driver> Echo<D> {
    fn submit(&mut self, op: Op) {
        if let Err(Full(op)) = self.driver.submit(op) {
            self.later.push_back(op);
        }
    }

    fn turn(&mut self) {
        self.driver.wait(1, Some(Duration::from_millis(20))).unwrap();
        for op in std::mem::take(&mut self.later) {
            self.submit(op);
        }
        while let Some(completion) = self.driver.next() {
            self.learn(completion);
        }
        let tokens: Vec<Token> = self.links.keys().copied().collect();
        for token in tokens {
            self.advance(token);
        }
    }

    fn learn(&mut self, completion: Completion) {
        match completion {
            Completion::Accepted { listener, token, .. } => {
                self.accepted += 1;
                assert!(self.links.insert(token, Link::default()).is_none());
                assert!(
                    self.links.keys().filter(|other| other.slot == token.slot).count() == 1,
                    "one tenant"
                );
                self.submit(Op::Park { listener });
            }
            Completion::AcceptFailed { listener, .. } => self.submit(Op::Park { listener }),
            Completion::Received { token, chunk, more } => {
                let link = self.links.get_mut(&token).expect("a living token");
                assert!(link.is_receiving && !link.is_closing, "nothing arrives unless asked for");
                link.is_receiving = more;
                link.waiting.extend_from_slice(self.driver.bytes(&chunk));
                self.driver.recycle(chunk);
            }
            Completion::Ended { token, armed: Armed::Receive, why } => {
                let link = self.links.get_mut(&token).expect("a living token");
                assert!(std::mem::take(&mut link.is_receiving), "an ending for each beginning");
                link.is_over |= matches!(why, End::Eof | End::Broken(_));
                if matches!(why, End::Broken(_)) {
                    link.waiting.clear();
                }
            }
            Completion::Sent { token, mut batch, result } => {
                let link = self.links.get_mut(&token).expect("a living token");
                assert!(std::mem::take(&mut link.is_sending), "an ending for each beginning");
                match result {
                    Sent::Broken(_) => {
                        link.is_over = true;
                        link.waiting.clear();
                    }
                    Sent::Bytes(_) | Sent::Again | Sent::Cancelled => {
                        let mut rest = batch.bytes.split_off(batch.sent);
                        rest.append(&mut link.waiting);
                        link.waiting = rest;
                    }
                }
            }
            Completion::Closed { token } => {
                let link = self.links.remove(&token).expect("closed once");
                assert!(link.is_closing && !link.is_receiving && !link.is_sending);
            }
            other => panic!("not asked for: {other:?}"),
        }
    }

    fn advance(&mut self, token: Token) {
        let link = self.links.get_mut(&token).expect("just listed");
        if link.is_closing {
            return;
        }
        let mut ops = Vec::new();
        if !link.is_sending && !link.waiting.is_empty() {
            link.is_sending = true;
            let rest = link.waiting.split_off(link.waiting.len().min(3000));
            let bytes = std::mem::replace(&mut link.waiting, rest);
            ops.push(Op::Send { token, batch: Batch { bytes, sent: 0 } });
        }
        if !link.is_receiving && !link.is_over {
            link.is_receiving = true;
            ops.push(Op::Receive { token, pool: Pool::Links, mode: Mode::Multishot });
        }
        if link.is_over && !link.is_sending {
            if link.is_receiving {
                ops.push(Op::Cancel { token, armed: Armed::Receive });
            } else {
                link.is_closing = true;
                ops.push(Op::Close { token });
            }
        }
        for op in ops {
            self.submit(op);
        }
    }
}

/// Sends a pattern, reads it back, and says how much came back right before the connection ended.
fn client(address: SocketAddr, index: u64) -> usize {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let pattern: Vec<u8> = (0..LEN as u64).map(|n| (n.wrapping_mul(index * 2 + 1) >> 3) as u8).collect();
    let mut writer = socket.try_clone().unwrap();
    let copy = pattern.clone();
    let writing = std::thread::spawn(move || {
        for piece in copy.chunks(1000) {
            if writer.write_all(piece).is_err() {
                return;
            }
        }
        let _already_reset = writer.shutdown(Shutdown::Write);
    });
    let mut got = Vec::new();
    let _reset = socket.read_to_end(&mut got);
    writing.join().unwrap();
    assert!(pattern.starts_with(&got), "what comes back is what was sent, in order");
    got.len()
}

const LEN: usize = 150_000;
const CLIENTS: usize = 8;

fn echo_under(plan: Plan) -> Option<(Vec<usize>, driver::Injected)> {
    let Rig { driver, address } = rig(small())?;
    let driver = Fault::new(driver, plan);
    let mut echo = Echo { driver, links: BTreeMap::new(), later: VecDeque::new(), accepted: 0 };
    for _ in 0..4 {
        echo.submit(Op::Park { listener: Listener(0) });
    }
    let clients: Vec<_> =
        (0..CLIENTS as u64).map(|index| std::thread::spawn(move || client(address, index))).collect();
    while clients.iter().any(|client| !client.is_finished()) || !echo.links.is_empty() {
        echo.turn();
    }
    assert_eq!(echo.accepted, CLIENTS);
    assert_eq!(echo.driver.inner().chunks_out(), 0);
    let got = clients.into_iter().map(|client| client.join().unwrap()).collect();
    Some((got, *echo.driver.injected()))
}

#[test]
fn an_echo_survives_every_fault_but_a_reset() {
    let mut counts = [0; 5];
    for seed in 0..6 {
        eprintln!("seed {seed}");
        let plan = Plan { broken: 0, ..Plan::rough(seed) };
        let Some((got, injected)) = echo_under(plan) else { return };
        assert_eq!(got, [LEN; CLIENTS], "seed {seed}");
        let run =
            [injected.short_send, injected.delayed, injected.stalled, injected.full, injected.cut_short];
        counts.iter_mut().zip(run).for_each(|(sum, count)| *sum += count);
    }
    assert!(counts.iter().all(|&count| count > 0), "the frequent faults have happened: {counts:?}");
}

#[test]
fn resets_end_links_and_never_mix_them_up() {
    let (mut broken, mut ended) = (0, 0);
    for seed in 100..104 {
        eprintln!("seed {seed}");
        let Some((got, injected)) = echo_under(Plan { broken: 20, ..Plan::rough(seed) }) else { return };
        broken += injected.broken;
        ended += got.iter().filter(|&&len| len < LEN).count();
    }
    assert!(broken > 0 && ended > 0, "{broken} sockets broke, {ended} links were cut off");
}
