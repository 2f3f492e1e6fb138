//! Functions that lead back to themselves in every way the reader must see, and one that does not. They are compiled as
//! the gateway is, into the binary of this test.

use std::hint::black_box;

/// Everything here, called once so that the linker keeps it.
pub(crate) fn run() -> u32 {
    let all = [there, by_tail, by_closure, by_instance, by_address, by_pointer, straight];
    all.iter().map(|function| function(black_box(2))).sum()
}

/// Leads back over [`back`].
fn there(n: u32) -> u32 {
    if n == 0 { 0 } else { 1 + back(n) }
}

fn back(n: u32) -> u32 {
    there(n - 1)
}

/// An optimiser makes this a loop, and a cycle that has become a loop is one that nobody sees.
fn by_tail(n: u32) -> u32 {
    if n == 0 { 0 } else { by_tail(n - 1) }
}

/// Leads back over a function of the standard library, which calls a closure.
fn by_closure(n: u32) -> u32 {
    n.checked_sub(1).map(|less| 1 + by_closure(less)).unwrap_or_default()
}

/// Leads back over an instance of a generic function.
fn by_instance(n: u32) -> u32 {
    if n == 0 { 0 } else { apply(|| by_instance(n - 1)) }
}

fn apply(function: impl FnOnce() -> u32) -> u32 {
    1 + function()
}

/// Leads back over a pointer it makes itself.
fn by_address(n: u32) -> u32 {
    let again: fn(u32) -> u32 = black_box(by_address);
    if n == 0 { 0 } else { again(n - 1) }
}

/// Leads back over a pointer that lies in memory: no edge says so.
fn by_pointer(n: u32) -> u32 {
    if n == 0 { 0 } else { black_box(&TABLE)[0](n - 1) }
}

static TABLE: [fn(u32) -> u32; 1] = [by_pointer];

/// Leads to others and back to nobody.
fn straight(n: u32) -> u32 {
    there(n) + by_tail(n) + apply(|| by_closure(n)) + last(n)
}

/// Its address is nowhere.
fn last(n: u32) -> u32 {
    n.checked_sub(1).map_or(0, |less| less / 2)
}
