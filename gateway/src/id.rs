//! Names of links, good in the whole node and in its streams to backends.

use std::fmt;

/// A link: its worker, its slot there, and which tenant of the slot is meant. One that is gone is never mistaken
/// for its successor.
///
/// ```text
///  63        52 51                  32 31                              0
/// ┌────────────┬──────────────────────┬─────────────────────────────────┐
/// │   worker   │         slot         │           generation            │
/// └────────────┴──────────────────────┴─────────────────────────────────┘
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(u64);

/// The most workers a node can have.
pub const WORKERS_MAX: u32 = 1 << WORKER_BITS;
/// The most slots a worker can have.
pub const SLOTS_MAX: u32 = 1 << SLOT_BITS;

impl LinkId {
    /// The link with this place and generation.
    ///
    /// # Panics
    /// When `worker` is not below [`WORKERS_MAX`] or `slot` not below [`SLOTS_MAX`], which the config rules out.
    #[must_use]
    pub const fn new(worker: u32, slot: u32, generation: u32) -> Self {
        assert!(worker < WORKERS_MAX && slot < SLOTS_MAX, "the config bounds workers and slots");
        Self(
            (worker as u64) << (SLOT_BITS + GENERATION_BITS)
                | (slot as u64) << GENERATION_BITS
                | generation as u64,
        )
    }

    /// The id as it stands in frames of a stream. Every number is an id, though maybe not of a living link.
    #[must_use]
    pub const fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// The number in frames of a stream.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// Index of the worker that holds the link.
    #[must_use]
    pub const fn worker(self) -> u32 {
        (self.0 >> (SLOT_BITS + GENERATION_BITS)) as u32
    }

    /// Index into that worker's table.
    #[must_use]
    pub const fn slot(self) -> u32 {
        (self.0 >> GENERATION_BITS) as u32 & (SLOTS_MAX - 1)
    }

    /// Which tenant of the slot.
    #[must_use]
    pub const fn generation(self) -> u32 {
        self.0 as u32
    }
}

impl fmt::Debug for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkId({self})")
    }
}

/// `worker.slot.generation`, as in logs.
impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.worker(), self.slot(), self.generation())
    }
}

const WORKER_BITS: u32 = 12;
const SLOT_BITS: u32 = 20;
const GENERATION_BITS: u32 = 32;
const _: () = assert!(WORKER_BITS + SLOT_BITS + GENERATION_BITS == 64);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_parts_lie_where_the_specification_says() {
        let id = LinkId::new(0xabc, 0x1_2345, 0x6789_abcd);
        assert_eq!(id.number(), 0xabc1_2345_6789_abcd);
        assert_eq!(id.to_string(), "2748.74565.1737075661");
    }

    proptest! {
        #[test]
        fn every_number_is_an_id_and_keeps_its_parts(number: u64) {
            let id = LinkId::from_number(number);
            prop_assert_eq!(LinkId::new(id.worker(), id.slot(), id.generation()), id);
            prop_assert_eq!(id.number(), number);
        }
    }
}
