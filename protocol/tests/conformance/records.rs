//! `records.json`: plaintexts and what is sent of them, in both ciphers.

use protocol::Error;
use protocol::limits::RECORD_PLAIN_MAX;
use protocol::noise::{Cipher, Transport};
use ring::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use crate::json::Json;
use crate::recipe::flipped;

/// The key of the direction that is looked at, and that of the other one.
const KEY: [u8; 32] = [0xc1; 32];
const OTHER: [u8; 32] = [0xc2; 32];
const REKEY_AT: u64 = 65_536;

pub(crate) fn file() -> Json {
    Json::object([
        (
            "about",
            "Records of SPEC.md, section 6, of one direction. key is the key before the first record of a case, counter \
             the first record's; each further record has the next one. A record is length and Noise transport message."
                .into(),
        ),
        ("ciphers", Json::List([Cipher::ChaChaPoly, Cipher::AesGcm].map(of).into())),
    ])
}

fn of(cipher: Cipher) -> Json {
    let name = match cipher {
        Cipher::ChaChaPoly => "ChaChaPoly",
        Cipher::AesGcm => "AESGCM",
    };
    Json::object([
        ("cipher", name.into()),
        ("open", Json::List(good(cipher))),
        ("do_not_open", Json::List(bad(cipher))),
    ])
}

/// One end that sends and receives with the same key, so that it reads what it writes.
fn end(cipher: Cipher, counter: u64) -> Transport {
    end_with(cipher, KEY, KEY, counter)
}

fn end_with(cipher: Cipher, send: [u8; 32], receive: [u8; 32], counter: u64) -> Transport {
    let counter = counter.to_be_bytes();
    let packed = [&[cipher as u8][..], &send, &counter, &receive, &counter].concat();
    Transport::unpack(packed.first_chunk().expect("all of it")).expect("a packed transport")
}

/// The key an end would seal with next.
fn key_of(transport: Transport) -> [u8; 32] {
    *transport.pack()[1..].first_chunk().expect("the key is longer")
}

fn good(cipher: Cipher) -> Vec<Json> {
    let texts = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>();
    let bytes: Vec<u8> = (0..=255).collect();
    vec![
        show("the first record", cipher, 0, &texts(&["hello"])),
        show("one byte, the shortest", cipher, 1, &[vec![0]]),
        show("all bytes", cipher, 2, &[bytes]),
        show("records of one batch, behind each other", cipher, 0, &texts(&["one", "two", "three"])),
        show("each byte of a counter has its place", cipher, 0x0102_0304_0506_0708, &texts(&["far along"])),
        show("the rekey: before the record with counter 65,536", cipher, REKEY_AT - 1, &{
            texts(&["the last with its key", "the first with the next", "the second"])
        }),
        show("the second rekey", cipher, 2 * REKEY_AT - 1, &texts(&["before", "behind"])),
        cut("plaintext that is too long for one record of 100 bytes", cipher, 7),
    ]
}

fn show(name: &str, cipher: Cipher, counter: u64, plaintexts: &[Vec<u8>]) -> Json {
    let mut end = end(cipher, counter);
    let (mut batch, mut records) = (Vec::new(), Vec::new());
    for (plaintext, n) in plaintexts.iter().zip(counter..) {
        let start = batch.len();
        batch.extend_from_slice(&[&[0, 0], &plaintext[..]].concat());
        end.seal_records(&mut batch, start, RECORD_PLAIN_MAX);
        let rekeys = n / REKEY_AT - counter / REKEY_AT;
        records.push(record(cipher, rekeys, n, plaintext, &batch[start..]));
    }
    assert_opens(cipher, counter, &batch, &plaintexts.concat());
    let shown = Json::object([
        ("name", name.into()),
        ("key", Json::hex(KEY)),
        ("counter", Json::long(counter)),
        ("records", Json::List(records)),
    ]);
    let key_after = key_of(end);
    if key_after == KEY { shown } else { shown.and([("key_after", Json::hex(key_after))]) }
}

/// A sender whose peer takes records of 100 bytes, tag included.
fn cut(name: &str, cipher: Cipher, counter: u64) -> Json {
    let plaintext: Vec<u8> = (0..200).collect();
    let (mut end, mut batch) = (end(cipher, counter), [&[0, 0], &plaintext[..]].concat());
    end.seal_records(&mut batch, 0, 84);
    assert_opens(cipher, counter, &batch, &plaintext);
    let (mut rest, mut records) = (&batch[..], Vec::new());
    for (part, n) in plaintext.chunks(84).zip(counter..) {
        let (one, behind) = rest.split_at(2 + part.len() + 16);
        records.push(record(cipher, 0, n, part, one));
        rest = behind;
    }
    assert!(rest.is_empty());
    Json::object([
        ("name", name.into()),
        ("key", Json::hex(KEY)),
        ("counter", Json::long(counter)),
        ("records", Json::List(records)),
    ])
}

