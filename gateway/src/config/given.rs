//! What comes in beside the text of a config.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

/// Facts of the machine that defaults and checks depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// CPUs this process may run on; never empty.
    pub cpus: Vec<u32>,
    /// Open files this process may have (`RLIMIT_NOFILE`, after it was raised as far as allowed).
    pub open_files: u64,
    /// Bytes of memory this process may use; 0 if not known.
    pub memory: u64,
}

/// What the command line says over the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--listen`; of the only listener, and an error with several.
    pub listen: Option<SocketAddr>,
    /// `--workers`: as many of the `[[core]]` tables apply, from the first on.
    pub workers: Option<usize>,
}

/// Reads a file that the config names; says why it can't.
pub type ReadFile<'f> = &'f dyn Fn(&Path) -> io::Result<String>;
