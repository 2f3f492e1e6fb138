//! The file for the result: opened before the run, so that a long run is not lost to a wrong path.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A file that waits for the result. Until that is written, what was there before stays.
#[derive(Debug)]
pub struct Output {
    path: PathBuf,
    file: File,
    /// There was none before, and nothing is written yet.
    empty: bool,
}

impl Output {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// One line that names the file and what is wrong with it.
    pub fn open(path: &Path) -> Result<Self, String> {
        let empty = !path.exists();
        let opened = File::options().write(true).create(true).truncate(false).open(path);
        let file = opened.map_err(|error| format!("--json {}: {error}", path.display()))?;
        Ok(Self { path: path.to_owned(), file, empty })
    }

    /// Replaces what the file holds.
    ///
    /// # Errors
    /// One line that names the file and what went wrong.
    pub fn write(mut self, text: &str) -> Result<(), String> {
        self.empty = false;
        self.replace(text).map_err(|error| format!("--json {}: {error}", self.path.display()))
    }

    fn replace(&mut self, text: &str) -> std::io::Result<()> {
        // A pipe or a terminal has no length.
        if self.file.metadata()?.is_file() {
            self.file.set_len(0)?;
        }
        self.file.write_all(text.as_bytes())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if self.empty {
            let _nothing_to_remove = fs::remove_file(&self.path);
        }
    }
}
