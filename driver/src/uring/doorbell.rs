//! Waking a worker that sleeps in the kernel: from another worker by a message between rings, from any other thread
//! through an eventfd.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

/// The rings of all workers of a process, so that one can ring another. Each worker enters its own when it starts.
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

    pub(super) fn enter(&self, worker: u32, ring: RawFd) {
        self.0[worker as usize].store(ring, Ordering::Release);
    }

    pub(super) fn leave(&self, worker: u32) {
        self.0[worker as usize].store(NOBODY, Ordering::Release);
    }

    /// The worker's ring; `None` before it has started and after it has ended. A descriptor that ends between the
    /// look and the message costs at worst a needless wake of whoever got the number: all rings that are made after the
    /// workers' own are workers' too.
    pub(super) fn ring_of(&self, worker: u32) -> Option<RawFd> {
        let ring = self.0.get(worker as usize)?.load(Ordering::Acquire);
        (ring != NOBODY).then_some(ring)
    }
}

const NOBODY: RawFd = -1;

/// Wakes one worker from a thread that has no ring: the worker sees [`Rung`](crate::Completion::Rung).
///
/// Several wakes before the worker looks come out as one. It may outlive the worker; then it does nothing.
#[derive(Clone, Debug)]
pub struct Waker(Arc<OwnedFd>);

impl Waker {
    pub(super) fn new() -> io::Result<Waker> {
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

    pub(super) fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
