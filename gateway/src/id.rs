//! Names of links, good in the whole node and in its streams to backends, and names of users and devices.

use std::fmt;
use std::hash::{Hash, Hasher};

use protocol::limits::ID_LEN_MAX;

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

/// Bytes kept without an allocation.
const INLINE: usize = 24;

/// 1–64 opaque bytes. Up to 24 are kept inline, so the ids people choose cost nothing extra.
#[derive(Clone)]
enum Opaque {
    Inline { len: u8, bytes: [u8; INLINE] },
    Boxed(Box<[u8]>),
}

impl Opaque {
    fn new(bytes: &[u8]) -> Option<Self> {
        match bytes.len() {
            0 => None,
            len @ 1..=INLINE => {
                let mut inline = [0; INLINE];
                inline[..len].copy_from_slice(bytes);
                Some(Self::Inline { len: len as u8, bytes: inline })
            }
            len if len <= ID_LEN_MAX => Some(Self::Boxed(bytes.into())),
            _ => None,
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Self::Boxed(bytes) => bytes,
        }
    }
}

/// Declares a name of opaque bytes.
macro_rules! opaque {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone)]
        pub struct $name(Opaque);

        impl $name {
            /// The id, if it has 1–64 bytes.
            #[must_use]
            pub fn new(bytes: &[u8]) -> Option<Self> {
                Opaque::new(bytes).map(Self)
            }

            /// Its bytes.
            #[must_use]
            pub fn bytes(&self) -> &[u8] {
                self.0.bytes()
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.bytes() == other.bytes()
            }
        }

        impl Eq for $name {}

        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.bytes().hash(state);
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.bytes().escape_ascii())
            }
        }
    };
}

opaque! {
    /// A user, as the authentication names it.
    UserId
}

opaque! {
    /// One of a user's devices.
    DeviceId
}

const _: () = assert!(size_of::<UserId>() == 32, "a session budgets two ids of 32 bytes");

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

    #[test]
    fn ids_of_one_to_sixty_four_bytes_exist_and_equal_by_bytes() {
        for len in 1..=64 {
            let bytes: Vec<u8> = (0..len).collect();
            assert_eq!(UserId::new(&bytes).unwrap().bytes(), &bytes[..]);
            assert_eq!(UserId::new(&bytes), UserId::new(&bytes));
        }
        assert!(UserId::new(&[]).is_none() && DeviceId::new(&[0; 65]).is_none());
        assert_ne!(UserId::new(b"a"), UserId::new(b"a\0"));
        assert_eq!(UserId::new(b"a\n\xff").unwrap().to_string(), "a\\n\\xff");
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
