//! What a client shows to go on with its session. SPEC.md, section 8.2.

use std::fmt;

use protocol::limits::SESSION_ID_LEN;
use protocol::noise::Resumption;
use protocol::wire::resume::Resume;
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
        let Self { session, secret, attempt, last_sequence } = self;
        let (attempt, last_sequence) = (*attempt, *last_sequence);
        let proof = Resumption { h, session, attempt, last_sequence }.proof(secret);
        let mut body = Vec::new();
        Resume { session, attempt, last_sequence, proof: &proof }.encode(&mut body);
        body
    }
}

impl fmt::Debug for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wish(*** attempt {}, behind {})", self.attempt, self.last_sequence)
    }
}
