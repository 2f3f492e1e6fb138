//! Tickets: what a node of the group sealed, what it never sealed, and keys that come and go.
//!
//! ```text
//! mode 0  now (word), ticket                          bytes as they are
//! mode 1  now, salt 16, what stands inside            sealed as the specification says, so that it is read
//! mode 2  now, salt 16, an identity, place, bits      issued, and touched if there are bits to flip
//! mode 3  steps: rotate, accept, expire               one ticket of each key is kept
//! ```

use std::time::Duration;

use protocol::limits::TICKET_LEN_MAX;
use protocol::noise::ticket::{TICKET_CHAIN_MAX, TICKET_KEYS_MAX, TICKET_LIFETIME};
use protocol::noise::{Identity, KeyId, PublicKey, Suite, TicketKeys};
use protocol::{Error, UnixMillis};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::{digest, hmac};

use super::Seed;
use super::parties::{GROUP_KEY, PARTIES, WALL, identity};
use super::script::{Script, Writer};

/// The body of this target: how many tickets were opened.
pub fn run(data: &[u8]) -> usize {
    let mut script = Script::new(data);
    match script.byte() % 4 {
        0 => {
            let (now, ticket) = (UnixMillis(script.word()), script.rest());
            open(&TicketKeys::new(GROUP_KEY, WALL), ticket, now, None)
        }
        1 => {
            let (now, salt) = (UnixMillis(script.word()), script.array());
            let ticket = sealed(&salt, script.rest());
            open(&TicketKeys::new(GROUP_KEY, WALL), &ticket, now, Some(&salt))
        }
        2 => issued(&mut script),
        _ => rotations(&mut script),
    }
}

/// Opens a ticket; if its salt is known, it must be the one ticket that says what it says.
fn open(keys: &TicketKeys, ticket: &[u8], now: UnixMillis, salt: Option<&[u8; 16]>) -> usize {
    match keys.open(ticket, now) {
        Ok(identity) => {
            assert!(ticket.len() <= TICKET_LEN_MAX && is_good(&identity, now), "{identity:?} at {now:?}");
            if let Some(salt) = salt {
                assert_eq!(keys.issue(&identity, salt).as_deref(), Ok(ticket));
            }
            1
        }
        Err(error) => {
            assert_eq!(error, Error::Ticket, "why a ticket is refused is not told");
            0
        }
    }
}

/// The rules of SPEC.md, section 5, for a ticket's time.
fn is_good(identity: &Identity, now: UnixMillis) -> bool {
    let by = |moment: UnixMillis, by: Duration| moment.0.saturating_add(by.as_millis() as u64);
    now.0 < by(identity.issued, TICKET_LIFETIME)
        && now.0 < by(identity.auth_time, TICKET_CHAIN_MAX)
        && identity.token_exp.is_none_or(|end| now < end)
        && identity.issued.0 <= by(now, Duration::from_mins(1))
}

/// Seals any bytes like a ticket of the current group key.
fn sealed(salt: &[u8; 16], inside: &[u8]) -> Vec<u8> {
    let id = digest::digest(&digest::SHA256, &[b"access-gateway ticket key id v1", &GROUP_KEY[..]].concat());
    let group_key = hmac::Key::new(hmac::HMAC_SHA256, &GROUP_KEY);
    let key = hmac::sign(&group_key, &[b"access-gateway ticket v1", &salt[..]].concat());
    let key = UnboundKey::new(&AES_256_GCM, key.as_ref()).expect("an HMAC-SHA-256 is as long as a key");
    let head = [&id.as_ref()[..4], salt].concat();
    let mut sealed = inside.to_vec();
    LessSafeKey::new(key)
        .seal_in_place_append_tag(Nonce::assume_unique_for_key([0; 12]), Aad::from(&head), &mut sealed)
        .expect("inputs are short");
    [head, sealed].concat()
}

fn issued(script: &mut Script<'_>) -> usize {
    let (now, salt) = (UnixMillis(script.word()), script.array());
    let identity = read_identity(script);
    let keys = TicketKeys::new(GROUP_KEY, WALL);
    let ids = 1..=64;
    let can_be_said = ids.contains(&identity.user.len())
        && ids.contains(&identity.device.len())
        && !identity.origin_suite.is_ticket()
        && !identity.origin_suite.is_stream()
        && identity.token_exp != Some(UnixMillis(0));
    let mut ticket = match keys.issue(&identity, &salt) {
        Ok(ticket) => ticket,
        Err(error) => {
            assert!(matches!(error, Error::Field(_)) && !can_be_said, "{error:?}");
            return 0;
        }
    };
    assert!(can_be_said && ticket.len() <= TICKET_LEN_MAX);
    let place = usize::from(script.byte()) % ticket.len();
    let bits = script.byte();
    ticket[place] ^= bits;
    let opened = keys.open(&ticket, now);
    let expected = if bits == 0 && is_good(&identity, now) { Ok(identity) } else { Err(Error::Ticket) };
    assert_eq!(opened, expected);
    usize::from(opened.is_ok())
}

fn read_identity(script: &mut Script<'_>) -> Identity {
    let suite = Suite::ALL[usize::from(script.byte()) % Suite::ALL.len()];
    let [issued, auth_time, token_exp] = [script.word(), script.word(), script.word()].map(UnixMillis);
    let (user, device) = (script.bytes().to_vec(), script.bytes().to_vec());
    let flags = script.byte();
    Identity {
        psk: [script.byte(); 32].into(),
        origin_suite: suite,
        server_key_id: KeyId(script.array()),
        issued,
        auth_time,
        login: issued.0.rotate_left(7),
        token_exp: (flags & 1 != 0).then_some(token_exp),
        epoch: u32::from_be_bytes(script.array()),
        user,
        device,
        device_key: (flags & 2 != 0).then_some(PublicKey([script.byte(); 32])),
    }
}

