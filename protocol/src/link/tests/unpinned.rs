//! XX: three messages, no key that is known, and no gate.

use super::pair::encode;
use super::*;
use crate::buffer::Rest;
use crate::limits::MESSAGE_3_LEN;
use crate::noise::Unfinished;

const XX: [Suite; 2] = [Suite::XxChaChaPoly, Suite::XxAesGcm];

/// The gateway's end of a link whose message 2 is out.
struct Begun {
    server: ServerLink,
    unfinished: Unfinished,
    client: ClientLink,
}

fn device_key() -> StaticKey {
    StaticKey::from_secret([3; 32])
}

fn hello_of(suite: Suite) -> (Vec<u8>, ClientLink) {
    let mut hello = Vec::new();
    let client =
        ClientLink::dial_unpinned(suite, Suites::NONE, &device_key(), [4; 32], Time::ZERO, &mut hello);
    (hello, client.expect("good keys"))
}

/// What a listener of these suites makes of a hello: whether it is good, and the clear reply.
fn judge(suites: Suites, hello: &[u8]) -> (Result<bool, Error>, Vec<u8>) {
    let (mut server, mut chunk, mut reply) = (ServerLink::new(Time::ZERO), hello.to_vec(), Vec::new());
    let hailed = server.hail(&mut Input::new(&mut chunk, Rest::default()), &acceptor(suites), &mut reply);
    (hailed, reply)
}

fn begin(suite: Suite) -> Begun {
    let acceptor = acceptor(Suites::of(&XX));
    let (mut hello, mut client) = hello_of(suite);
    let (mut server, mut answer) = (ServerLink::new(Time::ZERO), Vec::new());
    let mut input = Input::new(&mut hello, Rest::default());
    assert_eq!(server.hail(&mut input, &acceptor, &mut answer), Ok(true));
    let hello = input.into_rest();
    let at = Time::ZERO + Duration::from_secs(1);
    let unfinished = server
        .handshake(hello.gathered(), &acceptor, [5; 32], at, UnixMillis(1), &mut answer)
        .expect("it opens");
    assert_eq!(answer.len(), 2 + 100);
    assert_eq!(client.receive(&mut Input::new(&mut answer, Rest::default()), at), Ok(None));
    assert!(client.is_open() && server.is_begun() && !server.is_heard_out() && !server.is_open());
    Begun { server, unfinished: unfinished.expect("message 3 is to come"), client }
}

/// What a client says first: message 3, and the record with its `Auth`.
fn first_words(client: &mut ClientLink) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&[AUTH], &mut out);
    client.seal(&mut out, 0, 1000);
    out
}

/// Reads bytes that arrive in pieces of so many, up to message 3 and to the end: what is left.
fn hear(server: &mut ServerLink, bytes: &[u8], piece: usize) -> Result<Rest, Error> {
    let mut rest = Rest::default();
    let mut pieces = bytes.to_vec();
    for piece in pieces.chunks_mut(piece) {
        let mut input = Input::new(piece, rest);
        if !server.is_heard_out() {
            server.hear_last(&mut input)?;
        }
        rest = input.into_rest();
    }
    Ok(rest)
}

#[test]
fn three_messages_open_a_link_wherever_the_third_is_cut() {
    for suite in XX {
        for piece in [1, 2, 65, 66, 67, 1000] {
            let Begun { mut server, unfinished, mut client } = begin(suite);
            let mut rest = hear(&mut server, &first_words(&mut client), piece).expect("a good message 3");
            server.finish(unfinished, &mut rest).expect("it opens");
            let (h, used, peer) = server.binding().expect("there are keys");
            assert_eq!((Some(h), used, peer), (client.handshake_hash(), suite, Some(&device_key().public())));
            assert_eq!(server.origin(), Some(suite));
            let mut input = Input::new(&mut [], rest);
            let frame = server.receive(&mut input, &RULES, Time::ZERO).expect("a good record");
            assert_eq!(frame.map(|frame| frame.name()), Some("auth"), "it came behind message 3");
        }
    }
}

#[test]
fn message_3_is_said_once() {
    let Begun { mut client, .. } = begin(Suite::XxAesGcm);
    let (first, second) = (first_words(&mut client), first_words(&mut client));
    assert_eq!(first.len(), second.len() + 2 + MESSAGE_3_LEN);
    assert_eq!(first[..2], [0, 64]);
}

#[test]
fn a_message_3_of_another_length_is_told_by_its_first_bytes_and_a_wrong_one_does_not_open() {
    for len in [0, 63, 65, 0x4000_u16] {
        let Begun { mut server, .. } = begin(XX[0]);
        let refused = hear(&mut server, &len.to_be_bytes(), 2).err();
        assert_eq!(refused, Some(Error::HandshakeLength(len.into())));
    }
    let Begun { mut server, unfinished, mut client } = begin(XX[0]);
    let mut said = first_words(&mut client);
    said[30] ^= 1;
    let mut rest = hear(&mut server, &said, 1000).expect("it has the right length");
    assert_eq!(server.finish(unfinished, &mut rest), Err(Error::Handshake));
    assert!(server.binding().is_none() && !server.is_begun());
    assert_eq!(Error::Handshake.close_code(), None, "silence");
}

