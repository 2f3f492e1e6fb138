//! What a client does on a link.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use client::{Client, Config, Credentials, Doubt, Error, Outcome, Reason, State, Warning};
use protocol::noise::{StaticKey, Suite};
use protocol::wire::frame::{self, Close, Frame, Response};
use protocol::wire::proto::link::Welcome;
use protocol::{CloseCode, Refusal};
use tokio::time::{Instant, timeout};

use crate::gateway::{
    self, Fragile, HEARTBEAT, Heard, answered, config, failure, linked, lost, spawn, start,
    until_everybody_waits, welcome,
};

#[tokio::test(start_paused = true)]
async fn the_first_request_leaves_in_one_flight_with_auth() {
    let (client, _pushes, mut gateway) = start(config());
    let asked = spawn(&client, b"hello");
    let mut link = gateway.accept().await;
    let auth = Heard::Auth { token: b"token".to_vec(), user: b"alice".to_vec(), device: b"phone".to_vec() };
    assert_eq!(link.next().await, auth);
    link.welcome(&welcome()).await;
    let Some(Heard::Request(request)) = link.at_hand() else { panic!("the request was in the same flight") };
    assert_eq!((&*request.route, &*request.payload, request.counter), ("echo", &b"hello"[..], 1));
    link.answer(request.id, b"olleh").await;
    assert_eq!(asked.await.unwrap(), answered(b"olleh"));
    let session = client.ready().await.unwrap();
    assert_eq!((&session.user[..], session.heartbeat), (&b"alice"[..], HEARTBEAT));
}

#[tokio::test(start_paused = true)]
async fn a_request_longer_than_some_gateways_take_waits_for_the_welcome_on_every_link() {
    let (client, _pushes, mut gateway) = start(config());
    for _ in 0..2 {
        let asked = spawn(&client, &[1; 1_500]);
        let mut link = gateway.accept().await;
        assert!(matches!(link.next().await, Heard::Auth { .. }));
        link.welcome(&welcome()).await;
        assert_eq!(link.at_hand(), None, "a gateway may take frames of 1,024 bytes only");
        let request = link.asked().await;
        link.answer(request.id, b"").await;
        assert_eq!(asked.await.unwrap(), answered(b""));
        drop(link);
        assert_eq!(failure(&client).await, Error::Cut);
    }
}

#[tokio::test(start_paused = true)]
async fn every_outcome_comes_back_typed_in_whatever_order() {
    let (client, _pushes, _gateway, mut link) = linked(config(), &welcome()).await;
    let asked = [spawn(&client, b"1"), spawn(&client, b"2"), spawn(&client, b"3")];
    let mut ids = [[0; 16]; 3];
    for _ in 0..3 {
        let request = link.asked().await;
        ids[usize::from(request.payload[0] - b'1')] = request.id;
    }
    let unknown = Response { id: ids[2], outcome: frame::Outcome::Unknown, ..Response::default() };
    let refused = Response {
        id: ids[1],
        outcome: frame::Outcome::Refused,
        code: Refusal::NoRoute.number(),
        retry_after_ms: 5,
        ..Response::default()
    };
    let stranger = Response { id: [0xee; 16], ..Response::default() };
    let status = Response { id: ids[0], code: 7, payload: b"x", ..Response::default() };
    link.send(&[unknown, refused, stranger, status].map(Frame::Response)).await;
    let [first, second, third] = asked;
    assert_eq!(third.await.unwrap(), Outcome::Unknown { doubt: Doubt::NotAnswered });
    let (reason, retry_after) = (Reason::Refusal(Refusal::NoRoute), Duration::from_millis(5));
    assert_eq!(second.await.unwrap(), Outcome::Refused { reason, retry_after });
    assert_eq!(first.await.unwrap(), Outcome::Answered { status: 7, payload: b"x".to_vec().into() });
}

