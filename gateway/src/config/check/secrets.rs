//! Files with keys: read, or what to do about them.

use std::io::ErrorKind;
use std::path::Path;

use crate::config::section::{Reader, may_be_key};
use crate::config::{ReadFile, Secret};

/// The key in a file that this key of the config names.
pub(super) fn secret(reader: &mut Reader<'_>, key: &str, path: &Path, read: ReadFile<'_>) -> Option<Secret> {
    let shown = path.display();
    let (reason, fix) = match read(path) {
        Ok(text) => match Secret::from_file(&text) {
            Ok(secret) => return Some(secret),
            Err(_) if text.starts_with('\u{feff}') => (
                "begins with a byte order mark, which an editor has put there".to_owned(),
                format!(
                    "take it off, in the directory of the config: sed -i '1s/^\\xEF\\xBB\\xBF//' {shown}"
                ),
            ),
            Err(reason) => (reason, format!("restore it from a copy, or name the right file; {PINNED}")),
        },
        // Whatever it is, it must not be repeated.
        Err(_) if may_be_key(path.to_string_lossy().trim_end_matches('=')) => {
            let fix = "write the key into a file that only the gateway may read, and name that file";
            reader.error(key, "this is a key, and a file is wanted".to_owned(), fix.to_owned());
            return None;
        }
        Err(error) => (error.to_string(), remedy(&shown.to_string(), error.kind())),
    };
    reader.error(key, format!("the key file {shown}: {reason}"), fix);
    None
}

fn remedy(path: &str, kind: ErrorKind) -> String {
    match kind {
        ErrorKind::NotFound => format!(
            "put it there; if there has never been one, make it with `gateway keygen --out {path}` in the \
             directory of the config; {PINNED}"
        ),
        ErrorKind::PermissionDenied => format!(
            "let the user that runs the gateway read it, and nobody else: chown USER {path}; chmod 600 {path}"
        ),
        ErrorKind::InvalidData => {
            format!(
                "save it as UTF-8, or restore it from a copy: it holds 64 hex digits and comments; {PINNED}"
            )
        }
        _ => format!("name a file that `gateway keygen` has written; {PINNED}"),
    }
}

/// Why a new key is no remedy for an old one.
const PINNED: &str = "a new key locks out whoever has pinned the old one";
