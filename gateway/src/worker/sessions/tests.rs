//! Sessions and claims of a worker, without its links.

use std::time::Duration;

use protocol::UnixMillis;

use super::*;
use crate::directory::churn::Pace;
use crate::directory::claims::Outcome;
use crate::session::Grant;

const LOGIN: u64 = 77;
const MOMENT: UnixMillis = UnixMillis(1_700_000_000_000);

fn sessions(settings: Settings) -> (Sessions, Turn) {
    (
        Sessions::new(
            &settings,
            HashKey::new([5; 16]),
            SessionSecrets::new(&[8; 32]),
            Arc::new(Users::new(64)),
            Time::ZERO,
        ),
        Turn::of(settings),
    )
}

/// Of two slots.
fn small() -> (Sessions, Turn) {
    sessions(Settings { slots: 2, sessions_detached_max: 0, ..Settings::small() })
}

fn proof() -> Proof {
    let tickets = TicketRule { end: Some(UnixMillis(MOMENT.0 + 1)), bound_key: None };
    Proof {
        login: LOGIN,
        time: MOMENT,
        issued: MOMENT,
        expiry: None,
        tickets: Some(tickets),
        class: DeviceClass::Phone,
        limit_class: 0,
    }
}

fn begin(sessions: &mut Sessions, turn: &mut Turn, user: &[u8]) -> Result<SessionKey, NotBegun> {
    sessions.begin(turn, user, b"phone", proof(), 0)
}

fn link(slot: u32) -> LinkId {
    LinkId::new(0, slot, 1)
}

/// What a link of alice's claims, by device and login, one second later with each login.
fn claim(sessions: &Sessions, slot: u32, device: &[u8], login: u64) -> Claim {
    let (user, device) = (sessions.name_of(b"alice"), sessions.name_of(device));
    let login_time = UnixMillis(MOMENT.0 + 1000 * login);
    Claim {
        user,
        device,
        link: link(slot),
        login,
        login_time,
        class: DeviceClass::Phone,
        is_login: true,
        on_trial: Guards::NONE,
        session: [0; 16],
        resume: None,
    }
}

fn links_of(sessions: &Sessions, device: Option<&[u8]>) -> Vec<u32> {
    let device = device.map(|device| sessions.name_of(device));
    let mut slots: Vec<_> = sessions.lookup(sessions.name_of(b"alice"), device).map(LinkId::slot).collect();
    slots.sort_unstable();
    slots
}

fn at(seconds: u64) -> Time {
    Time::ZERO + Duration::from_secs(seconds)
}

#[test]
fn a_session_is_what_was_proved_and_granted() {
    let (mut sessions, mut turn) = small();
    let key = begin(&mut sessions, &mut turn, b"alice").expect("there is room");
    let session = sessions.get(key).expect("it has begun");
    assert_eq!((session.user(), session.device()), (&b"alice"[..], &b"phone"[..]));
    assert_eq!((session.proof(), session.login(), session.token_expiry()), (LOGIN, MOMENT, None));
    assert_eq!(session.grant(), turn.settings.grant);
    let first = (*session.id(), sessions.secret_of(session));
    let key = begin(&mut sessions, &mut turn, b"alice").expect("there is room");
    let session = sessions.get(key).expect("it has begun");
    assert!(
        first.0 != *session.id() && first.1 != sessions.secret_of(session),
        "each has its own randomness"
    );
}

#[test]
fn nobody_and_names_that_are_too_long_have_no_session() {
    let (mut sessions, mut turn) = small();
    for user in [&[][..], &[b'a'; ID_LEN_MAX + 1]] {
        assert_eq!(begin(&mut sessions, &mut turn, user), Err(NotBegun::User));
    }
    assert_eq!(sessions.census(), (0, 0, 0));
    assert!(begin(&mut sessions, &mut turn, &[b'a'; ID_LEN_MAX]).is_ok());
}

#[test]
fn a_full_table_takes_another_when_one_has_left() {
    let (mut sessions, mut turn) = small();
    let first = begin(&mut sessions, &mut turn, b"alice").expect("there is room");
    begin(&mut sessions, &mut turn, b"bob").expect("there is room");
    assert_eq!(begin(&mut sessions, &mut turn, b"carol"), Err(NotBegun::Full));
    assert!(sessions.end(first).is_some());
    assert!(begin(&mut sessions, &mut turn, b"carol").is_ok());
    assert_eq!(sessions.census(), (2, 0, 0));
    sessions.publish(&turn.counters);
    assert_eq!(turn.counters.sessions.get(), 2);
}

