//! What a client does on its links and between them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::{Client, Config, Credentials, Error, Occasion, Outcome, Reason, State};
use protocol::noise::{StaticKey, Suite};
use protocol::wire::frame::{self, Close, Frame, Response};
use protocol::wire::proto::link::{ServerKey, Welcome};
use protocol::{CloseCode, Refusal};
use tokio::time::{Instant, timeout};

use crate::gateway::{self, Fragile, HEARTBEAT, Heard, config, failure, linked, start, welcome};

fn answered(payload: &[u8]) -> Outcome {
    Outcome::Answered { status: 0, payload: payload.to_vec().into() }
}

fn spawn(client: &Client, payload: &'static [u8]) -> tokio::task::JoinHandle<Outcome> {
    let client = client.clone();
    tokio::spawn(async move { client.request("echo", b"", payload).await })
}

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
    assert_eq!(third.await.unwrap(), Outcome::Unknown);
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

#[tokio::test(start_paused = true)]
async fn a_cut_link_makes_open_requests_unknown_and_the_client_comes_back_by_ticket() {
    let (client, _pushes, mut gateway) = start(config());
    let with_tickets = Welcome { tickets: gateway.tickets(2), ..welcome() };
    let mut link = gateway.welcome(&with_tickets).await;
    assert_eq!(link.suite(), Suite::NkChaChaPoly);
    let open = spawn(&client, b"1");
    link.asked().await;
    drop(link);
    assert_eq!(open.await.unwrap(), Outcome::Unknown);
    assert_eq!(failure(&client).await, Error::Cut);
    let waiting = spawn(&client, b"2");
    let mut link = gateway.accept().await;
    assert_eq!(link.suite(), Suite::Nnpsk0ChaChaPoly);
    let auth = Heard::Auth { token: Vec::new(), user: b"alice".to_vec(), device: b"phone".to_vec() };
    assert_eq!(link.next().await, auth, "the ticket replaces the token");
    link.welcome(&welcome()).await;
    let request = link.asked().await;
    assert_eq!(
        (&*request.payload, request.counter, request.again),
        (&b"2"[..], 1, false),
        "no silent resend"
    );
    link.answer(request.id, b"2").await;
    assert_eq!(waiting.await.unwrap(), answered(b"2"));
    assert_eq!(client.ready().await.unwrap().suite, Suite::Nnpsk0ChaChaPoly);
}

#[tokio::test(start_paused = true)]
async fn tickets_are_used_once_each_and_silence_leads_to_a_full_handshake_at_once() {
    let (client, _pushes, mut gateway) = start(config());
    let first_ticket = gateway.tickets(1).remove(0);
    let with_tickets = Welcome { tickets: gateway.tickets(2), ..welcome() };
    drop(gateway.welcome(&with_tickets).await);
    // The newest ticket is tried, and refused as gateways refuse tickets.
    let (_, socket) = gateway.dialled().await;
    let at = Instant::now();
    drop(socket);
    let link = gateway.welcome(&welcome()).await;
    assert_eq!((link.suite(), at.elapsed()), (Suite::NkChaChaPoly, Duration::ZERO));
    client.ready().await.unwrap();
    drop(link);
    let mut link = gateway.accept().await;
    assert_eq!(link.suite(), Suite::Nnpsk0ChaChaPoly, "the other ticket was kept");
    assert!(link.machine.identity().is_some_and(|identity| identity.psk[..] == first_ticket.psk[..]));
    assert!(matches!(link.next().await, Heard::Auth { .. }));
    drop(link);
    assert_eq!(gateway.accept().await.suite(), Suite::NkChaChaPoly, "both were used");
}

#[tokio::test(start_paused = true)]
async fn a_ticket_is_used_with_the_cipher_of_the_link_that_gave_it() {
    let (client, _pushes, mut gateway) = start(config());
    gateway.serve(&[Suite::NkAesGcm, Suite::Nnpsk0AesGcm]);
    let tickets = gateway.tickets(1);
    assert_eq!(gateway.try_accept().await.err(), Some(protocol::Error::Suite), "the client's first choice");
    for suite in [Suite::NkAesGcm, Suite::Nnpsk0AesGcm, Suite::Nnpsk0AesGcm] {
        let mut link = gateway.accept().await;
        assert_eq!(link.suite(), suite);
        assert!(matches!(link.next().await, Heard::Auth { .. }));
        link.welcome(&Welcome { tickets: tickets.clone(), ..welcome() }).await;
        client.ready().await.unwrap();
        drop(link);
        assert_eq!(failure(&client).await, Error::Cut);
    }
}

