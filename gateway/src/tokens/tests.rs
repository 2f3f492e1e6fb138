//! Tokens of others, good and bad.

use serde_json::json;

use super::*;

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
/// A second before the tokens of RFC 7515 end.
const THEN: UnixMillis = UnixMillis(1_300_819_379_000);

/// RFC 7515, appendices A.1, A.2 and A.3: key, header and signature, over the same claims.
const CLAIMS: &str =
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
const HS256: (&str, &str, &str) = (
    r#"{"kty":"oct","alg":"HS256","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#,
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
    "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
);
const RS256: (&str, &str, &str) = (
    r#"{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}"#,
    "eyJhbGciOiJSUzI1NiJ9",
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
);
const ES256: (&str, &str, &str) = (
    r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
    "eyJhbGciOiJFUzI1NiJ9",
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
);
/// By OpenSSL, with the key of the bytes 0 to 31; the claims are the same.
const EDDSA: (&str, &str) = (
    r#"{"kty":"OKP","crv":"Ed25519","kid":"ed","x":"A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg"}"#,
    "eyJhbGciOiAiRWREU0EiLCAia2lkIjogImVkIn0.eyJpc3MiOiAiam9lIiwgImV4cCI6IDEzMDA4MTkzODB9.\
     Ice7lubem84aswNRb2oCZSNoKZBbLqsjI9UOoTl6gyQ5eJFDVSC6giBC8iy_kEYZykdjneyGyFcHy1psBu38CQ",
);

fn terms() -> Terms {
    Terms {
        issuer: Some("login.example".to_owned()),
        audience: vec!["chat".to_owned()],
        skew: Duration::from_secs(30),
        lifetime_max: Duration::from_hours(24),
        names: Names::default(),
    }
}

