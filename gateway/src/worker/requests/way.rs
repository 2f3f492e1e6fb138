//! A request's way through the parts.

use protocol::Time;

use crate::answers::EntryKey;
use crate::id::LinkId;
use crate::upstream::{RouteIndex, StreamIndex};

/// Where a request goes and what it takes.
#[derive(Clone, Copy, Debug)]
pub(in crate::worker) struct Way {
    /// Whose it is.
    pub(in crate::worker) link: LinkId,
    /// By which route.
    pub(in crate::worker) route: RouteIndex,
    /// To which endpoint.
    pub(in crate::worker) stream: StreamIndex,
    /// Hash of its ordering key; zero when it has none.
    pub(in crate::worker) order: u32,
    /// The credit it needs.
    pub(in crate::worker) cost: u32,
    /// Where its session remembers it.
    pub(in crate::worker) entry: Option<EntryKey>,
    /// How long it may wait for it.
    pub(in crate::worker) patience: Time,
}

/// The same before an endpoint is chosen: what the request says itself.
#[derive(Clone, Copy, Debug)]
pub(in crate::worker) struct Asking {
    /// By which route it goes.
    pub(in crate::worker) route: RouteIndex,
    /// Hash of its ordering key; zero when it has none, or its route keeps no order.
    pub(in crate::worker) order: u32,
    /// Where its session remembers it.
    pub(in crate::worker) entry: Option<EntryKey>,
    /// How long it may wait for credit.
    pub(in crate::worker) patience: Time,
}
