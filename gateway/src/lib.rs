pub mod config;
pub mod counters;
pub mod id;
pub mod upstream;
