//! `tickets.json`: what gateways of a group say to each other through their clients.

use protocol::noise::ticket::Identity;
use protocol::noise::{PublicKey, Suite, TicketKeys};
use protocol::{DeviceClass, UnixMillis};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hmac::{self, HMAC_SHA256};

use crate::json::Json;
use crate::keys::*;
use crate::listeners::{ALLOWED, at_link};
use crate::recipe::{flipped, with_ticket};

const HOUR: u64 = 3_600_000;

pub(crate) fn file() -> Json {
    let mut refused = of_another_group();
    refused.extend(out_of_time());
    refused.extend(of_another_listener());
    refused.extend(contents());
    Json::object([
        (
            "about",
            "Tickets of SPEC.md, section 5, for gateways: clients carry them as they are. All are sealed with group_key \
             for realm unless the case says otherwise; key is that of the one ticket, content what is inside, \
             expires_ms the moment from which it is no longer good. The listener that refuses a ticket has this group \
             key, realm and server key, and answers a hello of suite 7 with it."
                .into(),
        ),
        ("group_key", Json::hex(GROUP_KEY)),
        ("group_key_id", Json::hex(group_key_id())),
        ("realm", REALM.into()),
        ("server_key_id", Json::hex(public(SERVER_SECRET).key_id().0)),
        ("listener_suites", Json::List(ALLOWED.map(|suite| suite.byte().into()).into())),
        ("good", Json::List(good().iter().map(|(name, identity)| show(name, identity)).collect())),
        ("refused", Json::List(refused.iter().map(Refused::show).collect())),
    ])
}

fn ik() -> Identity {
    Identity {
        origin_suite: Suite::IkChaChaPoly,
        device_key: Some(PublicKey(public(DEVICE_SECRET).0)),
        ..identity()
    }
}

fn later(millis: u64) -> UnixMillis {
    UnixMillis(NOW.0 + millis)
}

fn earlier(millis: u64) -> UnixMillis {
    UnixMillis(NOW.0 - millis)
}

fn good() -> Vec<(&'static str, Identity)> {
    vec![
        ("golden ticket", identity()),
        ("with a device key: the chain began with IK", ik()),
        ("bound to an Ed25519 key", Identity { bound_key: Some(BOUND_KEY), ..identity() }),
        ("with a device key and bound", Identity { bound_key: Some(BOUND_KEY), ..ik() }),
        ("a token that ends in two hours", Identity { token_exp: Some(later(2 * HOUR)), ..identity() }),
        ("tickets of this login end in one hour", {
            Identity { token_exp: Some(later(2 * HOUR)), end: Some(later(HOUR)), ..identity() }
        }),
        (
            "an hour before the chain is over",
            Identity { auth_time: earlier((7 * 24 - 1) * HOUR), ..identity() },
        ),
        ("issued a minute in the future", Identity { issued: later(60_000), ..identity() }),
        ("from a phone", Identity { class: DeviceClass::Phone, ..identity() }),
        ("of a class of accounts, bound", {
            Identity { limit_class: b"service".to_vec(), bound_key: Some(BOUND_KEY), ..identity() }
        }),
        ("the longest names, everything set", {
            Identity {
                class: DeviceClass::Other,
                limit_class: vec![b'c'; 32],
                user: vec![b'u'; 64],
                device: vec![b'd'; 64],
                token_exp: Some(later(2 * HOUR)),
                end: Some(later(HOUR)),
                login: u64::MAX,
                bound_key: Some(BOUND_KEY),
                ..ik()
            }
        }),
    ]
}

fn show(name: &str, identity: &Identity) -> Json {
    let sealed = ticket(identity);
    let (head, content) = (&sealed[..20], opened(&sealed));
    assert_eq!(seal(&content), sealed, "sealed by other hands, it is the same");
    assert_eq!(ticket_keys().open(&sealed, NOW).as_ref(), Ok(identity));
    assert_eq!(at_link(&with_ticket(sealed.clone()).hello(), NOW).error, None, "{name}");
    let (last, end) = (UnixMillis(identity.expires().0 - 1), identity.expires());
    assert_eq!(at_link(&with_ticket(sealed.clone()).hello(), last).error, None, "{name}");
    assert!(at_link(&with_ticket(sealed.clone()).hello(), end).error.is_some(), "{name}");
    Json::object([
        ("name", name.into()),
        ("salt", Json::hex(&head[4..])),
        ("now_ms", Json::long(NOW.0)),
        ("fields", fields(identity)),
        ("content", Json::hex(&content)),
        ("key", Json::hex(ticket_key(head))),
        ("ticket", Json::hex(&sealed)),
        ("expires_ms", Json::long(identity.expires().0)),
    ])
}

