//! Why a driver cannot run on this machine, and what an operator can do about it.

use std::fmt;
use std::io;

use crate::limits;
use crate::ops::Errno;

/// What was being done when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// `io_uring_setup` with the flags the driver needs.
    Setup,
    /// A feature of rings, by name.
    Feature(&'static str),
    /// An operation, by name.
    Operation(&'static str),
    /// The socket table.
    SocketTable,
    /// Memory for receive buffers.
    BufferMemory,
    /// The ring of receive buffers.
    BufferRing,
    /// The ring's entry in the thread's table.
    RingDescriptor,
    /// `io_uring_enter`, the way every turn makes it.
    Enter,
    /// The eventfd that wakes a worker.
    Waker,
}

/// Facts about the machine an explanation draws on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Release of the kernel; empty when unknown.
    pub kernel: String,
    /// `kernel.io_uring_disabled`, if the kernel has it.
    pub io_uring_disabled: Option<u32>,
    /// The soft limit on open files.
    pub open_files: Option<u64>,
    /// The limit on locked memory in bytes.
    pub locked_memory: Option<u64>,
}

/// The driver cannot run here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// What was being done.
    pub step: Step,
    /// What the kernel said.
    pub errno: Errno,
    /// One line: why.
    pub cause: String,
    /// One line: what to do about it.
    pub fix: String,
}

impl Blocked {
    /// For `map_err`: what `step` failed with, explained by what can be seen of the machine.
    pub(crate) fn at(step: Step) -> impl FnOnce(io::Error) -> Blocked {
        move |error| {
            let errno = error.raw_os_error().unwrap_or(libc::EINVAL);
            explain(step, Errno(errno), &Surroundings::look())
        }
    }
}

impl fmt::Display for Blocked {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}\n{}", self.cause, self.fix)
    }
}

impl std::error::Error for Blocked {}

impl From<Blocked> for io::Error {
    fn from(blocked: Blocked) -> io::Error {
        io::Error::other(blocked)
    }
}

impl Surroundings {
    /// Looks at this machine.
    #[must_use]
    pub fn look() -> Surroundings {
        let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
        Surroundings {
            kernel: kernel_release(),
            io_uring_disabled: disabled.ok().and_then(|text| text.trim().parse().ok()),
            open_files: limits::open_files().ok().map(|files| files.soft),
            locked_memory: limits::locked_memory().ok(),
        }
    }
}

/// Puts a failure into two lines an operator can act on. Depends on its arguments only.
#[must_use]
pub fn explain(step: Step, errno: Errno, around: &Surroundings) -> Blocked {
    let (cause, fix) = match (errno.0, around.io_uring_disabled) {
        (libc::EPERM | libc::EACCES, Some(2)) => (
            "io_uring is switched off for everybody: kernel.io_uring_disabled = 2.".to_owned(),
            "Run: sysctl -w kernel.io_uring_disabled=0 (and set it in /etc/sysctl.d).".to_owned(),
        ),
        (libc::EPERM | libc::EACCES, Some(1)) => (
            "io_uring is reserved for privileged processes: kernel.io_uring_disabled = 1.".to_owned(),
            "Add the service's group as kernel.io_uring_group, or run: sysctl -w kernel.io_uring_disabled=0."
                .to_owned(),
        ),
        (libc::EPERM | libc::EACCES, _) => (
            "A security filter forbids io_uring; the default seccomp profiles of Docker, containerd and Kubernetes do."
                .to_owned(),
            "Give the container a seccomp profile that allows io_uring_setup, io_uring_enter and io_uring_register."
                .to_owned(),
        ),
        (libc::ENOSYS, _) => (
            format!("This kernel ({}) has no io_uring, or a sandbox such as gVisor hides it.", around.kernel()),
            format!("Run on Linux {KERNEL_MIN} or later, outside such a sandbox."),
        ),
        (libc::EINVAL | libc::EOPNOTSUPP, _) => (
            format!("The io_uring of this kernel ({}) is too old: {} is missing.", around.kernel(), step.needs()),
            format!("Run on Linux {KERNEL_MIN} or later."),
        ),
        (libc::ENOMEM, _) => (
            format!("There is not enough memory for {}; {}.", step.needs(), around.locked_memory()),
            "Raise the locked-memory limit (ulimit -l unlimited, LimitMEMLOCK=infinity) or the container's memory, or use fewer and smaller buffers."
                .to_owned(),
        ),
        (libc::EMFILE, _) => (
            format!("The limit on open files is too low for {}: it is {}.", step.needs(), around.open_files()),
            "Raise it (ulimit -n, LimitNOFILE=) or use fewer slots per core.".to_owned(),
        ),
        (libc::ENFILE, _) => (
            format!("The whole system has no file left for {}.", step.needs()),
            "Raise fs.file-max, or find out who holds them: cat /proc/sys/fs/file-nr.".to_owned(),
        ),
        (other, _) => (
            format!("{} failed: {}.", step.doing(), io::Error::from_raw_os_error(other)),
            format!("Check that this is Linux {KERNEL_MIN} or later and that nothing restricts io_uring."),
        ),
    };
    Blocked { step, errno, cause, fix }
}

