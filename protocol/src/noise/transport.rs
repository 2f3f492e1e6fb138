//! Records: what is kept of a link's cryptography, and sealing and opening in place.
//!
//! ```text
//! record     = length u16 BE ‖ ciphertext ‖ tag 16           length counts ciphertext and tag
//! seal hole  = 2 free bytes  ‖ plaintext                     becomes one record, or several
//! ```
//!
//! A key is expanded on the stack, for each batch that is sealed and each record that is opened: an expanded key is seven
//! times as large as all a link keeps here. The key that is kept always belongs to the next counter: after the record
//! with counter n − 1, n mod 2¹⁶ = 0, it is replaced at once, so that the old key is gone before the next record is due.

use std::fmt;

use ring::aead::{Aad, LessSafeKey};
use zeroize::{Zeroize, Zeroizing};

use super::handshake::Secrets;
use super::suite::Cipher;
use crate::error::Error;
use crate::limits::{RECORD_HEADER_LEN, RECORD_LEN_MAX, RECORD_PLAIN_MAX, REKEY_INTERVAL, TAG_LEN};
use crate::record;

/// The two keys and counters of an established link, which are all that is kept of its handshake. It can't be
/// copied, since two owners of one counter would use a nonce twice. Wiped when dropped.
pub struct Transport {
    send: Direction,
    receive: Direction,
    cipher: Cipher,
}

const _: () = assert!(size_of::<Transport>() <= 88, "one of these per link");

impl Transport {
    /// Bytes of a packed transport.
    pub const PACKED_LEN: usize = 1 + 2 * (32 + 8);

    /// Starts both directions at counter 0.
    #[must_use]
    pub fn new(secrets: &Secrets) -> Self {
        Self {
            send: Direction { key: secrets.send, counter: 0 },
            receive: Direction { key: secrets.receive, counter: 0 },
            cipher: secrets.suite.cipher(),
        }
    }

    /// The cipher of both directions.
    #[must_use]
    pub fn cipher(&self) -> Cipher {
        self.cipher
    }

    /// Whether no further record can be sealed. At a million records per second it takes half a million years.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.send.counter == COUNTER_END
    }

    /// Opens one record without its length field. For several records of one chunk take an [`Transport::opener`].
    ///
    /// # Errors
    /// [`Error::RecordEmpty`] and [`Error::RecordLength`] for a length that no record has, [`Error::Record`] if it
    /// does not open. The link must end then; the bytes are unspecified.
    pub fn open_in_place<'b>(&mut self, ciphertext: &'b mut [u8]) -> Result<&'b mut [u8], Error> {
        self.opener().open_in_place(ciphertext)
    }

    /// Seals `out[start..]`, a hole of two bytes and then plaintext, as records of at most `plain_max` bytes of
    /// plaintext each. One record is the normal case and is sealed without a copy.
    ///
    /// `plain_max` is kept within 1 and [`RECORD_PLAIN_MAX`]. Nothing is left at `start` if there is no plaintext,
    /// or if the counter is at its end ([`Transport::is_exhausted`]).
    pub fn seal_records(&mut self, out: &mut Vec<u8>, start: usize, plain_max: usize) {
        self.sealer().seal_records(out, start, plain_max);
    }

    /// Opens several records with a key expanded once.
    #[must_use]
    pub fn opener(&mut self) -> Opener<'_> {
        Opener(Batch::new(self.cipher, &mut self.receive))
    }

    /// Seals several times with a key expanded once.
    #[must_use]
    pub fn sealer(&mut self) -> Sealer<'_> {
        Sealer(Batch::new(self.cipher, &mut self.send))
    }

    /// Plain bytes for the way to another worker or process: cipher 1 ‖ send key ‖ send counter u64 BE ‖ receive
    /// key ‖ receive counter u64 BE. Takes the transport, because its owner must not seal again.
    #[must_use]
    pub fn pack(self) -> Zeroizing<[u8; Self::PACKED_LEN]> {
        let mut bytes = Zeroizing::new([0; Self::PACKED_LEN]);
        bytes[0] = self.cipher as u8;
        bytes[1..33].copy_from_slice(&self.send.key);
        bytes[33..41].copy_from_slice(&self.send.counter.to_be_bytes());
        bytes[41..73].copy_from_slice(&self.receive.key);
        bytes[73..81].copy_from_slice(&self.receive.counter.to_be_bytes());
        bytes
    }

    /// The transport in packed bytes; `None` if they can't have come from [`Transport::pack`].
    #[must_use]
    pub fn unpack(bytes: &[u8; Self::PACKED_LEN]) -> Option<Self> {
        let cipher = match bytes[0] {
            1 => Cipher::ChaChaPoly,
            2 => Cipher::AesGcm,
            _ => return None,
        };
        let send = Direction::unpack(bytes[1..41].first_chunk()?)?;
        let receive = Direction::unpack(bytes[41..81].first_chunk()?)?;
        Some(Self { send, receive, cipher })
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Transport({:?}, ***, {}, {})", self.cipher, self.send.counter, self.receive.counter)
    }
}

