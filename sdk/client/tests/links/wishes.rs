//! What an application asks of a client beside requests: a new link, a sign of life, an answer in the end, a good end.

use std::time::Duration;

use client::{Config, Doubt, Error, Outcome, Pushes, Reason, State};
use protocol::wire::frame::{self, Close, Frame, Response};
use protocol::{Cause, CloseCode, Refusal};
use tokio::time::{Instant, sleep};

use crate::gateway::{
    HEARTBEAT, Heard, Link, answered, config, failure, linked, lost, spawn, start, welcome,
};

const SECOND: Duration = Duration::from_secs(1);

fn two_addresses() -> Config {
    Config { addresses: ["one:1", "two:2"].map(str::to_owned).to_vec(), ..config() }
}

async fn refuse(link: &mut Link, id: [u8; 16], refusal: Refusal, retry_after_ms: u32) {
    let (outcome, code) = (frame::Outcome::Refused, refusal.number());
    let response = Response { id, outcome, code, retry_after_ms, ..Response::default() };
    link.send(&[Frame::Response(response)]).await;
}

#[tokio::test(start_paused = true)]
async fn a_link_is_given_up_at_once_for_a_new_one_to_the_same_address() {
    let (client, _pushes, mut gateway) = start(two_addresses());
    let mut old = gateway.welcome(&welcome()).await;
    client.ready().await.unwrap();
    let open = spawn(&client, b"1");
    old.asked().await;
    let before = Instant::now();
    client.reconnect();
    assert_eq!(open.await.unwrap(), lost());
    assert_eq!(gateway.dialled().await.0, "one:1");
    assert_eq!((old.said().await, before.elapsed()), (Heard::End, Duration::ZERO), "without a word");
    assert_eq!(failure(&client).await, Error::Abandoned);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_hangs_begins_anew() {
    let (client, _pushes, mut gateway) = start(config());
    let (_, hanging) = gateway.dialled().await;
    sleep(SECOND).await;
    client.reconnect();
    let _link = gateway.welcome(&welcome()).await;
    client.ready().await.unwrap();
    drop(hanging);
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_over_when_the_application_wants_a_link_but_not_what_the_gateway_asked_for() {
    for probes in [false, true] {
        let (client, _pushes, mut gateway) = start(config());
        let later = Close { code: CloseCode::TryLater.number(), retry_after_ms: 3000, ..Close::default() };
        gateway.accept().await.close(later).await;
        let before = Instant::now();
        assert!(matches!(failure(&client).await, Error::Closed(_)));
        if probes {
            client.probe(SECOND)
        } else {
            client.reconnect()
        }
        drop(gateway.dialled().await);
        assert_eq!(before.elapsed(), 3 * SECOND, "and not a moment more");
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_that_shows_no_life_is_given_up_in_time_and_one_that_does_stays() {
    let (client, _pushes, mut gateway) = start(two_addresses());
    let mut link = gateway.welcome(&welcome()).await;
    client.ready().await.unwrap();
    client.probe(2 * SECOND);
    assert_eq!(link.next().await, Heard::Ping);
    sleep(SECOND).await;
    link.send(&[Frame::Pong { nonce: 1 }]).await;
    sleep(5 * SECOND).await;
    assert!(matches!(client.state(), State::Up(_)));
    let before = Instant::now();
    client.probe(2 * SECOND);
    assert_eq!(gateway.dialled().await.0, "two:2", "the other one, at once");
    assert_eq!(before.elapsed(), 2 * SECOND);
    assert!(HEARTBEAT > 10 * SECOND, "long before it would have been missed");
}

#[tokio::test(start_paused = true)]
async fn with_one_address_a_link_that_shows_no_life_is_opened_again_at_once() {
    let (client, _pushes, mut gateway, _link) = linked(config(), &welcome()).await;
    let before = Instant::now();
    client.probe(SECOND);
    drop(gateway.dialled().await);
    assert_eq!(before.elapsed(), SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_request_is_sent_until_it_is_answered_under_one_id() {
    let (client, _pushes, mut gateway, mut link) = linked(config(), &welcome()).await;
    let asking = {
        let client = client.clone();
        tokio::spawn(async move { client.request_until_answered("echo", b"", "x", 60 * SECOND).await })
    };
    let first = link.asked().await;
    assert!(!first.again);
    refuse(&mut link, first.id, Refusal::Busy, 700).await;
    let before = Instant::now();
    let second = link.asked().await;
    assert_eq!((second.id, second.again), (first.id, true));
    assert_eq!(before.elapsed(), Duration::from_millis(700), "as long as the gateway asked");
    drop(link);
    let mut link = gateway.welcome(&welcome()).await;
    let third = link.asked().await;
    assert_eq!((third.id, third.again), (first.id, true));
    link.answer(first.id, b"done").await;
    assert_eq!(asking.await.unwrap(), answered(b"done"));
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_for_good_is_not_sent_again_and_stays_unknown_if_it_was() {
    let (client, _pushes, mut gateway, mut link) = linked(config(), &welcome()).await;
    let ask = || {
        let client = client.clone();
        tokio::spawn(async move { client.request_until_answered("echo", b"", "x", 60 * SECOND).await })
    };
    let asking = ask();
    let id = link.asked().await.id;
    refuse(&mut link, id, Refusal::NoRoute, 0).await;
    let refused = Outcome::Refused { reason: Reason::Refusal(Refusal::NoRoute), retry_after: Duration::ZERO };
    assert_eq!(asking.await.unwrap(), refused);
    let asking = ask();
    link.asked().await;
    drop(link);
    let mut link = gateway.welcome(&welcome()).await;
    let id = link.asked().await.id;
    refuse(&mut link, id, Refusal::NoRoute, 0).await;
    assert_eq!(asking.await.unwrap(), lost(), "the first sending may have been done");
}

#[tokio::test(start_paused = true)]
async fn what_was_answered_before_is_not_sent_again() {
    let (client, _pushes, _gateway, mut link) = linked(config(), &welcome()).await;
    let asking =
        tokio::spawn(async move { client.request_until_answered("echo", b"", "x", 60 * SECOND).await });
    let (id, outcome, code) =
        (link.asked().await.id, frame::Outcome::Unknown, Cause::AnsweredBefore.number());
    link.send(&[Frame::Response(Response { id, outcome, code, ..Response::default() })]).await;
    assert_eq!(asking.await.unwrap(), Outcome::Unknown { doubt: Doubt::AnsweredBefore });
}

#[tokio::test(start_paused = true)]
async fn when_the_time_is_over_it_is_said_what_is_known() {
    let (client, _pushes, _gateway, mut link) = linked(config(), &welcome()).await;
    let ask = || {
        let client = client.clone();
        tokio::spawn(async move { client.request_until_answered("echo", b"", "x", 2 * SECOND).await })
    };
    let (asking, before) = (ask(), Instant::now());
    let id = link.asked().await.id;
    refuse(&mut link, id, Refusal::Busy, 9000).await;
    let busy = Outcome::Refused { reason: Reason::Refusal(Refusal::Busy), retry_after: 9 * SECOND };
    assert_eq!((asking.await.unwrap(), before.elapsed()), (busy, 2 * SECOND));
    let asking = ask();
    link.asked().await;
    assert_eq!(asking.await.unwrap(), Outcome::Unknown { doubt: Doubt::NotAnswered });
}

#[tokio::test(start_paused = true)]
async fn repeats_of_what_is_refused_are_few() {
    let (client, _pushes, _gateway, mut link) = linked(config(), &welcome()).await;
    let asking =
        tokio::spawn(async move { client.request_until_answered("echo", b"", "x", 30 * SECOND).await });
    let (mut asked, begin) = (0, Instant::now());
    while begin.elapsed() < 20 * SECOND {
        let id = link.asked().await.id;
        refuse(&mut link, id, Refusal::Busy, 1).await;
        asked += 1;
    }
    // Three at once, and one a second from then on.
    assert!((21..=25).contains(&asked), "{asked} in twenty seconds");
    drop(asking);
}

#[tokio::test(start_paused = true)]
async fn a_good_end_waits_for_what_is_open_and_takes_nothing_more() {
    for answers in [true, false] {
        let (client, _pushes, _gateway, mut link) = linked(config(), &welcome()).await;
        let open = spawn(&client, b"1");
        let id = link.asked().await.id;
        let (closing, before) = (client.clone(), Instant::now());
        let closing = tokio::spawn(async move { closing.close_when_answered(3 * SECOND).await });
        sleep(SECOND).await;
        assert_eq!(
            client.request("echo", b"", "late").await,
            Outcome::Refused { reason: Reason::Ended, retry_after: Duration::ZERO }
        );
        if answers {
            link.answer(id, b"1").await;
        }
        assert_eq!(link.said().await, Heard::Close(Some(CloseCode::Normal)));
        assert_eq!(before.elapsed(), if answers { SECOND } else { 3 * SECOND });
        drop(link);
        closing.await.unwrap();
        assert_eq!(open.await.unwrap(), if answers { answered(b"1") } else { lost() });
    }
}

#[tokio::test(start_paused = true)]
async fn pushes_are_a_stream_of_the_usual_trait() {
    fn of<S: futures_core::Stream<Item = client::Push>>(stream: S) -> S {
        stream
    }
    let (_client, pushes, _gateway, mut link) = linked(config(), &welcome()).await;
    link.push(b"hi").await;
    let mut pushes: Pushes = of(pushes);
    let next = std::future::poll_fn(|context| {
        futures_core::Stream::poll_next(std::pin::Pin::new(&mut pushes), context)
    });
    assert_eq!(next.await.map(|push| push.payload), Some("hi".into()));
}
