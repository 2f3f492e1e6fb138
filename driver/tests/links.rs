//! Accepting, receiving, sending and closing on a real ring.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a panic")]

mod rig;

use std::collections::HashMap;
use std::io::Read;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use driver::{
    Armed, Batch, Completion, Config, Doorbells, Driver, End, Errno, ListenOptions, Listener, Mode, Op, Peer,
    Pool, PoolSize, RingConfig, Sent, Token,
};
use rig::{Rig, read_exactly, rig, rig_over, rig_with, ring, small, small_ring, write_all};

#[test]
fn an_echo_goes_round_and_ends_with_the_peer() {
    let Some(mut rig) = rig(small()) else { return };
    let (token, mut client) = rig.meet();
    rig.receive(token, Mode::Multishot);
    for round in 0..50_u8 {
        write_all(&mut client, &[round; 100]);
        let completion = rig.await_one();
        let (from, bytes, more) = rig.arrival(completion);
        assert_eq!((from, &bytes[..], more), (token, &[round; 100][..], true));
        rig.send_all(token, &bytes);
        assert_eq!(read_exactly(&mut client, 100), [round; 100]);
    }
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rig.await_one(), Completion::Ended { token, armed: Armed::Receive, why: End::Eof });
    rig.close(token);
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0, "the peer sees the end");
    assert_eq!(rig.driver.chunks_out(), 0);
    assert_eq!(rig.driver.counters().sends, 50);
}

#[test]
fn every_accept_carries_the_address_of_its_own_peer() {
    let measures = RingConfig { submissions: 256, completions: 2048, ..small_ring() };
    let Some(mut rig) = rig_over(Config { slots: 600, ..small() }, measures) else { return };
    for _ in 0..64 {
        rig.park();
    }
    let mut clients: HashMap<SocketAddr, TcpStream> = HashMap::new();
    let mut seen = 0;
    for _ in 0..8 {
        for _ in 0..60 {
            let client = TcpStream::connect(rig.address).unwrap();
            clients.insert(client.local_addr().unwrap(), client);
        }
        let accepted: Vec<(Token, SocketAddr)> = (0..60).map(|_| accepted_from(&mut rig)).collect();
        for (token, peer) in accepted {
            rig.park();
            // The address is right if the bytes sent to this socket arrive at the client of this address.
            let port = peer.port().to_be_bytes();
            rig.send_all(token, &port);
            let client = clients.get_mut(&peer).expect("somebody connected from there");
            assert_eq!(read_exactly(client, 2), port);
            seen += 1;
        }
    }
    assert_eq!((seen, rig.driver.parked()), (480, 64));
}

fn accepted_from(rig: &mut Rig) -> (Token, SocketAddr) {
    match rig.await_one() {
        Completion::Accepted { listener: Listener(0), token, peer: Peer::Tcp(peer) } => (token, peer),
        other => panic!("not an accept: {other:?}"),
    }
}

#[test]
fn a_poll_tells_of_the_first_byte_and_a_single_receive_takes_it() {
    let Some(mut rig) = rig(small()) else { return };
    let (token, mut client) = rig.meet();
    rig.submit(Op::Poll { token });
    assert_eq!(rig.glance(), None);
    write_all(&mut client, b"hello");
    assert_eq!(rig.await_one(), Completion::Readable { token });
    rig.receive(token, Mode::Once);
    let completion = rig.await_one();
    assert_eq!(rig.arrival(completion), (token, b"hello".to_vec(), false));
    write_all(&mut client, b"again");
    assert_eq!(rig.glance(), None, "a single receive is over after its chunk");
    rig.submit(Op::Poll { token });
    assert_eq!(rig.await_one(), Completion::Readable { token });
}

#[test]
fn large_input_comes_in_order_in_chunks_of_the_pool_asked_for() {
    let Some(mut rig) = rig(small()) else { return };
    let (token, mut client) = rig.meet();
    let sent: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    let copy = sent.clone();
    let writer = std::thread::spawn(move || {
        write_all(&mut client, &copy);
        client
    });
    let mut got = Vec::new();
    let mut longest = 0;
    let arm = |rig: &mut Rig| rig.submit(Op::Receive { token, pool: Pool::Streams, mode: Mode::Multishot });
    arm(&mut rig);
    while got.len() < sent.len() {
        match rig.await_one() {
            Completion::Ended { why: End::Starved | End::Lapsed, .. } => arm(&mut rig),
            completion => {
                let (_, bytes, more) = rig.arrival(completion);
                longest = longest.max(bytes.len());
                got.extend(bytes);
                if !more {
                    arm(&mut rig);
                }
            }
        }
    }
    assert_eq!(got, sent);
    assert!(longest > 2048 && longest <= 16 * 1024, "chunks of the large pool, not {longest}");
    drop(writer.join().unwrap());
}

