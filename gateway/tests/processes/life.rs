//! The life of the process: how it starts, what `dev` puts together, how it ends, and its exit codes.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use backend::reference;
use protocol::CloseCode;
use protocol::wire::frame::Outcome;

use crate::client::{Client, Heard};
use crate::stage::{Folder, Process, Stage, Target, gateway, path, wait_until};

#[test]
fn chat_goes_from_one_user_to_another_on_whatever_worker_they_are() {
    let Some(folder) = Folder::new() else { return };
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
    let Some(folder) = Folder::new() else { return };
    let file = folder.file("ready.json");
    let mut gateway = Process::gateway(&["dev", "--listen", "127.0.0.1:0", "--ready-file", path(&file)]);
    let target = Target::read(&file);
    wait_until("there is a stream", || target.get("/readyz").starts_with("HTTP/1.1 200"));
    let mut client = Client::login(&target, "alice");
    gateway.signal("TERM");
    assert_eq!(client.hear(2), [Heard::Close(CloseCode::GoingAway.number()), Heard::End]);
    assert!(gateway.ended().success());
    assert!(!file.exists(), "whoever waits for the file must not find an old one");
}

#[test]
fn a_gateway_that_keeps_its_keys_is_known_again_after_a_start_and_takes_its_tickets() {
    let Some(folder) = Folder::new() else { return };
    let (file, state) = (folder.file("ready.json"), folder.file("state"));
    let arguments = ["dev", "--listen", "127.0.0.1:0", "--ready-file", path(&file), "--state", path(&state)];
    let mut gateway = Process::gateway(&arguments);
    let first = Target::read(&file);
    let ticket = Client::login(&first, "alice").tickets.pop().expect("a welcome brings tickets");
    gateway.signal("TERM");
    assert!(gateway.ended().success());
    for name in ["server.key", "tickets.key"] {
        let mode = std::fs::metadata(state.join(name)).expect("it is kept").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name} is its owner's");
    }

    let mut gateway = Process::gateway(&arguments);
    let second = Target::read(&file);
    assert_eq!((second.key, &second.token), (first.key, &first.token));
    Client::resume(&second, "alice", &ticket).expect("a good ticket").wait_until_answered();
    Client::login(&second, "bob").wait_until_answered();
    gateway.signal("TERM");
    assert!(gateway.ended().success());

    std::fs::write(state.join("tickets.key"), "half a key\n").expect("its owner may");
    let said = self::gateway(&arguments).stderr;
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("tickets.key: does not hold 64 hex digits; move it away"), "{said}");
    assert!(!said.contains("half a key"), "{said}");
}

#[test]
fn every_client_hears_of_the_end_however_few_may_linger() {
    let Some(mut stage) = Stage::set("limits.lingering = 1\n") else { return };
    let mut clients = ["alice", "bob", "carol", "dave", "eve"].map(|user| Client::login(&stage.target, user));
    stage.gateway.signal("TERM");
    for client in &mut clients {
        assert_eq!(client.hear(2), [Heard::Close(CloseCode::GoingAway.number()), Heard::End]);
    }
    assert!(stage.gateway.ended().success());
}

#[test]
fn a_second_gateway_on_the_same_port_is_told() {
    let Some(folder) = Folder::new() else { return };
    let file = folder.file("ready.json");
    let _first = Process::gateway(&["dev", "--listen", "127.0.0.1:0", "--ready-file", path(&file)]);
    let address = Target::read(&file).address.to_string();
    let second = gateway(&["dev", "--listen", &address, "--ready-file", path(&file)]);
    let text = String::from_utf8_lossy(&second.stderr);
    assert!(
        !second.status.success() && text.contains(&address) && text.contains("another gateway"),
        "{text}"
    );
    assert_eq!(Target::read(&file).address.to_string(), address, "the first one keeps its ready file");
}

#[test]
fn a_gateway_that_is_to_outlive_its_terminal_does() {
    let Some(folder) = Folder::new() else { return };
    folder.make_key("server.key");
    let (config, file) = (folder.write_config("auth.mode = 'development'\n"), folder.file("ready.json"));
    let mut gateway =
        Process::immune_to_hangup(&["run", "--config", path(&config), "--ready-file", path(&file)]);
    Target::read(&file);
    gateway.signal("HUP");
    let ignored = gateway.status("SigIgn:").expect("it runs");
    assert_eq!(u64::from_str_radix(&ignored, 16).expect("a mask") & 1, 1, "nothing handles it");
    gateway.signal("TERM");
    assert!(gateway.ended().success());
}

#[test]
fn every_failure_to_start_has_its_exit_code() {
    let Some(folder) = Folder::new() else { return };
    let file = folder.file("gateway.toml");
    std::fs::write(&file, "[[listener]]\nadress = \"127.0.0.1:0\"\n").expect("a fresh folder");
    let code = |arguments: &[&str]| {
        let output = gateway(arguments);
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

/// As a shell starts it behind a prompt: there is no input it could read.
#[test]
fn a_reference_service_without_input_serves_until_it_is_asked_to_stop() {
    let Some(folder) = Folder::new() else { return };
    let socket = folder.file("service.sock");
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
    command.args(["reference-service", path(&socket)]).stdin(Stdio::null());
    for signal in ["TERM", "INT"] {
        let mut service = Process::start(&mut command);
        wait_until("it listens", || UnixStream::connect(&socket).is_ok());
        service.signal(signal);
        assert!(service.ended().success(), "{signal}");
        assert!(!socket.exists(), "it takes its socket with it");
    }
}
