//! Clients and a backend that write down what they promise, hear and do, as tests/ledger/check.py reads it: processes for
//! a test to kill.
//!
//! Each writes a line before it acts on it, so that no kill loses one that somebody else has seen the effect of, and goes on
//! from its ledger when it is started again. Standard input: `quiet` begins nothing new any more, and `quiet` is said on standard output
//! when all that was begun has come to its end; the end of the input ends the process.

mod backend;
mod clients;
mod ledger;
mod orders;
mod seen;

use std::error::Error;

use clap::Parser;

/// A peer of a gateway.
#[derive(Parser)]
enum Line {
    /// A service that answers requests and delivers messages to users.
    Backend(backend::Line),
    /// Clients, each of a user of its own.
    Clients(clients::Line),
}

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match Line::parse() {
        Line::Backend(line) => runtime.block_on(backend::run(line)),
        Line::Clients(line) => runtime.block_on(clients::run(line)),
    }
}
