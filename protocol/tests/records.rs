//! Records, through the public doors: what is sealed opens, what was touched does not.

use proptest::prelude::*;
use protocol::Error;
use protocol::limits::{RECORD_PLAIN_MAX, REKEY_INTERVAL};
use protocol::noise::{Secrets, Suite, Transport};

const SUITES: [Suite; 2] = [Suite::NkChaChaPoly, Suite::NkAesGcm];

/// Two ends that share their keys.
fn ends(suite: Suite) -> (Transport, Transport) {
    let secrets =
        |send, receive| Secrets { suite, send: [send; 32], receive: [receive; 32], h: [0; 32], peer: None };
    (Transport::new(&secrets(1, 2)), Transport::new(&secrets(2, 1)))
}

/// The same ends, far along.
fn ends_at(suite: Suite, counter: u64) -> (Transport, Transport) {
    let (one, other) = ends(suite);
    let moved = |transport: Transport| {
        let mut bytes = transport.pack();
        bytes[33..41].copy_from_slice(&counter.to_be_bytes());
        bytes[73..81].copy_from_slice(&counter.to_be_bytes());
        Transport::unpack(&bytes).expect("any counter can be packed")
    };
    (moved(one), moved(other))
}

fn sealed(transport: &mut Transport, plaintext: &[u8], plain_max: usize) -> Vec<u8> {
    let mut out = [&[0, 0], plaintext].concat();
    transport.seal_records(&mut out, 0, plain_max);
    out
}

/// Opens all records in `bytes`, one by one: the plaintexts.
fn opened(transport: &mut Transport, mut bytes: Vec<u8>) -> Result<Vec<Vec<u8>>, Error> {
    let mut rest = bytes.as_mut_slice();
    let mut plaintexts = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk_mut::<2>() {
        let (record, after) = after.split_at_mut(usize::from(u16::from_be_bytes(*length)));
        plaintexts.push(transport.open_in_place(record)?.to_vec());
        rest = after;
    }
    Ok(plaintexts)
}

proptest! {
    #[test]
    fn opens_to_what_was_sealed_in_pieces_of_at_most_the_limit(
        aes: bool,
        before in prop::collection::vec(any::<u8>(), 0..20),
        plaintext in prop::collection::vec(any::<u8>(), 1..3000),
        plain_max in 1usize..4000,
        counter in prop_oneof![Just(0), REKEY_INTERVAL - 30..REKEY_INTERVAL + 2, any::<u64>().prop_map(|n| n >> 1)],
    ) {
        let (mut sender, mut receiver) = ends_at(SUITES[usize::from(aes)], counter);
        let mut out = [before.as_slice(), &[0, 0], &plaintext].concat();
        sender.seal_records(&mut out, before.len(), plain_max);
        prop_assert_eq!(&out[..before.len()], before.as_slice());
        let pieces = opened(&mut receiver, out.split_off(before.len())).unwrap();
        prop_assert_eq!(pieces.concat(), plaintext);
        prop_assert!(pieces.iter().rev().skip(1).all(|piece| piece.len() == plain_max));
        prop_assert!(pieces.last().is_some_and(|piece| (1..=plain_max).contains(&piece.len())));
    }

    #[test]
    fn a_batch_gives_the_same_bytes_as_single_calls(
        aes: bool,
        plaintexts in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..100), 1..20),
        ahead in 0u64..20,
    ) {
        let suite = SUITES[usize::from(aes)];
        let (mut single, mut receiver) = ends_at(suite, REKEY_INTERVAL - ahead);
        let (mut batched, _) = ends_at(suite, REKEY_INTERVAL - ahead);
        let mut expected = Vec::new();
        for plaintext in &plaintexts {
            expected.extend(sealed(&mut single, plaintext, 1000));
        }
        let mut out = Vec::new();
        let mut sealer = batched.sealer();
        for plaintext in &plaintexts {
            let start = out.len();
            out.extend_from_slice(&[0, 0]);
            out.extend_from_slice(plaintext);
            sealer.seal_records(&mut out, start, 1000);
        }
        prop_assert_eq!(&out, &expected);
        let mut opener = receiver.opener();
        let mut rest = out.as_mut_slice();
        for plaintext in &plaintexts {
            let (record, after) = rest.split_at_mut(plaintext.len() + 18);
            prop_assert_eq!(&*opener.open_in_place(&mut record[2..]).unwrap(), plaintext.as_slice());
            rest = after;
        }
    }

    #[test]
    fn bytes_of_a_stranger_never_open(aes: bool, mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let (_, mut receiver) = ends(SUITES[usize::from(aes)]);
        let expected = if bytes.len() > 16 { Error::Record } else { Error::RecordEmpty };
        prop_assert_eq!(receiver.open_in_place(&mut bytes).err(), Some(expected));
    }
}

