//! What a worker is told by its driver.

use super::*;
use crate::sim::{Faults, State};
use crate::{Armed, Batch, End, Errno, Sent, Trust};

fn send(driver: &mut SimDriver, token: Token, bytes: &[u8]) {
    driver.submit(Op::Send { token, batch: Batch { bytes: bytes.to_vec(), sent: 0 } }).unwrap();
}

#[test]
fn a_parked_accept_takes_one_connection_and_says_whose() {
    let net = Net::new(1);
    let mut driver = SimDriver::new(&net, config());
    assert_eq!(turn(&mut driver), [Completion::Rung], "a worker is woken once when it starts");
    let clients = [1, 2].map(|port| net.connect(&place(1), peer(port), Buffers::default()));
    net.carry_all();
    assert_eq!(turn(&mut driver), []);
    driver.submit(Op::Park { listener: Listener(0) }).unwrap();
    let accepted = turn(&mut driver);
    assert!(
        matches!(accepted[..], [Completion::Accepted { listener: Listener(0), peer: Peer::Tcp(_), .. }]),
        "{accepted:?}"
    );
    assert_eq!(net.audit(0).sockets, 1);
    assert!(clients.iter().all(|client| client.state() == State::Open));
}

#[test]
fn several_workers_share_a_place() {
    let net = Net::new(1);
    let mut drivers = [0, 1].map(|_| SimDriver::new(&net, config()));
    let _clients: Vec<Socket> =
        (0..20).map(|port| net.connect(&place(1), peer(port), Buffers::default())).collect();
    net.carry_all();
    let accepted = drivers.each_mut().map(|driver| {
        (0..16).for_each(|_| driver.submit(Op::Park { listener: Listener(0) }).unwrap());
        turn(driver).len()
    });
    assert!(
        accepted.iter().all(|&n| n > 4) && accepted[0] + accepted[1] == 22,
        "{accepted:?} with a ring each"
    );
}

#[test]
fn with_a_full_table_the_connection_is_closed_and_the_accept_fails() {
    let net = Net::new(1);
    let mut driver = SimDriver::new(&net, Config { slots: 1, ..config() });
    let (_kept, token) = link(&net, &mut driver);
    let client = net.connect(&place(1), peer(8), Buffers::default());
    net.carry_all();
    driver.submit(Op::Park { listener: Listener(0) }).unwrap();
    let errno = Errno(libc::ENFILE);
    assert_eq!(turn(&mut driver), [Completion::AcceptFailed { listener: Listener(0), errno }]);
    driver.submit(Op::Connect { tag: 5, from: None, to: Box::new(place(1)), trust: Trust::Anybody }).unwrap();
    assert_eq!(turn(&mut driver), [Completion::Connected { tag: 5, result: Err(errno) }]);
    net.carry_all();
    assert_eq!(client.state(), State::Eof);
    driver.submit(Op::Close { token }).unwrap();
    assert_eq!(turn(&mut driver), [Completion::Closed { token }]);
    assert_eq!(link(&net, &mut driver).1, Token { slot: 0, generation: token.generation + 1 });
}

#[test]
fn a_poll_ends_with_the_first_byte_and_takes_none() {
    let (net, mut driver, client, token) = linked(1);
    driver.submit(Op::Poll { token }).unwrap();
    assert_eq!(turn(&mut driver), []);
    client.write(b"x");
    net.carry_all();
    assert_eq!(turn(&mut driver), [Completion::Readable { token }]);
    driver.submit(receive(token, Mode::Once)).unwrap();
    let mut received = turn(&mut driver);
    assert_eq!(take(&mut driver, received.remove(0)), Some((b"x".to_vec(), false)));
    assert_eq!(net.audit(0).unarmed, 1);
}

