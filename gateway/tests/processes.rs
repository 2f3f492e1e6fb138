//! The whole binary: it starts, it serves, backends die and come back, strangers get nothing, and it ends cleanly.

mod support;

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;

use backend::reference;
use protocol::wire::frame::{Frame, Outcome, Ping};
use protocol::{CloseCode, Refusal};
use support::{Client, Folder, Heard, PATIENCE, Process, Target, wait_until};

/// Requests a link may have in flight by default.
const GRANT: usize = 32;

#[test]
fn a_killed_backend_resolves_every_request_at_once_and_traffic_resumes_when_it_is_back() {
    let Some(folder) = folder("kill") else { return };
    let socket = folder.file("service.sock");
    let service = Process::service(&socket);
    let (_gateway, target) = run(&folder);
    let mut clients: Vec<_> = (0..8).map(|index| Client::login(&target, &format!("user{index}"))).collect();
    for client in &mut clients {
        assert_eq!(answered(client), b"are you there");
    }
    service.signal("STOP");
    for client in &mut clients {
        for _ in 0..GRANT {
            client.request("echo", b"in flight");
        }
    }
    wait_until("all requests are in flight", || {
        target.metric("gateway_requests_in_flight") == (clients.len() * GRANT) as u64
    });
    service.signal("KILL");
    for client in &mut clients {
        let heard = client.hear(GRANT);
        assert_eq!(heard.len(), GRANT);
        assert!(heard.iter().all(|h| *h == Heard::Response(Outcome::Unknown, 0, Vec::new())), "{heard:?}");
    }
    clients[0].request("echo", b"nobody is there");
    let refused = Heard::Response(Outcome::Refused, Refusal::NoBackend.number(), Vec::new());
    assert_eq!(clients[0].hear(1), [refused]);
    drop(service);
    let _service = Process::service(&socket);
    for client in &mut clients {
        assert_eq!(answered(client), b"are you there");
    }
    assert_eq!(target.metric("gateway_requests_in_flight"), 0);
}

#[test]
fn strangers_get_silence_and_nothing_of_theirs_reaches_a_backend() {
    let Some(folder) = folder("strangers") else { return };
    let _service = Process::service(&folder.file("service.sock"));
    let (_gateway, target) = run(&folder);
    let mut random = [0; 512];
    getrandom::fill(&mut random).expect("the system is up");
    let inputs: [&[u8]; 6] = [
        &random,
        b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"SSH-2.0-OpenSSH_9.7\r\n",
        // Our magic, then a preamble with a tag of zeros and a message 1 of zeros.
        &[&b"\xac\xce\x55\x0a\x01\x01"[..], &[0; 26], &[0, 48], &[0; 48]].concat(),
        // The magic alone, and then the end.
        b"\xac\xce\x55\x0a",
    ];
    for input in inputs {
        let mut socket = TcpStream::connect(target.address).expect("the gateway listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("a TCP socket");
        socket.write_all(input).expect("connected");
        socket.shutdown(Shutdown::Write).expect("connected");
        let mut answer = Vec::new();
        let end = socket.read_to_end(&mut answer).map_err(|error| error.kind());
        assert!(matches!(end, Ok(0) | Err(std::io::ErrorKind::ConnectionReset)), "{end:?}");
        assert!(answer.is_empty(), "a stranger is answered with silence");
    }
    wait_until("every stranger's slot is free again", || target.metric("gateway_links") == 0);
    assert_eq!(target.metric("gateway_requests_total"), 0);
    assert_eq!(target.metric("gateway_handshakes_total"), 0);
}

#[test]
fn broken_frames_of_a_client_are_told_by_their_close_code() {
    let Some(folder) = folder("broken") else { return };
    let _service = Process::service(&folder.file("service.sock"));
    let (_gateway, target) = run(&folder);
    let before_auth = |frame: Frame<'_>| {
        let mut client = Client::connect(&target);
        client.send(&[frame]);
        client.hear(2)
    };
    let unexpected = [Heard::Close(CloseCode::Unexpected.number()), Heard::End];
    assert_eq!(before_auth(Frame::Ping(Ping::default())), unexpected);
    let auth =
        protocol::wire::frame::Auth { token: b"wrong", user: b"u", device: b"d", ..Default::default() };
    assert_eq!(before_auth(Frame::Auth(auth)), [Heard::Close(CloseCode::AuthFailed.number()), Heard::End]);
    let mut client = Client::login(&target, "alice");
    client.send(&[Frame::Pong { nonce: 1 }]);
    assert_eq!(client.hear(2), unexpected);
    let mut client = Client::login(&target, "alice");
    client.send(&[Frame::Join { room: &[] }]);
    assert_eq!(client.hear(2), [Heard::Close(CloseCode::Malformed.number()), Heard::End]);
    let mut client = Client::login(&target, "alice");
    client.request("echo", &[0; 64 * 1024]);
    assert_eq!(client.hear(2), [Heard::Close(CloseCode::TooLarge.number()), Heard::End]);
}

