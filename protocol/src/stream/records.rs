//! The record layer of a stream: sealed, or with nothing but the length in front.

use std::fmt;

use crate::error::Error;
use crate::hidden::Hidden;
use crate::limits::{RECORD_HEADER_LEN, RECORD_LEN_MAX, RECORD_PLAIN_MAX, STREAM_RECORD_PLAIN, TAG_LEN};
use crate::noise::Transport;
use crate::record;
use crate::wire::stream::StreamFrame;

/// How records are made.
#[derive(Debug)]
pub(super) enum Records {
    /// Suite 15: Unix sockets, and loopback by explicit opt-in.
    Clear,
    /// KK.
    Sealed(Transport),
}

impl Records {
    /// What a record has beyond its plaintext.
    pub(super) const fn tag_len(&self) -> usize {
        match self {
            Self::Clear => 0,
            Self::Sealed(_) => TAG_LEN,
        }
    }

    pub(super) fn open(&mut self, record: &mut [u8]) -> Result<(), Error> {
        match self {
            Self::Clear => Ok(()),
            Self::Sealed(transport) => transport.open_in_place(record).map(|_| ()),
        }
    }

    /// Turns `out[start..]`, a hole and plaintext, into records.
    fn seal(&mut self, out: &mut Vec<u8>, start: usize) {
        match self {
            Self::Clear => record::split(out, start, RECORD_LEN_MAX, 0).for_each(drop),
            Self::Sealed(transport) => transport.seal_records(out, start, RECORD_PLAIN_MAX),
        }
    }
}

/// Everything that waits to be sent.
///
/// ```text
///   bytes   [ hello or finished records | hole 2 | frames, not sealed yet ]
///                                       ^ open
/// ```
///
/// A record is sealed when it has reached its size, while it is still in the cache, and at the latest when the
/// bytes leave. Sealed bytes never change, and leave in the order they were sealed in.
#[derive(Default)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    open: usize,
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outgoing({:?}, open from {})", Hidden(&self.bytes), self.open)
    }
}

impl Outgoing {
    pub(super) const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Appends bytes that are not a record: a hello or an answer to one.
    pub(super) fn raw(
        &mut self,
        append: impl FnOnce(&mut Vec<u8>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        debug_assert_eq!(self.open, self.bytes.len(), "a handshake comes before all frames");
        append(&mut self.bytes)?;
        self.open = self.bytes.len();
        Ok(())
    }

    pub(super) fn frame(&mut self, records: &mut Records, frame: &StreamFrame<'_>) {
        self.append(records, |out| frame.encode(out));
    }

    pub(super) fn append(&mut self, records: &mut Records, encode: impl FnOnce(&mut Vec<u8>)) {
        if self.bytes.len() - self.open >= STREAM_RECORD_PLAIN {
            self.close_record(records);
        }
        if self.open == self.bytes.len() {
            self.bytes.extend_from_slice(&[0; RECORD_HEADER_LEN]);
        }
        encode(&mut self.bytes);
    }

    /// Hands everything over and takes the empty `batch` in exchange. Whether there was anything.
    pub(super) fn take(&mut self, records: Option<&mut Records>, batch: &mut Vec<u8>) -> bool {
        debug_assert!(batch.is_empty(), "a batch that is still being sent was handed in");
        if let Some(records) = records {
            self.close_record(records);
        }
        if self.bytes.is_empty() {
            return false;
        }
        batch.clear();
        std::mem::swap(&mut self.bytes, batch);
        self.open = 0;
        true
    }

    fn close_record(&mut self, records: &mut Records) {
        if self.bytes.len() > self.open {
            records.seal(&mut self.bytes, self.open);
            self.open = self.bytes.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_batch_becomes_several_records_and_an_empty_one_none() {
        let (mut outgoing, mut records, mut batch) = (Outgoing::default(), Records::Clear, Vec::new());
        assert!(!outgoing.take(Some(&mut records), &mut batch));
        for nonce in 0..10_000 {
            outgoing.frame(&mut records, &StreamFrame::Ping { nonce });
        }
        assert!(outgoing.take(Some(&mut records), &mut batch));
        let (mut rest, mut count) = (&batch[..], 0);
        while let Some((header, body)) = rest.split_first_chunk::<2>() {
            let len = usize::from(u16::from_be_bytes(*header));
            assert!(len < STREAM_RECORD_PLAIN + 16, "a record of {len} bytes");
            rest = &body[len..];
            count += 1;
        }
        assert!(count > 3);
        assert_eq!(outgoing.len(), 0);
    }
}