/// One record, which other hands must seal to the same bytes after so many rekeys.
fn record(cipher: Cipher, rekeys: u64, counter: u64, plaintext: &[u8], record: &[u8]) -> Json {
    let nonce = nonce(cipher, counter);
    let key = (0..rekeys).fold(KEY, |key, _| rekeyed(cipher, key));
    assert_eq!(by_other_hands(cipher, key, nonce, plaintext), record[2..], "counter {counter}");
    Json::object([
        ("counter", Json::long(counter)),
        ("nonce", Json::hex(nonce)),
        ("plaintext", Json::hex(plaintext)),
        ("record", Json::hex(record)),
    ])
}

/// As the table in section 6 has it.
fn nonce(cipher: Cipher, counter: u64) -> [u8; 12] {
    let number = match cipher {
        Cipher::ChaChaPoly => counter.to_le_bytes(),
        Cipher::AesGcm => counter.to_be_bytes(),
    };
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&number);
    nonce
}

/// REKEY of section 6.
fn rekeyed(cipher: Cipher, key: [u8; 32]) -> [u8; 32] {
    let sealed = by_other_hands(cipher, key, nonce(cipher, u64::MAX), &[0; 32]);
    *sealed.first_chunk().expect("32 bytes and a tag")
}

fn by_other_hands(cipher: Cipher, key: [u8; 32], nonce: [u8; 12], plaintext: &[u8]) -> Vec<u8> {
    let algorithm = match cipher {
        Cipher::ChaChaPoly => &CHACHA20_POLY1305,
        Cipher::AesGcm => &AES_256_GCM,
    };
    let key = LessSafeKey::new(UnboundKey::new(algorithm, &key).expect("a key of 32 bytes"));
    let (nonce, mut out) = (Nonce::assume_unique_for_key(nonce), plaintext.to_vec());
    key.seal_in_place_append_tag(nonce, Aad::empty(), &mut out).expect("a short plaintext");
    out
}

fn assert_opens(cipher: Cipher, counter: u64, batch: &[u8], plaintext: &[u8]) {
    let (mut end, mut rest, mut got) = (end(cipher, counter), batch, Vec::new());
    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
        let (record, behind) = behind.split_at(usize::from(u16::from_be_bytes(*length)));
        got.extend_from_slice(end.open_in_place(&mut record.to_vec()).expect("it opens"));
        rest = behind;
    }
    assert_eq!(got, plaintext);
}

fn bad(cipher: Cipher) -> Vec<Json> {
    let text = b"the whole truth";
    let seal = |mut end: Transport| {
        let mut record = [&[0, 0], &text[..]].concat();
        end.seal_records(&mut record, 0, RECORD_PLAIN_MAX);
        record
    };
    let good = seal(end(cipher, 5));
    let other = match cipher {
        Cipher::ChaChaPoly => Cipher::AesGcm,
        Cipher::AesGcm => Cipher::ChaChaPoly,
    };
    let with_length = |message: &[u8]| {
        let length = u16::try_from(message.len()).expect("a short record").to_be_bytes();
        [&length[..], message].concat()
    };
    let swapped = by_other_hands(cipher, KEY, nonce(other, 5), text);
    let last = good.len() - 1;
    let cases = [
        ("the first bit of the ciphertext is flipped", 5, flipped(good.clone(), 2)),
        ("a bit of the tag is flipped", 5, flipped(good.clone(), last)),
        ("the last byte is missing", 5, with_length(&good[2..last])),
        ("a byte too many", 5, with_length(&[&good[2..], &[0]].concat())),
        ("it was opened before", 6, good.clone()),
        ("the one before it is missing", 4, good.clone()),
        ("sealed with the key of the other direction", 5, seal(end_with(cipher, OTHER, OTHER, 5))),
        ("sealed with the other cipher", 5, seal(end(other, 5))),
        ("the counter is written in the other order of bytes", 5, with_length(&swapped)),
        ("sealed without the rekey", REKEY_AT, {
            with_length(&by_other_hands(cipher, KEY, nonce(cipher, REKEY_AT), text))
        }),
        ("length 0", 5, vec![0, 0]),
        ("length 1", 5, with_length(&[0])),
        (
            "length 16: a tag and no plaintext",
            5,
            with_length(&by_other_hands(cipher, KEY, nonce(cipher, 5), b"")),
        ),
    ];
    cases.into_iter().map(|(name, counter, record)| show_bad(name, cipher, counter, &record)).collect()
}

/// A record that comes when the receiver expects this counter.
fn show_bad(name: &str, cipher: Cipher, counter: u64, record: &[u8]) -> Json {
    // The machine replaces its key behind the record before the rekey, so that it has to open that one first.
    let before = if counter == REKEY_AT { REKEY_AT - 1 } else { counter };
    let mut receiver = end(cipher, before);
    for _ in before..counter {
        let mut last = by_other_hands(cipher, KEY, nonce(cipher, before), b"before");
        receiver.open_in_place(&mut last).expect("the record before it opens");
    }
    let error = receiver.open_in_place(&mut record[2..].to_vec()).expect_err(name);
    assert!(matches!(error, Error::Record | Error::RecordEmpty), "{name}");
    Json::object([
        ("name", name.into()),
        ("key", Json::hex(KEY)),
        ("counter", Json::long(counter)),
        ("record", Json::hex(record)),
        ("error", error.name().into()),
        ("close_code", error.close_code().map_or(Json::Null, |code| code.name().into())),
    ])
}
