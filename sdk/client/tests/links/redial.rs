//! When a client dials again, and where: after a lost link, a refusal, a `Close` or a silence.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::{Client, Config, Credentials, Error, Occasion, Outcome, Reason, State};
use protocol::noise::{StaticKey, Suite};
use protocol::wire::frame::{Close, Frame};
use protocol::wire::proto::link::{ServerKey, Welcome};
use protocol::{CloseCode, Refusal};
use tokio::time::Instant;

use crate::gateway::{
    self, HEARTBEAT, Heard, answered, config, failure, linked, lost, spawn, start, welcome,
};

#[tokio::test(start_paused = true)]
async fn a_cut_link_makes_open_requests_unknown_and_the_client_comes_back_by_ticket() {
    let (client, _pushes, mut gateway) = start(config());
    let with_tickets = Welcome { tickets: gateway.tickets(2), ..welcome() };
    let mut link = gateway.welcome(&with_tickets).await;
    assert_eq!(link.suite(), Suite::NkChaChaPoly);
    let open = spawn(&client, b"1");
    link.asked().await;
    drop(link);
    assert_eq!(open.await.unwrap(), lost());
    assert_eq!(failure(&client).await, Error::Cut);
    let waiting = spawn(&client, b"2");
    let mut link = gateway.accept().await;
    assert_eq!(link.suite(), Suite::Nnpsk0ChaChaPoly);
    let auth = Heard::Auth { token: Vec::new(), user: Vec::new(), device: b"phone".to_vec() };
    assert_eq!(link.next().await, auth, "the ticket replaces the token and the claim");
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
async fn after_a_lost_link_all_addresses_are_asked_at_once_its_own_last_and_then_there_is_a_pause() {
    let addresses = ["one:1", "two:2", "three:3"].map(str::to_owned).to_vec();
    let (client, _pushes, mut gateway) = start(Config { addresses, ..config() });
    let mut pauses = 0;
    for _ in 0..9 {
        drop(gateway.welcome(&welcome()).await);
        let lost = Instant::now();
        for _ in 0..3 {
            drop(gateway.dialled().await);
        }
        assert_eq!(lost.elapsed(), Duration::ZERO, "a round");
        let socket = gateway.accept().await;
        pauses += u32::from(!lost.elapsed().is_zero());
        drop(socket);
    }
    assert!(pauses > 5, "{pauses} in nine rounds");
    drop(client);
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
