//! What a client shows to go on with its session. SPEC.md, section 8.2.

use std::fmt;

use prost::Message as _;
use protocol::limits::SESSION_ID_LEN;
use protocol::wire::proto::link;
use ring::hmac;
use zeroize::Zeroizing;

/// A session that a client can go on with, and where it stands.
pub(crate) struct Wish {
    pub(crate) session: [u8; SESSION_ID_LEN],
    pub(crate) secret: Zeroizing<[u8; 32]>,
    /// Larger than in every earlier attempt for this session.
    pub(crate) attempt: u32,
    /// Of the last push that came in order.
    pub(crate) last_sequence: u64,
}

impl Wish {
    /// The body of `Auth.resume` on the link with this handshake hash.
    pub(crate) fn body(&self, h: &[u8; 32]) -> Vec<u8> {
        let mut proof = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &*self.secret));
        [LABEL, h, &self.session, &self.attempt.to_be_bytes(), &self.last_sequence.to_be_bytes()]
            .iter()
            .for_each(|part| proof.update(part));
        let resume = link::Resume {
            session: self.session.to_vec().into(),
            attempt: self.attempt,
            last_sequence: self.last_sequence,
            proof: proof.sign().as_ref().to_vec().into(),
        };
        resume.encode_to_vec()
    }
}

const LABEL: &[u8] = b"access-gateway resume v1";

impl fmt::Debug for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wish(*** attempt {}, behind {})", self.attempt, self.last_sequence)
    }
}
