//! The first line of defence: decisions before anything is spent on a stranger.
//!
//! * `lists` — which addresses are let in without being counted, and which not at all;
//! * `replay` — tickets that were seen before.

pub mod lists;
mod replay;

pub use replay::ReplayFilter;
