//! `idle`: a population of links that does nothing but answer for itself, and what each of them costs.

use std::time::Duration;

use super::course::{Course, Memory, Stretch};
use crate::fleet::Load;
use crate::options::Idle;
use crate::result::{Gateway, Kernel, Report, Setup};
use crate::stop::Stop;
use crate::watch::Spent;

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
        // Whoever logs in before the load begins has its token signed then.
        tokens: 0,
        memory: true,
        pushes: None,
    };
    let outcome = course.run(&options.shared, stop)?;
    let setup = Setup::new(&options.shared, options.links, outcome.workers, options.duration);
    let mut report = outcome.report("idle", setup);
    report.count_heartbeats(&outcome.tally.counts);
    // What no link was left for when it was measured is no link's.
    if let Some(memory) = outcome.memory.filter(|memory| memory.links > 0) {
        count_memory(&mut report, &memory);
    }
    Ok(report.judge())
}

fn count_memory(report: &mut Report, memory: &Memory) {
    let kernel = kernel(memory);
    report.kernel = (!kernel.is_empty()).then_some(kernel);
    let grown =
        |bytes: Option<i64>| bytes.filter(|&bytes| bytes > 0).map(|bytes| per_link(bytes, memory.links));
    report.gateway = grown(memory.gateway_pss)
        .map(|bytes| Gateway { pss_bytes_per_link: Some(bytes), ..Gateway::default() });
    report.generator.pss_bytes_per_link = grown(memory.own_pss);
    if memory.gateway_pss.is_some() && report.gateway.is_none() {
        report.warnings.push(NOT_GROWN.to_owned());
    }
}

/// What a link costs is seen only where its memory is new.
const NOT_GROWN: &str = "not measured: memory of the gateway: it did not grow, since what earlier links left was enough \
                         for these; start the gateway anew and measure it with its first links";

/// Both ends of every link are on this machine. A socket costs the kernel the same at either end, so that half of it
/// is one end's. What a ring costs differs with what is armed: this end's part is known and taken off.
fn kernel(memory: &Memory) -> Kernel {
    let links = memory.links as f64;
    let grown = |per_link: fn(&Spent, f64) -> f64| {
        memory.slab.map(|slab| per_link(&slab, links)).filter(|&bytes| bytes >= 0.0)
    };
    Kernel {
        socket_bytes_per_link: grown(|slab, links| slab.sockets / links / 2.0),
        io_uring_bytes_per_link: grown(|slab, links| slab.io_uring / links - slab.poll),
        other_bytes_per_link: grown(|slab, links| slab.other / links / 2.0),
    }
}

fn per_link(bytes: i64, links: u64) -> f64 {
    bytes as f64 / links as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROWN: Memory = Memory { links: 100, gateway_pss: Some(5000), own_pss: Some(700), slab: None };

    fn counted(memory: &Memory) -> Report {
        let mut report = Report::default();
        count_memory(&mut report, memory);
        report
    }

    #[test]
    fn memory_that_did_not_grow_is_not_that_of_the_links() {
        let report = counted(&GROWN);
        let of_gateway = report.gateway.and_then(|gateway| gateway.pss_bytes_per_link);
        assert_eq!((of_gateway, report.generator.pss_bytes_per_link), (Some(50.0), Some(7.0)));
        assert_eq!(report.warnings, [""; 0]);
        for shrunk in [-5000, 0] {
            let report = counted(&Memory { gateway_pss: Some(shrunk), own_pss: Some(-1), ..GROWN });
            assert_eq!((report.gateway, report.generator.pss_bytes_per_link), (None, None));
            assert!(report.warnings.len() == 1 && report.warnings[0].contains("start the gateway anew"));
        }
        assert_eq!(counted(&Memory { gateway_pss: None, ..GROWN }).warnings, [""; 0], "nobody watches it");
    }

    #[test]
    fn kernel_memory_is_never_less_than_nothing() {
        let spent = Spent { count: 200, sockets: 1000.0, io_uring: 100.0, poll: 256.0, other: 0.0 };
        let kernel = counted(&Memory { slab: Some(spent), ..GROWN }).kernel.unwrap_or_default();
        let figures =
            (kernel.socket_bytes_per_link, kernel.io_uring_bytes_per_link, kernel.other_bytes_per_link);
        assert_eq!(figures, (Some(5.0), None, Some(0.0)));
    }
}
