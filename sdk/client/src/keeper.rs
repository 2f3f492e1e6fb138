//! Keeps what outlives a link, writes it down before anybody relies on it, and says when to acknowledge.
//!
//! ```text
//! attempt ──► one more, written ──► Auth.resume
//! taken by the application ──► written ──► Ack.taken          received by this client ──► Ack.received
//! ```
//!
//! One write is under way at a time, on a thread where it may block. Without a store, and where it fails, memory is all there
//! is: then a later run begins a new session.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use protocol::Time;
use protocol::wire::proto::link::Welcome;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep_until, timeout};
use zeroize::Zeroizing;

use crate::clock::{Clock, Moment};
use crate::kept::{Kept, Session};
use crate::push::Mark;
use crate::receipts::{Ack, Due};
use crate::resume::Wish;
use crate::state::Continuity;
use crate::store::Store;

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) kept: Kept,
    uses: Uses,
    store: Option<Arc<dyn Store>>,
    saving: Option<Saving>,
    /// What is kept has changed since the write that is under way began.
    is_stale: bool,
    /// Numbers of requests that no later run will use for others.
    numbers: u64,
    /// What the application says it has taken.
    taken: watch::Receiver<Mark>,
    errors: watch::Sender<Option<Arc<io::Error>>>,
    /// When the next `Ack` is due at the latest, if there is something to say.
    ack_by: Option<Time>,
    /// When to look again.
    wake_at: Option<Time>,
    /// When the last one left.
    acked: Time,
}

/// What a client may come back with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Uses {
    pub(crate) sessions: bool,
    pub(crate) tickets: bool,
}

/// A write that is under way, and what it holds.
#[derive(Debug)]
struct Saving {
    done: JoinHandle<io::Result<()>>,
    session: u64,
    taken: u64,
    numbers: u64,
}

/// How long an `Ack` waits for more to say.
const ACK_DELAY: Duration = Duration::from_millis(100);
/// The shortest time between two that nobody has asked for: as often as a gateway takes frames without holding it against a
/// client (SPEC.md, section 14.2).
const ACK_PAUSE: Duration = Duration::from_millis(50);
/// How long an attempt, or the end, waits for the store.
const STORE_WAIT: Duration = Duration::from_secs(3);
/// Attempts that an earlier run may have made and could not write down, as its store failed.
const UNWRITTEN: u32 = 1_000;
/// So many numbers of requests are written down as used at a time.
const NUMBERS: u64 = 1_024;

impl Keeper {
    pub(crate) fn new(
        kept: Kept,
        uses: Uses,
        store: Option<Arc<dyn Store>>,
        taken: watch::Receiver<Mark>,
        errors: watch::Sender<Option<Arc<io::Error>>>,
    ) -> Self {
        Self {
            kept,
            uses,
            store,
            saving: None,
            is_stale: false,
            numbers: 0,
            taken,
            errors,
            ack_by: None,
            wake_at: None,
            acked: Time::ZERO,
        }
    }

    /// Whether what is kept outlives the process.
    pub(crate) const fn is_durable(&self) -> bool {
        self.store.is_some()
    }

    /// Reads what an earlier run has left. Returns how many numbers of requests that run may have used.
    pub(crate) async fn load(&mut self, now: Moment) -> u64 {
        let Some(store) = self.store.clone() else { return 0 };
        let loaded = spawn_blocking(move || store.load().map(|state| state.map(Zeroizing::new)));
        match in_time(async { flat(loaded.await) }).await {
            Ok(Some(state)) => _ = self.kept.restore(&state, now),
            Ok(None) => {}
            Err(error) => self.failed(error),
        }
        // The application may have wanted more of an earlier run.
        _ = self.kept.session.take_if(|_| !self.uses.sessions);
        if !self.uses.tickets {
            self.kept.tickets.forget();
        }
        let Some(session) = &mut self.kept.session else { return 0 };
        self.numbers = session.numbers;
        // Written with the first attempt.
        session.numbers = self.numbers.saturating_add(NUMBERS);
        session.attempt = session.attempt.saturating_add(UNWRITTEN);
        self.numbers
    }

