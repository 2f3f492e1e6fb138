//! A core file of a gateway that holds payload: nothing of its memory is in it, unless that was asked for.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use protocol::hex;

use crate::canary::{Canaries, random};
use crate::client::Client;
use crate::stage::{Folder, Process, Target, path, wait_until};

const GATEWAY: &str = env!("CARGO_BIN_EXE_gateway");

/// The filter of a process, as the kernel shows it.
fn filter(process: &str) -> String {
    let shown = fs::read_to_string(format!("/proc/{process}/coredump_filter")).expect("it runs");
    shown.trim().to_owned()
}

const NOTHING: &str = "00000000";

#[test]
fn a_gateway_and_what_it_starts_withhold_their_memory_unless_it_is_asked_for() {
    let Some(folder) = Folder::new() else { return };
    let ready = folder.file("dev.json");
    let dev = Process::gateway(&["dev", "--listen", "127.0.0.1:0", "--ready-file", path(&ready)]);
    Target::read(&ready);
    let gateway = dev.id().to_string();
    let children = fs::read_to_string(format!("/proc/{gateway}/task/{gateway}/children")).expect("it runs");
    let service = children.split_whitespace().next().expect("the reference service");
    assert_eq!([filter(&gateway), filter(service)], [NOTHING, NOTHING]);
    drop(dev);

    folder.make_key("server.key");
    for (word, same) in [("registers", NOTHING.to_owned()), ("memory", filter("self"))] {
        let config = folder.write_config(&format!("auth.mode = 'development'\nlog.core_dumps = '{word}'\n"));
        let ready = folder.file("ready.json");
        let mut command = Command::new(GATEWAY);
        command.args(["run", "--config", path(&config), "--ready-file", path(&ready)]).stderr(Stdio::piped());
        let mut running = Process::start(&mut command);
        Target::read(&ready);
        assert_eq!(filter(&running.id().to_string()), same, "{word}");
        running.signal("TERM");
        assert!(running.ended().success());
        let said = running.said().whole();
        assert_eq!(said.contains("holds payload, tokens and private keys"), word == "memory", "{said}");
    }
    assert_ne!(filter("self"), NOTHING, "the tests run where memory is dumped, or nothing was shown");
}

#[test]
fn a_core_file_made_on_purpose_holds_neither_payload_nor_token_nor_key() {
    let Some(folder) = Folder::new() else { return };
    if let Err(reason) = can_dump() {
        eprintln!("NOT RUN: {reason}");
        return;
    }
    let payload = random::<PAYLOAD_LEN>();
    let mut canaries = Canaries::default();
    folder.make_key("server.key");
    let key = fs::read_to_string(folder.file("server.key")).expect("it was just made");
    let key: [u8; 32] = key.lines().find_map(hex::decode_array).expect("a line of it");
    canaries.add("the server's key", &key);
    let token = {
        folder.write_config("auth.mode = 'development'\n");
        folder.token()
    };
    canaries.add("the token", token.as_bytes());

    let withheld = core_file(&folder, "registers", &token, &payload);
    assert!(withheld.starts_with(b"\x7fELF"), "{} bytes", withheld.len());
    assert_eq!(canaries.found_in(&withheld), None);
    let pieces: BTreeSet<_> = payload.windows(REGISTERS_LEN).collect();
    assert!(!withheld.windows(REGISTERS_LEN).any(|bytes| pieces.contains(bytes)), "payload is in it");
    assert!(withheld.len() < 1 << 20, "{} bytes are more than notes", withheld.len());
    // Otherwise the search above would say nothing.
    let allowed = core_file(&folder, "memory", &token, &payload);
    assert!(allowed.windows(PAYLOAD_LEN).any(|bytes| bytes == payload), "none in {} bytes", allowed.len());
}

const PAYLOAD_LEN: usize = 4096;
/// Registers are dumped, and whatever was copied last is in those of a worker: 16 to 64 bytes in one piece.
const REGISTERS_LEN: usize = 128;
/// As many requests as a link may have in flight, less those of the greeting.
const REQUESTS: u64 = 24;

/// Makes a gateway dump that has requests with this payload under way; what was dumped.
fn core_file(folder: &Folder, core_dumps: &str, token: &str, payload: &[u8]) -> Vec<u8> {
    let (cores, ready) = (folder.file(core_dumps), folder.file(&format!("{core_dumps}.json")));
    fs::create_dir(&cores).expect("a folder of the test");
    let service = Process::service(&folder.file("service.sock"));
    let config =
        folder.write_config(&format!("auth.mode = 'development'\nlog.core_dumps = '{core_dumps}'\n"));
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "ulimit -c unlimited; exec \"$0\" \"$@\"",
        GATEWAY,
        "run",
        "--config",
        path(&config),
    ]);
    command.args(["--workers", "2", "--ready-file", path(&ready)]).current_dir(&cores).stdin(Stdio::null());
    let mut gateway = Process::start(&mut command);
    let target = Target { token: token.to_owned(), ..Target::read(&ready) };
    let mut client = Client::login(&target, "alice");
    client.wait_until_answered();
    service.signal("STOP");
    (0..REQUESTS).for_each(|_| client.request("echo", payload));
    wait_until("they are under way", || target.metric("gateway_requests_in_flight") == REQUESTS);
    gateway.signal("ABRT");
    let ended = gateway.ended();
    assert!(ended.core_dumped(), "{ended}");
    only_file(&cores)
}

/// Whether a core file will be found in the working folder.
fn can_dump() -> Result<(), String> {
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    if pattern.trim().is_empty() || pattern.starts_with('|') || pattern.contains('/') {
        return Err(format!("core files go elsewhere: core_pattern is {pattern:?}"));
    }
    let limit = Command::new("sh").args(["-c", "ulimit -c unlimited"]).output();
    match limit {
        Ok(done) if done.status.success() => Ok(()),
        _ => Err("this user may make no core files: `ulimit -Hc` says how large".to_owned()),
    }
}

fn only_file(folder: &Path) -> Vec<u8> {
    let mut files = fs::read_dir(folder).expect("a folder of the test").flatten();
    let only = files.next().expect("a core file was made");
    assert!(files.next().is_none(), "one process has dumped");
    fs::read(only.path()).expect("a file of this user")
}
