//! Data structures a worker is made of. They know nothing of links or streams, take memory when they are built
//! and do not take more while they work.

pub mod frequent;
pub mod hash;
pub mod name;
pub mod pool;
pub mod queues;
pub mod slab;
pub mod wheel;

pub use frequent::Frequent;
pub use hash::{HashKey, Identity};
pub use name::Name;
pub use pool::Pool;
pub use queues::Queues;
pub use slab::{Key, Slab};
pub use wheel::Wheel;
