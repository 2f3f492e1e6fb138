//! Signed tokens: when they are verified, what is remembered of them, and who may use those that are bound.

use serde_json::{Map, Value, json};

use super::*;
use crate::tokens::{Draft, KeySet, Signer, Terms, choose_cryptography};

fn signer(seed: u8) -> Signer {
    Signer::new([seed; 32])
}

fn verifier(signer: &Signer) -> Arc<Verifier> {
    choose_cryptography();
    let terms = Terms {
        issuer: None,
        audience: Vec::new(),
        skew: Duration::ZERO,
        lifetime_max: Duration::MAX,
        names: crate::tokens::Names::default(),
    };
    Arc::new(Verifier::new(KeySet::read(&signer.key_set()).expect("it was just made"), terms))
}

/// One that verifies, and remembers two.
fn verifying() -> (Judge, Turn) {
    judge(settings::Auth::Jwt { verifier: verifier(&signer(1)), in_flight_max: 2, remembered: 2 })
}

fn claims(user: &str, more: Value) -> Map<String, Value> {
    let mut claims = Map::new();
    claims.insert("sub".to_owned(), json!(user));
    claims.insert("exp".to_owned(), json!(NOW.0 / 1000 + 60));
    claims.extend(more.as_object().expect("an object").clone());
    claims
}

fn sign(user: &str, more: Value) -> String {
    signer(1).sign(&Draft { claims: claims(user, more) })
}

fn with(token: &str) -> Auth<'_> {
    Auth { token: token.as_bytes(), device: b"phone", ..Auth::default() }
}

#[test]
fn a_token_is_verified_when_there_is_time_and_remembered_until_it_ends() {
    let (mut judge, mut turn) = verifying();
    let (machine, token) = (stranger(&judge), sign("alice", json!({ "jti": "login-1" })));
    for _ in 0..2 {
        let judged = judge.judge(&turn, &machine, &with(&token), false);
        assert!(matches!(judged, Judged::Work(cost) if !cost.is_zero()), "{judged:?}");
    }
    let mut proofs = Vec::new();
    for may_work in [true, false] {
        let judged = judge.judge(&turn, &machine, &with(&token), may_work);
        let Judged::Known { user, proof } = judged else { panic!("{judged:?}") };
        assert_eq!(&user[..], b"alice");
        proofs.push((proof.login, proof.expiry, proof.issued));
    }
    let login = group().hash(b"login-1");
    assert_eq!(proofs, [(login, Some(later(Duration::from_secs(60))), UnixMillis(0)); 2]);
    assert_eq!(turn.counters.tokens_verified.get(), 1);
    turn.wall = later(Duration::from_secs(60));
    let judged = judge.judge(&turn, &machine, &with(&token), true);
    assert!(matches!(judged, Judged::Refused(CloseCode::TokenExpired)), "{judged:?}");
    assert_eq!(turn.counters.token_flaws.of(Flaw::Expired).get(), 1);
}

#[test]
fn so_many_are_remembered_and_none_that_other_keys_have_verified() {
    let (mut judge, turn) = verifying();
    let machine = stranger(&judge);
    let tokens = ["a", "b", "c"].map(|user| sign(user, json!({})));
    for token in &tokens {
        assert!(matches!(judge.judge(&turn, &machine, &with(token), true), Judged::Known { .. }));
    }
    let known = |judge: &mut Judge| {
        tokens
            .each_ref()
            .map(|token| matches!(judge.judge(&turn, &machine, &with(token), false), Judged::Known { .. }))
    };
    let mut judge_of = judge;
    assert_eq!(known(&mut judge_of), [false, true, true]);
    judge_of.replace_keys(verifier(&signer(2)));
    assert_eq!(known(&mut judge_of), [false; 3]);
    let judged = judge_of.judge(&turn, &machine, &with(&tokens[1]), true);
    assert!(matches!(judged, Judged::Refused(CloseCode::AuthFailed)), "{judged:?}");
}

#[test]
fn what_cannot_be_good_is_refused_without_work() {
    let (mut judge, turn) = verifying();
    let machine = stranger(&judge);
    let other = signer(2).sign(&Draft { claims: claims("alice", json!({})) });
    for token in ["", "token", &other] {
        let judged = judge.judge(&turn, &machine, &with(token), false);
        assert!(matches!(judged, Judged::Refused(CloseCode::AuthFailed)), "{token:.20}: {judged:?}");
    }
    assert_eq!(turn.counters.tokens_verified.get(), 0);
}

#[test]
fn a_token_bound_to_a_static_key_is_good_on_links_that_prove_it_and_leaves_no_tickets() {
    use base64::Engine as _;
    let (mut judge, turn) = verifying();
    // The device key of the links of these tests.
    let key = StaticKey::from_secret([3; 32]).public().0;
    let x = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(key);
    let token = sign("alice", json!({ "cnf": { "jwk": { "kty": "OKP", "crv": "X25519", "x": x } } }));
    let (proves, _) = link(&judge, NOW, Suite::IkChaChaPoly, None);
    let judged = judge.judge(&turn, &proves, &with(&token), true);
    let Judged::Known { proof, .. } = judged else { panic!("{judged:?}") };
    assert_eq!(proof.tickets, None);
    let machine = stranger(&judge);
    let judged = judge.judge(&turn, &machine, &with(&token), true);
    assert!(matches!(judged, Judged::Refused(CloseCode::AuthFailed)), "{judged:?}");
    assert_eq!(turn.counters.token_flaws.of(Flaw::Binding).get(), 1);
}

