//! The overload ladder as operators see it: how much memory the process takes, lines about levels that change, and `ladder` at
//! the admin socket, which forces a level for a drill.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use protocol::Time;
use serde_json::{Value, json};

use super::snapshot::Snapshot;
use super::tell;
use super::workers::Wake;
use crate::admission::ladder::{Level as Rung, Pressure};
use crate::config::{Level, parse_span};
use crate::counters::Counters;

/// How it is written.
pub(super) const HELP: &str = "ladder [--json]                            the level of each worker, and what its load is made of\n\
                               ladder [--json] level N [for TIME] | off   no worker below this level, for a drill (5m, 1h at most)\n";

/// How long a drill lasts if that is not said, and at most.
const DRILL: Duration = Duration::from_mins(5);
const DRILL_MAX: Duration = Duration::from_hours(1);

/// What an operator wants of the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// To see it.
    Show,
    /// No worker below this level for so long.
    Force(Rung, Duration),
    /// The end of that.
    Off,
}

/// Reads a line; whether the answer is to be JSON. `None` if it is about something else.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse(line: &str) -> Option<Result<(Wish, bool), String>> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let ["ladder", rest @ ..] = words.as_slice() else { return None };
    let (json, rest) = match rest {
        ["--json", rest @ ..] => (true, rest),
        _ => (false, rest),
    };
    Some(read(rest).map(|wish| (wish, json)))
}

fn read(words: &[&str]) -> Result<Wish, String> {
    let time = |text: &str| {
        parse_span(text)
            .filter(|time| (1..=DRILL_MAX.as_millis()).contains(&time.as_millis()))
            .ok_or_else(|| format!("\"{}\" is no time up to 1h", text.escape_debug()))
    };
    let level = |text: &str| {
        let number = text.parse().ok().filter(|number| (1..=5).contains(number)).map(Rung::of);
        number.ok_or_else(|| format!("\"{}\" is no level; write 1 to 5", text.escape_debug()))
    };
    match words {
        [] => Ok(Wish::Show),
        ["off"] => Ok(Wish::Off),
        ["level", number] => Ok(Wish::Force(level(number)?, DRILL)),
        ["level", number, "for", span] => Ok(Wish::Force(level(number)?, time(span)?)),
        _ => Err("write level N, perhaps with for TIME, or off".to_owned()),
    }
}

/// A level that is forced, and until when.
pub(super) struct Drill {
    pressure: Arc<Pressure>,
    wake: Wake,
    until: Cell<Option<Time>>,
}

impl Drill {
    /// `wake` makes workers that sleep look at it.
    pub(super) const fn new(pressure: Arc<Pressure>, wake: Wake) -> Self {
        Self { pressure, wake, until: Cell::new(None) }
    }

    /// Does what the operator with this number wants; what there is to say.
    pub(super) fn heed(&self, wish: Wish, uid: u32, now: Time) {
        let line = match wish {
            Wish::Show => return,
            Wish::Force(level, time) => {
                self.pressure.force(level);
                (self.wake)();
                self.until.set(Some(now + time));
                let seconds = time.as_secs_f64();
                format!("forces overload level {} ({}) for {seconds} s", level as u8, level.name())
            }
            Wish::Off => {
                self.end();
                "forces no overload level any more".to_owned()
            }
        };
        tell(Level::Info, &format!("the operator with user id {uid} {line}"));
    }

    /// Lets time pass.
    pub(super) fn expire(&self, now: Time) {
        if self.until.get().is_some_and(|until| until <= now) {
            self.end();
            tell(Level::Info, "the drill is over: no overload level is forced any more");
        }
    }

    fn end(&self) {
        self.pressure.force(Rung::Calm);
        (self.wake)();
        self.until.set(None);
    }

    /// The level that is forced, and for how many seconds more.
    pub(super) fn forced(&self, now: Time) -> Option<(Rung, u64)> {
        self.until.get().map(|until| (self.pressure.forced(), until.since(now).as_secs()))
    }
}

/// Watches the memory of the process, and levels that change.
#[derive(Debug, Default)]
pub(super) struct Watch(Vec<u64>);

impl Watch {
    /// Tells workers how much of `ceiling` bytes the process takes; the lines about workers whose level has changed since the
    /// last look.
    pub(super) fn look(
        &mut self,
        pressure: &Pressure,
        resident: Option<u64>,
        ceiling: u64,
        counters: &[Arc<Counters>],
    ) -> Vec<(Level, String)> {
        if let Some(resident) = resident {
            let percent = resident.saturating_mul(100) / ceiling.max(1);
            pressure.set_memory(u8::try_from(percent).unwrap_or(u8::MAX));
        }
        self.0.resize(counters.len(), 0);
        let mut lines = Vec::new();
        for (worker, (told, its)) in self.0.iter_mut().zip(counters).enumerate() {
            let level = its.overload_level.get();
            let before = std::mem::replace(told, level);
            if before == level {
                continue;
            }
            let rung = Rung::of(level as u8);
            let line = format!(
                "worker {worker}: overload level {before} → {level} ({}); memory {} %, turns {} %, queues {} % of what may be",
                rung.name(),
                its.overload_memory_percent.get(),
                its.overload_lag_percent.get(),
                its.overload_queues_percent.get()
            );
            lines.push((if level > before { Level::Warning } else { Level::Info }, line));
        }
        lines
    }
}

