//! Tickets: what a node of the group sealed, what it never sealed, and keys that come and go.
//!
//! ```text
//! mode 0  now (word), ticket                              bytes as they are
//! mode 1  now, salt 16, what stands inside                sealed as the specification says, so that it is read
//! mode 2  now, salt 16, an identity, place, bits, realm   issued, and touched if there are bits to flip
//! mode 3  steps: rotate, accept, expire                   one ticket of each key is kept
//! ```

use std::time::Duration;

use protocol::noise::ticket::{SEALED_LEN, TICKET_CHAIN_MAX, TICKET_KEYS_MAX, TICKET_LIFETIME};
use protocol::noise::{Identity, KeyId, Pattern, PublicKey, Suite, TicketKeys};
use protocol::{DeviceClass, Error, UnixMillis};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::{digest, hmac};

use super::Seed;
use super::parties::{GROUP_KEY, PARTIES, REALM, WALL, identity};
use super::script::{Script, Writer};

/// The body of this target: how many tickets were opened.
pub fn run(data: &[u8]) -> usize {
    let mut script = Script::new(data);
    match script.byte() % 4 {
        0 => {
            let (now, ticket) = (UnixMillis(script.word()), script.rest());
            open(&TicketKeys::new(GROUP_KEY, REALM, WALL), ticket, now, None)
        }
        1 => {
            let (now, salt) = (UnixMillis(script.word()), script.array());
            let ticket = sealed(&salt, script.rest());
            open(&TicketKeys::new(GROUP_KEY, REALM, WALL), &ticket, now, Some(&salt))
        }
        2 => issued(&mut script),
        _ => rotations(&mut script),
    }
}

