//! House rules a machine can check: imports point down and in no circle, files and functions fit, banned words stay
//! out.

mod circles;
mod features;
mod imports;
mod layers;
mod outline;
mod size;
mod sources;
mod tokens;
mod tree;
mod words;
