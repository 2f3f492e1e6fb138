//! The load generator: drives many encrypted client links against a gateway and says what they cost both ends.
//!
//! ```text
//! main ─► options ─► scenario/{idle,echo,connect,push,slow,abuse,storm} ─► crew ─► worker (one thread, one ring) ─► fleet ─► driver
//!                        │   baselines, legs           ▲ orders, events, boards
//!                        │   abuse ─► raid (one thread, one ring) ─► mob ─► driver
//!                        └──► watch (/proc, /metrics) ──► result ─► report, JSON
//! ```
//!
//! The [`fleet`] and the [`mob`] are state machines over [`driver::Driver`] that read no clock; the rest is the shell around them.

pub mod clock;
mod crew;
pub mod fleet;
pub mod mob;
pub mod opening;
pub mod options;
pub mod output;
mod payload;
pub mod plan;
mod progress;
pub mod pushes;
mod raid;
mod report;
pub mod result;
pub mod scenario;
pub mod sources;
pub mod stop;
pub mod tally;
pub mod target;
mod timers;
pub mod tokens;
mod units;
pub mod watch;
mod worker;