#[tokio::test(start_paused = true)]
async fn every_close_code_before_the_welcome_is_told_and_obeyed() {
    for &code in CloseCode::ALL {
        let (client, _pushes, mut gateway) = start(config());
        let early = spawn(&client, b"early");
        let mut link = gateway.accept().await;
        assert!(matches!(link.next().await, Heard::Auth { .. }));
        link.close(Close { code: code.number(), text: "because", ..Close::default() }).await;
        let error = failure(&client).await;
        let Error::Closed(closed) = &error else { panic!("{error:?}") };
        assert_eq!((closed.code, &*closed.text), (Some(code), "because"));
        let ended = matches!(client.state(), State::Ended(_));
        assert_eq!(ended, error.is_final(), "{}", code.name());
        let auth = Outcome::Refused { reason: Reason::Refusal(Refusal::Auth), retry_after: Duration::ZERO };
        assert_eq!(early.await.unwrap(), auth, "{}: nothing has left the gateway", code.name());
    }
}

#[tokio::test(start_paused = true)]
async fn the_gateways_wish_to_be_left_alone_is_kept() {
    let (client, _pushes, mut gateway, link) = linked(config(), &welcome()).await;
    let at = Instant::now();
    link.close(Close { code: CloseCode::GoingAway.number(), retry_after_ms: 30_000, ..Close::default() })
        .await;
    gateway.dialled().await;
    assert!(
        at.elapsed() >= Duration::from_secs(30) && at.elapsed() < Duration::from_secs(31),
        "{:?}",
        at.elapsed()
    );
    drop(client);
}

