//! The gate: a tag that only somebody who has the server's public key can make. It costs a stranger's hello one
//! HMAC instead of one to four curve operations. It tells strangers from owners of the app and no more: whoever has
//! the app has the key.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use ring::{digest, hmac};

use super::keys::PublicKey;
use crate::limits::GATE_TAG_LEN;

/// What the gate key is hashed from, before the public key.
const GATE_LABEL: &[u8] = b"access-gateway gate v1";

/// The prepared gate key of one server key.
#[derive(Clone)]
pub struct Gate(hmac::Key);

impl Gate {
    /// Derives the gate key of the server's public key.
    #[must_use]
    pub fn new(server_key: &PublicKey) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(GATE_LABEL);
        context.update(&server_key.0);
        Self(hmac::Key::new(hmac::HMAC_SHA256, context.finish().as_ref()))
    }

    /// The tag over the first 16 bytes of the preamble, the ticket and message 1 with its length.
    #[must_use]
    pub fn tag(&self, fixed: &[u8; 16], ticket: &[u8], message_1: &[u8]) -> [u8; GATE_TAG_LEN] {
        let mut context = self.context();
        context.update(fixed);
        context.update(ticket);
        // A longer message 1 has no encoding, so it can't come from the wire; it just gets a tag nobody accepts.
        context.update(&u16::try_from(message_1.len()).unwrap_or(u16::MAX).to_be_bytes());
        context.update(message_1);
        Self::finish(context)
    }

    /// To hash a hello part by part: fixed part, ticket, length, message 1.
    pub(super) fn context(&self) -> hmac::Context {
        hmac::Context::with_key(&self.0)
    }

    /// Whether `tag` is that of what was hashed.
    pub(super) fn is_tag(context: hmac::Context, tag: &[u8; GATE_TAG_LEN]) -> bool {
        verify_slices_are_equal(&Self::finish(context), tag).is_ok()
    }

    fn finish(context: hmac::Context) -> [u8; GATE_TAG_LEN] {
        *context.sign().as_ref().first_chunk().expect("an HMAC-SHA-256 has 32 bytes")
    }

    /// Whether `tag` is the right one. Takes the same time wherever it differs.
    #[must_use]
    pub fn verify(
        &self,
        fixed: &[u8; 16],
        ticket: &[u8],
        message_1: &[u8],
        tag: &[u8; GATE_TAG_LEN],
    ) -> bool {
        verify_slices_are_equal(&self.tag(fixed, ticket, message_1), tag).is_ok()
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gate(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: PublicKey = PublicKey([7; 32]);

    #[test]
    fn opens_for_its_own_tag_and_no_other_bit() {
        let gate = Gate::new(&KEY);
        let (fixed, ticket, message_1) = ([1; 16], [2; 40], [3; 48]);
        let tag = gate.tag(&fixed, &ticket, &message_1);
        assert!(gate.verify(&fixed, &ticket, &message_1, &tag));
        for bit in 0..8 * GATE_TAG_LEN {
            let mut wrong = tag;
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert!(!gate.verify(&fixed, &ticket, &message_1, &wrong), "bit {bit}");
        }
    }

    #[test]
    fn covers_every_part_and_where_message_1_begins() {
        let gate = Gate::new(&KEY);
        let tag = gate.tag(&[1; 16], &[2; 40], &[3; 48]);
        assert_ne!(tag, gate.tag(&[9; 16], &[2; 40], &[3; 48]));
        assert_ne!(tag, gate.tag(&[1; 16], &[9; 40], &[3; 48]));
        assert_ne!(tag, gate.tag(&[1; 16], &[2; 40], &[9; 48]));
        assert_ne!(tag, gate.tag(&[1; 16], &[2; 39], &[3; 48]));
        assert_ne!(tag, Gate::new(&PublicKey([8; 32])).tag(&[1; 16], &[2; 40], &[3; 48]));
    }
}
