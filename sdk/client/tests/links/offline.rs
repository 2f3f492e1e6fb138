//! Requests that are given while there is no link, and those whose link ends.

use std::time::Duration;

use client::{Client, Config, Error, Outcome, Reason, State};
use protocol::wire::proto::link::Welcome;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::gateway::{answered, config, failure, linked, spawn, start, until_everybody_waits, welcome};

const SECOND: Duration = Duration::from_secs(1);

fn refused(reason: Reason) -> Outcome {
    Outcome::Refused { reason, retry_after: Duration::ZERO }
}

/// A request that is sent until it is answered, for up to a minute.
fn insist(client: &Client, payload: &'static [u8]) -> JoinHandle<Outcome> {
    let client = client.clone();
    tokio::spawn(async move { client.request_until_answered("echo", b"", payload, 60 * SECOND).await })
}

#[tokio::test(start_paused = true)]
async fn what_is_given_without_a_link_waits_in_its_order() {
    let (client, _pushes, mut gateway) = start(config());
    let (_, hanging) = gateway.dialled().await;
    let mut asked = Vec::new();
    for payload in [&b"1"[..], b"2", b"3", b"4", b"5"] {
        asked.push(spawn(&client, payload));
        until_everybody_waits().await;
    }
    drop(hanging);
    let mut link = gateway.welcome(&welcome()).await;
    for (number, asked) in asked.into_iter().enumerate() {
        let request = link.asked().await;
        assert_eq!((request.payload[0], request.counter), (b'1' + number as u8, 1 + number as u64));
        link.answer(request.id, b"").await;
        assert_eq!(asked.await.unwrap(), answered(b""));
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_link_a_full_queue_refuses_by_number_and_by_bytes() {
    let by_number = Config { requests_max: 2, ..config() };
    let by_bytes = Config { request_bytes_max: 1_024, ..config() };
    for (config, len) in [(by_number, 1), (by_bytes, 200)] {
        let (client, _pushes, mut gateway) = start(config);
        let (_, hanging) = gateway.dialled().await;
        let payload: &'static [u8] = vec![7; len].leak();
        let waiting = [spawn(&client, payload), spawn(&client, payload)];
        until_everybody_waits().await;
        assert_eq!(client.request("echo", b"", payload).await, refused(Reason::QueueFull));
        drop(hanging);
        let mut link = gateway.welcome(&welcome()).await;
        for asked in waiting {
            let id = link.asked().await.id;
            link.answer(id, b"").await;
            assert_eq!(asked.await.unwrap(), answered(b""));
        }
        let asked = spawn(&client, payload);
        let id = link.asked().await.id;
        link.answer(id, b"").await;
        assert_eq!(asked.await.unwrap(), answered(b""), "there is room again");
    }
}

#[tokio::test(start_paused = true)]
async fn with_a_link_what_finds_the_queue_full_waits_outside() {
    for tight in [Config { requests_max: 1, ..config() }, Config { request_bytes_max: 1_024, ..config() }] {
        let one = Welcome { grant_requests: 1, ..welcome() };
        let (client, _pushes, _gateway, mut link) = linked(tight, &one).await;
        let asked: Vec<_> = (0..10).map(|_| spawn(&client, &[7; 300])).collect();
        for _ in 0..10 {
            let id = link.asked().await.id;
            link.answer(id, b"").await;
        }
        for asked in asked {
            assert_eq!(asked.await.unwrap(), answered(b""));
        }
        let too_long = client.request("echo", b"", vec![0; 5 * 1024 * 1024]).await;
        assert!(matches!(too_long, Outcome::Refused { .. }), "{too_long:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_sent_in_time_was_not_and_never_is() {
    let (client, _pushes, mut gateway) = start(config());
    let (_, hanging) = gateway.dialled().await;
    let outcome = client.request_until_answered("echo", b"", "1", SECOND).await;
    assert_eq!(outcome, refused(Reason::NotSent));
    let _asked = spawn(&client, b"2");
    drop(hanging);
    let mut link = gateway.welcome(&welcome()).await;
    assert_eq!(link.asked().await.payload, b"2");
}

#[tokio::test(start_paused = true)]
async fn after_a_lost_link_all_that_was_open_goes_out_again_at_once_in_its_order_and_at_no_charge() {
    let (client, _pushes, mut gateway, mut link) = linked(config(), &welcome()).await;
    let mut asked = Vec::new();
    for payload in [&b"1"[..], b"2", b"3", b"4", b"5", b"6"] {
        asked.push(insist(&client, payload));
        assert_eq!(link.asked().await.payload, payload);
    }
    drop(link);
    assert_eq!(failure(&client).await, Error::Cut);
    let new = spawn(&client, b"7");
    let mut link = gateway.welcome(&welcome()).await;
    let all = async {
        for number in 1..=7 {
            let request = link.asked().await;
            let expected = (b'0' + number, u64::from(number), number < 7);
            assert_eq!((request.payload[0], request.counter, request.again), expected);
            link.answer(request.id, b"").await;
        }
    };
    timeout(Duration::from_millis(1), all).await.expect("without a pause");
    for asked in asked.into_iter().chain([new]) {
        assert_eq!(asked.await.unwrap(), answered(b""));
    }
    assert!(matches!(client.state(), State::Up(_)));
}
