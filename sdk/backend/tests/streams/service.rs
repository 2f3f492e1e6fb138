//! Pushes, presence, authentication, and the reference service.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use backend::protocol::limits::CREDIT_OVERHEAD;
use backend::protocol::stream::{Mode, Params};
use backend::protocol::wire::stream::{
    Authenticate, LinkClosed, LinkDetached, LinkOpened, PushOutcome, Report, Resumed, Unacknowledged,
};
use backend::protocol::{CloseCode, Refusal, UnixMillis};
use backend::reference::{DELIVERED, MALFORMED, OFFLINE};
use backend::{
    Bounds, Event, Gateway, Login, Push, PushError, Reply, Server, Target, Verdict, Whom, reference,
};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::peer::{PARAMS, Peer, Said, answer, place, refusal, run, start};

#[tokio::test]
async fn a_handler_pushes_to_its_link_and_to_users() {
    let server = start(Server::builder().route("tell", |request| async move {
        let gateway = request.gateway.clone();
        gateway.push(Push::new(Target::Link(request.link), "to the link")).await.unwrap();
        let push = Push { id: "id".into(), number: 5, ..Push::new(Target::User("bob".into()), "to bob") };
        gateway.push(push).await.unwrap();
        gateway.kick(Target::User("eve".into()), CloseCode::Kicked, true).await.unwrap();
        Reply::ok("")
    }));
    let mut peer = Peer::dial(&server.place, &Mode::Clear).await;
    peer.ask(1, "tell", b"");
    let mut said = Vec::new();
    for _ in 0..4 {
        said.push(peer.next().await.unwrap());
    }
    let push = |link, user: &[u8], id: &[u8], number, payload: &[u8]| Said::Push {
        link,
        user: user.to_vec(),
        id: id.to_vec(),
        number,
        payload: payload.to_vec(),
    };
    said.retain(|said| !matches!(said, Said::Response { .. }));
    assert_eq!(
        said,
        [
            push(7, b"", b"", 0, b"to the link"),
            push(0, b"bob", b"id", 5, b"to bob"),
            Said::Kick { user: b"eve".to_vec(), code: CloseCode::Kicked.number() },
        ]
    );
}

/// Pushes are named within one start of a backend, so gateways have to tell its starts apart.
#[tokio::test]
async fn every_stream_of_a_start_is_told_the_same_boot_and_another_start_another_one() {
    let (server, other) = (start(Server::builder()), start(Server::builder()));
    let peers = [
        Peer::dial(&server.place, &Mode::Clear).await,
        Peer::dial(&server.place, &Mode::Clear).await,
        Peer::dial(&other.place, &Mode::Clear).await,
    ];
    let boots = peers.each_ref().map(|peer| *peer.stream.boot().expect("it is said"));
    assert!(boots[0] == boots[1] && boots[0] != boots[2], "{boots:02x?}");
}

#[tokio::test]
async fn pushes_wait_for_credit_and_handles_wait_with_them() {
    let server = Server::builder().bind(&place(), backend::Security::Clear).unwrap();
    let watch = server.watch();
    let server = run(server);
    let mut peer = Peer::dial(&server.place, &Mode::Clear).await;
    peer.generous = false;
    let gateway: Gateway = watch().pop().unwrap();
    assert_eq!((gateway.name(), gateway.worker(), gateway.boot_id()), ("test", 3, &[1; 16][..]));
    let pusher = gateway.clone();
    let pushing = tokio::spawn(async move {
        for number in 1..=10_000u64 {
            let push = Push { number, ..Push::new(Target::User("u".into()), vec![0; 500]) };
            pusher.push(push).await.unwrap();
        }
    });
    let mut numbers = Vec::new();
    while numbers.len() < 10_000 {
        match peer.next().await {
            Some(Said::Push { number, .. }) => numbers.push(number),
            other => panic!("{other:?}"),
        }
        // Credit comes back late and in lumps.
        if numbers.len() % 10 == 0 {
            (0..10).for_each(|_| peer.stream.consumed(500));
        }
    }
    pushing.await.unwrap();
    assert!(numbers.is_sorted());
    assert_eq!(gateway.try_push(Push::new(Target::Link(0), "")), Err(PushError::Invalid));
    assert_eq!(gateway.try_push(Push::new(Target::Link(1), vec![0; 8192])), Err(PushError::TooLarge));
    drop(peer);
    server.stop.send(()).unwrap();
    server.task.await.unwrap();
    assert!(watch().is_empty());
    assert_eq!(gateway.try_push(Push::new(Target::Link(1), "")), Err(PushError::Closed));
}

