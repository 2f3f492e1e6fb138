//! A client against a gateway made of the protocol's own machine, on a clock that jumps.

mod attacks;
mod gateway;
mod link;
mod offline;
mod redial;
mod unpinned;
mod wishes;
