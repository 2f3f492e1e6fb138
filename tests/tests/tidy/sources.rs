//! The Rust sources of ours, file by file.

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) struct Source {
    path: PathBuf,
    pub(crate) text: String,
}

impl Source {
    /// Path from the root, with forward slashes.
    pub(crate) fn name(&self) -> String {
        self.path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned()
    }

    /// Numbered lines before the unit tests.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = self.text.find("#[cfg(test)]\nmod tests {").unwrap_or(self.text.len());
        self.text[..end].lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// Name, first line and length of each function.
    pub(crate) fn functions(&self) -> Vec<(String, usize, usize)> {
        let mut found = Vec::new();
        let mut open: Vec<(String, usize, usize)> = Vec::new();
        for (number, line) in self.code() {
            let indent = line.len() - line.trim_start().len();
            let head = line.split("//").next().unwrap_or_default();
            if let Some(at) = head.find("fn ").filter(|&at| at == 0 || head[..at].ends_with(' ')) {
                let name: String =
                    head[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if !name.is_empty() && !head.trim_end().ends_with(';') {
                    open.push((name, number, indent));
                }
            }
            if line.trim() == "}" && open.last().is_some_and(|(_, _, at)| *at == indent) {
                let (name, start, _) = open.pop().expect("checked above");
                found.push((name, start, number - start + 1));
            }
        }
        found
    }
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the root").to_owned()
}

/// Where the sources of each crate lie.
pub(crate) const ROOMS: &[&str] =
    &["protocol/src", "driver/src", "gateway/src", "sdk/client/src", "sdk/backend/src", "loadgen/src"];

/// All Rust sources of ours but tests and benches.
pub(crate) fn sources() -> impl Iterator<Item = Source> {
    let mut files = Vec::new();
    for room in ROOMS {
        collect(&root().join(room), &mut files);
    }
    files.sort();
    assert!(files.len() > 10, "the walk finds the sources");
    files
        .into_iter()
        .filter(|path| !path.ends_with("tests.rs") && !path.components().any(|c| c.as_os_str() == "tests"))
        .map(|path| {
            let text = fs::read_to_string(&path).expect("sources are UTF-8");
            Source { path, text }
        })
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of ours").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
