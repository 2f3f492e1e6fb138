//! Who clients are, without their links: a machine for each, as far as its handshake.

use std::time::Duration;

use driver::{Listener, Token};
use protocol::buffer::Input;
use protocol::link::{Acceptor, ClientLink, Dial};
use protocol::noise::ticket::{TICKET_KEY_LEAD, TICKET_LIFETIME};
use protocol::noise::{Bound, Gate, StaticKey, Suite, Suites, TicketKeys};
use protocol::wire::proto::link::Ticket;
use protocol::wire::stream::AuthResult;
use protocol::{CloseCode, Time, UnixMillis};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::settings::Settings;
use super::*;
use crate::config::{DevelopmentToken, Secret};
use crate::session::{Grant, Login, Session};
use crate::upstream::StreamIndex;
use crate::worker::settings::Farewell;

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
/// Serves everything and has ticket keys.
const MAIN: Listener = Listener(0);
/// Serves tickets with ChaChaPoly only.
const PICKY: Listener = Listener(1);
/// Has no ticket keys.
const PLAIN: Listener = Listener(2);
const FIRST: StreamIndex = StreamIndex(0);
const SECOND: StreamIndex = StreamIndex(1);

fn group() -> HashKey {
    HashKey::new([6; 16])
}

/// A gateway with one server key and the ticket keys of its group, on three listeners.
fn acceptors() -> Acceptors {
    let all = Suites::of(&Suite::ALL);
    let keys = || Some(TicketKeys::new([7; 32], "default", NOW));
    let picky = all.without(Suites::of(&[Suite::Nnpsk0AesGcm]));
    let listeners = [(all, keys()), (picky, keys()), (all, None)];
    let acceptor = |(suites, keys)| Acceptor::new(StaticKey::from_secret([9; 32]), suites, &[], keys);
    Acceptors::new(listeners.into_iter().map(acceptor).collect())
}

fn judge(auth: settings::Auth) -> (Judge, Turn) {
    let settings = Settings { auth, ..Settings::small() };
    let judge = Judge::new(&settings, acceptors(), group(), HashKey::new([2; 16]));
    let mut turn = Turn::of(settings);
    turn.wall = NOW;
    (judge, turn)
}

/// One that knows the development token.
fn developer() -> (Judge, Turn) {
    judge(Settings::small().auth)
}

/// One that asks backends about at most two tokens at a time.
fn delegate() -> (Judge, Turn) {
    judge(settings::Auth::Delegated {
        route: "auth".to_owned(),
        deadline: Duration::from_secs(3),
        in_flight_max: 2,
    })
}

fn development_token() -> String {
    DevelopmentToken::new(&Secret::new([9; 32])).text()
}

/// A link on a listener, its handshake done: the gateway's end, and the handshake's hash.
fn link(judge: &Judge, wall: UnixMillis, suite: Suite, ticket: Option<&Ticket>) -> (ServerLink, [u8; 32]) {
    let acceptor = judge.acceptors().of(MAIN);
    let server = acceptor.public();
    let gate = Gate::new(&server);
    let device_key = StaticKey::from_secret([3; 32]);
    let proves_device = matches!(suite, Suite::IkChaChaPoly | Suite::IkAesGcm);
    let psk = |ticket: &Ticket| ticket.psk[..].try_into().expect("a secret has 32 bytes");
    let psk: Option<[u8; 32]> = ticket.map(psk);
    let dial = Dial {
        server: &server,
        gate: &gate,
        suite,
        better: Suites::NONE,
        served: Suites::NONE,
        device_key: proves_device.then_some(&device_key),
        ticket: ticket.map(|ticket| &ticket.ticket[..]).zip(psk.as_ref()),
    };
    let (mut hello, mut answer) = (Vec::new(), Vec::new());
    let mut client = ClientLink::dial(&dial, [4; 32], Time::ZERO, &mut hello).expect("the keys fit");
    let mut machine = ServerLink::new(Time::ZERO);
    let mut input = Input::new(&mut hello, Default::default());
    assert_eq!(machine.hail(&mut input, acceptor, &mut answer), Ok(true));
    let hello = input.into_rest();
    machine
        .handshake(hello.gathered(), acceptor, [5; 32], Time::ZERO, wall, &mut answer)
        .expect("the hello is a good one");
    let mut input = Input::new(&mut answer, Default::default());
    assert_eq!(client.receive(&mut input, Time::ZERO), Ok(None));
    let h = *client.handshake_hash().expect("there are keys");
    (machine, h)
}

