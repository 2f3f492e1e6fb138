//! A client against a gateway made of the protocol's own machine, on a clock that jumps.

mod acks;
mod attacks;
mod cold;
mod gateway;
mod link;
mod offline;
mod redial;
mod resume;
mod sleep;
mod unpinned;
mod wishes;