fn fields(identity: &Identity) -> Json {
    let moment = |moment: Option<UnixMillis>| Json::long(moment.map_or(0, |moment| moment.0));
    let has_classes = identity.class != DeviceClass::Unknown || !identity.limit_class.is_empty();
    let keys = u8::from(identity.device_key.is_some()) | u8::from(identity.bound_key.is_some()) << 1;
    let flags = keys | u8::from(has_classes) << 2;
    Json::object([
        ("format", 1_u8.into()),
        ("psk", Json::hex(*identity.psk)),
        ("origin_suite", identity.origin_suite.byte().into()),
        ("server_key_id", Json::hex(identity.server_key_id.0)),
        ("issued", Json::long(identity.issued.0)),
        ("auth_time", Json::long(identity.auth_time.0)),
        ("login", Json::long(identity.login)),
        ("token_end", moment(identity.token_exp)),
        ("ticket_end", moment(identity.end)),
        ("revocation_epoch", identity.epoch.into()),
        ("user", Json::hex(&identity.user)),
        ("device", Json::hex(&identity.device)),
        ("flags", flags.into()),
        ("device_key", identity.device_key.map_or(Json::Null, |key| Json::hex(key.0))),
        ("bound_key", identity.bound_key.map_or(Json::Null, Json::hex)),
        ("class", identity.class.number().into()),
        ("limit_class", Json::hex(&identity.limit_class)),
    ])
}

fn group_key_id() -> [u8; 4] {
    let digest = sha256(&[b"access-gateway ticket key id v1", &GROUP_KEY]);
    *digest.first_chunk().expect("a digest is longer")
}

/// The key of the ticket that begins with this group key id and salt.
fn ticket_key(head: &[u8]) -> [u8; 32] {
    assert_eq!(head[..4], group_key_id());
    let data = [b"access-gateway ticket v1", &sha256(&[REALM.as_bytes()])[..], &head[4..20]].concat();
    hmac::sign(&hmac::Key::new(HMAC_SHA256, &GROUP_KEY), &data).as_ref().try_into().expect("32 bytes")
}

fn cipher(head: &[u8]) -> (LessSafeKey, Nonce) {
    let key = UnboundKey::new(&AES_256_GCM, &ticket_key(head)).expect("a key of 32 bytes");
    (LessSafeKey::new(key), Nonce::assume_unique_for_key([0; 12]))
}

fn opened(ticket: &[u8]) -> Vec<u8> {
    let (head, mut inside) = (&ticket[..20], ticket[20..].to_vec());
    let (key, nonce) = cipher(head);
    key.open_in_place(nonce, Aad::from(head), &mut inside).expect("its own key").to_vec()
}

/// Seals any content, as a gateway of another version might.
fn seal(content: &[u8]) -> Vec<u8> {
    let head = [&group_key_id()[..], &SALT].concat();
    let ((key, nonce), mut inside) = (cipher(&head), content.to_vec());
    key.seal_in_place_append_tag(nonce, Aad::from(&head), &mut inside).expect("a short content");
    [head, inside].concat()
}

struct Refused {
    reason: String,
    now: UnixMillis,
    ticket: Vec<u8>,
}

fn refused(reason: impl Into<String>, ticket: Vec<u8>) -> Refused {
    Refused { reason: reason.into(), now: NOW, ticket }
}

impl Refused {
    fn show(&self) -> Json {
        let answer = at_link(&with_ticket(self.ticket.clone()).hello(), self.now);
        assert_eq!((answer.bytes.len(), answer.bytes.get(5)), (16, Some(&5)), "{}", self.reason);
        Json::object([
            ("reason", self.reason.as_str().into()),
            ("now_ms", Json::long(self.now.0)),
            ("ticket", Json::hex(&self.ticket)),
            ("answer", Json::hex(&answer.bytes)),
        ])
    }
}

