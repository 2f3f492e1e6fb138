//! Hellos and clear replies: what can be made can be read, and everything else is refused with its reason.

use std::time::Duration;

use proptest::prelude::*;
use protocol::Error;
use protocol::limits::{HELLO_LEN_MAX, MESSAGE_1_LEN_MAX, PREAMBLE_LEN, TICKET_LEN_MAX};
use protocol::noise::preamble::{
    ClearReply, Hello, Preamble, Rejection, VERSION, VERSIONS, decode_offer, encode_offer,
};
use protocol::noise::{CLEAR_SUITE, Gate, KeyId, PublicKey, Suite, Suites};

fn preamble(suite: u8, ticket_len: u16) -> Preamble {
    Preamble {
        version: VERSION,
        suite,
        key_id: KeyId([1, 2, 3, 4]),
        versions: VERSIONS,
        suites: Suites::of(&Suite::ALL),
        ticket_len,
        tag: [0xaa; 16],
    }
}

fn encoded(preamble: Preamble, ticket: &[u8], message_1: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Hello { preamble, ticket, message_1 }.encode(&mut out);
    out
}

prop_compose! {
    fn any_hello()(
        suite in prop::sample::select(&Suite::ALL[..]),
        key_id: [u8; 4],
        versions: u8,
        suites: u32,
        tag: [u8; 16],
        ticket in prop::collection::vec(any::<u8>(), 0..=TICKET_LEN_MAX),
        message_1 in prop::collection::vec(any::<u8>(), MESSAGE_1_LEN_MAX),
    ) -> (Preamble, Vec<u8>, Vec<u8>) {
        let preamble = Preamble {
            version: VERSION,
            suite: suite.byte(),
            key_id: KeyId(key_id),
            versions,
            suites: Suites::from_bits(suites),
            ticket_len: u16::try_from(ticket.len()).expect("tickets are short"),
            tag,
        };
        (preamble, ticket, message_1[..suite.message_1_len()].to_vec())
    }
}

proptest! {
    #[test]
    fn a_hello_round_trips_and_is_incomplete_until_its_last_byte(
        (preamble, ticket, message_1) in any_hello(),
        after in prop::collection::vec(any::<u8>(), 0..10),
    ) {
        let bytes = encoded(preamble, &ticket, &message_1);
        prop_assert!(bytes.len() <= HELLO_LEN_MAX);
        for len in 0..bytes.len() {
            prop_assert_eq!(Hello::decode(&bytes[..len]), Ok(None));
        }
        let hello = Hello { preamble, ticket: &ticket, message_1: &message_1 };
        let followed = [bytes.as_slice(), &after].concat();
        prop_assert_eq!(Hello::decode(&followed), Ok(Some((hello, bytes.len()))));
    }

    #[test]
    fn no_bytes_at_all_panic_or_wait_for_more_than_a_hello(
        bytes in prop::collection::vec(any::<u8>(), HELLO_LEN_MAX),
        ours in 0usize..40,
        len in 0..=HELLO_LEN_MAX,
    ) {
        let mut bytes = bytes;
        let right = encoded(preamble(1, 0), &[], &[0; 48]);
        bytes[..ours].copy_from_slice(&right[..ours]);
        prop_assert_ne!(Hello::decode(&bytes), Ok(None));
        let _ = Hello::decode(&bytes[..len]);
        let _ = ClearReply::decode(&bytes[..len]);
    }

    #[test]
    fn a_clear_reply_round_trips(reason: u8, versions: u8, suites: u32, key_id: [u8; 4], wait: u16) {
        let reply =
            ClearReply { reason, versions, suites: Suites::from_bits(suites), key_id: KeyId(key_id), wait };
        let bytes = reply.encode();
        prop_assert_eq!(ClearReply::decode(&bytes), Ok(Some(reply)));
        prop_assert_eq!(ClearReply::decode(&bytes[..15]), Ok(None));
        prop_assert_eq!(ClearReply::announced(&bytes), Some(true));
        prop_assert_eq!(decode_offer(&encode_offer(versions, Suites::from_bits(suites))), Some((versions, Suites::from_bits(suites))));
    }
}

/// The layout itself, so that both directions can't be wrong together.
#[test]
fn the_bytes_are_those_of_the_specification() {
    let bytes = encoded(preamble(Suite::NkChaChaPoly.byte(), 3), &[7, 8, 9], &[5; 48]);
    let head = [0xac, 0xce, 0x55, 0x0a, 1, 1, 1, 2, 3, 4, 2, 0, 0x01, 0xfe, 0, 3];
    assert_eq!(bytes[..16], head);
    assert_eq!(bytes[16..32], [0xaa; 16]);
    assert_eq!(bytes[32..37], [7, 8, 9, 0, 48]);
    assert_eq!(bytes[37..], [5; 48]);
    let reply = ClearReply {
        reason: Rejection::RetiredKey as u8,
        versions: VERSIONS,
        suites: Suites::of(&[Suite::NkAesGcm]),
        key_id: KeyId([9, 8, 7, 6]),
        wait: 0,
    };
    assert_eq!(reply.encode(), [0xac, 0xce, 0x55, 0x0a, 1, 3, 2, 0, 0, 4, 9, 8, 7, 6, 0, 0]);
    let busy =
        ClearReply { reason: Rejection::Busy as u8, suites: Suites::from_bits(1 << 23), wait: 258, ..reply };
    assert_eq!(busy.encode(), [0xac, 0xce, 0x55, 0x0a, 1, 4, 2, 0x80, 0, 0, 9, 8, 7, 6, 1, 2]);
}

