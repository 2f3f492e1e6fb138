//! Clients that go to sleep and wake up, and how they end.

use std::sync::Arc;
use std::time::Duration;

use client::{Config, Continuity, Error, MemoryStore, Outcome, Reason, State};
use protocol::CloseCode;
use protocol::wire::proto::link::Welcome;
use tokio::time::timeout;

use crate::gateway::{
    Heard, Wish, answered, config, failure, given, linked, lost, resumed, session, spawn, start,
    until_everybody_waits,
};

#[tokio::test(start_paused = true)]
async fn who_goes_to_sleep_says_what_was_taken_and_that_the_session_is_to_be_kept() {
    let (client, mut pushes, mut gateway, mut link) = linked(config(), &session(7)).await;
    link.deliver(1..=3).await;
    assert_eq!(given(&mut pushes, 3).await, [1, 2, 3]);
    pushes.taken();
    let open = spawn(&client, b"1");
    link.asked().await;
    let sleeping = tokio::spawn({
        let client = client.clone();
        async move { client.sleep().await }
    });
    assert_eq!(link.acked().await, (3, 3));
    assert_eq!(link.said().await, Heard::Close(Some(CloseCode::Moving)));
    assert_eq!(link.said().await, Heard::End);
    drop(link);
    sleeping.await.unwrap();
    assert_eq!(client.state(), State::Asleep);
    assert_eq!(open.await.unwrap(), lost());
    let waits = spawn(&client, b"2");
    client.reconnect();
    client.probe(Duration::from_secs(1));
    assert!(!gateway.is_dialled(Duration::from_secs(3_600)).await, "nothing but waking wakes");
    client.wake();
    let (mut link, wish) = gateway.wished().await;
    assert_eq!(wish, Some(Wish { session: 7, attempt: 1, last_sequence: 3 }));
    link.welcome(&resumed(7, 3)).await;
    assert_eq!(client.ready().await.unwrap().continuity, Continuity::Resumed);
    let id = link.asked().await.id;
    link.answer(id, b"").await;
    assert_eq!(waits.await.unwrap(), answered(b""));
}

#[tokio::test(start_paused = true)]
async fn a_client_goes_to_sleep_from_whatever_it_does() {
    // While it dials.
    let (client, _pushes, mut gateway) = start(config());
    let hanging = gateway.dialled().await;
    timeout(Duration::from_secs(1), client.sleep()).await.unwrap();
    assert_eq!(client.state(), State::Asleep);
    client.wake();
    // Between two attempts.
    drop(hanging);
    drop(gateway.dialled().await);
    assert_eq!(failure(&client).await, Error::Silence);
    timeout(Duration::from_secs(1), client.sleep()).await.unwrap();
    assert!(!gateway.is_dialled(Duration::from_secs(3_600)).await);
    // While it sleeps.
    timeout(Duration::from_secs(1), client.sleep()).await.unwrap();
    // It ends as well.
    let asked = spawn(&client, b"1");
    until_everybody_waits().await;
    client.close().await;
    assert_eq!(client.state(), State::Ended(Error::Stopped));
    let ended = Outcome::Refused { reason: Reason::Ended, retry_after: Duration::ZERO };
    assert_eq!(asked.await.unwrap(), ended);
    timeout(Duration::from_secs(1), client.sleep()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_is_woken_before_it_slept_waits_for_nothing() {
    let (client, _pushes, mut gateway, link) = linked(config(), &session(7)).await;
    // The gateway does not answer the goodbye.
    let sleeping = tokio::spawn({
        let client = client.clone();
        async move { client.sleep().await }
    });
    until_everybody_waits().await;
    client.wake();
    timeout(Duration::from_millis(1), sleeping).await.unwrap().unwrap();
    let mut again = gateway.welcome(&resumed(7, 0)).await;
    client.ready().await.unwrap();
    assert!(again.is_quiet(Duration::from_secs(10)).await);
    drop(link);
}

#[tokio::test(start_paused = true)]
async fn without_a_handle_the_session_is_kept_if_a_later_start_can_go_on_and_else_ended() {
    for (store, expected) in
        [(None, CloseCode::Normal), (Some(Arc::new(MemoryStore::default()) as _), CloseCode::Moving)]
    {
        let (client, pushes, _gateway, mut link) = linked(Config { store, ..config() }, &session(7)).await;
        drop((client, pushes));
        assert_eq!(link.said().await, Heard::Close(Some(expected)));
    }
}

#[tokio::test(start_paused = true)]
async fn logging_out_ends_the_session_and_leaves_nothing_to_come_back_with() {
    let store = Arc::new(MemoryStore::default());
    let kept = Config { store: Some(Arc::clone(&store) as _), ..config() };
    let (client, _pushes, mut gateway) = start(kept.clone());
    let mut link = gateway.welcome(&Welcome { tickets: gateway.tickets(2), ..session(7) }).await;
    client.ready().await.unwrap();
    let closing = tokio::spawn(async move { client.close().await });
    assert_eq!(link.said().await, Heard::Close(Some(CloseCode::Normal)));
    drop(link);
    closing.await.unwrap();
    let (_client, _pushes, mut gateway) = start(kept);
    let (link, wish) = gateway.wished().await;
    assert!(!link.suite().is_ticket());
    assert_eq!(wish, None);
}

#[tokio::test(start_paused = true)]
async fn who_logs_out_of_a_client_that_has_ended_by_itself_leaves_nothing_either() {
    let store = Arc::new(MemoryStore::default());
    let kept = Config { store: Some(Arc::clone(&store) as _), ..config() };
    let (client, _pushes, mut gateway) = start(kept.clone());
    let link = gateway.welcome(&Welcome { tickets: gateway.tickets(2), ..session(7) }).await;
    client.ready().await.unwrap();
    let close = protocol::wire::frame::Close { code: 9, do_not_reconnect: true, ..Default::default() };
    link.close(close).await;
    assert!(matches!(client.ended().await, Error::Closed(_)));
    let (_client, _pushes, mut gateway) = start(kept.clone());
    let (link, wish) = gateway.wished().await;
    assert!(link.suite().is_ticket() && wish.is_some(), "it was not told to forget");
    client.close().await;
    let (_client, _pushes, mut gateway) = start(kept);
    let (link, wish) = gateway.wished().await;
    assert!(!link.suite().is_ticket() && wish.is_none());
}
