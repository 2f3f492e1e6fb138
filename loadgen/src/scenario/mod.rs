//! The scenarios, which differ in the load they put on a course and in what they make of its figures.

mod abuse;
mod connect;
mod course;
mod echo;
mod idle;
mod push;
mod pushing;
mod restart;
mod slow;
mod storm;

use crate::options::{Options, Scenario};
use crate::result::Report;
use crate::stop::Stop;

/// Runs what the command line asks for, or as much of it as there is time for before the `stop`.
///
/// # Errors
/// One or two lines when the run could not take place.
pub fn run(options: &Options, stop: &Stop) -> Result<Report, String> {
    match &options.scenario {
        Scenario::Idle(options) => idle::run(options, stop),
        Scenario::Echo(options) => echo::run(options, stop),
        Scenario::Connect(options) => connect::run(options, stop),
        Scenario::Push(options) => push::run(options, stop),
        Scenario::Slow(options) => slow::run(options, stop),
        Scenario::Abuse(options) => abuse::run(options, stop),
        Scenario::Storm(options) => storm::run(options, stop),
    }
}