/// Bytes of memory that the process takes, if the system tells.
pub(super) fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * driver::memory::page_size() as u64)
}

/// The answer to `ladder`.
pub(super) fn answer(snapshot: &Snapshot<'_>, forced: Option<(Rung, u64)>, json: bool) -> String {
    let rows = snapshot.counters.iter().map(|its| {
        let percents =
            [&its.overload_memory_percent, &its.overload_lag_percent, &its.overload_queues_percent];
        (
            Rung::of(its.overload_level.get() as u8),
            percents.map(|percent| percent.get()),
            its.overload_changes.get(),
        )
    });
    if json {
        let worker = |(level, [memory, lag, queues], changes): (Rung, [u64; 3], u64)| {
            json!({
                "level": level as u8, "name": level.name(), "changes": changes,
                "memory_percent": memory, "lag_percent": lag, "queues_percent": queues,
            })
        };
        let workers: Vec<Value> = rows.map(worker).collect();
        let forced = forced.map(|(level, left)| json!({ "level": level as u8, "seconds_left": left }));
        return format!("{}\n", json!({ "workers": workers, "forced": forced }));
    }
    let mut text = format!(
        "{:<8} {:<16} {:>8} {:>8} {:>8} {:>8}\n",
        "worker", "level", "memory", "turns", "queues", "changes"
    );
    for (worker, (level, [memory, lag, queues], changes)) in rows.enumerate() {
        let level = format!("{} {}", level as u8, level.name());
        text += &format!("{worker:<8} {level:<16} {memory:>6} % {lag:>6} % {queues:>6} % {changes:>8}\n");
    }
    match forced {
        None => text += "no level is forced\n",
        Some((level, left)) => text += &format!("level {} is forced for {left} s more\n", level as u8),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::tests::with_snapshot;
    use super::*;

    #[test]
    fn a_line_says_what_is_wanted_of_the_ladder() {
        let minutes = Duration::from_mins;
        for (line, wish, json) in [
            ("ladder", Wish::Show, false),
            ("ladder --json", Wish::Show, true),
            ("ladder level 3", Wish::Force(Rung::TicketsOnly, minutes(5)), false),
            ("ladder --json level 5 for 10m", Wish::Force(Rung::Closed, minutes(10)), true),
            ("ladder off", Wish::Off, false),
        ] {
            assert_eq!(parse(line), Some(Ok((wish, json))), "{line}");
        }
        for (line, said) in [
            ("ladder level 0", "write 1 to 5"),
            ("ladder level 6", "write 1 to 5"),
            ("ladder level 2 for 2h", "no time up to 1h"),
            ("ladder up", "write level N"),
        ] {
            assert!(parse(line).unwrap().unwrap_err().contains(said), "{line}");
        }
        assert_eq!(parse("ladders"), None);
    }

    #[test]
    fn a_drill_ends_by_itself_or_when_it_is_told_to() {
        let pressure = Arc::new(Pressure::default());
        let drill = Drill::new(Arc::clone(&pressure), Box::new(|| {}));
        let at = |seconds| Time::ZERO + Duration::from_secs(seconds);
        drill.heed(Wish::Force(Rung::Thrifty, Duration::from_secs(60)), 0, at(5));
        assert_eq!((pressure.forced(), drill.forced(at(15))), (Rung::Thrifty, Some((Rung::Thrifty, 50))));
        drill.expire(at(64));
        assert_eq!(pressure.forced(), Rung::Thrifty);
        drill.expire(at(65));
        assert_eq!((pressure.forced(), drill.forced(at(65))), (Rung::Calm, None));
        drill.heed(Wish::Force(Rung::Closed, Duration::from_secs(60)), 0, at(70));
        drill.heed(Wish::Off, 0, at(71));
        assert_eq!(pressure.forced(), Rung::Calm);
    }

    #[test]
    fn each_change_is_told_once_with_what_the_load_is_made_of() {
        with_snapshot(|snapshot| {
            let (pressure, mut watch) = (Pressure::default(), Watch::default());
            let counters = snapshot.counters;
            assert!(watch.look(&pressure, Some(300), 1000, counters).is_empty());
            assert_eq!(pressure.memory(), 30);
            counters[1].overload_level.set(3);
            counters[1].overload_lag_percent.set(91);
            let lines = watch.look(&pressure, None, 1000, counters);
            assert_eq!((lines.len(), lines[0].0, pressure.memory()), (1, Level::Warning, 30));
            assert!(
                lines[0]
                    .1
                    .starts_with("worker 1: overload level 0 → 3 (tickets_only); memory 0 %, turns 91 %")
            );
            assert!(watch.look(&pressure, None, 1000, counters).is_empty());
            let text = answer(snapshot, Some((Rung::Thrifty, 7)), false);
            assert!(
                text.contains("1        3 tickets_only        0 %     91 %      0 %        0\n"),
                "{text}"
            );
            assert!(text.ends_with("level 2 is forced for 7 s more\n"));
            let json: Value = serde_json::from_str(&answer(snapshot, None, true)).unwrap();
            assert_eq!((&json["workers"][1]["level"], &json["forced"]), (&json!(3), &Value::Null));
            counters[1].overload_level.set(0);
            assert_eq!(watch.look(&pressure, None, 1000, counters)[0].0, Level::Info);
        });
    }

    #[test]
    fn the_process_takes_memory() {
        assert!(resident().is_none_or(|bytes| bytes > 1 << 20));
    }
}
