//! Waking a worker that sleeps in the kernel: from another worker by its doorbell, from any other thread by its waker.
//! Neither knows a ring.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

/// How each worker of a process is rung by the others: a descriptor, which a worker enters when it starts.
///
/// What the descriptor is of is between the drivers of the workers, which are all of one kind: over io_uring it is the
/// ring, which is sent a message; a driver that sleeps in epoll would enter the eventfd of its [`Waker`], which is
/// written to.
#[derive(Clone, Debug)]
pub struct Doorbells(Arc<[AtomicI32]>);

impl Doorbells {
    /// A table for this many workers.
    #[must_use]
    pub fn new(workers: u32) -> Doorbells {
        Doorbells((0..workers).map(|_| AtomicI32::new(NOBODY)).collect())
    }

    /// Number of workers the table was made for.
    #[must_use]
    pub fn workers(&self) -> u32 {
        self.0.len() as u32
    }

    /// From now on the worker is rung by this descriptor, which stays open until it [leaves](Doorbells::leave).
    pub(crate) fn enter(&self, worker: u32, bell: RawFd) {
        self.0[worker as usize].store(bell, Ordering::Release);
    }

    pub(crate) fn leave(&self, worker: u32) {
        self.0[worker as usize].store(NOBODY, Ordering::Release);
    }

    /// The worker's bell; `None` before it has started and after it has ended. A descriptor that ends between the look
    /// and the ring costs at worst a needless wake of whoever got the number: all bells that are made after the workers'
    /// own are workers' too.
    pub(crate) fn bell_of(&self, worker: u32) -> Option<RawFd> {
        let bell = self.0.get(worker as usize)?.load(Ordering::Acquire);
        (bell != NOBODY).then_some(bell)
    }
}

const NOBODY: RawFd = -1;

/// Wakes one worker from a thread that is none: the worker sees [`Rung`](crate::Completion::Rung).
///
/// Several wakes before the worker looks come out as one. It may outlive the worker; then it does nothing.
#[derive(Clone, Debug)]
pub struct Waker(Arc<OwnedFd>);

impl Waker {
    /// # Errors
    /// What `eventfd` says.
    pub(crate) fn new() -> io::Result<Waker> {
        // SAFETY: eventfd takes no memory.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was opened just now and belongs to nobody else.
        Ok(Waker(Arc::new(unsafe { OwnedFd::from_raw_fd(fd) })))
    }

    /// Wakes the worker, or lets it not fall asleep.
    pub fn wake(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: the buffer is 8 bytes long and only read. A write fails only when the counter stands at its
        // maximum of 2⁶⁴ - 2, which nobody reaches by ones.
        unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// The eventfd, whose counter the worker reads.
    pub(crate) fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bell_is_there_from_the_start_of_its_worker_to_its_end() {
        let doorbells = Doorbells::new(2);
        let others = doorbells.clone();
        assert_eq!((doorbells.workers(), others.bell_of(0), others.bell_of(9)), (2, None, None));
        doorbells.enter(1, 7);
        assert_eq!((others.bell_of(0), others.bell_of(1)), (None, Some(7)));
        doorbells.leave(1);
        assert_eq!(others.bell_of(1), None);
    }
}
