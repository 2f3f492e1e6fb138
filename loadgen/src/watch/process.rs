//! CPU time and memory of one process, from `/proc`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// A process to be watched.
#[derive(Clone, Debug)]
pub struct Process(PathBuf);

/// CPU time of each thread, user and system together: the first field of `/proc/PID/task/TID/schedstat`, in
/// nanoseconds. `/proc/PID/stat` counts in ticks of 10 ms, which is too coarse for a run of a few seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cpu(BTreeMap<u32, u64>);

impl Process {
    /// The process with this id.
    #[must_use]
    pub fn with_pid(pid: u32) -> Self {
        Self(PathBuf::from(format!("/proc/{pid}")))
    }

    /// This process.
    #[must_use]
    pub fn own() -> Self {
        Self(PathBuf::from("/proc/self"))
    }

    /// What it is called: the name of its main thread, and that of its binary where this may be known. Without any it is
    /// not there.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let comm = fs::read_to_string(self.0.join("comm")).ok();
        let binary = fs::read_link(self.0.join("exe")).ok().and_then(|path| {
            let name = path.file_name()?.to_str()?;
            // A binary that was built anew since.
            Some(name.strip_suffix(" (deleted)").unwrap_or(name).to_owned())
        });
        let mut names: Vec<String> =
            comm.iter().map(|comm| comm.trim_end().to_owned()).chain(binary).collect();
        names.dedup();
        names
    }

    /// The CPU time its threads have used so far.
    ///
    /// # Errors
    /// When the process is gone, or the kernel keeps no such statistics.
    pub fn cpu(&self) -> io::Result<Cpu> {
        let mut threads = BTreeMap::new();
        for entry in fs::read_dir(self.0.join("task"))? {
            let entry = entry?;
            let Some(tid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // A thread may end between the listing and the look.
            let Ok(text) = fs::read_to_string(entry.path().join("schedstat")) else { continue };
            threads.insert(tid, parse_schedstat(&text)?);
        }
        if threads.is_empty() {
            return Err(io::Error::other("/proc/PID/task/TID/schedstat is not there"));
        }
        Ok(Cpu(threads))
    }

    /// Proportional set size in bytes: private pages, and each shared page divided by the number of its users.
    ///
    /// # Errors
    /// When the process is gone or belongs to somebody else.
    pub fn pss(&self) -> io::Result<u64> {
        parse_pss(&fs::read_to_string(self.0.join("smaps_rollup"))?)
    }
}

impl Cpu {
    /// What was used between `earlier` and this. Threads that have ended since count nothing; those that began count
    /// whole.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Duration {
        Duration::from_nanos(self.used_since(earlier).sum())
    }

    /// What the thread that used most has used between `earlier` and this.
    #[must_use]
    pub fn busiest_since(&self, earlier: &Self) -> Duration {
        Duration::from_nanos(self.used_since(earlier).max().unwrap_or_default())
    }

    fn used_since(&self, earlier: &Self) -> impl Iterator<Item = u64> {
        self.0
            .iter()
            .map(|(tid, nanos)| nanos.saturating_sub(earlier.0.get(tid).copied().unwrap_or_default()))
    }
}

fn parse_schedstat(text: &str) -> io::Result<u64> {
    let field = text.split_ascii_whitespace().next().and_then(|field| field.parse().ok());
    field.ok_or_else(|| io::Error::other("schedstat has another form than expected"))
}

fn parse_pss(text: &str) -> io::Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")).and_then(|kib| kib.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| io::Error::other("smaps_rollup has another form than expected"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_figures_are_there_and_grow() {
        let process = Process::own();
        let before = process.cpu().unwrap();
        let mut work = 0_u64;
        while process.cpu().unwrap().since(&before) < Duration::from_millis(2) {
            work = work.wrapping_add(1);
        }
        assert!(work > 0 && process.pss().unwrap() > 100 * 1024);
    }

    #[test]
    fn threads_that_ended_or_began_between_are_handled() {
        let earlier = Cpu(BTreeMap::from([(1, 100), (2, 500)]));
        let later = Cpu(BTreeMap::from([(1, 130), (3, 7)]));
        assert_eq!(later.since(&earlier), Duration::from_nanos(37));
        assert_eq!(later.busiest_since(&earlier), Duration::from_nanos(30));
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        let gone = Process::with_pid(u32::MAX);
        assert!(gone.cpu().is_err() && gone.pss().is_err() && gone.names().is_empty());
    }

    #[test]
    fn figures_are_parsed() {
        assert_eq!(parse_schedstat("5077013 184052 30\n").unwrap(), 5_077_013);
        assert!(parse_schedstat("").is_err());
        assert_eq!(
            parse_pss("5580-7ff [rollup]\nRss: 9 kB\nPss:      1024 kB\nPss_Anon: 1 kB\n").unwrap(),
            1 << 20
        );
        assert!(parse_pss("Rss: 1 kB\n").is_err());
    }
}
