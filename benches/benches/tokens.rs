//! What does it cost to verify a signed token, by algorithm? The nominal costs by which tokens are charged to the share of
//! newcomers (`gateway::tokens::Algorithm::cost`) are to be about as long.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use gateway::tokens::{Draft, KeySet, Names, Signer, Terms, Verifier, choose_cryptography};
use protocol::UnixMillis;
use serde_json::json;

/// RFC 7515, appendices A.1 to A.3: keys and tokens that are good in March 2011.
const CLAIMS: &str =
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
const OTHERS: [(&str, &str, &str, &str); 3] = [
    (
        "HS256",
        r#"{"kty":"oct","alg":"HS256","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#,
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
        "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    ),
    (
        "RS256",
        r#"{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}"#,
        "eyJhbGciOiJSUzI1NiJ9",
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
    ),
    (
        "ES256",
        r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
        "eyJhbGciOiJFUzI1NiJ9",
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    ),
];
const THEN: UnixMillis = UnixMillis(1_300_000_000_000);

fn verifier(keys: &str) -> Verifier {
    let terms = Terms {
        issuer: None,
        audience: Vec::new(),
        skew: Duration::ZERO,
        lifetime_max: Duration::MAX,
        names: Names { user: "iss".to_owned(), ..Names::default() },
    };
    Verifier::new(KeySet::read(keys).expect("keys of a document"), terms)
}

fn verify(c: &mut Criterion) {
    choose_cryptography();
    let mut group = c.benchmark_group("verify a token");
    let signer = Signer::new([7; 32]);
    let claims = json!({ "iss": "joe", "exp": 1_300_819_380, "jti": "0123456789abcdef" });
    let token = signer.sign(&Draft { claims: claims.as_object().expect("an object").clone() });
    let mut cases = vec![("EdDSA", verifier(&signer.key_set()), token)];
    for (name, key, header, signature) in OTHERS {
        let keys = format!("{{\"keys\":[{key}]}}");
        cases.push((name, verifier(&keys), format!("{header}.{CLAIMS}.{signature}")));
    }
    for (name, verifier, token) in &cases {
        group.bench_function(*name, |b| b.iter(|| verifier.verify(black_box(token.as_bytes()), THEN)));
    }
    group.finish();
}

criterion_group!(benches, verify);
criterion_main!(benches);
