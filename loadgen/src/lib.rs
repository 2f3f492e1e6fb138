//! The load generator: drives many encrypted client links against a gateway and says what they cost both ends.
//!
//! ```text
//! main ─► options ─► scenario/{idle,echo,connect} ─► crew ─► worker (one thread, one ring) ─► fleet ─► driver
//!                        │   baselines, legs           ▲ orders, events, boards
//!                        └──► watch (/proc) ──► result ─► report, JSON
//! ```
//!
//! The [`fleet`] is a state machine over [`driver::Driver`] that reads no clock; the rest is the shell around it.

pub mod clock;
mod crew;
pub mod fleet;
pub mod options;
pub mod output;
mod payload;
pub mod plan;
mod progress;
mod report;
pub mod result;
pub mod scenario;
pub mod stop;
pub mod tally;
pub mod target;
mod timers;
mod units;
pub mod watch;
mod worker;
