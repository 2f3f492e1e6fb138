//! What a link keeps of its session, to go on with it on the next one. SPEC.md, section 8.2.

use protocol::limits::SESSION_ID_LEN;
use protocol::noise::Resumption;
use protocol::wire::proto::link::Welcome;
use protocol::wire::resume::Resume;

/// A session, as its client knows it. Small, since there is one per link.
#[derive(Clone)]
pub(crate) struct Session {
    id: [u8; SESSION_ID_LEN],
    secret: [u8; 32],
    /// The last attempt to go on with it; 0 before the first one.
    attempt: u32,
    /// Requests that were counted on links that are over.
    requests: u32,
    /// A welcome has named it.
    known: bool,
}

impl Session {
    /// None yet.
    pub(crate) const NONE: Self =
        Self { id: [0; SESSION_ID_LEN], secret: [0; 32], attempt: 0, requests: 0, known: false };

    /// A link is welcome: with this session, or with a new one that takes its place.
    pub(crate) fn learn(&mut self, welcome: &Welcome) {
        if welcome.resumed {
            return;
        }
        *self = match (welcome.session.as_ref().try_into(), welcome.secret.as_ref().try_into()) {
            (Ok(id), Ok(secret)) => Self { id, secret, known: true, ..Self::NONE },
            _ => Self::NONE,
        };
    }

    /// Requests before the first one of the present link.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.into()
    }

    /// A link of it is over, on which so many were counted.
    pub(crate) fn count(&mut self, requests: u32) {
        self.requests = self.requests.saturating_add(requests);
    }

    /// The body of `Auth.resume` on the link with this handshake hash, which is one more attempt; empty without a session.
    /// Every push up to this sequence came.
    pub(crate) fn wish(&mut self, h: &[u8; 32], last_sequence: u64) -> Vec<u8> {
        if !self.known {
            return Vec::new();
        }
        self.attempt = self.attempt.saturating_add(1);
        let Self { id: session, secret, attempt, .. } = &*self;
        let attempt = *attempt;
        let proof = Resumption { h, session, attempt, last_sequence }.proof(secret);
        let mut body = Vec::new();
        Resume { session, attempt, last_sequence, proof: &proof }.encode(&mut body);
        body
    }
}

const _: () = assert!(size_of::<Session>() <= 64, "a session costs the generator a cache line");

#[cfg(test)]
mod tests {
    use super::*;

    fn welcome(id: usize, secret: usize, resumed: bool) -> Welcome {
        Welcome { session: vec![1; id].into(), secret: vec![2; secret].into(), resumed, ..Welcome::default() }
    }

    #[test]
    fn a_session_goes_on_with_its_numbers_until_another_one_takes_its_place() {
        let mut session = Session::NONE;
        assert_eq!(session.wish(&[9; 32], 7), [0; 0], "there is nothing to go on with");
        session.learn(&welcome(16, 32, false));
        session.count(3);
        let attempt = |body: &[u8]| Resume::decode(body).unwrap().attempt;
        assert_eq!([(); 2].map(|()| attempt(&session.wish(&[9; 32], 7))), [1, 2]);
        session.learn(&welcome(16, 0, true));
        assert_eq!((attempt(&session.wish(&[9; 32], 7)), session.requests()), (3, 3));
        session.learn(&welcome(16, 32, false));
        assert_eq!((attempt(&session.wish(&[9; 32], 7)), session.requests()), (1, 0));
    }

    #[test]
    fn the_proof_is_of_the_secret_and_the_link() {
        let mut session = Session::NONE;
        session.learn(&welcome(16, 32, false));
        let body = session.wish(&[9; 32], 7);
        let Resume { session, attempt, last_sequence, proof } = Resume::decode(&body).unwrap();
        assert_eq!(last_sequence, 7);
        let of = |h| Resumption { h, session, attempt, last_sequence };
        assert!(of(&[9; 32]).is_proved(&[2; 32], proof) && !of(&[8; 32]).is_proved(&[2; 32], proof));
    }

    #[test]
    fn a_welcome_whose_session_is_out_of_bounds_names_none() {
        for (id, secret) in [(15, 32), (16, 31), (0, 0)] {
            let mut session = Session::NONE;
            session.learn(&welcome(16, 32, false));
            session.learn(&welcome(id, secret, false));
            assert_eq!(session.wish(&[9; 32], 7), [0; 0], "{id} {secret}");
        }
    }
}
