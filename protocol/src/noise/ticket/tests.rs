//! What tickets hold, how long they are good, and for whom.

use super::*;

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
const SALT: [u8; 16] = [0x5a; 16];

fn identity() -> Identity {
    Identity {
        psk: Zeroizing::new([0x11; 32]),
        origin_suite: Suite::NkChaChaPoly,
        server_key_id: KeyId([1, 2, 3, 4]),
        issued: NOW,
        auth_time: NOW,
        login: 0x0102_0304_0506_0708,
        token_exp: None,
        end: None,
        epoch: 7,
        user: b"alice".to_vec(),
        device: b"phone".to_vec(),
        device_key: None,
        bound_key: None,
        class: DeviceClass::Unknown,
        limit_class: Vec::new(),
    }
}

fn made(key: [u8; 32], now: UnixMillis) -> TicketKeys {
    TicketKeys::new(key, "realm", now)
}

fn after(hours: u64) -> UnixMillis {
    later(NOW, Duration::from_hours(hours))
}

#[test]
fn opens_what_was_issued_and_longest_fields_fit() {
    let keys = made([1; 32], NOW);
    let long = Identity {
        user: vec![1; 64],
        device: vec![2; 64],
        device_key: Some(PublicKey([3; 32])),
        token_exp: Some(after(3)),
        end: Some(after(4)),
        bound_key: Some([4; 32]),
        class: DeviceClass::Other,
        limit_class: vec![b'c'; 32],
        origin_suite: Suite::IkAesGcm,
        ..identity()
    };
    for identity in [identity(), long.clone()] {
        let ticket = keys.issue(&identity, &SALT).unwrap();
        assert_eq!(ticket.len(), SEALED_LEN, "whatever is inside");
        assert_eq!(keys.open(&ticket, NOW).unwrap(), identity);
    }
}

/// Both ends of a swap look alike to each other, and not to the nodes of the group that are older.
#[test]
fn each_moment_stands_in_its_place() {
    let moments = [1, 2, 3, 4, 5].map(|byte: u64| byte << 32);
    let [issued, auth_time, login, token_exp, end] = moments;
    let (issued, auth_time) = (UnixMillis(issued), UnixMillis(auth_time));
    let (token_exp, end) = (Some(UnixMillis(token_exp)), Some(UnixMillis(end)));
    let identity = Identity { issued, auth_time, login, token_exp, end, ..identity() };
    let mut content = Vec::new();
    identity.encode(&mut content);
    let expected: Vec<u8> = moments.iter().flat_map(|moment| moment.to_be_bytes()).collect();
    assert_eq!(content[38..78], expected);
    assert_eq!(Identity::decode(&content), Some(identity));
}

#[test]
fn a_ticket_of_one_realm_is_worth_nothing_in_another() {
    let ticket = made([1; 32], NOW).issue(&identity(), &SALT).unwrap();
    for realm in ["", "realm2", "Realm"] {
        let others = TicketKeys::new([1; 32], realm, NOW);
        assert_eq!(others.open(&ticket, NOW), Err(Error::Ticket), "{realm}");
    }
}

