//! What became of pushes as text.

use std::fmt::{self, Write};

use crate::result::pushes::{Pushes, Slow};

impl Pushes {
    pub(super) fn write(&self, whose: &str, out: &mut String) -> fmt::Result {
        let Self { sent, delivered, undelivered, unknown, received, duplicated, misordered, .. } = self;
        writeln!(
            out,
            "{whose:<10} sent {sent}  delivered {delivered}  undelivered {undelivered}  unknown {unknown}"
        )?;
        write!(out, "           received {received}  duplicated {duplicated}  misordered {misordered}")?;
        if self.repeated > 0 {
            write!(out, "  sent again {}", self.repeated)?;
        }
        if self.open > 0 {
            write!(out, "  (of the unknown, {} still open)", self.open)?;
        }
        writeln!(out)?;
        for (reason, count) in &self.reasons {
            writeln!(out, "           {count} × undelivered: {reason}")?;
        }
        self.rate_per_second.map_or(Ok(()), |rate| writeln!(out, "rate       {rate:.0} pushes per second"))
    }
}

impl Slow {
    pub(super) fn write(&self, out: &mut String) -> fmt::Result {
        self.quick.write("quick", out)?;
        self.slow.pushes.write("slow", out)?;
        let slow = &self.slow;
        match slow.speed {
            0 => write!(out, "           {} links that read nothing: ended {}", slow.links, slow.ended)?,
            speed => {
                write!(out, "           {} links of {speed} B per second: ended {}", slow.links, slow.ended)?
            }
        }
        for (what, count) in [("slow_reader", slow.slow_reader), ("ack_timeout", slow.ack_timeout)] {
            if let Some(count) = count {
                write!(out, "  {what} {count}")?;
            }
        }
        writeln!(out)?;
        match &self.quiet.latency_us {
            Some(latency) => writeln!(out, "quiet      {latency} (the quick links while everybody reads)"),
            None => writeln!(out, "quiet      no push was received"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::pushes::SlowLinks;

    #[test]
    fn what_was_lost_is_told_with_its_reasons_and_what_the_slow_came_to() {
        let pushes = Pushes {
            sent: 9,
            delivered: 5,
            undelivered: 3,
            unknown: 1,
            open: 1,
            received: 6,
            reasons: [("queue_full", 3)].into(),
            ..Pushes::default()
        };
        let links = SlowLinks { links: 2, ended: 1, slow_reader: Some(1), pushes, ..SlowLinks::default() };
        let mut text = String::new();
        Slow { slow: links, ..Slow::default() }.write(&mut text).unwrap();
        for told in [
            "slow       sent 9  delivered 5  undelivered 3  unknown 1\n",
            "(of the unknown, 1 still open)\n",
            "3 × undelivered: queue_full\n",
            "2 links that read nothing: ended 1  slow_reader 1\n",
            "quiet      no push was received\n",
        ] {
            assert!(text.contains(told), "{told}: {text}");
        }
    }
}
