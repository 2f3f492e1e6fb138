//! What all streams of a server have in common.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use protocol::limits::BOOT_ID_LEN;
use protocol::stream::{Access, Params};

use crate::bounds::Bounds;
use crate::clock::Clock;
use crate::counters::Counters;
use crate::gateway::{Gateway, Registry};
use crate::ledger::Ledger;
use crate::service::{Event, Service};

/// One per server, lent to each of its streams.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) service: Service,
    pub(crate) access: Arc<Access>,
    pub(crate) params: Params,
    pub(crate) bounds: Bounds,
    pub(crate) instance: Vec<u8>,
    /// New at each start, and said to every gateway: what it knows of pushes from before is of another one.
    pub(crate) boot: [u8; BOOT_ID_LEN],
    pub(crate) gateways: Registry,
    pub(crate) ledger: Ledger,
    pub(crate) clock: Clock,
    pub(crate) counters: Counters,
    pub(crate) streams: AtomicU64,
}

impl Shared {
    /// Does what belongs to the service, on the stream's own task. A panic there is counted and goes no further, as the
    /// stream is everybody's: `None`.
    pub(crate) fn guarded<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        // Whatever of the service was left half changed is its own business, as with every lock that is poisoned.
        let done = catch_unwind(AssertUnwindSafe(work));
        if done.is_err() {
            self.counters.panics.add(1);
        }
        done.ok()
    }

    /// Tells the service of an event.
    pub(crate) fn tell(&self, event: Event<'_>, gateway: &Gateway) {
        self.guarded(|| self.service.tell(event, gateway));
    }

    /// A name no other stream of this process has.
    pub(crate) fn next_stream(&self) -> u64 {
        self.streams.fetch_add(1, Ordering::Relaxed)
    }
}
