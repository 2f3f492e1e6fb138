//! Pushes that are delivered at least once: what reaches the application, and what the gateway is told of it.

use std::sync::Arc;
use std::time::Duration;

use client::{Config, RecentIds, SeenIds as _};
use protocol::wire::frame::{Frame, Push};
use tokio::time::Instant;

use crate::gateway::{
    Heard, Link, answered, config, given, has_none, linked, resumed, session, spawn, until_everybody_waits,
};

/// The longest that a client waits before it acknowledges.
const DELAY: Duration = Duration::from_millis(100);

#[tokio::test(start_paused = true)]
async fn what_came_and_what_was_taken_is_said_together_and_soon() {
    let (_client, mut pushes, _gateway, mut link) = linked(config(), &session(7)).await;
    let at = Instant::now();
    link.deliver([1, 2, 3]).await;
    assert_eq!(given(&mut pushes, 3).await, [1, 2, 3]);
    assert_eq!(link.acked().await, (2, 3), "nobody has asked for the one after the third");
    assert_eq!(at.elapsed(), DELAY);
    assert!(link.is_quiet(Duration::from_secs(1)).await, "one says it all");
    assert!(has_none(&mut pushes).await);
    assert_eq!(link.acked().await, (3, 3));
}

#[tokio::test(start_paused = true)]
async fn a_slow_application_takes_less_than_was_received() {
    let (_client, mut pushes, _gateway, mut link) = linked(config(), &session(7)).await;
    link.deliver(1..=5).await;
    assert_eq!(link.acked().await, (0, 5));
    for sequence in 1..=5 {
        assert_eq!(given(&mut pushes, 1).await, [sequence]);
        if sequence > 1 {
            assert_eq!(link.acked().await, (sequence - 1, 5));
        }
        assert!(link.is_quiet(Duration::from_secs(1)).await, "it was given out, and is not taken");
    }
    pushes.taken();
    assert_eq!(link.acked().await, (5, 5));
}

#[tokio::test(start_paused = true)]
async fn repeats_are_dropped_and_acknowledged_again_when_the_gateway_asks() {
    let (_client, mut pushes, _gateway, mut link) = linked(config(), &session(7)).await;
    link.deliver([1, 2]).await;
    assert_eq!(given(&mut pushes, 2).await, [1, 2]);
    assert_eq!(link.acked().await, (1, 2));
    link.deliver([1, 2, 2, 1]).await;
    assert!(link.is_quiet(Duration::from_secs(1)).await);
    assert_eq!(link.acked_now(2).await, (1, 2));
    assert!(has_none(&mut pushes).await);
}

#[tokio::test(start_paused = true)]
async fn nothing_overtakes_a_gap_and_what_is_sent_again_comes_in_order() {
    let (_client, mut pushes, _gateway, mut link) = linked(config(), &session(7)).await;
    link.deliver([1, 3, 4]).await;
    assert_eq!(given(&mut pushes, 1).await, [1]);
    assert_eq!(link.acked_now(4).await, (0, 1), "which tells the gateway of the gap");
    link.deliver([2, 3, 4]).await;
    assert_eq!(given(&mut pushes, 3).await, [2, 3, 4]);
    assert_eq!(link.acked_now(4).await, (3, 4));
}

#[tokio::test(start_paused = true)]
async fn an_ack_that_is_asked_for_comes_at_once_whatever_there_is_to_say() {
    let (_client, _pushes, _gateway, mut link) = linked(config(), &session(7)).await;
    for _ in 0..2 {
        assert_eq!(link.acked_now(0).await, (0, 0));
    }
    link.deliver([1]).await;
    assert_eq!(link.acked_now(1).await, (0, 1));
    assert!(link.is_quiet(Duration::from_secs(1)).await, "it was said");
}

