//! What the run costs, read from outside: CPU and memory of a process, slab caches of the kernel.

pub mod process;
pub mod slab;

pub use process::{Cpu, Process};
pub use slab::{Slab, Spent};
