//! What is in force core by core and listener by listener, as tables for people.

use std::fmt::Write;
use std::net::SocketAddr;

use super::core::are_alike;
use super::value::{Kind, ShortSpan, Size};
use super::{Config, Core, ProxyProtocol};

impl Config {
    /// One row per core, or a single one when they differ in nothing but their CPUs.
    #[must_use]
    pub fn cores_table(&self) -> String {
        let head = [
            "core",
            "cpu",
            "slots",
            "submissions",
            "completions",
            "batch_wait",
            "link_buffers",
            "stream_buffers",
            "parked_accepts",
            "handshakes_per_turn",
            "listeners",
        ];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        if are_alike(&self.cores) {
            let cpus = self.cores.iter().map(|core| core.cpu as usize).collect();
            rows.push(self.row(self.counted((0..self.cores.len()).collect()), runs(cpus), &self.cores[0]));
        } else {
            let row = |(i, core): (usize, &Core)| self.row(i.to_string(), core.cpu.to_string(), core);
            rows.extend(self.cores.iter().enumerate().map(row));
        }
        aligned(&rows)
    }

    /// One row per listener, with the cores that accept from it, and its balancers if one has any. `addresses` are those of
    /// the listeners.
    #[must_use]
    pub fn listeners_table(&self, addresses: &[SocketAddr]) -> String {
        let has_balancers = self.listeners.iter().any(|one| one.proxy_protocol != ProxyProtocol::Off);
        let head = ["listener", "address", "cores", "proxy_protocol"].map(str::to_owned);
        let mut rows = vec![head.to_vec()];
        for (i, (listener, address)) in self.listeners.iter().zip(addresses).enumerate() {
            let cores = self.counted(self.cores_of(i));
            rows.push(vec![listener.name.clone(), address.to_string(), cores, listener.balancing()]);
        }
        // Where nobody stands in front of any of them, that need not be said of each.
        rows.iter_mut().filter(|_| !has_balancers).for_each(|row| row.truncate(head.len() - 1));
        aligned(&rows)
    }

    fn row(&self, place: String, cpu: String, core: &Core) -> Vec<String> {
        let pool = |count: u32, len: u32| format!("{count} × {}", Size::show(len.into()));
        let batch = match core.batch_wait.as_micros() as u64 {
            0 => "off".to_owned(),
            time => format!("{} for {}", ShortSpan::show(time), core.batch_least),
        };
        let listeners: Vec<_> = core.listeners.iter().map(|at| &*self.listeners[*at].name).collect();
        vec![
            place,
            cpu,
            core.slots.to_string(),
            core.submissions.to_string(),
            core.completions.to_string(),
            batch,
            pool(core.link_buffers, core.link_buffer_len),
            pool(core.stream_buffers, core.stream_buffer_len),
            core.parked_accepts.to_string(),
            core.handshakes_per_turn.to_string(),
            listeners.join(", "),
        ]
    }

    /// Some of the cores; all of them, if there are several, by their number.
    fn counted(&self, cores: Vec<usize>) -> String {
        if cores.len() == self.cores.len() && cores.len() > 1 {
            return format!("all {}", cores.len());
        }
        runs(cores)
    }
}

/// Numbers with their neighbours drawn together: `0-3, 8`.
fn runs(mut numbers: Vec<usize>) -> String {
    numbers.sort_unstable();
    numbers.dedup();
    let mut text = String::new();
    for run in numbers.chunk_by(|one, next| one + 1 == *next) {
        let separator = if text.is_empty() { "" } else { ", " };
        let written = match run {
            [first, .., last] => write!(text, "{separator}{first}-{last}"),
            [only] => write!(text, "{separator}{only}"),
            [] => Ok(()),
        };
        written.expect("a string takes everything");
    }
    text
}

/// Rows with their columns one below the other.
fn aligned(rows: &[Vec<String>]) -> String {
    let len = |cell: &String| cell.chars().count();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<_> = (0..columns)
        .map(|at| rows.iter().filter_map(|row| row.get(at)).map(len).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_drawn_together() {
        assert_eq!(runs(vec![5, 0, 1, 5, 2, 0]), "0-2, 5");
        assert_eq!(runs(vec![3]), "3");
        assert_eq!(runs(vec![7, 8]), "7-8");
        assert_eq!(runs(Vec::new()), "");
    }

    #[test]
    fn columns_stand_one_below_the_other() {
        let rows = [["a", "long name", "z"], ["×××", "b", ""]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(aligned(&rows), "a    long name  z\n×××  b\n");
    }
}
