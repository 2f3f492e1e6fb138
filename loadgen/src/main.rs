//! The binary: options in, text and JSON out, an exit code that tells how it went.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use loadgen::options::{Options, Scenario};
use loadgen::result::Report;
use loadgen::scenario;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The run could not take place.
const NOT_RUN: u8 = 2;

fn main() -> ExitCode {
    let options = Options::parse();
    match scenario::run(&options).and_then(|report| write(&options, &report).map(|()| report)) {
        Ok(report) => ExitCode::from(report.exit_code()),
        Err(error) => {
            let _nobody_reads = writeln!(std::io::stderr().lock(), "loadgen: {error}");
            ExitCode::from(NOT_RUN)
        }
    }
}

fn write(options: &Options, report: &Report) -> Result<(), String> {
    let _nobody_reads = write!(std::io::stdout().lock(), "{}", report.text());
    let shared = match &options.scenario {
        Scenario::Idle(idle) => &idle.shared,
        Scenario::Echo(echo) => &echo.shared,
        Scenario::Connect(connect) => &connect.shared,
    };
    let Some(path) = &shared.json else { return Ok(()) };
    let json = serde_json::to_string_pretty(report).expect("a report has string keys and plain values");
    std::fs::write(path, json + "\n").map_err(|error| format!("{}: {error}", path.display()))
}