/// A link by XX of the same device, on a listener of its own, its handshake done.
fn unpinned_link() -> (ServerLink, [u8; 32]) {
    let suite = Suite::XxChaChaPoly;
    let acceptor = Acceptor::new(StaticKey::from_secret([9; 32]), Suites::of(&[suite]), &[], None);
    let (mut hello, mut answer, mut said) = (Vec::new(), Vec::new(), vec![0, 0, 1]);
    let device_key = StaticKey::from_secret([3; 32]);
    let client = ClientLink::dial_unpinned(suite, Suites::NONE, &device_key, [4; 32], Time::ZERO, &mut hello);
    let (mut client, mut machine) = (client.expect("the key fits"), ServerLink::new(Time::ZERO));
    let mut input = Input::new(&mut hello, Default::default());
    assert_eq!(machine.hail(&mut input, &acceptor, &mut answer), Ok(true));
    let hello = input.into_rest();
    let begun = machine.handshake(hello.gathered(), &acceptor, [5; 32], Time::ZERO, NOW, &mut answer);
    let unfinished = begun.expect("the hello is a good one").expect("message 3 is to come");
    let mut input = Input::new(&mut answer, Default::default());
    assert_eq!(client.receive(&mut input, Time::ZERO), Ok(None));
    client.seal(&mut said, 0, 16);
    let mut input = Input::new(&mut said, Default::default());
    assert_eq!(machine.hear_last(&mut input), Ok(true));
    machine.finish(unfinished, &mut input.into_rest()).expect("a good message 3");
    let h = *client.handshake_hash().expect("there are keys");
    (machine, h)
}

/// A link without a ticket.
fn stranger(judge: &Judge) -> ServerLink {
    link(judge, NOW, Suite::NkChaChaPoly, None).0
}

/// The session of alice's phone, which has logged in an hour ago by a login called 77.
fn session(expiry: Option<UnixMillis>) -> Session {
    let proof = Proof {
        login: 77,
        time: earlier(3600),
        issued: earlier(3600),
        expiry,
        tickets: None,
        class: DeviceClass::Unknown,
        limit_class: 0,
    };
    let grant = Grant { requests: 1, bytes: 1 };
    Session::create(&Login { user: b"alice", device: b"phone", proof, grant, heartbeat_ms: 0 }, [1; 16])
}

/// Two tickets of that session.
fn tickets(judge: &mut Judge, turn: &mut Turn, rule: TicketRule) -> Vec<Ticket> {
    let machine = stranger(judge);
    judge.tickets(turn, MAIN, &machine, &session(None), rule)
}

fn earlier(seconds: u64) -> UnixMillis {
    UnixMillis(NOW.0 - 1000 * seconds)
}

fn later(duration: Duration) -> UnixMillis {
    UnixMillis(NOW.0 + duration.as_millis() as u64)
}

fn at(seconds: u64) -> Time {
    Time::ZERO + Duration::from_secs(seconds)
}

fn token(slot: u32) -> Token {
    Token { slot, generation: 1 }
}

/// What alice's phone says when it comes back with a ticket.
const BACK: Auth<'static> = Auth {
    token: &[],
    user: b"alice",
    device: b"phone",
    resume: &[],
    heartbeat_ms: 0,
    agent: "",
    signature: &[],
    class: 0,
};
/// What it says with a token that a backend has to judge.
const ASKING: Auth<'static> = Auth { token: b"token", heartbeat_ms: 9000, ..BACK };
/// A good verdict.
const ALICE: AuthResult<'static> = AuthResult {
    call: 0,
    accepted: true,
    user: b"alice",
    expires_ms: 0,
    code: 0,
    retry_after_ms: 0,
    do_not_reconnect: false,
    class: 0,
    limit_class: "",
    capabilities: 0,
    ticket_ms: 0,
    no_tickets: false,
    bound_key: &[],
    login: &[],
};