#[test]
fn a_second_login_of_a_device_replaces_the_first_one() {
    let Some(folder) = folder("replaced") else { return };
    let _service = Process::service(&folder.file("service.sock"));
    let (_gateway, target) = run(&folder);
    let mut first = Client::login(&target, "alice");
    let mut second = Client::login(&target, "alice");
    assert_eq!(first.hear(2), [Heard::Close(CloseCode::Replaced.number()), Heard::End]);
    assert_eq!(answered(&mut second), b"are you there");
    let mut other = Client::login(&target, "bob");
    assert_eq!(answered(&mut other), b"are you there");
    assert_eq!(target.metric("gateway_sessions"), 2);
}

#[test]
fn a_request_that_cannot_be_forwarded_is_refused_and_says_why() {
    let Some(folder) = folder("refused") else { return };
    let service = Process::service(&folder.file("service.sock"));
    let (_gateway, target) = run(&folder);
    let mut client = Client::login(&target, "alice");
    answered(&mut client);
    let refused = |reason: Refusal| Heard::Response(Outcome::Refused, reason.number(), Vec::new());
    client.request("no such route", b"");
    assert_eq!(client.hear(1), [refused(Refusal::NoRoute)]);
    service.signal("STOP");
    for _ in 0..=GRANT {
        client.request("echo", b"one more than granted");
    }
    assert_eq!(client.hear(1), [refused(Refusal::InFlight)]);
    service.signal("CONT");
    let answers = client.hear(GRANT);
    assert!(answers.iter().all(|heard| matches!(heard, Heard::Response(Outcome::Answered, 0, _))));
    assert_eq!(target.metric("gateway_requests_in_flight"), 0);
}

#[test]
fn without_a_verdict_in_time_nobody_gets_in() {
    let Some(folder) = folder("verdict") else { return };
    let service = Process::service(&folder.file("service.sock"));
    let auth = "[auth]\nmode = \"delegated\"\nroute = \"echo\"\ndeadline = \"200ms\"\n";
    let (_gateway, target) = run_with(&folder, auth);
    wait_until("the stream is up", || target.metric("gateway_streams") == 2);
    service.signal("STOP");
    let mut client = Client::connect(&target);
    let auth = protocol::wire::frame::Auth { token: b"t", user: b"u", device: b"d", ..Default::default() };
    client.send(&[Frame::Auth(auth)]);
    assert_eq!(client.hear(2), [Heard::Close(CloseCode::TryLater.number()), Heard::End]);
    assert_eq!(target.metric("gateway_sessions"), 0);
}

#[test]
fn whoever_stays_silent_is_told_that_the_time_is_over() {
    let Some(folder) = folder("silent") else { return };
    let _service = Process::service(&folder.file("service.sock"));
    let (_gateway, target) = run_in_development(
        &folder,
        "[limits]\nauth_deadline = \"1s\"\n[heartbeat]\nmin = \"1s\"\ndefault = \"1s\"\n",
    );
    let mut strange = Client::connect(&target);
    let mut quiet = Client::login(&target, "alice");
    let mut lively = Client::login(&target, "bob");
    wait_until("the quiet one is closed", || {
        // A live link is not the one that times out.
        answered(&mut lively);
        target.metric("gateway_sessions") == 1
    });
    assert_eq!(quiet.hear(2), [Heard::Close(CloseCode::HeartbeatTimeout.number()), Heard::End]);
    assert_eq!(strange.hear(2), [Heard::Close(CloseCode::AuthTimeout.number()), Heard::End]);
}

#[test]
fn chat_goes_from_one_user_to_another_on_whatever_worker_they_are() {
    let Some(folder) = folder("chat") else { return };
    let file = folder.file("ready.json");
    let arguments = ["dev", "--listen", "127.0.0.1:0", "--workers", "3", "--ready-file", path(&file)];
    let _gateway = Process::gateway(&arguments);
    let target = Target::read(&file);
    let names: Vec<_> = (0..12).map(|index| format!("user{index}")).collect();
    let mut clients: Vec<_> = names.iter().map(|name| Client::login(&target, name)).collect();
    for (index, name) in names.iter().enumerate() {
        let mut text = String::new();
        write!(text, "{name}\nhello {index}").expect("a string takes everything");
        // The service learns of links on the streams of their workers, so the last ones may be news to it.
        // Response and push come on streams of different workers: in any order.
        wait_until("the message is delivered", || {
            clients[0].request("chat", text.as_bytes());
            clients[0].hear_one(|heard| matches!(heard, Heard::Response(..)))
                == Heard::Response(Outcome::Answered, reference::DELIVERED, Vec::new())
        });
        let pushed = format!("{}\nhello {index}", names[0]).into_bytes();
        assert_eq!(clients[index].hear(1), [Heard::Push(pushed)]);
    }
}

