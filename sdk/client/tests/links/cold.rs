//! What a later start of the process finds in the store, whenever the one before it ended.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use client::{Config, Continuity, Error, FileStore, MemoryStore, State, Store};
use protocol::CloseCode;
use protocol::link::Acceptor;
use protocol::noise::{StaticKey, Suite, Suites};
use protocol::wire::frame::Close;
use protocol::wire::proto::link::{ServerKey, Welcome};
use tokio::time::Instant;

use crate::gateway::{
    Heard, Wish, answered, config, failure, given, linked, resumed, session, spawn, start,
    until_everybody_waits,
};

/// A file of the test's own.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("client-cold-{}-{name}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.join("state")
    }

    fn store(&self) -> FileStore {
        FileStore::new(self.file(), &[3; 32])
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A client that was dropped just now may be writing there.
        _ = fs::remove_dir_all(&self.0);
    }
}

/// A store whose process can be killed: what is saved afterwards never reaches it.
#[derive(Debug)]
struct Mortal {
    store: FileStore,
    is_dead: AtomicBool,
}

impl Store for Mortal {
    fn load(&self) -> io::Result<Option<Vec<u8>>> {
        self.store.load()
    }

    fn save(&self, state: &[u8]) -> io::Result<()> {
        if self.is_dead.load(Ordering::SeqCst) { Ok(()) } else { self.store.save(state) }
    }

    fn erase(&self) -> io::Result<()> {
        self.save(&[])
    }
}

impl Mortal {
    fn new(place: &Place) -> Arc<Self> {
        Arc::new(Self { store: place.store(), is_dead: AtomicBool::new(false) })
    }

    fn dies(&self) {
        self.is_dead.store(true, Ordering::SeqCst);
    }
}

fn with(store: Arc<dyn Store>) -> Config {
    Config { store: Some(store), ..config() }
}

/// What a client would wish for that finds in its store what is in this one now.
async fn later_wish(store: &dyn Store) -> Option<Wish> {
    let copy = MemoryStore::default();
    if let Some(state) = store.load().unwrap() {
        copy.save(&state).unwrap();
    }
    let (_client, _pushes, mut gateway) = start(with(Arc::new(copy)));
    gateway.wished().await.1
}

