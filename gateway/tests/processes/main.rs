//! The whole binary: it starts, it serves, backends die and come back, strangers get nothing, and it ends cleanly.

mod advice;
mod backends;
mod balanced;
mod banned;
mod client;
mod cores;
mod cut;
mod delegated;
mod forbidden;
mod full;
mod guarded;
mod keys;
mod large;
mod life;
mod links;
mod places;
mod probes;
mod rates;
mod restart;
mod signals;
mod signed;
mod slow;
mod stage;
mod tickets;
mod trust;
mod unread;
