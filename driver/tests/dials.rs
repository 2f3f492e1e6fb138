//! Connecting out: TCP over both families, Unix sockets, refusals, and what a failure leaves behind (nothing).
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a panic")]

mod rig;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use driver::{
    Completion, Config, Doorbells, Endpoint, Errno, Mode, Op, Pool, RingConfig, Token, Trust, Uring,
};
use rig::{Rig, ring_of, small, small_ring};

fn dialer(config: Config) -> Option<Rig> {
    dialer_over(config, small_ring())
}

fn dialer_over(config: Config, measures: RingConfig) -> Option<Rig> {
    let driver = ring_of(config, measures, Doorbells::new(1), 0)?;
    Some(Rig { driver, address: SocketAddr::from(([127, 0, 0, 1], 0)) })
}

fn dial(rig: &mut Rig<Uring>, tag: u32, to: Endpoint) -> Result<Token, Errno> {
    rig.submit(Op::Connect { tag, from: None, to: Box::new(to), trust: Trust::Anybody });
    match rig.await_one() {
        Completion::Connected { tag: same, result } if same == tag => result,
        other => panic!("not this connect: {other:?}"),
    }
}

#[test]
fn a_tcp_stream_connects_over_both_families_and_carries_both_ways() {
    let Some(mut rig) = dialer(small()) else { return };
    let mut peers = Vec::new();
    for (tag, bind) in [(7, "127.0.0.1:0"), (8, "[::1]:0")] {
        let Ok(listener) = TcpListener::bind(bind) else {
            eprintln!("NOT RUN: no {bind} here");
            continue;
        };
        let token = dial(&mut rig, tag, Endpoint::Tcp(listener.local_addr().unwrap())).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        rig.send_all(token, b"ping");
        let mut got = [0; 4];
        peer.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"ping");
        rig.submit(Op::Receive { token, pool: Pool::Streams, mode: Mode::Multishot });
        peer.write_all(b"pong").unwrap();
        let completion = rig.await_one();
        assert_eq!(rig.arrival(completion), (token, b"pong".to_vec(), true));
        peers.push(peer);
    }
}

#[test]
fn a_unix_stream_connects_by_path_and_a_missing_path_is_an_error() {
    let Some(mut rig) = dialer(small()) else { return };
    let path = std::env::temp_dir().join(format!("driver-dial-{}", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    let token = dial(&mut rig, 1, Endpoint::Unix(path.clone())).unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    rig.send_all(token, b"ping");
    let mut got = [0; 4];
    peer.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"ping");
    rig.close(token);
    drop(listener);
    assert_eq!(dial(&mut rig, 2, Endpoint::Unix(path.clone())), Err(Errno(111)), "ECONNREFUSED");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(dial(&mut rig, 3, Endpoint::Unix(path)), Err(Errno(2)), "ENOENT");
    assert_eq!(dial(&mut rig, 4, Endpoint::Unix("x".repeat(200).into())), Err(Errno(22)), "EINVAL");
}

/// Listens as a user of its own. Users belong to threads here: the C library, which keeps all of them alike, is not asked.
fn listen_as(user: u32, path: &std::path::Path) -> UnixListener {
    std::thread::scope(|scope| {
        let listening = scope.spawn(|| {
            // SAFETY: the system call takes no memory; it changes the user of this thread, which ends right after.
            let done = unsafe { libc::syscall(libc::SYS_setresuid, user, user, user) };
            assert_eq!(done, 0, "root may be anybody");
            UnixListener::bind(path).unwrap()
        });
        listening.join().unwrap()
    })
}

#[test]
fn a_unix_socket_of_another_user_is_not_trusted_where_it_must_be_the_own_one() {
    let Some(mut rig) = dialer(Config { slots: 2, ..small() }) else { return };
    let path = std::env::temp_dir().join(format!("driver-trust-{}", std::process::id()));
    let own = UnixListener::bind(&path).unwrap();
    let trusting = |rig: &mut Rig<Uring>, trust| {
        rig.submit(Op::Connect { tag: 3, from: None, to: Box::new(Endpoint::Unix(path.clone())), trust });
        match rig.await_one() {
            Completion::Connected { tag: 3, result } => result,
            other => panic!("not this connect: {other:?}"),
        }
    };
    // More often than there are slots: none stays behind, and the socket carries both ways.
    for _ in 0..5 {
        let token = trusting(&mut rig, Trust::OwnUser).unwrap();
        let (mut peer, _) = own.accept().unwrap();
        carries_both_ways(&mut rig, token, &mut peer);
        // Nothing but the slot holds the socket: its end reaches the peer.
        drop(peer);
        assert!(matches!(rig.await_one(), Completion::Ended { .. }));
        rig.close(token);
    }
    let both = [0; 2].map(|_| trusting(&mut rig, Trust::OwnUser).unwrap());
    assert_eq!(trusting(&mut rig, Trust::OwnUser), Err(Errno(libc::ENFILE)), "both slots are taken");
    for token in both {
        rig.close(token);
    }
    drop(own);
    assert_eq!(trusting(&mut rig, Trust::OwnUser), Err(Errno(libc::ECONNREFUSED)));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(trusting(&mut rig, Trust::OwnUser), Err(Errno(libc::ENOENT)));
    // SAFETY: geteuid takes no memory.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("NOT RUN: another user's socket; only root can be somebody else");
        return;
    }
    let stranger = listen_as(65_534, &path);
    assert_eq!(trusting(&mut rig, Trust::OwnUser), Err(Errno(libc::EPERM)));
    let token = trusting(&mut rig, Trust::Anybody).unwrap();
    rig.close(token);
    drop(stranger);
    std::fs::remove_file(&path).unwrap();
}

