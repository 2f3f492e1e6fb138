//! Routes that keep an order, and handlers that come to an error.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backend::protocol::Refusal;
use backend::protocol::stream::Mode;
use backend::protocol::wire::stream::StreamRequest;
use backend::{Bounds, Builder, OrderBy, Refused, Reply, Server};
use tokio::sync::{Semaphore, mpsc};

use crate::peer::{Peer, Said, answer, refusal, start};

/// Asks in the name of a user, with an ordering key.
fn ask(peer: &mut Peer, call: u64, user: &str, key: &str, deadline_ms: u32) {
    let (user, key, payload) = (user.as_bytes(), key.as_bytes(), &call.to_be_bytes()[..]);
    let request =
        StreamRequest { call, user, key, payload, deadline_ms, route: "turns", ..Default::default() };
    peer.stream.request(&StreamRequest { id: [7; 16], device: b"d", trace: call + 100, ..request }).unwrap();
}

/// Handlers that wait for the gate, and say when they begin.
fn gated(by: OrderBy) -> (Builder, Arc<Semaphore>, mpsc::UnboundedReceiver<u64>) {
    let gate = Arc::new(Semaphore::new(0));
    let (begins, begun) = mpsc::unbounded_channel();
    let held = Arc::clone(&gate);
    let builder = Server::builder().route_ordered("turns", by, move |request| {
        let (gate, begins) = (Arc::clone(&held), begins.clone());
        async move {
            begins.send(u64::from_be_bytes(request.payload[..].try_into().unwrap())).unwrap();
            gate.acquire().await.unwrap().forget();
            Reply::ok("")
        }
    });
    (builder, gate, begun)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_of_a_user_are_handled_one_after_the_other_on_many_threads() {
    const USERS: [&str; 3] = ["ann", "bob", "eve"];
    const CALLS: u64 = 180;
    let (handled, at_work) = (Arc::new(Mutex::new(Vec::new())), Arc::new([const { AtomicUsize::new(0) }; 3]));
    let log = Arc::clone(&handled);
    let server = start(Server::builder().route_ordered("turns", OrderBy::User, move |request| {
        let (log, at_work) = (Arc::clone(&log), Arc::clone(&at_work));
        async move {
            let call = u64::from_be_bytes(request.payload[..].try_into().unwrap());
            let own = &at_work[(call % 3) as usize];
            assert_eq!(own.fetch_add(1, Ordering::SeqCst), 0, "two of a user at a time");
            for _ in 0..call % 7 {
                tokio::task::yield_now().await;
            }
            log.lock().unwrap().push(call);
            own.fetch_sub(1, Ordering::SeqCst);
            Reply::ok("")
        }
    }));
    let mut peer = Peer::dial(&server.place, &Mode::Clear).await;
    for batch in 0..CALLS / 60 {
        for call in batch * 60 + 1..=batch * 60 + 60 {
            ask(&mut peer, call, USERS[(call % 3) as usize], "", 0);
        }
        for _ in 0..60 {
            assert!(matches!(peer.next().await, Some(Said::Response { status: 0, refused: false, .. })));
        }
    }
    let handled = handled.lock().unwrap();
    for user in 0..3 {
        let of_user: Vec<u64> = handled.iter().copied().filter(|call| call % 3 == user).collect();
        assert_eq!((of_user.len() as u64, of_user.is_sorted()), (CALLS / 3, true), "{of_user:?}");
    }
}

#[tokio::test]
async fn a_user_that_waits_holds_up_no_other() {
    let (builder, gate, mut begun) = gated(OrderBy::User);
    let server = start(builder);
    let mut peer = Peer::dial(&server.place, &Mode::Clear).await;
    for (call, user) in [(1, "ann"), (2, "ann"), (3, "bob")] {
        ask(&mut peer, call, user, "any", 0);
    }
    peer.flush().await;
    assert_eq!([begun.recv().await, begun.recv().await], [Some(1), Some(3)]);
    gate.add_permits(2);
    let mut answers = [peer.next().await, peer.next().await];
    answers.sort_by_key(|said| format!("{said:?}"));
    assert_eq!(answers, [answer(1, 0, b""), answer(3, 0, b"")]);
    assert_eq!(begun.recv().await, Some(2), "its turn has come");
    gate.add_permits(1);
    assert_eq!(peer.next().await, answer(2, 0, b""));
}

#[tokio::test]
async fn keys_of_a_user_have_turns_of_their_own_and_requests_without_a_key_have_none() {
    let (builder, gate, mut begun) = gated(OrderBy::UserAndKey);
    let server = start(builder);
    let mut peer = Peer::dial(&server.place, &Mode::Clear).await;
    for (call, key) in [(1, "a"), (2, "a"), (3, "b"), (4, ""), (5, "")] {
        ask(&mut peer, call, "ann", key, 0);
    }
    peer.flush().await;
    let mut first = Vec::new();
    for _ in 0..4 {
        first.extend(begun.recv().await);
    }
    first.sort_unstable();
    assert_eq!(first, [1, 3, 4, 5]);
    gate.add_permits(5);
    assert_eq!(begun.recv().await, Some(2));
}

#[tokio::test]
async fn no_more_wait_for_their_turn_than_there_may_be() {
    let (builder, gate, _begun) = gated(OrderBy::User);
    let server = start(builder.bounds(Bounds { ordered_max: 2, handlers_max: 4, ..Bounds::default() }));
    let mut peer = Peer::dial(&server.place, &Mode::Clear).await;
    (1..=4).for_each(|call| ask(&mut peer, call, "ann", "", 0));
    assert_eq!(peer.next().await, refusal(4, Refusal::Busy), "two wait");
    ask(&mut peer, 5, "bob", "", 0);
    ask(&mut peer, 6, "eve", "", 0);
    assert_eq!(peer.next().await, refusal(6, Refusal::Busy), "those that wait count among the handlers");
    gate.add_permits(9);
    let mut answered = Vec::new();
    for _ in 0..4 {
        match peer.next().await {
            Some(Said::Response { call, refused: false, .. }) => answered.push(call),
            other => panic!("{other:?}"),
        }
    }
    answered.sort_unstable();
    assert_eq!(answered, [1, 2, 3, 5]);
}

/// Whatever a handler comes to, the next one of its key has its turn; but one for which nobody waits any more is not begun.
#[tokio::test]
async fn a_handler_that_panics_or_takes_too_long_gives_its_turn_away() {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&calls);
    let builder = Server::builder().route_ordered("turns", OrderBy::User, move |request| {
        let call = u64::from_be_bytes(request.payload[..].try_into().unwrap());
        log.lock().unwrap().push(call);
        assert_ne!(call, 4, "before there is any work");
        async move {
            match call {
                1 => std::future::pending().await,
                3 => panic!("at work"),
                _ => Reply::ok(""),
            }
        }
    });
    let server = builder.bind(&crate::peer::place(), backend::Security::Clear).unwrap();
    let counts = server.watch_counts();
    let server = crate::peer::run(server);
    let mut peer = Peer::dial(&server.place, &Mode::Clear).await;
    // The second one's time is over long before that of the first, which never ends by itself.
    for (call, deadline_ms) in [(1, 60), (2, 1), (3, 0), (4, 0), (5, 0)] {
        ask(&mut peer, call, "ann", "", deadline_ms);
    }
    assert_eq!(peer.next().await, answer(5, 0, b""));
    assert_eq!(*calls.lock().unwrap(), [1, 3, 4, 5]);
    assert_eq!((counts().overdue, counts().panics), (2, 2));
    ask(&mut peer, 6, "ann", "", 0);
    assert_eq!(peer.next().await, answer(6, 0, b""), "nobody is at work any more");
}

