//! How much a worker gives up while there is too much to do: step by step, the dearest last, and back again.
//!
//! ```text
//!           ≥ enter[n]                       at once, however many steps
//!   level ──────────────────────────────►  higher
//!         ◄──────────────────────────────
//!           < leave[level], for a while      one step at a time
//! ```

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use protocol::Time;

/// What is given up; each level with all that the lower ones do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    #[default]
    Calm,
    /// Work that nobody waits for: what is only counted for operators.
    NoExtras,
    /// Half of what is idle is let go sooner, and links are not read for longer: their rates are halved.
    Thrifty,
    /// Newcomers without a ticket, whose handshake is dear, are asked to come back later.
    TicketsOnly,
    /// All newcomers are, and whoever has most waiting to be sent is cut off.
    Shedding,
    /// Connections are not accepted.
    Closed,
}

impl Level {
    /// All of them, from the lowest on.
    pub const ALL: [Self; 6] =
        [Self::Calm, Self::NoExtras, Self::Thrifty, Self::TicketsOnly, Self::Shedding, Self::Closed];

    /// How it is called in metrics, verbs and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::NoExtras => "no_extras",
            Self::Thrifty => "thrifty",
            Self::TicketsOnly => "tickets_only",
            Self::Shedding => "shedding",
            Self::Closed => "closed",
        }
    }

    /// The level with this number; the highest for a number above it.
    #[must_use]
    pub const fn of(number: u8) -> Self {
        match number {
            0 => Self::Calm,
            1 => Self::NoExtras,
            2 => Self::Thrifty,
            3 => Self::TicketsOnly,
            4 => Self::Shedding,
            _ => Self::Closed,
        }
    }
}

/// At which load each level but the first is entered, and below which it is left, in hundredths of what there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// From the lowest level on, rising.
    pub enter: [u8; 5],
    /// Each below its `enter`.
    pub leave: [u8; 5],
    /// For how long the load has to be below.
    pub patience: Duration,
}

/// The level of one worker.
#[derive(Debug)]
pub struct Ladder {
    level: Level,
    /// Since when the load is low enough for the next lower one.
    low_since: Option<Time>,
}

impl Ladder {
    /// At the lowest level.
    #[must_use]
    pub const fn new() -> Self {
        Self { level: Level::Calm, low_since: None }
    }

    /// The load is this now, in hundredths: the level that follows.
    pub fn look(&mut self, load: u8, steps: &Steps, now: Time) -> Level {
        let reached = steps.enter.iter().take_while(|&&enter| load >= enter).count();
        let reached = Level::of(reached as u8);
        if reached > self.level {
            (self.level, self.low_since) = (reached, None);
        }
        let Some(step) = (self.level as usize).checked_sub(1) else { return self.level };
        if load >= steps.leave[step] {
            self.low_since = None;
        } else if now.since(*self.low_since.get_or_insert(now)) >= steps.patience {
            (self.level, self.low_since) = (Level::of(step as u8), Some(now));
        }
        self.level
    }
}

impl Default for Ladder {
    fn default() -> Self {
        Self::new()
    }
}

/// What control says to all workers of the load: how much memory the process takes, and a level for a drill.
#[derive(Debug, Default)]
pub struct Pressure {
    memory: AtomicU8,
    forced: AtomicU8,
}

impl Pressure {
    /// The process takes so many hundredths of the memory it may take.
    pub fn set_memory(&self, percent: u8) {
        self.memory.store(percent, Ordering::Relaxed);
    }

    /// Hundredths of the memory it may take that the process takes.
    #[must_use]
    pub fn memory(&self) -> u8 {
        self.memory.load(Ordering::Relaxed)
    }

    /// No worker is below this level until that is said again.
    pub fn force(&self, level: Level) {
        self.forced.store(level as u8, Ordering::Relaxed);
    }

    /// The level below which no worker is.
    #[must_use]
    pub fn forced(&self) -> Level {
        Level::of(self.forced.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: Steps =
        Steps { enter: [70, 80, 90, 95, 98], leave: [60, 70, 80, 85, 90], patience: Duration::from_secs(1) };

    fn at(tenths: u64) -> Time {
        Time::from_nanos(tenths * 100_000_000)
    }

    #[test]
    fn it_rises_at_once_and_falls_step_by_step_when_the_load_has_stayed_low() {
        let mut ladder = Ladder::new();
        let mut look = |load, tenths| ladder.look(load, &STEPS, at(tenths));
        assert_eq!(
            [look(69, 0), look(70, 1), look(91, 2)],
            [Level::Calm, Level::NoExtras, Level::TicketsOnly]
        );
        // Between the two nothing changes.
        assert_eq!([look(80, 20), look(89, 40)], [Level::TicketsOnly; 2]);
        assert_eq!(
            [look(10, 50), look(10, 59), look(81, 60)],
            [Level::TicketsOnly; 3],
            "not for long enough"
        );
        assert_eq!([look(79, 61), look(10, 70)], [Level::TicketsOnly; 2]);
        let down: Vec<Level> = (71..120).map(|tenths| look(10, tenths)).collect();
        let (thrifty, extras, calm) = (&down[..10], &down[10..20], &down[20..]);
        assert!(thrifty.iter().all(|level| *level == Level::Thrifty), "{down:?}");
        assert!(extras.iter().all(|level| *level == Level::NoExtras), "{down:?}");
        assert!(calm.iter().all(|level| *level == Level::Calm), "{down:?}");
        assert_eq!(look(200, 200), Level::Closed);
    }

    #[test]
    fn levels_have_numbers_and_names_and_pressure_is_what_was_said_last() {
        for (number, level) in (0..).zip(Level::ALL) {
            assert_eq!((Level::of(number), level as u8), (level, number));
            assert_eq!(Level::ALL.iter().filter(|other| other.name() == level.name()).count(), 1);
        }
        assert_eq!(Level::of(77), Level::Closed);
        let pressure = Pressure::default();
        assert_eq!((pressure.memory(), pressure.forced()), (0, Level::Calm));
        pressure.set_memory(81);
        pressure.force(Level::Shedding);
        assert_eq!((pressure.memory(), pressure.forced()), (81, Level::Shedding));
    }
}
