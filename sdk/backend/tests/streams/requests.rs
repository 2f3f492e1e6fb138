//! Requests and their answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use backend::protocol::noise::Suite;
use backend::protocol::stream::{Mode, Params};
use backend::protocol::wire::stream::{Authenticate, Report, StreamRequest};
use backend::protocol::{CloseCode, Refusal};
use backend::{
    Answer, Bounds, Builder, Counts, Event, Listen, Login, Reply, STATUS_REPLY_TOO_LARGE, Security, Server,
    Verdict,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::timeout;

use crate::peer::{PARAMS, Peer, Said, answer, place, refusal, run, sealed, start, start_with};

fn echo() -> Builder {
    Server::builder()
        .route_now("echo", |request, _, answer| answer.payload().extend_from_slice(request.payload))
        .route("later", |request| async move {
            tokio::task::yield_now().await;
            Reply::status(4, request.payload)
        })
}

#[tokio::test]
async fn a_thousand_requests_are_answered_in_clear_and_sealed() {
    let modes = [(Security::Clear, Mode::Clear), sealed(Suite::KkChaChaPoly), sealed(Suite::KkAesGcm)];
    for (security, mode) in modes {
        let server = start_with(echo(), security);
        let mut peer = Peer::dial(&server.place, &mode).await;
        assert_eq!(peer.stream.routes(), ["echo", "later"]);
        for round in 0..20u64 {
            for call in 1..=50 {
                peer.ask(round * 50 + call, "echo", &vec![call as u8; call as usize * 10]);
            }
            for call in 1..=50 {
                let payload = vec![call as u8; call as usize * 10];
                assert_eq!(peer.next().await, answer(round * 50 + call, 0, &payload));
            }
        }
        peer.ask(5000, "later", b"x");
        assert_eq!(peer.next().await, answer(5000, 4, b"x"));
    }
}

#[tokio::test]
async fn a_loopback_port_works_too() {
    let server = start_with_tcp();
    let Listen::Tcp(address) = server.0 else { panic!("{}", server.0) };
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    // A stranger: closed without a word.
    socket.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut told = Vec::new();
    _ = socket.read_to_end(&mut told).await;
    assert!(told.is_empty());
}

fn start_with_tcp() -> (Listen, tokio::task::JoinHandle<()>) {
    let listen = "tcp:127.0.0.1:0".parse().unwrap();
    assert!(echo().bind(&listen, Security::Clear).is_err(), "clear over TCP is an opt-in");
    let server = echo().bind(&listen, Security::ClearLoopback).unwrap();
    let place = server.place().unwrap();
    assert_ne!(place, listen, "a free port was taken");
    (place, tokio::spawn(server.serve(std::future::pending())))
}

#[tokio::test]
async fn handlers_run_side_by_side_and_answer_in_their_own_time() {
    let gate = Arc::new(Notify::new());
    let key = Arc::clone(&gate);
    let server = start(
        Server::builder()
            .route("wait", move |_| {
                let gate = Arc::clone(&gate);
                async move {
                    gate.notified().await;
                    Reply::ok("waited")
                }
            })
            .route("go", move |_| {
                key.notify_one();
                async { Reply::ok("gone") }
            }),
    );
    let mut peer = Peer::dial(&server.place, &Mode::Clear).await;
    peer.ask(1, "wait", b"");
    peer.ask(2, "go", b"");
    let mut answers = [peer.next().await, peer.next().await];
    answers.sort_by_key(|said| matches!(said, Some(Said::Response { call: 2, .. })));
    assert_eq!(answers, [answer(1, 0, b"waited"), answer(2, 0, b"gone")]);
}

#[tokio::test]
async fn over_the_bound_of_handlers_requests_are_refused_as_busy() {
    let gate = Arc::new(Semaphore::new(0));
    let handler = Arc::clone(&gate);
    let bounds = Bounds { handlers_max: 2, ..Bounds::default() };
    let server = start(Server::builder().bounds(bounds).route("wait", move |_| {
        let gate = Arc::clone(&handler);
        async move {
            gate.acquire().await.unwrap().forget();
            Reply::ok("")
        }
    }));
    let mut peer = Peer::dial(&server.place, &Mode::Clear).await;
    for call in 1..=3 {
        peer.ask(call, "wait", b"");
    }
    assert_eq!(peer.next().await, refusal(3, Refusal::Busy));
    gate.add_permits(2);
    let mut calls = Vec::new();
    for _ in 0..2 {
        let Some(Said::Response { call, refused: false, .. }) = peer.next().await else {
            panic!("no answer")
        };
        calls.push(call);
    }
    calls.sort_unstable();
    assert_eq!(calls, [1, 2]);
}

#[tokio::test]
async fn a_route_that_is_not_served_is_refused() {
    let server = start(echo());
    let mut peer = Peer::dial(&server.place, &Mode::Clear).await;
    peer.ask(1, "nowhere", b"");
    assert_eq!(peer.next().await, refusal(1, Refusal::NoRoute));
}

#[tokio::test]
async fn a_reply_the_gateway_cannot_take_becomes_a_status() {
    let server = start(Server::builder().route("long", |_| async { Reply::ok(vec![0; 9000]) }));
    let mut peer = Peer::dial(&server.place, &Mode::Clear).await;
    peer.ask(1, "long", b"");
    assert_eq!(peer.next().await, answer(1, STATUS_REPLY_TOO_LARGE, b""));
}

/// The gateway keeps its credit back: answers wait, in order, and none is lost.
#[tokio::test]
async fn answers_wait_for_credit() {
    let server = start(echo());
    let mut peer = Peer::dial(&server.place, &Mode::Clear).await;
    peer.generous = false;
    let payload = [3; 1000];
    let fit = PARAMS.window / 1064;
    for call in 1..=fit + 10 {
        peer.ask(call, "echo", &payload);
    }
    for call in 1..=fit {
        assert_eq!(peer.next().await, answer(call, 0, &payload));
    }
    peer.generous = true;
    for _ in 0..fit {
        peer.stream.consumed(payload.len());
    }
    for call in fit + 1..=fit + 10 {
        assert_eq!(peer.next().await, answer(call, 0, &payload));
    }
}

/// A gateway that takes no answers costs a bounded number of bytes: past it, handlers are not called any more.
#[tokio::test]
async fn over_the_bound_of_waiting_answers_requests_are_refused_as_busy() {
    const ASKED: u64 = 200;
    const LONG: usize = 60_000;
    let params = Params { pending_bytes_max: 128 * 1024, ..Params::default() };
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let server = start(Server::builder().params(params).route_now("long", move |_, _, answer| {
        counter.fetch_add(1, Ordering::Relaxed);
        answer.payload().resize(LONG, 1);
    }));
    let mut peer = Peer::dial_with(&server.place, Params::default()).await;
    peer.generous = false;
    (1..=ASKED).for_each(|call| peer.ask(call, "long", b""));
    let granted = Params::default().window as usize / LONG;
    let (mut answered, mut refused) = (0, 0);
    for call in 1..=ASKED {
        match peer.next().await {
            Some(Said::Response { call: answers, refused: false, .. }) if answers == call => answered += 1,
            said if said == refusal(call, Refusal::Busy) => refused += 1,
            said => panic!("{said:?}"),
        }
        if answered == granted && !peer.generous {
            peer.generous = true;
            (0..granted).for_each(|_| peer.stream.consumed(LONG));
        }
    }
    assert_eq!((answered, refused), (calls.load(Ordering::Relaxed), ASKED as usize - answered));
    assert!(answered <= granted + params.pending_bytes_max / LONG + 1, "{answered} answers");
}

/// Answers that found too much pending follow as soon as that is written, and not with the next thing that happens.
#[tokio::test]
async fn answers_wait_for_what_is_pending() {
    let params = Params { pending_bytes_max: 128 * 1024, ..Params::default() };
    let long = |answer: &mut Answer| answer.payload().resize(60_000, 1);
    let server = start(Server::builder().params(params).route_now("long", move |_, _, answer| long(answer)));
    let patient = Params { heartbeat: PARAMS.heartbeat, window: 4 << 20, ..Params::default() };
    let mut peer = Peer::dial_with(&server.place, patient).await;
    (1..=4).for_each(|call| peer.ask(call, "long", b""));
    for call in 1..=4 {
        let said = timeout(Duration::from_secs(2), peer.next()).await.expect("nothing is waited for");
        assert_eq!(said, answer(call, 0, &[1; 60_000]));
    }
}

/// A handler past its request's deadline, or one that panics, answers nothing, but the credit comes back.
#[tokio::test]
async fn who_never_answers_does_not_hold_credit() {
    let server = start(Server::builder().route("never", |_| std::future::pending::<Reply>()).route(
        "panic",
        |request| async move {
            assert!(request.payload.is_empty(), "as planned");
            Reply::ok("fine")
        },
    ));
    let mut peer = Peer::dial(&server.place, &Mode::Clear).await;
    let granted = peer.stream.credit_available();
    let payload = [0; 8000];
    let id = [1; 16];
    let mut call = 0;
    while call < 3 * granted / 8064 {
        call += 1;
        let route = if call % 2 == 0 { "never" } else { "panic" };
        let request = backend::protocol::wire::stream::StreamRequest {
            call,
            id,
            user: b"ann",
            device: b"d",
            route,
            payload: &payload,
            deadline_ms: 1,
            ..Default::default()
        };
        while peer.stream.request(&request).is_err() {
            peer.hear_credit().await;
        }
    }
    peer.ask(1000, "panic", b"");
    assert_eq!(peer.next().await, answer(1000, 0, b"fine"));
}

#[tokio::test]
async fn who_breaks_a_rule_is_told_and_closed() {
    let server = start(echo());
    let mut peer = Peer::dial(&server.place, &Mode::Clear).await;
    peer.socket.write_all(&[0, 1, 0]).await.unwrap();
    assert_eq!(peer.next().await, Some(Said::Close { code: CloseCode::Malformed.number() }));
    assert_eq!(peer.next().await, None);
}

/// Whatever a service does wrong about one request, token or event, the others have their stream.
#[tokio::test]
async fn a_panic_costs_its_own_request_token_or_event_and_is_counted() {
    let (heard, mut events) = mpsc::unbounded_channel();
    let builder = Server::builder()
        .route_now("now", |request, _, answer| {
            answer.payload().extend_from_slice(b"half an answer");
            assert_ne!(request.payload, b"bad", "now");
        })
        .route("before", |request| {
            assert_ne!(request.payload, "bad", "before there is a task");
            async { Reply::ok("before") }
        })
        .route("later", |request| async move {
            assert_ne!(request.payload, "bad", "in the task");
            Reply::ok("later")
        })
        .authenticate(|ask| {
            assert_ne!(ask.token, "bad", "judge");
            async { Verdict::Accepted(Login::of("ann")) }
        })
        .events(move |event, _| {
            if let Event::Report(report) = event {
                assert_ne!(report.number, 1, "ear");
                heard.send(report.number).unwrap();
            }
            assert!(!matches!(event, Event::Opened | Event::Closed(_)), "ear");
        });
    let server = builder.bind(&place(), Security::Clear).unwrap();
    let counts = server.watch_counts();
    let server = run(server);
    let mut peer = Peer::dial(&server.place, &Mode::Clear).await;
    let before = peer.stream.credit_available();
    for round in 0..200 {
        for (call, route) in ["now", "before", "later"].into_iter().enumerate() {
            let call = round * 10 + call as u64 + 1;
            peer.ask(call, route, b"bad");
        }
        peer.flush().await;
        peer.ask(round * 10 + 9, "now", b"good");
        assert_eq!(peer.next().await, answer(round * 10 + 9, 0, b"half an answer"));
    }
    peer.ask(5001, "later", b"good");
    assert_eq!(peer.next().await, answer(5001, 0, b"later"));
    peer.ask(5002, "before", b"good");
    assert_eq!(peer.next().await, answer(5002, 0, b"before"));
    assert!(peer.stream.credit_available() >= before / 2, "what they cost was given back");

    let (user, device, handshake) = (&b"ann"[..], &b"d"[..], &[1; 32][..]);
    for (call, token) in [(1, b"bad"), (2, b"yes")] {
        let ask = Authenticate { call, token, user, device, handshake, ..Default::default() };
        peer.stream.authenticate(&ask);
    }
    let accepted = Said::AuthResult { call: 2, accepted: true, user: user.to_vec(), code: 0 };
    assert_eq!(peer.next().await, Some(accepted), "the first has none");
    for number in [1, 2] {
        peer.stream.report(&Report { number, ..Report::default() });
    }
    peer.flush().await;
    assert_eq!(events.recv().await, Some(2));
    assert_eq!(counts().panics, 3 * 200 + 1 + 2);
    drop(peer);
    server.stop.send(()).unwrap();
    server.task.await.unwrap();
    assert_eq!(counts(), Counts { panics: 3 * 200 + 4, ..Counts::default() }, "the last event");
}

#[tokio::test]
async fn handlers_that_take_too_long_and_replies_that_are_too_long_are_counted() {
    let builder = Server::builder()
        .route("never", |_| std::future::pending::<Reply>())
        .route("long", |_| async { Reply::ok(vec![0; 9000]) });
    let server = builder.bind(&place(), Security::Clear).unwrap();
    let counts = server.watch_counts();
    let server = run(server);
    let mut peer = Peer::dial(&server.place, &Mode::Clear).await;
    peer.ask(1, "long", b"");
    assert_eq!(peer.next().await, answer(1, STATUS_REPLY_TOO_LARGE, b""));
    let never = StreamRequest { deadline_ms: 1, ..request(2, "never") };
    peer.stream.request(&never).unwrap();
    peer.flush().await;
    until(|| counts().overdue == 1).await;
    assert_eq!(counts(), Counts { overdue: 1, replies_too_large: 1, ..Counts::default() });
}

/// Padding, and kinds of this version that are not served, are none.
#[tokio::test]
async fn frames_of_unknown_kinds_are_counted_and_too_many_end_the_stream() {
    let server = echo().bind(&place(), Security::Clear).unwrap();
    let counts = server.watch_counts();
    let server = run(server);
    let mut peer = Peer::dial(&server.place, &Mode::Clear).await;
    // A clear record with one frame of kind 100 without a field in it, as protobuf writes that, and one with padding.
    let [unknown, padding] = [[0, 4, 3, 0xA2, 0x06, 0x00], [0, 4, 3, 0xB2, 0x01, 0x00]];
    peer.socket.write_all(&[unknown.repeat(3), padding.repeat(5)].concat()).await.unwrap();
    peer.ask(1, "echo", b"still there");
    assert_eq!(peer.next().await, answer(1, 0, b"still there"));
    assert_eq!(counts(), Counts { glitches: 3, ..Counts::default() });
    peer.socket.write_all(&unknown.repeat(1000)).await.unwrap();
    assert_eq!(peer.next().await, Some(Said::Close { code: CloseCode::Glitches.number() }));
    assert_eq!(counts(), Counts { glitches: 1001, ..Counts::default() });
}

fn request(call: u64, route: &str) -> StreamRequest<'_> {
    StreamRequest { call, link: 7, id: [1; 16], user: b"ann", device: b"d", route, ..Default::default() }
}