fn ask(judge: &mut Judge, slot: u32, stream: StreamIndex) -> u64 {
    judge.ask(token(slot), stream, &ASKING, at(3)).expect("there is room")
}

/// What comes of one token with this verdict.
fn outcome(result: AuthResult<'_>) -> Result<Proved, Farewell> {
    let (mut judge, turn) = delegate();
    let call = ask(&mut judge, 1, FIRST);
    judge.verdict(&turn, FIRST, &AuthResult { call, ..result }).expect("it was asked").outcome
}

fn proved(result: AuthResult<'_>) -> Proved {
    outcome(result).expect("it is accepted")
}

fn all_overdue(judge: &mut Judge, now: Time) -> Vec<u32> {
    std::iter::from_fn(|| judge.overdue(now)).map(|(link, _)| link.slot).collect()
}

#[test]
fn with_the_development_token_a_client_is_whoever_it_says() {
    let (mut judge, turn) = developer();
    let (machine, token) = (stranger(&judge), development_token());
    let judged = judge.judge(&turn, &machine, &Auth { token: token.as_bytes(), user: b"bob", ..BACK }, false);
    let Judged::Known { user: Cow::Borrowed(b"bob"), proof } = judged else { panic!("{judged:?}") };
    assert_eq!((proof.time, proof.expiry, proof.tickets), (NOW, None, Some(TicketRule::default())));
    assert_eq!(proof.login, group().hash(token.as_bytes()));
}

#[test]
fn without_the_development_token_it_is_nobody() {
    let (mut judge, turn) = developer();
    let machine = stranger(&judge);
    let other = DevelopmentToken::new(&Secret::new([8; 32])).text();
    for token in [&b""[..], b"token", other.as_bytes()] {
        assert!(matches!(
            judge.judge(&turn, &machine, &Auth { token, ..BACK }, false),
            Judged::Refused(CloseCode::AuthFailed)
        ));
    }
}

#[test]
fn a_token_of_others_is_judged_by_a_backend() {
    let (mut judge, turn) = delegate();
    let machine = stranger(&judge);
    for token in [&b"token"[..], development_token().as_bytes()] {
        let judged = judge.judge(&turn, &machine, &Auth { token, ..BACK }, false);
        assert!(matches!(judged, Judged::Asked), "{judged:?}");
    }
}

#[test]
fn a_ticket_replaces_the_token_whoever_judges_tokens() {
    for (mut judge, mut turn) in [developer(), delegate()] {
        let end = Some(later(Duration::from_secs(60)));
        let rule = TicketRule { end, bound_key: None };
        let ticket = tickets(&mut judge, &mut turn, rule).remove(0);
        let (machine, _) = link(&judge, NOW, Suite::Nnpsk0ChaChaPoly, Some(&ticket));
        turn.wall = later(Duration::from_secs(1));
        for user in [&b"alice"[..], b""] {
            let auth = Auth { user, ..BACK };
            let judged = judge.judge(&turn, &machine, &auth, false);
            let Judged::Known { user: Cow::Borrowed(b"alice"), proof } = judged else { panic!("{judged:?}") };
            assert_eq!((proof.login, proof.time), (77, earlier(3600)), "those of the login it began with");
            assert_eq!((proof.expiry, proof.tickets), (None, Some(rule)), "so does its successor's rule");
        }
    }
}

#[test]
fn a_ticket_is_good_for_its_own_user_and_device_and_not_beside_a_token() {
    let (mut judge, mut turn) = developer();
    let ticket = tickets(&mut judge, &mut turn, TicketRule::default()).remove(0);
    let (machine, _) = link(&judge, NOW, Suite::Nnpsk0ChaChaPoly, Some(&ticket));
    let token = development_token();
    for wrong in [
        Auth { device: b"laptop", ..BACK },
        Auth { user: b"bob", ..BACK },
        Auth { token: token.as_bytes(), ..BACK },
    ] {
        assert!(
            matches!(judge.judge(&turn, &machine, &wrong, false), Judged::Refused(CloseCode::AuthFailed)),
            "{wrong:?}"
        );
    }
    assert!(matches!(judge.judge(&turn, &machine, &BACK, false), Judged::Known { .. }));
}