#[test]
fn every_flipped_bit_of_a_record_is_refused() {
    for suite in SUITES {
        let (mut sender, mut receiver) = ends(suite);
        let record = sealed(&mut sender, b"the whole truth", 1000);
        for bit in 0..8 * (record.len() - 2) {
            let mut wrong = record[2..].to_vec();
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(receiver.open_in_place(&mut wrong).err(), Some(Error::Record), "{suite:?} bit {bit}");
        }
        assert_eq!(opened(&mut receiver, record).unwrap(), [b"the whole truth"]);
    }
}

#[test]
fn a_record_opens_once_in_its_place_and_in_its_direction() {
    for suite in SUITES {
        let (mut sender, mut receiver) = ends(suite);
        let records = [sealed(&mut sender, b"one", 1000), sealed(&mut sender, b"two", 1000)];
        assert_eq!(opened(&mut receiver, records[1].clone()), Err(Error::Record), "skipped one");
        assert!(opened(&mut receiver, records[0].clone()).is_ok());
        assert_eq!(opened(&mut receiver, records[0].clone()), Err(Error::Record), "replayed");
        assert_eq!(opened(&mut sender, records[1].clone()), Err(Error::Record), "reflected");
        assert!(opened(&mut receiver, records[1].clone()).is_ok());
    }
}

#[test]
fn lengths_that_no_record_has_are_refused_before_any_work() {
    let (_, mut receiver) = ends(Suite::NkAesGcm);
    for len in 0..=16 {
        assert_eq!(receiver.open_in_place(&mut vec![0; len]).err(), Some(Error::RecordEmpty));
    }
    assert_eq!(receiver.open_in_place(&mut vec![0; 65_536]).err(), Some(Error::RecordLength(65_536)));
}

#[test]
fn the_longest_record_fits_its_length_field() {
    let (mut sender, mut receiver) = ends(Suite::NkAesGcm);
    let plaintext = vec![5; RECORD_PLAIN_MAX + 1];
    let out = sealed(&mut sender, &plaintext, usize::MAX);
    assert_eq!(out[..2], [0xff, 0xff]);
    let lens = opened(&mut receiver, out).unwrap().iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(lens, [RECORD_PLAIN_MAX, 1]);
}

#[test]
fn nothing_is_sealed_where_there_is_no_plaintext() {
    let (mut sender, mut receiver) = ends(Suite::NkChaChaPoly);
    for (len, start) in [(0, 0), (2, 0), (7, 5), (6, 5), (5, 5), (3, 5)] {
        let mut out = vec![1; len];
        sender.seal_records(&mut out, start, 100);
        assert_eq!(out, vec![1; len.min(start)]);
    }
    assert!(opened(&mut receiver, sealed(&mut sender, b"x", 0)).is_ok(), "a limit of zero is one");
}

#[test]
fn a_packed_transport_goes_on_where_it_was() {
    for suite in SUITES {
        let (mut sender, mut receiver) = ends(suite);
        assert!(opened(&mut receiver, sealed(&mut sender, b"before", 1000)).is_ok());
        let mut sender = Transport::unpack(&sender.pack()).unwrap();
        let mut receiver = Transport::unpack(&receiver.pack()).unwrap();
        assert!(opened(&mut receiver, sealed(&mut sender, b"after", 1000)).is_ok());
        let mut wrong = sender.pack();
        for cipher in [0, 3, 255] {
            wrong[0] = cipher;
            assert!(Transport::unpack(&wrong).is_none());
        }
    }
}

#[test]
fn the_reserved_counter_is_never_used() {
    for suite in SUITES {
        let (mut sender, mut receiver) = ends_at(suite, u64::MAX - 2);
        assert_eq!(sealed(&mut sender, b"abc", 1), [], "three records do not fit");
        assert!(!sender.is_exhausted());
        let last = sealed(&mut sender, b"ab", 1);
        assert_eq!(opened(&mut receiver, last).unwrap(), [b"a", b"b"]);
        assert!(sender.is_exhausted());
        assert_eq!(sealed(&mut sender, b"c", 1), []);
        assert_eq!(receiver.open_in_place(&mut [0; 40]).err(), Some(Error::Record));
    }
}