/// An error of a service's own.
struct Unpaid;

impl From<Unpaid> for Reply {
    fn from(Unpaid: Unpaid) -> Self {
        Self::status(402, "pay first")
    }
}

#[tokio::test]
async fn handlers_may_come_to_an_error_that_says_how_it_is_answered() {
    fn find(name: &[u8]) -> Result<&'static str, Refused> {
        let retry_after = Duration::from_millis(250);
        if name == b"ann" { Ok("found") } else { Err(Refused { reason: Refusal::Busy, retry_after }) }
    }
    let server = start(
        Server::builder()
            .route("find", |request| async move { Ok::<_, Refused>(Reply::ok(find(&request.payload)?)) })
            .route("pay", |_| async { Err(Unpaid) })
            .route("away", |_| async { Err(Refusal::NotAllowed) }),
    );
    let mut peer = Peer::dial(&server.place, &Mode::Clear).await;
    for (call, route, payload, said) in [
        (1, "find", &b"ann"[..], answer(1, 0, b"found")),
        (2, "find", b"bob", refusal(2, Refusal::Busy)),
        (3, "pay", b"", answer(3, 402, b"pay first")),
        (4, "away", b"", refusal(4, Refusal::NotAllowed)),
    ] {
        peer.ask(call, route, payload);
        assert_eq!(peer.next().await, said);
    }
}
