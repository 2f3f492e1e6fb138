//! The way of requests to the backends: which stream takes one, what is in flight, what waits for credit, and
//! when an endpoint is dialled again. Decisions only; the worker owns the sockets.

pub mod park;
pub mod pending;
pub mod redial;
pub mod route;

/// An endpoint's place in the worker's list, and that of its stream: a worker has one stream per endpoint. It
/// stays when the stream is dialled again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamIndex(pub u16);

/// One connection of a stream: what was said on an earlier one says nothing on a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The stream.
    pub stream: StreamIndex,
    /// Counts its connections.
    pub epoch: u32,
}

/// A route's place in the worker's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteIndex(pub u16);
