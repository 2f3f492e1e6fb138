//! The binary: a terminal chat, and an echo to try a gateway with.

#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    cli::run(cli::Line::parse())
}