#[test]
fn an_empty_pool_starves_a_link_until_chunks_come_back() {
    let Some(mut rig) = rig(Config { links: PoolSize { count: 4, size: 256 }, ..small() }) else { return };
    let (token, mut client) = rig.meet();
    rig.receive(token, Mode::Multishot);
    write_all(&mut client, &[7; 4 * 256 + 10]);
    let mut held = Vec::new();
    let ended = loop {
        match rig.await_one() {
            Completion::Received { chunk, .. } => held.push(chunk),
            other => break other,
        }
    };
    assert_eq!(ended, Completion::Ended { token, armed: Armed::Receive, why: End::Starved });
    assert_eq!((held.len(), rig.driver.chunks_out(), rig.driver.counters().starved), (4, 4, 1));
    for chunk in held {
        assert_eq!(rig.driver.bytes(&chunk), [7; 256]);
        rig.driver.recycle(chunk);
    }
    rig.receive(token, Mode::Multishot);
    let completion = rig.await_one();
    assert_eq!(rig.arrival(completion), (token, vec![7; 10], true));
}

#[test]
fn a_full_table_turns_accepts_away_and_recovers() {
    let Some(mut rig) = rig(Config { slots: 4, ..small() }) else { return };
    let mut links: Vec<(Token, TcpStream)> = (0..4).map(|_| rig.meet()).collect();
    rig.park();
    let mut turned_away = TcpStream::connect(rig.address).unwrap();
    let refused = Completion::AcceptFailed { listener: Listener(0), errno: Errno(23) };
    assert_eq!(rig.await_one(), refused, "ENFILE");
    assert_eq!(turned_away.read(&mut [0; 1]).unwrap_or(0), 0, "the kernel has hung up");
    let (token, _client) = links.remove(2);
    rig.close(token);
    let (next, mut client) = rig.meet();
    assert_eq!(next.slot, token.slot);
    assert_ne!(next.generation, token.generation);
    rig.send_all(next, b"room again");
    assert_eq!(read_exactly(&mut client, 10), b"room again");
}

#[test]
fn a_dead_token_reaches_nobody() {
    let Some(mut rig) = rig(Config { slots: 1, ..small() }) else { return };
    let (old, _gone) = rig.meet();
    rig.close(old);
    let (new, mut client) = rig.meet();
    assert_eq!(old.slot, new.slot);
    let broken = Errno(9);
    rig.send(old, b"for somebody else");
    let batch = Batch { bytes: b"for somebody else".to_vec(), sent: 0 };
    assert_eq!(rig.await_one(), Completion::Sent { token: old, batch, result: Sent::Broken(broken) });
    rig.receive(old, Mode::Once);
    let why = End::Broken(broken);
    assert_eq!(rig.await_one(), Completion::Ended { token: old, armed: Armed::Receive, why });
    rig.submit(Op::Poll { token: old });
    assert_eq!(rig.await_one(), Completion::Ended { token: old, armed: Armed::Poll, why });
    rig.receive(new, Mode::Once);
    rig.cancel(old, Armed::Receive);
    rig.close(old);
    write_all(&mut client, b"x");
    let completion = rig.await_one();
    assert_eq!(rig.arrival(completion), (new, b"x".to_vec(), false));
}

#[test]
fn cancelled_operations_end_in_their_own_completions() {
    let Some(mut rig) = rig(small()) else { return };
    let (token, mut client) = rig.meet();
    for (armed, op) in [
        (Armed::Poll, Op::Poll { token }),
        (Armed::Receive, Op::Receive { token, pool: Pool::Links, mode: Mode::Once }),
        (Armed::Receive, Op::Receive { token, pool: Pool::Links, mode: Mode::Multishot }),
        (Armed::Receive, Op::Receive { token, pool: Pool::Streams, mode: Mode::Multishot }),
    ] {
        rig.submit(op);
        assert_eq!(rig.glance(), None);
        rig.cancel(token, armed);
        assert_eq!(rig.await_one(), Completion::Ended { token, armed, why: End::Cancelled });
        assert_eq!(rig.glance(), None, "there is no completion for the cancel itself");
    }
    rig.cancel(token, Armed::Send);
    assert_eq!(rig.glance(), None, "cancelling what is not armed is nothing");
    rig.send_all(token, b"alive");
    assert_eq!(read_exactly(&mut client, 5), b"alive");
    rig.close(token);
}