#[test]
fn a_multishot_goes_on_until_the_end_and_a_single_receive_is_over_after_one_chunk() {
    let (net, mut driver, client, token) = linked(1);
    driver.submit(receive(token, Mode::Multishot)).unwrap();
    client.write(&[7; 100]);
    client.shutdown();
    net.carry_all();
    let mut done = turn(&mut driver);
    assert_eq!(done.pop(), Some(Completion::Ended { token, armed: Armed::Receive, why: End::Eof }));
    let taken: Vec<_> = done.into_iter().filter_map(|completion| take(&mut driver, completion)).collect();
    assert_eq!(taken, [(vec![7; 64], true), (vec![7; 36], true)]);
    assert_eq!(driver.chunks_out(), 0);
}

#[test]
fn a_dry_pool_ends_the_receive_and_loses_nothing() {
    let (net, mut driver, client, token) = linked(1);
    let sent: Vec<u8> = (0..=255).cycle().take(1500).collect();
    let (mut written, mut got, mut starved) = (0, Vec::new(), 0);
    let mut armed = false;
    while got.len() < sent.len() {
        for _ in 0..2 {
            written += client.write(&sent[written..]);
            net.carry_all();
        }
        if !armed {
            driver.submit(receive(token, Mode::Multishot)).unwrap();
            armed = true;
        }
        for completion in turn(&mut driver) {
            if completion == (Completion::Ended { token, armed: Armed::Receive, why: End::Starved }) {
                starved += 1;
                armed = false;
            } else if let Some((bytes, _)) = take(&mut driver, completion) {
                got.extend(bytes);
            }
        }
    }
    assert_eq!((got == sent, starved > 0, driver.counters().starved), (true, true, starved));
}

#[test]
fn a_send_completes_when_the_peer_makes_room() {
    let (net, mut driver, client, token) = linked(1);
    let bytes: Vec<u8> = (0..=255).cycle().take(4000).collect();
    send(&mut driver, token, &bytes);
    let (mut got, mut waits) = (Vec::new(), 0);
    while got.len() < bytes.len() {
        let done = turn(&mut driver);
        if done.is_empty() {
            waits += net.audit(0).sending;
            client.read(&mut got, 300);
        }
        for completion in done {
            let Completion::Sent { token, batch, result: Sent::Bytes(n) } = completion else { panic!() };
            assert!(n > 0 && batch.sent <= bytes.len());
            if !batch.rest().is_empty() {
                driver.submit(Op::Send { token, batch }).unwrap();
            }
        }
        net.carry_all();
    }
    assert_eq!((got == bytes, waits > 0, driver.counters().sends > 2), (true, true, true));
}

#[test]
fn a_broken_link_ends_everything_and_names_the_reason_once() {
    let (net, mut driver, client, token) = linked(1);
    client.reset();
    net.carry_all();
    driver.submit(receive(token, Mode::Multishot)).unwrap();
    let why = End::Broken(Errno(libc::ECONNRESET));
    assert_eq!(turn(&mut driver), [Completion::Ended { token, armed: Armed::Receive, why }]);
    send(&mut driver, token, b"x");
    let done = turn(&mut driver);
    let epipe = Sent::Broken(Errno(libc::EPIPE));
    assert!(matches!(&done[..], [Completion::Sent { result, .. }] if *result == epipe), "{done:?}");
}

#[test]
fn what_is_cancelled_ends_once_in_either_way() {
    let mut seen = [0; 2];
    for seed in 0..40 {
        let (net, mut driver, client, token) = linked(seed);
        driver.submit(receive(token, Mode::Once)).unwrap();
        assert_eq!(turn(&mut driver), []);
        client.write(b"race");
        net.carry_all();
        driver.submit(Op::Cancel { token, armed: Armed::Receive }).unwrap();
        let mut done = turn(&mut driver);
        assert_eq!(done.len(), 1);
        let cancelled = done[0] == Completion::Ended { token, armed: Armed::Receive, why: End::Cancelled };
        if !cancelled {
            assert_eq!(take(&mut driver, done.remove(0)).unwrap().0, b"race");
        }
        seen[usize::from(cancelled)] += 1;
        driver.submit(Op::Cancel { token, armed: Armed::Receive }).unwrap();
        assert_eq!(turn(&mut driver), [], "a cancel of nothing says nothing");
    }
    assert!(seen[0] > 5 && seen[1] > 5, "{seen:?}");
}

