//! Both ends of a link against each other, on a clock made of numbers.

mod pair;
mod states;
mod unpinned;

use std::time::Duration;

use self::pair::Pair;
use super::*;
use crate::buffer::{Input, Partials, Place};
use crate::limits::{HELD_BYTES_MAX, HELD_FRAMES_MAX, RECORD_LEN_MAX_UPLINK};
use crate::noise::preamble::{ClearReply, Hello, Preamble};
use crate::noise::{Gate, PublicKey, StaticKey, Suite, Suites};
use crate::wire::frame::{Auth, Close, Frame, Ping, Request, Response};
use crate::{Error, Time, UnixMillis};

#[test]
fn every_suite_connects_and_talks_wherever_the_bytes_are_cut() {
    for suite in [Suite::NkChaChaPoly, Suite::NkAesGcm, Suite::IkChaChaPoly, Suite::IkAesGcm] {
        for piece in [1, 7, 31, 1 << 16] {
            let mut pair = Pair::new(suite);
            pair.piece = piece;
            pair.connect();
            assert_eq!(pair.up(&[AUTH]), Ok(vec!["auth"]));
            pair.server.welcome(HEARTBEAT, pair.now);
            let payload = vec![7; 40_000];
            let big = Request { id: [1; 16], route: "echo", payload: &payload, ..Request::default() };
            assert_eq!(
                pair.up(&[Frame::Ping(Ping::default()), Frame::Request(big)]),
                Ok(vec!["ping", "request"])
            );
            let answer = Frame::Response(Response { id: [1; 16], payload: &payload, ..Response::default() });
            assert_eq!(pair.down(&[answer, Frame::Pong { nonce: 0 }]), Ok(vec!["response", "pong"]));
            let (h, used, peer) = pair.server.binding().expect("open");
            assert_eq!((Some(h), used), (pair.client.handshake_hash(), suite));
            assert_eq!(peer.is_some(), matches!(suite, Suite::IkChaChaPoly | Suite::IkAesGcm));
        }
    }
}

#[test]
fn frames_behind_auth_are_held_until_the_welcome_and_then_come_in_order() {
    let mut pair = Pair::new(Suite::NkChaChaPoly);
    pair.connect();
    assert_eq!(
        pair.up(&[AUTH, Frame::Ping(Ping::default()), Frame::Ack { taken: 1, received: 1 }]),
        Ok(vec!["auth"])
    );
    assert_eq!(pair.up(&[request(1)]), Ok(vec![]));
    pair.server.welcome(HEARTBEAT, pair.now);
    assert_eq!(pair.deliver_up(&[]), Ok(vec!["ping", "ack", "request"]));
}

#[test]
fn reading_stops_when_too_much_is_held() {
    let mut pair = Pair::new(Suite::NkChaChaPoly);
    pair.connect();
    assert_eq!(pair.up(&[AUTH]), Ok(vec!["auth"]));
    for sent in 0..HELD_FRAMES_MAX {
        assert!(!pair.server.is_full(), "after {sent} held frames");
        assert_eq!(pair.up(&[request(1)]), Ok(vec![]));
    }
    assert!(pair.server.is_full());
    pair.server.welcome(HEARTBEAT, pair.now);
    assert_eq!(pair.deliver_up(&[]).map(|got| got.len()), Ok(HELD_FRAMES_MAX));
}

#[test]
fn the_first_frame_is_auth_and_downlink_frames_are_refused() {
    let mut pair = Pair::new(Suite::NkChaChaPoly);
    pair.connect();
    assert_eq!(pair.up(&[request(1)]), Err(Error::Unexpected("request")));
    let mut pair = Pair::live();
    assert_eq!(pair.up(&[Frame::Pong { nonce: 1 }]), Err(Error::Unexpected("pong")));
    let mut pair = Pair::live();
    assert_eq!(pair.down(&[request(1)]), Err(Error::Unexpected("request")));
}

#[test]
fn before_auth_a_record_is_short() {
    let payload = [0; 5000];
    let long = Frame::Request(Request { id: [1; 16], route: "r", payload: &payload, ..Request::default() });
    let mut pair = Pair::new(Suite::NkChaChaPoly);
    pair.connect();
    assert!(matches!(pair.up(&[AUTH, long]), Err(Error::RecordLength(_))));
    assert_eq!(Pair::live().up(&[long]), Ok(vec!["request"]));
}

