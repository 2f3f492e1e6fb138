//! The binary: options in, text and JSON out, an exit code that tells how it went.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use loadgen::options::Options;
use loadgen::output::Output;
use loadgen::result::Report;
use loadgen::scenario;
use loadgen::stop::{Stop, heed_signals};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The run could not take place.
const NOT_RUN: u8 = 2;

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(report) => ExitCode::from(report.exit_code()),
        Err(error) => {
            let _nobody_reads = writeln!(std::io::stderr().lock(), "loadgen: {error}");
            ExitCode::from(NOT_RUN)
        }
    }
}

fn run(options: &Options) -> Result<Report, String> {
    let stop = Stop::default();
    heed_signals(stop.clone()).map_err(|error| format!("the signal handlers: {error}"))?;
    let output = options.scenario.shared().json.as_deref().map(Output::open).transpose()?;
    let report = scenario::run(options, &stop)?;
    let _nobody_reads = write!(std::io::stdout().lock(), "{}", report.text());
    if let Some(output) = output {
        let json = serde_json::to_string_pretty(&report).expect("a report has string keys and plain values");
        output.write(&(json + "\n"))?;
    }
    Ok(report)
}
