//! What a link tells of itself in each of its states, and what a ticket changes of that.

use super::*;
use crate::noise::ticket::{Identity, TicketKeys};
use crate::noise::{Cipher, KeyId};
use zeroize::Zeroizing;

const NOW: UnixMillis = UnixMillis(1_000);
const PSK: [u8; 32] = [0x33; 32];

/// Open, authenticating, live.
fn states(server: &ServerLink) -> [bool; 3] {
    [server.is_open(), server.is_authenticating(), server.is_live()]
}

#[test]
fn a_link_opens_authenticates_and_lives_one_after_the_other() {
    let mut pair = Pair::new(Suite::IkAesGcm);
    assert_eq!((states(&pair.server), pair.server.origin()), ([false; 3], None));
    assert_eq!((pair.client.offered(), pair.client.handshake_hash()), (None, None));
    pair.connect();
    assert_eq!((states(&pair.server), pair.server.origin()), ([true, false, false], Some(Suite::IkAesGcm)));
    assert_eq!(pair.client.offered(), Some(all_suites()));
    assert_eq!(pair.up(&[AUTH]), Ok(vec!["auth"]));
    assert_eq!(states(&pair.server), [true, true, false]);
    pair.server.welcome(HEARTBEAT, pair.now);
    assert_eq!(states(&pair.server), [true, false, true]);
    assert!(pair.server.identity().is_none() && !pair.server.owns_ticket(&[]));
}

#[test]
fn message_2_may_stand_behind_other_bytes_of_a_batch() {
    let mut pair = Pair::new(Suite::NkChaChaPoly);
    assert_eq!(pair.hail(&mut Vec::new()), Ok(true));
    let hello = pair.partials[0].take(pair.places[0]).expect("it was kept");
    let mut batch = b"before".to_vec();
    let (acceptor, now) = (&pair.acceptor, pair.now);
    pair.server.handshake(hello.gathered(), acceptor, [5; 32], now, NOW, &mut batch).expect("it opens");
    assert!(batch.starts_with(b"before"));
    assert_eq!(pair.deliver_down(&batch[6..]), Ok(Vec::new()));
    assert!(pair.client.is_open());
}

fn identity(key: KeyId, bound_key: Option<[u8; 32]>) -> Identity {
    Identity {
        psk: Zeroizing::new(PSK),
        origin_suite: Suite::NkAesGcm,
        server_key_id: key,
        issued: NOW,
        auth_time: NOW,
        login: 5,
        token_exp: None,
        end: None,
        epoch: 0,
        user: b"alice".to_vec(),
        device: b"phone".to_vec(),
        device_key: None,
        bound_key,
        class: crate::DeviceClass::Unknown,
        limit_class: Vec::new(),
    }
}

/// A client that comes back with a ticket, up to the complete hello.
fn returning(bound_key: Option<[u8; 32]>) -> Pair {
    let mut pair = Pair::new(Suite::NkAesGcm);
    let keys = TicketKeys::new([8; 32], "realm", NOW);
    let key = StaticKey::from_secret([9; 32]);
    let ticket = keys.issue(&identity(key.public().key_id(), bound_key), &[1; 16]).expect("it fits");
    let suites = Suites::from_bits(all_suites().bits() | Suite::Nnpsk0AesGcm.bit());
    pair.acceptor = Acceptor::new(key, suites, &[], Some(keys));
    pair.suite = Suite::Nnpsk0AesGcm;
    pair.redial(Suites::NONE, Some((&ticket, &PSK)));
    pair
}

#[test]
fn with_a_ticket_the_user_is_known_until_it_is_forgotten_and_ranks_as_it_was_proved() {
    let mut pair = returning(None);
    pair.connect();
    assert_eq!(pair.server.binding().map(|(_, suite, _)| suite), Some(Suite::Nnpsk0AesGcm));
    assert_eq!(pair.server.origin(), Some(Suite::NkAesGcm));
    assert_eq!(pair.server.identity().map(|identity| &identity.user[..]), Some(&b"alice"[..]));
    assert!(pair.server.owns_ticket(&[]), "it is bound to no key");
    pair.server.forget_identity();
    assert!(pair.server.identity().is_none() && !pair.server.owns_ticket(&[]));
    let mut pair = returning(Some([6; 32]));
    pair.connect();
    assert!(!pair.server.owns_ticket(&[]) && !pair.server.owns_ticket(&[0; 64]), "nobody has signed");
}

#[test]
fn a_message_1_is_told_from_others_where_it_could_be_repeated() {
    let mut pair = returning(None);
    assert_eq!(pair.server.fingerprint(&pair.hello), None, "nothing of it was read");
    assert_eq!(pair.hail(&mut Vec::new()), Ok(true));
    assert_eq!(pair.server.fingerprint(&pair.hello), Some(&pair.hello[pair.hello.len() - 48..]));
    assert_eq!(pair.server.fingerprint(&pair.hello[..47]), None);
    let mut pair = Pair::new(Suite::NkAesGcm);
    assert_eq!(pair.hail(&mut Vec::new()), Ok(true));
    assert_eq!(pair.server.fingerprint(&pair.hello), None, "its client would have to do the work again");
}

#[test]
fn tickets_are_taken_where_there_are_keys_and_a_suite_for_them() {
    let keys = || Some(TicketKeys::new([8; 32], "realm", NOW));
    let both = Suites::from_bits(all_suites().bits() | Suite::Nnpsk0AesGcm.bit());
    let acceptor = |suites, keys| Acceptor::new(StaticKey::from_secret([9; 32]), suites, &[], keys);
    assert!(acceptor(both, keys()).takes_tickets(Cipher::AesGcm));
    assert!(!acceptor(both, keys()).takes_tickets(Cipher::ChaChaPoly));
    assert!(!acceptor(both, None).takes_tickets(Cipher::AesGcm));
    assert!(!acceptor(all_suites(), keys()).takes_tickets(Cipher::AesGcm));
}

#[test]
fn bytes_are_a_sign_of_the_gateways_life_and_nothing_is_none() {
    let mut pair = Pair::live();
    pair.client.welcomed(HEARTBEAT, 0, Time::ZERO);
    for intervals in 1..=3 {
        pair.now = Time::ZERO + intervals * HEARTBEAT;
        assert_eq!(pair.client.expire(pair.now), Ok(true), "{intervals}");
        assert_eq!(pair.down(&[Frame::Pong { nonce: 0 }]), Ok(vec!["pong"]));
    }
    let heard = pair.now;
    pair.now = heard + HEARTBEAT;
    assert_eq!(pair.client.expire(pair.now), Ok(true));
    assert_eq!(pair.deliver_down(&[]), Ok(vec![]));
    assert_eq!(pair.client.expire(heard + 2 * HEARTBEAT), Ok(true));
    assert_eq!(pair.client.expire(heard + 3 * HEARTBEAT), Err(Error::HeartbeatTimeout));
}
