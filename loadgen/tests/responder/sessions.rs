//! The sessions of the responder's users: who may go on with one, and how its requests are numbered.

use std::collections::BTreeMap;
use std::sync::Mutex;

use protocol::limits::SESSION_ID_LEN;
use protocol::noise::Resumption;
use protocol::wire::proto::link::Welcome;
use protocol::wire::resume::Resume;

/// Those that were given out, until they are forgotten.
#[derive(Default)]
pub struct Sessions(Mutex<BTreeMap<[u8; SESSION_ID_LEN], Held>>);

#[derive(Debug)]
struct Held {
    secret: [u8; 32],
    /// The largest attempt to go on with it.
    attempt: u32,
    /// The last request that was counted.
    counter: u64,
    goes_on: bool,
}

impl Sessions {
    /// As a gateway that was killed.
    pub fn forget(&self) {
        self.0.lock().unwrap().clear();
    }

    /// The session that a link with this handshake hash goes on with, or a new one for link `number`.
    pub fn enter(&self, resume: &[u8], h: &[u8; 32], number: u64) -> [u8; SESSION_ID_LEN] {
        let mut sessions = self.0.lock().unwrap();
        let wish = (!resume.is_empty()).then(|| Resume::decode(resume).unwrap());
        if let Some(Resume { session, attempt, last_sequence, proof }) = wish
            && let Some(held) = sessions.get_mut(session)
        {
            let proved = Resumption { h, session, attempt, last_sequence }.is_proved(&held.secret, proof);
            assert!(proved && attempt > held.attempt, "attempt {attempt} after {held:?}");
            (held.attempt, held.goes_on) = (attempt, true);
            return *session;
        }
        let mut id = [6; SESSION_ID_LEN];
        id[..8].copy_from_slice(&number.to_be_bytes());
        let mut secret = [5; 32];
        secret[..8].copy_from_slice(&number.to_be_bytes());
        sessions.insert(id, Held { secret, attempt: 0, counter: 0, goes_on: false });
        id
    }

    /// What a welcome says of a session.
    pub fn welcome(&self, session: &[u8; SESSION_ID_LEN]) -> Welcome {
        let sessions = self.0.lock().unwrap();
        let held = &sessions[session];
        let secret = if held.goes_on { Vec::new() } else { held.secret.to_vec() };
        Welcome {
            session: session.to_vec().into(),
            secret: secret.into(),
            resumed: held.goes_on,
            ..Welcome::default()
        }
    }

    /// Requests are numbered without gaps, but for those that were lost with their link.
    pub fn count(&self, session: &[u8; SESSION_ID_LEN], counter: u64) {
        let mut sessions = self.0.lock().unwrap();
        // One that was forgotten ends with its link.
        let Some(held) = sessions.get_mut(session) else { return };
        let next = held.counter + 1;
        assert!(counter == next || held.goes_on && counter > next, "request {counter} after {held:?}");
        held.counter = counter;
    }
}
