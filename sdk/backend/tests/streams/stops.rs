//! How a server ends, and the reference service's process.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use backend::protocol::limits::LINGER_MAX;
use backend::protocol::stream::{Mode, Params};
use backend::protocol::{CloseCode, Refusal};
use backend::{Bounds, Listen, Reply, Security, Server};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::timeout;

use crate::peer::{Peer, Said, answer, place, refusal, start};

#[tokio::test]
async fn a_stopping_server_answers_what_it_has_and_refuses_the_rest() {
    let gate = Arc::new(Notify::new());
    let handler = Arc::clone(&gate);
    let server = start(
        Server::builder()
            .route("wait", move |_| {
                let gate = Arc::clone(&handler);
                async move {
                    gate.notified().await;
                    Reply::ok("done")
                }
            })
            .route_now("echo", |_, _, _| {}),
    );
    let mut peer = Peer::dial(&server.place, &Mode::Clear).await;
    let idle = Peer::dial(&server.place, &Mode::Clear).await;
    peer.ask(1, "wait", b"");
    peer.ask(2, "echo", b"");
    assert_eq!(peer.next().await, answer(2, 0, b""));
    server.stop.send(()).unwrap();
    // The idle stream is closed soon, which shows that the stop has arrived.
    let mut idle = idle;
    assert_eq!(idle.next().await, Some(Said::Close { code: CloseCode::Normal.number() }));
    assert!(idle.draining);
    drop(idle);
    peer.ask(3, "echo", b"");
    assert_eq!(peer.next().await, refusal(3, Refusal::Draining));
    assert!(peer.draining, "it was told before, and what crosses it is refused");
    gate.notify_one();
    assert_eq!(peer.next().await, answer(1, 0, b"done"));
    assert_eq!(peer.next().await, Some(Said::Close { code: CloseCode::Normal.number() }));
    drop(peer);
    server.task.await.unwrap();
    let Listen::Unix(path) = &server.place else { panic!("a Unix socket") };
    assert!(!path.exists(), "the socket's file is gone");
}

/// Nobody has to guess what became of a request that was in the backend's socket when it was told to stop, or that
/// was sent a little later.
#[tokio::test]
async fn requests_that_meet_a_stop_are_answered_or_refused() {
    for _ in 0..5 {
        let server = start(Server::builder().route_now("echo", |_, _, _| {}));
        let mut peer = Peer::dial(&server.place, &Mode::Clear).await;
        (1..=5).for_each(|call| peer.ask(call, "echo", b""));
        peer.flush().await;
        let task = server.stop().await;
        (6..=10).for_each(|call| peer.ask(call, "echo", b""));
        for call in 1..=10 {
            let said = peer.next().await;
            assert!(said == answer(call, 0, b"") || said == refusal(call, Refusal::Draining), "{said:?}");
        }
        assert_eq!(peer.next().await, Some(Said::Close { code: CloseCode::Normal.number() }));
        drop(peer);
        task.await.unwrap();
    }
}

/// The rest of the requests goes to another backend only once this one is gone.
#[tokio::test]
async fn a_gateway_that_never_stops_asking_does_not_hold_up_the_stop() {
    let server = start(Server::builder().route_now("echo", |_, _, _| {}));
    let mut peer = Peer::dial(&server.place, &Mode::Clear).await;
    let task = server.stop().await;
    let asking = async {
        let mut call = 0;
        while peer.stream.is_ready() {
            call += 1;
            peer.ask(call, "echo", b"");
            let said = peer.next().await;
            if said != refusal(call, Refusal::Draining) {
                return said;
            }
        }
        peer.next().await
    };
    let closed = timeout(Bounds::default().drain_deadline / 2, asking).await.expect("it ends by itself");
    assert_eq!(closed, Some(Said::Close { code: CloseCode::Normal.number() }));
    drop(peer);
    task.await.unwrap();
}

/// Answers that wait in the backend's own buffers are under way as much as those still being worked on.
#[tokio::test]
async fn a_stopping_server_waits_until_its_answers_are_written() {
    let server =
        start(Server::builder().route_now("long", |_, _, answer| answer.payload().resize(60_000, 1)));
    let mut peer = Peer::dial_with(&server.place, Params::default()).await;
    (1..=16).for_each(|call| peer.ask(call, "long", b""));
    // They came together, so the first answer shows that there are all of them.
    assert_eq!(peer.next().await, answer(1, 0, &[1; 60_000]));
    let task = server.stop().await;
    // The gateway takes nothing for longer than anything is waited for once a stream is closed: that is what is looked at.
    tokio::time::sleep(LINGER_MAX * 3 / 2).await;
    for call in 2..=16 {
        assert_eq!(peer.next().await, answer(call, 0, &[1; 60_000]));
    }
    assert_eq!(peer.next().await, Some(Said::Close { code: CloseCode::Normal.number() }));
    drop(peer);
    task.await.unwrap();
}

