//! Lines on standard error: what a person should know. The journal or the terminal adds the time.
//!
//! Whoever is to read may not do so: a full pipe, a stopped terminal. So a gateway hands its lines to a thread that writes them
//! and may wait for ever; lines that find no place are dropped and counted.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::config::Level;

static LEVEL: AtomicU8 = AtomicU8::new(Level::Info as u8);
/// Whether a thread writes.
static QUEUED: AtomicBool = AtomicBool::new(false);
static QUEUE: Queue = Queue::new();

/// Sets how much is told from now on.
pub fn set_level(level: Level) {
    LEVEL.store(level as u8, Ordering::Relaxed);
}

/// Tells one line, if it is important enough.
pub fn tell(level: Level, text: &str) {
    if level as u8 <= LEVEL.load(Ordering::Relaxed) {
        tell_as_it_is(&format!("gateway: {}: {text}\n", level.word()));
    }
}

/// Tells whole lines that say themselves what they are about.
pub fn tell_as_it_is(lines: &str) {
    if QUEUED.load(Ordering::Acquire) {
        QUEUE.push(lines);
    } else {
        write(lines);
    }
}

/// A line that cannot be written is lost, as when standard error is closed.
fn write(lines: &str) {
    let _ = std::io::stderr().write_all(lines.as_bytes());
}

/// Lines that were dropped, as nobody read those before them.
pub(super) fn dropped() -> u64 {
    QUEUE.dropped.load(Ordering::Relaxed)
}

/// While it lives, nobody who tells something waits for a reader. At its end lines that are left are waited for, but not
/// for long.
#[must_use]
pub struct Writer(());

impl Writer {
    /// Starts the thread. Without one lines are written as they are told.
    pub fn start() -> Self {
        let thread = std::thread::Builder::new().name("log".to_owned());
        QUEUED.store(thread.spawn(|| QUEUE.write_out()).is_ok(), Ordering::Release);
        Self(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        QUEUE.wait_until_written(LAST_LINES_TIME);
    }
}

/// Lines that may wait.
const WAITING_MAX: usize = 256;
/// How long an end waits for its last lines.
const LAST_LINES_TIME: Duration = Duration::from_secs(1);

struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    dropped: AtomicU64,
}

struct Waiting {
    lines: VecDeque<String>,
    /// Whether one more is being written.
    writing: bool,
    /// Lines dropped since the last one that found a place.
    missing: u64,
}

impl Queue {
    const fn new() -> Self {
        let waiting = Waiting { lines: VecDeque::new(), writing: false, missing: 0 };
        Self { waiting: Mutex::new(waiting), changed: Condvar::new(), dropped: AtomicU64::new(0) }
    }

    /// Held for a moment only: nobody writes with it.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says how much is missing where it is missing.
    fn push(&self, lines: &str) {
        let mut waiting = self.waiting();
        if waiting.lines.len() + 1 >= WAITING_MAX {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            waiting.missing += 1;
            return;
        }
        let missing = std::mem::take(&mut waiting.missing);
        if missing > 0 {
            let text = format!("{missing} lines are missing here: standard error was not read");
            waiting.lines.push_back(format!("gateway: {}: {text}\n", Level::Warning.word()));
        }
        waiting.lines.push_back(lines.to_owned());
        self.changed.notify_all();
    }

    /// The thread.
    fn write_out(&self) {
        loop {
            write(&self.next());
        }
    }

    fn next(&self) -> String {
        let mut waiting = self.waiting();
        waiting.writing = false;
        self.changed.notify_all();
        loop {
            if let Some(lines) = waiting.lines.pop_front() {
                waiting.writing = true;
                return lines;
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn wait_until_written(&self, most: Duration) {
        let left = |waiting: &mut Waiting| waiting.writing || !waiting.lines.is_empty();
        drop(self.changed.wait_timeout_while(self.waiting(), most, left));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_find_no_place_are_dropped_and_counted() {
        let queue = Queue::new();
        (0..WAITING_MAX + 2).for_each(|number| queue.push(&number.to_string()));
        assert_eq!(queue.dropped.load(Ordering::Relaxed), 3);
        assert_eq!((queue.next(), queue.next()), ("0".to_owned(), "1".to_owned()), "the oldest come first");
        queue.push("one more");
        let waiting: Vec<_> = queue.waiting().lines.iter().rev().take(3).cloned().collect();
        let gap = "gateway: warning: 3 lines are missing here: standard error was not read\n";
        assert_eq!(waiting, ["one more", gap, "254"], "the gap is told where it is");
    }
}
