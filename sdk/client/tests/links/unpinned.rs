//! A client that has no server key: what it shows to whoever answers, and what it keeps of them.

use std::sync::Arc;
use std::time::Duration;

use client::{Binder, Client, Config, Credentials, Error, MemoryStore, Pushes};
use protocol::noise::{StaticKey, Suite};
use protocol::wire::frame::Close;
use protocol::wire::proto::link::{ServerKey, Welcome};

use crate::gateway::{self, Gateway, Heard, failure, session, start, welcome};

const XX: [Suite; 2] = [Suite::XxChaChaPoly, Suite::XxAesGcm];

fn key() -> StaticKey {
    StaticKey::from_secret([3; 32])
}

/// A token that names the key of [`key`], or another one.
fn token(is_own: bool) -> String {
    use base64::Engine as _;
    let base64 = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    let named = if is_own { key().public().0 } else { [9; 32] };
    let claims = format!(
        r#"{{"sub":"alice","cnf":{{"jwk":{{"kty":"OKP","crv":"X25519","x":"{}"}}}}}}"#,
        base64(&named)
    );
    format!("{}.{}.{}", base64(br#"{"alg":"EdDSA"}"#), base64(claims.as_bytes()), base64(b"signature"))
}

fn config(token: &str) -> Config {
    Config::unpinned("gateway:1", key(), Credentials::token(token.to_owned()), "alice", "phone")
}

fn start_at(config: Config, suites: &[Suite]) -> (Client, Pushes, Gateway) {
    let (client, pushes, mut gateway) = start(config);
    gateway.allow(suites);
    (client, pushes, gateway)
}

#[tokio::test(start_paused = true)]
async fn it_links_with_a_token_that_names_its_key_and_keeps_nothing() {
    let signs = Binder::new(|_: &[u8]| vec![7; 64]);
    // Not even for an application that would have it kept.
    let (binder, store) = (Some(signs), Some(Arc::new(MemoryStore::default()) as _));
    let config = Config { binder, store, resume: true, tickets: true, ..config(&token(true)) };
    let (client, _pushes, mut gateway) = start_at(config, &XX);
    let mut link = gateway.accept().await;
    assert_eq!(link.suite(), Suite::XxChaChaPoly);
    let (h, _, peer) = link.machine.binding().expect("it has keys");
    assert_eq!((peer, h.len()), (Some(&key().public()), 32));
    let heard = link.next().await;
    assert!(matches!(heard, Heard::Auth { token: ref said, .. } if *said == token(true).as_bytes()));
    assert!(link.signature.is_empty(), "a signature of this hash could be passed on");
    let announced = ServerKey { key: gateway::public().0.to_vec().into(), ..ServerKey::default() };
    let ticket = protocol::wire::proto::link::Ticket {
        ticket: vec![1; 356].into(),
        psk: vec![2; 32].into(),
        expires_ms: u64::MAX,
    };
    let greedy = Welcome { server_keys: vec![announced], tickets: vec![ticket], ..session(7) };
    link.welcome(&greedy).await;
    let session = client.ready().await.expect("the link is up");
    assert!(session.server_keys.is_empty(), "there is nothing to store");
    drop(link);
    // Nor does it come back with what was given to it.
    let (again, wish) = gateway.wished().await;
    assert_eq!((again.suite(), wish), (Suite::XxChaChaPoly, None));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_does_not_name_its_key_is_not_sent_and_nobody_is_called() {
    let (client, _pushes, mut gateway) = start_at(config(&token(false)), &XX);
    assert_eq!(failure(&client).await, Error::Unbound);
    assert!(!gateway.is_dialled(Duration::from_millis(10)).await, "nothing was sent");
}

#[tokio::test(start_paused = true)]
async fn it_goes_down_its_own_list_and_never_to_a_suite_with_a_key() {
    let (_client, _pushes, mut gateway) = start_at(config(&token(true)), &XX[1..]);
    assert_eq!(gateway.try_accept().await.err(), Some(protocol::Error::Suite));
    let mut link = gateway.accept().await;
    assert_eq!(link.suite(), Suite::XxAesGcm);
    assert!(matches!(link.next().await, Heard::Auth { .. }));
}

#[tokio::test(start_paused = true)]
async fn what_forbids_it_to_come_back_is_not_proved() {
    let (client, _pushes, mut gateway) = start_at(config(&token(true)), &XX);
    let link = gateway.welcome(&welcome()).await;
    client.ready().await.expect("the link is up");
    link.close(Close { code: 1, do_not_reconnect: true, ..Close::default() }).await;
    let Error::Closed(closed) = failure(&client).await else { panic!("it was closed") };
    assert!(closed.do_not_reconnect && !closed.proved, "it holds for this run, and is not to be stored");
}
