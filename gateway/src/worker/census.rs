//! How much a worker holds of everything that must go back to zero.

/// What a worker holds, counted whenever somebody asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Links in the table.
    pub links: usize,
    /// Links that have proved nothing.
    pub strangers: usize,
    /// Complete hellos that wait for the handshake budget, and those whose link died meanwhile.
    pub hailed: usize,
    /// Handshakes that wait for message 3.
    pub begun: usize,
    /// Links that are gone for everybody and still to be buried.
    pub marked: usize,
    /// Links that say their last frame.
    pub lingering: usize,
    /// Links that are not read for a while.
    pub paused: usize,
    /// Sessions.
    pub sessions: usize,
    /// Claims this worker owns.
    pub claims: usize,
    /// Links whose session is on its way to them.
    pub resuming: usize,
    /// Pushes that sessions are owed.
    pub owed: usize,
    /// Bytes of memory of their bodies.
    pub owed_bytes: usize,
    /// Parts of packages that wait for those before them.
    pub parts: usize,
    /// Bytes of buffers with partial records and frames.
    pub partial_bytes: usize,
    /// The same of links that have proved nothing yet.
    pub stranger_bytes: usize,
    /// Bytes of buffers with what waits to be sent to links, or is on its way.
    pub outgoing_bytes: usize,
    /// Requests at backends.
    pub pending: usize,
    /// Requests that wait for credit.
    pub parked: usize,
    /// Bytes of them.
    pub parked_bytes: usize,
    /// Tokens at a backend that judges them.
    pub judging: usize,
    /// Letters in its own queue, and to itself.
    pub letters: usize,
    /// Workers with letters from this one that are still to be rung.
    pub unrung: usize,
    /// Letters that wait for room in another worker's queue.
    pub unsent: usize,
    /// Streams that are ready.
    pub streams: usize,
}
