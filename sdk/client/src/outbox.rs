//! Bytes on their way to the socket.

/// Sealed records, of which a part was written. What was written is let go of on the way, as a link under steady load
/// is never done with all of it.
#[derive(Debug)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    /// How many of them were written.
    sent: usize,
}

/// With more written bytes than this, what is unsent moves to the front.
const SENT_MAX: usize = 64 * 1024;

impl Outbox {
    pub(crate) const fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, sent: 0 }
    }

    /// What has to be written.
    pub(crate) fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// So much of it was.
    pub(crate) fn wrote(&mut self, len: usize) {
        self.sent += len;
        if self.sent == self.bytes.len() || self.sent > SENT_MAX {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// To be appended to.
    pub(crate) const fn end(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn under_steady_load_what_was_written_is_let_go_of() {
        const LEN: usize = 10_000;
        let numbers = || (0_u32..).flat_map(u32::to_be_bytes);
        let (mut appended, mut written) = (numbers(), numbers());
        let mut outbox = Outbox::new(appended.by_ref().take(LEN).collect());
        for _ in 0..1_000 {
            // There is always more to write: the outbox is never empty.
            outbox.end().extend(appended.by_ref().take(LEN));
            assert!(outbox.unsent()[..LEN].iter().copied().eq(written.by_ref().take(LEN)));
            outbox.wrote(LEN);
        }
        assert_eq!(outbox.unsent().len(), LEN);
        assert!(outbox.bytes.capacity() < 4 * SENT_MAX, "{}", outbox.bytes.capacity());
    }
}