/// Who is banned goes now, however many pushes wait; those that need not wait keep their place before the kick.
#[tokio::test]
async fn a_kick_does_not_wait_for_credit() {
    let server = Server::builder().bind(&place(), backend::Security::Clear).unwrap();
    let watch = server.watch();
    let server = run(server);
    let mut peer = Peer::dial(&server.place, &Mode::Clear).await;
    peer.generous = false;
    let gateway = watch().pop().unwrap();
    let push = |number| Push { number, ..Push::new(Target::User("eve".into()), vec![0; 500]) };
    for number in 1..=40 {
        gateway.try_push(push(number)).unwrap();
    }
    gateway.kick(Target::User("eve".into()), CloseCode::Banned, true).await.unwrap();
    let fit = PARAMS.window / (500 + CREDIT_OVERHEAD);
    for want in 1..=fit {
        assert!(matches!(peer.next().await, Some(Said::Push { number, .. }) if number == want));
    }
    let kick = Said::Kick { user: b"eve".to_vec(), code: CloseCode::Banned.number() };
    let said = timeout(Duration::from_secs(5), peer.next()).await.expect("no credit is needed");
    assert_eq!(said, Some(kick));
    peer.generous = true;
    (0..fit).for_each(|_| peer.stream.consumed(500));
    for want in fit + 1..=40 {
        assert!(matches!(peer.next().await, Some(Said::Push { number, .. }) if number == want));
    }
    drop(server);
}

#[tokio::test]
async fn events_are_told_in_order() {
    let (ear, mut events) = mpsc::unbounded_channel();
    let server = start(Server::builder().events(move |event, gateway| {
        ear.send(format!("{} {event:?}", gateway.name())).unwrap();
    }));
    let mut peer = Peer::dial(&server.place, &Mode::Clear).await;
    let session = &[1; 16];
    peer.stream.link_opened(&LinkOpened {
        link: 7,
        user: b"ann",
        device: b"d",
        session,
        ..Default::default()
    });
    peer.stream.report(&Report {
        number: 9,
        outcome: PushOutcome::Undelivered,
        reason: 2,
        ..Default::default()
    });
    let (user, device) = (&b"ann"[..], &b"d"[..]);
    let unacknowledged = Unacknowledged::of(&[5, 300]);
    let detached = LinkDetached { link: 7, session, until_ms: 9, unacknowledged, ..Default::default() };
    peer.stream.link_detached(&LinkDetached { unacknowledged_count: 70, ..detached });
    let resumed = |old_link, link| Resumed { old_link, link, link_epoch: 3 };
    peer.stream.link_resumed(&[resumed(7, 8), resumed(5, 6)]);
    peer.stream.link_closed(&LinkClosed { link: 8, user, device, session, code: 1, ..Default::default() });
    peer.stream.close(CloseCode::GoingAway, Duration::ZERO, "");
    peer.flush().await;
    for want in [
        "Opened",
        "LinkOpened(LinkOpened { link: 7",
        "Report(Report { number: 9",
        "LinkDetached(LinkDetached { link: 7, session: [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1], until_ms: 9, \
         unacknowledged: [5, 300], link_epoch: 0, unacknowledged_count: 70",
        "LinkResumed(Resumed { old_link: 7, link: 8, link_epoch: 3 })",
        "LinkResumed(Resumed { old_link: 5, link: 6, link_epoch: 3 })",
        "LinkClosed(LinkClosed { link: 8",
        "Closed(ByGateway(2))",
    ] {
        let event = events.recv().await.unwrap();
        assert!(event.starts_with(&format!("test {want}")), "{event}");
    }
}

