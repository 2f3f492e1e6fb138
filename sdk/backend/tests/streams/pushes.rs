//! The routes `push` and `outcomes` of the reference service, as docs/PUSHES.md has them.

use backend::protocol::Undelivered;
use backend::protocol::stream::Mode;
use backend::protocol::wire::stream::{PushOutcome, Report};
use backend::reference::{self, pushes};

use crate::peer::{Peer, Said, answer, start};

const RUN: [u8; 16] = [5; 16];
const STAMP: [u8; 8] = [6; 8];

/// A request for pushes.
fn ask(class: u8, first: u64, count: u32, size: u32) -> Vec<u8> {
    [&RUN[..], &[class], &first.to_be_bytes(), &count.to_be_bytes(), &size.to_be_bytes(), &STAMP].concat()
}

/// What `outcomes` answers: the counters, and the pushes that were not delivered by reason.
fn told(counters: [u64; 5], reasons: &[(Undelivered, u64)]) -> Vec<u8> {
    let mut told = counters.map(u64::to_be_bytes).concat();
    for (reason, count) in reasons {
        told.extend_from_slice(&reason.number().to_be_bytes());
        told.extend_from_slice(&count.to_be_bytes());
    }
    told
}

/// Asks for outcomes until they are these: they are counted by tasks of their own.
async fn hear_outcomes(peer: &mut Peer, first_call: u64, expected: &[u8]) {
    for call in first_call.. {
        peer.ask(call, "outcomes", &RUN);
        match peer.next().await {
            Some(Said::Response { status: 0, payload, .. }) if payload == expected => return,
            Some(Said::Response { status: 0, .. } | Said::ReportAck(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn whoever_asks_gets_pushes_of_class_0_with_run_number_and_stamp() {
    let server = start(reference::service());
    let mut peer = Peer::dial(&server.place, &Mode::Clear).await;
    peer.ask(1, "push", &ask(0, 40, 3, 50));
    let mut answered = 0;
    let mut numbers = Vec::new();
    while answered == 0 || numbers.len() < 3 {
        match peer.next().await {
            Some(Said::Push { user, id, number: 0, payload, .. }) => {
                assert_eq!((&user[..], payload.len(), &payload[..16]), (&b"ann"[..], 50, &RUN[..]));
                assert_eq!((&payload[24..32], &id[..8]), (&STAMP[..], &RUN[..8]));
                assert_ne!(payload[32..40], [0; 8], "the moment it was sent");
                assert_eq!(payload[16..24], id[8..]);
                numbers.push(u64::from_be_bytes(*payload[16..].first_chunk().unwrap()));
            }
            said if said == answer(1, pushes::HANDED, &[0, 0, 0, 3]) => answered += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(numbers, [40, 41, 42]);
    peer.ask(2, "outcomes", &RUN);
    assert_eq!(peer.next().await, answer(2, 0, &told([3, 0, 0, 0, 0], &[])));
}

#[tokio::test]
async fn each_push_of_class_1_is_open_until_its_outcome_is_known() {
    let server = start(reference::service());
    let mut peer = Peer::dial_with_slots(&server.place, 1, 10).await;
    peer.ask(1, "push", &ask(1, 0, 4, 40));
    let mut numbers = Vec::new();
    let mut answered = false;
    while !answered || numbers.len() < 4 {
        match peer.next().await {
            Some(Said::Delivery { number, user, payload, .. }) => {
                assert_eq!((&user[..], payload.len()), (&b"ann"[..], 40));
                numbers.push(number);
            }
            said => answered |= said == answer(1, pushes::HANDED, &[0, 0, 0, 4]),
        }
    }
    peer.ask(2, "outcomes", &RUN);
    assert_eq!(peer.next().await, answer(2, 0, &told([0, 4, 0, 0, 4], &[])));
    let report = |at: usize, outcome| {
        let reason = if outcome == PushOutcome::Undelivered { Undelivered::QueueFull.number() } else { 0 };
        Report {
            number: numbers[at],
            report: at as u64 + 1,
            devices: 1,
            outcome,
            reason,
            ..Report::default()
        }
    };
    for (at, outcome) in
        [PushOutcome::Delivered, PushOutcome::Undelivered, PushOutcome::Unknown].into_iter().enumerate()
    {
        peer.stream.report(&report(at, outcome));
    }
    hear_outcomes(&mut peer, 3, &told([0, 4, 1, 1, 1], &[(Undelivered::QueueFull, 1)])).await;
}

#[tokio::test]
async fn requests_of_one_user_are_not_mixed() {
    let server = start(reference::service());
    let mut peer = Peer::dial(&server.place, &Mode::Clear).await;
    for call in 0..20 {
        peer.ask(call + 1, "push", &ask(0, call * 5, 5, 64));
    }
    let mut numbers: Vec<u64> = Vec::new();
    while numbers.len() < 100 {
        if let Some(Said::Push { payload, .. }) = peer.next().await {
            numbers.push(u64::from_be_bytes(*payload[16..].first_chunk().unwrap()));
        }
    }
    assert!(numbers.iter().copied().eq(0..100), "{numbers:?}");
}

#[tokio::test]
async fn what_cannot_be_served_is_said_by_status() {
    let server = start(reference::service());
    let mut peer = Peer::dial(&server.place, &Mode::Clear).await;
    peer.ask(1, "push", &ask(2, 0, 1, 64));
    assert_eq!(peer.next().await, answer(1, pushes::MALFORMED, b""));
    peer.ask(2, "outcomes", &RUN);
    assert_eq!(peer.next().await, answer(2, pushes::NO_RUN, b""), "nothing has happened");
    peer.ask(3, "outcomes", b"short");
    assert_eq!(peer.next().await, answer(3, pushes::MALFORMED, b""));
    peer.ask(4, "push", &ask(1, 0, 1, 64));
    assert_eq!(peer.next().await, answer(4, pushes::NOT_SERVED, &[0; 4]), "this gateway has no slots");
    peer.ask(5, "push", &ask(0, 0, 2, 60_000));
    assert_eq!(peer.next().await, answer(5, pushes::NOT_SERVED, &[0; 4]), "and takes 8 KiB");
}