    /// The session that the next link is to go on with. That it was tried is written before this returns.
    pub(crate) async fn attempt(&mut self, clock: Clock) -> Option<Wish> {
        self.notice();
        // Without another number there is no other attempt.
        _ = self.kept.session.take_if(|session| session.attempt == u32::MAX);
        let session = self.kept.session.as_mut()?;
        session.attempt += 1;
        let wish = Wish {
            session: session.id,
            secret: session.secret.clone(),
            attempt: session.attempt,
            last_sequence: self.kept.receipts.last_sequence(),
        };
        self.save(clock.moment()).await;
        Some(wish)
    }

    /// The gateway has let the client in, who wished to go on with a session or did not.
    ///
    /// # Errors
    /// When it says to go on with the session and does not know what it has sent: then nothing fits any more.
    pub(crate) fn welcome(&mut self, welcome: &Welcome, wished: bool) -> Result<Continuity, protocol::Error> {
        self.ack_by = None;
        let goes_on = |session: &Session| welcome.resumed && welcome.session[..] == session.id;
        if wished && self.kept.session.as_ref().is_some_and(goes_on) {
            if welcome.last_sequence < self.kept.receipts.last_sequence() {
                self.kept.session = None;
                return Err(protocol::Error::Field("last_sequence"));
            }
            self.kept.receipts.resume();
            return Ok(Continuity::Resumed);
        }
        let session = match (welcome.session[..].try_into(), <[u8; 32]>::try_from(&welcome.secret[..])) {
            (Ok(id), Ok(secret)) if self.uses.sessions => {
                Some(Session { id, secret: secret.into(), attempt: 0, numbers: NUMBERS })
            }
            _ => None,
        };
        self.kept.begin(session);
        // Nobody can go on with a session that was never written.
        self.numbers = NUMBERS;
        Ok(if wished { Continuity::NotResumed } else { Continuity::Begun })
    }

    /// The gateway will not go on with the session.
    pub(crate) fn end_session(&mut self, now: Moment) {
        self.kept.session = None;
        self.begin_save(now);
    }

    /// The largest number a request may have in this session.
    pub(crate) fn numbers(&self) -> u64 {
        if self.store.is_some() && self.kept.session.is_some() { self.numbers } else { u64::MAX }
    }

    /// So many numbers are used. Writes down more before they run out.
    pub(crate) fn use_numbers(&mut self, used: u64, now: Moment) {
        let Some(session) = &mut self.kept.session else { return };
        if used.saturating_add(NUMBERS / 2) > session.numbers {
            session.numbers = used.saturating_add(NUMBERS);
            self.begin_save(now);
        }
    }

    /// Notices what the application has taken.
    fn notice(&mut self) {
        let Mark { session, sequence } = *self.taken.borrow_and_update();
        if session == self.kept.number {
            self.kept.receipts.take(sequence);
        }
    }

    /// What to say to the gateway now, if anything.
    pub(crate) fn ack(&mut self, now: Moment) -> Option<Ack> {
        self.notice();
        self.wake_at = None;
        let due = self.kept.receipts.due();
        if due == Due::Nothing {
            self.ack_by = None;
            return None;
        }
        let by = *self.ack_by.get_or_insert(now.time + ACK_DELAY);
        let at = match due {
            Due::Nothing | Due::Some => by,
            Due::Much => by.min(self.acked + ACK_PAUSE),
            Due::Asked => now.time,
        };
        // Written in time for the same `Ack`; what is not by then waits for another one.
        let keep_at = at.min(by - ACK_DELAY / 2);
        if now.time >= keep_at {
            self.keep_taken(now);
        }
        if now.time < at {
            self.wake_at = Some(if now.time < keep_at { keep_at } else { at });
            return None;
        }
        if !self.kept.receipts.has_news() {
            return None;
        }
        (self.ack_by, self.acked) = (None, now.time);
        Some(self.kept.receipts.tell())
    }

    /// What to say to the gateway before the link ends.
    pub(crate) async fn last_ack(&mut self, clock: Clock) -> Option<Ack> {
        self.notice();
        if self.kept.receipts.has_unkept() {
            self.save(clock.moment()).await;
        }
        self.kept.receipts.has_news().then(|| self.kept.receipts.tell())
    }

    /// Waits until there may be something to say, or something else was written.
    pub(crate) async fn news(&mut self, clock: Clock) {
        let wake_at = clock.instant(self.wake_at);
        tokio::select! {
            // An error means that the application takes no more pushes.
            Ok(()) = self.taken.changed() => {}
            done = finished(&mut self.saving) => self.saved(done, clock.moment()),
            () = sleep_until(wake_at) => self.wake_at = None,
        }
    }

