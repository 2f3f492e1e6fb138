//! The keys of `gateway dev --state DIR`: made at its first start, and found there at every other one.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use protocol::hex;

use super::machine::read_key_file;
use super::remedy;
use crate::config::Secret;

/// The keys of a gateway whose clients know it again.
pub(super) struct Kept {
    /// That of the gateway itself, and so of its token.
    pub(super) server: Secret,
    /// That of its tickets.
    pub(super) tickets: Secret,
}

impl Kept {
    /// The keys in a folder, which is made if it is not there, as are those that are not.
    ///
    /// # Errors
    /// One line that says what to do.
    pub(super) fn in_folder(folder: &Path) -> Result<Self, String> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|error| {
            format!("{}: {error}; {}", folder.display(), remedy::for_making(folder, &error))
        })?;
        let key = |name| {
            let path = folder.join(name);
            find_or_make(&path).map_err(|reason| format!("{}: {reason}", path.display()))
        };
        Ok(Self { server: key("server.key")?, tickets: key("tickets.key")? })
    }
}

fn find_or_make(path: &Path) -> Result<Secret, String> {
    match find(path) {
        Ok(None) => {}
        found => return found.map(|secret| secret.expect("none was looked at")),
    }
    let secret = Secret::new(random().map_err(|error| format!("randomness: {error}"))?);
    match write(path, &secret) {
        Ok(()) => Ok(secret),
        // Another start was faster.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            find(path)?.ok_or_else(|| "it comes and goes".to_owned())
        }
        Err(error) => Err(format!("{error}; {}", remedy::for_making(path, &error))),
    }
}

fn find(path: &Path) -> Result<Option<Secret>, String> {
    match read_key_file(path) {
        Ok(text) => Secret::from_file(&text)
            .map(Some)
            .map_err(|reason| format!("{reason}; move it away, and a new key is made")),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// Fresh random bytes of the system.
pub(super) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// Writes a key into a file that was not there, and leaves none with half of one.
fn write(path: &Path, secret: &Secret) -> io::Result<()> {
    let text = format!(
        "# kept by `gateway dev --state`: keep it secret, and do not use it for anything else\n{}\n",
        hex::encode(secret.bytes())
    );
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()).inspect_err(|_| drop(fs::remove_file(path))))
}