/// A key opens what it sealed for as long as it was promised, and no longer.
fn rotations(script: &mut Script<'_>) -> usize {
    let identity = identity(PARTIES.server);
    let ticket_of =
        |key: u8| TicketKeys::new([key; 32], WALL).issue(&identity, &[key; 16]).expect("a good identity");
    let mut keys = TicketKeys::new([0; 32], WALL);
    let (mut current, mut now) = (0, WALL);
    // Keys that open beside the current one, and until when.
    let mut opening: Vec<(u8, u64)> = Vec::new();
    let mut opened = 0;
    while !script.is_empty() {
        let [step, key, hours] = script.array();
        let end = now.0.saturating_add(u64::from(hours) * 3_600_000);
        match step % 4 {
            0 => {
                keys.rotate([key; 32], now);
                if key != current {
                    opening.retain(|(other, _)| *other != key);
                    remember(&mut opening, current, now.0 + TICKET_LIFETIME.as_millis() as u64);
                    opening.retain(|(_, until)| now.0 < *until);
                    current = key;
                }
            }
            1 => {
                keys.accept([key; 32], UnixMillis(end));
                if key != current {
                    remember(&mut opening, key, end);
                }
            }
            2 => {
                keys.expire(now);
                opening.retain(|(_, until)| now.0 < *until);
            }
            _ => now = UnixMillis(end),
        }
        let may = current == key || opening.iter().any(|(other, until)| *other == key && now.0 < *until);
        let expected = may && is_good(&identity, now);
        assert_eq!(keys.open(&ticket_of(key), now).is_ok(), expected, "key {key} at {now:?}");
        opened += usize::from(expected);
        assert!(keys.deadline().is_none_or(|deadline| opening.iter().any(|(_, until)| *until == deadline.0)));
    }
    opened
}

/// Within the bound, the keys that end last are kept.
fn remember(opening: &mut Vec<(u8, u64)>, key: u8, until: u64) {
    opening.retain(|(other, _)| *other != key);
    let place = opening.partition_point(|(_, other)| *other <= until);
    opening.insert(place, (key, until));
    if opening.len() >= TICKET_KEYS_MAX {
        opening.remove(0);
    }
}

/// Good tickets of every form, and what is refused.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let raw = |now: u64, ticket: &[u8]| Writer::default().byte(0).word(now).rest(ticket).done();
    let salt = [0x99; 16];
    let inside = |inside: &[u8]| Writer::default().byte(1).word(WALL.0).rest(&salt).rest(inside).done();
    let ids = b"\x05alice\x05phone";
    let times = [WALL.0.to_be_bytes(), WALL.0.to_be_bytes(), [9; 8], [0; 8]].concat();
    let plain = [&[1][..], &[0x88; 32], &[1], b"keyi", &times, &[0, 0, 0, 3], ids, &[0]].concat();
    let with_key = [&plain[..plain.len() - 1], &[1], &[7; 32]].concat();
    let format = [&[2], &plain[1..]].concat();
    let issue = |now: u64, suite: u8, token: u64, user: &[u8], flags: u8, touch: [u8; 2]| {
        let head =
            Writer::default().byte(2).word(now).rest(&salt).byte(suite).word(WALL.0).word(WALL.0).word(token);
        head.bytes(user)
            .bytes(b"phone")
            .byte(flags)
            .byte(0x88)
            .rest(b"keyi\0\0\0\x03")
            .rest(if flags & 2 == 0 { b"" } else { b"k" })
            .rest(&touch)
            .done()
    };
    let hour = 3_600_000;
    vec![
        ("good", raw(WALL.0, &PARTIES.ticket)),
        ("too-old", raw(WALL.0 + 12 * hour, &PARTIES.ticket)),
        ("from-the-future", raw(WALL.0 - 60_001, &PARTIES.ticket)),
        ("cut-off", raw(WALL.0, &PARTIES.ticket[..PARTIES.ticket.len() - 1])),
        ("head-only", raw(WALL.0, &PARTIES.ticket[..20])),
        ("empty", raw(WALL.0, &[])),
        ("inside", inside(&plain)),
        ("inside-device-key", inside(&with_key)),
        ("inside-other-format", inside(&format)),
        ("inside-more-bytes", inside(&[&plain[..], &[0]].concat())),
        ("inside-fewer-bytes", inside(&plain[..plain.len() - 3])),
        ("inside-nothing", inside(&[])),
        ("issued", issue(WALL.0, 0, 0, b"alice", 0, [0, 0])),
        ("issued-device-key", issue(WALL.0 + hour, 2, WALL.0 + 2 * hour, b"alice", 3, [0, 0])),
        ("issued-token-over", issue(WALL.0 + hour, 2, WALL.0 + hour, b"alice", 1, [0, 0])),
        ("issued-no-user", issue(WALL.0, 0, 0, b"", 0, [0, 0])),
        ("issued-long-user", issue(WALL.0, 0, 0, &[b'a'; 65], 0, [0, 0])),
        ("issued-from-ticket", issue(WALL.0, 4, 0, b"alice", 0, [0, 0])),
        ("issued-touched", issue(WALL.0, 0, 0, b"alice", 0, [40, 1])),
        ("rotated", vec![3, 0, 1, 0, 3, 0, 6, 0, 2, 0, 3, 0, 6, 3, 1, 0, 2, 1, 0]),
        (
            "accepted",
            [&[3][..], &(1..=9).flat_map(|key| [1, key, key]).collect::<Vec<u8>>(), &[3, 1, 2, 2, 5, 0]]
                .concat(),
        ),
    ]
}
