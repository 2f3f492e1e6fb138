//! Pools of receive buffers: which there are, how large they are, and what arrives in them.

/// Which pool of receive buffers an operation draws on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// Many small buffers (2 KiB by default) for client links.
    Links,
    /// Fewer large buffers (64 KiB by default) for streams to backends.
    Streams,
}

/// Number and size of the receive buffers of one pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSize {
    /// Number of buffers: a power of two, at most 32,768.
    pub count: u16,
    /// Bytes per buffer; a record or batch larger than this arrives in several chunks.
    pub size: u32,
}

/// Bytes that arrived, inside the driver's pool. Not cloneable: whoever holds it must give it back with
/// [`Driver::recycle`](crate::Driver::recycle) before the turn ends, or the pool runs dry.
#[must_use = "a chunk must be recycled in the turn it arrived in"]
#[derive(Debug, PartialEq, Eq)]
pub struct Chunk {
    pub(crate) pool: Pool,
    pub(crate) id: u16,
    pub(crate) start: u32,
    pub(crate) len: u32,
}

impl Chunk {
    /// Number of bytes that arrived; never zero.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a chunk is never empty")]
    pub fn len(&self) -> usize {
        self.len as usize
    }
}
