//! The baseline echo is itself right, or comparing with it would mean nothing.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a panic")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Kills the process when the test is over, however it ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _already_gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Examples lie beside the directory of the tests; `cargo test --test` alone does not build them.
fn program() -> Option<PathBuf> {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.push("examples/plain_echo");
    path.exists().then_some(path)
}

/// Waits until the file is there. A file tells nobody that it has come, so it is looked for every millisecond.
fn ready(path: &PathBuf, child: &mut Child) -> String {
    for _ in 0..10_000 {
        if let Ok(text) = std::fs::read_to_string(path) {
            return text;
        }
        assert!(child.try_wait().unwrap().is_none(), "plain_echo has ended");
        std::thread::park_timeout(Duration::from_millis(1));
    }
    panic!("plain_echo did not get ready");
}

#[test]
fn the_plain_echo_gives_back_what_it_gets() {
    if let Err(blocked) = driver::probe() {
        return eprintln!("NOT RUN: {blocked}");
    }
    let Some(program) = program() else {
        return eprintln!("NOT RUN: the example is not built; run the tests of the whole package");
    };
    let file = std::env::temp_dir().join(format!("plain-echo-{}.json", std::process::id()));
    let mut command = Command::new(program);
    command.args(["--listen", "127.0.0.1:0", "--slots", "100", "--ready-file"]).arg(&file);
    let mut running = Running(command.stdout(Stdio::null()).spawn().unwrap());
    let text = ready(&file, &mut running.0);
    std::fs::remove_file(&file).unwrap();
    assert!(text.contains(&format!("\"pid\": {}", running.0.id())), "{text}");
    let address = text.split('"').rev().nth(1).unwrap().to_owned();
    // More rounds than slots, so that closing works; three links at a time.
    for round in 0..150_u8 {
        let mut links: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(&address).unwrap()).collect();
        for (index, link) in links.iter_mut().enumerate() {
            link.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            writeln!(link, "{round} {index}").unwrap();
        }
        for (index, link) in links.iter().enumerate() {
            let mut line = String::new();
            BufReader::new(link).read_line(&mut line).unwrap();
            assert_eq!(line, format!("{round} {index}\n"));
        }
    }
    // Far more than fits into the buffers of both kernels.
    let sent: Vec<u8> = (0..20_000_000_u32).map(|n| (n % 249) as u8).collect();
    let mut link = TcpStream::connect(&address).unwrap();
    let mut writer = link.try_clone().unwrap();
    let copy = sent.clone();
    let writing = std::thread::spawn(move || {
        writer.write_all(&copy).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut got = Vec::new();
    link.read_to_end(&mut got).unwrap();
    writing.join().unwrap();
    assert!(got == sent, "{} of {} bytes, in order", got.len(), sent.len());
}
