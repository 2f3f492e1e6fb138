//! What tells one state of a file from another, without reading it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A state of a file: another one has another of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileState {
    inode: u64,
    modified: (i64, i64),
    len: u64,
}

impl FileState {
    /// The present one.
    ///
    /// # Errors
    /// Of stat(2).
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let its = fs::metadata(path)?;
        Ok(Self { inode: its.ino(), modified: (its.mtime(), its.mtime_nsec()), len: its.len() })
    }
}