/// Whoever handed something over was told that it was taken: it must hear what became of it, or that nobody knows.
#[tokio::test]
async fn what_was_taken_and_never_sent_is_told_to_be_unknown_before_the_end() {
    let (ear, mut events) = mpsc::unbounded_channel();
    let server = start(Server::builder().events(move |event, gateway| {
        ear.send((format!("{event:?}"), gateway.clone())).unwrap();
    }));
    let mut peer = Peer::dial(&server.place, &Mode::Clear).await;
    peer.generous = false;
    let (opened, gateway) = events.recv().await.unwrap();
    assert_eq!(opened, "Opened");
    let fit = PARAMS.window / (500 + CREDIT_OVERHEAD);
    for number in 1..=fit + 5 {
        gateway.try_push(Push { number, ..Push::new(Target::Link(1), vec![0; 500]) }).unwrap();
    }
    gateway.try_push(Push::new(Target::Link(1), vec![0; 500])).unwrap();
    for want in 1..=fit {
        assert!(matches!(peer.next().await, Some(Said::Push { number, .. }) if number == want));
    }
    drop(peer);
    for number in fit + 1..=fit + 5 {
        let want = Event::Report(Report { number, outcome: PushOutcome::Unknown, ..Default::default() });
        assert_eq!(events.recv().await.unwrap().0, format!("{want:?}"));
    }
    assert_eq!(events.recv().await.unwrap().0, "Closed(Broken)");
    assert_eq!(gateway.try_push(Push::new(Target::Link(1), "")), Err(PushError::Closed));
}

/// A gateway that takes no byte more: what waits to be written is lost with it, and kicks wait, too.
#[tokio::test]
async fn pushes_and_kicks_that_were_being_written_are_told_to_be_unknown() {
    let (ear, mut events) = mpsc::unbounded_channel();
    let builder = Server::builder().params(Params { pending_bytes_max: 1 << 20, ..Params::default() });
    let server = start(builder.events(move |event, gateway| {
        ear.send((format!("{event:?}"), gateway.clone())).unwrap();
    }));
    let params = Params { window: 64 << 20, ..Params::default() };
    let peer = Peer::dial_with(&server.place, params).await;
    let (_, gateway) = events.recv().await.unwrap();
    let push = |number| Push { number, ..Push::new(Target::Link(1), vec![0; 60_000]) };
    // More than all buffers hold, so some are in the batch, some in the machine and some in the queue.
    let mut taken = 0;
    while taken < 200 {
        gateway.push(push(taken + 1)).await.unwrap();
        taken += 1;
    }
    let target = Target::User("eve".into());
    gateway.kick(target.clone(), CloseCode::Banned, true).await.unwrap();
    let whom = Whom::User("eve".into());
    gateway.ban(whom.clone(), None, "spam").await.unwrap();
    assert_eq!(gateway.throttle(whom.clone(), 101, None).await, Err(PushError::Invalid));
    drop(peer);
    let (mut unknown, mut kicks, mut bans) = (Vec::new(), 0, 0);
    loop {
        let (event, _) = events.recv().await.unwrap();
        let number = event.strip_prefix("Report(Report { number: ");
        match number.and_then(|rest| rest.split_once(", outcome: Unknown, reason: 0, report: 0,")) {
            Some((number, _)) => unknown.push(number.parse::<u64>().unwrap()),
            None if event == format!("KickUnknown({target:?})") => kicks += 1,
            None if event == format!("SanctionUnknown({whom:?})") => bans += 1,
            None => {
                assert_eq!(event, "Closed(Broken)");
                break;
            }
        }
    }
    let first = unknown.first().copied().unwrap();
    assert_eq!(unknown, Vec::from_iter(first..=taken), "all from the first one on, in order");
    assert_eq!((kicks, bans), (1, 1));
    // The kernel's buffer of a Unix socket holds a few hundred kilobytes.
    assert!(first < 50, "what was in the batch and in the machine counts: {first}");
}