#[tokio::test(start_paused = true)]
async fn many_are_acknowledged_without_delay_but_not_more_often_than_a_gateway_likes() {
    let roomy = Config { pushes_max: 1_000, ..config() };
    let (_client, _pushes, _gateway, mut link) = linked(roomy, &session(7)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let at = Instant::now();
    link.deliver(1..=32).await;
    assert_eq!((link.acked().await, at.elapsed()), ((0, 32), Duration::ZERO));
    for round in 1..=4_u32 {
        let first = 1 + 32 * u64::from(round);
        link.deliver(first..first + 32).await;
        assert_eq!(link.acked().await, (0, first + 31));
        assert_eq!(at.elapsed(), round * DELAY / 2);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_delivered_at_most_once_is_never_acknowledged_whatever_its_class_and_number() {
    let (_client, mut pushes, _gateway, mut link) = linked(config(), &session(7)).await;
    for (class, sequence) in [(0, 0), (0, 1), (1, 0), (2, 1), (2, 1), (u32::MAX, 9)] {
        let push = Push { class, sequence, id: b"same", payload: b"x", ..Push::default() };
        link.send(&[Frame::Push(push)]).await;
        let push = pushes.next().await.unwrap();
        assert_eq!((push.sequence, &push.payload[..]), (0, &b"x"[..]));
    }
    assert!(link.is_quiet(Duration::from_secs(1)).await);
}

#[tokio::test(start_paused = true)]
async fn on_the_next_link_the_first_thing_said_is_what_was_taken_and_what_is_missing_comes() {
    let (_client, mut pushes, mut gateway, mut link) = linked(config(), &session(7)).await;
    link.deliver(1..=4).await;
    assert_eq!(given(&mut pushes, 3).await, [1, 2, 3]);
    drop(link);
    let (mut link, wish) = gateway.wished().await;
    assert_eq!(wish.map(|wish| wish.last_sequence), Some(4));
    let at = Instant::now();
    link.welcome(&resumed(7, 6)).await;
    assert_eq!((link.acked().await, at.elapsed()), ((2, 4), Duration::ZERO));
    link.deliver(4..=6).await;
    assert_eq!(given(&mut pushes, 3).await, [4, 5, 6]);
    assert_eq!(link.acked().await, (5, 6));
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_while_there_is_no_link_is_said_on_the_next() {
    let (_client, mut pushes, mut gateway, mut link) = linked(config(), &session(7)).await;
    link.deliver(1..=3).await;
    assert_eq!(link.acked().await, (0, 3));
    drop(link);
    assert_eq!(given(&mut pushes, 3).await, [1, 2, 3]);
    let mut link = gateway.welcome(&resumed(7, 3)).await;
    assert_eq!(link.acked().await, (2, 3));
}

#[tokio::test(start_paused = true)]
async fn pushes_that_nobody_wants_are_received_and_never_taken() {
    let (client, mut pushes, _gateway, mut link) = linked(config(), &session(7)).await;
    link.deliver(1..=2).await;
    assert_eq!(given(&mut pushes, 2).await, [1, 2]);
    assert_eq!(link.acked().await, (1, 2));
    drop(pushes);
    link.deliver(3..=100).await;
    until_everybody_waits().await;
    assert_eq!(link.acked_now(100).await, (1, 100));
    let asked = spawn(&client, b"?");
    let id = link.asked().await.id;
    link.answer(id, b"!").await;
    assert_eq!(asked.await.unwrap(), answered(b"!"));
}

#[tokio::test(start_paused = true)]
async fn what_finds_no_room_was_not_received_and_comes_again() {
    let small = Config { pushes_max: 2, ..config() };
    let (client, mut pushes, mut gateway, mut link) = linked(small, &session(7)).await;
    link.deliver(1..=9).await;
    assert_eq!(link.acked().await, (0, 3), "two wait, and one for room; nothing more is read");
    drop(link);
    // A request finds the link gone, and what is still to be read is read out without room for it.
    let asked = spawn(&client, b"?");
    let (mut link, wish) = gateway.wished().await;
    assert_eq!(wish.map(|wish| wish.last_sequence), Some(3));
    link.welcome(&resumed(7, 9)).await;
    asked.abort();
    link.deliver(4..=9).await;
    assert_eq!(given(&mut pushes, 9).await, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
}

async fn named(link: &mut Link, sequence: u64, id: &[u8]) {
    let number = sequence.to_be_bytes();
    let push = Push { sequence, id, payload: &number, class: 1, ..Push::default() };
    link.send(&[Frame::Push(push)]).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_backend_sends_again_in_another_session_is_not_shown_again_and_counts_as_taken() {
    let (_client, mut pushes, mut gateway, mut link) = linked(config(), &session(7)).await;
    named(&mut link, 1, b"hello").await;
    assert_eq!(given(&mut pushes, 1).await, [1]);
    pushes.taken();
    drop(link);
    let mut link = gateway.welcome(&session(8)).await;
    named(&mut link, 1, b"hello").await;
    named(&mut link, 2, b"world").await;
    named(&mut link, 3, b"").await;
    named(&mut link, 4, b"").await;
    assert_eq!(given(&mut pushes, 3).await, [2, 3, 4], "without a name they are not compared");
    assert_eq!(link.acked_now(4).await, (3, 4));
}

#[tokio::test(start_paused = true)]
async fn a_name_is_remembered_before_the_gateway_is_told() {
    let seen = Arc::new(RecentIds::default());
    let remembers = Config { seen: Arc::clone(&seen) as _, ..config() };
    let (_client, mut pushes, _gateway, mut link) = linked(remembers, &session(7)).await;
    for sequence in 1..=20_u64 {
        named(&mut link, sequence, &sequence.to_be_bytes()).await;
        assert_eq!(given(&mut pushes, 1).await, [sequence]);
        assert!(!seen.contains(&sequence.to_be_bytes()));
        let Heard::Ack { taken, .. } = link.said().await else { panic!("an acknowledgement") };
        assert_eq!(taken, sequence - 1);
        assert!((1..=taken).all(|taken| seen.contains(&taken.to_be_bytes())));
    }
}