#[test]
fn a_bound_ticket_is_good_with_the_signature_of_its_owner_only() {
    let (mut judge, mut turn) = developer();
    let owner = Ed25519KeyPair::from_seed_unchecked(&[2; 32]).expect("any seed will do");
    let bound_key = owner.public_key().as_ref().try_into().ok();
    let rule = TicketRule { end: None, bound_key };
    let [one, other] = tickets(&mut judge, &mut turn, rule).try_into().expect("two of them");
    let (machine, h) = link(&judge, NOW, Suite::Nnpsk0ChaChaPoly, Some(&one));
    let sign = |ticket: &Ticket| owner.sign(&Bound::Ticket(&ticket.ticket).message(&h));
    for signature in [&[][..], &[0; 64], sign(&other).as_ref()] {
        let auth = Auth { signature, ..BACK };
        assert!(
            matches!(judge.judge(&turn, &machine, &auth, false), Judged::Refused(CloseCode::AuthFailed)),
            "{signature:?}"
        );
    }
    let signature = sign(&one);
    let judged = judge.judge(&turn, &machine, &Auth { signature: signature.as_ref(), ..BACK }, false);
    let Judged::Known { proof, .. } = judged else { panic!("{judged:?}") };
    assert_eq!(proof.tickets, Some(rule), "its successors are bound as well");
}

#[test]
fn an_accepted_token_lets_in_whom_the_judge_names_on_the_device_that_asked() {
    let (mut judge, turn) = delegate();
    let call = ask(&mut judge, 1, FIRST);
    let Verdict { link, outcome } =
        judge.verdict(&turn, FIRST, &AuthResult { call, ..ALICE }).expect("it was asked");
    let Proved { device, heartbeat_ms, proof } = outcome.expect("it is accepted");
    assert_eq!((link, &device[..], heartbeat_ms), (token(1), &b"phone"[..], 9000));
    assert_eq!((proof.time, proof.expiry, proof.tickets), (NOW, None, Some(TicketRule::default())));
    assert_eq!(judge.asked_len(), 0);
}

#[test]
fn a_login_is_named_by_its_judge_or_else_by_its_token() {
    let named = |login: &'static [u8]| proved(AuthResult { login, ..ALICE }).proof.login;
    assert_eq!(named(b""), group().hash(b"token"));
    assert_eq!(named(b"login 5"), group().hash(b"login 5"));
}

#[test]
fn a_token_holds_until_its_end() {
    let ending = |expires_ms| outcome(AuthResult { expires_ms, ..ALICE });
    let expired = |expires_ms| ending(expires_ms).expect_err("it is over");
    assert_eq!(expired(NOW.0), CloseCode::TokenExpired.into());
    assert_eq!(expired(1), CloseCode::TokenExpired.into());
    let end = NOW.0 + 1;
    assert_eq!(ending(end).expect("it holds").proof.expiry, Some(UnixMillis(end)));
}

#[test]
fn the_judge_decides_what_tickets_are_like() {
    let rule = |result| proved(result).proof.tickets;
    assert_eq!(rule(AuthResult { no_tickets: true, ticket_ms: 5, ..ALICE }), None);
    let end = Some(UnixMillis(NOW.0 + 5000));
    assert_eq!(
        rule(AuthResult { ticket_ms: 5000, ..ALICE }),
        Some(TicketRule { end, ..TicketRule::default() })
    );
    let bound = rule(AuthResult { bound_key: &[8; 32], ..ALICE });
    assert_eq!(bound, Some(TicketRule { end: None, bound_key: Some([8; 32]) }));
}

#[test]
fn a_refused_token_is_told_what_the_judge_says() {
    let refused = |code| {
        let result =
            AuthResult { accepted: false, code, retry_after_ms: 1500, do_not_reconnect: true, ..ALICE };
        outcome(result).expect_err("it is refused")
    };
    let retry_after = Duration::from_millis(1500);
    for (said, told) in [(0, CloseCode::AuthFailed.number()), (13, 13), (9999, 9999)] {
        assert_eq!(refused(said), Farewell { code: told, retry_after, do_not_reconnect: true });
    }
    let result = AuthResult { accepted: false, expires_ms: 1, ..ALICE };
    let farewell = outcome(result).expect_err("it is refused");
    assert_eq!(farewell, CloseCode::AuthFailed.into(), "and nothing about its end");
}