#[test]
fn while_auth_is_judged_a_record_is_short_too() {
    let payload = [0; 5000];
    let long = Frame::Request(Request { id: [1; 16], route: "r", payload: &payload, ..Request::default() });
    let mut pair = Pair::new(Suite::NkChaChaPoly);
    pair.connect();
    assert_eq!(pair.up(&[AUTH]), Ok(vec!["auth"]));
    assert!(matches!(pair.up(&[long]), Err(Error::RecordLength(_))));
}

#[test]
fn reading_stops_when_what_is_held_is_long_however_few_frames_it_is() {
    let payload = [0; 3000];
    let long = Frame::Request(Request { id: [1; 16], route: "r", payload: &payload, ..Request::default() });
    let mut pair = Pair::new(Suite::NkChaChaPoly);
    pair.connect();
    assert_eq!(pair.up(&[AUTH]), Ok(vec!["auth"]));
    assert_eq!(pair.up(&[long]), Ok(vec![]));
    assert!(!pair.server.is_full());
    assert_eq!(pair.up(&[long]), Ok(vec![]));
    assert!(pair.server.is_full(), "more than {HELD_BYTES_MAX} bytes");
    pair.server.welcome(HEARTBEAT, pair.now);
    assert_eq!(pair.deliver_up(&[]), Ok(vec!["request", "request"]));
}

#[test]
fn before_auth_a_frame_is_short_however_many_records_it_spans() {
    let mut out = vec![0; 2];
    crate::wire::varint::encode(4097, &mut out);
    let mut pair = Pair::new(Suite::NkChaChaPoly);
    pair.connect();
    pair.client.seal(&mut out, 0, 1024);
    assert_eq!(pair.deliver_up(&out), Err(Error::FrameLength(4097)));
}

#[test]
fn a_ticket_where_the_suite_has_none_is_met_with_silence() {
    let mut pair = Pair::new(Suite::NkChaChaPoly);
    let gate = Gate::new(&pair.acceptor.public());
    let (hello, _) = Hello::decode(&pair.hello).expect("well formed").expect("whole");
    let ticket = [1; 4];
    let mut preamble = hello.preamble;
    preamble.ticket_len = 4;
    preamble.tag = gate.tag(&preamble.fixed(), &ticket, hello.message_1);
    let mut other = Vec::new();
    Hello { preamble, ticket: &ticket, message_1: hello.message_1 }.encode(&mut other);
    pair.hello = other;
    let mut reply = Vec::new();
    assert_eq!(pair.hail(&mut reply), Err(Error::Preamble));
    assert!(reply.is_empty());
}

#[test]
fn a_flipped_bit_anywhere_in_a_record_ends_the_link_in_silence() {
    let (mut sealed, mut reference) = (Vec::new(), Pair::live());
    reference.seal_up(&[request(1)], &mut sealed);
    for bit in 16..sealed.len() * 8 {
        let mut pair = Pair::live();
        let mut flipped = sealed.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let error = pair.deliver_up(&flipped).expect_err("authenticated");
        assert_eq!((error, error.close_code()), (Error::Record, None), "bit {bit}");
    }
}

#[test]
fn a_flipped_bit_anywhere_in_a_hello_is_answered_with_silence() {
    let hello = Pair::new(Suite::NkChaChaPoly).hello;
    for bit in 0..hello.len() * 8 {
        let mut pair = Pair::new(Suite::NkChaChaPoly);
        pair.hello[bit / 8] ^= 1 << (bit % 8);
        let mut reply = Vec::new();
        match pair.hail(&mut reply) {
            Ok(complete) => {
                assert!(!complete, "bit {bit}: a longer ticket length waits for bytes that never come")
            }
            Err(error) => assert_eq!(error.close_code(), None, "bit {bit}"),
        }
        assert!(reply.is_empty(), "bit {bit}: not even a clear reply without a valid tag");
    }
}

