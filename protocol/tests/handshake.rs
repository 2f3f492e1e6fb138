//! Both sides of the handshake, through the public doors only.

use protocol::Error;
use protocol::noise::{
    Initiator, Pattern, PublicKey, Responder, Secrets, StaticKey, Suite, Transport, Unfinished,
};

const PROLOGUE: &[u8] = b"what travelled in the clear";
const OFFER: [u8; 4] = [0, 2, 0x07, 0xde];
const PSK: [u8; 32] = [0x77; 32];

/// What the two sides believe; each test changes one thing.
#[derive(Clone)]
struct Belief {
    server: StaticKey,
    client: StaticKey,
    server_known: PublicKey,
    client_known: PublicKey,
    psk: [u8; 32],
    prologue: Vec<u8>,
}

impl Belief {
    fn right() -> Self {
        let server = StaticKey::from_secret([0x11; 32]);
        let client = StaticKey::from_secret([0x22; 32]);
        Self {
            server_known: server.public(),
            client_known: client.public(),
            server,
            client,
            psk: PSK,
            prologue: PROLOGUE.to_vec(),
        }
    }

    fn create(&self, suite: Suite, out: &mut Vec<u8>) -> Result<Initiator, Error> {
        Initiator::create(
            suite,
            Some(&self.client),
            Some(&self.server_known),
            Some(&self.psk),
            &self.prologue,
            [0x33; 32],
            out,
        )
    }

    fn responder(&self, suite: Suite) -> Responder<'_> {
        Responder {
            suite,
            key: Some(&self.server),
            peer: Some(&self.client_known),
            psk: Some(&self.psk),
            prologue: &self.prologue,
            ephemeral: [0x44; 32],
        }
    }

    fn respond(&self, suite: Suite, message_1: &[u8], out: &mut Vec<u8>) -> Result<Secrets, Error> {
        self.responder(suite).respond(message_1, &OFFER, out)
    }

    fn begin(&self, suite: Suite, message_1: &[u8], out: &mut Vec<u8>) -> Result<Unfinished, Error> {
        self.responder(suite).begin(message_1, &OFFER, out)
    }

    fn message_1(&self, suite: Suite) -> Vec<u8> {
        let mut message_1 = Vec::new();
        self.create(suite, &mut message_1).expect("the keys are there");
        message_1
    }
}

/// The suites of two messages.
fn short() -> impl Iterator<Item = Suite> + Clone {
    Suite::ALL.into_iter().filter(|suite| !suite.is_unpinned())
}

/// The suites of three.
fn long() -> impl Iterator<Item = Suite> {
    Suite::ALL.into_iter().filter(|suite| suite.is_unpinned())
}

/// A whole handshake between two beliefs: the initiator's secrets and the responder's.
fn shake(suite: Suite, initiator: &Belief, responder: &Belief) -> Result<(Secrets, Secrets), Error> {
    let (mut message_1, mut message_2, mut payload) = (Vec::new(), Vec::new(), Vec::new());
    let waiting = initiator.create(suite, &mut message_1)?;
    assert_eq!(message_1.len(), suite.message_1_len());
    if suite.is_unpinned() {
        let ours = responder.begin(suite, &message_1, &mut message_2)?;
        assert_eq!((message_2.len(), ours.suite()), (100, suite));
        let mut message_3 = Vec::new();
        let theirs = waiting.conclude(&message_2, &mut payload, &mut message_3)?;
        assert_eq!((payload, message_3.len()), (OFFER.to_vec(), 64));
        return Ok((theirs, ours.finish(&message_3)?));
    }
    let ours = responder.respond(suite, &message_1, &mut message_2)?;
    assert_eq!(message_2.len(), 52);
    let theirs = waiting.consume(&message_2, &mut payload)?;
    assert_eq!(payload, OFFER);
    Ok((theirs, ours))
}

