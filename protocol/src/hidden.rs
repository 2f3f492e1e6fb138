//! How `{:?}` shows what must not be read in a log, a message or a panic: payload, tokens, secrets.

use std::fmt;

/// Bytes that show their number, and nothing of what they are.
pub struct Hidden<'b>(pub &'b [u8]);

impl fmt::Debug for Hidden<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "*** {} B", self.0.len())
    }
}
