//! `resumptions.json`: what shows that a link goes on with a session. SPEC.md, section 8.2.

use protocol::noise::Resumption;
use protocol::wire::resume::Resume;

use crate::json::Json;
use crate::recipe::flipped;

const SECRET: [u8; 32] = [0x5c; 32];
const SESSION: [u8; 16] = [0x5e; 16];
/// The handshake hash of the golden hello would do as well: here it is only bytes.
const H: [u8; 32] = [0x4a; 32];

pub(crate) fn file() -> Json {
    Json::object([
        (
            "about",
            "Proofs of SPEC.md, section 8.2. signed is what the HMAC is of, resume the body of Auth.resume that carries \
             the proof. A case of refused differs from the first of good in what its name says, and its proof is worth \
             nothing on the link with this h, for the session with this secret."
                .into(),
        ),
        ("good", Json::List(good().iter().map(|(name, wish)| show(name, wish, wish.proof(&SECRET))).collect())),
        ("refused", Json::List(refused().iter().map(|(name, wish, proof)| show(name, wish, *proof)).collect())),
    ])
}

const GOLDEN: Resumption<'static> = Resumption { h: &H, session: &SESSION, attempt: 3, last_sequence: 9 };

fn good() -> [(&'static str, Resumption<'static>); 4] {
    [
        ("golden proof", GOLDEN),
        ("nothing was received", Resumption { attempt: 1, last_sequence: 0, ..GOLDEN }),
        ("no attempt is named", Resumption { attempt: 0, ..GOLDEN }),
        ("the largest numbers", Resumption { attempt: u32::MAX, last_sequence: u64::MAX, ..GOLDEN }),
    ]
}

fn refused() -> Vec<(&'static str, Resumption<'static>, [u8; 32])> {
    let proof = GOLDEN.proof(&SECRET);
    let of = |wish: Resumption<'_>| wish.proof(&SECRET);
    let all = vec![
        ("a bit of the proof", GOLDEN, flipped(proof.to_vec(), 31).try_into().expect("as long as before")),
        ("the proof of another link", GOLDEN, of(Resumption { h: &[0x4b; 32], ..GOLDEN })),
        ("the proof of another session", GOLDEN, of(Resumption { session: &[0x5f; 16], ..GOLDEN })),
        ("another secret", GOLDEN, GOLDEN.proof(&[0x5d; 32])),
        ("the attempt", Resumption { attempt: 4, ..GOLDEN }, proof),
        ("the sequence", Resumption { last_sequence: 10, ..GOLDEN }, proof),
        (
            "numbers LE",
            GOLDEN,
            of(Resumption { attempt: 3_u32.swap_bytes(), last_sequence: 9_u64.swap_bytes(), ..GOLDEN }),
        ),
    ];
    for (name, wish, proof) in &all {
        assert!(!wish.is_proved(&SECRET, proof), "{name} makes no difference");
    }
    all
}

fn show(name: &str, wish: &Resumption<'_>, proof: [u8; 32]) -> Json {
    let Resumption { h, session, attempt, last_sequence } = *wish;
    let signed =
        [&b"access-gateway resume v1"[..], h, session, &attempt.to_be_bytes(), &last_sequence.to_be_bytes()]
            .concat();
    let mut resume = Vec::new();
    Resume { session, attempt, last_sequence, proof: &proof }.encode(&mut resume);
    Json::object([
        ("name", name.into()),
        ("secret", Json::hex(SECRET)),
        ("h", Json::hex(h)),
        ("session", Json::hex(session)),
        ("attempt", Json::Number(attempt)),
        ("last_sequence", Json::long(last_sequence)),
        ("signed", Json::hex(signed)),
        ("proof", Json::hex(proof)),
        ("resume", Json::hex(resume)),
    ])
}
