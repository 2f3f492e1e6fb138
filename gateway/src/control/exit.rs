//! What the exit code tells a script or a service manager.

use std::process::ExitCode;

/// How the process ends. The numbers are part of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything went well; a gateway was asked to stop and did.
    Clean = 0,
    /// The gateway failed while it ran: a worker died, or did not stop in time.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The config has errors, or a key file is missing.
    Config = 3,
    /// io_uring can't be used here; standard error has the cause and the fix.
    Blocked = 4,
    /// The gateway couldn't start: an address is taken, a path can't be written.
    Start = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