    /// Writes down what the application takes while there is no link to say it on. Never ends; nothing is lost if it is given up.
    pub(crate) async fn tend(&mut self, clock: Clock) -> Infallible {
        self.wake_at = None;
        loop {
            self.news(clock).await;
            self.notice();
            self.keep_taken(clock.moment());
        }
    }

    /// Begins to write down what was taken, unless that is done or under way.
    fn keep_taken(&mut self, now: Moment) {
        let holds_all = |saving: &Saving| {
            saving.session == self.kept.number && saving.taken >= self.kept.receipts.taken()
        };
        if self.kept.receipts.has_unkept() && !self.saving.as_ref().is_some_and(holds_all) {
            self.begin_save(now);
        }
    }

    /// Begins to write all of it down, now or behind the write that is under way.
    pub(crate) fn begin_save(&mut self, now: Moment) {
        let Some(store) = self.store.clone() else {
            self.kept.receipts.keep(self.kept.receipts.taken());
            return;
        };
        if self.saving.is_some() {
            self.is_stale = true;
            return;
        }
        let state = self.kept.encode(now);
        self.is_stale = false;
        self.saving = Some(Saving {
            done: spawn_blocking(move || store.save(&state)),
            session: self.kept.number,
            taken: self.kept.receipts.taken(),
            numbers: self.kept.session.as_ref().map_or(0, |session| session.numbers),
        });
    }

    /// Writes all of it down as it is now.
    pub(crate) async fn save(&mut self, now: Moment) {
        self.notice();
        self.begin_save(now);
        self.settle(now).await;
    }

    /// Waits for what is being written, and for what has to be written behind it.
    async fn settle(&mut self, now: Moment) {
        let settled = async {
            while self.saving.is_some() {
                let done = finished(&mut self.saving).await;
                self.saved(done, now);
            }
            Ok(())
        };
        if let Err(error) = in_time(settled).await {
            self.failed(error);
        }
    }

    /// The user has logged out: nothing is kept.
    pub(crate) async fn erase(&mut self, now: Moment) {
        self.kept.session = None;
        self.kept.tickets.forget();
        self.is_stale = false;
        self.settle(now).await;
        let Some(store) = self.store.clone() else { return };
        let erased = spawn_blocking(move || store.erase());
        if let Err(error) = in_time(async { flat(erased.await) }).await {
            self.failed(error);
        }
    }

    fn saved(&mut self, done: io::Result<()>, now: Moment) {
        let Some(saving) = self.saving.take() else { return };
        if let Err(error) = done {
            // A client that goes on is worth more than one whose next run does.
            self.failed(error);
        }
        if saving.session == self.kept.number {
            self.kept.receipts.keep(saving.taken);
            self.numbers = self.numbers.max(saving.numbers);
        }
        if self.is_stale {
            self.begin_save(now);
        }
    }

    fn failed(&self, error: io::Error) {
        self.errors.send_replace(Some(Arc::new(error)));
    }
}

/// Waits until what is being written is; without it, for ever. Nothing is lost if the wait is given up.
async fn finished(saving: &mut Option<Saving>) -> io::Result<()> {
    match saving {
        Some(saving) => flat((&mut saving.done).await),
        None => std::future::pending().await,
    }
}