#[test]
fn the_wished_heartbeat_is_clamped() {
    for (wish, interval) in [(0, 20_000), (1, 1_000), (5_000, 5_000), (600_000, 60_000)] {
        let (mut sessions, mut turn) = small();
        let key = sessions.begin(&mut turn, b"alice", b"phone", proof(), wish).expect("there is room");
        assert_eq!(sessions.get(key).map(Session::heartbeat_ms), Some(interval), "{wish}");
    }
}

#[test]
fn a_key_of_a_session_that_is_over_finds_nothing_of_its_successor() {
    let (mut sessions, mut turn) = small();
    let former = begin(&mut sessions, &mut turn, b"alice").expect("there is room");
    assert_eq!(sessions.end(former).map(|session| session.user().to_vec()), Some(b"alice".to_vec()));
    let successor = begin(&mut sessions, &mut turn, b"bob").expect("there is room");
    sessions.charge(successor, 100).expect("it is granted");
    assert!(sessions.get(former).is_none() && sessions.account(former).is_none());
    assert_eq!(sessions.charge(former, 1), Err(Refusal::Auth));
    sessions.refund(former, 100);
    assert!(sessions.take_ticket_rule(former).is_none());
    assert!(sessions.claim_of(former, link(0)).is_none() && sessions.end(former).is_none());
    let running = sessions.account(successor).map(|account| account.running);
    assert_eq!(running, Some(Grant { requests: 1, bytes: 100 }), "the successor has all that is its own");
}

#[test]
fn requests_are_charged_against_the_grant_of_their_session_only() {
    let (mut sessions, mut turn) = small();
    let [alice, bob] =
        [b"alice", b"bob__"].map(|user| begin(&mut sessions, &mut turn, user).expect("there is room"));
    sessions.charge(alice, 600).expect("it is granted");
    assert_eq!(sessions.charge(alice, 401), Err(Refusal::InFlight), "1000 bytes");
    sessions.charge(alice, 400).expect("it is granted");
    assert_eq!(sessions.charge(alice, 0), Err(Refusal::InFlight), "two requests");
    sessions.charge(bob, 1000).expect("it has a grant of its own");
    sessions.refund(alice, 600);
    let Account { grant, running } = sessions.account(alice).expect("it lives");
    assert_eq!((grant, running), (turn.settings.grant, Grant { requests: 1, bytes: 400 }));
    sessions.charge(alice, 600).expect("it is granted again");
}

#[test]
fn the_rule_for_tickets_is_taken_once() {
    let (mut sessions, mut turn) = small();
    let key = begin(&mut sessions, &mut turn, b"alice").expect("there is room");
    assert_eq!(sessions.take_ticket_rule(key), proof().tickets);
    assert_eq!(sessions.take_ticket_rule(key), None);
}

#[test]
fn a_link_claims_its_device_at_the_worker_that_owns_the_user() {
    let settings = Settings { workers: 4, ..Settings::small() };
    let (mut sessions, mut turn) = sessions(settings);
    let mut owners = Vec::new();
    for user in [&b"alice"[..], b"bob", b"carol", b"dave", b"eve", b"frank", b"grace", b"heidi"] {
        let key = begin(&mut sessions, &mut turn, user).expect("there is room");
        let (owner, claim) = sessions.claim_of(key, link(3)).expect("it lives");
        let (user, device) = (sessions.name_of(user), sessions.name_of(b"phone"));
        assert_eq!(
            claim,
            Claim {
                user,
                device,
                link: link(3),
                login: LOGIN,
                login_time: MOMENT,
                class: DeviceClass::Phone,
                is_login: false,
                on_trial: Guards::NONE,
                session: *sessions.get(key).expect("it lives").id(),
                resume: None,
            }
        );
        assert_eq!(owner, sessions.owner_of(user));
        owners.push(owner);
    }
    owners.sort_unstable();
    owners.dedup();
    assert!(owners.len() > 1 && owners.iter().all(|&owner| owner < 4), "{owners:?}");
}