#[test]
fn refuses_every_flipped_bit_every_other_length_and_foreign_keys() {
    let keys = made([1; 32], NOW);
    let ticket = keys.issue(&identity(), &SALT).unwrap();
    for bit in 0..8 * ticket.len() {
        let mut wrong = ticket.clone();
        wrong[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(keys.open(&wrong, NOW), Err(Error::Ticket), "bit {bit}");
    }
    for len in 0..ticket.len() {
        assert_eq!(keys.open(&ticket[..len], NOW), Err(Error::Ticket), "{len} bytes");
    }
    for len in [1, 400, 70_000] {
        let longer = [ticket.clone(), vec![0; len]].concat();
        assert_eq!(keys.open(&longer, NOW), Err(Error::Ticket), "{len} bytes more");
    }
    assert_eq!(made([2; 32], NOW).open(&ticket, NOW), Err(Error::Ticket));
}

#[test]
fn issues_nothing_it_could_not_open() {
    let keys = made([1; 32], NOW);
    let wrong = [
        (Identity { user: vec![], ..identity() }, "user"),
        (Identity { user: vec![1; 65], ..identity() }, "user"),
        (Identity { device: vec![], ..identity() }, "device"),
        (Identity { device: vec![1; 300], ..identity() }, "device"),
        (Identity { limit_class: vec![1; 33], ..identity() }, "limit_class"),
        (Identity { origin_suite: Suite::Nnpsk0AesGcm, ..identity() }, "origin_suite"),
        (Identity { origin_suite: Suite::KkAesGcm, ..identity() }, "origin_suite"),
        (Identity { end: Some(UnixMillis(0)), ..identity() }, "end"),
        (Identity { token_exp: Some(UnixMillis(0)), ..identity() }, "end"),
        (Identity { origin_suite: Suite::IkAesGcm, ..identity() }, "device_key"),
        (Identity { device_key: Some(PublicKey([1; 32])), ..identity() }, "device_key"),
    ];
    for (identity, field) in wrong {
        assert_eq!(keys.issue(&identity, &SALT), Err(Error::Field(field)));
    }
}

#[test]
fn ends_with_its_lifetime_its_token_and_its_chain() {
    let keys = made([1; 32], NOW);
    let cases = [
        (identity(), after(12)),
        (Identity { token_exp: Some(after(2)), ..identity() }, after(2)),
        (Identity { token_exp: Some(after(2)), end: Some(after(1)), ..identity() }, after(1)),
        (Identity { end: Some(after(20)), ..identity() }, after(12)),
        (Identity { issued: after(7 * 24 - 1), ..identity() }, after(7 * 24)),
        (Identity { issued: UnixMillis(u64::MAX), auth_time: NOW, ..identity() }, after(7 * 24)),
    ];
    for (identity, end) in cases {
        assert_eq!(identity.expires(), end);
        let ticket = keys.issue(&identity, &SALT).unwrap();
        assert_eq!(keys.open(&ticket, end), Err(Error::Ticket));
        if identity.issued < end {
            assert!(keys.open(&ticket, UnixMillis(end.0 - 1)).is_ok());
        }
    }
}

#[test]
fn forgives_a_minute_of_clock_skew_and_no_more() {
    let keys = made([1; 32], NOW);
    let ticket = keys.issue(&identity(), &SALT).unwrap();
    assert!(keys.open(&ticket, UnixMillis(NOW.0 - 60_000)).is_ok());
    assert_eq!(keys.open(&ticket, UnixMillis(NOW.0 - 60_001)), Err(Error::Ticket));
}

#[test]
fn an_announced_key_opens_at_once_and_seals_when_all_have_heard_of_it() {
    let (mut early, mut late) = (made([1; 32], NOW), made([1; 32], NOW));
    early.announce([2; 32], NOW);
    let soon = later(NOW, TICKET_KEY_LEAD);
    early.advance(UnixMillis(soon.0 - 1));
    let old = early.issue(&identity(), &SALT).unwrap();
    assert!(late.open(&old, soon).is_ok(), "it seals with the key that all have");
    late.announce([2; 32], UnixMillis(soon.0 - 1));
    early.advance(soon);
    let new = early.issue(&identity(), &SALT).unwrap();
    assert_ne!(old[..4], new[..4]);
    assert!(late.open(&new, soon).is_ok(), "that does not seal with it yet");
    assert!(early.open(&old, soon).is_ok());
}

#[test]
fn an_old_key_opens_for_one_lifetime_and_is_then_erased() {
    let mut keys = made([1; 32], NOW);
    assert!(!keys.rotation_due(after(5)) && keys.rotation_due(after(6)));
    let last = keys.issue(&Identity { issued: after(6), ..identity() }, &SALT).unwrap();
    keys.rotate([2; 32], after(6));
    assert!(!keys.rotation_due(after(6)));
    assert_eq!(keys.deadline(), Some(after(18)));
    let next = keys.issue(&Identity { issued: after(6), ..identity() }, &SALT).unwrap();
    assert_ne!(last[..4], next[..4]);
    let almost = UnixMillis(after(18).0 - 1);
    assert!(keys.open(&last, almost).is_ok() && keys.open(&next, almost).is_ok());
    keys.expire(almost);
    assert_eq!(keys.opening.len(), 1);
    keys.expire(after(18));
    assert_eq!((keys.opening.len(), keys.deadline()), (0, None));
}

#[test]
fn an_erased_key_opens_nothing_even_if_erasing_is_late() {
    let mut keys = made([1; 32], NOW);
    keys.accept([2; 32], after(1));
    let other = made([2; 32], NOW);
    let ticket = other.issue(&identity(), &SALT).unwrap();
    assert!(keys.open(&ticket, NOW).is_ok());
    assert_eq!(keys.open(&ticket, after(1)), Err(Error::Ticket));
}

#[test]
fn rotation_to_an_accepted_or_the_same_key_keeps_one_of_it() {
    let mut keys = made([1; 32], NOW);
    keys.accept([2; 32], after(1));
    keys.accept([1; 32], after(1));
    keys.rotate([2; 32], NOW);
    keys.rotate([2; 32], NOW);
    assert_eq!(keys.opening.len(), 1);
    assert_eq!(keys.deadline(), Some(after(12)));
}

#[test]
fn keys_end_in_the_order_of_their_ends_and_each_is_kept_once() {
    let mut keys = made([1; 32], NOW);
    for (key, hours) in [(2, 5), (3, 2), (4, 9), (5, 5), (3, 7)] {
        keys.accept([key; 32], after(hours));
    }
    let kept =
        |keys: &TicketKeys| keys.opening.iter().map(|(key, until)| (key.id, *until)).collect::<Vec<_>>();
    let expected =
        [(2, 5), (5, 5), (3, 7), (4, 9)].map(|(key, hours)| (GroupKey::new([key; 32]).id, after(hours)));
    assert_eq!(kept(&keys), expected);
    assert_eq!(keys.deadline(), Some(after(5)));
    keys.expire(after(5));
    assert_eq!(kept(&keys), expected[2..]);
}

#[test]
fn keeps_a_bounded_number_of_keys() {
    let mut keys = made([0; 32], NOW);
    for byte in 1..100 {
        keys.rotate([byte; 32], NOW);
        keys.accept([100 + byte; 32], after(1));
        assert!(keys.opening.len() < TICKET_KEYS_MAX);
    }
    assert!(keys.open(&keys.issue(&identity(), &SALT).unwrap(), NOW).is_ok());
}

#[test]
fn refuses_a_format_of_a_later_version_and_trailing_bytes() {
    let mut inside = Vec::new();
    identity().encode(&mut inside);
    assert_eq!(Identity::decode(&inside), Some(identity()));
    assert_eq!(Identity::decode(&[inside.clone(), vec![0]].concat()), None);
    for len in 0..inside.len() {
        assert_eq!(Identity::decode(&inside[..len]), None);
    }
    assert_eq!(inside.len(), CONTENT_LEN);
    let flags = inside.iter().rposition(|&byte| byte == b'e').unwrap() + 1;
    let wrong = [
        (0, 2),
        (33, 7),
        (33, 9),
        (33, 5),
        (33, 3),
        (flags, 4),
        (flags + 1, 1),
        (CONTENT_LEN - 1, 2),
        (82, 0),
    ];
    for (place, value) in wrong {
        let mut wrong = inside.clone();
        wrong[place] = value;
        assert_eq!(Identity::decode(&wrong), None, "byte {place} = {value}");
    }
}

#[test]
fn prints_no_secret_and_no_name() {
    let text = format!("{:?} {:?}", identity(), made([0x11; 32], NOW));
    assert!(text.contains("***") && !text.contains("17, 17") && !text.contains("alice"), "{text}");
}

#[test]
fn keys_of_a_group_and_secrets_of_tickets_are_wiped_when_dropped() {
    fn is_wiped<T: zeroize::ZeroizeOnDrop>(_: &T) {}
    is_wiped(&*GroupKey::new([7; 32]).key);
    is_wiped(&identity().psk);
}
