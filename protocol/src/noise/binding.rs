//! Bound tokens and tickets: worth nothing without a key that their owner keeps. SPEC.md, section "Authentication".

use ring::digest::{SHA256, digest};
use ring::signature::{ED25519, UnparsedPublicKey};

/// What a client signs to show that a token, or a ticket, is its own: it holds for one handshake only.
///
/// ```text
/// label ‖ h 32 ‖ SHA-256(token, or ticket) 32
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound<'a> {
    /// A token.
    Token(&'a [u8]),
    /// A ticket.
    Ticket(&'a [u8]),
}

impl Bound<'_> {
    /// The message to sign on the link with this handshake hash.
    #[must_use]
    pub fn message(self, h: &[u8; 32]) -> Vec<u8> {
        let (label, bytes) = match self {
            Self::Token(token) => (TOKEN_LABEL, token),
            Self::Ticket(ticket) => (TICKET_LABEL, ticket),
        };
        [label, h, digest(&SHA256, bytes).as_ref()].concat()
    }

    /// Whether `signature` is that of the Ed25519 key over the message.
    #[must_use]
    pub fn is_signed(self, h: &[u8; 32], key: &[u8; 32], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, key).verify(&self.message(h), signature).is_ok()
    }
}

const TOKEN_LABEL: &[u8] = b"access-gateway token binding v1";
const TICKET_LABEL: &[u8] = b"access-gateway ticket binding v1";

#[cfg(test)]
mod tests {
    use ring::signature::{Ed25519KeyPair, KeyPair as _};

    use super::*;

    #[test]
    fn a_signature_is_good_for_one_thing_on_one_link() {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let key = pair.public_key().as_ref().try_into().unwrap();
        let (h, other) = ([1; 32], [2; 32]);
        let bound = Bound::Token(b"token");
        let signature = pair.sign(&bound.message(&h));
        assert!(bound.is_signed(&h, key, signature.as_ref()));
        assert!(!bound.is_signed(&other, key, signature.as_ref()), "another link");
        assert!(!Bound::Token(b"other").is_signed(&h, key, signature.as_ref()));
        assert!(!Bound::Ticket(b"token").is_signed(&h, key, signature.as_ref()), "a ticket is no token");
        assert!(!bound.is_signed(&h, &[3; 32], signature.as_ref()));
        assert!(!bound.is_signed(&h, key, &[]));
    }
}
