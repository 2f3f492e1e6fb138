//! Lines on standard error: what a person should know. The journal or the terminal adds the time.

use std::io::Write;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::config::Level;

static LEVEL: AtomicU8 = AtomicU8::new(Level::Info as u8);

/// Sets how much is told from now on.
pub fn set_level(level: Level) {
    LEVEL.store(level as u8, Ordering::Relaxed);
}

/// Tells one line, if it is important enough. A line that cannot be written is lost: nothing waits for a reader.
pub fn tell(level: Level, text: &str) {
    if level as u8 <= LEVEL.load(Ordering::Relaxed) {
        let line = format!("gateway: {}: {text}\n", level.word());
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}