#[test]
fn only_a_link_that_waits_for_message_3_hears_it() {
    let mut fresh = ServerLink::new(Time::ZERO);
    assert_eq!(hear(&mut fresh, &[0, 64], 2).err(), Some(Error::Early));
    let Begun { mut server, unfinished, mut client } = begin(XX[0]);
    assert_eq!(fresh.finish(unfinished, &mut Rest::default()), Err(Error::Early));
    let Begun { unfinished, .. } = begin(XX[0]);
    assert_eq!(server.finish(unfinished, &mut Rest::default()), Err(Error::Early), "it is not there yet");
    hear(&mut server, &first_words(&mut client), 1000).expect("a good message 3");
    assert_eq!(server.hear_last(&mut Input::new(&mut [], Rest::default())), Err(Error::Early), "it is there");
    let mut pinned = Pair::new(Suite::NkChaChaPoly);
    pinned.connect();
    assert_eq!(pinned.server.hear_last(&mut Input::new(&mut [], Rest::default())), Err(Error::Early));
}

#[test]
fn message_3_and_auth_share_one_deadline() {
    let Begun { mut server, unfinished, mut client } = begin(XX[0]);
    let end = Time::ZERO + Duration::from_secs(1) + RULES.auth_deadline;
    assert_eq!(server.deadline(&RULES), end, "counted from message 2");
    assert_eq!(server.expire(&RULES, end), Err(Error::HandshakeTimeout), "silence");
    let mut rest = hear(&mut server, &first_words(&mut client), 1000).expect("a good message 3");
    assert_eq!(server.deadline(&RULES), end);
    server.finish(unfinished, &mut rest).expect("it opens");
    assert_eq!(server.deadline(&RULES), end);
    assert_eq!(server.expire(&RULES, end), Err(Error::AuthTimeout));
}

#[test]
fn a_hello_without_a_key_is_heard_where_all_come_without_one_and_nowhere_else() {
    let (hello, _) = hello_of(XX[0]);
    let (silent, good) = (Vec::new(), Ok(true));
    assert_eq!(judge(Suites::of(&XX), &hello), (good, silent.clone()));
    assert_eq!(judge(Suites::of(&XX[..1]), &hello), (good, silent.clone()));
    let (other, reply) = judge(Suites::of(&XX[1..]), &hello);
    assert_eq!((other, reply[5]), (Err(Error::Suite), 2), "its own list may have the other one");
    let mixed = Suites::of(&[XX[0], Suite::NkChaChaPoly]);
    for gated in [all_suites(), mixed] {
        assert_eq!(judge(gated, &hello), (Err(Error::Gate), silent.clone()));
    }
}

#[test]
fn what_is_not_blank_in_a_hello_without_a_key_is_refused_in_silence() {
    let (hello, _) = hello_of(XX[0]);
    // Key id, tag, `versions` without version 1, `suites` without the suite.
    for (at, value) in [(6, 1), (9, 1), (16, 1), (31, 1), (10, 4), (13, 1)] {
        let mut wrong = hello.clone();
        wrong[at] = value;
        assert_eq!(judge(Suites::of(&XX), &wrong), (Err(Error::Preamble), Vec::new()), "byte {at}");
    }
    let mut with_ticket = hello.clone();
    with_ticket[15] = 1;
    with_ticket.insert(32, 7);
    assert_eq!(judge(Suites::of(&XX), &with_ticket), (Err(Error::Preamble), Vec::new()));
    let mut longer = hello;
    longer.push(0);
    assert_eq!(judge(Suites::of(&XX), &longer), (Err(Error::Early), Vec::new()));
}

#[test]
fn who_has_no_key_of_a_listener_without_a_gate_hears_nothing_of_it_by_another_suite() {
    let stranger = Pair::new(Suite::NkChaChaPoly);
    let mut hello = stranger.hello;
    let (told, reply) = judge(Suites::of(&XX), &hello);
    assert_eq!((told, reply[5]), (Err(Error::Suite), 2), "who has the key may hear what is served");
    hello[20] ^= 1;
    assert_eq!(judge(Suites::of(&XX), &hello), (Err(Error::Gate), Vec::new()));
}

#[test]
fn a_suite_wants_a_server_key_or_none() {
    let dialled = |suite| {
        let key = device_key();
        ClientLink::dial_unpinned(suite, Suites::NONE, &key, [4; 32], Time::ZERO, &mut Vec::new()).err()
    };
    assert_eq!(dialled(Suite::IkAesGcm), Some(Error::Suite));
    let server = acceptor(all_suites()).public();
    let gate = Gate::new(&server);
    let dial = Dial {
        server: &server,
        gate: &gate,
        suite: XX[0],
        better: Suites::NONE,
        served: Suites::NONE,
        device_key: Some(&device_key()),
        ticket: None,
    };
    let refused = ClientLink::dial(&dial, [4; 32], Time::ZERO, &mut Vec::new()).err();
    assert_eq!(refused, Some(Error::Suite));
}

#[test]
fn a_link_that_is_turned_away_after_message_2_hears_nothing() {
    let Begun { mut server, .. } = begin(XX[0]);
    let mut reply = Vec::new();
    server.turn_away(&acceptor(Suites::of(&XX)), 9, &mut reply);
    assert!(reply.is_empty() && server.is_begun());
}
