//! Facts of the machine, and files the config names: read here, so that the config reads nothing itself.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::tell;
use crate::config::{Level, Machine};

/// Longest key file.
const KEY_FILE_LEN_MAX: u64 = 4096;

/// Looks at this machine, and raises the limit of open files as far as allowed: a ring may have no more slots.
#[must_use]
pub fn machine() -> Machine {
    let cpus = driver::thread::allowed_cpus().unwrap_or_default();
    let files = driver::limits::raise_open_files().or_else(|_| driver::limits::open_files());
    Machine {
        cpus: if cpus.is_empty() { vec![0] } else { cpus },
        // 1024 is the kernel's own default.
        open_files: files.map_or(1024, |files| files.soft),
        memory: memory(),
    }
}

/// Memory this process may use: the machine's, or less if its control group says so. 0 if neither is known.
fn memory() -> u64 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = meminfo
        .lines()
        .find_map(|line| {
            line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
        })
        .map_or(0, |kib| kib << 10);
    let group = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let path = group.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    let bound = fs::read_to_string(format!("/sys/fs/cgroup{path}/memory.max"))
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok());
    bound.map_or(total, |bound| bound.min(total))
}

/// Reads a key file, and says so if others can read it as well.
///
/// # Errors
/// What the system says; that it is no key file, if it is something else or too long.
pub fn read_key_file(path: &Path) -> io::Result<String> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() || metadata.len() > KEY_FILE_LEN_MAX {
        return Err(io::Error::other(format!("is not a file of at most {KEY_FILE_LEN_MAX} bytes")));
    }
    let text = fs::read_to_string(path)?;
    if metadata.mode() & 0o077 != 0 {
        let path = path.display();
        tell(Level::Warning, &format!("others can read the key file {path}; run: chmod 600 {path}"));
    }
    Ok(text)
}
