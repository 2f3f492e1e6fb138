//! The result as text.

mod abuse;
mod pushes;
mod storm;

use std::fmt::{self, Write as _};

use crate::result::{Latency, Messages, Report};
use crate::units::Micros;

impl Report {
    /// Everything a person needs, in a few lines.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).expect("a string takes whatever is written");
        text
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        let setup = &self.setup;
        write!(out, "loadgen {}: {} links", self.scenario, setup.links)?;
        if let Some(rate) = setup.rate {
            write!(out, ", open loop, {rate} per second")?;
        }
        if let Some(window) = setup.window {
            match setup.window_granted {
                Some(granted) => write!(
                    out,
                    ", CLOSED LOOP, {granted} in flight (the gateway grants no more; {window} asked for)"
                )?,
                None => write!(out, ", CLOSED LOOP, {window} in flight")?,
            }
        }
        if let Some(size) = setup.size {
            write!(out, ", {size} B")?;
        }
        if let Some(batch) = setup.batch.filter(|&batch| batch > 1) {
            write!(out, ", {batch} messages per packet")?;
        }
        if let Some(class) = setup.class {
            write!(out, ", class {class}")?;
        }
        if let Some(pushes) = setup.pushes_per_request.filter(|&pushes| pushes > 1) {
            write!(out, ", {pushes} pushes per request")?;
        }
        writeln!(out, ", {} s, {} workers, {}", setup.duration_s, setup.workers, setup.suite)?;
        let links = &self.links;
        writeln!(out, "links      up {}  failed {}  lost {}", links.up, links.failed, links.lost)?;
        if let Some(abuse) = &self.abuse {
            abuse.write(out)?;
        }
        if let Some(push) = &self.push {
            push.write("pushes", out)?;
        }
        if let Some(slow) = &self.slow {
            slow.write(out)?;
        }
        if let Some(storm) = &self.storm {
            storm.write(out, links.resumed.unwrap_or_default(), links.full.unwrap_or_default())?;
        }
        self.write_traffic(out)?;
        self.write_costs(out)?;
        for (reason, count) in &self.reasons {
            writeln!(out, "reason     {count} × {reason}")?;
        }
        for warning in &self.warnings {
            writeln!(out, "warning    {warning}")?;
        }
        for problem in &self.problems {
            writeln!(out, "PROBLEM    {problem}")?;
        }
        if self.generator.limited == Some(true) {
            writeln!(out, "GENERATOR-LIMITED: the figures above say nothing about the gateway")?;
        }
        Ok(())
    }

    fn write_traffic(&self, out: &mut String) -> fmt::Result {
        if let Some(heartbeats) = &self.heartbeats {
            let (sent, answered) = (heartbeats.sent, heartbeats.answered);
            writeln!(
                out,
                "heartbeats sent {sent}  answered {answered}  unanswered {}",
                heartbeats.unanswered
            )?;
        }
        let messages = if self.push.is_some() { "requests" } else { "messages" };
        for (when, messages) in [(messages, &self.messages), ("warm-up", &self.warmup)] {
            if let Some(messages) = messages {
                writeln!(out, "{when:<10} {messages}")?;
            }
        }
        if let Some(rate) = self.rate_per_second {
            writeln!(out, "rate       {rate:.0} messages per second")?;
        }
        let unsent = self.messages.and_then(|messages| messages.unsent).filter(|&unsent| unsent > 0);
        if let Some(unsent) = unsent {
            writeln!(
                out,
                "unsent     {unsent} were planned and never left: the gateway held them back, or their link was gone"
            )?;
        }
        let since = match (self.scenario, self.setup.pacing) {
            (_, Some("open")) => "from the planned time",
            ("connect", _) => "from the connect to the answer, closed loop: a slow gateway was asked less",
            _ => "from the sending, closed loop: a slow gateway was asked less",
        };
        if let Some(latency) = &self.latency_us {
            let unsent = if unsent.is_some() { "; the unsent ones as if answered at the end" } else { "" };
            writeln!(out, "latency    {latency} ({since}{unsent})")?;
        }
        if let Some(connects) = self.connects {
            writeln!(out, "connects   {connects} with a full handshake")?;
        }
        if let Some(resumed) = &self.resumed {
            writeln!(out, "resumed    {} by ticket", resumed.connects)?;
            if let Some(latency) = &resumed.latency_us {
                writeln!(out, "           {latency}")?;
            }
        }
        Ok(())
    }

    fn write_costs(&self, out: &mut String) -> fmt::Result {
        if let Some(gateway) = &self.gateway {
            time(out, "gateway", gateway.cpu_us_per_message, "CPU per message")?;
            time(out, "gateway", gateway.cpu_us_per_push, "CPU per push, with all that belongs to it")?;
            time(
                out,
                "gateway",
                gateway.cpu_us_per_connect,
                "CPU per connect, handshake, auth, echo, close",
            )?;
            time(out, "gateway", gateway.cpu_us_per_connect_resumed, "CPU for the same, resumed by ticket")?;
            figure(
                out,
                "gateway",
                gateway.pss_bytes_per_link,
                "B of user space per link (PSS over the empty process)",
            )?;
        }
        if let Some(storm) = &self.storm {
            time(
                out,
                "gateway",
                storm.connect.cpu_us_per_link,
                "CPU per link, opened in full before the storm",
            )?;
            let back = self.gateway.as_ref().and_then(|gateway| gateway.cpu_us_per_link);
            time(out, "gateway", back, "CPU per link that came back, from the cut to the last one")?;
        }
        if let Some(gateway) = &self.gateway {
            let per_attempt = "CPU per attempt, beyond the quiet phases";
            time(out, "gateway", gateway.cpu_us_per_attempt, per_attempt)?;
            let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            figure(out, "gateway", gateway.pss_bytes_max.map(mib), "MiB at most (PSS)")?;
            figure(
                out,
                "gateway",
                gateway.ceiling_bytes.map(mib),
                "MiB are the sum of its limits in user space",
            )?;
        }
        if let Some(kernel) = &self.kernel {
            writeln!(out, "kernel     both ends of each link are on this machine; the gateway's end:")?;
            figure(out, "", kernel.socket_bytes_per_link, "B sockets (half of the growth)")?;
            figure(out, "", kernel.io_uring_bytes_per_link, "B io_uring (the growth less this end's polls)")?;
            figure(out, "", kernel.other_bytes_per_link, "B other (half of the growth)")?;
        }
        let generator = &self.generator;
        time(out, "generator", generator.cpu_us_per_message, "CPU per message")?;
        time(out, "generator", generator.cpu_us_per_push, "CPU per push")?;
        time(out, "generator", generator.cpu_us_per_connect, "CPU per connect")?;
        figure(out, "generator", generator.pss_bytes_per_link, "B of user space per link")?;
        if let (Some(planned), Some(missed)) = (generator.planned, generator.missed) {
            write!(out, "generator  planned {planned}  missed {missed}")?;
            if let Some(late) = generator.late_us_p99 {
                write!(out, "  late p99 {}", Micros(late))?;
            }
            match generator.stalled_ms {
                Some(stalled) if stalled > 0.0 => {
                    writeln!(out, "  stood still {}", Micros(stalled * 1000.0))?
                }
                _ => writeln!(out)?,
            }
        }
        Ok(())
    }
}

