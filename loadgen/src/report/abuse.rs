//! The result of an attack as text.

use std::fmt::{self, Write};

use crate::result::abuse::Abuse;
use crate::units::Micros;

impl Abuse {
    pub(super) fn write(&self, out: &mut String) -> fmt::Result {
        let asked = &self.abuse;
        let times = if asked.pairs > 1 { format!(", {} times", asked.pairs) } else { String::new() };
        writeln!(
            out,
            "attack     {}{times}: up to {} links from {} addresses, up to {} attempts per second",
            asked.kind, asked.links, asked.sources, asked.attempts_per_second
        )?;
        let attack = &self.attack;
        writeln!(
            out,
            "attempts   {} ({:.0} per second)  accepted {}  refused {}",
            attack.attempted, attack.attempts_per_second, attack.accepted, attack.refused
        )?;
        write!(
            out,
            "           of the accepted: served {}  closed by the gateway {}",
            attack.served, attack.closed
        )?;
        match attack.shortest_life_ms {
            Some(life) => writeln!(out, ", the first after {}", Micros(life * 1000.0))?,
            None => writeln!(out)?,
        }
        write!(out, "           at most {} at the same time", attack.links_max)?;
        if attack.frames > 0 {
            write!(out, "; welcomed {}, frames sent {}", attack.welcomed, attack.frames)?;
        }
        if attack.unmade + attack.unfinished > 0 {
            write!(out, "; not made here {}, unfinished {}", attack.unmade, attack.unfinished)?;
        }
        writeln!(out)?;
        for (reason, count) in &attack.reasons {
            writeln!(out, "           {count} × {reason}")?;
        }
        for (name, phases) in [("quiet", &self.quiet), ("attacked", &self.attacked)] {
            match &phases.latency_us {
                Some(latency) => {
                    writeln!(out, "{name:<10} {latency} (honest echoes, from the planned time)")?
                }
                None => writeln!(out, "{name:<10} no honest echo was answered")?,
            }
        }
        let connects = &self.honest.connects;
        write!(out, "honest     connects under attack: {} well, {} failed", connects.ok, connects.failed)?;
        match connects.slowest_handshake_ms {
            Some(slowest) => writeln!(out, "; the slowest was welcome after {}", Micros(slowest * 1000.0)),
            None => writeln!(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::abuse::{Attack, Connects, Honest};
    use crate::result::{Latency, Report};

    #[test]
    fn the_result_stands_at_the_top_of_the_file() {
        let attack = Attack { attempted: 5, shortest_life_ms: Some(1.5), ..Attack::default() };
        let honest = Honest { connects: Connects { ok: 3, ..Connects::default() } };
        let abuse = Abuse { attack, honest, ..Abuse::default() };
        let mut report = Report { abuse: Some(abuse), ..Report::default() };
        if let Some(abuse) = &mut report.abuse {
            abuse.quiet.latency_us = Some(Latency { p99: 7.0, ..Latency::default() });
        }
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json.pointer("/quiet/latency_us/p99"), Some(&7.0.into()));
        assert_eq!(json.pointer("/attacked/latency_us"), None, "not measured");
        assert_eq!(json.pointer("/honest/connects/ok"), Some(&3.into()));
        assert_eq!(json.pointer("/attack/attempted"), Some(&5.into()));
        assert_eq!(json.pointer("/attack/shortest_life_ms"), Some(&1.5.into()));
        let text = report.text();
        assert!(
            text.contains("attempts   5 (0 per second)") && text.contains("the first after 1.50 ms"),
            "{text}"
        );
        assert!(text.contains("attacked   no honest echo was answered"), "{text}");
    }
}