/// Waits for what others bring about.
async fn until(is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(20), waiting).await.expect("it comes about");
}

/// A process that stood still looks at what came meanwhile before it calls a gateway dead.
#[tokio::test]
async fn what_came_while_the_process_stood_still_is_read_first() {
    let server = start(echo());
    let params = Params { heartbeat: Duration::from_millis(500), ..PARAMS };
    let mut peers = Vec::new();
    for _ in 0..8 {
        peers.push(Peer::dial_with(&server.place, params).await);
    }
    for peer in &mut peers {
        peer.ask(1, "echo", b"");
        let mut batch = Vec::new();
        assert!(peer.stream.seal(&mut batch));
        assert_eq!(peer.socket.try_write(&batch).unwrap(), batch.len());
    }
    stand_still(params.heartbeat * 5 / 2);
    for peer in &mut peers {
        assert_eq!(peer.next().await, answer(1, 0, b""));
    }
}

/// Holds up everything on this thread, which is all of the runtime.
#[expect(clippy::disallowed_methods, reason = "the pause itself is what is looked at")]
fn stand_still(time: Duration) {
    std::thread::sleep(time);
}

#[tokio::test]
async fn a_gateway_that_is_not_known_hears_nothing() {
    let (security, _) = sealed(Suite::KkAesGcm);
    let Security::Kk { key, .. } = &security else { panic!("sealed") };
    let stranger = backend::protocol::noise::StaticKey::from_secret([66; 32]);
    let mode = Mode::Kk { suite: Suite::KkAesGcm, local: stranger, remote: key.public() };
    let server = start_with(echo(), security);
    let mut peer = Peer::dial_silently(&server.place, &mode, [1; 16]).await;
    assert_eq!(peer.next().await, None);
    let mut clear = Peer::dial_silently(&server.place, &Mode::Clear, [1; 16]).await;
    assert_eq!(clear.next().await, None);
}

#[tokio::test]
async fn names_and_numbers_are_checked_when_bound() {
    let now = |builder: Builder, name: &str| builder.route_now(name, |_, _, _| {});
    let refused = |builder: Builder| builder.bind(&place(), Security::Clear).is_err();
    assert!(refused(now(echo(), "")));
    assert!(refused(now(echo(), &"r".repeat(33))));
    assert!(refused(now(echo(), "echo")), "served twice");
    assert!(refused(echo().instance([0; 65])));
    let pushes = |pushes_max| echo().bounds(Bounds { pushes_max, ..Bounds::default() });
    assert!(refused(pushes(0)) && refused(pushes(Semaphore::MAX_PERMITS + 1)));
    assert!(!refused(pushes(Semaphore::MAX_PERMITS)));
    assert!(refused((0..65).fold(Server::builder(), |builder, route| now(builder, &format!("r{route}")))));
    assert!(!refused(echo()));
}