fn figure(out: &mut String, whose: &str, value: Option<f64>, what: &str) -> fmt::Result {
    value.map_or(Ok(()), |value| writeln!(out, "{whose:<10} {value:.1} {what}"))
}

fn time(out: &mut String, whose: &str, micros: Option<f64>, what: &str) -> fmt::Result {
    micros.map_or(Ok(()), |micros| writeln!(out, "{whose:<10} {} {what}", Micros(micros)))
}

impl fmt::Display for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, received, lost, duplicated, misordered, corrupted, refused, unknown, .. } = self;
        write!(f, "sent {sent}  received {received}  lost {lost}")?;
        write!(f, "  duplicated {duplicated}  misordered {misordered}")?;
        if corrupted + refused + unknown > 0 {
            write!(f, "\n           corrupted {corrupted}  refused {refused}  unknown {unknown}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, p999, max] = [self.p50, self.p99, self.p999, self.max].map(Micros);
        write!(f, "p50 {p50}  p99 {p99}  p99.9 {p999}  max {max}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::{Generator, Pacing};

    #[test]
    fn a_closed_loop_and_a_limited_generator_are_stamped() {
        let mut report =
            Report { scenario: "echo", latency_us: Some(Latency::default()), ..Report::default() };
        report.setup.pace(Pacing::Closed { window: 2 });
        assert!(report.text().contains("CLOSED LOOP, 2 in flight"));
        assert!(report.text().contains("a slow gateway was asked less"));
        assert!(!report.text().contains("GENERATOR-LIMITED"));
        report.generator = Generator { limited: Some(true), ..Generator::default() };
        assert!(report.text().contains("GENERATOR-LIMITED"));
    }

    #[test]
    fn a_plan_of_which_nothing_was_sent_has_no_lateness() {
        let mut generator = Generator { planned: Some(7), missed: Some(0), ..Generator::default() };
        let report = Report { generator, ..Report::default() };
        assert!(report.text().contains("planned 7  missed 0\n"), "{}", report.text());
        generator.late_us_p99 = Some(1.0);
        let report = Report { generator, ..Report::default() };
        assert!(report.text().contains("missed 0  late p99 1.0 µs\n"), "{}", report.text());
    }

    #[test]
    fn latencies_are_told_in_units_for_people() {
        let latency = Latency { p50: 850.0, p99: 2_500_000.0, p999: 2_510_000.0, max: 2_512_345.0 };
        let text = Report { latency_us: Some(latency), ..Report::default() }.text();
        assert!(text.contains("p50 850 µs  p99 2.50 s  p99.9 2.51 s  max 2.51 s"), "{text}");
    }

    #[test]
    fn a_window_that_is_not_granted_is_told_with_what_is() {
        let mut report = Report::default();
        report.setup.pace(Pacing::Closed { window: 40 });
        report.setup.grant(Some(32), 1);
        assert!(
            report.text().contains("CLOSED LOOP, 32 in flight (the gateway grants no more; 40 asked for)")
        );
        report.setup.pace(Pacing::Closed { window: 10 });
        for (granted, batch, shown) in [(32, 4, 8), (40, 4, 10), (64, 1, 10)] {
            report.setup.grant(Some(granted), batch);
            let text = report.text();
            assert!(text.contains(&format!("CLOSED LOOP, {shown} in flight")), "{text}");
        }
        report.setup.grant(None, 1);
        assert!(report.text().contains("CLOSED LOOP, 10 in flight,"), "without a link nothing is granted");
    }
}
