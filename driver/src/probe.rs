//! Whether this machine lets us do what the io_uring driver needs.

use std::io;

use io_uring::opcode;

use crate::blocked::kernel_release;
use crate::uring::setup::{create, try_out};

pub use crate::blocked::{Blocked, Step, Surroundings, explain};

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
    use crate::blocked::Surroundings;
    use crate::limits;
    use crate::ops::Errno;

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