#[tokio::test]
async fn a_handler_goes_with_the_stream_it_answers_on() {
    let (began, mut begun) = mpsc::channel::<mpsc::Sender<()>>(1);
    let server = start(Server::builder().route("wait", move |_| {
        let began = began.clone();
        async move {
            let (dropped, mut never) = mpsc::channel(1);
            began.send(dropped).await.unwrap();
            never.recv().await;
            Reply::ok("")
        }
    }));
    let mut peer = Peer::dial(&server.place, &Mode::Clear).await;
    peer.ask(1, "wait", b"");
    peer.flush().await;
    let running = begun.recv().await.unwrap();
    drop(peer);
    running.closed().await;
}

#[tokio::test]
async fn a_socket_nobody_answers_on_is_replaced_and_a_live_one_is_not() {
    let place = place();
    let Listen::Unix(path) = &place else { panic!("a Unix socket") };
    drop(std::os::unix::net::UnixListener::bind(path).unwrap());
    assert!(path.exists());
    let server = Server::builder().bind(&place, Security::Clear).unwrap();
    let second = Server::builder().bind(&place, Security::Clear);
    assert_eq!(second.unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    drop(server);
    assert!(!path.exists());
}

/// A new process may take the place while the old one still serves, as at an upgrade.
#[tokio::test]
async fn a_server_that_ends_leaves_what_has_taken_its_place() {
    let removed = |path: &Path| {
        std::fs::remove_file(path).unwrap();
        UnixListener::bind(path).unwrap()
    };
    let renamed_over = |path: &Path| {
        let beside = path.with_added_extension("new");
        let successor = UnixListener::bind(&beside).unwrap();
        std::fs::rename(beside, path).unwrap();
        successor
    };
    for take_over in [&removed as &dyn Fn(&Path) -> UnixListener, &renamed_over] {
        let server = start(Server::builder());
        let Listen::Unix(path) = server.place else { panic!("a Unix socket") };
        let successor = take_over(&path);
        server.stop.send(()).unwrap();
        server.task.await.unwrap();
        UnixStream::connect(&path).expect("the successor's socket is there");
        drop(successor);
        std::fs::remove_file(&path).unwrap();
    }
    let Listen::Unix(path) = place() else { panic!("a Unix socket") };
    let server = Server::builder().bind(&Listen::Unix(path.clone()), Security::Clear).unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "somebody's own").unwrap();
    drop(server);
    assert_eq!(std::fs::read(&path).unwrap(), b"somebody's own");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_ready_file_that_cannot_be_written_leaves_nothing_behind() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("ready-{}", std::process::id()));
    // Nothing can be renamed over a folder that is not empty.
    std::fs::create_dir_all(folder.join("ready.json/taken")).unwrap();
    let tried = Command::new(env!("CARGO_BIN_EXE_reference-service"))
        .args(["--listen", &place().to_string(), "--ready-file"])
        .arg(folder.join("ready.json"))
        .output()
        .unwrap();
    assert!(!tried.status.success());
    let left = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().file_name());
    assert_eq!(Vec::from_iter(left), ["ready.json"]);
    std::fs::remove_dir_all(folder).unwrap();
}

/// A new process may start in any moment of the old one's end: its socket's file is never the one that goes. Tried
/// often, as the moment is short.
#[tokio::test]
async fn a_successor_keeps_its_socket() {
    for _ in 0..500 {
        let place = place();
        let Listen::Unix(path) = &place else { panic!("a Unix socket") };
        let first = Server::builder().bind(&place, Security::Clear).unwrap();
        let (trying, tried) = oneshot::channel();
        let here = place.clone();
        let second = tokio::task::spawn_blocking(move || {
            trying.send(()).unwrap();
            loop {
                if let Ok(server) = Server::builder().bind(&here, Security::Clear) {
                    return server;
                }
            }
        });
        tried.await.unwrap();
        drop(first);
        let second = second.await.unwrap();
        assert!(path.exists());
        drop(second);
    }
}

#[tokio::test]
async fn the_reference_service_says_when_it_is_ready_and_ends_when_asked() {
    let place = place();
    let ready_file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("reference-ready.json");
    let mut child = Command::new(env!("CARGO_BIN_EXE_reference-service"))
        .args(["--listen", &place.to_string(), "--ready-file"])
        .arg(&ready_file)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, format!("listening on {place}\n"));
    let mut peer = Peer::dial(&place, &Mode::Clear).await;
    assert_eq!(peer.stream.routes(), ["echo", "chat", "push", "outcomes"]);
    peer.ask(1, "echo", b"over there");
    assert_eq!(peer.next().await, answer(1, 0, b"over there"));
    let ready: serde_json::Value = serde_json::from_slice(&std::fs::read(&ready_file).unwrap()).unwrap();
    assert_eq!(ready["pid"], child.id());
    assert_eq!(ready["listen"], place.to_string());
    let asked = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(asked.success());
    assert_eq!(peer.next().await, Some(Said::Close { code: CloseCode::Normal.number() }));
    drop(peer);
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert!(child.wait().unwrap().success(), "{rest}");
}

#[test]
fn the_reference_service_refuses_clear_streams_over_tcp() {
    let tried = Command::new(env!("CARGO_BIN_EXE_reference-service"))
        .args(["--listen", "tcp:127.0.0.1:0"])
        .output()
        .unwrap();
    assert!(!tried.status.success());
    assert!(String::from_utf8_lossy(&tried.stderr).contains("clear streams need a Unix socket"));
}
