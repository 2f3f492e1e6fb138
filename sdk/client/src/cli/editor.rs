//! From typed bytes to lines. No cursor keys, no history: what a chat needs, and a line that can be drawn again
//! after a message came in between.

/// The line being typed.
#[derive(Debug, Default)]
pub(crate) struct Editor {
    text: String,
    /// Bytes of a character that is not whole yet.
    part: Vec<u8>,
    escape: Escape,
    /// More was typed than a line holds.
    too_long: bool,
}

/// What was finished.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    Line(String),
    TooLong,
    /// Ctrl-D on an empty line.
    End,
}

/// Arrows and their like are sequences that begin with ESC; they are skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    Begun,
    Inside,
}

/// Bytes of a line; with the receiver's name it fits a request of any gateway's default bounds.
const LINE_LEN_MAX: usize = 16 * 1024;

impl Editor {
    /// What stands in the line.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Takes one byte.
    pub(crate) fn take(&mut self, byte: u8) -> Option<Typed> {
        match (self.escape, byte) {
            (_, 0x1b) => self.escape = Escape::Begun,
            (Escape::Begun, b'[' | b'O') => self.escape = Escape::Inside,
            (Escape::Begun, _) => self.escape = Escape::None,
            (Escape::Inside, 0x40..=0x7e) => self.escape = Escape::None,
            (Escape::Inside, _) => {}
            (Escape::None, _) => return self.key(byte),
        }
        None
    }

    /// No more bytes will come: what stands in the line is one, if anything does.
    pub(crate) fn end(&mut self) -> Option<Typed> {
        if self.text.is_empty() && !self.too_long { None } else { Some(self.finish()) }
    }

    fn key(&mut self, byte: u8) -> Option<Typed> {
        match byte {
            b'\n' | b'\r' => return Some(self.finish()),
            CTRL_D if self.text.is_empty() => return Some(Typed::End),
            BACKSPACE | DELETE => _ = self.text.pop(),
            CTRL_U => self.text.clear(),
            CTRL_W => {
                let kept = self.text.trim_end().rfind(' ').map_or(0, |at| at + 1);
                self.text.truncate(kept);
            }
            b'\t' => self.put(" "),
            0..0x20 => {}
            _ => self.letter(byte),
        }
        None
    }

    fn letter(&mut self, byte: u8) {
        self.part.push(byte);
        let part = std::mem::take(&mut self.part);
        match std::str::from_utf8(&part) {
            Ok(letter) => self.put(letter),
            // Not whole yet; anything else is no UTF-8 and is left out.
            Err(error) if error.error_len().is_none() => self.part = part,
            Err(_) => {}
        }
    }

    fn put(&mut self, letter: &str) {
        if self.text.len() + letter.len() > LINE_LEN_MAX {
            self.too_long = true;
        } else if !letter.chars().any(char::is_control) {
            self.text.push_str(letter);
        }
    }

    fn finish(&mut self) -> Typed {
        self.part.clear();
        let text = std::mem::take(&mut self.text);
        if std::mem::take(&mut self.too_long) { Typed::TooLong } else { Typed::Line(text) }
    }
}

const CTRL_D: u8 = 0x04;
const BACKSPACE: u8 = 0x08;
const CTRL_U: u8 = 0x15;
const CTRL_W: u8 = 0x17;
const DELETE: u8 = 0x7f;

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(bytes: &[u8]) -> (Vec<Typed>, String) {
        let mut editor = Editor::default();
        let typed = bytes.iter().filter_map(|&byte| editor.take(byte)).collect();
        (typed, editor.text().to_owned())
    }

    fn line(text: &str) -> Typed {
        Typed::Line(text.to_owned())
    }

    #[test]
    fn letters_of_any_length_come_together_and_can_be_taken_back() {
        assert_eq!(typed("a你好\n".as_bytes()), (vec![line("a你好")], String::new()));
        assert_eq!(typed("a你\x7f\x7fb".as_bytes()).1, "b");
        assert_eq!(typed("one two \x17".as_bytes()).1, "one ");
        assert_eq!(typed(b"one two\x15three").1, "three");
        assert_eq!(typed(b"\xff\xe4a").1, "", "no UTF-8");
    }

    #[test]
    fn sequences_of_keys_and_control_letters_leave_no_trace() {
        assert_eq!(typed(b"a\x1b[Ab\x1b[3~c\x1bOPd\x1bxe\x07").1, "abcde");
        assert_eq!(typed("a\u{9b}b".as_bytes()).1, "ab");
    }

    #[test]
    fn the_end_is_told_only_on_an_empty_line() {
        assert_eq!(typed(b"a\x04").0, []);
        assert_eq!(typed(b"\x04").0, [Typed::End]);
        let mut editor = Editor::default();
        assert_eq!(editor.end(), None);
        editor.take(b'x');
        assert_eq!(editor.end(), Some(line("x")));
    }

    #[test]
    fn a_line_that_is_too_long_is_told_and_forgotten() {
        let mut bytes = vec![b'x'; LINE_LEN_MAX + 1];
        bytes.extend_from_slice(b"\nok\n");
        assert_eq!(typed(&bytes).0, [Typed::TooLong, line("ok")]);
    }
}
