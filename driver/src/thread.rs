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

/// Makes the calling thread give way to all threads of ordinary priority, for good: one without rights cannot take it back.
///
/// # Errors
/// What `setpriority` says.
pub fn give_way() -> io::Result<()> {
    // SAFETY: the call takes no pointers; with PRIO_PROCESS and 0 Linux means the calling thread, setpriority(2).
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICEST) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The lowest priority of a thread that still gets its turn.
const NICEST: libc::c_int = 19;

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
        // SAFETY: the call takes no pointers.
        let nice = || unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
        let before = nice();
        let seen = std::thread::spawn(move || {
            give_way().unwrap();
            nice()
        });
        assert_eq!((seen.join().unwrap(), nice()), (NICEST, before));
    }

    #[test]
    fn an_impossible_processor_is_refused() {
        assert!(pin(CPUS_MAX).is_err());
    }
}