/// Pushers that wait for a place have either been told that their stream is over, or hear what became of their push.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_that_was_taken_vanishes_when_a_stream_ends() {
    let (ear, mut events) = mpsc::unbounded_channel();
    let bounds = Bounds { pushes_max: 3, ..Bounds::default() };
    let server = start(Server::builder().bounds(bounds).events(move |event, gateway| {
        let unknown = match event {
            Event::Report(Report { number, outcome: PushOutcome::Unknown, .. }) => Some(number),
            _ => None,
        };
        ear.send((unknown, matches!(event, Event::Closed(_)), gateway.clone())).unwrap();
    }));
    for _ in 0..50 {
        let mut peer = Peer::dial(&server.place, &Mode::Clear).await;
        peer.generous = false;
        let (_, _, gateway) = events.recv().await.unwrap();
        let pushing = Vec::from_iter((0..8).map(|pusher| {
            let gateway = gateway.clone();
            tokio::spawn(async move {
                let mut taken = Vec::new();
                for number in (1..).map(|count| count * 8 + pusher) {
                    let push = Push { number, ..Push::new(Target::Link(1), vec![0; 500]) };
                    if gateway.push(push).await.is_err() {
                        break;
                    }
                    taken.push(number);
                }
                taken
            })
        }));
        let mut settled = Vec::new();
        let fit = PARAMS.window / (500 + CREDIT_OVERHEAD);
        while settled.len() < fit as usize {
            let Some(Said::Push { number, .. }) = peer.next().await else { panic!("no push") };
            settled.push(number);
        }
        drop(peer);
        while let (unknown, false, _) = events.recv().await.unwrap() {
            settled.extend(unknown);
        }
        let mut taken = Vec::new();
        for pusher in pushing {
            taken.extend(pusher.await.unwrap());
        }
        taken.sort_unstable();
        settled.sort_unstable();
        assert_eq!(settled, taken);
    }
}

#[tokio::test]
async fn tokens_are_judged_and_without_a_judge_nobody_comes_in() {
    let server = start(Server::builder().authenticate(|ask| async move {
        if ask.token == "good" {
            Verdict::Accepted(Login { expires: Some(UnixMillis(5)), ..Login::of(ask.user) })
        } else {
            Verdict::refused(CloseCode::AuthFailed)
        }
    }));
    let mut peer = Peer::dial(&server.place, &Mode::Clear).await;
    let (user, device, handshake) = (&b"ann"[..], &b"d"[..], &[1; 32][..]);
    let ask = |call, token| Authenticate { call, token, user, device, handshake, ..Default::default() };
    let verdict =
        |call, accepted, user: &[u8], code| Said::AuthResult { call, accepted, user: user.to_vec(), code };
    peer.stream.authenticate(&ask(1, b"good"));
    assert_eq!(peer.next().await, Some(verdict(1, true, b"ann", 0)));
    peer.stream.authenticate(&ask(2, b"bad"));
    assert_eq!(peer.next().await, Some(verdict(2, false, b"", CloseCode::AuthFailed.number())));
    let without = start(Server::builder());
    let mut peer = Peer::dial(&without.place, &Mode::Clear).await;
    peer.stream.authenticate(&ask(3, b"good"));
    assert_eq!(peer.next().await, Some(verdict(3, false, b"", CloseCode::TryLater.number())));
}

