//! The first line of defence: decisions before anything is spent on a stranger.
//!
//! * `balancers` — who says whose a connection is, and what is said;
//! * `buckets` — what addresses may cost, and how much of it is used up;
//! * `ladder` — what is given up when there is too much to do;
//! * `lists` — which addresses are let in without being counted, and which not at all;
//! * `rates` — what those may say who are in;
//! * `replay` — tickets that were seen before;
//! * `share` — how much of a core newcomers may take.

pub mod balancers;
pub mod buckets;
pub mod ladder;
pub mod lists;
pub mod rates;
mod replay;
pub mod share;

pub use replay::ReplayFilter;