#[test]
fn only_a_busy_server_can_ask_for_time_and_for_a_minute_at_most() {
    let reply = |reason: Rejection, wait| {
        let (versions, suites, key_id) = (VERSIONS, Suites::NONE, KeyId([0; 4]));
        ClearReply { reason: reason as u8, versions, suites, key_id, wait }.busy_for()
    };
    assert_eq!(reply(Rejection::Busy, 15), Duration::from_millis(1500));
    assert_eq!(reply(Rejection::Busy, u16::MAX), Duration::from_secs(60));
    for other in [Rejection::Version, Rejection::Suite, Rejection::RetiredKey, Rejection::TicketRefused] {
        assert_eq!(reply(other, 15), Duration::ZERO);
    }
}

#[test]
fn a_reason_is_known_by_its_number() {
    let known =
        (0..=u8::MAX).filter_map(|number| Rejection::from_number(number).map(|reason| (number, reason)));
    assert!(known.clone().all(|(number, reason)| reason as u8 == number));
    assert_eq!(known.count(), 5);
}

#[test]
fn what_is_used_has_to_be_offered() {
    let link = preamble(Suite::NkAesGcm.byte(), 0);
    assert!(link.offers_what_it_uses());
    assert!(!Preamble { suites: Suites::of(&[Suite::IkAesGcm]), ..link }.offers_what_it_uses());
    assert!(!Preamble { versions: 0xfd, ..link }.offers_what_it_uses());
    assert!(!Preamble { version: 8, ..link }.offers_what_it_uses(), "eight bits offer versions 0 to 7");
    let stream = Preamble { suites: Suites::NONE, ..preamble(Suite::KkAesGcm.byte(), 4) };
    assert!(stream.offers_what_it_uses());
    assert!(!Preamble { suites: link.suites, ..stream }.offers_what_it_uses(), "streams negotiate no suite");
}

#[test]
fn strangers_are_told_by_their_first_wrong_byte() {
    for bytes in ["G", "GET / HTTP/1.1", "\u{16}\u{3}\u{1}\u{2}\u{0}"] {
        assert_eq!(Hello::decode(bytes.as_bytes()), Err(Error::Magic));
    }
    assert_eq!(Hello::decode(&[0xac, 0xce, 0x55, 0x0b]), Err(Error::Magic));
    assert_eq!(Hello::decode(&[0xac, 0xce, 0x55]), Ok(None));
    assert_eq!(Hello::decode(&[]), Ok(None));
}

#[test]
fn refuses_version_0_long_tickets_and_wrong_lengths() {
    let decode = |preamble: Preamble, length: u16| {
        let ticket = vec![0; usize::from(preamble.ticket_len)];
        Hello::decode(&[&preamble.encode()[..], &ticket, &length.to_be_bytes()].concat())
            .map(|hello| hello.is_some())
    };
    let nk = Suite::NkChaChaPoly.byte();
    assert_eq!(decode(Preamble { version: 0, ..preamble(nk, 0) }, 48), Err(Error::Preamble));
    assert_eq!(decode(preamble(nk, 513), 48), Err(Error::Preamble));
    assert_eq!(decode(preamble(nk, 512), 48), Ok(false));
    for suite in Suite::ALL {
        for length in [0, 1, 47, 49, 95, 97, 65_535] {
            let refused = Err(Error::HandshakeLength(usize::from(length)));
            assert_eq!(decode(preamble(suite.byte(), 0), length), refused);
        }
    }
}

/// Such hellos are not kept, so nothing here waits for them; `link::hello` passes them through the gate.
#[test]
fn a_hello_of_an_unknown_suite_or_version_is_told_by_its_preamble() {
    for (unknown, error) in [
        (preamble(11, 1024), Error::Suite),
        (preamble(200, 0), Error::Suite),
        (Preamble { version: 9, ..preamble(1, 1024) }, Error::Version),
    ] {
        assert_eq!(Hello::decode(&unknown.encode()), Err(error));
        assert_eq!(Preamble::decode(&unknown.encode()), Ok(Some(unknown)));
        let longer = Preamble { ticket_len: 1025, ..unknown };
        assert_eq!(Preamble::decode(&longer.encode()), Err(Error::Preamble));
    }
}

#[test]
fn a_clear_stream_ends_its_hello_after_the_preamble() {
    let clear = Preamble { tag: [0; 16], ..preamble(CLEAR_SUITE, 0) };
    let bytes = encoded(clear, &[], &[]);
    assert_eq!(bytes.len(), PREAMBLE_LEN);
    let hello = Hello { preamble: clear, ticket: &[], message_1: &[] };
    assert_eq!(Hello::decode(&bytes), Ok(Some((hello, PREAMBLE_LEN))));
    assert_eq!(Hello::decode(&preamble(CLEAR_SUITE, 4).encode()), Err(Error::Preamble));
    let gate = Gate::new(&PublicKey([1; 32]));
    assert!(!gate.verify(&clear.fixed(), &[], &[], &clear.tag), "no client gets through a gate with it");
}
