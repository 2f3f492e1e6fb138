//! Limits of the process that bound how many sockets a driver can hold.

use std::io;

/// The limit on open files. It also bounds the socket table of each ring, though not their sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFiles {
    /// What is enforced now.
    pub soft: u64,
    /// Up to where the process may raise it.
    pub hard: u64,
}

/// Reads the limit on open files.
///
/// # Errors
/// What `getrlimit` says.
pub fn open_files() -> io::Result<OpenFiles> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid place for the answer.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(OpenFiles { soft: limit.rlim_cur, hard: limit.rlim_max })
}

/// Raises the soft limit on open files to the hard one and returns what holds afterwards.
///
/// # Errors
/// What `getrlimit` or `setrlimit` says.
pub fn raise_open_files() -> io::Result<OpenFiles> {
    let OpenFiles { soft, hard } = open_files()?;
    if soft < hard {
        let limit = libc::rlimit { rlim_cur: hard, rlim_max: hard };
        // SAFETY: `limit` is initialised and only read.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    open_files()
}

/// The limit on locked memory in bytes; kernels before 5.12 bill rings to it.
///
/// # Errors
/// What `getrlimit` says.
pub fn locked_memory() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid place for the answer.
    if unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit.rlim_cur)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raising_reaches_the_hard_limit() {
        let before = open_files().unwrap();
        let after = raise_open_files().unwrap();
        assert_eq!(after, OpenFiles { soft: before.hard, hard: before.hard });
        assert_eq!(open_files().unwrap(), after);
        assert!(locked_memory().is_ok());
    }
}