impl Step {
    fn needs(self) -> &'static str {
        match self {
            Step::Setup => "a ring with SINGLE_ISSUER, DEFER_TASKRUN, SUBMIT_ALL and NO_SQARRAY",
            Step::Feature(name) | Step::Operation(name) => name,
            Step::SocketTable => "the table of sockets",
            Step::BufferMemory => "the receive buffers",
            Step::BufferRing => "the ring of receive buffers",
            Step::RingDescriptor => "the registration of the ring",
            Step::Enter => "entering a ring by its registered index",
            Step::Waker => "the eventfd that wakes a worker",
        }
    }

    fn doing(self) -> String {
        match self {
            Step::Setup => "Making a ring".to_owned(),
            Step::Feature(name) | Step::Operation(name) => format!("Looking for {name}"),
            Step::Enter => "Entering a ring".to_owned(),
            Step::SocketTable
            | Step::BufferMemory
            | Step::BufferRing
            | Step::RingDescriptor
            | Step::Waker => {
                format!("Making {}", self.needs())
            }
        }
    }
}

impl Surroundings {
    fn kernel(&self) -> &str {
        if self.kernel.is_empty() { "unknown" } else { &self.kernel }
    }

    fn open_files(&self) -> String {
        self.open_files.map_or_else(|| "unknown".to_owned(), |limit| limit.to_string())
    }

    fn locked_memory(&self) -> String {
        match self.locked_memory {
            Some(libc::RLIM_INFINITY) => "locked memory is not limited".to_owned(),
            Some(bytes) => format!("locked memory is limited to {} KiB", bytes / 1024),
            None => "the limit on locked memory is unknown".to_owned(),
        }
    }
}

/// Release of the kernel; empty when unknown.
pub(crate) fn kernel_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| String::new(), |text| text.trim().to_owned())
}

/// The release that has everything `create` asks for (NO_SQARRAY is the youngest).
const KERNEL_MIN: &str = "6.6";

#[cfg(test)]
mod tests {
    use super::*;

    fn around() -> Surroundings {
        Surroundings {
            kernel: "5.4.0".to_owned(),
            io_uring_disabled: None,
            open_files: Some(1024),
            locked_memory: Some(65536),
        }
    }

    fn said(step: Step, errno: i32, around: &Surroundings) -> String {
        let blocked = explain(step, Errno(errno), around);
        assert_eq!((blocked.step, blocked.errno), (step, Errno(errno)));
        let text = blocked.to_string();
        assert_eq!(text.lines().count(), 2, "one line of cause, one of fix: {text}");
        text
    }

    #[test]
    fn a_forbidden_ring_names_the_seccomp_profile() {
        let text = said(Step::Setup, libc::EPERM, &around());
        assert!(text.contains("seccomp") && text.contains("io_uring_register"), "{text}");
        let text = said(Step::Setup, libc::EPERM, &Surroundings { io_uring_disabled: Some(0), ..around() });
        assert!(text.contains("seccomp"), "{text}");
    }

    #[test]
    fn a_sysctl_that_forbids_is_named_with_its_value() {
        for (value, fix) in [(1, "io_uring_group"), (2, "sysctl -w")] {
            let around = Surroundings { io_uring_disabled: Some(value), ..around() };
            let text = said(Step::Setup, libc::EPERM, &around);
            assert!(text.contains(&format!("io_uring_disabled = {value}")) && text.contains(fix), "{text}");
        }
    }

    #[test]
    fn an_old_kernel_is_named_with_its_release_and_what_it_lacks() {
        let text = said(Step::Setup, libc::ENOSYS, &around());
        assert!(text.contains("5.4.0") && text.contains("6.6") && text.contains("gVisor"), "{text}");
        let text = said(Step::Setup, libc::EINVAL, &around());
        assert!(text.contains("5.4.0") && text.contains("NO_SQARRAY"), "{text}");
        let text = said(Step::Operation("IORING_OP_MSG_RING"), libc::EOPNOTSUPP, &Surroundings::default());
        assert!(text.contains("IORING_OP_MSG_RING") && text.contains("unknown"), "{text}");
    }

    #[test]
    fn limits_are_named_with_their_values() {
        let text = said(Step::BufferRing, libc::ENOMEM, &around());
        assert!(text.contains("64 KiB") && text.contains("LimitMEMLOCK"), "{text}");
        let unlimited = Surroundings { locked_memory: Some(libc::RLIM_INFINITY), ..around() };
        assert!(said(Step::BufferMemory, libc::ENOMEM, &unlimited).contains("not limited"));
        let text = said(Step::SocketTable, libc::EMFILE, &around());
        assert!(text.contains("1024") && text.contains("LimitNOFILE"), "{text}");
        assert!(said(Step::Setup, libc::ENFILE, &around()).contains("fs.file-max"));
    }

    #[test]
    fn anything_else_says_what_was_being_done() {
        for step in [Step::Setup, Step::Waker, Step::RingDescriptor, Step::Enter, Step::Feature("F")] {
            let text = said(step, libc::EIO, &around());
            assert!(text.contains("failed") && text.contains("Input/output error"), "{text}");
        }
    }
}
