//! A storm as text.

use std::fmt::{self, Write as _};

use crate::result::storm::Storm;
use crate::units::Micros;

/// Columns of a full bar.
const BAR: u64 = 40;

impl Storm {
    pub(super) fn write(&self, out: &mut String, resumed: u64, full: u64) -> fmt::Result {
        let course = &self.storm;
        let by = if course.full { "by a full handshake" } else { "by ticket and session" };
        writeln!(
            out,
            "storm      {} of {} links, back {by}, {} at once",
            course.cut, course.links, course.open_at_once
        )?;
        if let Some(restart) = course.restart_ms {
            writeln!(out, "           the new gateway was ready after {}", Micros(restart * 1000.0))?;
        }
        let back = course.curve.last().map_or(0, |point| point.back);
        writeln!(
            out,
            "back       {back}, of them with their session {resumed}, with a full handshake {full}"
        )?;
        for point in &course.curve {
            let part = |whole: u64| point.back * whole / course.links.max(1);
            let bar = "#".repeat(usize::try_from(part(BAR)).unwrap_or_default());
            writeln!(out, "{:>10} {:>3} % {bar}", Micros(point.ms * 1000.0).to_string(), part(100))?;
        }
        if let Some(recovery) = &self.recovery_ms {
            let [p50, p99, all] = [recovery.p50, recovery.p99, recovery.all].map(|ms| Micros(ms * 1000.0));
            writeln!(out, "recovery   p50 {p50}  p99 {p99}  all {all} (from the cut to the welcome)")?;
        }
        let failed: u64 = course.failed_attempts.values().sum();
        writeln!(out, "attempts   {}, of which failed {failed}", course.attempts)?;
        for (reason, count) in &course.failed_attempts {
            writeln!(out, "           {count} × {reason}")?;
        }
        if let Some(pushes) = &self.pushes {
            pushes.all.write("pushes", out)?;
            writeln!(out, "           lost {}", pushes.lost)?;
        }
        if course.requests_cut > 0 {
            writeln!(out, "cut off    {} requests had no answer yet", course.requests_cut)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::result::storm::{Course, Point, Recovery, Storm};
    use crate::result::{Links, Report};

    #[test]
    fn a_curve_shows_how_many_were_back_when() {
        let curve = vec![Point { ms: 100.0, back: 50 }, Point { ms: 200.0, back: 99 }];
        let course = Course { cut: "reset", links: 100, curve, attempts: 102, ..Course::default() };
        let recovery_ms = Some(Recovery { p50: 100.0, p99: 180.0, all: 200.0 });
        let storm = Some(Storm { storm: course, recovery_ms, ..Storm::default() });
        let links = Links { up: 99, failed: 1, resumed: Some(98), full: Some(1), ..Links::default() };
        let text = Report { scenario: "storm", storm, links, ..Report::default() }.text();
        for line in [
            "storm      reset of 100 links, back by ticket and session",
            "back       99, of them with their session 98, with a full handshake 1",
            "    100 ms  50 % ####################\n",
            "recovery   p50 100 ms  p99 180 ms  all 200 ms",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
