//! `idle`: a population of links that does nothing but answer for itself, and what each of them costs.

use std::time::Duration;

use super::course::{Course, Memory, Stretch};
use crate::fleet::Load;
use crate::options::Idle;
use crate::result::{Gateway, Kernel, Report, Setup};
use crate::stop::Stop;

pub(super) fn run(options: &Idle, stop: &Stop) -> Result<Report, String> {
    let course = Course {
        scenario: "idle",
        links: options.links,
        load: Box::new(|_| Load::Idle),
        size: 1,
        batch: 1,
        legs: vec![Stretch {
            warmup: Duration::ZERO,
            duration: options.duration,
            cycles_max: 0,
            resume: false,
        }],
        memory: true,
    };
    let outcome = course.run(&options.shared, stop)?;
    let setup = Setup::new(&options.shared, options.links, outcome.workers, options.duration);
    let mut report = outcome.report("idle", setup);
    report.count_heartbeats(&outcome.tally.counts);
    // What no link was left for when it was measured is no link's.
    if let Some(memory) = outcome.memory.filter(|memory| memory.links > 0) {
        let kernel = kernel(&memory);
        report.kernel = (!kernel.is_empty()).then_some(kernel);
        report.gateway = memory.gateway_pss.map(|bytes| Gateway {
            pss_bytes_per_link: Some(per_link(bytes, memory.links)),
            ..Gateway::default()
        });
        report.generator.pss_bytes_per_link = memory.own_pss.map(|bytes| per_link(bytes, memory.links));
    }
    Ok(report.judge())
}

/// Both ends of every link are on this machine. A socket costs the kernel the same at either end, so that half of it
/// is one end's. What a ring costs differs with what is armed: this end's part is known and taken off.
fn kernel(memory: &Memory) -> Kernel {
    let links = memory.links as f64;
    Kernel {
        socket_bytes_per_link: memory.slab.map(|slab| slab.sockets / links / 2.0),
        io_uring_bytes_per_link: memory.slab.map(|slab| slab.io_uring / links - slab.poll),
        other_bytes_per_link: memory.slab.map(|slab| slab.other / links / 2.0),
    }
}

fn per_link(bytes: i64, links: u64) -> f64 {
    bytes as f64 / links as f64
}
