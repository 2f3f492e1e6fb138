//! Which processor a thread runs on, and before whom it gives way.

use std::io;

/// The processors this thread may run on, in ascending order.
///
/// # Errors
/// What `sched_getaffinity` says.
pub fn allowed_cpus() -> io::Result<Vec<u32>> {
    let mut set = empty_set();
    // SAFETY: `set` is a valid place for an answer of the size given; pid 0 means the calling thread.
    if unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: every index is below CPU_SETSIZE, the number of bits in a set.
    Ok((0..CPUS_MAX).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu as usize, &set) }).collect())
}

/// Pins the calling thread to one processor.
///
/// # Errors
/// `InvalidInput` for an index no kernel knows, else what `sched_setaffinity` says (`EINVAL` when the processor is
/// offline or outside the cpuset).
pub fn pin(cpu: u32) -> io::Result<()> {
    if cpu >= CPUS_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no such processor"));
    }
    let mut set = empty_set();
    // SAFETY: the index was checked against the number of bits in a set.
    unsafe { libc::CPU_SET(cpu as usize, &mut set) };
    // SAFETY: `set` is initialised and only read; pid 0 means the calling thread.
    if unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Makes the calling thread give way to all ordinary threads at once, also when it has a processor already; of two that do, each
/// gets its turn (`SCHED_IDLE`, sched(7)).
///
/// # Errors
/// What `pthread_setschedparam` says.
pub fn give_way() -> io::Result<()> {
    // SAFETY: the structure is a number, and in some C libraries more of them; all zero is what the policy asks for.
    let none: libc::sched_param = unsafe { std::mem::zeroed() };
    // SAFETY: a thread may name itself, and the parameters are initialised and only read.
    match unsafe { libc::pthread_setschedparam(libc::pthread_self(), libc::SCHED_IDLE, &raw const none) } {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

fn empty_set() -> libc::cpu_set_t {
    // SAFETY: a set is an array of integers; all zero is the empty set.
    unsafe { std::mem::zeroed() }
}

const CPUS_MAX: u32 = libc::CPU_SETSIZE as u32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_may_run_on_that_processor_only() {
        let allowed = allowed_cpus().unwrap();
        let last = *allowed.last().unwrap();
        let seen = std::thread::spawn(move || {
            pin(last).unwrap();
            allowed_cpus().unwrap()
        });
        assert_eq!(seen.join().unwrap(), [last]);
        assert_eq!(allowed_cpus().unwrap(), allowed);
    }

    #[test]
    fn a_thread_that_gives_way_is_the_only_one_that_does() {
        // SAFETY: the call takes no pointers; 0 means the calling thread.
        let policy = || unsafe { libc::sched_getscheduler(0) };
        let before = policy();
        let seen = std::thread::spawn(move || {
            give_way().unwrap();
            policy()
        });
        assert_eq!((seen.join().unwrap(), policy()), (libc::SCHED_IDLE, before));
    }

    #[test]
    fn an_impossible_processor_is_refused() {
        assert!(pin(CPUS_MAX).is_err());
    }
}