#[test]
fn an_unservable_hello_with_a_valid_tag_gets_the_clear_reply() {
    let mut pair = Pair::new(Suite::IkAesGcm);
    pair.acceptor = acceptor(Suites::from_bits(Suite::NkChaChaPoly.bit()));
    let mut reply = Vec::new();
    assert_eq!(pair.hail(&mut reply), Err(Error::Suite));
    let mut input = Input::new(&mut reply, Default::default());
    assert_eq!(pair.client.receive(&mut input, Time::ZERO), Err(Error::Rejected(2)));
}

/// A hello that names another version or suite, with a good tag unless it is spoilt.
fn foreign(acceptor: &Acceptor, version: u8, suite: u8, ticket: &[u8], message_1: &[u8]) -> Vec<u8> {
    let mut preamble = Preamble {
        version,
        suite,
        key_id: acceptor.public().key_id(),
        versions: 1 << (version % 8),
        suites: Suites::from_bits(1 << (suite % 24)),
        ticket_len: u16::try_from(ticket.len()).expect("short"),
        tag: [0; 16],
    };
    preamble.tag = Gate::new(&acceptor.public()).tag(&preamble.fixed(), ticket, message_1);
    let mut hello = Vec::new();
    Hello { preamble, ticket, message_1 }.encode(&mut hello);
    hello
}

#[test]
fn clients_from_the_future_are_told_what_is_spoken_here_and_nothing_of_them_is_kept() {
    let (ticket, message_1) = ([7; 1024], [1; 4096]);
    for (version, suite, error, reason) in [
        (2, 1, Error::Version, 1),
        (7, 200, Error::Version, 1),
        (1, 11, Error::Suite, 2),
        (1, 19, Error::Suite, 2),
        (1, 255, Error::Suite, 2),
    ] {
        for (ticket, message_1) in
            [(&ticket[..], &message_1[..]), (&[], &message_1[..162]), (&ticket[..3], &[9])]
        {
            for piece in [1, 32, 33, 1000, 1 << 16] {
                let mut pair = Pair::new(Suite::NkChaChaPoly);
                pair.hello = foreign(&pair.acceptor, version, suite, ticket, message_1);
                pair.piece = piece;
                let mut reply = Vec::new();
                assert_eq!(pair.hail(&mut reply), Err(error));
                let told = ClearReply::decode(&reply).expect("a reply").expect("a whole one");
                let current = pair.acceptor.public().key_id();
                assert_eq!((told.reason, told.suites, told.key_id), (reason, all_suites(), current));
                assert_eq!(pair.partials[0].bytes(), 0, "in pieces of {piece}");
            }
        }
    }
}

#[test]
fn whoever_only_poses_as_a_client_from_the_future_hears_nothing() {
    let pair = || Pair::new(Suite::NkChaChaPoly);
    let good = foreign(&pair().acceptor, 2, 40, &[7; 100], &[1; 200]);
    let answer = |hello: Vec<u8>| {
        let mut pair = Pair { hello, piece: 50, ..pair() };
        let mut reply = Vec::new();
        let error = pair.hail(&mut reply).expect_err("nobody is served");
        assert!(reply.is_empty(), "{error}");
        error
    };
    for at in [10, 20, 40, 200, good.len() - 1] {
        let mut wrong = good.clone();
        wrong[at] ^= 1;
        assert_eq!(answer(wrong), Error::Gate, "byte {at}");
    }
    let mut stranger = good.clone();
    stranger[6] ^= 1;
    assert_eq!(answer(stranger), Error::Gate, "a key id of nobody");
    assert_eq!(answer([&good[..], &[0]].concat()), Error::Early);
    let acceptor = pair().acceptor;
    assert_eq!(answer(foreign(&acceptor, 2, 40, &[], &[1; 4097])), Error::HandshakeLength(4097));
    assert_eq!(answer(foreign(&acceptor, 2, 40, &[], &[])), Error::HandshakeLength(0));
    assert_eq!(answer(foreign(&acceptor, 2, 40, &[1; 1025], &[1])), Error::Preamble);
}

