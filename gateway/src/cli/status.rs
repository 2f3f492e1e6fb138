//! `status`: one line to the admin socket, the answer to standard output.

use std::path::Path;

use super::print::print;
use crate::config::Level;
use crate::control::{Exit, ask, tell};

pub(super) fn status(socket: &Path, json: bool) -> Exit {
    match ask(socket, if json { "status --json\n" } else { "status\n" }) {
        Ok(answer) => print(&answer),
        Err(reason) => {
            tell(Level::Error, &reason);
            Exit::Failed
        }
    }
}
