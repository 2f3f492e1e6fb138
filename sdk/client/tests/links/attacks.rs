//! What nobody but the owner of the pinned key can make a client do: each test is an attack, or a fault that looks like
//! one.

use std::time::Duration;

use client::{Binder, Client, Config, Error, Pushes, ServerKey, State};
use protocol::CloseCode;
use protocol::limits::BUSY_MAX;
use protocol::link::Acceptor;
use protocol::noise::preamble::{ClearReply, Rejection, VERSIONS};
use protocol::noise::{Bound, PublicKey, StaticKey, Suite, Suites};
use protocol::wire::frame::Close;
use protocol::wire::proto::link::{self, Welcome};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;

use crate::gateway::{self, Gateway, Heard, config, failure, start, welcome};

/// Another key of the gateway.
fn other() -> StaticKey {
    StaticKey::from_secret([0x44; 32])
}

fn announced(keys: &[PublicKey]) -> Vec<link::ServerKey> {
    keys.iter().map(|key| link::ServerKey { key: key.0.to_vec().into(), ..Default::default() }).collect()
}

/// Whether the `Close` that ended a client for good came on a link with a proved key.
async fn end(client: &Client) -> Option<bool> {
    let mut states = client.states();
    let state = states.wait_for(|state| matches!(state, State::Ended(_))).await.expect("the task says so");
    match &*state {
        State::Ended(Error::Closed(closed)) => closed.do_not_reconnect.then_some(closed.proved),
        _ => None,
    }
}

/// A client with two tickets, between links.
async fn with_tickets(config: Config) -> (Client, Pushes, Gateway) {
    let (client, pushes, mut gateway) = start(config);
    let tickets = gateway.tickets(2);
    drop(gateway.welcome(&Welcome { tickets, ..welcome() }).await);
    assert_eq!(failure(&client).await, Error::Cut);
    (client, pushes, gateway)
}

/// Answers the next hello with a clear reply, as anybody on the path can.
async fn reply(gateway: &mut Gateway, reason: Rejection, suites: &[Suite], key: PublicKey, wait: u16) {
    let (_, mut socket) = gateway.dialled().await;
    let (reason, suites) = (reason as u8, Suites::of(suites));
    let reply = ClearReply { reason, versions: VERSIONS, suites, key_id: key.key_id(), wait };
    socket.write_all(&reply.encode()).await.expect("the client reads");
}

#[tokio::test(start_paused = true)]
async fn the_thief_of_a_tickets_secret_changes_no_key_and_no_suite() {
    let (client, _pushes, mut gateway) = with_tickets(config()).await;
    let mut thief = gateway.accept().await;
    assert_eq!(thief.suite(), Suite::Nnpsk0ChaChaPoly);
    assert!(matches!(thief.next().await, Heard::Auth { .. }));
    thief.welcome(&Welcome { server_keys: announced(&[other().public()]), ..welcome() }).await;
    let session = client.ready().await.expect("the link is up");
    assert_eq!(session.server_keys, [ServerKey::from(gateway::public())]);
    drop(thief);
    gateway.serve(&[Suite::NkChaChaPoly]);
    assert_eq!(gateway.try_accept().await.err(), Some(protocol::Error::Suite), "the other ticket");
    assert_eq!(gateway.accept().await.suite(), Suite::NkChaChaPoly, "of the true gateway");
}

#[tokio::test(start_paused = true)]
async fn what_a_link_without_a_proved_key_forbids_is_not_to_be_stored() {
    let forbids = Close { code: 12, do_not_reconnect: true, ..Close::default() };
    let (client, _pushes, mut gateway) = with_tickets(config()).await;
    gateway.accept().await.close(forbids).await;
    assert_eq!(end(&client).await, Some(false));
    let (client, _pushes, mut gateway) = start(config());
    gateway.accept().await.close(forbids).await;
    assert_eq!(end(&client).await, Some(true));
}