#[test]
fn a_hello_that_does_not_offer_what_it_uses_is_met_with_silence() {
    let suite = Suite::NkChaChaPoly;
    for (versions, suites) in [(0xfd, suite.bit()), (2, Suite::IkAesGcm.bit())] {
        let mut pair = Pair::new(suite);
        let (hello, _) = Hello::decode(&pair.hello).expect("well formed").expect("whole");
        let mut preamble = Preamble { versions, suites: Suites::from_bits(suites), ..hello.preamble };
        preamble.tag = Gate::new(&pair.acceptor.public()).tag(&preamble.fixed(), &[], hello.message_1);
        let mut other = Vec::new();
        Hello { preamble, ..hello }.encode(&mut other);
        pair.hello = other;
        let mut reply = Vec::new();
        assert_eq!((pair.hail(&mut reply), reply.len()), (Err(Error::Preamble), 0));
    }
}

#[test]
fn only_a_complete_hello_is_told_that_the_gateway_is_busy() {
    let mut pair = Pair::new(Suite::NkChaChaPoly);
    let mut reply = Vec::new();
    pair.server.turn_away(&pair.acceptor, 30, &mut reply);
    assert!(reply.is_empty(), "it has not passed the gate");
    assert_eq!(pair.hail(&mut Vec::new()), Ok(true));
    pair.server.turn_away(&pair.acceptor, 30, &mut reply);
    let told = ClearReply::decode(&reply).expect("a reply").expect("a whole one");
    assert_eq!(told.busy_for(), Duration::from_secs(3));
    let mut input = Input::new(&mut reply, Default::default());
    assert_eq!(pair.client.receive(&mut input, Time::ZERO), Err(Error::Rejected(4)));
    let mut reply = Vec::new();
    let mut open = Pair::live();
    open.server.turn_away(&open.acceptor, 30, &mut reply);
    assert!(reply.is_empty() && open.server.is_live(), "one with keys is told so with a Close");
}

#[test]
fn padding_is_skipped_wherever_it_stands_and_never_held() {
    let pad = Frame::Pad { zeros: &[0; 500] };
    let mut pair = Pair::new(Suite::NkChaChaPoly);
    pair.connect();
    assert_eq!(pair.up(&[pad]), Err(Error::Unexpected("pad")), "the first frame is Auth");
    let mut pair = Pair::new(Suite::NkChaChaPoly);
    pair.connect();
    assert_eq!(pair.up(&[AUTH, pad, request(1), pad]), Ok(vec!["auth"]));
    for _ in 0..100 {
        assert_eq!(pair.up(&[pad, pad]), Ok(vec![]));
        assert!(!pair.server.is_full());
    }
    assert!(pair.partials[0].bytes() <= 128, "of 100 KiB of padding");
    pair.server.welcome(HEARTBEAT, pair.now);
    assert_eq!(pair.deliver_up(&[]), Ok(vec!["request"]));
    assert_eq!(pair.up(&[pad, request(2)]), Ok(vec!["pad", "request"]));
    assert_eq!(pair.down(&[pad]), Ok(vec!["pad"]));
}

#[test]
fn a_pause_of_reading_leaves_one_interval_and_takes_none_away() {
    let mut pair = Pair::live();
    let end = Time::ZERO + 2 * HEARTBEAT;
    pair.server.grace(Time::ZERO + HEARTBEAT / 2);
    assert_eq!(pair.server.deadline(&RULES), end, "there was more than one left");
    pair.server.grace(Time::ZERO + 5 * HEARTBEAT);
    assert_eq!(pair.server.deadline(&RULES), Time::ZERO + 6 * HEARTBEAT);
}

#[test]
fn a_client_does_not_dial_below_what_the_gateway_was_known_to_serve() {
    let server = acceptor(all_suites()).public();
    let gate = Gate::new(&server);
    let dial = |better: &[Suite], served: &[Suite]| {
        let dial = Dial {
            server: &server,
            gate: &gate,
            suite: Suite::NkAesGcm,
            better: Suites::of(better),
            served: Suites::of(served),
            device_key: None,
            ticket: None,
        };
        ClientLink::dial(&dial, [4; 32], Time::ZERO, &mut Vec::new()).err()
    };
    let best = Suite::NkChaChaPoly;
    assert_eq!(dial(&[best], &[best, Suite::NkAesGcm]), Some(Error::Downgrade));
    assert_eq!(dial(&[best], &[Suite::NkAesGcm, Suite::IkAesGcm]), None);
    assert_eq!(dial(&[best], &[]), None, "nothing was ever said");
    assert_eq!(dial(&[], &[best]), None, "the client does not want it");
}