/// What either end of a connection says reaches the other one.
fn carries_both_ways(rig: &mut Rig<Uring>, token: Token, peer: &mut (impl Read + Write)) {
    rig.submit(Op::Receive { token, pool: Pool::Streams, mode: Mode::Multishot });
    peer.write_all(b"pong").unwrap();
    let completion = rig.await_one();
    assert_eq!(rig.arrival(completion), (token, b"pong".to_vec(), true));
    rig.send_all(token, b"ping");
    let mut got = [0; 4];
    peer.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"ping");
}

#[test]
fn a_connect_comes_from_the_address_it_was_given_and_carries_both_ways() {
    let Some(mut rig) = dialer(Config { slots: 2, ..small() }) else { return };
    let from_to = |rig: &mut Rig<Uring>, from: &str, to: SocketAddr| {
        let from = Some(from.parse().unwrap());
        rig.submit(Op::Connect { tag: 4, from, to: Box::new(Endpoint::Tcp(to)), trust: Trust::Anybody });
        match rig.await_one() {
            Completion::Connected { tag: 4, result } => result,
            other => panic!("not this connect: {other:?}"),
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // More often than there are slots: none stays behind, and no descriptor of this process holds the socket either.
    for n in 1..=5 {
        let source = format!("127.1.0.{n}");
        let token = from_to(&mut rig, &source, address).unwrap();
        let (mut peer, seen) = listener.accept().unwrap();
        assert_eq!(seen.ip().to_string(), source);
        carries_both_ways(&mut rig, token, &mut peer);
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(matches!(rig.await_one(), Completion::Ended { .. }));
        rig.close(token);
        assert_eq!(peer.read(&mut [0]).unwrap(), 0, "the close of the slot is the socket's end");
    }
    let [kept, _also] = [0; 2].map(|_| from_to(&mut rig, "127.1.0.9", address).unwrap());
    let full = from_to(&mut rig, "127.1.0.9", address).unwrap_err();
    assert_eq!((full, full.is_shortage()), (Errno(libc::ENFILE), true), "both slots are taken");
    rig.close(kept);
    drop(listener);
    for _ in 0..5 {
        let refused = from_to(&mut rig, "127.1.0.9", address).unwrap_err();
        assert_eq!((refused, refused.is_shortage()), (Errno(libc::ECONNREFUSED), false));
    }
    // 192.0.2.0/24 is for documents (RFC 5737): no machine has it.
    let foreign = from_to(&mut rig, "192.0.2.1", address).unwrap_err();
    assert_eq!((foreign, foreign.is_shortage()), (Errno(libc::EADDRNOTAVAIL), true));
    assert_eq!(from_to(&mut rig, "::1", address), Err(Errno(libc::EAFNOSUPPORT)));
    let (from, unix) = (Some(address.ip()), Endpoint::Unix("/nowhere".into()));
    rig.submit(Op::Connect { tag: 5, from, to: Box::new(unix), trust: Trust::Anybody });
    assert_eq!(rig.await_one(), Completion::Connected { tag: 5, result: Err(Errno(libc::EINVAL)) });
}

#[test]
fn a_connect_from_an_address_ends_at_its_time_limit_too() {
    let limit = Some(Duration::from_millis(50));
    let Some(mut rig) = dialer(Config { connect_timeout: limit, ..small() }) else { return };
    let options = driver::ListenOptions { backlog: 0, ..driver::ListenOptions::default() };
    let listener = driver::listen(&Endpoint::Tcp("127.0.0.1:0".parse().unwrap()), &options).unwrap();
    let address = driver::local_address(&listener).unwrap().unwrap();
    let mut last = None;
    for n in 1..5 {
        let from = Some(std::net::IpAddr::from([127, 1, 0, n]));
        rig.submit(Op::Connect { tag: 1, from, to: Box::new(Endpoint::Tcp(address)), trust: Trust::Anybody });
        last = Some(rig.await_one());
    }
    assert_eq!(last, Some(Completion::Connected { tag: 1, result: Err(Errno(libc::ETIMEDOUT)) }));
}

#[test]
fn a_refused_connect_leaves_no_slot_behind() {
    let Some(mut rig) = dialer(Config { slots: 2, ..small() }) else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let kept = dial(&mut rig, 0, Endpoint::Tcp(address)).unwrap();
    drop(listener);
    for tag in 1..20 {
        assert_eq!(dial(&mut rig, tag, Endpoint::Tcp(address)), Err(Errno(111)), "ECONNREFUSED");
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let second = dial(&mut rig, 20, Endpoint::Tcp(address)).unwrap();
    assert_ne!(second.slot, kept.slot);
    assert_eq!(dial(&mut rig, 21, Endpoint::Tcp(address)), Err(Errno(23)), "ENFILE: the table is full");
    rig.close(kept);
    assert!(dial(&mut rig, 22, Endpoint::Tcp(address)).is_ok());
}

#[test]
fn a_connect_nobody_answers_ends_at_its_time_limit() {
    let limit = Some(Duration::from_millis(50));
    let Some(mut rig) = dialer(Config { connect_timeout: limit, ..small() }) else { return };
    // A listener with a full backlog answers no further SYN; how many fit is the kernel's affair.
    let options = driver::ListenOptions { backlog: 0, ..driver::ListenOptions::default() };
    let listener = driver::listen(&Endpoint::Tcp("127.0.0.1:0".parse().unwrap()), &options).unwrap();
    let address = driver::local_address(&listener).unwrap().unwrap();
    let mut results = Vec::new();
    for tag in 0..4 {
        results.push(dial(&mut rig, tag, Endpoint::Tcp(address)).err());
    }
    assert_eq!(results.last(), Some(&Some(Errno(110))), "ETIMEDOUT, after {results:?}");
}

#[test]
fn many_connects_at_once_each_come_back_with_their_tag() {
    let measures = RingConfig { submissions: 32, completions: 64, ..small_ring() };
    let Some(mut rig) = dialer_over(Config { slots: 300, ..small() }, measures) else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Somebody accepts meanwhile, for the listener's backlog is shorter.
    let accepting =
        std::thread::spawn(move || (0..100).map(|_| listener.accept().unwrap().0).collect::<Vec<_>>());
    let mut left: std::collections::BTreeSet<u32> = (0..100).collect();
    for &tag in &left {
        rig.submit(Op::Connect {
            tag,
            from: None,
            to: Box::new(Endpoint::Tcp(address)),
            trust: Trust::Anybody,
        });
    }
    let mut tokens = std::collections::BTreeSet::new();
    while !left.is_empty() {
        let Completion::Connected { tag, result } = rig.await_one() else { panic!("not a connect") };
        assert!(left.remove(&tag), "each tag once");
        assert!(tokens.insert(result.unwrap()), "each socket once");
    }
    accepting.join().unwrap();
}
