//! The options of `push` and `slow`.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::duration::{parse_duration, parse_some_duration};

/// Options of `push` alone.
#[derive(Clone, Debug, Args)]
pub struct PushLoad {
    /// Number of links, each of another user.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub links: u32,
    /// Open loop: pushes per second over all links, asked for when planned; latency counts from the planned time. Default:
    /// one per link and second.
    #[arg(long, conflicts_with = "window")]
    pub rate: Option<f64>,
    /// Closed loop instead: pushes each link has open, which are those it has asked for and not received, with class 1 not
    /// acknowledged; a multiple of --batch. Latency counts from the question for them.
    #[arg(long)]
    pub window: Option<u32>,
    /// How they are delivered: 0 at most once, 1 at least once.
    #[arg(long, value_enum, default_value_t = Classes::One)]
    pub class: Classes,
    /// Bytes of payload per push.
    #[arg(long, default_value_t = 64)]
    pub size: usize,
    /// Pushes that a link asks for with one request.
    #[arg(long, default_value_t = 1)]
    pub batch: u32,
    /// How long to measure.
    #[arg(long, value_parser = parse_some_duration, default_value = "10s")]
    pub duration: Duration,
    /// Load before the measuring begins.
    #[arg(long, value_parser = parse_duration, default_value = "1s")]
    pub warmup: Duration,
}

/// Options of `slow` alone.
///
/// There are two phases of the same length: a quiet one, in which everybody reads, and one in which some links are slow. A slow
/// link that the gateway ends leaves its session behind, which waits for two minutes as the gateway is configured: for so long
/// what became of its pushes of class 1 may be open.
#[derive(Clone, Debug, Args)]
pub struct SlowLoad {
    /// Number of links, each of another user.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(2..))]
    pub links: u32,
    /// How many of them read slowly in the second phase; fewer than all.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub slow: u32,
    /// How much a slow link reads per second, such as 1KiB; 0: nothing. At most 64KiB.
    #[arg(long, value_parser = parse_speed, default_value = "0")]
    pub speed: u32,
    /// Pushes per second over all links, asked for when planned; latency counts from the planned time. Default: 10 per link
    /// and second.
    #[arg(long)]
    pub rate: Option<f64>,
    /// How they are delivered: 0 at most once, 1 at least once, or both in turn.
    #[arg(long, value_enum, default_value_t = Classes::Both)]
    pub class: Classes,
    /// Bytes of payload per push.
    #[arg(long, default_value_t = 16_384)]
    pub size: usize,
    /// Pushes that a link asks for with one request.
    #[arg(long, default_value_t = 4)]
    pub batch: u32,
    /// How long each of the two phases is.
    #[arg(long, value_parser = parse_some_duration, default_value = "10s")]
    pub duration: Duration,
    /// Load before each of them.
    #[arg(long, value_parser = parse_duration, default_value = "1s")]
    pub warmup: Duration,
}

/// The classes of delivery of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Classes {
    /// At most once.
    #[value(name = "0")]
    Zero,
    /// At least once.
    #[value(name = "1")]
    One,
    /// One request of either in turn.
    Both,
}

/// Bytes per second: `0`, `500`, `1KiB`.
fn parse_speed(text: &str) -> Result<u32, String> {
    let (number, unit) = match text.strip_suffix("KiB") {
        Some(number) => (number, 1024),
        None => (text, 1),
    };
    let number: u32 = number.parse().map_err(|_| format!("{text:?} is no speed: 0, 500, 1KiB"))?;
    number
        .checked_mul(unit)
        .filter(|&speed| speed <= SPEED_MAX)
        .ok_or_else(|| format!("{text:?} is not slow: at most 64KiB per second"))
}

/// Above this a link that reads one chunk after the other would be slower than it is to be.
const SPEED_MAX: u32 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_are_bytes_or_kibibytes_and_slow() {
        let [none, some, kib, most] = ["0", "500", "1KiB", "64KiB"].map(parse_speed);
        assert_eq!((none, some, kib, most), (Ok(0), Ok(500), Ok(1024), Ok(65_536)));
        for wrong in ["", "KiB", "-1", "1kb", "65KiB", "65537", "4194305KiB"] {
            assert!(parse_speed(wrong).is_err(), "{wrong}");
        }
    }
}