#[test]
fn the_claim_that_comes_last_has_the_device_and_the_one_before_stays_away_for_a_while() {
    let (mut sessions, _) = small();
    let [first, second, again] =
        [(1, 1), (2, 2), (3, 1)].map(|(slot, login)| claim(&sessions, slot, b"phone", login));
    assert_eq!(
        sessions.claim(&first, at(0), UnixMillis(1)),
        Claimed {
            link: link(1),
            outcome: Outcome::Granted,
            pace: Pace::Fine,
            percent: 100,
            epoch: 1 << 12,
            is_one_too_many: false
        }
    );
    let replaced = Outcome::Replaced { loser: link(1), same_login: false };
    assert_eq!(
        sessions.claim(&second, at(0), UnixMillis(1)),
        Claimed {
            link: link(2),
            outcome: replaced,
            pace: Pace::Fine,
            percent: 100,
            epoch: (1 << 12) + 1,
            is_one_too_many: false
        }
    );
    assert_eq!(sessions.claim(&again, at(599), UnixMillis(1)).outcome, Outcome::Superseded);
    sessions.release(&first);
    assert_eq!((links_of(&sessions, None), sessions.census()), (vec![2], (0, 1, 0)), "a late release");
    let replaced = Outcome::Replaced { loser: link(2), same_login: false };
    assert_eq!(sessions.claim(&again, at(600), UnixMillis(1)).outcome, replaced, "ten minutes later");
    sessions.release(&again);
    assert_eq!((links_of(&sessions, None), sessions.census()), (vec![], (0, 0, 0)));
}

#[test]
fn links_are_looked_up_by_user_or_by_device_and_one_device_too_many_takes_the_oldest_place() {
    let (mut sessions, _) = small();
    let [phone, laptop, watch] = [(1, &b"phone"[..], 1), (2, b"laptop", 2), (3, b"watch", 3)]
        .map(|(slot, device, login)| claim(&sessions, slot, device, login));
    for claim in [phone, laptop] {
        assert_eq!(sessions.claim(&claim, at(0), UnixMillis(1)).outcome, Outcome::Granted);
    }
    assert_eq!(links_of(&sessions, None), [1, 2]);
    assert_eq!(links_of(&sessions, Some(b"laptop")), [2]);
    assert!(links_of(&sessions, Some(b"watch")).is_empty());
    let oldest = Outcome::Replaced { loser: link(1), same_login: false };
    assert_eq!(sessions.claim(&watch, at(0), UnixMillis(1)).outcome, oldest);
    assert_eq!(links_of(&sessions, None), [2, 3]);
}

#[test]
fn logins_up_to_the_moment_of_a_revocation_are_worth_nothing() {
    let (mut sessions, _) = small();
    let [before, after] = [1, 2].map(|login| claim(&sessions, 1, b"phone", login));
    sessions.revoke(before.user, Revoked::UpTo(before.login_time), at(0));
    assert_eq!(sessions.claim(&before, at(1), UnixMillis(1)).outcome, Outcome::Revoked);
    assert_eq!(sessions.claim(&after, at(1), UnixMillis(1)).outcome, Outcome::Granted);
}

#[test]
fn what_is_remembered_of_logins_is_bounded_and_told() {
    let settings =
        Settings { tombstones_max: 1, revocations_max: 2, revoked_logins_max: 1, ..Settings::small() };
    let (mut sessions, turn) = sessions(settings);
    for login in 1..=4 {
        let claim = claim(&sessions, login, b"phone", login.into());
        sessions.claim(&claim, at(0), UnixMillis(1));
    }
    for user in [b"bob__", b"carol", b"david"] {
        sessions.revoke(sessions.name_of(user), Revoked::UpTo(MOMENT), at(0));
    }
    for login in 1..=4 {
        sessions.revoke(sessions.name_of(b"alice"), Revoked::Login(login), at(0));
    }
    sessions.publish(&turn.counters);
    let counters = &turn.counters;
    assert_eq!((counters.takeovers_remembered.get(), counters.takeovers_forgotten.get()), (1, 5));
    assert_eq!((counters.revocations_remembered.get(), counters.revocations_forgotten.get()), (2, 1));
    let of_logins = (counters.revoked_logins_remembered.get(), counters.revoked_logins_forgotten.get());
    assert_eq!(of_logins, (1, 3));
}
