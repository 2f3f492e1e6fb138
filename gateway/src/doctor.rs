//! `gateway doctor`: looks at the machine and says, line by line, what was found, what is needed, why, and which
//! command changes it.

use std::fmt::Write;
use std::fs;

use driver::limits::OpenFiles;
use driver::{Blocked, Report};

use crate::config::{Config, CoreDumps};
use crate::control::Exit;

/// What the machine looks like.
#[derive(Clone, Debug)]
pub struct Facts {
    /// What the driver found.
    pub probe: Result<Report, Blocked>,
    /// The limit of open files, as the process was started with it.
    pub open_files: Option<OpenFiles>,
    /// CPUs this process may run on.
    pub cpus: Vec<u32>,
    /// `net.core.somaxconn`.
    pub somaxconn: Option<u64>,
    /// What the kernel reads the time from.
    pub clock_source: Option<String>,
    /// Which memory a core file of this process would hold: bits in hex, none once it is withheld.
    pub dump_filter: Option<String>,
}

impl Facts {
    /// Looks.
    #[must_use]
    pub fn look() -> Self {
        let read = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
        Self {
            probe: driver::probe(),
            open_files: driver::limits::open_files().ok(),
            cpus: driver::thread::allowed_cpus().unwrap_or_default(),
            somaxconn: read("/proc/sys/net/core/somaxconn").and_then(|text| text.parse().ok()),
            clock_source: read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            dump_filter: read("/proc/self/coredump_filter"),
        }
    }
}

/// How serious it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// As it should be.
    Good,
    /// The gateway runs, but not at its best.
    Weak,
    /// The gateway can't run, or not with this config.
    Bad,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub what: &'static str,
    /// How serious it is.
    pub grade: Grade,
    /// What was found.
    pub found: String,
    /// What is needed.
    pub needed: String,
    /// Why.
    pub why: &'static str,
    /// What to do, if anything.
    pub fix: String,
}

/// Judges the facts, against a config's needs or against the defaults.
#[must_use]
pub fn findings(facts: &Facts, config: Option<&Config>) -> Vec<Finding> {
    let mut findings = io_uring(&facts.probe, config);
    findings.push(open_files(facts.open_files, config));
    findings.push(cpus(&facts.cpus, config));
    findings.push(backlog(facts.somaxconn, config));
    findings.push(clock(facts.clock_source.as_deref()));
    if config.is_none_or(|config| config.log.core_dumps == CoreDumps::Registers) {
        findings.push(core_files(facts.dump_filter.as_deref()));
    }
    findings
}

fn io_uring(probe: &Result<Report, Blocked>, config: Option<&Config>) -> Vec<Finding> {
    let why = "all sockets of clients and backends are driven by it";
    match probe {
        Err(blocked) => vec![Finding {
            what: "io_uring",
            grade: Grade::Bad,
            found: blocked.cause.clone(),
            needed: "usable, Linux 6.6 or later".to_owned(),
            why,
            fix: blocked.fix.clone(),
        }],
        Ok(report) => {
            let weak = [
                (
                    uses_batches(config),
                    report.min_timeout,
                    "gathering waits",
                    "6.12",
                    "batch_wait is set, and without it there are as many system calls as if it were not",
                ),
                (
                    true,
                    report.socket_options,
                    "socket options",
                    "6.7",
                    "links that are closed with unsent bytes leave the kernel in time, and streams over TCP send at once",
                ),
            ];
            let mut findings = vec![Finding {
                what: "io_uring",
                grade: Grade::Good,
                found: format!("Linux {}, up to {} sockets per ring", report.kernel, report.slots_max),
                needed: "usable, Linux 6.6 or later".to_owned(),
                why,
                fix: String::new(),
            }];
            let used = weak.into_iter().filter(|(is_used, ..)| *is_used);
            findings.extend(used.map(|(_, there, what, release, why)| Finding {
                what,
                grade: if there { Grade::Good } else { Grade::Weak },
                found: if there { "there" } else { "missing" }.to_owned(),
                needed: format!("Linux {release} or later"),
                why,
                fix: if there { String::new() } else { format!("run on Linux {release} or later") },
            }));
            findings
        }
    }
}

/// By default no worker waits for more.
fn uses_batches(config: Option<&Config>) -> bool {
    config.is_some_and(|config| config.cores.iter().any(|core| !core.batch_wait.is_zero()))
}

