//! The file for the result: opened before the run, so that a long run is not lost to a wrong path.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A file that waits for the result. Until that is written, what was there before stays.
#[derive(Debug)]
pub struct Output {
    path: PathBuf,
    file: File,
    /// This made it, and has not written to it yet.
    empty: bool,
}

impl Output {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// One line that names the file and what is wrong with it.
    pub fn open(path: &Path) -> Result<Self, String> {
        let told = |error: io::Error| format!("--json {}: {error}", path.display());
        let path = path.to_owned();
        match File::options().write(true).create_new(true).open(&path) {
            Ok(file) => Ok(Self { path, file, empty: true }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let file =
                    File::options().write(true).create(true).truncate(false).open(&path).map_err(told)?;
                Ok(Self { path, file, empty: false })
            }
            Err(error) => Err(told(error)),
        }
    }

    /// Replaces what the file holds.
    ///
    /// # Errors
    /// One line that names the file and what went wrong.
    pub fn write(mut self, text: &str) -> Result<(), String> {
        self.empty = false;
        self.replace(text).map_err(|error| format!("--json {}: {error}", self.path.display()))
    }

    fn replace(&mut self, text: &str) -> io::Result<()> {
        // A pipe or a terminal has no length.
        if self.file.metadata()?.is_file() {
            self.file.set_len(0)?;
        }
        self.file.write_all(text.as_bytes())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // Somebody else may have put a file of theirs there meanwhile.
        let number = |found: fs::Metadata| (found.dev(), found.ino());
        let there = fs::symlink_metadata(&self.path).map(number);
        let is_own =
            matches!((there, self.file.metadata().map(number)), (Ok(there), Ok(own)) if there == own);
        if self.empty && is_own {
            let _nothing_to_remove = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_of_ones_own_is_removed_and_nobody_elses() {
        let folder = std::env::temp_dir().join(format!("loadgen-output-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("out.json");
        drop(Output::open(&path).unwrap());
        assert!(!path.exists(), "nothing was written");
        let output = Output::open(&path).unwrap();
        fs::rename(&path, folder.join("moved.json")).unwrap();
        fs::write(&path, "").unwrap();
        drop(output);
        assert!(path.exists(), "it is somebody else's");
        drop(Output::open(&path).unwrap());
        assert!(path.exists(), "it was there before");
        Output::open(&path).unwrap().write("{}").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"{}");
        fs::remove_dir_all(folder).unwrap();
    }
}