#[tokio::test(start_paused = true)]
async fn the_list_of_a_proved_link_takes_the_place_of_the_keys_of_the_app() {
    let stolen = gateway::public();
    let (client, _pushes, mut gateway) = start(config());
    let list = Welcome { server_keys: announced(&[other().public()]), ..welcome() };
    let link = gateway.welcome(&list).await;
    let session = client.ready().await.expect("the link is up");
    assert_eq!(session.server_keys, [ServerKey::from(other().public())], "to be stored by the application");
    drop(link);
    assert_eq!(gateway.try_accept().await.err(), Some(protocol::Error::Gate), "the stolen key is not called");
    gateway.acceptor = Acceptor::new(other(), Suites::of(&Suite::ALL), &[stolen], None);
    gateway.welcome(&welcome()).await;
}

#[tokio::test(start_paused = true)]
async fn there_is_no_way_back_to_a_key_before_the_one_that_was_proved() {
    let old = gateway::public();
    let both = vec![old.into(), other().public().into()];
    let (client, _pushes, mut gateway) = start(Config { server_keys: both, ..config() });
    let suites = Suites::of(&Suite::ALL);
    gateway.acceptor = Acceptor::new(other(), suites, &[old], None);
    assert_eq!(gateway.try_accept().await.err(), Some(protocol::Error::RetiredKey));
    let link = gateway.welcome(&welcome()).await;
    let session = client.ready().await.expect("the link is up");
    assert_eq!(session.server_keys, [ServerKey::from(other().public())]);
    drop(link);
    // Somebody who has the old key claims that it is the new one that was retired; then there is silence.
    reply(&mut gateway, Rejection::RetiredKey, &[], old, 0).await;
    drop(gateway.dialled().await);
    let _link = gateway.welcome(&welcome()).await;
    assert_eq!(client.ready().await.expect("the link is up").server_keys.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn silence_is_met_with_every_good_key_at_one_address_before_the_next_address() {
    // Millennia from now, whenever that is.
    let later = ServerKey { not_before: protocol::UnixMillis(1 << 50), ..PublicKey([9; 32]).into() };
    let keys = vec![other().public().into(), later, gateway::public().into()];
    let addresses = vec!["one:1".to_owned(), "two:2".to_owned()];
    let (_client, _pushes, mut gateway) = start(Config { addresses, server_keys: keys, ..config() });
    for expected in ["one:1", "one:1", "two:2", "two:2", "one:1"] {
        // One of them is not used yet, and two are tried.
        let (address, socket) = gateway.dialled().await;
        assert_eq!(address, expected);
        drop(socket);
    }
    gateway.welcome(&welcome()).await;
}

#[tokio::test(start_paused = true)]
async fn a_busy_gateway_is_left_alone_and_the_ticket_is_kept() {
    let (_client, _pushes, mut gateway) = with_tickets(config()).await;
    reply(&mut gateway, Rejection::Busy, &Suite::ALL, gateway::public(), 50).await;
    let at = Instant::now();
    let mut link = gateway.accept().await;
    assert!(at.elapsed() >= Duration::from_secs(5), "{:?}", at.elapsed());
    assert_eq!(link.suite(), Suite::Nnpsk0ChaChaPoly, "and no full handshake instead");
    assert!(matches!(link.next().await, Heard::Auth { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_forged_busy_keeps_a_client_away_for_a_minute_at_most() {
    let (_client, _pushes, mut gateway) = start(config());
    reply(&mut gateway, Rejection::Busy, &[], gateway::public(), u16::MAX).await;
    let at = Instant::now();
    gateway.welcome(&welcome()).await;
    let jitter = Duration::from_millis(500);
    assert!((BUSY_MAX..BUSY_MAX + jitter).contains(&at.elapsed()), "{:?}", at.elapsed());
}

#[tokio::test(start_paused = true)]
async fn who_is_told_in_the_clear_to_stay_away_tries_the_other_addresses_at_once_and_heeds_it_after() {
    let addresses = ["one:1", "two:2"].map(str::to_owned).to_vec();
    let (_client, _pushes, mut gateway) = start(Config { addresses, ..config() });
    let at = Instant::now();
    reply(&mut gateway, Rejection::Busy, &[], gateway::public(), 50).await;
    let (address, socket) = gateway.dialled().await;
    assert_eq!((&*address, at.elapsed()), ("two:2", Duration::ZERO));
    drop(socket);
    assert_eq!(gateway.dialled().await.0, "one:1");
    assert!((5..6).contains(&at.elapsed().as_secs()), "{:?}", at.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_refused_ticket_leads_to_a_full_handshake_at_once_and_costs_no_other() {
    let (client, _pushes, mut gateway) = with_tickets(config()).await;
    reply(&mut gateway, Rejection::TicketRefused, &Suite::ALL, gateway::public(), 0).await;
    let at = Instant::now();
    let link = gateway.welcome(&welcome()).await;
    assert_eq!((link.suite(), at.elapsed()), (Suite::NkChaChaPoly, Duration::ZERO));
    client.ready().await.expect("the link is up");
    drop(link);
    assert_eq!(gateway.accept().await.suite(), Suite::Nnpsk0ChaChaPoly, "the other one");
}

#[tokio::test(start_paused = true)]
async fn a_forged_clear_reply_throws_no_ticket_away() {
    for reason in [Rejection::Version, Rejection::Suite, Rejection::RetiredKey] {
        let (_client, _pushes, mut gateway) = with_tickets(config()).await;
        reply(&mut gateway, reason, &[Suite::NkChaChaPoly], gateway::public(), 0).await;
        assert_eq!(gateway.accept().await.suite(), Suite::NkChaChaPoly, "the next try");
        for _ in 0..2 {
            let mut link = gateway.accept().await;
            assert_eq!(link.suite(), Suite::Nnpsk0ChaChaPoly, "{reason:?}: both are still there");
            assert!(matches!(link.next().await, Heard::Auth { .. }));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_suite_that_was_served_under_a_key_is_not_talked_down() {
    let served = Suites::of(&[Suite::NkChaChaPoly, Suite::NkAesGcm]);
    let key = ServerKey { suites: served, ..gateway::public().into() };
    let (client, _pushes, mut gateway) = start(Config { server_keys: vec![key], ..config() });
    reply(&mut gateway, Rejection::Suite, &[Suite::NkAesGcm], gateway::public(), 0).await;
    assert!(matches!(failure(&client).await, Error::Rejected(_)));
    let link = gateway.accept().await;
    assert_eq!(link.suite(), Suite::NkChaChaPoly, "its best one again, and no other");
}

#[tokio::test(start_paused = true)]
async fn a_bound_token_and_the_tickets_that_replace_it_are_signed_for_each_link() {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[5; 32]).expect("a seed");
    let key: [u8; 32] = pair.public_key().as_ref().try_into().expect("32 bytes");
    let binder = Binder::new(move |message| pair.sign(message).as_ref().to_vec());
    let (_client, _pushes, mut gateway) = start(Config { binder: Some(binder), ..config() });
    let tickets = gateway.tickets(1);
    let name = tickets[0].ticket.clone();
    let link = gateway.welcome(&Welcome { tickets, ..welcome() }).await;
    let h = *link.machine.binding().expect("it has keys").0;
    assert!(Bound::Token(b"token").is_signed(&h, &key, &link.signature));
    drop(link);
    let mut link = gateway.accept().await;
    assert!(matches!(link.next().await, Heard::Auth { .. }));
    let h = *link.machine.binding().expect("it has keys").0;
    assert!(Bound::Ticket(&name).is_signed(&h, &key, &link.signature));
}

#[tokio::test(start_paused = true)]
async fn a_week_after_the_last_proof_of_the_key_it_is_proved_again() {
    let (client, _pushes, mut gateway) = start(config());
    let mut suites = Vec::new();
    for _ in 0..16 {
        let mut link = gateway.accept().await;
        suites.push(link.suite());
        assert!(matches!(link.next().await, Heard::Auth { .. }));
        let tickets = gateway.tickets(1);
        link.welcome(&Welcome { tickets, ..welcome() }).await;
        client.ready().await.expect("the link is up");
        // Almost half a day, in which the ticket stays good.
        tokio::time::advance(Duration::from_secs((12 * 60 - 2) * 60)).await;
        link.close(Close { code: CloseCode::GoingAway.number(), ..Close::default() }).await;
    }
    let full: Vec<_> = (0..16).filter(|&at| suites[at] == Suite::NkChaChaPoly).collect();
    assert_eq!(full, [0, 15], "{suites:?}");
}
