//! Whether this machine lets us do what the io_uring driver needs, and if not, what to do about it.

use std::fmt;
use std::io;

use io_uring::opcode;

use crate::limits;
use crate::ops::Errno;
use crate::uring::setup::{create, try_out};

/// What the machine offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Release of the kernel.
    pub kernel: String,
    /// The largest socket table a ring may have.
    pub slots_max: u32,
    /// Whether a wait may gather several completions for a short time (Linux 6.12); without it batching is off.
    pub min_timeout: bool,
    /// Whether options can be set on sockets that connect (Linux 6.7); without it they keep the kernel's defaults.
    pub socket_options: bool,
}

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

/// Builds a ring with everything the driver needs and takes it down again.
///
/// # Errors
/// [`Blocked`] names the first thing that is missing.
pub fn probe() -> Result<Report, Blocked> {
    let io = create(8, 16)?;
    let mut found = io_uring::Probe::new();
    io.submitter().register_probe(&mut found).map_err(Blocked::at(Step::Feature("REGISTER_PROBE")))?;
    for (code, name) in OPERATIONS {
        if !found.is_supported(code) {
            let unsupported = io::Error::from_raw_os_error(libc::EOPNOTSUPP);
            return Err(Blocked::at(Step::Operation(name))(unsupported));
        }
    }
    let min_timeout = io.params().is_feature_min_timeout();
    let socket_options = found.is_supported(opcode::SetSockOpt::CODE);
    let slots_max = try_out(io)?;
    Ok(Report { kernel: kernel_release(), slots_max, min_timeout, socket_options })
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

fn kernel_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| String::new(), |text| text.trim().to_owned())
}

/// The release that has everything `create` asks for (NO_SQARRAY is the youngest).
const KERNEL_MIN: &str = "6.6";

/// What the driver cannot do without.
const OPERATIONS: [(u8, &str); 12] = [
    (opcode::Accept::CODE, "IORING_OP_ACCEPT"),
    (opcode::Socket::CODE, "IORING_OP_SOCKET"),
    (opcode::Connect::CODE, "IORING_OP_CONNECT"),
    (opcode::FilesUpdate::CODE, "IORING_OP_FILES_UPDATE"),
    (opcode::LinkTimeout::CODE, "IORING_OP_LINK_TIMEOUT"),
    (opcode::PollAdd::CODE, "IORING_OP_POLL_ADD"),
    (opcode::Recv::CODE, "IORING_OP_RECV"),
    (opcode::Send::CODE, "IORING_OP_SEND"),
    (opcode::AsyncCancel::CODE, "IORING_OP_ASYNC_CANCEL"),
    (opcode::Close::CODE, "IORING_OP_CLOSE"),
    (opcode::Read::CODE, "IORING_OP_READ"),
    (opcode::MsgRingData::CODE, "IORING_OP_MSG_RING"),
];

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

    /// Makes a system call fail with `errno` for the calling thread, for good, as a container's profile would.
    fn forbid(call: libc::c_long, errno: i32) {
        let statement = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
        let mut filter = [
            // The system call's number lies at offset 0 of `struct seccomp_data`.
            statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
            statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, call as u32),
            statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | errno as u32),
            statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
        ];
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
        // SAFETY: these calls change the calling thread only; the program is valid and copied during the call.
        unsafe {
            assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
            let done = libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program);
            assert_eq!(done, 0);
        }
    }

    #[test]
    fn a_real_filter_is_recognised() {
        for (step, call, errno, word) in [
            (Step::Setup, libc::SYS_io_uring_setup, libc::EPERM, "seccomp"),
            (Step::Setup, libc::SYS_io_uring_setup, libc::ENOSYS, "sandbox"),
            (Step::Feature("REGISTER_PROBE"), libc::SYS_io_uring_register, libc::EPERM, "seccomp"),
            (Step::Enter, libc::SYS_io_uring_enter, libc::EPERM, "seccomp"),
        ] {
            let blocked = std::thread::spawn(move || {
                forbid(call, errno);
                probe().unwrap_err()
            });
            let blocked = blocked.join().unwrap();
            assert_eq!((blocked.step, blocked.errno), (step, Errno(errno)));
            if !matches!(Surroundings::look().io_uring_disabled, Some(1 | 2)) {
                assert!(blocked.cause.contains(word), "{blocked}");
            }
        }
    }

    #[test]
    fn this_machine_gives_one_of_the_two_answers() {
        match probe() {
            Ok(report) => {
                let limit = limits::open_files().unwrap().soft.min(1 << 20);
                assert_eq!(u64::from(report.slots_max), limit);
                assert!(!report.kernel.is_empty());
            }
            Err(blocked) => {
                assert!(!blocked.cause.is_empty() && !blocked.fix.is_empty());
                eprintln!("NOT RUN: {blocked}");
            }
        }
    }
}
