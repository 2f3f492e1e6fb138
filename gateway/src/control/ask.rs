//! The other end of the admin socket: one line to it, and what it answers.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::config::Admin;

/// Longest answer; 4096 workers stay below it.
const ANSWER_LEN_MAX: u64 = 64 << 20;
const DEADLINE: Duration = Duration::from_secs(10);
/// For a gateway that may be none.
const LOOK_DEADLINE: Duration = Duration::from_secs(1);

/// Asks a gateway through its admin socket.
///
/// # Errors
/// In one line, why there is no answer, and what to do.
pub fn ask(socket: &Path, line: &str) -> Result<String, String> {
    let answer = converse(socket, line, DEADLINE).map_err(|error| explain(socket, &error))?;
    if answer.is_empty() {
        return Err(format!("{}: no answer; it is no admin socket of a gateway", socket.display()));
    }
    match answer.strip_prefix("error: ") {
        Some(refused) => Err(refused.lines().next().unwrap_or_default().to_owned()),
        None => Ok(answer),
    }
}

fn converse(socket: &Path, line: &str, deadline: Duration) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(deadline))?;
    stream.set_write_timeout(Some(deadline))?;
    let written = stream.write_all(line.as_bytes());
    let mut answer = String::new();
    let read = stream.take(ANSWER_LEN_MAX).read_to_string(&mut answer);
    // A gateway that will not hear this connection says so before it is asked, and ends it.
    if answer.is_empty() { written.and(read).map(|_| answer) } else { Ok(answer) }
}

fn explain(socket: &Path, error: &io::Error) -> String {
    let shown = socket.display();
    let fix = match error.kind() {
        ErrorKind::NotFound => {
            "is the gateway running, and is this the path of `socket` in [admin] of its config?".to_owned()
        }
        ErrorKind::ConnectionRefused => "no gateway is running there any more: start it".to_owned(),
        ErrorKind::PermissionDenied => {
            let owner =
                socket.symlink_metadata().map_or("USER".to_owned(), |found| format!("#{}", found.uid()));
            format!(
                "only the user who runs the gateway, and root, may ask it: \
                 sudo -u '{owner}' gateway status --socket {shown}"
            )
        }
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            "it takes connections and does not answer: its process is stopped, or overloaded".to_owned()
        }
        ErrorKind::InvalidInput => {
            "that is too long for a socket: give the path relative to a folder near it".to_owned()
        }
        _ => "give the path of a gateway's admin socket".to_owned(),
    };
    format!("{shown}: {error}; {fix}")
}

/// What a gateway that runs already tells of itself.
pub(super) struct Running {
    /// At the admin socket of the config.
    pub(super) at_socket: Option<Value>,
    /// At its HTTP address.
    pub(super) at_http: Option<Value>,
}

impl Running {
    /// Asks at both places.
    pub(super) fn look(admin: &Admin) -> Self {
        let json =
            |text: String| serde_json::from_str::<Value>(&text).ok().filter(|json| json["pid"].is_u64());
        let at_socket = |path| converse(path, "status --json\n", LOOK_DEADLINE).ok().and_then(json);
        let at_http = |address| get_status(address).ok().and_then(json);
        Self { at_socket: admin.socket.as_deref().and_then(at_socket), at_http: admin.http.and_then(at_http) }
    }
}

fn get_status(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, LOOK_DEADLINE)?;
    stream.set_read_timeout(Some(LOOK_DEADLINE))?;
    stream.set_write_timeout(Some(LOOK_DEADLINE))?;
    stream.write_all(b"GET /status HTTP/1.1\r\nHost: gateway\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(ANSWER_LEN_MAX).read_to_string(&mut answer)?;
    Ok(answer.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned()))
}