#[test]
fn what_a_verdict_says_of_device_and_account_counts_before_what_the_client_says() {
    let (mut judge, mut turn) = delegate();
    turn.settings.classes = vec!["bot".to_owned(), "service".to_owned()];
    let mut classes = |said: u32, class: u32, limit_class: &'static str| {
        let auth = Auth { token: b"token", device: b"phone", class: said, ..Auth::default() };
        let call = judge.ask(token(1), FIRST, &auth, Time::ZERO).expect("there is room");
        let verdict = judge.verdict(&turn, FIRST, &AuthResult { call, class, limit_class, ..ALICE });
        let proof = verdict.and_then(|verdict| verdict.outcome.ok()).expect("it is good").proof;
        (proof.class, proof.limit_class)
    };
    assert_eq!(classes(3, 1, "service"), (DeviceClass::Phone, 2));
    assert_eq!(classes(3, 0, ""), (DeviceClass::Desktop, 0));
    assert_eq!(classes(0, 0, "nobody"), (DeviceClass::Unknown, 0));
    assert_eq!(classes(77, 0, "bot"), (DeviceClass::Other, 1));
    assert_eq!(turn.counters.limit_classes_unknown.get(), 1);
}

#[test]
fn a_verdict_of_another_stream_or_with_an_old_number_finds_nobody() {
    let (mut judge, turn) = delegate();
    let call = ask(&mut judge, 1, FIRST);
    let find = |judge: &mut Judge, stream, call| {
        let verdict = judge.verdict(&turn, stream, &AuthResult { call, ..ALICE });
        verdict.map(|verdict| verdict.link)
    };
    assert_eq!(find(&mut judge, SECOND, call), None);
    for made_up in [0, 1, call + 1, call << 1, u64::MAX] {
        assert_eq!(find(&mut judge, FIRST, made_up), None);
    }
    assert_eq!(find(&mut judge, FIRST, call), Some(token(1)), "its own stream's");
    assert_eq!(find(&mut judge, FIRST, call), None, "once");
    let next = ask(&mut judge, 2, FIRST);
    assert_eq!(find(&mut judge, FIRST, call), None, "the place has a new tenant");
    assert_eq!(find(&mut judge, FIRST, next), Some(token(2)));
}

#[test]
fn a_verdict_that_says_nothing_sensible_finds_its_link_like_any_other() {
    let (mut judge, _) = delegate();
    let call = ask(&mut judge, 1, FIRST);
    assert_eq!(judge.misjudged(SECOND, call), None);
    assert_eq!(judge.misjudged(FIRST, call), Some(token(1)));
    assert_eq!((judge.misjudged(FIRST, call), judge.asked_len()), (None, 0));
}

#[test]
fn only_so_many_tokens_are_judged_at_once() {
    let (mut judge, turn) = delegate();
    let first = ask(&mut judge, 1, FIRST);
    ask(&mut judge, 2, SECOND);
    assert_eq!(judge.ask(token(3), FIRST, &ASKING, at(3)), None);
    judge.publish(&turn.counters);
    assert_eq!((judge.asked_len(), turn.counters.authentications_in_flight.get()), (2, 2));
    assert!(judge.verdict(&turn, FIRST, &AuthResult { call: first, ..ALICE }).is_some());
    assert!(judge.ask(token(3), FIRST, &ASKING, at(3)).is_some());
}

#[test]
fn who_has_no_verdict_in_time_is_named_once_and_in_order() {
    let (mut judge, turn) = delegate();
    assert_eq!(judge.next_deadline(), None);
    let late = judge.ask(token(1), FIRST, &ASKING, at(3)).expect("there is room");
    judge.ask(token(2), FIRST, &ASKING, at(4)).expect("there is room");
    assert_eq!(judge.next_deadline(), Some(at(3)));
    assert!(all_overdue(&mut judge, at(2)).is_empty());
    assert_eq!(all_overdue(&mut judge, at(3)), [1]);
    let verdict = judge.verdict(&turn, FIRST, &AuthResult { call: late, ..ALICE });
    assert!(verdict.is_none(), "it meets nobody");
    judge.ask(token(3), FIRST, &ASKING, at(5)).expect("there is room");
    assert_eq!(all_overdue(&mut judge, at(5)), [2, 3]);
    assert_eq!((all_overdue(&mut judge, at(99)), judge.next_deadline()), (vec![], None));
}

