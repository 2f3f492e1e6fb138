//! What a ring is built with beside what every driver is, and building it.

use std::collections::VecDeque;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::AsRawFd;
use std::time::Duration;

use io_uring::IoUring;

use super::buffers::Buffers;
use super::ring::{Ring, Sleep};
use super::slots::Slots;
use super::stable::Stable;
use super::{Lent, Owed, Pressed, Uring};
use crate::blocked::{Blocked, Step};
use crate::config::Config;
use crate::doorbell::{Doorbells, Waker};
use crate::limits;
use crate::ops::{Completion, Counters};
use crate::pool::{Pool, PoolSize};

/// What only a driver over io_uring is built with.
#[derive(Clone, Copy, Debug)]
pub struct RingConfig {
    /// Entries of the submission queue, 64 bytes each. Also what one flush makes of requests at most, and the kernel
    /// keeps the memory of every request a ring ever had at once, 256 bytes each: a long queue saves a few system
    /// calls in a wave of messages and costs a megabyte per 4,096 entries for good.
    pub submissions: u32,
    /// Entries of the completion queue, 16 bytes each; at least as many as submissions. A storm of reconnects is what
    /// it is sized for: completions beyond it are kept by the kernel, slowly.
    pub completions: u32,
    /// After a busy turn, how long to wait for more than one completion before one is enough. `None` never does, which
    /// is right whenever workers share their processors.
    pub batch_wait: Option<Duration>,
    /// How many completions make a turn busy, and how many the wait after it hopes for.
    pub batch_least: u32,
}

impl Default for RingConfig {
    fn default() -> RingConfig {
        RingConfig { submissions: 512, completions: 16_384, batch_wait: None, batch_least: 8 }
    }
}

impl Uring {
    /// Builds a ring of the usual measures. Must run on the thread that will use it: the kernel binds a ring to its
    /// creator.
    ///
    /// # Errors
    /// [`Blocked`] names the step that failed, the cause and what to do.
    ///
    /// # Panics
    /// When `index` is not below the number of workers the doorbells were made for, or there are more than 255
    /// listeners.
    pub fn new(config: Config, doorbells: Doorbells, index: u32) -> Result<Uring, Blocked> {
        Uring::with_ring(config, RingConfig::default(), doorbells, index)
    }

    /// Like [`Uring::new`], with measures of the ring's own.
    ///
    /// # Errors
    /// As in [`Uring::new`].
    ///
    /// # Panics
    /// As in [`Uring::new`].
    pub fn with_ring(
        config: Config,
        measures: RingConfig,
        doorbells: Doorbells,
        index: u32,
    ) -> Result<Uring, Blocked> {
        assert!(index < doorbells.workers(), "every worker has a doorbell");
        assert!(config.listeners.len() <= usize::from(u8::MAX), "listeners are counted in a byte");
        let io = create(measures.submissions, measures.completions)?;
        let slots = register_slots(&io, config.slots)?;
        let links = register_pool(&io, config.links, Pool::Links)?;
        let streams = register_pool(&io, config.streams, Pool::Streams)?;
        let waker = Waker::new().map_err(Blocked::at(Step::Waker))?;
        let can_batch = io.params().is_feature_min_timeout();
        let ring = Ring::new(io).map_err(Blocked::at(Step::RingDescriptor))?;
        let ring_fd = ring.io().as_raw_fd();
        let lent = Lent {
            slots: Slots::new(slots, config.generation),
            links,
            streams,
            parks: Stable::new(),
            dials: Stable::new(),
            woken: Stable::new(),
            close_timeout: Stable::new(),
        };
        let mut uring = Uring {
            ring,
            lent: ManuallyDrop::new(lent),
            parked: vec![Vec::new(); config.listeners.len()],
            listeners: config.listeners,
            doorbells,
            index,
            waker,
            ready: VecDeque::new(),
            owed: VecDeque::from([Owed::Wake]),
            in_flight: 0,
            turn: 0,
            counters: Counters::default(),
            batch_wait: measures.batch_wait.filter(|_| can_batch),
            batch_least: measures.batch_least.max(1),
            connect_timeout: config.connect_timeout,
            pressed: Pressed::default(),
        };
        if let Some(timeout) = config.close_timeout {
            uring.lent.close_timeout.insert(timeout.as_millis().try_into().unwrap_or(i32::MAX));
        }
        uring.lent.woken.insert(0);
        uring.doorbells.enter(index, ring_fd);
        if uring.doorbells.workers() > 1 {
            // Whoever rang before this worker had a ring was not heard, so it looks once of its own accord.
            uring.ready.push_back(Completion::Rung);
        }
        Ok(uring)
    }
}