#[tokio::test]
async fn no_more_tokens_are_judged_at_once_than_there_may_be() {
    let bounds = Bounds { judges_max: 2, ..Bounds::default() };
    let server = start(Server::builder().bounds(bounds).authenticate(|ask| async move {
        if ask.token == "slow" {
            std::future::pending().await
        } else {
            Verdict::Accepted(Login::of(ask.user))
        }
    }));
    let mut peer = Peer::dial(&server.place, &Mode::Clear).await;
    let (user, device, handshake) = (&b"ann"[..], &b"d"[..], &[1; 32][..]);
    let ask = |call, token| Authenticate { call, token, user, device, handshake, ..Default::default() };
    for call in [1, 2] {
        peer.stream.authenticate(&ask(call, b"slow"));
    }
    peer.stream.authenticate(&ask(3, b"good"));
    let code = CloseCode::TryLater.number();
    let later = Said::AuthResult { call: 3, accepted: false, user: Vec::new(), code };
    assert_eq!(peer.next().await, Some(later));
}

#[tokio::test]
async fn two_people_chat_through_the_reference_service() {
    let server = start(reference::service());
    let mut peer = Peer::dial(&server.place, &Mode::Clear).await;
    let (device, session) = (&b"d"[..], &[1; 16][..]);
    let link = |link, user| LinkOpened { link, user, device, session, ..Default::default() };
    let gone = |link| LinkClosed { link, user: b"bob", device, session, ..Default::default() };
    peer.ask(1, "chat", b"bob\nhello?");
    assert_eq!(peer.next().await, answer(1, OFFLINE, b""));
    // Two links of bob, but one push reaches both.
    peer.stream.link_opened(&link(8, b"bob"));
    peer.stream.link_opened(&link(9, b"bob"));
    peer.ask(2, "chat", b"bob\nhello\nbob");
    assert_eq!(peer.next().await, answer(2, DELIVERED, b""));
    let payload = b"ann\nhello\nbob".to_vec();
    let push = Said::Push { link: 0, user: b"bob".to_vec(), id: vec![2; 16], number: 0, payload };
    assert_eq!(peer.next().await, Some(push));
    peer.stream.link_closed(&gone(8));
    peer.ask(3, "chat", b"bob\nstill there?");
    assert_eq!(peer.next().await, answer(3, DELIVERED, b""));
    assert!(matches!(peer.next().await, Some(Said::Push { .. })));
    peer.stream.link_closed(&gone(9));
    peer.ask(4, "chat", b"bob\ngone?");
    assert_eq!(peer.next().await, answer(4, OFFLINE, b""));
    peer.ask(5, "chat", b"no line feed");
    assert_eq!(peer.next().await, answer(5, MALFORMED, b""));
}

#[tokio::test]
async fn people_of_two_gateways_chat_and_are_forgotten_with_their_stream() {
    let server = start(reference::service());
    let mut here = Peer::dial(&server.place, &Mode::Clear).await;
    let mut there = Peer::dial_silently(&server.place, &Mode::Clear, [2; 16]).await;
    assert_eq!(there.next().await, Some(Said::Ready));
    there.stream.link_opened(&opened(8));
    there.ask_as("bob", 1, "echo", b"in order");
    assert_eq!(there.next().await, answer(1, 0, b"in order"));
    here.ask(1, "chat", b"bob\nhi");
    assert_eq!(here.next().await, answer(1, DELIVERED, b""));
    assert!(matches!(there.next().await, Some(Said::Push { .. })));
    there.stream.close(CloseCode::Normal, Duration::ZERO, "");
    there.flush().await;
    assert_eq!(there.next().await, None);
    here.ask(2, "chat", b"bob\nhi");
    assert_eq!(here.next().await, answer(2, OFFLINE, b""));
}