#[test]
fn who_has_a_verdict_or_is_gone_is_not_overdue() {
    let (mut judge, turn) = delegate();
    let call = ask(&mut judge, 1, FIRST);
    ask(&mut judge, 2, FIRST);
    assert!(judge.verdict(&turn, FIRST, &AuthResult { call, ..ALICE }).is_some());
    judge.forget(token(2));
    judge.forget(token(7));
    assert_eq!(judge.asked_len(), 0);
    // Theirs were the places of these two, whose time has not come.
    for slot in [3, 4] {
        judge.ask(token(slot), FIRST, &ASKING, at(5)).expect("there is room");
    }
    assert!(all_overdue(&mut judge, at(4)).is_empty());
    assert_eq!(all_overdue(&mut judge, at(5)), [3, 4]);
}

#[test]
fn a_link_that_is_gone_is_forgotten_and_no_other() {
    let (mut judge, turn) = delegate();
    let [gone, waiting] = [1, 2].map(|slot| ask(&mut judge, slot, FIRST));
    judge.forget(Token { slot: 2, generation: 9 });
    judge.forget(token(1));
    assert!(judge.verdict(&turn, FIRST, &AuthResult { call: gone, ..ALICE }).is_none());
    assert!(judge.verdict(&turn, FIRST, &AuthResult { call: waiting, ..ALICE }).is_some());
}

#[test]
fn a_stream_that_has_ended_gives_up_its_own_tokens() {
    let (mut judge, turn) = delegate();
    ask(&mut judge, 1, FIRST);
    let waiting = ask(&mut judge, 2, SECOND);
    assert_eq!(judge.abandon(FIRST), [token(1)]);
    assert_eq!((judge.abandon(FIRST), judge.asked_len()), (vec![], 1));
    assert!(judge.verdict(&turn, SECOND, &AuthResult { call: waiting, ..ALICE }).is_some());
    assert!(all_overdue(&mut judge, at(99)).is_empty());
}

#[test]
fn a_ticket_says_what_its_session_and_its_handshake_did() {
    for (suite, ticket_suite) in [
        (Suite::NkChaChaPoly, Suite::Nnpsk0ChaChaPoly),
        (Suite::NkAesGcm, Suite::Nnpsk0AesGcm),
        (Suite::IkChaChaPoly, Suite::Nnpsk0ChaChaPoly),
    ] {
        let (mut judge, mut turn) = developer();
        let (machine, _) = link(&judge, NOW, suite, None);
        let device_key = machine.binding().and_then(|(_, _, key)| key.copied());
        assert_eq!(device_key.is_some(), suite == Suite::IkChaChaPoly);
        let expiry = Some(later(Duration::from_secs(50)));
        let (end, bound_key) = (Some(later(Duration::from_secs(40))), Some([8; 32]));
        let rule = TicketRule { end, bound_key };
        let tickets = judge.tickets(&mut turn, MAIN, &machine, &session(expiry), rule);
        let [one, other] = tickets.try_into().expect("one to use, one in case its use fails");
        assert!(one.psk != other.psk && one.ticket != other.ticket);
        assert_eq!(one.expires_ms, NOW.0 + 40_000);
        let (back, _) = link(&judge, NOW, ticket_suite, Some(&other));
        let identity = back.identity().expect("it came by ticket");
        assert_eq!((&identity.user[..], &identity.device[..]), (&b"alice"[..], &b"phone"[..]));
        assert_eq!((identity.issued, identity.auth_time, identity.login), (NOW, earlier(3600), 77));
        assert_eq!((identity.token_exp, identity.end, identity.bound_key), (expiry, end, bound_key));
        assert_eq!((identity.origin_suite, identity.device_key), (suite, device_key));
        // The next ones of the chain.
        let tickets = judge.tickets(&mut turn, MAIN, &back, &session(expiry), rule);
        let (again, _) = link(&judge, NOW, ticket_suite, tickets.first());
        let identity = again.identity().expect("it came by ticket");
        assert_eq!((identity.origin_suite, identity.device_key), (suite, device_key), "as it began");
    }
}

