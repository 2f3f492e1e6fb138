//! What is wrong with a config: where, which text, why, and what to do about it.

use std::fmt;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Whether the gateway refuses to start.
    pub fatal: bool,
    /// The key, such as `limits.frame_len_max`; empty when it is about the file.
    pub key: String,
    /// The line it stands in, from 1, and that line's text; `None` when a key is missing or a default is to blame.
    pub line: Option<(usize, String)>,
    /// What is wrong.
    pub reason: String,
    /// What to do.
    pub fix: String,
}

/// Everything that is wrong, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    /// Name of the file, for messages.
    pub file: String,
    /// The problems.
    pub list: Vec<Problem>,
}

impl Problems {
    /// Whether one of them keeps the gateway from starting.
    #[must_use]
    pub fn fatal(&self) -> bool {
        self.list.iter().any(|problem| problem.fatal)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.list {
            let kind = if problem.fatal { "error" } else { "warning" };
            f.write_str(&self.file)?;
            if let Some((number, _)) = &problem.line {
                write!(f, ":{number}")?;
            }
            write!(f, ": {kind}: ")?;
            if !problem.key.is_empty() {
                write!(f, "{}: ", problem.key)?;
            }
            writeln!(f, "{}", problem.reason)?;
            if let Some((number, text)) = &problem.line {
                writeln!(f, "{number:>6} | {text}")?;
            }
            writeln!(f, "   fix: {}", problem.fix)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The known word that is meant most likely: at most a third of its letters (and at least one) may differ.
pub(super) fn nearest<'w>(text: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    // A key's length bounds the work: nobody misspells with a kilobyte.
    if text.len() > 64 {
        return None;
    }
    words
        .map(|word| (distance(text.as_bytes(), word.as_bytes()), word))
        .filter(|(distance, word)| *distance <= (word.len() / 3).max(1))
        .min()
        .map(|(_, word)| word)
}

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut older: Vec<usize> = vec![0; b.len() + 1];
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let differs = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (above[j] + 1).min(row[j - 1] + 1).min(above[j - 1] + differs);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(older[j - 2] + 1);
            }
        }
        older = above;
        above = row;
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_and_a_far_one_is_not() {
        let words = ["frame_len_max", "record_len_max", "strangers", "balance"];
        assert_eq!(nearest("frame_len", words.into_iter()), Some("frame_len_max"));
        assert_eq!(nearest("balnace", words.into_iter()), Some("balance"));
        assert_eq!(nearest("stranger", words.into_iter()), Some("strangers"));
        assert_eq!(nearest("colour", words.into_iter()), None);
        assert_eq!(nearest(&"x".repeat(10_000), words.into_iter()), None);
    }

    #[test]
    fn distance_counts_a_swap_once() {
        assert_eq!(distance(b"ab", b"ba"), 1);
        assert_eq!(distance(b"", b"abc"), 3);
        assert_eq!(distance(b"kitten", b"sitting"), 3);
    }
}
