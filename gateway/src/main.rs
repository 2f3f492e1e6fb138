//! The `gateway` binary.

#![forbid(unsafe_code)]

use std::process::ExitCode;

/// Without huge pages: with them, a link would cost twice the memory it uses.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    gateway::cli::main().into()
}
