//! `status`: one line to the admin socket, the answer to standard output.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::print::print;
use crate::config::Level;
use crate::control::{Exit, tell};

/// Longest answer; 4096 workers stay below it.
const ANSWER_LEN_MAX: u64 = 64 << 20;
const DEADLINE: Duration = Duration::from_secs(10);

pub(super) fn status(socket: &Path, json: bool) -> Exit {
    let line = if json { "status --json\n" } else { "status\n" };
    match ask(socket, line) {
        Ok(answer) if answer.starts_with("error: ") => {
            tell(Level::Error, answer.trim_end());
            Exit::Failed
        }
        Ok(answer) if answer.is_empty() => {
            tell(
                Level::Error,
                &format!("{}: no answer; it is no admin socket of a gateway", socket.display()),
            );
            Exit::Failed
        }
        Ok(answer) => print(&answer),
        Err(error) => {
            tell(Level::Error, &format!("{}: {error}; is the gateway running?", socket.display()));
            Exit::Failed
        }
    }
}

fn ask(socket: &Path, line: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    let written = stream.write_all(line.as_bytes());
    let mut answer = String::new();
    let read = stream.take(ANSWER_LEN_MAX).read_to_string(&mut answer);
    // A gateway without a place for this connection says so before it is asked, and ends it.
    if answer.is_empty() { written.and(read).map(|_| answer) } else { Ok(answer) }
}
