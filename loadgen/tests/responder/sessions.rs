//! The sessions of the responder's users: who may go on with one, and how its requests are numbered.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use protocol::limits::SESSION_ID_LEN;
use protocol::noise::Resumption;
use protocol::wire::proto::link::Welcome;
use protocol::wire::resume::Resume;

use super::Fault;
use super::pushing::{Books, Pusher};

/// Those that were given out, until they are forgotten.
#[derive(Default)]
pub struct Sessions {
    held: Mutex<BTreeMap<[u8; SESSION_ID_LEN], Held>>,
    /// Whoever goes on with one finds nothing of what it was owed.
    pub loses: AtomicBool,
}

#[derive(Debug)]
struct Held {
    secret: [u8; 32],
    /// The largest attempt to go on with it.
    attempt: u32,
    /// The last request that was counted.
    counter: u64,
    goes_on: bool,
    /// The link it is with.
    link: u64,
    pusher: Pusher,
}

impl Sessions {
    /// As a gateway that was killed.
    pub fn forget(&self) {
        self.held.lock().unwrap().clear();
    }

    /// The session that a link with this handshake hash goes on with, or a new one for link `number`.
    pub fn enter(
        &self,
        resume: &[u8],
        h: &[u8; 32],
        number: u64,
        fault: Fault,
        books: &Books,
    ) -> [u8; SESSION_ID_LEN] {
        let mut sessions = self.held.lock().unwrap();
        let wish = (!resume.is_empty()).then(|| Resume::decode(resume).unwrap());
        if let Some(Resume { session, attempt, last_sequence, proof }) = wish
            && let Some(held) = sessions.get_mut(session)
        {
            let proved = Resumption { h, session, attempt, last_sequence }.is_proved(&held.secret, proof);
            assert!(proved && attempt > held.attempt, "attempt {attempt} after {held:?}");
            (held.attempt, held.goes_on, held.link) = (attempt, true, number);
            held.pusher.go_on(number, last_sequence, books);
            if self.loses.load(Ordering::Relaxed) {
                held.pusher.lose_all(books);
            }
            return *session;
        }
        let mut id = [6; SESSION_ID_LEN];
        id[..8].copy_from_slice(&number.to_be_bytes());
        let mut secret = [5; 32];
        secret[..8].copy_from_slice(&number.to_be_bytes());
        let pusher = Pusher::new(number, fault);
        sessions.insert(id, Held { secret, attempt: 0, counter: 0, goes_on: false, link: number, pusher });
        id
    }

    /// What a welcome says of a session.
    pub fn welcome(&self, session: &[u8; SESSION_ID_LEN]) -> Welcome {
        let sessions = self.held.lock().unwrap();
        let held = &sessions[session];
        let secret = if held.goes_on { Vec::new() } else { held.secret.to_vec() };
        Welcome {
            session: session.to_vec().into(),
            secret: secret.into(),
            resumed: held.goes_on,
            ..Welcome::default()
        }
    }

    /// What becomes of the pushes of a session that is there.
    pub fn pusher<T>(&self, session: &[u8; SESSION_ID_LEN], ask: impl FnOnce(&mut Pusher) -> T) -> T {
        ask(&mut self.held.lock().unwrap().get_mut(session).expect("it is with its link").pusher)
    }

    /// Whether it is still with this link: one whose session is gone, or goes on with another one, is not heard.
    pub fn is_with(&self, session: &[u8; SESSION_ID_LEN], link: u64) -> bool {
        self.held.lock().unwrap().get(session).is_some_and(|held| held.link == link)
    }

    /// Requests are numbered without gaps, but for those that were lost with their link.
    pub fn count(&self, session: &[u8; SESSION_ID_LEN], counter: u64) {
        let mut sessions = self.held.lock().unwrap();
        let held = sessions.get_mut(session).expect("it is with the link that asks");
        let next = held.counter + 1;
        assert!(counter == next || held.goes_on && counter > next, "request {counter} after {held:?}");
        held.counter = counter;
    }
}