#[test]
fn both_sides_end_with_the_same_hash_and_crossed_keys() {
    let right = Belief::right();
    for suite in Suite::ALL {
        let (client, server) = shake(suite, &right, &right).unwrap();
        assert_eq!(client.h, server.h, "{suite:?}");
        assert_eq!((client.send, client.receive), (server.receive, server.send), "{suite:?}");
        assert_ne!(client.send, client.receive, "{suite:?}");
        let (server_seen, client_seen) = match suite.pattern() {
            Pattern::Nk => (Some(right.server.public()), None),
            Pattern::Ik | Pattern::Xx | Pattern::Kk => {
                (Some(right.server.public()), Some(right.client.public()))
            }
            Pattern::Nnpsk0 => (None, None),
        };
        assert_eq!((client.peer, server.peer), (server_seen, client_seen), "{suite:?}");
    }
}

#[test]
fn records_go_both_ways() {
    let right = Belief::right();
    for suite in Suite::ALL {
        let (client, server) = shake(suite, &right, &right).unwrap();
        let (mut client, mut server) = (Transport::new(&client), Transport::new(&server));
        let mut out = b"..up".to_vec();
        client.seal_records(&mut out, 0, 1000);
        assert_eq!(server.open_in_place(&mut out[2..]).unwrap(), b"up");
        let mut out = b"..down".to_vec();
        server.seal_records(&mut out, 0, 1000);
        assert_eq!(client.open_in_place(&mut out[2..]).unwrap(), b"down");
    }
}

#[test]
fn every_flipped_bit_of_message_1_is_refused() {
    let right = Belief::right();
    for suite in short() {
        let message_1 = right.message_1(suite);
        for bit in 0..8 * message_1.len() {
            let mut wrong = message_1.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            let mut out = vec![9];
            // X25519 ignores the top bit of a point; the hash of the transcript does not.
            let refused = right.respond(suite, &wrong, &mut out).err();
            assert_eq!(refused, Some(Error::Handshake), "{suite:?} bit {bit}");
            assert_eq!(out, [9], "{suite:?} bit {bit}");
        }
    }
}

#[test]
fn every_flipped_bit_of_message_2_is_refused() {
    let right = Belief::right();
    for suite in [Suite::NkChaChaPoly, Suite::IkAesGcm, Suite::Nnpsk0AesGcm, Suite::KkChaChaPoly] {
        let mut message_2 = Vec::new();
        right.respond(suite, &right.message_1(suite), &mut message_2).unwrap();
        for bit in 0..8 * message_2.len() {
            let mut wrong = message_2.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            let waiting = right.create(suite, &mut Vec::new()).unwrap();
            let mut payload = vec![9];
            assert_eq!(
                waiting.consume(&wrong, &mut payload).err(),
                Some(Error::Handshake),
                "{suite:?} bit {bit}"
            );
            assert_eq!(payload, [9]);
        }
    }
}

#[test]
fn every_other_length_of_message_1_is_refused_unread() {
    let right = Belief::right();
    for suite in short() {
        let mut message_1 = right.message_1(suite);
        message_1.resize(200, 0);
        for len in (0..200).filter(|&len| len != suite.message_1_len()) {
            let refused = right.respond(suite, &message_1[..len], &mut Vec::new()).err();
            assert_eq!(refused, Some(Error::HandshakeLength(len)));
        }
    }
}

#[test]
fn message_2_must_have_room_for_its_payload_and_end_somewhere() {
    let right = Belief::right();
    for len in [0, 2, 47, 48, 51, 4097, 65_535] {
        let waiting = right.create(Suite::NkChaChaPoly, &mut Vec::new()).unwrap();
        let refused = waiting.consume(&vec![0; len], &mut Vec::new()).err();
        assert_eq!(refused, Some(Error::HandshakeLength(len)));
    }
}

