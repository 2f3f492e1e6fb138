//! `status`: one line to the admin socket, the answer to standard output.

use std::path::Path;

use super::print::print;
use crate::config::Level;
use crate::control::{Exit, ask, tell};

pub(super) fn status(socket: &Path, json: bool) -> Exit {
    put(socket, if json { "status --json\n" } else { "status\n" })
}

/// Sends a line to a gateway and prints what it answers.
pub(super) fn put(socket: &Path, line: &str) -> Exit {
    match ask(socket, line) {
        Ok(answer) => print(&answer),
        Err(reason) => {
            tell(Level::Error, &reason);
            Exit::Failed
        }
    }
}
