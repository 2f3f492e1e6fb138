//! The two queues and the one system call of the data path.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use io_uring::types::Timespec;
use io_uring::{IoUring, cqueue, squeue};

/// One completion, copied out of the queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub(super) user_data: u64,
    pub(super) result: i32,
    pub(super) flags: u32,
}

/// How long [`Ring::enter`] may sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sleep {
    /// Not at all.
    No,
    /// Until `least` completions are there or `most` is over. With `batch` a sleep that began waiting for
    /// several ends after that time if at least one is there.
    Until { least: u32, most: Option<Duration>, batch: Option<Duration> },
}

/// A ring, entered by its registered index.
pub(super) struct Ring {
    io: IoUring,
    /// Index in the thread's table of registered rings, which saves the kernel a reference count per call.
    registered: RawFd,
    /// Copied out of the queue in one go, so that its head moves once per batch and not per completion.
    events: Vec<Event>,
    next_event: usize,
    system_calls: u64,
    overflows: u64,
}

impl Ring {
    /// Takes over a ring that was made on this thread.
    ///
    /// # Errors
    /// What `IORING_REGISTER_RING_FDS` says.
    pub(super) fn new(io: IoUring) -> io::Result<Ring> {
        let registered = register_ring(io.as_raw_fd())?;
        let events = Vec::with_capacity(EVENTS_MAX);
        Ok(Ring { io, registered, events, next_event: 0, system_calls: 0, overflows: 0 })
    }

    pub(super) fn io(&self) -> &IoUring {
        &self.io
    }

    pub(super) fn system_calls(&self) -> u64 {
        self.system_calls
    }

    pub(super) fn overflows(&self) -> u64 {
        self.overflows
    }

    /// Whether this many entries fit, if need be after the kernel has taken what is queued.
    pub(super) fn has_room(&mut self, entries: usize) -> bool {
        let queue = self.io.submission();
        if queue.capacity() - queue.len() >= entries {
            return true;
        }
        drop(queue);
        if self.call(0, 0, None).is_err() {
            return false;
        }
        let queue = self.io.submission();
        queue.capacity() - queue.len() >= entries
    }

    /// Queues an entry; [`Ring::has_room`] has said that it fits.
    ///
    /// # Safety
    /// Memory the entry names must stay valid, and out of other hands, until its last completion.
    pub(super) unsafe fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: handed on to the caller.
        let pushed = unsafe { self.io.submission().push(entry) };
        pushed.expect("has_room was asked first");
    }

    /// Hands the kernel everything queued, lets it run the work it has put off, and sleeps as told.
    ///
    /// # Errors
    /// When the ring is broken or completions were lost. Passing troubles (a signal, the time being over, too little
    /// memory for requests just now) are none: the next call goes on.
    pub(super) fn enter(&mut self, sleep: Sleep) -> io::Result<()> {
        if self.io.submission().cq_overflow() {
            self.overflows += 1;
        }
        let (least, most, batch) = match sleep {
            Sleep::No => (0, None, None),
            Sleep::Until { least, most, batch } => (least, most, batch),
        };
        let timespec = most.map(Timespec::from);
        let args = EnterArgs {
            sigmask: 0,
            sigmask_len: 0,
            min_wait_us: batch.map_or(0, |time| time.as_micros().try_into().unwrap_or(u32::MAX)),
            timeout: timespec.as_ref().map_or(0, |spec| std::ptr::from_ref(spec) as u64),
        };
        // GETEVENTS even when nothing is waited for: with DEFER_TASKRUN nothing completes without it.
        match self.call(least, GETEVENTS | EXT_ARG, Some(&args)) {
            Err(error) if !is_passing(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// Number of completions that can be taken without a system call.
    pub(super) fn waiting(&mut self) -> usize {
        self.events.len() - self.next_event + self.io.completion().len()
    }

    /// Takes the next completion.
    pub(super) fn take(&mut self) -> Option<Event> {
        if self.next_event == self.events.len() {
            self.events.clear();
            self.next_event = 0;
            self.events.extend(self.io.completion().take(EVENTS_MAX).map(|entry: cqueue::Entry| Event {
                user_data: entry.user_data(),
                result: entry.result(),
                flags: entry.flags(),
            }));
        }
        let event = self.events.get(self.next_event).copied()?;
        self.next_event += 1;
        Some(event)
    }

    fn call(&mut self, least: u32, flags: u32, args: Option<&EnterArgs>) -> io::Result<()> {
        let queued = self.io.submission().len() as u32;
        let (pointer, len) = match args {
            Some(args) => (std::ptr::from_ref(args), size_of::<EnterArgs>()),
            None => (std::ptr::null(), 0),
        };
        let flags = flags | REGISTERED_RING;
        self.system_calls += 1;
        // SAFETY: the index is this thread's registration of a live ring; `queued` entries were pushed under the
        // promise of `push`; the arguments are read during the call only.
        let done = unsafe {
            libc::syscall(libc::SYS_io_uring_enter, self.registered, queued, least, flags, pointer, len)
        };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let mut update = RingUpdate { offset: self.registered as u32, reserved: 0, data: 0 };
        // SAFETY: one update is passed, as stated; the kernel reads it during the call.
        unsafe {
            libc::syscall(
                libc::SYS_io_uring_register,
                self.io.as_raw_fd(),
                UNREGISTER_RING_FDS,
                &raw mut update,
                1,
            )
        };
    }
}

/// The crate can register a ring too, but remembers the index only in a borrow of the ring.
fn register_ring(fd: RawFd) -> io::Result<RawFd> {
    let mut update = RingUpdate { offset: u32::MAX, reserved: 0, data: fd as u64 };
    // SAFETY: one update is passed, as stated; the kernel reads it and writes the index into it during the call.
    let done =
        unsafe { libc::syscall(libc::SYS_io_uring_register, fd, REGISTER_RING_FDS, &raw mut update, 1) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(update.offset as RawFd) }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN))
}

/// `struct io_uring_getevents_arg` of io_uring_enter(2).
#[repr(C)]
struct EnterArgs {
    sigmask: u64,
    sigmask_len: u32,
    min_wait_us: u32,
    timeout: u64,
}

/// `struct io_uring_rsrc_update` of io_uring_register(2).
#[repr(C)]
struct RingUpdate {
    offset: u32,
    reserved: u32,
    data: u64,
}

/// Flags of io_uring_enter(2).
const GETEVENTS: u32 = 1;
const EXT_ARG: u32 = 1 << 3;
const REGISTERED_RING: u32 = 1 << 4;
/// Operations of io_uring_register(2).
const REGISTER_RING_FDS: u32 = 20;
const UNREGISTER_RING_FDS: u32 = 21;
/// Completions copied out at a time; 16 bytes each.
const EVENTS_MAX: usize = 256;
