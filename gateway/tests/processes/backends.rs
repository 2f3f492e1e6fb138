//! Backends die, stall and come back; clients are told what became of their requests.

use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;

use protocol::wire::frame::{Auth, Frame, Outcome};
use protocol::{CloseCode, Refusal};

use crate::client::{Client, Heard, with_requests_under_way};
use crate::stage::{Folder, Stage, wait_until};

/// Requests a link may have in flight by default.
const GRANT: usize = 32;

#[test]
fn a_killed_backend_resolves_every_request_at_once_and_traffic_resumes_when_it_is_back() {
    let Some(mut stage) = Stage::set("") else { return };
    let mut clients = with_requests_under_way(&stage, 8, GRANT);
    stage.service.signal("KILL");
    for client in &mut clients {
        let heard = client.hear(GRANT);
        assert_eq!(heard.len(), GRANT);
        assert!(heard.iter().all(|h| *h == Heard::Response(Outcome::Unknown, 0, Vec::new())), "{heard:?}");
    }
    clients[0].request("echo", b"nobody is there");
    let refused = Heard::Response(Outcome::Refused, Refusal::NoBackend.number(), Vec::new());
    assert_eq!(clients[0].hear(1), [refused]);
    let open = |stage: &Stage| stage.target.sum("gateway_endpoint_open", "endpoint=\"service\"");
    wait_until("each worker has dialled in vain", || {
        stage.target.get("/metrics").lines().filter(|line| has_failed(line)).count() == 2
    });
    assert_eq!((open(&stage), stage.target.metric("gateway_endpoint_streams_lost_total")), (0, 2));
    assert!(stage.target.get("/status").contains("\"last_reason\":\"Connection refused"));
    stage.replace_service();
    for client in &mut clients {
        client.wait_until_answered();
    }
    wait_until("both streams are open again", || open(&stage) == 2);
    assert_eq!(stage.target.metric("gateway_requests_in_flight"), 0);
}

#[test]
fn a_request_that_cannot_be_forwarded_is_refused_and_says_why() {
    let Some(stage) = Stage::set("") else { return };
    let mut client = Client::login(&stage.target, "alice");
    client.wait_until_answered();
    let refused = |reason: Refusal| Heard::Response(Outcome::Refused, reason.number(), Vec::new());
    client.request("no such route", b"");
    assert_eq!(client.hear(1), [refused(Refusal::NoRoute)]);
    stage.service.signal("STOP");
    for _ in 0..=GRANT {
        client.request("echo", b"one more than granted");
    }
    assert_eq!(client.hear(1), [refused(Refusal::InFlight)]);
    stage.service.signal("CONT");
    let answers = client.hear(GRANT);
    assert!(answers.iter().all(|heard| matches!(heard, Heard::Response(Outcome::Answered, 0, _))));
    assert_eq!(stage.target.metric("gateway_requests_in_flight"), 0);
}

#[test]
fn without_a_verdict_in_time_nobody_gets_in() {
    let Some(stage) = Stage::delegated("auth.deadline = '200ms'\n") else { return };
    wait_until("the stream is up", || stage.target.metric("gateway_streams") == 2);
    stage.service.signal("STOP");
    let mut client = Client::connect(&stage.target);
    let auth = Auth { token: b"t", user: b"u", device: b"d", ..Default::default() };
    client.send(&[Frame::Auth(auth)]);
    assert_eq!(client.hear(2), [Heard::Close(CloseCode::TryLater.number()), Heard::End]);
    assert_eq!(stage.target.metric("gateway_sessions"), 0);
}

/// Whether a line of the metrics tells of dials that failed.
fn has_failed(line: &str) -> bool {
    line.starts_with("gateway_endpoint_dials_failed_total{") && !line.ends_with(" 0")
}

#[test]
fn a_clear_stream_does_not_go_to_another_users_socket() {
    // SAFETY: geteuid takes no memory.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("NOT RUN: only root can be somebody else");
        return;
    }
    let Some(folder) = Folder::new() else { return };
    folder.make_key("server.key");
    let squatter = UnixListener::bind(folder.file("service.sock")).unwrap();
    listen_as(65_534, &squatter);
    let (_gateway, target) = folder.gateway("auth.mode = 'development'\n");
    wait_until("each worker has dialled in vain", || {
        target.get("/metrics").lines().filter(|line| has_failed(line)).count() == 2
    });
    assert!(target.get("/status").contains("\"last_reason\":\"another user listens on this Unix socket"));
    assert_eq!(target.sum("gateway_endpoint_open", "endpoint=\"service\""), 0);
    squatter.set_nonblocking(true).unwrap();
    let (mut dialled, _) = squatter.accept().unwrap();
    let mut heard = Vec::new();
    dialled.read_to_end(&mut heard).unwrap();
    assert_eq!(heard, b"", "it is left before a word is said");
}

/// Makes somebody else the one who listens. Users belong to threads here: the C library, which keeps all of them alike,
/// is not asked.
fn listen_as(user: u32, socket: &UnixListener) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // SAFETY: the system call takes no memory; it changes the user of this thread, which ends right after.
            let done = unsafe { libc::syscall(libc::SYS_setresuid, user, user, user) };
            assert_eq!(done, 0, "root may be anybody");
            // SAFETY: listen takes no memory.
            assert_eq!(unsafe { libc::listen(socket.as_raw_fd(), 16) }, 0);
        });
    });
}
