//! What is seen: lines, and below them the one being typed.
//!
//! On a terminal the line being typed is taken away, the message printed, and the line drawn again. Without one
//! there are only lines.

use std::io::{self, IsTerminal, Read, Write};
use std::thread;

use rustix::termios::{self, LocalModes, OptionalActions, SpecialCodeIndex, Termios};
use tokio::sync::mpsc;

/// Standard output, and how standard input is treated meanwhile.
#[derive(Debug)]
pub(crate) struct Screen {
    /// How the terminal was before; `None` if there is none.
    before: Option<Termios>,
}

impl Screen {
    /// Takes the terminal's own line editing away, if both ends are a terminal.
    pub(crate) fn open() -> Self {
        let is_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
        Self { before: if is_terminal { take_letters() } else { None } }
    }

    /// Whether somebody sees it.
    pub(crate) const fn is_terminal(&self) -> bool {
        self.before.is_some()
    }

    /// Prints a line above the one being typed.
    pub(crate) fn print(&self, line: &str, prompt: &str, typed: &str) -> Result<(), String> {
        let mut out = io::stdout().lock();
        let erase = if self.before.is_some() { ERASE } else { "" };
        writeln!(out, "{erase}{line}").map_err(|error| error.to_string())?;
        drop(out);
        self.draw(prompt, typed)
    }

    /// Draws the line being typed, as much of its end as fits.
    pub(crate) fn draw(&self, prompt: &str, typed: &str) -> Result<(), String> {
        let mut out = io::stdout().lock();
        if self.before.is_some() {
            let line = format!("{prompt}{typed}");
            // The last column stays free, or the terminal would begin a new line.
            write!(out, "{ERASE}{}", end_of(&line, columns() - 1)).map_err(|error| error.to_string())?;
        }
        out.flush().map_err(|error| error.to_string())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // Whoever looks at the terminal next has nobody to complain to either.
            _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, before);
            _ = write!(io::stdout(), "{ERASE}").and_then(|()| io::stdout().flush());
        }
    }
}

/// Letters come as they are typed and are not echoed; Ctrl-C still works. Returns how it was.
fn take_letters() -> Option<Termios> {
    let before = termios::tcgetattr(io::stdin()).ok()?;
    let mut letters = before.clone();
    letters.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
    letters.special_codes[SpecialCodeIndex::VMIN] = 1;
    letters.special_codes[SpecialCodeIndex::VTIME] = 0;
    termios::tcsetattr(io::stdin(), OptionalActions::Now, &letters).ok()?;
    Some(before)
}

/// How wide the terminal is; some do not tell.
fn columns() -> usize {
    match termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 => size.ws_col.into(),
        _ => 80,
    }
}

/// Bytes of standard input, read on a thread of its own as nothing can interrupt such a read; few wait.
pub(crate) fn input() -> io::Result<mpsc::Receiver<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel(4);
    thread::Builder::new().name("input".to_owned()).spawn(move || {
        let mut chunk = [0; 1024];
        while let Ok(len @ 1..) = io::stdin().read(&mut chunk) {
            if sender.blocking_send(chunk[..len].to_vec()).is_err() {
                break;
            }
        }
    })?;
    Ok(receiver)
}

/// A stranger's text, so that it cannot move the cursor of somebody else's terminal.
pub(crate) fn printable(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().filter(|letter| !letter.is_control()).collect()
}

/// The end of a text that fits `columns`. Letters beyond ASCII count as two, which is the most they take.
fn end_of(text: &str, columns: usize) -> &str {
    let mut left = columns;
    let mut start = text.len();
    for (at, letter) in text.char_indices().rev() {
        let width = if letter.is_ascii() { 1 } else { 2 };
        if width > left {
            break;
        }
        left -= width;
        start = at;
    }
    &text[start..]
}

/// To the first column, and away with what stands there.
const ERASE: &str = "\r\x1b[K";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_line_is_shown_when_it_does_not_fit() {
        assert_eq!(end_of("hello", 9), "hello");
        assert_eq!(end_of("hello", 3), "llo");
        assert_eq!(end_of("你好吗", 5), "好吗");
        assert_eq!(end_of("hello", 0), "");
    }

    #[test]
    fn a_message_moves_no_cursor() {
        assert_eq!(printable(b"a\x1b[2Jb\r\n\x07c\xff"), "a[2Jbc\u{fffd}");
    }
}