fn set(keys: &str) -> KeySet {
    choose_cryptography();
    KeySet::read(&format!(r#"{{"keys":[{keys}]}}"#)).unwrap_or_else(|wrong| panic!("{wrong}"))
}

/// Takes tokens of whoever, for whomever, in which the issuer is the user.
fn lenient(keys: &str) -> Verifier {
    let terms = Terms {
        issuer: None,
        audience: Vec::new(),
        skew: Duration::ZERO,
        lifetime_max: Duration::MAX,
        names: Names { user: "iss".to_owned(), ..Names::default() },
    };
    Verifier::new(set(keys), terms)
}

fn signer() -> Signer {
    Signer::new([7; 32])
}

fn verifier() -> Verifier {
    choose_cryptography();
    Verifier::new(KeySet::read(&signer().key_set()).expect("it was just made"), terms())
}

/// Claims that are good for a minute.
fn good() -> Map<String, Value> {
    let claims = json!({
        "iss": "login.example", "aud": "chat", "sub": "alice", "jti": "login-1",
        "iat": 1_699_999_990_u64, "nbf": 1_699_999_990_u64, "exp": 1_700_000_060_u64,
    });
    claims.as_object().expect("an object").clone()
}

fn with(name: &str, value: Value) -> Map<String, Value> {
    let mut claims = good();
    claims.insert(name.to_owned(), value);
    claims
}

fn without(name: &str) -> Map<String, Value> {
    let mut claims = good();
    claims.remove(name);
    claims
}

fn verify(claims: Map<String, Value>) -> Result<Claims, Flaw> {
    verifier().verify(signer().sign(&Draft { claims }).as_bytes(), NOW)
}

#[test]
fn tokens_of_each_algorithm_that_others_have_signed_are_good_until_they_end() {
    let whole = |(key, header, signature): (&'static str, &str, &str)| {
        (key, format!("{header}.{CLAIMS}.{signature}"))
    };
    let all = [whole(HS256), whole(RS256), whole(ES256), (EDDSA.0, EDDSA.1.to_owned())];
    for (key, token) in all {
        let verifier = lenient(key);
        let claims = verifier.verify(token.as_bytes(), THEN).unwrap_or_else(|flaw| panic!("{key}: {flaw}"));
        assert_eq!((&claims.user[..], claims.expires), (&b"joe"[..], UnixMillis(1_300_819_380_000)));
        assert_eq!(verifier.verify(token.as_bytes(), UnixMillis(THEN.0 + 1000)), Err(Flaw::Expired), "{key}");
        let mut torn = token.clone().into_bytes();
        let last = torn.len() - 10;
        torn[last] = if torn[last] == b'A' { b'B' } else { b'A' };
        assert_eq!(verifier.verify(&torn, THEN), Err(Flaw::Signature), "{key}");
        assert!(verifier.cost(token.as_bytes()).is_ok_and(|cost| !cost.is_zero()));
    }
}

#[test]
fn a_good_token_says_who_and_until_when() {
    let claims = verify(good()).expect("it is good");
    assert_eq!((&claims.user[..], claims.id.as_deref()), (&b"alice"[..], Some("login-1")));
    assert_eq!(claims.expires, UnixMillis(1_700_000_090_000), "30 s later, as a clock may be off");
    assert_eq!(claims.issued, Some(UnixMillis(1_699_999_990_000)));
    assert_eq!(claims.binding, None);
    let few = verify(without("jti").into_iter().filter(|(name, _)| name != "iat" && name != "nbf").collect());
    assert!(few.is_ok_and(|claims| claims.issued.is_none() && claims.id.is_none()));
}

#[test]
fn a_token_that_is_good_for_longer_than_tokens_are_meant_to_be_is_refused() {
    const DAY: u64 = 24 * 3600;
    let from_to = |begin: Option<(&str, u64)>, end: u64| {
        let mut claims = without("iat");
        claims.remove("nbf");
        claims.extend(begin.map(|(name, begin)| (name.to_owned(), json!(begin))));
        claims.insert("exp".to_owned(), json!(end));
        verify(claims).map(|claims| claims.expires.0 / 1000)
    };
    let now = NOW.0 / 1000;
    for name in ["iat", "nbf"] {
        assert!(from_to(Some((name, now - 9)), now - 9 + DAY).is_ok(), "{name}: to the second");
        assert_eq!(from_to(Some((name, now - 9)), now - 8 + DAY), Err(Flaw::Lifetime), "{name}");
    }
    // However near its end: it may have been revoked before anything that is still remembered.
    assert_eq!(from_to(Some(("iat", now - 30 * DAY)), now + 60), Err(Flaw::Lifetime));
    assert_eq!(
        from_to(Some(("iat", now - 30 * DAY)), now - 60),
        Err(Flaw::Expired),
        "of both, what a client can mend"
    );
    // The clock of the issuer may be ahead, and its tokens live no longer for that.
    assert!(from_to(Some(("iat", now + 30)), now + DAY).is_ok());
    assert_eq!(from_to(Some(("iat", now + 30)), now + DAY + 1), Err(Flaw::Lifetime));
    assert!(from_to(None, now + DAY).is_ok(), "since when it is good it does not say");
    assert_eq!(from_to(None, now + DAY + 1), Err(Flaw::Lifetime));
    assert_eq!(from_to(None, u64::MAX / 1000), Err(Flaw::Lifetime));
}

#[test]
fn a_token_is_good_in_its_time_and_for_whom_it_is_and_clocks_may_be_a_little_off() {
    let flaw = |claims| verify(claims).expect_err("it is not good");
    assert!(verify(with("exp", json!(1_699_999_971))).is_ok(), "29 s ago");
    assert_eq!(flaw(with("exp", json!(1_699_999_970))), Flaw::Expired);
    assert!(verify(with("nbf", json!(1_700_000_030.0))).is_ok());
    assert_eq!(flaw(with("nbf", json!(1_700_000_031))), Flaw::Early);
    assert_eq!(flaw(with("iat", json!(1_700_000_031))), Flaw::Early, "issued in the future");
    for (name, value) in [("iss", json!("other")), ("aud", json!("mail")), ("aud", json!(["mail", "files"]))]
    {
        assert_eq!(flaw(with(name, value.clone())), Flaw::Terms, "{name} {value}");
    }
    assert!(verify(with("aud", json!(["mail", "chat"]))).is_ok());
    for name in ["iss", "aud"] {
        assert_eq!(flaw(without(name)), Flaw::Terms, "without {name}");
    }
}

#[test]
fn claims_that_cannot_be_understood_make_a_token_worthless() {
    for name in ["exp", "sub"] {
        assert_eq!(verify(without(name)), Err(Flaw::Claims), "without {name}");
    }
    let wrong = [
        ("exp", json!("1700000060")),
        ("exp", json!(-1)),
        ("exp", json!(1e300)),
        ("nbf", json!([])),
        ("iat", json!(null)),
        ("sub", json!(7)),
        ("sub", json!("")),
        ("sub", json!("x".repeat(65))),
        ("jti", json!(1)),
    ];
    for (name, value) in wrong {
        assert_eq!(verify(with(name, value.clone())), Err(Flaw::Claims), "{name} {value}");
    }
}

#[test]
fn keys_are_found_by_their_ids_and_each_is_for_one_algorithm() {
    let two = r#"{"kty":"OKP","crv":"Ed25519","kid":"a","x":"A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg"},
                 {"kty":"oct","alg":"HS256","kid":"ed","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#;
    // The header says EdDSA, and the key of that id is a secret.
    assert_eq!(lenient(two).verify(EDDSA.1.as_bytes(), THEN), Err(Flaw::Algorithm));
    let (_, header, signature) = HS256;
    let unnamed = format!("{header}.{CLAIMS}.{signature}");
    assert_eq!(lenient(two).verify(unnamed.as_bytes(), THEN), Err(Flaw::Key), "which of the two?");
    let other =
        r#"{"kty":"OKP","crv":"Ed25519","kid":"other","x":"A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg"}"#;
    assert_eq!(lenient(other).verify(EDDSA.1.as_bytes(), THEN), Err(Flaw::Key));
    // A public key, taken for the secret of an HMAC.
    let confused = format!("eyJhbGciOiJIUzI1NiIsImtpZCI6ImVkIn0.{CLAIMS}.{signature}");
    assert_eq!(lenient(EDDSA.0).verify(confused.as_bytes(), THEN), Err(Flaw::Algorithm));
}

#[test]
fn what_is_no_token_and_what_demands_more_than_is_understood_is_refused() {
    let verifier = lenient(EDDSA.0);
    let rest = EDDSA.1.split_once('.').expect("a header").1;
    // {"alg":"none"}, {"alg":"EdDSA","kid":"ed","crit":["exp"],"exp":1}
    let none = format!("eyJhbGciOiJub25lIn0.{CLAIMS}.");
    let critical = format!("eyJhbGciOiJFZERTQSIsImtpZCI6ImVkIiwiY3JpdCI6WyJleHAiXSwiZXhwIjoxfQ.{rest}");
    assert_eq!(verifier.verify(critical.as_bytes(), THEN), Err(Flaw::Critical));
    let long = format!("{}{}", EDDSA.1, "A".repeat(TOKEN_LEN_MAX));
    for wrong in ["", "a.b", "a.b.c", "....", "\u{0}", &none, &long, &EDDSA.1[..EDDSA.1.len() / 3]] {
        assert_eq!(verifier.verify(wrong.as_bytes(), THEN), Err(Flaw::Form), "{wrong:.40}");
        assert_eq!(verifier.cost(wrong.as_bytes()), Err(Flaw::Form));
    }
    assert_eq!(verifier.verify(&[0xff; 100], THEN), Err(Flaw::Form));
}

#[test]
fn a_bound_token_names_its_key_and_one_that_is_bound_otherwise_is_worthless() {
    let x = "A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg";
    let bound = |crv: &str| verify(with("cnf", json!({ "jwk": { "kty": "OKP", "crv": crv, "x": x } })));
    let binding = |claims: Result<Claims, Flaw>| claims.map(|claims| claims.binding);
    assert!(matches!(binding(bound("X25519")), Ok(Some(Binding::Static([3, 0xa1, ..])))));
    assert!(matches!(binding(bound("Ed25519")), Ok(Some(Binding::Signing([3, 0xa1, ..])))));
    let wrong = [
        json!({}),
        json!("key"),
        json!({ "x5t#S256": x }),
        json!({ "jwk": { "kty": "EC", "crv": "P-256", "x": x, "y": x } }),
        json!({ "jwk": { "kty": "OKP", "crv": "X25519", "x": "AAAA" } }),
    ];
    for cnf in wrong {
        assert_eq!(verify(with("cnf", cnf.clone())), Err(Flaw::Binding), "{cnf}");
    }
}

#[test]
fn a_set_is_read_whole_or_it_is_said_which_key_is_wrong() {
    let read = |keys: &str| KeySet::read(&format!(r#"{{"keys":[{keys}]}}"#)).map(|set| set.len());
    let x = "A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg";
    let one = |kid: &str| format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"{kid}","x":"{x}"}}"#);
    // What is not for tokens, or of a kind that is not served, is nobody's fault.
    let others = format!(
        r#"{},{{"kty":"OKP","crv":"Ed25519","use":"enc","x":"{x}"}},{{"kty":"EC","crv":"P-384","x":"AA","y":"AA"}}"#,
        one("a")
    );
    assert_eq!(read(&others), Ok(1));
    assert_eq!(read(&format!("{},{}", one("a"), one("b"))), Ok(2));
    let wrong = [
        (String::new(), "no key that tokens"),
        (format!("{},{}", one("a"), one("a")), "key 2 has the \"kid\" of an earlier one"),
        (format!("{},{}", one("a"), EDDSA.0.replace(r#""kid":"ed","#, "")), "has no \"kid\""),
        (r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr8"}"#.to_owned(), "without \"alg\""),
        (r#"{"kty":"oct","alg":"HS256","k":"AyM1"}"#.to_owned(), "less than 32 bytes"),
        (
            r#"{"kty":"oct","alg":"ES256","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr8"}"#.to_owned(),
            "none of its kind",
        ),
        (r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#.to_owned(), "less than 2048 bits"),
        (r#"{"kty":"OKP","crv":"Ed25519","x":"AAAA"}"#.to_owned(), "another length than 32 bytes"),
        (r#"{"kty":"OKP","crv":"Ed25519","x":"!"}"#.to_owned(), "no base64url"),
        ("7".to_owned(), "key 1 is none that can be read"),
        (vec![one("a"); 65].join(","), "64 are possible"),
    ];
    for (keys, words) in wrong {
        let said = read(&keys).expect_err(words);
        assert!(said.contains(words) && !said.contains("AyM1"), "{said}");
    }
    assert!(KeySet::read("{").expect_err("no JSON").contains("line 1, column 1"));
    assert!(KeySet::read("[]").expect_err("no set").contains("no list"));
}

#[test]
fn what_is_minted_is_read_again_and_does_not_print_its_secret() {
    let signer = signer();
    let again = Signer::read(&signer.private()).expect("it was just written");
    assert_eq!(again.key_set(), signer.key_set());
    assert_eq!(again.sign(&Draft { claims: good() }), signer.sign(&Draft { claims: good() }));
    assert!(!signer.key_set().contains("\"d\"") && !format!("{signer:?}").contains("BwcH"));
    for wrong in ["", "{}", &signer.key_set(), r#"{"crv":"Ed25519","kid":"a","d":"AAAA"}"#] {
        assert!(Signer::read(wrong).is_err(), "{wrong}");
    }
}
