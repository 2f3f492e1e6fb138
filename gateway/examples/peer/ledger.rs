//! A file to which lines are appended, each by one write before its writer goes on: a process that is killed leaves whole
//! lines, and all of those whose effects somebody has seen.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use protocol::hex;

/// The ledger of a process. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Ledger(Arc<Mutex<File>>);

/// One line: what is empty is written as `-`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Entry<'e> {
    pub(crate) kind: &'e str,
    pub(crate) id: &'e [u8],
    pub(crate) user: &'e [u8],
    pub(crate) device: &'e [u8],
    pub(crate) session: &'e [u8],
    pub(crate) sequence: Option<u64>,
    pub(crate) payload: Option<&'e [u8]>,
    /// Named values, such as `store=file`.
    pub(crate) more: &'e str,
}

impl Ledger {
    /// The ledger at this path, and the lines that are in it.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, String)> {
        let file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
        let lines = io::read_to_string(&file)?;
        Ok((Self(Arc::new(Mutex::new(file))), lines))
    }

    /// Appends a line, which is there for good when this returns.
    ///
    /// # Panics
    /// If it cannot be written: nothing may be done that is not written down.
    pub(crate) fn write(&self, who: &str, entry: &Entry<'_>) {
        let mut line = format!("{who} {}", entry.kind);
        for field in [entry.id, entry.user, entry.device, entry.session] {
            line.push(' ');
            line.push_str(&hex_of(field));
        }
        let sequence = entry.sequence.map_or_else(|| "-".to_owned(), |sequence| sequence.to_string());
        let payload = entry.payload.map_or_else(|| "-".to_owned(), sha256);
        let parting = if entry.more.is_empty() { "" } else { " " };
        writeln!(line, " {sequence} {payload} at={}{parting}{}", now(), entry.more).expect("a string grows");
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(line.as_bytes()).expect("the ledger can be written");
    }
}

/// The columns of a line that was read, and a named value of it.
pub(crate) fn columns(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

/// The named value of a line, if it has it.
pub(crate) fn value<'l>(columns: &[&'l str], name: &str) -> Option<&'l str> {
    columns.iter().find_map(|column| column.strip_prefix(name)?.strip_prefix('='))
}

/// The digest of a payload, in hex.
pub(crate) fn sha256(payload: &[u8]) -> String {
    hex::encode(ring::digest::digest(&ring::digest::SHA256, payload).as_ref())
}

/// Milliseconds on the clock that all processes of a machine share.
#[expect(clippy::disallowed_methods, reason = "a process of a test runs on real time")]
pub(crate) fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis())
}

fn hex_of(bytes: &[u8]) -> String {
    if bytes.is_empty() { "-".to_owned() } else { hex::encode(bytes) }
}