/// A message that one device has must not be sent again because another device's gateway takes none at the moment.
#[tokio::test]
async fn a_message_counts_as_delivered_when_one_of_two_gateways_takes_it() {
    let bounds = Bounds { pushes_max: 1, ..Bounds::default() };
    let server = start(reference::service().bounds(bounds));
    let bob = opened;
    let mut here = Peer::dial(&server.place, &Mode::Clear).await;
    here.stream.link_opened(&bob(7));
    here.ask(1, "echo", b"in order");
    assert_eq!(here.next().await, answer(1, 0, b"in order"));
    let mut there = Peer::dial_silently(&server.place, &Mode::Clear, [2; 16]).await;
    assert_eq!(there.next().await, Some(Said::Ready));
    there.generous = false;
    there.stream.link_opened(&bob(8));
    there.ask(1, "echo", b"in order");
    assert_eq!(there.next().await, answer(1, 0, b"in order"));
    // Far more than the second gateway has credit and the server has room for.
    let long = format!("bob\n{:>7000}", "hi");
    for call in 2..=12 {
        here.ask(call, "chat", long.as_bytes());
        assert_eq!(here.next().await, answer(call, DELIVERED, b""));
        assert!(matches!(here.next().await, Some(Said::Push { .. })));
    }
    let (user, device, session) = (&b"bob"[..], &b"d"[..], &[1; 16][..]);
    here.stream.link_closed(&LinkClosed { link: 7, user, device, session, ..Default::default() });
    here.ask(13, "chat", long.as_bytes());
    assert_eq!(here.next().await, refusal(13, Refusal::Busy));
}

/// What a chat shows as a name ends at the colon, and what it is sent to is typed before one.
#[tokio::test]
async fn names_a_chat_cannot_show_are_malformed() {
    let server = start(reference::service());
    let mut peer = Peer::dial(&server.place, &Mode::Clear).await;
    let texts = ["b:b\nhi", "b b\nhi", "b\tb\nhi", "b\u{a0}b\nhi", "b\u{7f}b\nhi", "bob\n"];
    for (call, text) in (1..).zip(texts) {
        peer.ask(call, "chat", text.as_bytes());
        assert_eq!(peer.next().await, answer(call, MALFORMED, b""), "{text:?}");
    }
    for (call, name) in (20..).zip(["ann: yes\nbob", "ann ", "ann\u{1b}"]) {
        peer.ask_as(name, call, "chat", b"bob\nhi");
        assert_eq!(peer.next().await, answer(call, MALFORMED, b""), "{name:?}");
    }
}

/// Whether a handle may be kept anywhere and a service shared by threads is part of the API.
#[test]
fn handles_may_go_anywhere() {
    fn anywhere<T: Send + Sync + 'static>() {}
    anywhere::<Gateway>();
    anywhere::<Server>();
    anywhere::<Arc<Mutex<Vec<Gateway>>>>();
}

/// Bob's link of this number.
fn opened(link: u64) -> LinkOpened<'static> {
    LinkOpened { link, user: b"bob", device: b"d", session: &[1; 16], ..Default::default() }
}

#[tokio::test]
async fn a_bad_field_about_one_link_is_refused_and_the_stream_lives() {
    let server = start(
        Server::builder()
            .route_now("echo", |_, _, _| {})
            .authenticate(|ask| async move { Verdict::Accepted(Login::of(ask.user)) }),
    );
    let mut peer = Peer::dial(&server.place, &Mode::Clear).await;
    peer.ask_as(&"x".repeat(65), 1, "echo", b"");
    let malformed = Refusal::Malformed.number();
    let refused = Said::Response { call: 1, status: malformed, refused: true, trace: 0, payload: Vec::new() };
    assert_eq!(peer.next().await, Some(refused));
    peer.stream.authenticate(&Authenticate { call: 2, user: b"ann", ..Default::default() });
    let code = CloseCode::AuthFailed.number();
    assert_eq!(
        peer.next().await,
        Some(Said::AuthResult { call: 2, accepted: false, user: Vec::new(), code })
    );
    peer.stream.link_opened(&LinkOpened { session: &[1; 15], ..opened(3) });
    peer.ask(4, "echo", b"");
    assert_eq!(peer.next().await, answer(4, 0, b""));
}