fn open_files(limit: Option<OpenFiles>, config: Option<&Config>) -> Finding {
    let most = config.and_then(|config| config.cores.iter().map(|core| core.slots).max());
    let needed = u64::from(most.unwrap_or(20_000));
    let hard = limit.map_or(0, |limit| limit.hard);
    let grade = match (hard >= needed, most) {
        (true, _) => Grade::Good,
        (false, Some(_)) => Grade::Bad,
        (false, None) => Grade::Weak,
    };
    Finding {
        what: "open files",
        grade,
        found: limit.map_or("unknown".to_owned(), |limit| {
            format!("{} now, {} at most (the gateway raises it itself)", limit.soft, limit.hard)
        }),
        needed: format!("{needed} at most"),
        why: "it bounds the sockets of each worker, though not their sum",
        fix: fix(grade, || {
            format!("LimitNOFILE={needed} in the unit, or `ulimit -Hn {needed}` as root; or more workers")
        }),
    }
}

fn cpus(cpus: &[u32], config: Option<&Config>) -> Finding {
    let workers = config.map_or(1, |config| config.cores.len());
    let grade = if cpus.len() >= workers { Grade::Good } else { Grade::Weak };
    Finding {
        what: "CPUs",
        grade,
        found: format!("{} this process may run on", cpus.len()),
        needed: format!("{workers}, one per worker"),
        why: "workers that share a CPU wait for each other; more of them hold more links all the same",
        fix: fix(grade, || "fewer workers, a wider CPUAffinity= in the unit, or more CPUs".to_owned()),
    }
}

/// That of a listener whose config says nothing.
const BACKLOG_DEFAULT: u64 = 65_535;

fn backlog(somaxconn: Option<u64>, config: Option<&Config>) -> Finding {
    let needed = config
        .and_then(|config| config.listeners.iter().map(|listener| listener.backlog as u64).max())
        .unwrap_or(BACKLOG_DEFAULT);
    let grade = if somaxconn.is_some_and(|found| found >= needed) { Grade::Good } else { Grade::Weak };
    Finding {
        what: "net.core.somaxconn",
        grade,
        found: somaxconn.map_or("unknown".to_owned(), |found| found.to_string()),
        needed: needed.to_string(),
        why: "connections beyond it are dropped in a storm of reconnects",
        fix: fix(grade, || format!("sysctl -w net.core.somaxconn={needed} (and in /etc/sysctl.d)")),
    }
}

fn clock(source: Option<&str>) -> Finding {
    let slow = matches!(source, Some("hpet" | "acpi_pm" | "pit" | "jiffies"));
    let grade = if slow { Grade::Weak } else { Grade::Good };
    Finding {
        what: "clock source",
        grade,
        found: source.unwrap_or("unknown").to_owned(),
        needed: "one that is read without a system call".to_owned(),
        why: "the time is read once per turn of a worker",
        fix: fix(grade, || {
            "see /sys/devices/system/clocksource/clocksource0/available_clocksource".to_owned()
        }),
    }
}

/// Every verb withholds its memory, so what this process could do a gateway can.
fn core_files(filter: Option<&str>) -> Finding {
    let withheld = filter.is_some_and(|bits| bits.bytes().all(|bit| bit == b'0'));
    let grade = if withheld { Grade::Good } else { Grade::Weak };
    Finding {
        what: "core files",
        grade,
        found: match filter {
            _ if withheld => "without memory".to_owned(),
            Some(bits) => format!("with the memory that {bits} stands for in core(5)"),
            None => "unknown: /proc/self/coredump_filter can't be read".to_owned(),
        },
        needed: "a /proc/self that can be written".to_owned(),
        why: "payload, tokens and private keys are in memory",
        fix: fix(grade, || "mount /proc, or LimitCORE=0 in the unit, or `ulimit -c 0`".to_owned()),
    }
}

fn fix(grade: Grade, text: impl FnOnce() -> String) -> String {
    if grade == Grade::Good { String::new() } else { text() }
}

/// The findings as text.
#[must_use]
pub fn report(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let mark = match finding.grade {
            Grade::Good => "good",
            Grade::Weak => "weak",
            Grade::Bad => "BAD ",
        };
        let Finding { what, found, needed, why, fix, .. } = finding;
        writeln!(text, "{mark}  {what}: {found}").expect("a string takes everything");
        writeln!(text, "      needed: {needed}; {why}").expect("a string takes everything");
        if !fix.is_empty() {
            writeln!(text, "      fix: {fix}").expect("a string takes everything");
        }
    }
    text
}

