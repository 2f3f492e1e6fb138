//! What is typed in a terminal. Reading it blocks, so it is done in a thread of its own.

use std::io;

use tokio::sync::mpsc;

/// Lines that wait; then the keyboard waits.
const LINES_MAX: usize = 16;

/// The lines, until the input is over.
pub(crate) fn lines() -> mpsc::Receiver<String> {
    let (lines, typed) = mpsc::channel(LINES_MAX);
    std::thread::spawn(move || {
        io::stdin().lines().map_while(Result::ok).try_for_each(|line| lines.blocking_send(line))
    });
    typed
}
