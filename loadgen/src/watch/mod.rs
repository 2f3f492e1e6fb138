//! What the run costs, read from outside: CPU and memory of a process, slab caches of the kernel, the metrics of a gateway.

pub mod metrics;
pub mod process;
pub mod slab;

pub use metrics::Metrics;
pub use process::{Cpu, Process};
pub use slab::{Slab, Spent};