#[test]
fn a_client_that_was_talked_down_notices() {
    let mut pair = Pair::new(Suite::NkChaChaPoly);
    pair.redial(Suites::from_bits(Suite::IkAesGcm.bit()), None);
    assert_eq!(pair.try_connect(), Err(Error::Downgrade));
}

#[test]
fn nothing_may_follow_message_1() {
    let mut pair = Pair::new(Suite::NkChaChaPoly);
    pair.hello.push(0);
    // All in one chunk, and with the end of message 1 in the second.
    for piece in [usize::MAX, pair.hello.len() - 3] {
        pair.piece = piece;
        assert_eq!(pair.hail(&mut Vec::new()), Err(Error::Early));
        pair.server = ServerLink::new(Time::ZERO);
    }
}

#[test]
fn strangers_are_refused_by_their_first_wrong_byte() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01",
        b"SSH-2.0-x",
        b"PROXY TCP4",
        b"\xac\xce\x55\x0b",
    ] {
        let mut pair = Pair::new(Suite::NkChaChaPoly);
        pair.hello = bytes.to_vec();
        assert_eq!(pair.hail(&mut Vec::new()), Err(Error::Magic), "{bytes:?}");
    }
}

#[test]
fn deadlines_follow_the_phase() {
    let mut pair = Pair::new(Suite::NkChaChaPoly);
    assert_eq!(pair.server.deadline(&RULES), Time::ZERO + RULES.handshake_deadline);
    assert_eq!(
        pair.server.expire(&RULES, Time::ZERO + RULES.handshake_deadline),
        Err(Error::HandshakeTimeout)
    );
    pair.connect();
    assert_eq!(pair.server.expire(&RULES, Time::ZERO + RULES.auth_deadline), Err(Error::AuthTimeout));
    let mut pair = Pair::live();
    assert_eq!(pair.server.deadline(&RULES), Time::ZERO + 2 * HEARTBEAT);
    pair.now = Time::ZERO + HEARTBEAT;
    assert_eq!(pair.up(&[request(1)]), Ok(vec!["request"]));
    assert_eq!(pair.server.expire(&RULES, Time::ZERO + 2 * HEARTBEAT), Ok(()), "every frame counts as life");
    assert_eq!(pair.server.expire(&RULES, Time::ZERO + 3 * HEARTBEAT), Err(Error::HeartbeatTimeout));
}

#[test]
fn a_client_pings_each_interval_and_gives_up_after_two_missed_pongs() {
    let mut pair = Pair::live();
    pair.client.welcomed(HEARTBEAT, 0, Time::ZERO);
    assert_eq!(pair.client.deadline(), Some(Time::ZERO + HEARTBEAT));
    assert_eq!(pair.client.expire(Time::ZERO + HEARTBEAT), Ok(true));
    assert_eq!(pair.client.expire(Time::ZERO + HEARTBEAT), Ok(false));
    assert_eq!(pair.client.expire(Time::ZERO + 2 * HEARTBEAT), Ok(true));
    assert_eq!(pair.client.deadline(), Some(Time::ZERO + 3 * HEARTBEAT), "the second has its interval, too");
    assert_eq!(pair.client.expire(Time::ZERO + 3 * HEARTBEAT), Err(Error::HeartbeatTimeout));
}

#[test]
fn a_client_that_comes_back_late_asks_before_it_gives_up() {
    let mut pair = Pair::live();
    pair.client.welcomed(HEARTBEAT, 0, Time::ZERO);
    assert_eq!(pair.client.expire(Time::ZERO + HEARTBEAT), Ok(true));
    pair.now = Time::ZERO + HEARTBEAT * 3 / 2;
    assert_eq!(pair.down(&[Frame::Pong { nonce: 0 }]), Ok(vec!["pong"]));
    // The device slept through many intervals.
    assert_eq!(pair.client.expire(Time::ZERO + 100 * HEARTBEAT), Ok(true));
    assert_eq!(pair.client.expire(Time::ZERO + 101 * HEARTBEAT), Ok(true));
    assert_eq!(pair.client.expire(Time::ZERO + 102 * HEARTBEAT), Err(Error::HeartbeatTimeout));
}