#[tokio::test(start_paused = true)]
async fn a_later_start_goes_on_with_the_session_and_by_a_ticket() {
    let place = Place::new("later");
    let (client, mut pushes, mut gateway) = start(with(Arc::new(place.store())));
    let mut link = gateway.welcome(&Welcome { tickets: gateway.tickets(2), ..session(7) }).await;
    client.ready().await.unwrap();
    link.deliver(1..=3).await;
    assert_eq!(given(&mut pushes, 3).await, [1, 2, 3]);
    assert_eq!(link.acked().await, (2, 3));
    drop(link);
    let (link, wish) = gateway.wished().await;
    assert_eq!(wish.map(|wish| wish.attempt), Some(1));
    drop((client, pushes));
    drop(link);
    until_everybody_waits().await;
    let (client, mut pushes, mut gateway) = start(with(Arc::new(place.store())));
    let (mut link, wish) = gateway.wished().await;
    assert!(link.suite().is_ticket());
    let Some(Wish { session: 7, attempt: 2.., last_sequence: 2 }) = wish else {
        panic!("{wish:?}: the third was not taken");
    };
    link.welcome(&resumed(7, 3)).await;
    assert_eq!(client.ready().await.unwrap().continuity, Continuity::Resumed);
    assert_eq!(link.acked().await, (2, 2));
    link.deliver(3..=4).await;
    assert_eq!(given(&mut pushes, 2).await, [3, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_dies_between_taking_a_push_and_saying_so_gets_exactly_that_one_again() {
    let place = Place::new("crash");
    let mortal = Mortal::new(&place);
    let (client, mut pushes, _gateway, mut link) = linked(with(Arc::clone(&mortal) as _), &session(7)).await;
    link.deliver(1..=3).await;
    assert_eq!(given(&mut pushes, 3).await, [1, 2, 3]);
    assert_eq!(link.acked().await, (2, 3));
    // The application takes the third, and the process is gone before that is written.
    mortal.dies();
    pushes.taken();
    drop((client, pushes, link));
    until_everybody_waits().await;
    let (_client, mut pushes, mut gateway) = start(with(Arc::new(place.store())));
    let (mut link, wish) = gateway.wished().await;
    assert_eq!(wish.map(|wish| wish.last_sequence), Some(2));
    link.welcome(&resumed(7, 3)).await;
    link.deliver([3, 4]).await;
    assert_eq!(given(&mut pushes, 2).await, [3, 4]);
}

#[tokio::test(start_paused = true)]
async fn no_attempt_is_made_with_a_number_that_a_later_start_would_use_again() {
    let place = Place::new("attempts");
    let (_client, _pushes, mut gateway, link) = linked(with(Arc::new(place.store())), &session(7)).await;
    drop(link);
    for attempt in 1..=5 {
        let (link, wish) = gateway.wished().await;
        assert_eq!(wish.map(|wish| wish.attempt), Some(attempt));
        // What is in the store at this moment is what a crash would leave.
        assert!(later_wish(&place.store()).await.is_some_and(|wish| wish.attempt > attempt));
        drop(link);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_said_to_be_taken_that_a_later_start_would_want_again() {
    let place = Place::new("taken");
    let (_client, mut pushes, _gateway, mut link) = linked(with(Arc::new(place.store())), &session(7)).await;
    for sequence in 1..=21 {
        link.deliver([sequence]).await;
        assert_eq!(given(&mut pushes, 1).await, [sequence]);
        if sequence % 2 == 0 {
            pushes.taken();
        }
        let (taken, _) = if sequence % 3 == 0 { link.acked_now(sequence).await } else { link.acked().await };
        let later = later_wish(&place.store()).await.expect("a session").last_sequence;
        assert!(taken <= later && later <= sequence, "{taken} said, {later} kept, {sequence} received");
    }
    pushes.taken();
    assert_eq!(link.acked().await, (21, 21));
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_without_a_link_is_written_down_too() {
    let place = Place::new("offline");
    let (client, mut pushes, mut gateway, mut link) =
        linked(with(Arc::new(place.store())), &session(7)).await;
    link.deliver(1..=6).await;
    assert_eq!(link.acked().await, (0, 6));
    let kept = async || later_wish(&place.store()).await.map(|wish| wish.last_sequence);
    let sleeping = tokio::spawn({
        let client = client.clone();
        async move { client.sleep().await }
    });
    assert_eq!(link.said().await, Heard::Close(Some(CloseCode::Moving)));
    drop(link);
    sleeping.await.unwrap();
    assert_eq!(given(&mut pushes, 4).await, [1, 2, 3, 4]);
    until_everybody_waits().await;
    assert_eq!(kept().await, Some(3), "asleep");
    client.wake();
    let later = Close { code: CloseCode::TryLater.number(), retry_after_ms: 60_000, ..Close::default() };
    gateway.accept().await.close(later).await;
    assert!(matches!(failure(&client).await, Error::Closed(_)));
    assert_eq!(given(&mut pushes, 2).await, [5, 6]);
    until_everybody_waits().await;
    assert_eq!(kept().await, Some(5), "between two attempts");
}

#[tokio::test(start_paused = true)]
async fn keys_that_were_learnt_hold_at_a_later_start_until_the_app_brings_others() {
    let place = Place::new("pins");
    let next = StaticKey::from_secret([0x44; 32]);
    let announced = ServerKey { key: next.public().0.to_vec().into(), ..ServerKey::default() };
    let (client, pushes, mut gateway) = start(with(Arc::new(place.store())));
    let link = gateway.welcome(&Welcome { server_keys: vec![announced], ..session(7) }).await;
    client.ready().await.unwrap();
    drop((client, pushes, link));
    until_everybody_waits().await;
    let suites = Suites::of(&[Suite::NkChaChaPoly]);
    let (client, pushes, mut gateway) = start(with(Arc::new(place.store())));
    gateway.acceptor = Acceptor::new(next, suites, &[], None);
    assert!(gateway.try_accept().await.is_ok(), "the new key, though the app came with the old one");
    drop((client, pushes));
    until_everybody_waits().await;
    let third = StaticKey::from_secret([0x55; 32]);
    let updated = Config { server_keys: vec![third.public().into()], ..with(Arc::new(place.store())) };
    let (_client, _pushes, mut gateway) = start(updated);
    gateway.acceptor = Acceptor::new(third, suites, &[], None);
    assert!(gateway.try_accept().await.is_ok(), "what an update brings replaces what was learnt");
}

#[tokio::test(start_paused = true)]
async fn an_application_that_wants_less_than_it_did_is_not_given_it() {
    let place = Place::new("less");
    let (client, pushes, mut gateway) = start(with(Arc::new(place.store())));
    let link = gateway.welcome(&Welcome { tickets: gateway.tickets(2), ..session(7) }).await;
    client.ready().await.unwrap();
    drop((client, pushes, link));
    until_everybody_waits().await;
    let less = Config { resume: false, tickets: false, ..with(Arc::new(place.store())) };
    let (_client, _pushes, mut gateway) = start(less);
    let (link, wish) = gateway.wished().await;
    assert!(!link.suite().is_ticket() && wish.is_none());
}

#[tokio::test(start_paused = true)]
async fn numbers_of_requests_are_not_used_twice_in_a_session() {
    let place = Place::new("numbers");
    let store = || with(Arc::new(place.store()));
    let mut largest = 0;
    for run in 0..3 {
        let (client, pushes, mut gateway) = start(store());
        let welcome = if run == 0 { session(7) } else { resumed(7, 0) };
        let mut link = gateway.welcome(&welcome).await;
        client.ready().await.unwrap();
        let mut numbers = Vec::new();
        for count in 0..1_500 {
            if count % 256 == 0 {
                // The next numbers are written down by now.
                until_everybody_waits().await;
            }
            let asked = spawn(&client, b"?");
            let request = link.asked().await;
            link.answer(request.id, b"").await;
            assert_eq!(asked.await.unwrap(), answered(b""));
            numbers.extend(Some(request.counter).filter(|&counter| counter != 0));
        }
        assert!(numbers.is_sorted_by(|one, other| one + 1 == *other), "{numbers:?}");
        assert!(numbers[0] > largest && numbers.len() == 1_500, "{} behind {largest}", numbers[0]);
        largest = *numbers.last().unwrap();
        drop((client, pushes, link));
        until_everybody_waits().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_torn_foreign_or_of_another_user_is_no_reason_not_to_link() {
    let place = Place::new("foreign");
    let (client, pushes, _gateway, link) = linked(with(Arc::new(place.store())), &session(7)).await;
    drop((client, pushes, link));
    until_everybody_waits().await;
    let bob = Config { user: "bob".into(), ..with(Arc::new(place.store())) };
    let (client, _pushes, mut gateway) = start(bob);
    assert_eq!(gateway.wished().await.1, None);
    drop(client);
    until_everybody_waits().await;
    for text in [&b""[..], b"agclient\x01", &[0xff; 5_000]] {
        fs::write(place.file(), text).unwrap();
        let (client, _pushes, mut gateway) = start(with(Arc::new(place.store())));
        let (mut link, wish) = gateway.wished().await;
        assert_eq!(wish, None);
        link.welcome(&session(8)).await;
        client.ready().await.unwrap();
        until_everybody_waits().await;
        assert_eq!(later_wish(&place.store()).await.map(|wish| wish.session), Some(8), "it is written over");
        assert!(client.store_errors().borrow().is_none());
        drop((client, link));
        until_everybody_waits().await;
    }
}

/// A store that can do nothing.
#[derive(Debug)]
struct Broken;

impl Store for Broken {
    fn load(&self) -> io::Result<Option<Vec<u8>>> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn save(&self, _state: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn erase(&self) -> io::Result<()> {
        panic!("a store of somebody else")
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_is_told_of_and_the_client_goes_on_without() {
    let (client, mut pushes, mut gateway, mut link) = linked(with(Arc::new(Broken)), &session(7)).await;
    let mut errors = client.store_errors();
    until_everybody_waits().await;
    let kind = |errors: &mut tokio::sync::watch::Receiver<Option<Arc<io::Error>>>| {
        errors.borrow_and_update().as_ref().map(|error| error.kind())
    };
    assert_eq!(kind(&mut errors), Some(io::ErrorKind::StorageFull));
    link.deliver(1..=2).await;
    assert_eq!(given(&mut pushes, 2).await, [1, 2]);
    assert_eq!(link.acked().await, (1, 2));
    drop(link);
    let (mut link, wish) = gateway.wished().await;
    assert_eq!(wish, Some(Wish { session: 7, attempt: 1, last_sequence: 2 }));
    link.welcome(&resumed(7, 2)).await;
    client.ready().await.unwrap();
    drop(link);
    client.close().await;
    assert!(matches!(client.state(), State::Ended(_)));
    assert_eq!(kind(&mut errors), Some(io::ErrorKind::Other));
}

/// A store that takes its time, as a disk under load does.
#[derive(Debug, Default)]
struct Slow {
    store: MemoryStore,
    is_stuck: Mutex<bool>,
    goes_on: Condvar,
}

impl Slow {
    /// Nothing is saved until what is returned is dropped.
    fn sticks(self: &Arc<Self>) -> Stuck {
        *self.is_stuck.lock().expect("nobody panics with it") = true;
        Stuck(Arc::clone(self))
    }
}

struct Stuck(Arc<Slow>);

impl Drop for Stuck {
    fn drop(&mut self) {
        *self.0.is_stuck.lock().expect("nobody panics with it") = false;
        self.0.goes_on.notify_all();
    }
}

impl Store for Slow {
    fn load(&self) -> io::Result<Option<Vec<u8>>> {
        self.store.load()
    }

    fn save(&self, state: &[u8]) -> io::Result<()> {
        let is_stuck = self.is_stuck.lock().expect("nobody panics with it");
        drop(self.goes_on.wait_while(is_stuck, |is_stuck| *is_stuck));
        self.store.save(state)
    }

    fn erase(&self) -> io::Result<()> {
        self.store.erase()
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_store_holds_up_what_was_taken_and_not_what_was_received() {
    let slow = Arc::new(Slow::default());
    let (_client, mut pushes, _gateway, mut link) = linked(with(Arc::clone(&slow) as _), &session(7)).await;
    until_everybody_waits().await;
    link.deliver(1..=32).await;
    assert_eq!(link.acked().await, (0, 32));
    let stuck = slow.sticks();
    assert_eq!(given(&mut pushes, 5).await, [1, 2, 3, 4, 5]);
    let at = Instant::now();
    for _ in 0..3 {
        assert_eq!(link.acked_now(32).await, (0, 32), "the first four were taken, and that is not written");
    }
    assert_eq!(at.elapsed(), Duration::ZERO);
    drop(stuck);
    assert_eq!(link.acked().await, (4, 32));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_never_answers_is_told_of_and_keeps_nobody_from_linking() {
    let slow = Arc::new(Slow::default());
    let stuck = slow.sticks();
    let (client, _pushes, mut gateway, link) = linked(with(Arc::clone(&slow) as _), &session(7)).await;
    drop(link);
    let wished = async {
        let (mut link, wish) = gateway.wished().await;
        link.welcome(&resumed(7, 0)).await;
        assert_eq!(wish, Some(Wish { session: 7, attempt: 1, last_sequence: 0 }));
        link
    };
    // While somebody is stuck in a thread the clock does not jump by itself.
    let time_passes = async {
        loop {
            tokio::time::advance(Duration::from_millis(100)).await;
            tokio::task::yield_now().await;
        }
    };
    let _link = tokio::select! {
        link = wished => link,
        never = time_passes => never,
    };
    client.ready().await.unwrap();
    let error = client.store_errors().borrow().as_ref().map(|error| error.kind());
    assert_eq!(error, Some(io::ErrorKind::TimedOut));
    drop(stuck);
}