/// Opens a ticket; if its salt is known, it must be the one ticket that says what it says.
fn open(keys: &TicketKeys, ticket: &[u8], now: UnixMillis, salt: Option<&[u8; 16]>) -> usize {
    match keys.open(ticket, now) {
        Ok(identity) => {
            assert!(ticket.len() == SEALED_LEN && is_good(&identity, now), "{identity:?} at {now:?}");
            assert!(can_be_said(&identity), "{identity:?}");
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
pub(super) fn is_good(identity: &Identity, now: UnixMillis) -> bool {
    let by = |moment: UnixMillis, by: Duration| moment.0.saturating_add(by.as_millis() as u64);
    now.0 < by(identity.issued, TICKET_LIFETIME)
        && now.0 < by(identity.auth_time, TICKET_CHAIN_MAX)
        && [identity.token_exp, identity.end].into_iter().flatten().all(|end| now < end)
        && identity.issued.0 <= by(now, Duration::from_mins(1))
}

/// What a ticket can say at all. A chain that began with IK has the key that was proved then.
pub(super) fn can_be_said(identity: &Identity) -> bool {
    let (ids, origin) = (1..=64, identity.origin_suite);
    let has_origin = !origin.is_ticket() && !origin.is_stream() && !origin.is_unpinned();
    let ends = [identity.token_exp, identity.end];
    ids.contains(&identity.user.len())
        && ids.contains(&identity.device.len())
        && has_origin
        && identity.device_key.is_some() == (origin.pattern() == Pattern::Ik)
        && !ends.contains(&Some(UnixMillis(0)))
}

/// Seals any bytes like a ticket of the current group key.
fn sealed(salt: &[u8; 16], inside: &[u8]) -> Vec<u8> {
    let id = digest::digest(&digest::SHA256, &[b"access-gateway ticket key id v1", &GROUP_KEY[..]].concat());
    let realm = digest::digest(&digest::SHA256, REALM.as_bytes());
    let group_key = hmac::Key::new(hmac::HMAC_SHA256, &GROUP_KEY);
    let key = hmac::sign(&group_key, &[b"access-gateway ticket v1", realm.as_ref(), salt].concat());
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
    let keys = TicketKeys::new(GROUP_KEY, REALM, WALL);
    let mut ticket = match keys.issue(&identity, &salt) {
        Ok(ticket) => ticket,
        Err(error) => {
            assert!(matches!(error, Error::Field(_)) && !can_be_said(&identity), "{error:?}");
            return 0;
        }
    };
    assert!(can_be_said(&identity));
    assert_eq!(ticket.len(), SEALED_LEN, "its length tells something");
    let place = usize::from(u16::from_be_bytes(script.array())) % ticket.len();
    let bits = script.byte();
    ticket[place] ^= bits;
    let opened = keys.open(&ticket, now);
    let is_opened = bits == 0 && is_good(&identity, now);
    assert_eq!(opened, if is_opened { Ok(identity) } else { Err(Error::Ticket) });
    let realm = String::from_utf8_lossy(script.rest());
    let elsewhere = TicketKeys::new(GROUP_KEY, &realm, WALL).open(&ticket, now);
    assert_eq!(elsewhere.is_ok(), is_opened && realm == REALM, "a ticket of another realm");
    usize::from(is_opened)
}

/// An identity, from a script.
pub(super) fn read_identity(script: &mut Script<'_>) -> Identity {
    let suite = Suite::ALL[usize::from(script.byte()) % Suite::ALL.len()];
    let [issued, auth_time, token_exp, end] =
        [script.word(), script.word(), script.word(), script.word()].map(UnixMillis);
    let (user, device) = (script.bytes().to_vec(), script.bytes().to_vec());
    let flags = script.byte();
    let has = |flag: u8| flags & flag != 0;
    let [psk, key_id @ ..] = script.array::<5>();
    let [epoch @ .., device_key, bound_key] = script.array::<6>();
    Identity {
        psk: [psk; 32].into(),
        origin_suite: suite,
        server_key_id: KeyId(key_id),
        issued,
        auth_time,
        login: issued.0.rotate_left(7),
        token_exp: has(TOKEN_ENDS).then_some(token_exp),
        end: has(ENDS).then_some(end),
        epoch: u32::from_be_bytes(epoch),
        user,
        device,
        device_key: has(DEVICE_KEY).then_some(PublicKey([device_key; 32])),
        bound_key: has(BOUND_KEY).then_some([bound_key; 32]),
        class: DeviceClass::of(u32::from(flags >> 5)),
        limit_class: if has(LIMIT_CLASS) { vec![bound_key; usize::from(bound_key % 33)] } else { Vec::new() },
    }
}

pub(super) const TOKEN_ENDS: u8 = 1;
pub(super) const DEVICE_KEY: u8 = 2;
pub(super) const ENDS: u8 = 4;
pub(super) const BOUND_KEY: u8 = 8;
const LIMIT_CLASS: u8 = 16;

/// A key opens what it sealed for as long as it was promised, and no longer.
fn rotations(script: &mut Script<'_>) -> usize {
    let identity = identity(PARTIES.server);
    let ticket_of = |key: u8| {
        TicketKeys::new([key; 32], REALM, WALL).issue(&identity, &[key; 16]).expect("a good identity")
    };
    let mut keys = TicketKeys::new([0; 32], REALM, WALL);
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
    let ticket = &PARTIES.ticket[..];
    let mut seeds = vec![
        ("good", raw(WALL.0, ticket)),
        ("too-old", raw(WALL.0 + 12 * HOUR, ticket)),
        ("from-the-future", raw(WALL.0 - 60_001, ticket)),
        ("cut-off", raw(WALL.0, &ticket[..ticket.len() - 1])),
        ("more-bytes", raw(WALL.0, &[ticket, &[0]].concat())),
        ("head-only", raw(WALL.0, &ticket[..20])),
        ("empty", raw(WALL.0, &[])),
        ("rotated", vec![3, 0, 1, 0, 3, 0, 6, 0, 2, 0, 3, 0, 6, 3, 1, 0, 2, 1, 0]),
        (
            "accepted",
            [&[3][..], &(1..=9).flat_map(|key| [1, key, key]).collect::<Vec<u8>>(), &[3, 1, 2, 2, 5, 0]]
                .concat(),
        ),
    ];
    seeds.extend(sealed_contents());
    seeds.extend(issued_tickets());
    seeds
}

/// Contents as the specification draws them, and others.
fn sealed_contents() -> Vec<Seed> {
    let inside = |inside: &[u8]| Writer::default().byte(1).word(WALL.0).rest(&SALT).rest(inside).done();
    let filled = |parts: &[&[u8]]| {
        let mut content = parts.concat();
        content.resize(CONTENT_LEN, 0);
        content
    };
    // Issued, authenticated, the login's name, end of the token, end of the ticket, revocation epoch.
    let times = [WALL.0.to_be_bytes(), WALL.0.to_be_bytes(), [9; 8], [0; 8], [0; 8]].concat();
    let head = |format: u8, suite: u8| [&[format][..], &[0x88; 32], &[suite], b"keyi", &times].concat();
    let ids = b"\0\0\0\x03\x05alice\x05phone";
    let plain = filled(&[&head(1, 1), ids]);
    let with_keys = filled(&[&head(1, 3), ids, &[3], &[7; 32], &[6; 32]]);
    let (longest, last) = (vec![0x61; 64], CONTENT_LEN - 1);
    let long_ids = [&[0, 0, 0, 3, 64][..], &longest, &[64], &longest].concat();
    let mut dirty = plain.clone();
    dirty[last] = 1;
    vec![
        ("inside", inside(&plain)),
        ("inside-bound", inside(&filled(&[&head(1, 2), ids, &[2], &[6; 32]]))),
        ("inside-both-keys", inside(&with_keys)),
        ("inside-longest", inside(&filled(&[&head(1, 4), &long_ids, &[3], &[7; 32], &[6; 32]]))),
        ("inside-ik-without-key", inside(&filled(&[&head(1, 3), ids]))),
        ("inside-key-without-ik", inside(&filled(&[&head(1, 1), ids, &[1], &[7; 32]]))),
        ("inside-from-ticket", inside(&filled(&[&head(1, 7), ids]))),
        ("inside-other-format", inside(&filled(&[&head(2, 1), ids]))),
        ("inside-later-flag", inside(&filled(&[&head(1, 1), ids, &[4]]))),
        ("inside-not-filled-with-zeros", inside(&dirty)),
        ("inside-more-bytes", inside(&[&plain[..], &[0]].concat())),
        ("inside-fewer-bytes", inside(&plain[..last])),
        ("inside-nothing", inside(&[])),
    ]
}

fn issued_tickets() -> Vec<Seed> {
    let issue = |now: u64, identity: &Written<'_>, touch: [u8; 3], realm: &str| {
        let head = identity.write(Writer::default().byte(2).word(now).rest(&SALT));
        head.rest(&touch).rest(realm.as_bytes()).done()
    };
    let alice = Written::default();
    let ik = Written { suite: 2, flags: DEVICE_KEY, ..alice };
    let (end, from_ticket) = (WALL.0 + HOUR, Written { suite: 4, ..alice });
    let none = [0; 3];
    let all = Written { token_exp: end, end, flags: DEVICE_KEY | TOKEN_ENDS | ENDS | BOUND_KEY, ..ik };
    vec![
        ("issued", issue(WALL.0, &alice, none, "")),
        ("issued-same-realm", issue(WALL.0, &alice, none, REALM)),
        ("issued-other-realm", issue(WALL.0, &alice, none, "Realm")),
        ("issued-device-key", issue(WALL.0, &ik, none, "")),
        ("issued-all", issue(end - 1, &all, none, "")),
        ("issued-bound", issue(WALL.0, &Written { flags: BOUND_KEY, ..alice }, none, "")),
        ("issued-token-over", issue(end, &Written { token_exp: end, flags: TOKEN_ENDS, ..alice }, none, "")),
        ("issued-over", issue(end, &Written { end, flags: ENDS, ..alice }, none, "")),
        ("issued-end-of-nothing", issue(WALL.0, &Written { flags: ENDS, ..alice }, none, "")),
        ("issued-key-missing", issue(WALL.0, &Written { flags: 0, ..ik }, none, "")),
        ("issued-no-user", issue(WALL.0, &Written { user: b"", ..alice }, none, "")),
        ("issued-long-user", issue(WALL.0, &Written { user: &[b'a'; 65], ..alice }, none, "")),
        ("issued-longest-user", issue(WALL.0, &Written { user: &[b'a'; 64], ..alice }, none, "")),
        ("issued-from-ticket", issue(WALL.0, &from_ticket, none, "")),
        ("issued-touched", issue(WALL.0, &alice, [1, 40, 1], "")),
    ]
}

/// What [`read_identity`] reads.
#[derive(Clone, Copy)]
pub(super) struct Written<'a> {
    pub(super) suite: u8,
    pub(super) issued: u64,
    pub(super) auth_time: u64,
    pub(super) token_exp: u64,
    pub(super) end: u64,
    pub(super) user: &'a [u8],
    pub(super) flags: u8,
    pub(super) key_id: KeyId,
}

impl Default for Written<'_> {
    fn default() -> Self {
        Self {
            suite: 0,
            issued: WALL.0,
            auth_time: WALL.0,
            token_exp: 0,
            end: 0,
            user: b"alice",
            flags: 0,
            key_id: KeyId(*b"keyi"),
        }
    }
}

impl Written<'_> {
    pub(super) fn write(&self, to: Writer) -> Writer {
        let times = to.byte(self.suite).word(self.issued).word(self.auth_time);
        let ids = times.word(self.token_exp).word(self.end).bytes(self.user).bytes(b"phone");
        ids.byte(self.flags).byte(0x88).rest(&self.key_id.0).rest(&[0, 0, 0, 3, 7, 6])
    }
}

const SALT: [u8; 16] = [0x99; 16];
const HOUR: u64 = 3_600_000;
/// Bytes of what is sealed.
const CONTENT_LEN: usize = 320;