#[test]
fn the_first_ping_comes_within_the_first_interval_and_each_phase_has_its_moment() {
    // At once as well as later: a young process counts its time from zero.
    for now in [Time::ZERO, Time::ZERO + 10 * HEARTBEAT] {
        let firsts: Vec<_> = (0..=255)
            .map(|phase| {
                let mut pair = Pair::live();
                pair.client.welcomed(HEARTBEAT, phase, now);
                let first = pair.client.deadline().expect("it pings");
                assert_eq!(pair.client.expire(first), Ok(true));
                assert_eq!(pair.client.deadline(), Some(first + HEARTBEAT), "and then each interval");
                first
            })
            .collect();
        assert!(firsts.iter().all(|&first| first > now && first <= now + HEARTBEAT));
        assert!(firsts.windows(2).all(|pair| pair[0] > pair[1]));
    }
}

#[test]
fn a_client_that_did_not_read_does_not_take_silence_for_death() {
    let mut pair = Pair::live();
    pair.client.welcomed(HEARTBEAT, 0, Time::ZERO);
    for intervals in 1..=4 {
        assert_eq!(pair.client.expire(Time::ZERO + intervals * HEARTBEAT), Ok(true), "{intervals}");
        if intervals == 2 {
            pair.client.grace(Time::ZERO + 2 * HEARTBEAT);
        }
    }
    assert_eq!(pair.client.expire(Time::ZERO + 5 * HEARTBEAT), Err(Error::HeartbeatTimeout));
}

#[test]
fn after_close_input_is_discarded() {
    let mut pair = Pair::live();
    pair.server.close(pair.now);
    let close = Frame::Close(Close { code: 14, ..Close::default() });
    assert_eq!(pair.down(&[close]), Ok(vec!["close"]));
    assert_eq!(pair.up(&[request(1)]), Ok(vec![]));
}

#[test]
fn unknown_frames_are_glitches_and_too_many_of_them_end_the_link() {
    let mut pair = Pair::live();
    let mut sealed = Vec::new();
    for _ in 0..=RULES.glitches_max {
        sealed.extend_from_slice(&[3, 0xfa, 0x01, 0]); // kind 31
    }
    sealed.splice(0..0, [0, 0]);
    pair.client.seal(&mut sealed, 0, RECORD_LEN_MAX_UPLINK - 16);
    assert_eq!(pair.deliver_up(&sealed), Err(Error::Glitches));
}

#[test]
fn a_frame_nobody_knows_is_no_sign_of_life() {
    let mut pair = Pair::live();
    let deadline = pair.server.deadline(&RULES);
    pair.now = pair.now + HEARTBEAT;
    let mut sealed = vec![0, 0, 3, 0xfa, 0x01, 0]; // kind 31
    pair.client.seal(&mut sealed, 0, RECORD_LEN_MAX_UPLINK - 16);
    assert_eq!(pair.deliver_up(&sealed), Ok(vec!["unknown"]));
    assert_eq!(pair.server.deadline(&RULES), deadline);
    assert_eq!(pair.up(&[Frame::Ping(Ping::default())]), Ok(vec!["ping"]));
    assert_eq!(pair.server.deadline(&RULES), deadline + HEARTBEAT);
}

const HEARTBEAT: Duration = Duration::from_secs(60);
const RULES: Rules = Rules {
    record_len_max: RECORD_LEN_MAX_UPLINK,
    frame_len_max: 64 * 1024,
    handshake_deadline: Duration::from_secs(5),
    auth_deadline: Duration::from_secs(5),
    glitches_max: 4,
};
const AUTH: Frame<'static> = Frame::Auth(Auth {
    token: b"t",
    user: b"alice",
    device: b"d",
    resume: &[],
    heartbeat_ms: 0,
    agent: "",
    signature: &[],
    class: 0,
});

fn request(id: u8) -> Frame<'static> {
    Frame::Request(Request { id: [id; 16], route: "echo", ..Request::default() })
}

fn acceptor(suites: Suites) -> Acceptor {
    let key = StaticKey::from_secret([9; 32]);
    Acceptor::new(key, suites, &[], None)
}

fn all_suites() -> Suites {
    let suites = [Suite::NkChaChaPoly, Suite::NkAesGcm, Suite::IkChaChaPoly, Suite::IkAesGcm];
    Suites::from_bits(suites.iter().fold(0, |bits, suite| bits | suite.bit()))
}