#[test]
fn a_send_tells_of_each_part_that_is_taken_and_can_be_cancelled_when_none_is() {
    let options = ListenOptions { send_buffer: Some(16 * 1024), ..ListenOptions::default() };
    let Some(mut rig) = rig_with(small(), small_ring(), &options) else { return };
    let (token, mut client) = rig.meet();
    let bytes: Vec<u8> = (0..2_000_000_u32).map(|n| (n % 253) as u8).collect();
    let mut unsent = Some(Batch { bytes: bytes.clone(), sent: 0 });
    let (mut parts, mut sent) = (0, 0);
    while let Some(batch) = unsent.take() {
        rig.submit(Op::Send { token, batch });
        if let Some(completion) = rig.glance() {
            let Completion::Sent { batch, result: Sent::Bytes(part), .. } = completion else {
                panic!("not a send")
            };
            assert_eq!(batch.sent, sent + part);
            (parts, sent, unsent) = (parts + 1, batch.sent, Some(batch));
        }
    }
    assert!(parts > 0 && sent < bytes.len(), "the peer does not read, so the send waits: {sent} went out");
    rig.cancel(token, Armed::Send);
    let Completion::Sent { batch, result: Sent::Cancelled, .. } = rig.await_one() else {
        panic!("not cancelled")
    };
    assert_eq!(batch.sent, sent);
    let reader = std::thread::spawn(move || {
        let got = read_exactly(&mut client, 2_000_000);
        (client, got)
    });
    let mut unsent = batch;
    while !unsent.rest().is_empty() {
        rig.submit(Op::Send { token, batch: unsent });
        let Completion::Sent { batch, result: Sent::Bytes(_), .. } = rig.await_one() else {
            panic!("not a send")
        };
        unsent = batch;
    }
    let (_client, got) = reader.join().unwrap();
    assert!(got == bytes, "in order, nothing twice");
}

#[test]
fn a_closed_socket_whose_peer_reads_nothing_is_given_up_and_an_open_one_is_not() {
    let config = Config { close_timeout: Some(Duration::from_millis(700)), ..small() };
    let Some(mut rig) = rig_with(config, small_ring(), &ListenOptions::default()) else { return };
    let (token, mut client) = rig.meet();
    let port = client.local_addr().unwrap().port();
    rig.submit(Op::Send { token, batch: Batch { bytes: vec![7; 16_000_000], sent: 0 } });
    // More than twice the timeout: a peer that does not read is no reason to end what is open.
    for _ in 0..50 {
        if let Some(completion) = rig.glance() {
            let Completion::Sent { batch, result: Sent::Bytes(_), .. } = completion else {
                panic!("it has ended")
            };
            rig.submit(Op::Send { token, batch });
        }
    }
    assert!(is_known(port));
    let mut first = [0; 1];
    client.read_exact(&mut first).unwrap();
    rig.cancel(token, Armed::Send);
    let Completion::Sent { .. } = rig.await_one() else { panic!("not a send") };
    rig.close(token);
    assert!(is_known(port), "what is unsent is still to be delivered");
    // Without the timeout that takes minutes.
    let given_up = (0..300).any(|_| {
        rig.driver.wait(1, Some(Duration::from_millis(100))).unwrap();
        !is_known(port)
    });
    assert!(given_up);
}

/// Whether the kernel still has the accepted end of the connection with this port at the other end.
fn is_known(port: u16) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let remote = format!(":{port:04X}");
    table.lines().filter_map(|line| line.split_whitespace().nth(2)).any(|other| other.ends_with(&remote))
}

#[test]
fn an_accept_that_is_taken_back_takes_no_connection() {
    let Some(mut rig) = rig(small()) else { return };
    rig.submit(Op::Unpark { listener: Listener(0) });
    assert_eq!(rig.glance(), None, "there is none");
    rig.park();
    rig.park();
    rig.submit(Op::Unpark { listener: Listener(0) });
    let taken_back = Completion::AcceptFailed { listener: Listener(0), errno: Errno::CANCELLED };
    assert_eq!(rig.await_one(), taken_back);
    let _clients = [(); 2].map(|()| TcpStream::connect(rig.address).unwrap());
    let Completion::Accepted { .. } = rig.await_one() else { panic!("not an accept") };
    assert_eq!((rig.glance(), rig.driver.parked()), (None, 0), "the second one waits for another accept");
}

