//! What a well-behaved kernel rarely says: completions made by hand, fed into a real ring's driver.

use std::io::Write;
use std::net::TcpStream;

use io_uring::cqueue;

use super::ring::Event;
use super::slots::flag;
use super::tag::{Kind, pack, pack_index};
use super::*;
use crate::ops::{Batch, End, Endpoint, Errno, Mode, Peer, Sent};
use crate::{Config, ListenOptions, PoolSize, listen, local_address};

fn ring() -> Option<Uring> {
    if let Err(blocked) = crate::probe() {
        eprintln!("NOT RUN: {blocked}");
        return None;
    }
    let options = ListenOptions::default();
    let listener = listen(&Endpoint::Tcp("127.0.0.1:0".parse().unwrap()), &options).unwrap();
    let size = PoolSize { count: 4, size: 256 };
    let config =
        Config { listeners: vec![listener], slots: 8, links: size, streams: size, ..Config::default() };
    let measures = RingConfig { submissions: 16, completions: 32, ..RingConfig::default() };
    Some(Uring::with_ring(config, measures, Doorbells::new(2), 0).unwrap())
}

fn await_one(uring: &mut Uring) -> Completion {
    for _ in 0..100 {
        match uring.next() {
            Some(Completion::Rung) => {}
            Some(completion) => return completion,
            None => uring.wait(1, Some(Duration::from_millis(100))).unwrap(),
        }
    }
    panic!("nothing completed for ten seconds");
}

fn meet(uring: &mut Uring) -> (Token, TcpStream) {
    uring.submit(Op::Park { listener: Listener(0) }).unwrap();
    let address = local_address(&uring.listeners()[0]).unwrap().unwrap();
    let client = TcpStream::connect(address).unwrap();
    let Completion::Accepted { token, .. } = await_one(uring) else { panic!("not an accept") };
    (token, client)
}

/// Feeds an event the kernel did not send.
fn feed(uring: &mut Uring, user_data: u64, result: i32, flags: u32) -> Option<Completion> {
    uring.in_flight += 1;
    let before = uring.in_flight;
    let completion = uring.complete(Event { user_data, result, flags });
    // Keeps the count right for kinds that are not owed, and for shots of a multishot.
    if uring.in_flight == before {
        uring.in_flight -= 1;
    }
    completion
}

/// `IORING_CQE_F_BUFFER` and a buffer's id.
fn with_buffer(id: u16) -> u32 {
    let flags = 1 | u32::from(id) << 16;
    assert_eq!(cqueue::buffer_select(flags), Some(id));
    flags
}

#[test]
fn a_late_arrival_for_a_former_tenant_is_dropped_and_its_buffer_comes_back() {
    let Some(mut uring) = ring() else { return };
    let (old, _gone) = meet(&mut uring);
    uring.submit(Op::Close { token: old }).unwrap();
    assert_eq!(await_one(&mut uring), Completion::Closed { token: old });
    let (new, _client) = meet(&mut uring);
    assert_eq!(new, Token { slot: old.slot, generation: old.generation + 1 });
    for (stale, (kind, flags)) in [
        (Kind::ReceiveLinks, with_buffer(1)),
        (Kind::ReceiveStreams, with_buffer(2)),
        (Kind::ReceiveLinks, with_buffer(1) | 2),
        (Kind::Poll, 0),
        (Kind::Send, 0),
        (Kind::Close, 0),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(feed(&mut uring, pack(old, kind), 100, flags), None);
        assert_eq!(uring.counters().stale, stale as u64 + 1);
        assert_eq!(uring.chunks_out(), 0);
    }
    assert!(uring.lent.slots.is_current(new));
    assert_eq!(feed(&mut uring, 0xFF, 0, 0), None, "a kind nobody has sent");
}

#[test]
fn the_end_of_a_stream_gives_its_buffer_back() {
    let Some(mut uring) = ring() else { return };
    let token = uring.lent.slots.open(3);
    uring.lent.slots.set(token, flag::RECEIVE);
    let ended = feed(&mut uring, pack(token, Kind::ReceiveLinks), 0, with_buffer(0));
    assert_eq!(ended, Some(Completion::Ended { token, armed: Armed::Receive, why: End::Eof }));
    assert_eq!((uring.chunks_out(), uring.lent.slots.which(token, flag::ARMED)), (0, 0));
}

#[test]
fn each_error_of_a_receive_has_its_meaning() {
    let Some(mut uring) = ring() else { return };
    let token = uring.lent.slots.open(3);
    for (errno, why) in [
        (libc::ENOBUFS, End::Starved),
        (libc::ECANCELED, End::Cancelled),
        (libc::EOVERFLOW, End::Lapsed),
        (libc::EINTR, End::Lapsed),
        (libc::EAGAIN, End::Lapsed),
        (libc::ECONNRESET, End::Broken(Errno(libc::ECONNRESET))),
        (libc::ETIMEDOUT, End::Broken(Errno(libc::ETIMEDOUT))),
    ] {
        uring.lent.slots.set(token, flag::RECEIVE);
        let ended = feed(&mut uring, pack(token, Kind::ReceiveStreams), -errno, 0);
        assert_eq!(ended, Some(Completion::Ended { token, armed: Armed::Receive, why }));
        assert!(!uring.lent.slots.any(token, flag::ARMED));
    }
    assert_eq!(uring.counters().starved, 1);
}

