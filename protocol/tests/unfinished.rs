//! What a handshake of three messages keeps while it waits for the third. Alone in its process, since what that holds is
//! measured as a whole: the curve's key lies where no allocator of Rust's sees it.

use protocol::limits::UNFINISHED_LEN_MAX;
use protocol::noise::{Responder, StaticKey, Suite, Unfinished};

/// So many that a page more or less makes no difference.
const COUNT: u32 = 4_000;

#[test]
fn a_handshake_that_waits_for_message_3_takes_no_more_memory_than_it_may() {
    let key = StaticKey::from_secret([1; 32]);
    let begin = |number: u32| {
        let mut ephemeral = [2; 32];
        ephemeral[..4].copy_from_slice(&number.to_be_bytes());
        let suite = if number.is_multiple_of(2) { Suite::XxChaChaPoly } else { Suite::XxAesGcm };
        let prologue = protocol::noise::prologue(&[7; 16], &[]);
        let responder =
            Responder { suite, key: Some(&key), peer: None, psk: None, prologue: &prologue, ephemeral };
        responder.begin(&[9; 32], &[0; 4], &mut Vec::new()).expect("any key but one of low order")
    };
    // What is made once, and what stays of the first ones, is none of theirs.
    let warm: Vec<Unfinished> = (0..100).map(begin).collect();
    let before = resident();
    let kept: Vec<Unfinished> = (0..COUNT).map(begin).collect();
    let each = (resident() - before) / u64::from(COUNT);
    assert!((500..=UNFINISHED_LEN_MAX as u64).contains(&each), "{each} bytes each");
    drop((warm, kept));
}

/// Bytes of memory that this process holds.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("this is Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it is told");
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse().expect("a number");
    kibibytes << 10
}