#[test]
fn a_ticket_without_an_end_of_its_own_is_good_for_one_lifetime() {
    let (mut judge, mut turn) = developer();
    let ticket = tickets(&mut judge, &mut turn, TicketRule::default()).remove(0);
    assert_eq!(ticket.expires_ms, later(TICKET_LIFETIME).0);
}

#[test]
fn nobody_gets_tickets_that_would_be_refused_when_they_are_used() {
    let (mut judge, mut turn) = developer();
    let [chacha, aes] = [Suite::NkChaChaPoly, Suite::NkAesGcm].map(|suite| link(&judge, NOW, suite, None).0);
    let mut count = |listener, machine| {
        judge.tickets(&mut turn, listener, machine, &session(None), TicketRule::default()).len()
    };
    assert_eq!((count(MAIN, &chacha), count(MAIN, &aes)), (2, 2));
    assert_eq!((count(PICKY, &chacha), count(PICKY, &aes)), (2, 0), "no suite for it");
    assert_eq!((count(PLAIN, &chacha), count(PLAIN, &aes)), (0, 0), "no keys");
    let machine = ServerLink::new(Time::ZERO);
    assert_eq!(count(MAIN, &machine), 0, "without keys of its own a link has none either");
}

#[test]
fn what_cannot_be_a_ticket_is_not_given_out() {
    let (mut judge, mut turn) = developer();
    let rule = TicketRule { end: Some(UnixMillis(0)), bound_key: None };
    assert!(tickets(&mut judge, &mut turn, rule).is_empty());
}

/// The first bytes of a ticket name the key it is sealed with.
fn key_id(judge: &mut Judge, turn: &mut Turn) -> [u8; 4] {
    let ticket = tickets(judge, turn, TicketRule::default()).remove(0);
    ticket.ticket[..4].try_into().expect("a ticket is longer")
}

#[test]
fn a_new_group_key_opens_at_once_and_seals_a_little_later() {
    let ((mut judge, mut turn), (mut other, mut early)) = (developer(), developer());
    let old = key_id(&mut judge, &mut turn);
    for judge in [&mut judge, &mut other] {
        judge.rotate_tickets(&Secret::new([8; 32]), NOW);
    }
    turn.wall = UnixMillis(later(TICKET_KEY_LEAD).0 - 1);
    assert_eq!(key_id(&mut judge, &mut turn), old);
    turn.wall = later(TICKET_KEY_LEAD);
    assert_ne!(key_id(&mut judge, &mut turn), old);
    // What it seals is opened where the key does not seal yet, and what others seal with the former one here.
    let new = tickets(&mut judge, &mut turn, TicketRule::default()).remove(0);
    let former = tickets(&mut other, &mut early, TicketRule::default()).remove(0);
    for (judge, ticket) in [(&other, new), (&judge, former)] {
        let (machine, _) = link(judge, turn.wall, Suite::Nnpsk0ChaChaPoly, Some(&ticket));
        assert!(machine.identity().is_some());
    }
}

#[test]
fn an_announced_key_whose_time_has_come_is_not_lost_to_the_next_one() {
    let (mut judge, mut turn) = developer();
    let (mut neighbour, mut its_turn) = developer();
    for judge in [&mut judge, &mut neighbour] {
        judge.rotate_tickets(&Secret::new([8; 32]), NOW);
    }
    let wall = later(TICKET_KEY_LEAD);
    (turn.wall, its_turn.wall) = (wall, wall);
    let ticket = tickets(&mut neighbour, &mut its_turn, TicketRule::default()).remove(0);
    // Nobody has had a ticket here meanwhile.
    judge.rotate_tickets(&Secret::new([9; 32]), wall);
    let (machine, _) = link(&judge, wall, Suite::Nnpsk0ChaChaPoly, Some(&ticket));
    assert!(machine.identity().is_some());
    assert_eq!(key_id(&mut judge, &mut turn), key_id(&mut neighbour, &mut its_turn));
}

mod signed;
