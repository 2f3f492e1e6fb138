//! Signals that end or steer a process, held back from its first moment on and waited for by one thread.
//!
//! A handler would do as well, but only from when it is installed; until then a signal kills, or, if the process is the first of
//! its namespace, is lost. A signal that is held back waits in the kernel.

use std::io;

/// A signal that [`Held`] holds back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// `SIGTERM`.
    Terminate,
    /// `SIGINT`.
    Interrupt,
    /// `SIGHUP`.
    Hangup,
    /// `SIGUSR1` or `SIGUSR2`.
    User,
}

/// Signals are held back from the calling thread, and from those it starts from now on.
pub struct Held {
    held: libc::sigset_t,
    before: libc::sigset_t,
}

impl Held {
    /// Holds them back. To be called before there is another thread: whichever does not hold a signal back may get it.
    ///
    /// A hangup that the process was started to ignore (as nohup does) stays ignored.
    ///
    /// # Errors
    /// What `pthread_sigmask` says.
    pub fn hold() -> io::Result<Held> {
        let mut held = empty_set();
        let ignored = ignores(libc::SIGHUP);
        for (number, _) in SIGNALS.iter().filter(|(number, _)| *number != libc::SIGHUP || !ignored) {
            // SAFETY: `held` is a valid set, and every number is that of a signal.
            unsafe { libc::sigaddset(&raw mut held, *number) };
        }
        let mut before = empty_set();
        // SAFETY: both sets are valid, one for reading and one for writing, during the call.
        match unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const held, &raw mut before) } {
            0 => Ok(Held { held, before }),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    /// Waits for the next one.
    #[must_use]
    pub fn wait(&self) -> Signal {
        loop {
            let mut number = 0;
            // SAFETY: the set is valid for reading and the number for writing during the call.
            let errno = unsafe { libc::sigwait(&raw const self.held, &raw mut number) };
            debug_assert_eq!(errno, 0, "sigwait fails only for a set that names no signals");
            if let Some((_, signal)) = SIGNALS.iter().find(|(known, _)| *known == number) {
                return *signal;
            }
        }
    }

    /// Gives the calling thread back what it was, so that a signal which came meanwhile does what it always does.
    pub fn release(self) {
        // SAFETY: the set is valid for reading during the call, and no other is asked for.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, std::ptr::null_mut()) };
    }
}

const SIGNALS: [(i32, Signal); 5] = [
    (libc::SIGTERM, Signal::Terminate),
    (libc::SIGINT, Signal::Interrupt),
    (libc::SIGHUP, Signal::Hangup),
    (libc::SIGUSR1, Signal::User),
    (libc::SIGUSR2, Signal::User),
];

fn ignores(number: i32) -> bool {
    // SAFETY: an action is integers and a pointer that may be null.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: nothing is set, and `action` is valid for writing during the call.
    let done = unsafe { libc::sigaction(number, std::ptr::null(), &raw mut action) };
    done == 0 && action.sa_sigaction == libc::SIG_IGN
}

fn empty_set() -> libc::sigset_t {
    // SAFETY: a set is an array of integers.
    let mut set = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is valid for writing during the call.
    unsafe { libc::sigemptyset(&raw mut set) };
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_while_it_is_held_back_waits_until_it_is_asked_for() {
        // A thread of its own, and signals for it alone: the other tests' threads hold nothing back.
        let heard = std::thread::spawn(|| {
            let held = Held::hold().unwrap();
            for number in [libc::SIGTERM, libc::SIGUSR2] {
                // SAFETY: the thread is the calling one, and it holds the signal back.
                assert_eq!(unsafe { libc::pthread_kill(libc::pthread_self(), number) }, 0);
            }
            let heard = [held.wait(), held.wait()];
            held.release();
            heard
        });
        let heard = heard.join().unwrap();
        assert!(heard.contains(&Signal::Terminate) && heard.contains(&Signal::User), "{heard:?}");
    }
}