#[test]
fn a_longer_payload_of_message_2_is_taken_up_to_its_limit() {
    let right = Belief::right();
    let suite = Suite::NkChaChaPoly;
    for (len, fits) in [(4, true), (4048, true), (4049, false)] {
        let (mut message_1, mut message_2, mut payload) = (Vec::new(), Vec::new(), Vec::new());
        let waiting = right.create(suite, &mut message_1).unwrap();
        let responder = Responder {
            suite,
            key: Some(&right.server),
            peer: None,
            psk: None,
            prologue: PROLOGUE,
            ephemeral: [0x44; 32],
        };
        match responder.respond(&message_1, &vec![7; len], &mut message_2) {
            Ok(_) => {
                waiting.consume(&message_2, &mut payload).unwrap();
                assert_eq!(payload, vec![7; len]);
                assert!(fits);
            }
            Err(error) => {
                assert_eq!(error, Error::HandshakeLength(len + 48));
                assert!(!fits && message_2.is_empty());
            }
        }
    }
}

#[test]
fn a_wrong_prologue_psk_or_key_is_refused_by_the_responder() {
    let right = Belief::right();
    let stranger = StaticKey::from_secret([0x55; 32]);
    for suite in Suite::ALL {
        let wrong_prologue = Belief { prologue: b"something else".to_vec(), ..right.clone() };
        assert_eq!(shake(suite, &wrong_prologue, &right).err(), Some(Error::Handshake), "{suite:?}");
        let wrong_psk = Belief { psk: [0x78; 32], ..right.clone() };
        let expected = suite.is_ticket().then_some(Error::Handshake);
        assert_eq!(shake(suite, &wrong_psk, &right).err(), expected, "{suite:?}");
        let wrong_server = Belief { server_known: stranger.public(), ..right.clone() };
        let expected = (!suite.is_ticket() && !suite.is_unpinned()).then_some(Error::Handshake);
        assert_eq!(shake(suite, &wrong_server, &right).err(), expected, "{suite:?}");
        let wrong_client = Belief { client: stranger.clone(), ..right.clone() };
        let expected = suite.is_stream().then_some(Error::Handshake);
        assert_eq!(shake(suite, &wrong_client, &right).err(), expected, "{suite:?}");
    }
}

#[test]
fn a_message_1_of_another_suite_is_refused() {
    let right = Belief::right();
    for sent in short() {
        for taken in short().filter(|&taken| taken != sent) {
            assert!(
                right.respond(taken, &right.message_1(sent), &mut Vec::new()).is_err(),
                "{sent:?} {taken:?}"
            );
        }
    }
}

#[test]
fn a_point_of_low_order_is_refused_on_both_sides() {
    let right = Belief::right();
    for suite in short() {
        let mut message_1 = right.message_1(suite);
        message_1[..32].fill(0);
        let refused = right.respond(suite, &message_1, &mut Vec::new()).err();
        assert_eq!(refused, Some(Error::Handshake), "{suite:?}");
        if !suite.is_ticket() {
            let belief = Belief { server_known: PublicKey([0; 32]), ..right.clone() };
            let mut out = vec![9];
            assert_eq!(belief.create(suite, &mut out).err(), Some(Error::Handshake), "{suite:?}");
            assert_eq!(out, [9]);
        }
    }
}

#[test]
fn a_missing_key_is_told_apart_from_a_bad_message() {
    let right = Belief::right();
    for suite in Suite::ALL {
        let message_1 = right.message_1(suite);
        let bare =
            Responder { suite, key: None, peer: None, psk: None, prologue: PROLOGUE, ephemeral: [0x44; 32] };
        let refused = if suite.is_unpinned() {
            bare.begin(&message_1, &OFFER, &mut Vec::new()).err()
        } else {
            bare.respond(&message_1, &OFFER, &mut Vec::new()).err()
        };
        assert_eq!(refused, Some(Error::Suite), "{suite:?}");
        let bare = Initiator::create(suite, None, None, None, PROLOGUE, [0x33; 32], &mut Vec::new());
        assert_eq!(bare.err(), Some(Error::Suite), "{suite:?}");
    }
}