/// A gateway says when each of its links comes back, and has spread them already.
#[tokio::test(start_paused = true)]
async fn after_a_link_of_full_age_the_gateways_word_is_the_whole_pause() {
    let (client, _pushes, mut gateway, link) = linked(config(), &welcome()).await;
    let aged = Close { code: CloseCode::LinkAge.number(), retry_after_ms: 2_000, ..Close::default() };
    let at = Instant::now();
    link.close(aged).await;
    let again = gateway.welcome(&welcome()).await;
    assert_eq!(at.elapsed(), Duration::from_secs(2));
    // A gateway that says it at once and over and over is met with pauses that grow.
    let at = Instant::now();
    again.close(Close { retry_after_ms: 0, ..aged }).await;
    for _ in 0..8 {
        gateway.welcome(&welcome()).await.close(Close { retry_after_ms: 0, ..aged }).await;
    }
    assert!(at.elapsed() > Duration::from_secs(1), "{:?}", at.elapsed());
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_told_not_to_come_back_stays_away() {
    let (client, mut pushes, mut gateway, link) = linked(config(), &welcome()).await;
    let code = CloseCode::Kicked.number();
    link.close(Close { code, do_not_reconnect: true, ..Close::default() }).await;
    assert!(matches!(client.ended().await, Error::Closed(closed) if closed.code == Some(CloseCode::Kicked)));
    assert!(!gateway.is_dialled(Duration::from_secs(3_600)).await);
    assert_eq!(pushes.next().await, None);
    let refused = Outcome::Refused { reason: Reason::Ended, retry_after: Duration::ZERO };
    assert_eq!(client.request("echo", b"", "").await, refused);
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

/// Until the client has done all it can. The clock of these tests is paused: it moves only when every task waits for
/// something, so what comes behind this comes after all that could happen before it.
async fn until_everybody_waits() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_close_that_was_not_read_before_a_request_found_the_link_gone_is_obeyed() {
    let kicked = Close { code: CloseCode::Kicked.number(), do_not_reconnect: true, ..Close::default() };
    let (client, _pushes, mut gateway) = closed_behind_pushes(kicked).await;
    let request = spawn(&client, b"?");
    let error = failure(&client).await;
    assert!(matches!(error, Error::Closed(closed) if closed.code == Some(CloseCode::Kicked)));
    assert_eq!(request.await.unwrap(), Outcome::Unknown);
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
        assert_eq!(request.await.unwrap(), Outcome::Unknown);
        assert!(at.elapsed() <= Duration::from_secs(1), "{:?}", at.elapsed());
        pushing.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_replaced_by_a_fresh_one() {
    let occasions = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&occasions);
    let credentials = Credentials::ask(move |occasion| {
        let mut seen = seen.lock().unwrap();
        seen.push(occasion);
        std::future::ready(Ok::<_, String>(format!("token {}", seen.len()).into()))
    });
    let (client, _pushes, mut gateway) = start(Config { credentials, ..config() });
    let mut link = gateway.accept().await;
    assert!(matches!(link.next().await, Heard::Auth { token, .. } if token == b"token 1"));
    link.close(Close { code: CloseCode::TokenExpired.number(), ..Close::default() }).await;
    let mut link = gateway.accept().await;
    assert!(matches!(link.next().await, Heard::Auth { token, .. } if token == b"token 2"));
    link.welcome(&welcome()).await;
    client.ready().await.unwrap();
    assert_eq!(*occasions.lock().unwrap(), [Occasion::Connect, Occasion::Refused(CloseCode::TokenExpired)]);
}

#[tokio::test(start_paused = true)]
async fn credentials_that_cannot_be_had_are_asked_for_again_later() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let credentials = Credentials::ask(move |_| {
        let nth = count.fetch_add(1, Ordering::Relaxed);
        std::future::ready(if nth == 0 { Err("no network") } else { Ok("t".into()) })
    });
    let (client, _pushes, mut gateway) = start(Config { credentials, ..config() });
    assert_eq!(failure(&client).await, Error::Credentials("no network".to_owned()));
    gateway.welcome(&welcome()).await;
    assert_eq!(asked.load(Ordering::Relaxed), 2);
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
async fn pauses_grow_while_nothing_answers_and_start_again_after_a_link_that_lived() {
    let (client, _pushes, mut gateway) = start(config());
    let mut longest = Duration::ZERO;
    let mut before = Instant::now();
    for _ in 0..12 {
        drop(gateway.dialled().await);
        longest = longest.max(before.elapsed());
        before = Instant::now();
    }
    assert!(longest > Duration::from_millis(500) && longest <= Duration::from_secs(60), "{longest:?}");
    let mut link = gateway.welcome(&welcome()).await;
    let up = Instant::now();
    while up.elapsed() < 2 * HEARTBEAT {
        assert_eq!(link.next().await, Heard::Ping);
        link.send(&[Frame::Pong { nonce: 0 }]).await;
    }
    drop(link);
    let at = Instant::now();
    gateway.dialled().await;
    assert!(at.elapsed() <= Duration::from_millis(501), "{:?}", at.elapsed());
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn addresses_take_turns_while_attempts_fail() {
    let addresses = vec!["one:1".to_owned(), "two:2".to_owned()];
    let (client, _pushes, mut gateway) = start(Config { addresses, ..config() });
    for expected in ["one:1", "two:2", "one:1"] {
        assert_eq!(gateway.dialled().await.0, expected);
    }
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_refuses_costs_no_pause_and_a_full_round_does() {
    let addresses = ["one:1", "two:2", "three:3"].map(str::to_owned).to_vec();
    let (client, _pushes, mut gateway) = start(Config { addresses, ..config() });
    let begin = Instant::now();
    for expected in ["one:1", "two:2", "three:3"] {
        assert_eq!(gateway.dialled().await.0, expected);
    }
    assert_eq!(begin.elapsed(), Duration::ZERO);
    let mut pauses = 0;
    for _ in 0..5 {
        for expected in ["one:1", "two:2", "three:3"] {
            let before = Instant::now();
            assert_eq!(gateway.dialled().await.0, expected);
            pauses += u32::from(!before.elapsed().is_zero());
        }
    }
    assert!((3..=5).contains(&pauses), "{pauses} in five rounds, and one may be drawn as nothing");
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_says_something_is_heeded_and_not_taken_for_gone() {
    let addresses = ["one:1", "two:2"].map(str::to_owned).to_vec();
    let (client, _pushes, mut gateway) = start(Config { addresses, ..config() });
    let later = Close { code: CloseCode::TryLater.number(), retry_after_ms: 3000, ..Close::default() };
    gateway.accept().await.close(later).await;
    let before = Instant::now();
    assert_eq!(gateway.dialled().await.0, "two:2");
    assert!(before.elapsed() >= Duration::from_secs(3));
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn after_a_lost_link_its_address_is_asked_last() {
    let addresses = ["frozen:1", "well:2"].map(str::to_owned).to_vec();
    let (client, _pushes, mut gateway) = start(Config { addresses, ..config() });
    let mut frozen = gateway.welcome(&welcome()).await;
    // It stands still: nothing is answered any more.
    assert_eq!(frozen.next().await, Heard::Ping);
    let (address, socket) = gateway.dialled().await;
    assert_eq!(address, "well:2");
    drop((socket, frozen, client));
}

#[tokio::test(start_paused = true)]
async fn connect_tries_each_address_once() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = listener.local_addr().unwrap().to_string();
    drop(listener);
    let addresses = vec![nobody.clone(), nobody];
    let error = Client::connect(Config { addresses, ..config() }).await.err();
    assert!(matches!(error, Some(Error::Network(std::io::ErrorKind::ConnectionRefused, _))), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_takes_too_long_is_given_up() {
    let (client, _pushes, mut gateway) = start(config());
    let held = gateway.dialled().await;
    let at = Instant::now();
    assert_eq!(failure(&client).await, Error::Timeout);
    assert_eq!(at.elapsed().as_secs(), 10);
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn a_clear_reply_leads_down_the_own_list_and_no_further() {
    let (client, _pushes, mut gateway) = start(config());
    gateway.allow(&[Suite::NkAesGcm, Suite::IkAesGcm]);
    let at = Instant::now();
    assert_eq!(gateway.try_accept().await.err(), Some(protocol::Error::Suite));
    let link = gateway.welcome(&welcome()).await;
    assert_eq!((link.suite(), at.elapsed()), (Suite::NkAesGcm, Duration::ZERO), "at once");
    client.ready().await.unwrap();
    gateway.allow(&[Suite::IkAesGcm]);
    drop(link);
    assert_eq!(gateway.try_accept().await.err(), Some(protocol::Error::Suite));
    let none = |state: &State| matches!(state, State::Connecting { after: Some(Error::Rejected(_)) });
    let State::Connecting { after: Some(error) } = client.states().wait_for(none).await.unwrap().clone()
    else {
        unreachable!("waited for");
    };
    assert_eq!(error.to_string(), "the gateway allows none of our suites");
}

#[tokio::test(start_paused = true)]
async fn a_forged_clear_reply_costs_an_attempt_and_not_the_better_suite() {
    let (client, _pushes, mut gateway) = start(config());
    // Somebody on the path claims that only the second suite is served.
    let (_, mut socket) = gateway.dialled().await;
    let forged = protocol::noise::preamble::ClearReply {
        reason: 2,
        versions: 2,
        suites: protocol::noise::Suites::of(&[Suite::NkAesGcm]),
        key_id: gateway::public().key_id(),
        wait: 0,
    };
    tokio::io::AsyncWriteExt::write_all(&mut socket, &forged.encode()).await.unwrap();
    let link = gateway.accept().await;
    assert_eq!(link.suite(), Suite::NkAesGcm);
    assert_eq!(failure(&client).await, Error::Protocol(protocol::Error::Downgrade));
    assert_eq!(gateway.accept().await.suite(), Suite::NkChaChaPoly);
}

#[tokio::test(start_paused = true)]
async fn new_server_keys_are_shown_and_used_when_the_old_one_is_retired() {
    let next = StaticKey::from_secret([0x44; 32]);
    let (client, _pushes, mut gateway) = start(config());
    let announced = [gateway::public(), next.public()]
        .map(|key| ServerKey { key: key.0.to_vec().into(), ..ServerKey::default() });
    let with_key = Welcome { server_keys: announced.to_vec(), ..welcome() };
    let link = gateway.welcome(&with_key).await;
    let session = client.ready().await.unwrap();
    let keys: Vec<_> = session.server_keys.iter().map(|known| known.key).collect();
    assert_eq!(keys, [gateway::public(), next.public()]);
    let suites = protocol::noise::Suites::of(&[Suite::NkChaChaPoly]);
    gateway.acceptor = protocol::link::Acceptor::new(next, suites, &[gateway::public()], None);
    drop(link);
    assert_eq!(gateway.try_accept().await.err(), Some(protocol::Error::RetiredKey));
    gateway.welcome(&welcome()).await;
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
    assert_eq!(open.await.unwrap(), Outcome::Unknown);
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
