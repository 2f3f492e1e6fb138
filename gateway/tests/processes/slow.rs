//! Clients that do not read what is sent to them: they are closed, and nobody else waits for them.

use std::time::Instant;

use backend::reference::{DELIVERED, OFFLINE};
use protocol::CloseCode;
use protocol::limits::LINGER_MAX;
use protocol::wire::frame::Outcome;

use crate::client::{Client, Heard};
use crate::stage::{Stage, now, wait_until};

/// Small buffers in the kernel, and small frames, since a queue must hold one.
const SMALL: &str = "listener = [{ name = 'clients', address = '127.0.0.1:0', send_buffer = '4KiB' }]\nlimits.frame_len_max = '4KiB'\n";
/// The bound of a queue that is in force at once, and the other one out of reach.
const HARD: &str =
    "limits.outbox_soft = '64KiB'\nlimits.outbox_soft_time = '1h'\nlimits.outbox_hard = '64KiB'\n";
/// The bound that is in force after a while, and the other one out of reach.
const SOFT: &str =
    "limits.outbox_soft = '8KiB'\nlimits.outbox_soft_time = '100ms'\nlimits.outbox_hard = '64MiB'\n";

#[test]
fn whoever_lets_more_pile_up_than_the_hard_bound_is_told_so() {
    slow_reader_is_told(HARD);
}

#[test]
fn whoever_stays_above_the_soft_bound_for_too_long_is_told_so() {
    slow_reader_is_told(SOFT);
}

fn slow_reader_is_told(limits: &str) {
    let Some(mut room) = Room::open(limits) else { return };
    let mut unread_since = now();
    wait_until("the slow reader is closed", || {
        if room.stage.target.closed(CloseCode::SlowReader) == 1 {
            return true;
        }
        unread_since = now();
        room.talk();
        false
    });
    let (messages, read, mut end) = room.slow_hears();
    // Whoever reads again only when the gateway has stopped waiting for that finds the socket cut off.
    let late = read - unread_since > LINGER_MAX / 2;
    if !(late && end == Heard::End) {
        assert_eq!(end, Heard::Close(CloseCode::SlowReader.number()));
        // It does not wait for ever for the end of this side, which does not come.
        end = room.slow.hear_one(|_| true);
    }
    assert_eq!(end, Heard::End);
    assert!(!messages.is_empty() && messages.is_sorted_by(|a, b| a + 1 == *b), "{messages:?}");
    room.assert_others_are_served();
    wait_until("its slot is free", || room.stage.target.metric("gateway_links") == OTHERS as u64);
}

#[test]
fn whoever_never_reads_is_let_go_all_the_same_and_may_come_back() {
    let Some(mut room) = Room::open(HARD) else { return };
    wait_until("the slow reader is gone", || {
        room.talk();
        room.stage.target.metric("gateway_links") == OTHERS as u64
    });
    assert_eq!(room.stage.target.metric("gateway_outbox_bytes"), 0);
    room.assert_others_are_served();
    let (messages, _, _) = room.slow_hears();
    assert!(!messages.is_empty() && messages.is_sorted_by(|a, b| a + 1 == *b), "{messages:?}");
    let mut again = Client::login(&room.stage.target, SLOW);
    assert_eq!(again.ask("echo", b"back"), Heard::Response(Outcome::Answered, 0, b"back".to_vec()));
}

#[test]
fn slow_readers_share_the_memory_of_their_worker() {
    let pool = "limits.outbox_soft = '1MiB'\nlimits.outbox_hard = '1MiB'\nlimits.outbox_pool = '1MiB'\n";
    let Some(stage) = Stage::set(&format!("{SMALL}limits.outbox_soft_time = '1h'\n{pool}")) else { return };
    // Of three links, two share one of the two workers.
    let names = [("slow1", 3500), ("slow2", 2900), ("slow3", 2400)];
    let _slow = names.map(|(name, _)| Client::login(&stage.target, name));
    let mut talker = Client::login(&stage.target, "talker");
    talker.wait_until_answered();
    let mut sent = 0;
    wait_until("one of them is closed", || {
        for (name, len) in names {
            let answer = talker.ask("chat", format!("{name}\n{:>len$}", "").as_bytes());
            assert!(
                matches!(answer, Heard::Response(Outcome::Answered, DELIVERED | OFFLINE, _)),
                "{answer:?}"
            );
        }
        sent += 3600;
        stage.target.closed(CloseCode::SlowReader) > 0
    });
    assert!(sent < 1024 * 1024, "no link alone reached the bound of a link, {sent}");
    assert_eq!(stage.target.closed(CloseCode::SlowReader), 1, "one was enough");
    talker.wait_until_answered();
}

#[test]
fn a_gateway_that_ends_does_not_wait_for_who_never_reads() {
    let patient = "limits.outbox_soft = '64MiB'\nlimits.outbox_hard = '64MiB'\n";
    let Some(mut room) = Room::open(patient) else { return };
    wait_until("its queue grows", || {
        room.talk();
        room.stage.target.metric("gateway_outbox_bytes") > 64 * 1024
    });
    room.stage.gateway.signal("TERM");
    for other in &mut room.others {
        assert_eq!(other.hear(2), [Heard::Close(CloseCode::GoingAway.number()), Heard::End]);
    }
    assert!(room.stage.gateway.ended().success());
    let (messages, _, _) = room.slow_hears();
    assert!(!messages.is_empty() && messages.is_sorted_by(|a, b| a + 1 == *b), "{messages:?}");
}

/// One who does not read and others who do.
struct Room {
    stage: Stage,
    slow: Client,
    others: Vec<Client>,
    /// Number of the next message to the slow one.
    next: u32,
}

impl Room {
    fn open(limits: &str) -> Option<Self> {
        let stage = Stage::set(&format!("{SMALL}{limits}"))?;
        let slow = Client::login(&stage.target, SLOW);
        let mut others: Vec<_> =
            (0..OTHERS).map(|index| Client::login(&stage.target, &format!("other{index}"))).collect();
        for other in &mut others {
            other.wait_until_answered();
        }
        Some(Self { stage, slow, others, next: 0 })
    }

    /// Everybody else talks to the slow one and to the backend, and everybody is answered.
    fn talk(&mut self) {
        for other in &mut self.others {
            let text = format!("{SLOW}\n{:08}{:>2000}", self.next, "");
            self.next += 1;
            let answer = other.ask("chat", text.as_bytes());
            let taken = matches!(answer, Heard::Response(Outcome::Answered, DELIVERED | OFFLINE, _));
            assert!(taken, "{answer:?}");
        }
        self.assert_others_are_served();
    }

    fn assert_others_are_served(&mut self) {
        for other in &mut self.others {
            assert_eq!(
                other.ask("echo", b"served"),
                Heard::Response(Outcome::Answered, 0, b"served".to_vec())
            );
        }
    }

    /// The numbers of the messages that reach the slow one when it reads at last, when it had read them, and what
    /// comes behind them.
    fn slow_hears(&mut self) -> (Vec<u32>, Instant, Heard) {
        let (mut messages, mut read) = (Vec::new(), now());
        loop {
            let heard = self.slow.hear_one(|_| true);
            let Heard::Push(payload) = heard else { return (messages, read, heard) };
            read = now();
            let text = std::str::from_utf8(&payload).expect("it was text");
            let (_from, text) = text.split_once('\n').expect("a name goes before it");
            messages.push(text[..8].parse().expect("a number goes first"));
        }
    }
}

const SLOW: &str = "slow";
const OTHERS: usize = 8;
