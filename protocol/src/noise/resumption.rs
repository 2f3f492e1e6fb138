//! What shows that a link goes on with a session: only who has the secret of its `Welcome` can make it, and it holds for
//! one handshake. SPEC.md, section 8.2.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use ring::hmac;

use crate::limits::{HASH_LEN, SESSION_ID_LEN};

/// A wish to go on with a session, on the link with this handshake hash.
///
/// ```text
/// proof = HMAC-SHA-256(secret, label ‖ h 32 ‖ session 16 ‖ attempt u32 ‖ last_sequence u64)      numbers big-endian
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resumption<'a> {
    /// The handshake hash of the link.
    pub h: &'a [u8; 32],
    /// The session.
    pub session: &'a [u8; SESSION_ID_LEN],
    /// Larger than in every earlier attempt for this session.
    pub attempt: u32,
    /// Of the last push that came in order.
    pub last_sequence: u64,
}

impl Resumption<'_> {
    /// The proof that the secret of the session makes.
    #[must_use]
    pub fn proof(&self, secret: &[u8; 32]) -> [u8; HASH_LEN] {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret));
        context.update(LABEL);
        context.update(self.h);
        context.update(self.session);
        context.update(&self.attempt.to_be_bytes());
        context.update(&self.last_sequence.to_be_bytes());
        *context.sign().as_ref().first_chunk().expect("an HMAC-SHA-256 has 32 bytes")
    }

    /// Whether `proof` is that of the secret. Takes the same time wherever it differs.
    #[must_use]
    pub fn is_proved(&self, secret: &[u8; 32], proof: &[u8; HASH_LEN]) -> bool {
        verify_slices_are_equal(&self.proof(secret), proof).is_ok()
    }
}

const LABEL: &[u8] = b"access-gateway resume v1";

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; 32] = [7; 32];
    const WISH: Resumption<'_> = Resumption {
        h: &[1; 32],
        session: &[2; 16],
        attempt: 0x0102_0304,
        last_sequence: 0x0506_0708_090a_0b0c,
    };

    /// Over the bytes of the text, put together by hand.
    #[test]
    fn the_proof_is_the_hmac_of_label_hash_session_and_both_numbers_big_endian() {
        let numbers = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        let said = [&b"access-gateway resume v1"[..], &[1; 32], &[2; 16], &numbers].concat();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &SECRET);
        assert_eq!(WISH.proof(&SECRET), hmac::sign(&key, &said).as_ref());
    }

    #[test]
    fn a_proof_is_good_for_one_attempt_on_one_link_and_no_other_bit() {
        let proof = WISH.proof(&SECRET);
        assert!(WISH.is_proved(&SECRET, &proof));
        for other in [
            Resumption { h: &[9; 32], ..WISH },
            Resumption { session: &[9; 16], ..WISH },
            Resumption { attempt: 0x0102_0305, ..WISH },
            Resumption { last_sequence: 0, ..WISH },
        ] {
            assert!(!other.is_proved(&SECRET, &proof), "{other:?}");
        }
        assert!(!WISH.is_proved(&[8; 32], &proof), "another secret");
        for bit in 0..8 * HASH_LEN {
            let mut wrong = proof;
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert!(!WISH.is_proved(&SECRET, &wrong), "bit {bit}");
        }
    }
}