#[test]
fn a_cancelled_send_and_poll_come_back() {
    let (net, mut driver, _client, token) = linked(1);
    send(&mut driver, token, &[1; 1000]);
    turn(&mut driver);
    net.carry_all();
    send(&mut driver, token, &[2; 1000]);
    turn(&mut driver);
    send(&mut driver, token, &[3; 10]);
    driver.submit(Op::Poll { token }).unwrap();
    turn(&mut driver);
    driver.submit(Op::Cancel { token, armed: Armed::Send }).unwrap();
    driver.submit(Op::Cancel { token, armed: Armed::Poll }).unwrap();
    let batch = Batch { bytes: vec![3; 10], sent: 0 };
    let send = Completion::Sent { token, batch, result: Sent::Cancelled };
    let poll = Completion::Ended { token, armed: Armed::Poll, why: End::Cancelled };
    assert_eq!(turn(&mut driver), [send, poll]);
}

#[test]
fn closing_with_unread_input_breaks_the_peer() {
    let (net, mut driver, client, token) = linked(1);
    client.write(b"unread");
    net.carry_all();
    driver.submit(Op::Close { token }).unwrap();
    assert_eq!(turn(&mut driver), [Completion::Closed { token }]);
    net.carry_all();
    assert_eq!(client.state(), State::Broken(Errno(libc::ECONNRESET)));
}

#[test]
fn connects_reach_a_backlog_or_are_refused() {
    let net = Net::new(1);
    let mut driver = SimDriver::new(&net, config());
    let unix = Endpoint::Unix("/run/backend".into());
    let backlog = net.listen(&unix, Buffers::default());
    turn(&mut driver);
    driver.submit(Op::Connect { tag: 1, from: None, to: Box::new(unix), trust: Trust::Anybody }).unwrap();
    driver.submit(Op::Connect { tag: 2, from: None, to: Box::new(place(9)), trust: Trust::Anybody }).unwrap();
    assert_eq!(turn(&mut driver), []);
    assert_eq!(net.audit(0).dialing, 2);
    net.carry_all();
    let mut done = turn(&mut driver);
    done.sort_by_key(|completion| matches!(completion, Completion::Connected { tag: 2, .. }));
    let [Completion::Connected { tag: 1, result: Ok(token) }, refused] = &done[..] else {
        panic!("{done:?}")
    };
    assert_eq!(*refused, Completion::Connected { tag: 2, result: Err(Errno(libc::ECONNREFUSED)) });
    let far = backlog.accept().unwrap();
    assert_eq!(far.peer(), Some(Peer::Unix));
    send(&mut driver, *token, b"hello");
    turn(&mut driver);
    net.carry_all();
    let mut got = Vec::new();
    assert_eq!(far.read(&mut got, 99), 5);
}

#[test]
fn a_connect_comes_from_the_address_it_was_given() {
    let net = Net::new(1);
    let mut driver = SimDriver::new(&net, config());
    let backlog = net.listen(&place(9), Buffers::default());
    turn(&mut driver);
    let source = |text: &str| Some(text.parse::<std::net::IpAddr>().unwrap());
    for (from, seen) in [(None, "127.0.0.1"), (source("127.2.3.4"), "127.2.3.4")] {
        driver.submit(Op::Connect { tag: 1, from, to: Box::new(place(9)), trust: Trust::Anybody }).unwrap();
        turn(&mut driver);
        net.carry_all();
        let connected = turn(&mut driver);
        assert!(matches!(connected[..], [Completion::Connected { tag: 1, result: Ok(_) }]), "{connected:?}");
        let Some(Peer::Tcp(peer)) = backlog.accept().unwrap().peer() else { panic!("no TCP peer") };
        assert_eq!(peer.ip().to_string(), seen);
    }
    let unix = Endpoint::Unix("/run/backend".into());
    for (from, to, errno) in [("::1", place(9), libc::EAFNOSUPPORT), ("127.2.3.4", unix, libc::EINVAL)] {
        let from = source(from);
        driver.submit(Op::Connect { tag: 2, from, to: Box::new(to), trust: Trust::Anybody }).unwrap();
        assert_eq!(turn(&mut driver), [Completion::Connected { tag: 2, result: Err(Errno(errno)) }]);
    }
    assert_eq!(net.audit(0).dialing, 0, "what cannot be takes no slot");
}

