//! What all streams of a server have in common.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use protocol::stream::{Access, Params};

use crate::bounds::Bounds;
use crate::clock::Clock;
use crate::gateway::Registry;
use crate::service::Service;

/// One per server, lent to each of its streams.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) service: Service,
    pub(crate) access: Arc<Access>,
    pub(crate) params: Params,
    pub(crate) bounds: Bounds,
    pub(crate) instance: Vec<u8>,
    pub(crate) gateways: Registry,
    pub(crate) clock: Clock,
    pub(crate) streams: AtomicU64,
}

impl Shared {
    /// A name no other stream of this process has.
    pub(crate) fn next_stream(&self) -> u64 {
        self.streams.fetch_add(1, Ordering::Relaxed)
    }
}