#[test]
fn rings_with_one_listening_socket_take_connections_in_the_order_of_their_accepts() {
    let Some(first) = rig(small()) else { return };
    let shared = first.driver.listeners()[0].try_clone().unwrap();
    let config = Config { listeners: vec![shared], ..small() };
    let driver = ring(config, Doorbells::new(1), 0).expect("the first one was built");
    let address = first.address;
    let mut rigs = [first, Rig { driver, address }];
    for at in [0, 1, 0] {
        rigs[at].park();
        assert_eq!(rigs[at].glance(), None);
    }
    let _clients = [(); 4].map(|()| TcpStream::connect(address).unwrap());
    for at in [0, 0, 1] {
        let Completion::Accepted { .. } = rigs[at].await_one() else { panic!("not an accept") };
    }
    assert!(rigs.iter_mut().all(|rig| rig.glance().is_none()), "no accept is left for the last one");
    rigs[1].park();
    let Completion::Accepted { .. } = rigs[1].await_one() else { panic!("not an accept") };
}

#[test]
fn a_peer_that_resets_breaks_what_is_armed() {
    let Some(mut rig) = rig(small()) else { return };
    let (token, client) = rig.meet();
    rig.receive(token, Mode::Multishot);
    assert_eq!(rig.glance(), None);
    rig.send(token, b"unread bytes make a close a reset");
    let Completion::Sent { .. } = rig.await_one() else { panic!("not a send") };
    drop(client);
    let broken = End::Broken(Errno(104));
    assert_eq!(
        rig.await_one(),
        Completion::Ended { token, armed: Armed::Receive, why: broken },
        "ECONNRESET"
    );
    rig.send(token, b"too late");
    let Completion::Sent { batch, result: Sent::Broken(_), .. } = rig.await_one() else {
        panic!("not broken")
    };
    assert_eq!((batch.sent, &batch.bytes[..]), (0, &b"too late"[..]));
    rig.close(token);
}

#[test]
fn a_close_with_something_armed_cancels_it_first() {
    let Some(mut rig) = rig(small()) else { return };
    let (token, mut client) = rig.meet();
    rig.receive(token, Mode::Multishot);
    assert_eq!(rig.glance(), None);
    rig.submit(Op::Close { token });
    assert_eq!(rig.await_one(), Completion::Ended { token, armed: Armed::Receive, why: End::Cancelled });
    assert_eq!(rig.await_one(), Completion::Closed { token });
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn a_tiny_completion_queue_overflows_without_loss() {
    let tiny = RingConfig { submissions: 8, completions: 8, ..small_ring() };
    let Some(mut rig) = rig_over(Config { slots: 64, ..small() }, tiny) else { return };
    let mut clients: HashMap<Token, TcpStream> = (0..40).map(|_| rig.meet()).collect();
    for &token in clients.keys() {
        rig.receive(token, Mode::Multishot);
        rig.driver.wait(0, None).unwrap();
    }
    for (token, client) in &mut clients {
        write_all(client, &token.slot.to_be_bytes());
    }
    let mut got: HashMap<Token, Vec<u8>> = HashMap::new();
    while got.len() < 40 {
        let completion = rig.await_one();
        let (token, bytes, more) = rig.arrival(completion);
        assert_eq!(bytes, token.slot.to_be_bytes());
        assert!(got.insert(token, bytes).is_none(), "each once");
        if !more {
            rig.receive(token, Mode::Multishot);
        }
    }
    assert!(rig.driver.counters().overflows > 0, "40 completions do not fit in 8 places");
    let (token, client) = clients.iter_mut().next().unwrap();
    write_all(client, b"still armed");
    let completion = rig.await_one();
    assert_eq!(rig.arrival(completion).0, *token);
}

#[test]
fn dropping_a_busy_ring_hangs_up_on_everybody() {
    let Some(mut rig) = rig(small()) else { return };
    let mut clients = Vec::new();
    for _ in 0..10 {
        let (token, client) = rig.meet();
        rig.receive(token, Mode::Multishot);
        rig.park();
        clients.push(client);
    }
    rig.driver.wait(0, None).unwrap();
    let Rig { driver, .. } = rig;
    drop(driver);
    for mut client in clients {
        assert_eq!(client.read(&mut [0; 1]).unwrap_or(0), 0);
    }
}
