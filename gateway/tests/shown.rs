//! A panic's message often has a `{:?}` in it. Whatever type it is of, no secret is shown.

use std::fmt::Debug;
use std::path::Path;

use gateway::collections::HashKey;
use gateway::config::{Config, DevelopmentToken, Machine, Overrides, Secret, load};
use gateway::id::LinkId;
use gateway::identity::{Development, Good, Presented};
use gateway::session::{Grant, Login, Proof, Session, SessionSecrets};
use gateway::upstream::park::{Parked, Waiting};
use gateway::upstream::{RouteIndex, StreamIndex};
use gateway::worker::Letter;
use protocol::link::{Acceptor, Dial};
use protocol::noise::ticket::TicketKeys;
use protocol::noise::{Gate, StaticKey, Suite, Suites};
use protocol::{DeviceClass, Time, UnixMillis, hex};

/// Of which every byte has the same two digits, in hex and in decimal.
const SECRET: [u8; 32] = [0xC7; 32];

/// What a panic with this value in its message would say.
fn said(value: &dyn Debug) -> String {
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| panic!("{value:?} {value:#?}")));
    *panicked.expect_err("it panics").downcast::<String>().expect("a message that was put together")
}

/// In hex, as a list of bytes on one line or on many, or as the bytes themselves.
fn assert_hidden(value: &dyn Debug) {
    let said = said(value);
    let spaceless: String = said.split_whitespace().collect();
    for piece in ["c7c7c7", "C7C7C7", "199,199,199", "\\xc7\\xc7", "canary"] {
        assert!(!spaceless.contains(piece), "{piece} in {said}");
    }
    assert!(!said.trim().is_empty());
}

#[test]
fn a_secret_would_be_found_if_it_were_shown() {
    for value in [&SECRET as &dyn Debug, &hex::encode(&SECRET), &"canary", &&SECRET[..]] {
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| assert_hidden(value))).is_err());
    }
}

#[test]
fn keys_and_what_holds_them_show_none() {
    let secret = Secret::new(SECRET);
    let key = StaticKey::from_secret(SECRET);
    let tickets = || TicketKeys::new(SECRET, "realm", UnixMillis(0));
    let suites = Suites::of(&[Suite::NkAesGcm]);
    let gate = Gate::new(&key.public());
    let dial = Dial {
        server: &key.public(),
        gate: &gate,
        suite: Suite::Nnpsk0AesGcm,
        better: Suites::NONE,
        served: Suites::NONE,
        device_key: Some(&key),
        ticket: Some((b"ticket", &SECRET)),
    };
    assert_hidden(&secret);
    assert_hidden(&DevelopmentToken::new(&secret));
    assert_hidden(&key);
    assert_hidden(&tickets());
    assert_hidden(&Acceptor::new(key.clone(), suites, &[], Some(tickets())));
    assert_hidden(&dial);
    assert_hidden(&HashKey::new([0xC7; 16]));
    assert_hidden(&Letter::TicketKey(secret));
}

#[test]
fn a_config_shows_none_of_its_keys() {
    let text = "keys = { server = 'server.key', tickets = ['group.key'] }\nauth.mode = 'development'\n\
                upstream.key = 'upstream.key'\n";
    let machine = Machine { cpus: vec![0], open_files: 20_000, memory: 0 };
    let read = |_: &Path| Ok(hex::encode(&SECRET));
    let loaded = load("f", text, Overrides::default(), &machine, &read);
    let (config, warnings) = loaded.unwrap_or_else(|problems| panic!("{problems}"));
    let inside: &Config = &config;
    assert_eq!(inside.tickets[0].bytes(), &SECRET);
    assert_hidden(inside);
    assert_hidden(&warnings);
}

#[test]
fn sessions_tokens_and_waiting_payload_show_none() {
    let proof = Proof {
        login: 1,
        time: UnixMillis(0),
        issued: UnixMillis(0),
        expiry: None,
        tickets: None,
        class: DeviceClass::of(0),
        limit_class: 0,
    };
    let grant = Grant { requests: 1, bytes: 1 };
    let login = Login { user: b"alice", device: b"phone", proof, grant, heartbeat_ms: 1 };
    let session = Session::create(&login, [1; 16]);
    assert_hidden(&SessionSecrets::new(&SECRET));
    assert!(said(&session).contains("alice"), "users are no secret");
    assert_hidden(&session);

    let token = b"canary".as_slice();
    assert_hidden(&Presented { token, user: b"alice", now: UnixMillis(0) });
    assert_hidden(&Development::new(DevelopmentToken::new(&Secret::new(SECRET))));
    assert_hidden(&Good {
        user: b"alice".into(),
        login: token.into(),
        issued: UnixMillis(0),
        expiry: None,
        binding: None,
        class: DeviceClass::of(0),
        limit_class: "".into(),
    });
    let waiting = Waiting {
        link: LinkId::new(0, 0, 0),
        deadline: Time::ZERO,
        cost: 1,
        order: 0,
        stream: StreamIndex(0),
        route: RouteIndex(0),
        entry: None,
    };
    assert_hidden(&Parked { waiting, bytes: SECRET.to_vec() });
    assert_hidden(&driver::Batch { bytes: SECRET.to_vec(), sent: 0 });
}