/// Makes a ring with everything this driver builds on.
pub(crate) fn create(submissions: u32, completions: u32) -> Result<IoUring, Blocked> {
    let mut builder = IoUring::builder();
    builder
        .dontfork()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_submit_all()
        .setup_no_sqarray()
        .setup_cqsize(completions.max(submissions))
        .setup_clamp();
    let io = builder.build(submissions.max(1)).map_err(Blocked::at(Step::Setup))?;
    for (has, step) in [
        (io.params().is_feature_ext_arg(), Step::Feature("EXT_ARG (timeouts while waiting)")),
        (io.params().is_feature_nodrop(), Step::Feature("NODROP (no completion is lost)")),
        (io.params().is_feature_skip_cqe_on_success(), Step::Feature("CQE_SKIP (silent successes)")),
    ] {
        if !has {
            return Err(Blocked::at(step)(io::Error::from_raw_os_error(libc::EOPNOTSUPP)));
        }
    }
    Ok(io)
}

/// Goes through everything `Uring::new` registers, with the largest socket table there may be, and enters the ring once;
/// returns the table's size.
pub(crate) fn try_out(io: IoUring) -> Result<u32, Blocked> {
    let slots = register_slots(&io, u32::MAX)?;
    let buffers = register_pool(&io, PoolSize { count: 1, size: 64 }, Pool::Links)?;
    let mut ring = Ring::new(io).map_err(Blocked::at(Step::RingDescriptor))?;
    // A filter may allow to make a ring and forbid to enter it.
    ring.enter(Sleep::No).map_err(Blocked::at(Step::Enter))?;
    drop(ring);
    drop(buffers);
    Ok(slots)
}

/// Registers an empty socket table and returns its size.
fn register_slots(io: &IoUring, wanted: u32) -> Result<u32, Blocked> {
    let limit = limits::open_files().map_or(u64::from(wanted), |files| files.soft);
    let slots = u64::from(wanted).min(limit).clamp(1, SLOTS_MAX) as u32;
    io.submitter().register_files_sparse(slots).map_err(Blocked::at(Step::SocketTable))?;
    Ok(slots)
}

/// Maps the buffers of a pool and registers them.
fn register_pool(io: &IoUring, size: PoolSize, pool: Pool) -> Result<Buffers, Blocked> {
    let buffers = Buffers::new(size).map_err(Blocked::at(Step::BufferMemory))?;
    let (address, entries) = buffers.ring();
    // SAFETY: the ring is `entries` long and page-aligned; it is unmapped only after every receive is over, and the
    // kernel reads it only for receives.
    let registered = unsafe { io.submitter().register_buf_ring_with_flags(address, entries, group(pool), 0) };
    registered.map_err(Blocked::at(Step::BufferRing))?;
    Ok(buffers)
}

/// The kernel's name of a pool.
pub(super) fn group(pool: Pool) -> u16 {
    match pool {
        Pool::Links => 0,
        Pool::Streams => 1,
    }
}

/// `IORING_MAX_FIXED_FILES`.
const SLOTS_MAX: u64 = 1 << 20;
