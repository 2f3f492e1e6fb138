//! The first line of defence: decisions before anything is spent on a stranger.

mod replay;

pub use replay::ReplayFilter;
