//! When each link wants to be looked at: one coarse look at all links every few milliseconds costs less than any ordered
//! structure, since what is looked at is four bytes per link in a row.

use std::time::Duration;

use protocol::Time;

/// How coarse it is.
const TICK: Duration = Duration::from_millis(20);

/// When each link wants to be looked at.
#[derive(Debug)]
pub(crate) struct Timers {
    /// Per link: milliseconds since the origin; the run must not last 49 days.
    due: Vec<u32>,
    /// Links with a time set; without any there is nothing to look at.
    set: u32,
    tick_at: Time,
}

const NEVER: u32 = u32::MAX;

impl Timers {
    pub(crate) const fn new() -> Self {
        Self { due: Vec::new(), set: 0, tick_at: Time::ZERO }
    }

    pub(crate) fn resize(&mut self, links: usize) {
        self.due.resize(links, NEVER);
    }

    pub(crate) fn set(&mut self, index: u32, deadline: Option<Time>) {
        let due = &mut self.due[index as usize];
        self.set -= u32::from(*due != NEVER);
        *due = deadline.map_or(NEVER, |time| millis(time) + 1);
        self.set += u32::from(*due != NEVER);
    }

    /// Begins a look at all links, when it is time for one and there is anything to look at. Returns the time as
    /// [`Timers::is_due`] takes it.
    pub(crate) fn begin(&mut self, now: Time) -> Option<u32> {
        if now < self.tick_at {
            return None;
        }
        self.tick_at = now + TICK;
        (self.set > 0).then(|| millis(now))
    }

    /// Whether a link's time has come.
    pub(crate) fn is_due(&self, index: u32, now_ms: u32) -> bool {
        self.due[index as usize] <= now_ms
    }

    /// Whether a link has a time.
    pub(crate) fn is_set(&self, index: u32) -> bool {
        self.due[index as usize] != NEVER
    }

    /// When to look next, if there is anything to look at.
    pub(crate) fn next(&self) -> Option<Time> {
        (self.set > 0).then_some(self.tick_at)
    }
}

fn millis(time: Time) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(NEVER).min(NEVER - 2)
}