#[test]
fn a_token_bound_to_a_signing_key_is_good_with_its_signature_and_so_are_its_tickets() {
    use base64::Engine as _;
    let (mut judge, turn) = verifying();
    let owner = Ed25519KeyPair::from_seed_unchecked(&[2; 32]).expect("any seed will do");
    let x = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(owner.public_key().as_ref());
    let token = sign("alice", json!({ "cnf": { "jwk": { "kty": "OKP", "crv": "Ed25519", "x": x } } }));
    let (machine, h) = link(&judge, NOW, Suite::NkChaChaPoly, None);
    let signature = owner.sign(&Bound::Token(token.as_bytes()).message(&h));
    for wrong in [&[][..], &[0; 64]] {
        let judged = judge.judge(&turn, &machine, &Auth { signature: wrong, ..with(&token) }, true);
        assert!(matches!(judged, Judged::Refused(CloseCode::AuthFailed)), "{judged:?}");
    }
    let auth = Auth { signature: signature.as_ref(), ..with(&token) };
    let judged = judge.judge(&turn, &machine, &auth, true);
    let Judged::Known { proof, .. } = judged else { panic!("{judged:?}") };
    assert_eq!(
        proof.tickets.and_then(|rule| rule.bound_key).as_ref().map(<[u8; 32]>::as_slice),
        Some(owner.public_key().as_ref())
    );
}

/// Nothing is proved to such a client, so whoever took its connection could pass on every other token.
#[test]
fn without_a_pin_only_a_token_that_names_the_key_of_this_very_handshake_is_good() {
    use base64::Engine as _;
    let base64 = |key: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(key);
    let named = |curve: &str, key: &[u8]| json!({ "cnf": { "jwk": { "kty": "OKP", "crv": curve, "x": base64(key) } } });
    let (mut judge, turn) = verifying();
    let (machine, h) = unpinned_link();
    let own = StaticKey::from_secret([3; 32]).public().0;
    let good = sign("alice", named("X25519", &own));
    let Judged::Known { user, proof } = judge.judge(&turn, &machine, &with(&good), true) else {
        panic!("refused")
    };
    assert_eq!((&user[..], proof.tickets), (&b"alice"[..], None));
    let owner = Ed25519KeyPair::from_seed_unchecked(&[2; 32]).expect("any seed will do");
    let signing = sign("alice", named("Ed25519", owner.public_key().as_ref()));
    let signature = owner.sign(&Bound::Token(signing.as_bytes()).message(&h));
    let plain = sign("alice", json!({}));
    let other = sign("alice", named("X25519", &StaticKey::from_secret([7; 32]).public().0));
    for (token, signature) in
        [(&plain, &[][..]), (&other, &[]), (&signing, &[]), (&signing, signature.as_ref())]
    {
        let judged = judge.judge(&turn, &machine, &Auth { signature, ..with(token) }, true);
        assert!(matches!(judged, Judged::Refused(CloseCode::AuthFailed)), "{judged:?}");
    }
    assert_eq!(turn.counters.token_flaws.of(Flaw::Binding).get(), 4);
    // With a pin two of them are good.
    let (pinned, h) = link(&judge, NOW, Suite::IkChaChaPoly, None);
    let signature = owner.sign(&Bound::Token(signing.as_bytes()).message(&h));
    for (token, signature) in [(&plain, &[][..]), (&signing, signature.as_ref()), (&good, &[])] {
        let judged = judge.judge(&turn, &pinned, &Auth { signature, ..with(token) }, true);
        assert!(matches!(judged, Judged::Known { .. }), "{judged:?}");
    }
}

#[test]
fn one_token_of_a_link_waits_at_a_time_and_so_many_in_all() {
    let (mut judge, turn) = verifying();
    let auth = Auth { token: b"t", user: b"u", signature: b"s", class: 3, heartbeat_ms: 5, ..with("t") };
    let link = |slot| Token { slot, generation: 1 };
    assert_eq!([1, 1, 2, 3].map(|slot| judge.keep(link(slot), &auth)), [true, false, true, false]);
    judge.publish(&turn.counters);
    assert_eq!((turn.counters.tokens_waiting.get(), judge.asked_len()), (2, 2));
    assert!(judge.take(Token { slot: 1, generation: 2 }).is_none(), "the next tenant of the slot");
    assert_eq!(judge.take(link(1)).expect("it waits").auth(), auth);
    assert!(judge.take(link(1)).is_none());
    judge.forget(link(2));
    assert_eq!(judge.asked_len(), 0);
}