/// No key opens it.
fn of_another_group() -> Vec<Refused> {
    let golden = ticket(&identity());
    let by =
        |key, realm| TicketKeys::new(key, realm, NOW).issue(&identity(), &SALT).expect("a good identity");
    let mut cases = vec![
        refused("sealed with another group key", by([0x89; 32], REALM)),
        refused("sealed for the realm \"Main\"", by(GROUP_KEY, "Main")),
        refused("sealed for the realm of no name", by(GROUP_KEY, "")),
    ];
    let places = [("group key id", 0), ("salt", 4), ("content", 20), ("padding", 339), ("tag", 355)];
    for (part, at) in places {
        cases.push(refused(format!("a bit of the {part} is flipped"), flipped(golden.clone(), at)));
    }
    cases.extend([
        refused("the last byte is missing", golden[..355].to_vec()),
        refused("a byte too many", [&golden[..], &[0]].concat()),
        refused("group key id and salt, and no more", golden[..20].to_vec()),
        refused("three bytes", golden[..3].to_vec()),
    ]);
    cases
}

/// It opens, at the wrong time.
fn out_of_time() -> Vec<Refused> {
    let at = |reason: &str, now, identity: &Identity| Refused { now, ..refused(reason, ticket(identity)) };
    let token = Identity { token_exp: Some(later(2 * HOUR)), ..identity() };
    let login = Identity { end: Some(later(HOUR)), ..token.clone() };
    vec![
        at("its lifetime of 12 h is over", later(12 * HOUR), &identity()),
        at("its token has ended", later(2 * HOUR), &token),
        at("tickets of its login have ended", later(HOUR), &login),
        at("its chain of 7 days is over", NOW, &Identity { auth_time: earlier(7 * 24 * HOUR), ..identity() }),
        at("issued more than a minute in the future", earlier(60_001), &identity()),
    ]
}

/// It opens in time, and is worth nothing on this listener.
fn of_another_listener() -> Vec<Refused> {
    let server_key_id = public(RETIRED_SECRET).key_id();
    let aes = Identity { origin_suite: Suite::NkAesGcm, ..identity() };
    vec![
        refused("issued under another server key", ticket(&Identity { server_key_id, ..identity() })),
        refused("its chain began with a suite that is not allowed here", ticket(&aes)),
    ]
}

/// It opens, and what is inside is no content.
fn contents() -> Vec<Refused> {
    let (plain, with_key) = (opened(&ticket(&identity())), opened(&ticket(&ik())));
    let changed = |reason: &str, content: &[u8], at: usize, value: u8| {
        let mut content = content.to_vec();
        assert_ne!(content[at], value, "{reason}");
        content[at] = value;
        refused(reason, seal(&content))
    };
    // format 1, psk 32, origin suite 1, server key id 4, five numbers of 8, revocation epoch 4: then the names.
    let (suite, user) = (33, 82);
    let device = user + 1 + 5;
    let flags = device + 1 + 5;
    let classes = |len: u8| [&[4, 1, len][..], &vec![b'c'; len.into()]].concat();
    let swap = |from: usize, to: usize, with: &[u8]| [&plain[..from], with, &plain[to..]].concat();
    let mut long_user = swap(user, device, &[&[65][..], &[b'u'; 65]].concat());
    long_user.truncate(320);
    let mut no_user = swap(user, device, &[0]);
    no_user.resize(320, 0);
    vec![
        changed("format 2", &plain, 0, 2),
        changed("format 0", &plain, 0, 0),
        changed("its origin suite is one of tickets", &plain, suite, 7),
        changed("its origin suite is one of streams", &plain, suite, 9),
        changed("its origin suite is not known", &plain, suite, 5),
        changed("its origin suite is IK, and there is no device key", &plain, suite, 3),
        changed("its origin suite is NK, and there is a device key", &with_key, suite, 1),
        refused("a user of no bytes", seal(&no_user)),
        refused("a user of 65 bytes", seal(&long_user)),
        changed("a device of no bytes", &plain, device, 0),
        changed("a device that is longer than allowed", &plain, device, 255),
        changed("an unknown flag", &plain, flags, 8),
        changed("classes that say nothing", &plain, flags, 4),
        refused("a class of devices that is not known", seal(&swap(flags, flags + 3, &[4, 6, 0]))),
        refused("a class of accounts of 33 bytes", seal(&swap(flags, flags + 36, &classes(33)))),
        changed("an unknown flag beside a known one", &with_key, flags, 0x81),
        changed("wrong padding: the first byte behind the flags", &plain, flags + 1, 1),
        changed("wrong padding: the last byte", &plain, 319, 1),
        refused("a content of 319 bytes", seal(&plain[..319])),
        refused("a content of 321 bytes", seal(&[&plain[..], &[0]].concat())),
        refused("no content", seal(&[])),
    ]
}
