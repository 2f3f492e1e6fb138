//! One worker's place and everything it has of its own, as it is in force.

use std::time::Duration;

/// One worker's place, with every value resolved: what its `[[core]]` says, or else what holds for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Core {
    /// CPU its thread is bound to.
    pub cpu: u32,
    /// Sockets it may have, of all kinds.
    pub slots: u32,
    /// Indices of the [`Config::listeners`](super::Config::listeners) it accepts from: ascending, never empty. Their order
    /// is that of its driver.
    pub listeners: Vec<usize>,
    /// Entries of its ring's queue of operations.
    pub submissions: u32,
    /// Entries of its ring's queue of completions; not less.
    pub completions: u32,
    /// How long it waits for `batch_least` completions after a busy turn; zero for not at all.
    pub batch_wait: Duration,
    /// Completions that make a turn a busy one.
    pub batch_least: u32,
    /// Receive buffers for links, a power of two.
    pub link_buffers: u32,
    /// Bytes of each.
    pub link_buffer_len: u32,
    /// Receive buffers for streams, a power of two.
    pub stream_buffers: u32,
    /// Bytes of each.
    pub stream_buffer_len: u32,
    /// Accepts it keeps waiting in the kernel, for all its listeners together.
    pub parked_accepts: u32,
    /// Handshakes it computes per turn.
    pub handshakes_per_turn: u32,
}

/// A number of a core: the name of its key, its unit as in [`Bound`](super::Bound), and itself.
pub type CoreNumber = (&'static str, &'static str, u64);

impl Core {
    /// Every number that is in force for it.
    #[must_use]
    pub fn numbers(&self) -> [CoreNumber; 12] {
        let count = |name, number: u32| (name, "1", u64::from(number));
        let bytes = |name, number: u32| (name, "bytes", u64::from(number));
        [
            count("cpu", self.cpu),
            count("slots", self.slots),
            count("submissions", self.submissions),
            count("completions", self.completions),
            ("batch_wait", "microseconds", self.batch_wait.as_micros() as u64),
            count("batch_least", self.batch_least),
            count("link_buffers", self.link_buffers),
            bytes("link_buffer_len", self.link_buffer_len),
            count("stream_buffers", self.stream_buffers),
            bytes("stream_buffer_len", self.stream_buffer_len),
            count("parked_accepts", self.parked_accepts),
            count("handshakes_per_turn", self.handshakes_per_turn),
        ]
    }

    /// Whether it differs from another in nothing but its CPU.
    fn is_like(&self, other: &Self) -> bool {
        Self { cpu: other.cpu, ..self.clone() } == *other
    }
}

/// Whether all differ in nothing but their CPUs.
pub(super) fn are_alike(cores: &[Core]) -> bool {
    cores.iter().all(|core| core.is_like(&cores[0]))
}
