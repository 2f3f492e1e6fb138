//! What only a session's client and the gateway know, and how a client shows that it does.
//!
//! A secret is derived from the session's name by a key that all workers have, so nobody keeps it: any worker tells
//! whether a client that comes back knows it, and the owner of its user need only compare names. The key is made at the start of the
//! process and lies where core dumps leave it out.

use protocol::noise::Resumption;
use protocol::wire::resume::Resume;
use ring::hmac;

use super::SessionId;

/// Bytes of a session's secret.
pub const SECRET_LEN: usize = 32;

/// Makes the secrets of sessions.
#[derive(Clone)]
pub struct SessionSecrets(hmac::Key);

impl SessionSecrets {
    /// Those of this process, by its key.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The secret of a session.
    #[must_use]
    pub fn of(&self, session: &SessionId) -> [u8; SECRET_LEN] {
        let mut of = hmac::Context::with_key(&self.0);
        of.update(LABEL);
        of.update(session);
        let mut secret = [0; SECRET_LEN];
        secret.copy_from_slice(of.sign().as_ref());
        secret
    }

    /// Whether who says this on a link with handshake hash `h` knows the secret of the session it names.
    #[must_use]
    pub fn proves(&self, said: &Resume<'_>, h: &[u8; 32]) -> bool {
        let Resume { session, attempt, last_sequence, proof } = *said;
        Resumption { h, session, attempt, last_sequence }.is_proved(&self.of(session), proof)
    }
}

impl std::fmt::Debug for SessionSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionSecrets(***)")
    }
}

/// Keeps these secrets apart from whatever else the key may be used for.
const LABEL: &[u8] = b"access-gateway session secret v1";
