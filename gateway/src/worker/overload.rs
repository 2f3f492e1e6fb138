//! How much there is to do, and what the worker gives up for it.

use std::sync::Arc;
use std::time::Duration;

use protocol::Time;

use super::turn::Turn;
use crate::admission::ladder::{Ladder, Level, Pressure};
use crate::counters::Counters;

/// How long a level holds before it is looked at again.
const LOOK_AFTER: Duration = Duration::from_millis(100);

/// A turn counts for so much of the mean length of turns.
const SMOOTHING: u32 = 8;

/// The load of one worker.
#[derive(Debug)]
pub(super) struct Overload {
    ladder: Ladder,
    pressure: Arc<Pressure>,
    /// How long turns take lately.
    lag: Duration,
    looked: Time,
    load: Load,
}

/// What the load is made of, in hundredths of what there may be.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    memory: u8,
    lag: u8,
    queues: u8,
}

impl Overload {
    /// With nothing to do yet.
    pub(super) fn new(pressure: Arc<Pressure>, now: Time) -> Self {
        Self { ladder: Ladder::new(), pressure, lag: Duration::ZERO, looked: now, load: Load::default() }
    }

    /// The last turn took so long.
    pub(super) fn took(&mut self, time: Duration) {
        self.lag = (self.lag * (SMOOTHING - 1) + time) / SMOOTHING;
    }

    /// Whether it is time for a look.
    pub(super) fn is_due(&self, now: Time) -> bool {
        now.since(self.looked) >= LOOK_AFTER
    }

    /// Queues are filled to so many hundredths: the level that follows, which is that of the next turns.
    pub(super) fn look(&mut self, turn: &mut Turn, queues: u8) {
        self.looked = turn.now;
        let rules = &turn.settings.overload;
        let lag = self.lag.as_micros() * 100 / rules.lag_max.as_micros().max(1);
        self.load =
            Load { memory: self.pressure.memory(), lag: u8::try_from(lag).unwrap_or(u8::MAX), queues };
        let worst = self.load.memory.max(self.load.lag).max(queues);
        let own = self.ladder.look(worst, &rules.steps, turn.now);
        let own = if rules.on_trial { Level::Calm } else { own };
        let level = own.max(self.pressure.forced());
        turn.counters.overload_changes.add((level != turn.level).into());
        turn.level = level;
    }

    /// When a level that is not the lowest is looked at again, though nothing else happens.
    pub(super) fn next_deadline(&self, level: Level) -> Option<Time> {
        (level != Level::Calm).then(|| self.looked + LOOK_AFTER)
    }

    /// Forces a level, as control does.
    #[cfg(test)]
    pub(super) fn force(&self, level: Level) {
        self.pressure.force(level);
    }

    /// Copies what is not counted where it happens.
    pub(super) fn publish(&self, level: Level, counters: &Counters) {
        counters.overload_level.set(level as u64);
        counters.overload_memory_percent.set(self.load.memory.into());
        counters.overload_lag_percent.set(self.load.lag.into());
        counters.overload_queues_percent.set(self.load.queues.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::settings::Settings;

    #[test]
    fn on_trial_the_load_is_told_and_nothing_is_given_up_but_in_a_drill() {
        let mut settings = Settings::small();
        settings.overload.on_trial = true;
        let mut turn = Turn::of(settings);
        let mut overload = Overload::new(Arc::default(), turn.now);
        overload.look(&mut turn, 99);
        overload.publish(turn.level, &turn.counters);
        assert_eq!((turn.level, turn.counters.overload_queues_percent.get()), (Level::Calm, 99));
        overload.force(Level::Thrifty);
        overload.look(&mut turn, 99);
        assert_eq!((turn.level, turn.counters.overload_changes.get()), (Level::Thrifty, 1));
        turn.settings.overload.on_trial = false;
        overload.look(&mut turn, 99);
        assert_eq!(turn.level, Level::Closed);
    }
}
