//! One line per second on standard error, so that a long run can be watched.

use std::io::Write;

use protocol::Time;

use crate::tally::Counts;

pub(crate) struct Progress {
    scenario: &'static str,
    links: u32,
    last: (Time, Counts),
}

impl Progress {
    pub(crate) fn new(scenario: &'static str, links: u32) -> Self {
        Self { scenario, links, last: (Time::ZERO, Counts::default()) }
    }

    /// Shows where the run stands at `now`; rates are since the line before.
    pub(crate) fn show(&mut self, stage: &str, now: Time, counts: &Counts) {
        let line = self.line(stage, now, counts);
        self.last = (now, *counts);
        // Nobody reading the progress is no reason to end the run.
        let _nobody_reads = writeln!(std::io::stderr().lock(), "{line}");
    }

    fn line(&self, stage: &str, now: Time, counts: &Counts) -> String {
        let seconds = now.as_millis() / 1000;
        let (then, before) = &self.last;
        let elapsed = now.since(*then).as_secs_f64().max(0.001);
        let rate = |now: u64, before: u64| ((now - before) as f64 / elapsed).round();
        let mut line = format!("loadgen {} {stage} {:02}:{:02}", self.scenario, seconds / 60, seconds % 60);
        if self.scenario == "connect" {
            line += &format!(" | cycles {} {}/s", counts.cycles, rate(counts.cycles, before.cycles));
        } else {
            let up = counts.up();
            line += &format!(" | up {up} of {} {}/s", self.links, rate(counts.welcomed, before.welcomed));
        }
        line += &format!(" opening {} failed {} lost {}", counts.opening, counts.failed, counts.lost);
        if counts.sent > 0 {
            line += &format!(
                " | sent {}/s answered {}/s missed {}",
                rate(counts.sent, before.sent),
                rate(counts.received, before.received),
                counts.missed
            );
        }
        if counts.pushed > 0 {
            line += &format!(" | pushes {}/s", rate(counts.pushed, before.pushed));
        }
        if counts.pings > 0 {
            line += &format!(" | pings {} pongs {}", counts.pings, counts.pongs);
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_line_tells_stage_counts_and_rates_since_the_last() {
        let mut progress = Progress::new("echo", 10);
        let counts = Counts { welcomed: 10, sent: 400, received: 390, ..Counts::default() };
        progress.show("run", Time::ZERO + Duration::from_secs(60), &counts);
        let later = Counts { sent: 600, received: 590, lost: 1, ..counts };
        let line = progress.line("run", Time::ZERO + Duration::from_secs(62), &later);
        assert_eq!(
            line,
            "loadgen echo run 01:02 | up 9 of 10 0/s opening 0 failed 0 lost 1 | sent 100/s answered 100/s missed 0"
        );
    }
}
