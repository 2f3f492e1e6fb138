//! How a target reads what the fuzzer gave it, and how a seed is written. Both stand here side by side, because a seed
//! has to be the reverse of what its target reads.
//!
//! ```text
//! byte    1                            0 behind the end
//! word    8, big-endian                the missing bytes are 0
//! bytes   length u16 BE ‖ that many    fewer at the end
//! rest    everything behind
//! ```

/// Reads values from bytes that may end anywhere.
pub struct Script<'b>(&'b [u8]);

impl<'b> Script<'b> {
    /// From the first byte on.
    #[must_use]
    pub const fn new(bytes: &'b [u8]) -> Self {
        Self(bytes)
    }

    /// Whether nothing is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One byte.
    pub fn byte(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    /// A number.
    pub fn word(&mut self) -> u64 {
        u64::from_be_bytes(self.array())
    }

    /// As many bytes as their length says.
    pub fn bytes(&mut self) -> &'b [u8] {
        let len = usize::from(u16::from_be_bytes(self.array()));
        self.take(len)
    }

    /// Everything behind.
    pub fn rest(&mut self) -> &'b [u8] {
        self.take(usize::MAX)
    }

    /// A fixed number of bytes.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let taken = self.take(N);
        array[..taken.len()].copy_from_slice(taken);
        array
    }

    fn take(&mut self, len: usize) -> &'b [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// Writes what [`Script`] reads.
#[derive(Clone, Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// See [`Script::byte`].
    #[must_use]
    pub fn byte(mut self, byte: u8) -> Self {
        self.0.push(byte);
        self
    }

    /// See [`Script::word`].
    #[must_use]
    pub fn word(mut self, word: u64) -> Self {
        self.0.extend_from_slice(&word.to_be_bytes());
        self
    }

    /// See [`Script::bytes`].
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        let len = u16::try_from(bytes.len()).expect("seeds are small");
        self.0.extend_from_slice(&len.to_be_bytes());
        self.rest(bytes)
    }

    /// See [`Script::rest`] and [`Script::array`].
    #[must_use]
    pub fn rest(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// The input.
    #[must_use]
    pub fn done(self) -> Vec<u8> {
        self.0
    }
}

/// Cuts `bytes` into pieces: each byte of `sizes` is the size of one, over and over; without any it stays whole.
pub fn pieces<'c>(mut bytes: &'c mut [u8], sizes: &[u8]) -> Vec<&'c mut [u8]> {
    let mut pieces = Vec::new();
    for &size in sizes.iter().cycle() {
        let size = if size < 0xf0 { usize::from(size) + 1 } else { (usize::from(size) - 0xef) * 512 };
        if size >= bytes.len() {
            break;
        }
        let (piece, rest) = bytes.split_at_mut(size);
        pieces.push(piece);
        bytes = rest;
    }
    pieces.push(bytes);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_was_written_and_zeros_behind_the_end() {
        let written = Writer::default().byte(7).word(1 << 40).bytes(b"abc").rest(b"de").done();
        let mut script = Script::new(&written);
        assert_eq!((script.byte(), script.word(), script.bytes()), (7, 1 << 40, &b"abc"[..]));
        assert_eq!((script.array(), script.is_empty()), (*b"de", true));
        assert_eq!((script.byte(), script.word(), script.bytes(), script.rest()), (0, 0, &b""[..], &b""[..]));
    }

    #[test]
    fn pieces_put_together_are_the_whole() {
        let whole: Vec<u8> = (0..2000).map(|byte| byte as u8).collect();
        for sizes in [&[][..], &[0], &[3, 0xf0], &[0xff]] {
            let mut bytes = whole.clone();
            let pieces = pieces(&mut bytes, sizes);
            assert_eq!(pieces.concat(), whole, "{sizes:?}");
        }
        assert_eq!(pieces(&mut [0; 10], &[0]).len(), 10);
    }
}