/// A store that does not answer has failed: nobody waits for it for ever.
async fn in_time<T>(said: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(STORE_WAIT, said).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// What a store said, if it did not panic.
fn flat<T>(said: Result<io::Result<T>, tokio::task::JoinError>) -> io::Result<T> {
    said.unwrap_or_else(|_| Err(io::Error::other("the store has panicked")))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// A store that saves when it is let.
    #[derive(Debug)]
    struct Gated(Mutex<Receiver<()>>);

    impl Store for Gated {
        fn load(&self) -> io::Result<Option<Vec<u8>>> {
            Ok(None)
        }

        fn save(&self, _state: &[u8]) -> io::Result<()> {
            self.0.lock().unwrap().recv().map_err(io::Error::other)
        }

        fn erase(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn keeper() -> (Keeper, watch::Sender<Mark>, Sender<()>) {
        let (told, taken) = watch::channel(Mark::default());
        let (gate, gated) = channel();
        let store = Arc::new(Gated(Mutex::new(gated)));
        let uses = Uses { sessions: true, tickets: true };
        let kept = Kept::new(b"alice", b"phone", &[]);
        (Keeper::new(kept, uses, Some(store), taken, watch::Sender::new(None)), told, gate)
    }

    fn welcome(number: u8) -> Welcome {
        let (session, secret) = (vec![number; 16].into(), vec![number; 32].into());
        Welcome { session, secret, ..Welcome::default() }
    }

    /// The application is given three pushes and takes two of them.
    fn takes_two_of_three(keeper: &mut Keeper, told: &watch::Sender<Mark>) {
        (1..=3).for_each(|sequence| _ = keeper.kept.receipts.arrived(sequence));
        told.send_replace(Mark { session: keeper.kept.number, sequence: 2 });
    }

    #[tokio::test]
    async fn what_was_written_of_one_session_says_nothing_of_the_next() {
        let clock = Clock::start();
        let (mut keeper, told, gate) = keeper();
        assert_eq!(keeper.welcome(&welcome(7), false), Ok(Continuity::Begun));
        takes_two_of_three(&mut keeper, &told);
        keeper.kept.receipts.ask();
        assert_eq!(keeper.ack(clock.moment()), Some(Ack { taken: 0, received: 3 }), "while that is written");
        assert_eq!(keeper.welcome(&welcome(8), true), Ok(Continuity::NotResumed));
        takes_two_of_three(&mut keeper, &told);
        keeper.kept.receipts.ask();
        assert_eq!(keeper.ack(clock.moment()), Some(Ack { taken: 0, received: 3 }));
        gate.send(()).unwrap();
        while keeper.is_stale {
            keeper.news(clock).await;
        }
        assert!(keeper.kept.receipts.has_unkept() && !keeper.kept.receipts.has_news());
        gate.send(()).unwrap();
        while keeper.saving.is_some() {
            keeper.news(clock).await;
        }
        keeper.kept.receipts.ask();
        assert_eq!(keeper.ack(clock.moment()), Some(Ack { taken: 2, received: 3 }));
    }

    #[tokio::test]
    async fn what_was_received_is_said_in_time_whatever_the_store_does_and_what_was_taken_with_it_if_it_can_be()
     {
        let clock = Clock::start();
        let at = |millis| {
            let time = Time::ZERO + Duration::from_millis(millis);
            Moment { time, ..clock.moment() }
        };
        for is_fast in [true, false] {
            let (mut keeper, told, gate) = keeper();
            assert_eq!(keeper.welcome(&welcome(7), false), Ok(Continuity::Begun));
            takes_two_of_three(&mut keeper, &told);
            assert_eq!(keeper.ack(at(1_000)), None);
            assert!(keeper.saving.is_none(), "more may come");
            assert_eq!(keeper.ack(at(1_050)), None);
            if is_fast {
                gate.send(()).unwrap();
                while keeper.saving.is_some() {
                    keeper.news(clock).await;
                }
            }
            assert_eq!(keeper.ack(at(1_099)), None);
            let taken = if is_fast { 2 } else { 0 };
            assert_eq!(keeper.ack(at(1_100)), Some(Ack { taken, received: 3 }));
            if !is_fast {
                assert_eq!(keeper.ack(at(1_300)), None, "there is nothing to say");
                gate.send(()).unwrap();
                while keeper.saving.is_some() {
                    keeper.news(clock).await;
                }
                assert_eq!(keeper.ack(at(1_500)), Some(Ack { taken: 2, received: 3 }));
            }
        }
    }

    #[tokio::test]
    async fn a_write_that_holds_it_all_is_not_made_twice() {
        let clock = Clock::start();
        let (mut keeper, told, gate) = keeper();
        assert_eq!(keeper.welcome(&welcome(7), false), Ok(Continuity::Begun));
        takes_two_of_three(&mut keeper, &told);
        for _ in 0..3 {
            keeper.kept.receipts.ask();
            keeper.ack(clock.moment());
        }
        assert!(keeper.saving.is_some() && !keeper.is_stale);
        gate.send(()).unwrap();
        keeper.settle(clock.moment()).await;
        assert!(keeper.saving.is_none() && !keeper.kept.receipts.has_unkept());
    }
}
