//! What an echo carries: a stamp that names run, link, life and message, repeated through the payload, so that an
//! answer is known for ours, and for whole, byte for byte.

use protocol::wire::frame::RequestId;

/// Which message this is. Written as four big-endian numbers it is the request's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Random per run, so that a repeated run repeats no id.
    pub(crate) run: u32,
    /// Index of the link in the whole run.
    pub(crate) link: u32,
    /// How often this link has been opened.
    pub(crate) life: u32,
    /// Number of the message in this life.
    pub(crate) sequence: u32,
}

impl Stamp {
    pub(crate) fn to_id(self) -> RequestId {
        let numbers = [self.run, self.link, self.life, self.sequence].map(u32::to_be_bytes);
        *numbers.as_flattened().first_chunk().expect("four numbers have 16 bytes")
    }

    pub(crate) fn from_id(id: &RequestId) -> Self {
        let number = |at: usize| u32::from_be_bytes([id[at], id[at + 1], id[at + 2], id[at + 3]]);
        Self { run: number(0), link: number(4), life: number(8), sequence: number(12) }
    }

    /// Replaces `out` by the payload of this message.
    pub(crate) fn fill(self, size: usize, out: &mut Vec<u8>) {
        out.clear();
        for block in self.blocks().take(size.div_ceil(BLOCK)) {
            out.extend_from_slice(&block);
        }
        out.truncate(size);
    }

    /// Whether `payload` is what [`Stamp::fill`] writes.
    pub(crate) fn matches(self, size: usize, payload: &[u8]) -> bool {
        payload.len() == size
            && payload.chunks(BLOCK).zip(self.blocks()).all(|(part, block)| *part == block[..part.len()])
    }

    /// The id again and again, changed with each repetition so that a payload with blocks left out or swapped differs.
    fn blocks(self) -> impl Iterator<Item = RequestId> {
        let id = self.to_id();
        (0..=u8::MAX).cycle().map(move |round| id.map(|byte| byte ^ round))
    }
}

const BLOCK: usize = size_of::<RequestId>();

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { run: 0x0102_0304, link: 5, life: 6, sequence: 7 };

    #[test]
    fn the_id_names_the_message() {
        assert_eq!(Stamp::from_id(&STAMP.to_id()), STAMP);
    }

    #[test]
    fn any_changed_byte_or_length_is_seen() {
        let mut payload = Vec::new();
        for size in [0, 1, 16, 64, 1000] {
            STAMP.fill(size, &mut payload);
            assert!(STAMP.matches(size, &payload));
            assert!(!STAMP.matches(size + 1, &payload));
            for at in 0..size {
                payload[at] ^= 1;
                assert!(!STAMP.matches(size, &payload), "byte {at} of {size}");
                payload[at] ^= 1;
            }
        }
        assert!(!Stamp { sequence: 8, ..STAMP }.matches(1000, &payload));
    }
}