#[test]
fn every_flipped_bit_of_three_messages_is_refused_by_who_can_tell() {
    let right = Belief::right();
    for suite in long() {
        let begun = |message_1: &[u8]| {
            let mut message_2 = Vec::new();
            (right.begin(suite, message_1, &mut message_2).expect("any key but one of low order"), message_2)
        };
        let concluded = |message_2: &[u8], message_3: &mut Vec<u8>| {
            let waiting = right.create(suite, &mut Vec::new()).unwrap();
            waiting.conclude(message_2, &mut Vec::new(), message_3).map(|_| ()).err()
        };
        let message_1 = right.message_1(suite);
        let (_, message_2) = begun(&message_1);
        let mut message_3 = Vec::new();
        assert_eq!(concluded(&message_2, &mut message_3), None);
        for bit in 0..8 * message_2.len() {
            let flip = |message: &[u8]| {
                let mut wrong = message.to_vec();
                wrong[bit / 8] ^= 1 << (bit % 8);
                wrong
            };
            let mut nothing = vec![9];
            if bit < 8 * message_1.len() {
                let (_, of_wrong) = begun(&flip(&message_1));
                assert_eq!(concluded(&of_wrong, &mut nothing), Some(Error::Handshake), "{suite:?} bit {bit}");
            }
            assert_eq!(concluded(&flip(&message_2), &mut nothing), Some(Error::Handshake), "{suite:?} {bit}");
            assert_eq!(nothing, [9]);
            if bit < 8 * message_3.len() {
                let refused = begun(&message_1).0.finish(&flip(&message_3)).err();
                assert_eq!(refused, Some(Error::Handshake), "{suite:?} bit {bit}");
            }
        }
    }
}

#[test]
fn message_3_has_one_length_and_its_handshake_no_other_way() {
    let right = Belief::right();
    for suite in long() {
        let message_1 = right.message_1(suite);
        for len in (0..200).filter(|&len| len != 64) {
            let begun = right.begin(suite, &message_1, &mut Vec::new()).unwrap();
            assert_eq!(begun.finish(&vec![0; len]).err(), Some(Error::HandshakeLength(len)));
        }
        let mut out = vec![9];
        assert_eq!(right.respond(suite, &message_1, &mut out).err(), Some(Error::Suite), "{suite:?}");
        for len in [0, 31, 33] {
            let refused = right.begin(suite, &vec![1; len], &mut out).err();
            assert_eq!(refused, Some(Error::HandshakeLength(len)));
        }
        let low_order = right.begin(suite, &[0; 32], &mut out).err();
        assert_eq!((low_order, &out[..]), (Some(Error::Handshake), &[9][..]), "{suite:?}");
        let waiting = right.create(suite, &mut Vec::new()).unwrap();
        assert_eq!(waiting.consume(&[0; 100], &mut Vec::new()).err(), Some(Error::Suite));
        for len in [0, 99, 4097] {
            let waiting = right.create(suite, &mut Vec::new()).unwrap();
            let refused = waiting.conclude(&vec![0; len], &mut Vec::new(), &mut out).err();
            assert_eq!(refused, Some(Error::HandshakeLength(len)));
        }
    }
    for suite in short() {
        let refused = right.begin(suite, &right.message_1(suite), &mut Vec::new()).err();
        assert_eq!(refused, Some(Error::Suite), "{suite:?}");
    }
}

#[test]
fn debug_output_has_no_secrets() {
    let right = Belief::right();
    let (client, _) = shake(Suite::NkChaChaPoly, &right, &right).unwrap();
    let text = format!("{client:?} {:?}", Transport::new(&client));
    assert!(text.contains("***") && !text.contains(&format!("{:?}", client.send)), "{text}");
}