#[test]
fn each_result_of_a_send_has_its_meaning_and_brings_the_batch_back() {
    let Some(mut uring) = ring() else { return };
    let token = uring.lent.slots.open(3);
    for (result, meaning, sent) in [
        (3, Sent::Bytes(3), 4),
        (-libc::ECANCELED, Sent::Cancelled, 1),
        (-libc::EINTR, Sent::Again, 1),
        (-libc::EAGAIN, Sent::Again, 1),
        (-libc::EPIPE, Sent::Broken(Errno(libc::EPIPE)), 1),
    ] {
        uring.lent.slots.keep_batch(token, Batch { bytes: b"0123456".to_vec(), sent: 1 });
        let batch = Batch { bytes: b"0123456".to_vec(), sent };
        let told = feed(&mut uring, pack(token, Kind::Send), result, 0);
        assert_eq!(told, Some(Completion::Sent { token, batch, result: meaning }));
    }
}

#[test]
fn a_slot_given_away_before_its_close_was_heard_of_is_closed_first() {
    let Some(mut uring) = ring() else { return };
    assert_eq!(uring.next(), Some(Completion::Rung));
    let old = uring.lent.slots.open(5);
    uring.lent.slots.set(old, flag::CLOSING | flag::CLOSE_SENT);
    let listener = Listener(0);
    let place = uring.lent.parks.insert(Park { listener, peer: PeerRoom::EMPTY });
    let first = feed(&mut uring, pack_index(place, Kind::Accept), 5, 0);
    assert_eq!(first, Some(Completion::Closed { token: old }));
    let token = Token { slot: 5, generation: old.generation + 1 };
    assert_eq!(uring.next(), Some(Completion::Accepted { listener, token, peer: Peer::Unix }));
    assert_eq!(feed(&mut uring, pack(old, Kind::Close), 0, 0), None, "told already");
    assert!(uring.lent.slots.is_current(token));
}

#[test]
fn a_cancel_that_found_nothing_is_followed_by_one_that_finds_it() {
    let Some(mut uring) = ring() else { return };
    let (token, mut client) = meet(&mut uring);
    uring.submit(Op::Receive { token, pool: Pool::Links, mode: Mode::Multishot }).unwrap();
    uring.wait(0, None).unwrap();
    assert_eq!(feed(&mut uring, pack(token, Kind::CancelReceive), -libc::ENOENT, 0), None);
    let why = End::Cancelled;
    assert_eq!(await_one(&mut uring), Completion::Ended { token, armed: Armed::Receive, why });
    // With a send in flight, which must not be hit, the exact token is tried again.
    uring.submit(Op::Receive { token, pool: Pool::Links, mode: Mode::Multishot }).unwrap();
    let mut unsent = Some(Batch { bytes: vec![1; 4_000_000], sent: 0 });
    while let Some(batch) = unsent.take() {
        uring.submit(Op::Send { token, batch }).unwrap();
        uring.wait(1, Some(Duration::from_millis(30))).unwrap();
        if let Some(Completion::Sent { batch, .. }) = uring.next() {
            unsent = Some(batch);
        }
    }
    assert_eq!(feed(&mut uring, pack(token, Kind::CancelReceive), -libc::EALREADY, 0), None);
    assert_eq!(await_one(&mut uring), Completion::Ended { token, armed: Armed::Receive, why });
    assert!(uring.lent.slots.any(token, flag::SEND));
    // Nothing is armed any more: a late answer means nothing.
    assert_eq!(feed(&mut uring, pack(token, Kind::CancelReceive), -libc::ENOENT, 0), None);
    assert!(uring.owed.is_empty());
    client.write_all(b"x").unwrap();
}

#[test]
fn a_ring_that_did_not_fit_is_rung_again_a_moment_later() {
    let Some(mut uring) = ring() else { return };
    for (errno, again) in
        [(libc::EOVERFLOW, true), (libc::EAGAIN, true), (libc::EBADF, false), (libc::EBADFD, false)]
    {
        uring.owed.clear();
        uring.pressed = Pressed::default();
        for _ in 0..2 {
            assert_eq!(feed(&mut uring, pack_index(1, Kind::Ring), -errno, 0), None);
        }
        assert_eq!(uring.pressed.rings, if again { vec![1] } else { vec![] }, "once");
        assert_eq!(uring.owed.iter().filter(|owed| matches!(owed, Owed::Pause)).count(), usize::from(again));
    }
}

#[test]
fn what_the_kernel_has_no_memory_for_is_told_a_moment_later() {
    let Some(mut uring) = ring() else { return };
    assert_eq!(uring.next(), Some(Completion::Rung));
    let (one, two) = (uring.lent.slots.open(3), uring.lent.slots.open(4));
    uring.lent.slots.keep_batch(one, Batch { bytes: b"0123".to_vec(), sent: 1 });
    assert_eq!(feed(&mut uring, pack(one, Kind::Send), -libc::ENOBUFS, 0), None, "not at once");
    uring.lent.slots.set(one, flag::POLL);
    assert_eq!(feed(&mut uring, pack(one, Kind::Poll), -libc::ENOMEM, 0), None);
    uring.lent.slots.set(two, flag::RECEIVE);
    assert_eq!(feed(&mut uring, pack(two, Kind::ReceiveLinks), -libc::ENOMEM, 0), None);
    uring.wait(0, None).unwrap();
    assert_eq!(uring.next(), None, "a worker that waits for it sleeps");
    let batch = Batch { bytes: b"0123".to_vec(), sent: 1 };
    assert_eq!(await_one(&mut uring), Completion::Sent { token: one, batch, result: Sent::Again });
    let why = End::Lapsed;
    assert_eq!(uring.next(), Some(Completion::Ended { token: one, armed: Armed::Poll, why }));
    assert_eq!(uring.next(), Some(Completion::Ended { token: two, armed: Armed::Receive, why }));
    assert_eq!((uring.next(), uring.counters().pressed), (None, 3));
}