/// Opens records of one batch.
pub struct Opener<'t>(Batch<'t>);

impl Opener<'_> {
    /// Like [`Transport::open_in_place`].
    ///
    /// # Errors
    /// Like [`Transport::open_in_place`].
    pub fn open_in_place<'b>(&mut self, ciphertext: &'b mut [u8]) -> Result<&'b mut [u8], Error> {
        if ciphertext.len() <= TAG_LEN {
            return Err(Error::RecordEmpty);
        }
        if ciphertext.len() > RECORD_LEN_MAX {
            return Err(Error::RecordLength(ciphertext.len()));
        }
        let batch = &mut self.0;
        if batch.direction.counter == COUNTER_END {
            return Err(Error::Record);
        }
        let nonce = batch.cipher.nonce(batch.direction.counter);
        let plaintext =
            batch.key.open_in_place(nonce, Aad::empty(), ciphertext).map_err(|_| Error::Record)?;
        batch.advance();
        Ok(plaintext)
    }
}

/// Seals records of one batch.
pub struct Sealer<'t>(Batch<'t>);

impl Sealer<'_> {
    /// Like [`Transport::seal_records`].
    pub fn seal_records(&mut self, out: &mut Vec<u8>, start: usize, plain_max: usize) {
        let plain_len = out.len().saturating_sub(start + RECORD_HEADER_LEN);
        let plain_max = plain_max.clamp(1, RECORD_PLAIN_MAX);
        if COUNTER_END - self.0.direction.counter < plain_len.div_ceil(plain_max) as u64 {
            out.truncate(start);
            return;
        }
        for record in record::split(out, start, plain_max, TAG_LEN) {
            self.seal(record);
        }
    }

    /// Seals one record that has its place: plaintext, room for the tag.
    fn seal(&mut self, record: &mut [u8]) {
        let batch = &mut self.0;
        let (plaintext, tag) = record.split_at_mut(record.len() - TAG_LEN);
        let nonce = batch.cipher.nonce(batch.direction.counter);
        let sealed = batch
            .key
            .seal_in_place_separate_tag(nonce, Aad::empty(), plaintext)
            .expect("a record is far below the AEAD's limit");
        tag.copy_from_slice(sealed.as_ref());
        batch.advance();
    }
}

/// A direction with its key expanded.
struct Batch<'t> {
    cipher: Cipher,
    key: LessSafeKey,
    direction: &'t mut Direction,
}

impl<'t> Batch<'t> {
    fn new(cipher: Cipher, direction: &'t mut Direction) -> Self {
        Self { cipher, key: cipher.expand(&direction.key), direction }
    }

    /// The counter has been used. SPEC.md, "Rekey".
    fn advance(&mut self) {
        self.direction.counter += 1;
        if self.direction.counter.is_multiple_of(REKEY_INTERVAL) {
            self.rekey();
        }
    }

    /// REKEY of Noise, section 4.2: the first 32 bytes of 32 zero bytes sealed with the reserved nonce.
    fn rekey(&mut self) {
        let mut next = Zeroizing::new([0; 32]);
        let _tag = self
            .key
            .seal_in_place_separate_tag(self.cipher.nonce(u64::MAX), Aad::empty(), next.as_mut_slice())
            .expect("32 bytes are far below the AEAD's limit");
        self.direction.key = *next;
        self.key = self.cipher.expand(&next);
    }
}

/// One direction of a link: the counter of its next record, and the key of that record.
struct Direction {
    key: [u8; 32],
    counter: u64,
}

impl Direction {
    fn unpack(bytes: &[u8; 40]) -> Option<Self> {
        let counter = u64::from_be_bytes(*bytes[32..].first_chunk()?);
        Some(Self { key: *bytes.first_chunk()?, counter })
    }
}

impl Zeroize for Direction {
    fn zeroize(&mut self) {
        self.key.zeroize();
    }
}

impl Drop for Direction {
    fn drop(&mut self) {
        self.zeroize();
    }
}

/// The first counter that is never used: 2⁶⁴ − 1 is reserved for REKEY (Noise, section 5.1).
const COUNTER_END: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_direction_is_wiped() {
        let mut direction = Direction { key: [1; 32], counter: 0 };
        direction.zeroize();
        assert_eq!(direction.key, [0; 32]);
        assert!(std::mem::needs_drop::<Direction>(), "which does the same");
    }
}
