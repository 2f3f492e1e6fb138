//! The part of `replies.json` for initiators: answers, and what the client's machine makes of them.

use protocol::Time;
use protocol::buffer::{Input, Rest};
use protocol::link::{ClientLink, Dial};
use protocol::noise::preamble::{ClearReply, Hello, encode_offer};
use protocol::noise::{Gate, Responder, Suite, Suites, prologue};

use crate::json::Json;
use crate::keys::*;
use crate::recipe::{flipped, with_byte};

const IN_USE: Suite = Suite::NkChaChaPoly;
const BETTER: Suites = Suites::of(&[Suite::IkChaChaPoly]);

pub(crate) fn show() -> Json {
    let (_, hello) = dialled();
    let answers = [offers(), messages(), clear_replies()].concat();
    let shown = answers.into_iter().map(|(name, answer)| {
        let error = told(&answer).err();
        Json::object([
            ("name", name.into()),
            ("answer", Json::hex(&answer)),
            ("meaning", if error.is_some() { "closes the connection" } else { "goes on" }.into()),
            ("error", error.map_or(Json::Null, |error| error.name().into())),
        ])
    });
    let prefers = [3_u8, 1].map(Json::from);
    Json::object([
        ("server_public", Json::hex(public(SERVER_SECRET).0)),
        ("list_of_preference", Json::List(prefers.into())),
        ("suite_in_use", IN_USE.byte().into()),
        ("initiator_ephemeral_secret", Json::hex(INITIATOR_EPHEMERAL)),
        ("hello", Json::hex(hello)),
        ("answers", Json::List(shown.collect())),
    ])
}

/// A client that would rather have used IK and has its key.
fn dialled() -> (ClientLink, Vec<u8>) {
    let (server, mut hello) = (public(SERVER_SECRET), Vec::new());
    let dial = Dial {
        server: &server,
        gate: &Gate::new(&server),
        suite: IN_USE,
        better: BETTER,
        served: Suites::NONE,
        device_key: None,
        ticket: None,
    };
    let client = ClientLink::dial(&dial, INITIATOR_EPHEMERAL, Time::ZERO, &mut hello).expect("good keys");
    (client, hello)
}

/// What the client makes of an answer; it has to have made up its mind.
fn told(answer: &[u8]) -> Result<(), protocol::Error> {
    let ((mut client, _), mut chunk) = (dialled(), answer.to_vec());
    let mut input = Input::new(&mut chunk, Rest::default());
    let heard = client.receive(&mut input, Time::ZERO)?;
    assert!(heard.is_none() && client.is_open());
    Ok(())
}

/// Message 2 with any payload, and its length in front.
fn answer(payload: &[u8]) -> Vec<u8> {
    let (key, (_, hello)) = (server_key(), dialled());
    let (parsed, _) = Hello::decode(&hello).expect("well formed").expect("whole");
    let responder = Responder {
        suite: IN_USE,
        key: Some(&key),
        peer: None,
        psk: None,
        prologue: &prologue(&parsed.preamble.fixed(), &[]),
        ephemeral: RESPONDER_EPHEMERAL,
    };
    let mut message_2 = Vec::new();
    responder.respond(parsed.message_1, payload, &mut message_2).expect("a good hello");
    with_length(&message_2)
}

fn with_length(message_2: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message_2.len()).expect("message 2 is short").to_be_bytes();
    [&length[..], message_2].concat()
}

fn offer(versions: u8, suites: u32) -> Vec<u8> {
    answer(&encode_offer(versions, Suites::from_bits(suites)))
}

/// Section 4.3.
fn offers() -> Vec<(&'static str, Vec<u8>)> {
    let (nk, ik) = (IN_USE.bit(), BETTER.bits());
    vec![
        ("the suite in use alone", offer(2, nk)),
        ("suites the client does not know, or does not want, are no finding", offer(2, 0xff_fffe & !ik)),
        ("versions the client does not know are no finding", offer(0xfe, nk)),
        ("the suite the client would rather have used", offer(2, nk | ik)),
        ("the suite in use is missing", offer(2, Suite::NkAesGcm.bit())),
        ("no suites", offer(2, 0)),
        ("the version in use is missing", offer(4, nk)),
        ("no versions", offer(0, nk)),
    ]
}

/// Section 4.2.
fn messages() -> Vec<(&'static str, Vec<u8>)> {
    let good = offer(2, IN_USE.bit());
    let payload = encode_offer(2, Suites::of(&[IN_USE])).to_vec();
    let longest = [payload.clone(), vec![0xee; 4096 - 52]].concat();
    let mut cases = vec![
        ("more bytes behind the offer", answer(&[payload.clone(), vec![0xee; 100]].concat())),
        ("message 2 of 4,096 bytes", answer(&longest)),
        ("length 4,097", 4097_u16.to_be_bytes().to_vec()),
        ("message 2 of 51 bytes: the offer is too short", answer(&payload[..3])),
        ("length 0", vec![0, 0]),
        ("message 2 without its last byte", with_length(&good[2..good.len() - 1])),
    ];
    for (name, at) in
        [("a bit of e is flipped", 2), ("a bit of the offer", 34), ("a bit of the tag", good.len() - 1)]
    {
        cases.push((name, flipped(good.clone(), at)));
    }
    cases
}

/// Section 3.2: none of them goes on, whatever the reason.
fn clear_replies() -> Vec<(&'static str, Vec<u8>)> {
    let reply = |reason, wait| {
        let key_id = public(SERVER_SECRET).key_id();
        ClearReply { reason, versions: 2, suites: Suites::of(&[IN_USE]), key_id, wait }.encode().to_vec()
    };
    vec![
        ("clear reply, version", reply(1, 0)),
        ("clear reply, suite", reply(2, 0)),
        ("clear reply, retired_key", reply(3, 0)),
        ("clear reply, busy", reply(4, 20)),
        ("clear reply, ticket_refused", reply(5, 0)),
        ("clear reply, a reason nobody knows", reply(6, 0)),
        ("clear reply of another layout", with_byte(reply(1, 0), 4, 2)),
        ("AC CE, and then another magic", flipped(reply(1, 0), 3)),
    ]
}