#[tokio::test(start_paused = true)]
async fn a_request_longer_than_a_record_arrives_whole_and_an_impossible_one_is_refused_here() {
    let (client, _pushes, _gateway, mut link) = linked(config(), &welcome()).await;
    let asked = spawn(&client, &[7; 60_000]);
    let request = link.asked().await;
    assert_eq!(request.payload, [7; 60_000]);
    link.answer(request.id, &[8; 60_000]).await;
    assert_eq!(asked.await.unwrap(), answered(&[8; 60_000]));
    let too_large =
        Outcome::Refused { reason: Reason::Refusal(Refusal::TooLarge), retry_after: Duration::ZERO };
    assert_eq!(client.request("echo", b"", vec![0; 65_536]).await, too_large);
    for (route, key) in [("", 0), ("a route of more than thirty-two bytes", 0), ("echo", 65)] {
        let outcome = client.request(route, &vec![0; key], "").await;
        assert!(matches!(outcome, Outcome::Refused { reason: Reason::Invalid(_), .. }), "{outcome:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn requests_over_the_grant_wait_for_a_response() {
    let two = Welcome { grant_requests: 2, ..welcome() };
    let (client, _pushes, _gateway, mut link) = linked(config(), &two).await;
    let asked = [spawn(&client, b"1"), spawn(&client, b"2"), spawn(&client, b"3")];
    let (first, second) = (link.asked().await, link.asked().await);
    assert!(link.is_quiet(Duration::from_millis(10)).await, "the third one waits");
    link.answer(second.id, b"").await;
    let third = link.asked().await;
    assert_eq!((first.counter, second.counter, third.counter), (1, 2, 3));
    link.answer(first.id, b"").await;
    link.answer(third.id, b"").await;
    for asked in asked {
        assert_eq!(asked.await.unwrap(), answered(b""));
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_given_up_before_it_was_sent_never_is() {
    let one = Welcome { grant_requests: 1, ..welcome() };
    let (client, _pushes, _gateway, mut link) = linked(config(), &one).await;
    let _open = spawn(&client, b"1");
    let open = link.asked().await;
    let given_up = spawn(&client, b"2");
    tokio::task::yield_now().await;
    given_up.abort();
    assert!(given_up.await.is_err());
    let _last = spawn(&client, b"3");
    link.answer(open.id, b"").await;
    assert_eq!(link.asked().await.payload, b"3");
}

#[tokio::test(start_paused = true)]
async fn a_request_given_up_at_the_head_holds_up_nobody() {
    let small = Welcome { grant_bytes: 1_024, ..welcome() };
    let (client, _pushes, _gateway, mut link) = linked(config(), &small).await;
    let _open = spawn(&client, &[1; 500]);
    assert_eq!(link.asked().await.payload.len(), 500);
    let head = spawn(&client, &[2; 900]);
    tokio::task::yield_now().await;
    let _behind = spawn(&client, &[3; 10]);
    assert!(
        link.is_quiet(Duration::from_millis(10)).await,
        "the large one has to wait, and no other may overtake"
    );
    head.abort();
    let at = Instant::now();
    assert_eq!(link.asked().await.payload, [3; 10]);
    assert_eq!(at.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_request_given_up_and_sent_again_gets_the_outcome_of_the_first() {
    let (client, _pushes, _gateway, mut link) = linked(config(), &welcome()).await;
    let request = client.prepare("echo", b"", "pay").unwrap();
    assert!(timeout(Duration::from_secs(1), client.send(&request)).await.is_err());
    let original = link.asked().await;
    let again = tokio::spawn({
        let (client, request) = (client.clone(), request.clone().again());
        async move { client.send(&request).await }
    });
    assert!(link.is_quiet(Duration::from_secs(1)).await, "it was sent already");
    let third = Outcome::Refused { reason: Reason::UnderWay, retry_after: Duration::ZERO };
    assert_eq!(client.send(&request.again()).await, third);
    link.answer(original.id, b"paid").await;
    assert_eq!(again.await.unwrap(), answered(b"paid"));
}

#[tokio::test(start_paused = true)]
async fn pushes_come_in_order_and_a_slow_application_stops_the_reading() {
    let slow = Config { pushes_max: 2, ..config() };
    let (client, mut pushes, _gateway, mut link) = linked(slow, &welcome()).await;
    let text = |number: u32| format!("{number} {}", "x".repeat(1_000));
    let mut sent = 0;
    while timeout(Duration::from_millis(1), link.push(text(sent).as_bytes())).await.is_ok() {
        sent += 1;
        assert!(sent < 100, "nobody reads, so the pipe fills");
    }
    // Nobody takes the pushes for a long time: the client keeps its link alive, and does not take what it did not
    // read for silence.
    for _ in 0..10 {
        assert_eq!(link.next().await, Heard::Ping);
    }
    assert!(matches!(client.state(), State::Up(_)));
    // The last push was cut off in the middle by the test itself, which is the end of this link.
    for number in 0..sent {
        assert_eq!(pushes.next().await.unwrap().payload, text(number));
    }
}

#[tokio::test(start_paused = true)]
async fn an_application_that_takes_its_pushes_late_misses_none() {
    let slow = Config { pushes_max: 1, ..config() };
    let (client, mut pushes, _gateway, mut link) = linked(slow, &welcome()).await;
    let asked = spawn(&client, b"?");
    let id = link.asked().await.id;
    let writer = tokio::spawn(async move {
        for number in 0..200_u8 {
            link.push(&[number; 500]).await;
        }
        link.answer(id, b"!").await;
        link
    });
    // An hour of the test's own clock, which moves only when nothing else can: the link must outlive it.
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    for number in 0..200_u8 {
        assert_eq!(pushes.next().await.unwrap().payload, [number; 500][..]);
    }
    assert_eq!(asked.await.unwrap(), answered(b"!"));
    drop(writer.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn without_a_receiver_pushes_are_discarded() {
    let (client, pushes, _gateway, mut link) = linked(config(), &welcome()).await;
    drop(pushes);
    for _ in 0..100 {
        link.push(&[1; 1_000]).await;
    }
    let asked = spawn(&client, b"?");
    let id = link.asked().await.id;
    link.answer(id, b"!").await;
    assert_eq!(asked.await.unwrap(), answered(b"!"));
}

/// A client whose application takes no pushes, so that it does not read the `Close` behind them.
async fn closed_behind_pushes(close: Close<'_>) -> (Client, client::Pushes, gateway::Gateway) {
    let slow = Config { pushes_max: 1, ..config() };
    let (client, pushes, gateway, mut link) = linked(slow, &welcome()).await;
    for _ in 0..4 {
        link.push(b"x").await;
    }
    until_everybody_waits().await;
    link.close(close).await;
    (client, pushes, gateway)
}

#[tokio::test(start_paused = true)]
async fn a_close_that_was_not_read_before_a_request_found_the_link_gone_is_obeyed() {
    let kicked = Close { code: CloseCode::Kicked.number(), do_not_reconnect: true, ..Close::default() };
    let (client, _pushes, mut gateway) = closed_behind_pushes(kicked).await;
    let request = spawn(&client, b"?");
    let error = failure(&client).await;
    assert!(matches!(error, Error::Closed(closed) if closed.code == Some(CloseCode::Kicked)));
    assert_eq!(request.await.unwrap(), lost());
    assert!(!gateway.is_dialled(Duration::from_secs(3_600)).await);
}

#[tokio::test(start_paused = true)]
async fn a_close_that_was_not_read_before_a_ping_found_the_link_gone_is_obeyed() {
    let code = CloseCode::SlowReader.number();
    let (client, mut pushes, mut gateway) =
        closed_behind_pushes(Close { code, retry_after_ms: 30_000, ..Close::default() }).await;
    let error = failure(&client).await;
    let at = Instant::now();
    assert!(matches!(error, Error::Closed(closed) if closed.code == Some(CloseCode::SlowReader)));
    gateway.dialled().await;
    assert!(at.elapsed() >= Duration::from_secs(30), "{:?}", at.elapsed());
    assert_eq!(pushes.next().await.unwrap().payload, b"x"[..], "what was taken before is kept");
}

#[tokio::test(start_paused = true)]
async fn a_close_that_comes_while_auth_is_being_written_is_obeyed() {
    let credentials = Credentials::token(vec![b't'; 2_000]);
    // Auth does not fit the pipe, the gateway's words do.
    let (client, _pushes, mut gateway) =
        gateway::start_over(Config { credentials, ..config() }, 512, |near| near);
    let link = gateway.accept().await;
    until_everybody_waits().await;
    link.close(Close { code: CloseCode::Banned.number(), ..Close::default() }).await;
    let error = failure(&client).await;
    assert!(matches!(error, Error::Closed(closed) if closed.code == Some(CloseCode::Banned)));
}

#[tokio::test(start_paused = true)]
async fn a_link_that_cannot_be_written_to_and_does_not_end_is_not_read_for_ever() {
    for floods in [false, true] {
        let broken = Arc::new(AtomicBool::new(false));
        let switch = Arc::clone(&broken);
        let fragile = move |pipe| Fragile { pipe, broken: Arc::clone(&broken) };
        let (client, pushes, mut gateway) = gateway::start_over(config(), gateway::PIPE_LEN, fragile);
        let mut link = gateway.welcome(&welcome()).await;
        client.ready().await.unwrap();
        drop(pushes);
        switch.store(true, Ordering::Relaxed);
        let at = Instant::now();
        let request = spawn(&client, b"?");
        let pushing = tokio::spawn(async move {
            if floods {
                loop {
                    link.push(&[0; 4_000]).await;
                }
            }
            std::future::pending::<()>().await;
        });
        assert_eq!(failure(&client).await, Error::Cut);
        assert_eq!(request.await.unwrap(), lost());
        assert!(at.elapsed() <= Duration::from_secs(1), "{:?}", at.elapsed());
        pushing.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_pings_each_interval_and_leaves_a_gateway_that_is_silent() {
    let (client, _pushes, mut gateway, mut link) = linked(config(), &welcome()).await;
    let at = Instant::now();
    assert_eq!(link.next().await, Heard::Ping);
    let first = at.elapsed();
    assert!(first <= HEARTBEAT, "the first comes within the interval");
    link.send(&[Frame::Pong { nonce: 1 }]).await;
    assert_eq!(link.next().await, Heard::Ping);
    assert_eq!((at.elapsed() - first).as_secs(), HEARTBEAT.as_secs());
    link.send(&[Frame::Pong { nonce: 2 }]).await;
    let heard = Instant::now();
    for _ in 0..2 {
        assert_eq!(link.next().await, Heard::Ping, "one missed pong is no reason to go");
    }
    assert_eq!(link.next().await, Heard::End);
    assert_eq!(heard.elapsed().as_secs(), (3 * HEARTBEAT).as_secs());
    gateway.accept().await;
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_device_key_is_proved_with_ik() {
    let key = StaticKey::from_secret([3; 32]);
    let ik = Config { suites: vec![Suite::IkChaChaPoly], device_key: Some(key.clone()), ..config() };
    let (_client, _pushes, _gateway, link) = linked(ik, &welcome()).await;
    assert_eq!(link.machine.binding().unwrap().2, Some(&key.public()));
}

#[tokio::test(start_paused = true)]
async fn closing_says_goodbye_and_resolves_everything() {
    let one = Welcome { grant_requests: 1, ..welcome() };
    let (client, mut pushes, _gateway, mut link) = linked(config(), &one).await;
    let open = spawn(&client, b"1");
    link.asked().await;
    let waiting = spawn(&client, b"2");
    tokio::task::yield_now().await;
    let closing = tokio::spawn({
        let client = client.clone();
        async move { client.close().await }
    });
    assert_eq!(link.next().await, Heard::Close(Some(CloseCode::Normal)));
    assert_eq!(link.next().await, Heard::End);
    drop(link);
    closing.await.unwrap();
    assert_eq!(open.await.unwrap(), lost());
    let refused = Outcome::Refused { reason: Reason::Ended, retry_after: Duration::ZERO };
    assert_eq!(waiting.await.unwrap(), refused);
    assert_eq!(pushes.next().await, None);
    assert_eq!(client.state(), State::Ended(Error::Stopped));
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_is_a_goodbye_too() {
    let (client, pushes, _gateway, mut link) = linked(config(), &welcome()).await;
    drop((client, pushes));
    assert_eq!(link.next().await, Heard::Close(Some(CloseCode::Normal)));
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_breaks_the_rules_is_told_which() {
    let (client, _pushes, _gateway, mut link) = linked(config(), &welcome()).await;
    link.send(&[Frame::Ack { taken: 0, received: 1 }]).await;
    assert_eq!(link.next().await, Heard::Close(Some(CloseCode::Unexpected)));
    drop(link);
    assert_eq!(failure(&client).await, Error::Protocol(protocol::Error::Unexpected("ack")));
}

#[tokio::test]
async fn over_loopback_connect_says_why_it_could_not() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let here = Config { addresses: vec![address.clone()], ..config() };
    let silent = tokio::spawn(async move { drop(listener.accept().await.unwrap()) });
    assert_eq!(Client::connect(here.clone()).await.err(), Some(Error::Silence));
    silent.await.unwrap();
    let nobody = Client::connect(here).await.err();
    assert!(matches!(nobody, Some(Error::Network(std::io::ErrorKind::ConnectionRefused, _))), "{nobody:?}");
}

#[tokio::test(start_paused = true)]
async fn a_warning_reaches_the_application_and_the_link_goes_on() {
    let (client, _pushes, _gateway, mut link) = linked(config(), &welcome()).await;
    let mut warnings = client.warnings();
    assert_eq!(*warnings.borrow(), None);
    for (code, expected) in [(15, Some(CloseCode::RateExceeded)), (9999, None)] {
        link.send(&[Frame::Warning { code, score: 75 }]).await;
        warnings.changed().await.expect("the client lives");
        assert_eq!(*warnings.borrow_and_update(), Some(Warning { code: expected, score: 75 }));
    }
    let asked = spawn(&client, b"still there?");
    let request = link.asked().await;
    link.answer(request.id, b"yes").await;
    assert_eq!(asked.await.unwrap(), answered(b"yes"));
}