#[test]
fn a_terminated_gateway_says_goodbye_and_ends_cleanly() {
    let Some(folder) = folder("goodbye") else { return };
    let file = folder.file("ready.json");
    let gateway = Process::gateway(&["dev", "--listen", "127.0.0.1:0", "--ready-file", path(&file)]);
    let target = Target::read(&file);
    assert!(target.get("/readyz").starts_with("HTTP/1.1 200"));
    let mut client = Client::login(&target, "alice");
    gateway.signal("TERM");
    assert_eq!(client.hear(2), [Heard::Close(CloseCode::GoingAway.number()), Heard::End]);
    assert!(gateway.ended().success());
    assert!(!file.exists(), "whoever waits for the file must not find an old one");
}

#[test]
fn every_client_hears_of_the_end_however_few_may_linger() {
    let Some(folder) = folder("farewells") else { return };
    let (gateway, target) = run_in_development(&folder, "[limits]\nlingering = 1\n");
    let mut clients = ["alice", "bob", "carol", "dave", "eve"].map(|user| Client::login(&target, user));
    gateway.signal("TERM");
    for client in &mut clients {
        assert_eq!(client.hear(2), [Heard::Close(CloseCode::GoingAway.number()), Heard::End]);
    }
    assert!(gateway.ended().success());
}

#[test]
fn every_failure_to_start_has_its_exit_code() {
    let Some(folder) = folder("codes") else { return };
    let file = folder.file("gateway.toml");
    std::fs::write(&file, "[listen]\nadress = \"127.0.0.1:0\"\n").expect("a fresh folder");
    let code = |arguments: &[&str]| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_gateway")).args(arguments).output().expect("it is built");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).expect("text"))
    };
    let (status, text) = code(&["check", path(&file)]);
    assert_eq!(status, Some(3));
    assert!(text.contains(":2:") && text.contains("address"), "line and suggestion: {text}");
    assert_eq!(code(&["fly"]).0, Some(2));
    assert_eq!(code(&["doctor"]).0, Some(0));
    assert!(code(&["--version"]).1.contains(env!("CARGO_PKG_VERSION")));
}

/// A gateway in development mode before a service that the test owns.
fn run(folder: &Folder) -> (Process, Target) {
    run_in_development(folder, "")
}

/// The same, with these tables in its config.
fn run_in_development(folder: &Folder, tables: &str) -> (Process, Target) {
    let (gateway, mut target) = run_with(folder, &format!("[auth]\nmode = \"development\"\n{tables}"));
    let config = folder.file("gateway.toml");
    let token =
        Command::new(env!("CARGO_BIN_EXE_gateway")).args(["token", "--config", path(&config)]).output();
    let token = token.expect("the binary is built");
    assert!(token.status.success(), "{}", String::from_utf8_lossy(&token.stderr));
    target.token = String::from_utf8(token.stdout).expect("text").trim().to_owned();
    (gateway, target)
}

/// A gateway before a service that the test owns, with these tables in its config, of which one is `[auth]`.
fn run_with(folder: &Folder, tables: &str) -> (Process, Target) {
    let (file, config, key) =
        (folder.file("ready.json"), folder.file("gateway.toml"), folder.file("server.key"));
    let made = Command::new(env!("CARGO_BIN_EXE_gateway")).args(["keygen", "--out", path(&key)]).output();
    let made = made.expect("the binary is built");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let socket = folder.file("service.sock");
    let text = format!(
        "[listen]\naddress = \"127.0.0.1:0\"\n[keys]\nserver = \"{}\"\n\
         [admin]\nhttp = \"127.0.0.1:0\"\n[upstream]\nredial_max = \"200ms\"\n\
         [[route]]\nname = \"echo\"\nendpoints = [\"service\"]\n\
         [[endpoint]]\nname = \"service\"\naddress = \"unix:{}\"\nclear = true\n{tables}",
        path(&key),
        path(&socket)
    );
    std::fs::write(&config, text).expect("a fresh folder");
    let arguments = ["run", "--config", path(&config), "--workers", "2", "--ready-file", path(&file)];
    let gateway = Process::gateway(&arguments);
    let target = Target::read(&file);
    (gateway, target)
}

/// Asks until the backend answers.
fn answered(client: &mut Client) -> Vec<u8> {
    let mut payload = Vec::new();
    wait_until("the backend answers", || {
        client.request("echo", b"are you there");
        match client.hear(1).pop() {
            Some(Heard::Response(Outcome::Answered, 0, echoed)) => {
                payload = echoed;
                true
            }
            _ => false,
        }
    });
    payload
}

/// A folder for the test, unless this machine cannot run it.
fn folder(name: &str) -> Option<Folder> {
    match driver::probe() {
        Ok(_) => Some(Folder::new(name)),
        Err(blocked) => {
            eprintln!("NOT RUN: {}", blocked.cause);
            None
        }
    }
}

fn path(path: &std::path::Path) -> &str {
    path.to_str().expect("a plain path")
}
