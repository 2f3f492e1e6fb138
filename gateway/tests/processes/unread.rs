//! Nobody reads what a gateway says: it serves, answers and ends all the same.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Command;

use crate::stage::{Folder, Process, Target, path, wait_until};

/// More than may wait to be written.
const ENDPOINTS: usize = 400;

#[test]
fn a_gateway_whose_standard_error_nobody_reads_serves_and_ends_and_counts_what_it_could_not_say() {
    let Some(folder) = Folder::new() else { return };
    folder.make_key("server.key");
    let mut settings = "auth.mode = 'development'\nlimits.strangers = 16\n".to_owned();
    settings.push_str("core = [{ slots = 4000 }, { slots = 4000 }]\n");
    for number in 0..ENDPOINTS {
        let endpoint = format!("name = 'none-{number}'\naddress = 'unix:/none'\nclear = true");
        write!(settings, "[[endpoint]]\n{endpoint}\n").expect("a string takes everything");
    }
    let (config, file) = (folder.write_config(&settings), folder.file("ready.json"));
    let (mut reader, full) = full();
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
    command.args(["run", "--config", path(&config), "--ready-file", path(&file)]).stderr(full);
    let mut gateway = Process::start(&mut command);
    let target = Target::read(&file);
    wait_until("lines are dropped", || target.metric("gateway_log_lines_dropped_total") > 0);
    assert!(target.get("/healthz").starts_with("HTTP/1.1 200"));
    assert!(target.get("/status").contains("none-399"));
    gateway.signal("TERM");
    assert!(gateway.ended().success());
    drop(command);
    let mut said = Vec::new();
    reader.read_to_end(&mut said).expect("it was kept");
    assert!(said.iter().all(|byte| *byte == b'.'), "nothing found room");
}

/// A socket that takes nothing more, and its other end.
fn full() -> (UnixStream, OwnedFd) {
    let (reader, mut full) = UnixStream::pair().expect("two descriptors");
    full.set_nonblocking(true).expect("a socket");
    let error = loop {
        if let Err(error) = full.write(&[b'.'; 1]) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    full.set_nonblocking(false).expect("a socket");
    (reader, full.into())
}
