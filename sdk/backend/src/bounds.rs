//! How much a server takes on.

use std::time::Duration;

/// How much a server takes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Streams at once whose gateways have introduced themselves; more are closed at once.
    pub streams_max: usize,
    /// Connections at once on which no gateway has introduced itself yet, at least 1; when one more comes, the one that
    /// has waited longest is closed. Each holds a few kilobytes.
    pub newcomers_max: usize,
    /// Handlers of one stream that take their time, at once; more requests are refused as busy. Each may leave an
    /// answer, of at most 1 MiB, that waits for a gateway which takes none.
    pub handlers_max: usize,
    /// Requests of one key that may wait for their turn, on a stream and a route that keeps an order; more are refused as
    /// busy. Those that wait count among the handlers, too.
    pub ordered_max: usize,
    /// Tokens of one stream judged at once; more are told to try later.
    pub judges_max: usize,
    /// Pushes of one stream that may wait for credit, from 1 to
    /// [`Semaphore::MAX_PERMITS`](tokio::sync::Semaphore::MAX_PERMITS).
    pub pushes_max: usize,
    /// Pushes of one stream that are to be delivered at least once and may wait for a place among the open ones, of which the
    /// gateway has as many as it says; as `pushes_max`.
    pub deliveries_max: usize,
    /// Pushes of one worker of a gateway that may be open, however many places it says it has.
    pub open_max: usize,
    /// How long a push without a time to live stays open of which nothing has been heard since its gateway came back: it may have
    /// been lost with the stream that broke, and then nobody will ever report it.
    pub unheard_max: Duration,
    /// How long a stopping server waits for its handlers, and for gateways to take what waits for them; see
    /// [`Server::serve`](crate::Server::serve).
    pub drain_deadline: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            streams_max: 1024,
            newcomers_max: 256,
            handlers_max: 4096,
            ordered_max: 64,
            judges_max: 1024,
            pushes_max: 4096,
            deliveries_max: 4096,
            open_max: 65_536,
            unheard_max: Duration::from_secs(600),
            drain_deadline: Duration::from_secs(10),
        }
    }
}
