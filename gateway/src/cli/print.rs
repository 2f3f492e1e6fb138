//! What a verb says on standard output.

use std::io::{self, Write};

use crate::control::Exit;

/// Writes to standard output.
pub(super) fn print(text: &str) -> Exit {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Exit::Clean,
        Err(_) => Exit::Failed,
    }
}