/// The exit code: bad findings fail, weak ones don't.
#[must_use]
pub fn verdict(findings: &[Finding]) -> Exit {
    let bad = || findings.iter().filter(|finding| finding.grade == Grade::Bad);
    match (bad().next(), bad().any(|finding| finding.what == "io_uring")) {
        (None, _) => Exit::Clean,
        (Some(_), true) => Exit::Blocked,
        (Some(_), false) => Exit::Start,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use driver::Errno;
    use driver::probe::{Step, Surroundings, explain};

    use super::*;
    use crate::config::{Checked, Machine, Overrides, load};

    fn facts() -> Facts {
        Facts {
            probe: Ok(Report {
                kernel: "6.18.0".to_owned(),
                slots_max: 20_000,
                min_timeout: true,
                socket_options: true,
            }),
            open_files: Some(OpenFiles { soft: 1024, hard: 524_288 }),
            cpus: vec![0, 1],
            somaxconn: Some(65_535),
            clock_source: Some("tsc".to_owned()),
            dump_filter: Some("00000000".to_owned()),
        }
    }

    #[test]
    fn a_good_machine_passes_without_a_fix() {
        let findings = findings(&facts(), None);
        assert!(findings.iter().all(|finding| finding.grade == Grade::Good && finding.fix.is_empty()));
        assert_eq!(verdict(&findings), Exit::Clean);
    }

    #[test]
    fn forbidden_io_uring_has_its_own_exit_code_and_names_cause_and_fix() {
        let around = Surroundings { io_uring_disabled: Some(2), ..Surroundings::default() };
        let probe = Err(explain(Step::Setup, Errno(1), &around));
        let findings = findings(&Facts { probe, ..facts() }, None);
        assert_eq!(verdict(&findings), Exit::Blocked);
        let text = report(&findings);
        assert!(text.contains("BAD   io_uring: ") && text.contains("kernel.io_uring_disabled=0"), "{text}");
    }

    #[test]
    fn weak_findings_name_a_command_and_do_not_fail() {
        let facts = Facts {
            open_files: Some(OpenFiles { soft: 1024, hard: 1024 }),
            somaxconn: Some(128),
            clock_source: Some("hpet".to_owned()),
            dump_filter: Some("00000033".to_owned()),
            ..facts()
        };
        let findings = findings(&facts, None);
        assert_eq!(verdict(&findings), Exit::Clean);
        let text = report(&findings);
        for fix in ["LimitNOFILE=20000", "net.core.somaxconn=65535", "clocksource", "LimitCORE=0"] {
            assert!(text.contains(fix), "{text}");
        }
    }

    fn config(ring: &str) -> Checked<Config> {
        let text = format!("[keys]\nserver = 'key'\n[auth]\nmode = 'development'\n[ring]\n{ring}\n");
        let machine = Machine { cpus: vec![0], open_files: 20_000, memory: 0 };
        let read = |_: &Path| Ok("05".repeat(32));
        load("f", &text, Overrides::default(), &machine, &read).unwrap_or_else(|p| panic!("{p}")).0
    }

    #[test]
    fn without_a_config_its_defaults_are_the_measure() {
        let needed = |config: Option<&Config>| backlog(None, config).needed;
        assert_eq!(needed(None), needed(Some(&config(""))));
    }

    #[test]
    fn whoever_asks_for_memory_in_core_files_is_not_told_of_it() {
        let facts = Facts { dump_filter: None, ..facts() };
        let told = |more: &str| {
            let findings = findings(&facts, Some(&config(more)));
            findings.iter().any(|finding| finding.what == "core files" && finding.grade == Grade::Weak)
        };
        assert!(told("[log]\ncore_dumps = 'registers'"));
        assert!(!told("[log]\ncore_dumps = 'memory'"));
    }

    #[test]
    fn only_what_the_config_uses_is_graded() {
        let report = Report { min_timeout: false, ..facts().probe.unwrap() };
        let facts = Facts { probe: Ok(report), ..facts() };
        let weak = |config: Option<&Config>| -> Vec<_> {
            let weak = findings(&facts, config).into_iter().filter(|finding| finding.grade != Grade::Good);
            weak.map(|finding| finding.what).collect()
        };
        assert_eq!(weak(None), [""; 0], "no worker waits for more by default");
        assert_eq!(weak(Some(&config(""))), [""; 0]);
        assert_eq!(weak(Some(&config("batch_wait = '50us'"))), ["gathering waits"]);
    }
}
