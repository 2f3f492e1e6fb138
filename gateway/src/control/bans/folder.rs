//! The few things a journal asks of a file system, one by one: each can fail, and the process can die between any two.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A folder with a few files that one process has for itself.
pub(crate) trait Folder {
    /// All of a file; `None` where there is none.
    fn read(&mut self, name: &str) -> io::Result<Option<Vec<u8>>>;
    /// Writes behind the end of a file, which is made if there is none. Nothing is sure to last before [`sync`](Self::sync).
    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;
    /// Cuts a file to this length.
    fn truncate(&mut self, name: &str, len: u64) -> io::Result<()>;
    /// Returns when what a file holds lasts.
    fn sync(&mut self, name: &str) -> io::Result<()>;
    /// Gives a file another name, and takes that name from the file that has it.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file if there is one.
    fn remove(&mut self, name: &str) -> io::Result<()>;
    /// Returns when the names last.
    fn sync_names(&mut self) -> io::Result<()>;
}

/// A folder of the system. Files in it are the owner's alone: they name addresses and users.
#[derive(Debug)]
pub(crate) struct SystemFolder {
    path: PathBuf,
    /// Locked for as long as this is there, and given up by the system when the process dies.
    _lock: Option<File>,
}

impl SystemFolder {
    /// This folder, which is there, for this process alone.
    ///
    /// # Errors
    /// Of the kind `WouldBlock` where another process has it.
    pub(crate) fn take(path: &Path) -> io::Result<Self> {
        let lock = OpenOptions::new().append(true).create(true).mode(0o600).open(path.join(LOCK))?;
        lock.try_lock()?;
        Ok(Self { path: path.to_owned(), _lock: Some(lock) })
    }

    /// The same, to look around in it whoever has it.
    pub(crate) fn visit(path: &Path) -> Self {
        Self { path: path.to_owned(), _lock: None }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// Whose lock says that a process has the folder. It is never removed: another one could have it open by then.
const LOCK: &str = "bans.journal.lock";

impl Folder for SystemFolder {
    fn read(&mut self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.at(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        OpenOptions::new().append(true).create(true).mode(0o600).open(self.at(name))?.write_all(bytes)
    }

    fn truncate(&mut self, name: &str, len: u64) -> io::Result<()> {
        OpenOptions::new().write(true).open(self.at(name))?.set_len(len)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        // fsync(2) makes a file's data last whichever descriptor they were written by.
        OpenOptions::new().write(true).open(self.at(name))?.sync_all()
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.at(from), self.at(to))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.at(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn sync_names(&mut self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}