#[test]
fn workers_ring_each_other() {
    let net = Net::new(1);
    let mut drivers = [0, 1].map(|_| SimDriver::new(&net, config()));
    drivers.iter_mut().for_each(|driver| drop(turn(driver)));
    drivers[0].submit(Op::Ring { worker: 1 }).unwrap();
    assert_eq!(turn(&mut drivers[1]), [], "it reaches the kernel with the next wait");
    assert_eq!(turn(&mut drivers[0]), []);
    assert_eq!(turn(&mut drivers[1]), [Completion::Rung]);
    net.ring(0);
    assert_eq!(turn(&mut drivers[0]), [Completion::Rung]);
}

#[test]
fn a_killed_worker_leaves_no_socket_behind() {
    let (net, mut driver, client, token) = linked(1);
    let waiting = net.connect(&place(1), peer(8), Buffers::default());
    driver.submit(receive(token, Mode::Multishot)).unwrap();
    driver.submit(Op::Connect { tag: 1, from: None, to: Box::new(place(9)), trust: Trust::Anybody }).unwrap();
    turn(&mut driver);
    net.carry_all();
    drop(driver);
    net.carry_all();
    assert_eq!(client.state(), State::Eof);
    assert_eq!(waiting.state(), State::Broken(Errno(libc::ECONNRESET)));
    drop((client, waiting));
    net.ring(0);
    assert_eq!((net.links(), net.is_quiet()), (0, true));
}

#[test]
fn a_full_queue_gives_the_operation_back_until_the_next_wait() {
    let (net, mut driver, _client, token) = linked(1);
    net.set_faults(Faults { full: 1, ..Faults::none() });
    let refused = driver.submit(Op::Poll { token }).unwrap_err();
    assert_eq!(refused.0, Op::Poll { token });
    net.faults_off();
    assert!(driver.submit(Op::Poll { token }).is_err());
    turn(&mut driver);
    assert!(driver.submit(Op::Poll { token }).is_ok());
}

#[test]
fn held_back_completions_come_late_and_all_at_once_when_faults_end() {
    let (net, mut driver, client, token) = linked(1);
    net.set_faults(Faults { late: 1, late_steps_max: 1, ..Faults::none() });
    driver.submit(receive(token, Mode::Once)).unwrap();
    client.write(b"x");
    net.carry_all();
    assert_eq!(turn(&mut driver), []);
    assert_eq!(net.audit(0).pending, 1);
    assert!(!net.is_quiet());
    net.faults_off();
    let mut done = turn(&mut driver);
    assert_eq!(take(&mut driver, done.remove(0)), Some((b"x".to_vec(), false)));
    assert!(net.is_quiet());
}

#[test]
fn a_forgotten_socket_is_called_deaf_when_there_is_news_for_it() {
    let (net, mut driver, client, token) = linked(1);
    assert_eq!((net.audit(0).unarmed, net.audit(0).deaf), (1, 0));
    client.write(b"hello?");
    net.carry_all();
    assert_eq!(net.audit(0).deaf, 1);
    driver.submit(Op::Poll { token }).unwrap();
    assert_eq!((net.audit(0).unarmed, net.audit(0).deaf), (0, 0));
}
