//! From a stream of bytes to frames, in place wherever the bytes allow it.
//!
//! A record that lies whole in the received chunk is opened there, and frames are lent out of it. Only what is
//! cut off at the end of a chunk is copied: the head of a record (`sealed`), or opened plaintext that does not yet
//! hold a whole frame or may not yet be looked at (`plain`). Between chunks both rest in a [`Partials`] pool of the
//! worker (`partials`), so an idle link owns no buffer at all.
//!
//! ```text
//!   chunk      [ rest of a record | record | record | head of a rec ]
//!                ^ completes `sealed`  ^ opened in place   ^ becomes `sealed`
//! ```

mod partials;

use std::fmt;
use std::mem;
use std::ops::Range;

pub use self::partials::{Partials, Place};

use crate::error::Error;
use crate::hidden::Hidden;
use crate::limits::{RECORD_HEADER_LEN, TAG_LEN};
use crate::wire::varint;

/// What a reader of records and frames must not exceed; checked before memory is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Longest record, without its length field.
    pub record_len_max: usize,
    /// Longest frame body.
    pub frame_len_max: usize,
    /// Bytes a record has beyond its plaintext: 16 sealed, 0 in clear.
    pub tag_len: usize,
}

/// One chunk on its way through a link, together with what an earlier chunk left over.
#[derive(Default)]
pub struct Input<'c> {
    chunk: &'c mut [u8],
    /// Consumed bytes of the chunk.
    at: usize,
    /// Opened plaintext in the chunk that has not been lent out yet.
    opened: Range<usize>,
    rest: Rest,
}

/// What is left between two chunks.
#[derive(Default)]
pub struct Rest {
    /// The head of a record (or of a hello).
    pub(crate) sealed: Vec<u8>,
    /// Opened plaintext that was not lent out yet.
    pub(crate) plain: Vec<u8>,
    /// How much of `plain` was lent out.
    plain_at: usize,
}

impl fmt::Debug for Input<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input")
            .field("chunk", &Hidden(self.chunk))
            .field("at", &self.at)
            .field("opened", &self.opened)
            .field("rest", &self.rest)
            .finish()
    }
}

impl fmt::Debug for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rest")
            .field("sealed", &Hidden(&self.sealed))
            .field("plain", &Hidden(&self.plain))
            .field("plain_at", &self.plain_at)
            .finish()
    }
}

/// Where a frame's body lies in an [`Input`].
#[derive(Debug)]
pub(crate) enum Span {
    Chunk(Range<usize>),
    Plain(Range<usize>),
}

impl Rest {
    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sealed.is_empty() && self.plain.len() == self.plain_at
    }

    /// What was gathered of a hello, or the head of a record.
    #[must_use]
    pub fn gathered(&self) -> &[u8] {
        &self.sealed
    }

    /// Bytes held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sealed.len() + self.plain.len()
    }

    /// Bytes of memory that hold them.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.sealed.capacity() + self.plain.capacity()
    }

    /// Forgets so many bytes at the front of what was gathered.
    pub(crate) fn drop_front(&mut self, len: usize) {
        self.sealed.drain(..len);
    }

    fn clear(&mut self) {
        self.sealed.clear();
        self.plain.clear();
        self.plain_at = 0;
    }
}

impl<'c> Input<'c> {
    /// Over a chunk and the rest of the chunk before it.
    #[must_use]
    pub fn new(chunk: &'c mut [u8], rest: Rest) -> Self {
        Self { chunk, at: 0, opened: 0..0, rest }
    }

    /// Stops: everything that was not lent out becomes the rest, to be read before the next chunk.
    #[must_use]
    pub fn into_rest(mut self) -> Rest {
        self.keep_opened();
        self.keep_sealed();
        if self.rest.plain_at > 0 {
            self.rest.plain.drain(..self.rest.plain_at);
            self.rest.plain_at = 0;
        }
        self.rest
    }

    /// The next frame's place, opening records as needed; `None` when the input holds no further whole frame.
    pub(crate) fn next_frame(
        &mut self,
        bounds: Bounds,
        open: &mut impl FnMut(&mut [u8]) -> Result<(), Error>,
    ) -> Result<Option<Span>, Error> {
        loop {
            if let Some(span) = self.lend(bounds)? {
                return Ok(Some(span));
            }
            if !self.open_record(bounds, open)? {
                return Ok(None);
            }
        }
    }

    /// Opens everything that arrived and keeps the plaintext unread, for a link that may not be listened to yet.
    /// Frames that `skips` are not kept. Stops as soon as `enough` says that the plaintext held so far is too much; returns whether it did.
    pub(crate) fn hold(
        &mut self,
        bounds: Bounds,
        open: &mut impl FnMut(&mut [u8]) -> Result<(), Error>,
        skips: impl Fn(&[u8]) -> bool,
        enough: impl Fn(&[u8]) -> Result<bool, Error>,
    ) -> Result<bool, Error> {
        loop {
            self.keep_opened();
            drop_frames(&mut self.rest.plain, self.rest.plain_at, bounds.frame_len_max, &skips)?;
            if enough(&self.rest.plain[self.rest.plain_at..])? {
                return Ok(true);
            }
            if !self.open_record(bounds, open)? {
                return Ok(false);
            }
        }
    }

    /// The bytes of a frame's body.
    pub(crate) fn body(&self, span: Span) -> &[u8] {
        match span {
            Span::Chunk(range) => &self.chunk[range],
            Span::Plain(range) => &self.rest.plain[range],
        }
    }

    /// Appends to `sealed` until it holds `wanted` bytes; whether it does.
    pub(crate) fn gather(&mut self, wanted: usize) -> bool {
        let missing = wanted.saturating_sub(self.rest.sealed.len());
        let taken = missing.min(self.chunk.len() - self.at);
        self.rest.sealed.extend_from_slice(&self.chunk[self.at..self.at + taken]);
        self.at += taken;
        taken == missing
    }

    /// What was gathered.
    pub(crate) fn gathered(&mut self) -> &mut Vec<u8> {
        &mut self.rest.sealed
    }

    /// Takes all bytes of the chunk that were not looked at.
    pub(crate) fn take_unread(&mut self) -> &[u8] {
        let from = std::mem::replace(&mut self.at, self.chunk.len());
        &self.chunk[from..]
    }

    /// Bytes of the chunk that were not looked at.
    pub(crate) fn unread(&self) -> usize {
        self.chunk.len() - self.at
    }

    /// A whole frame of what is opened, if there is one.
    fn lend(&mut self, bounds: Bounds) -> Result<Option<Span>, Error> {
        if self.rest.plain.len() > self.rest.plain_at {
            if let Some(body) = frame(&self.rest.plain[self.rest.plain_at..], bounds.frame_len_max)? {
                let body = body.start + self.rest.plain_at..body.end + self.rest.plain_at;
                self.rest.plain_at = body.end;
                return Ok(Some(Span::Plain(body)));
            }
            return Ok(None);
        }
        self.rest.plain.clear();
        self.rest.plain_at = 0;
        if self.opened.is_empty() {
            return Ok(None);
        }
        match frame(&self.chunk[self.opened.clone()], bounds.frame_len_max)? {
            Some(body) => {
                let body = body.start + self.opened.start..body.end + self.opened.start;
                self.opened.start = body.end;
                Ok(Some(Span::Chunk(body)))
            }
            None => {
                self.keep_opened();
                Ok(None)
            }
        }
    }

    /// Opens the next record; `false` when the input holds no further whole one.
    fn open_record(
        &mut self,
        bounds: Bounds,
        open: &mut impl FnMut(&mut [u8]) -> Result<(), Error>,
    ) -> Result<bool, Error> {
        if self.rest.sealed.is_empty()
            && let Some(len) = record_len(&self.chunk[self.at..], bounds)?
            && self.chunk.len() - self.at >= RECORD_HEADER_LEN + len
        {
            let start = self.at + RECORD_HEADER_LEN;
            self.at = start + len;
            open(&mut self.chunk[start..start + len])?;
            self.opened = start..start + len - bounds.tag_len;
            if !self.rest.plain.is_empty() {
                self.keep_opened();
            }
            return Ok(true);
        }
        if self.unread() == 0 && self.rest.sealed.is_empty() {
            return Ok(false);
        }
        if !self.gather(RECORD_HEADER_LEN) {
            return Ok(false);
        }
        let len = record_len(&self.rest.sealed, bounds)?.expect("the header has just been gathered");
        if !self.gather(RECORD_HEADER_LEN + len) {
            return Ok(false);
        }
        // Behind it there may be more records, when an input was left before its end.
        let end = RECORD_HEADER_LEN + len;
        open(&mut self.rest.sealed[RECORD_HEADER_LEN..end])?;
        self.rest.plain.extend_from_slice(&self.rest.sealed[RECORD_HEADER_LEN..end - bounds.tag_len]);
        self.rest.sealed.drain(..end);
        Ok(true)
    }

    fn keep_opened(&mut self) {
        if self.rest.plain_at > 0 && !self.opened.is_empty() {
            self.rest.plain.drain(..self.rest.plain_at);
            self.rest.plain_at = 0;
        }
        let opened = mem::take(&mut self.opened);
        self.rest.plain.extend_from_slice(&self.chunk[opened]);
    }

    fn keep_sealed(&mut self) {
        self.rest.sealed.extend_from_slice(&self.chunk[self.at..]);
        self.at = self.chunk.len();
    }
}

/// Whole frames at the front of `plain`; what does not end there is not counted.
pub(crate) fn count_frames(mut plain: &[u8], frame_len_max: usize) -> Result<usize, Error> {
    let mut count = 0;
    while let Some(body) = frame(plain, frame_len_max)? {
        plain = &plain[body.end..];
        count += 1;
    }
    Ok(count)
}

/// Takes the whole frames that `skips` out of what is kept from `at` on.
fn drop_frames(
    plain: &mut Vec<u8>,
    mut at: usize,
    frame_len_max: usize,
    skips: &impl Fn(&[u8]) -> bool,
) -> Result<(), Error> {
    while let Some(body) = frame(&plain[at..], frame_len_max)? {
        let (body, end) = (at + body.start..at + body.end, at + body.end);
        if skips(&plain[body]) {
            plain.drain(at..end);
        } else {
            at = end;
        }
    }
    Ok(())
}

/// Where the body of the first frame lies, if it is whole. Its length is checked as soon as it is known.
fn frame(plain: &[u8], len_max: usize) -> Result<Option<Range<usize>>, Error> {
    let Some((len, prefix)) = varint::decode(plain)? else { return Ok(None) };
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    if len == 0 {
        return Err(Error::FrameEmpty);
    }
    if len > len_max {
        return Err(Error::FrameLength(len));
    }
    Ok((plain.len() >= prefix + len).then_some(prefix..prefix + len))
}

/// Length of the record at the front of `bytes`, as soon as its length field is there.
fn record_len(bytes: &[u8], bounds: Bounds) -> Result<Option<usize>, Error> {
    let Some(header) = bytes.first_chunk::<RECORD_HEADER_LEN>() else { return Ok(None) };
    let len = usize::from(u16::from_be_bytes(*header));
    if len <= bounds.tag_len {
        return Err(Error::RecordEmpty);
    }
    if len > bounds.record_len_max {
        return Err(Error::RecordLength(len));
    }
    Ok(Some(len))
}

const _: () = assert!(TAG_LEN == 16);

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAR: Bounds = Bounds { record_len_max: 64, frame_len_max: 32, tag_len: 0 };

    /// Records in clear, each with the given plaintext.
    fn records(plains: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        for plain in plains {
            out.extend_from_slice(&u16::try_from(plain.len()).unwrap().to_be_bytes());
            out.extend_from_slice(plain);
        }
        out
    }

    /// All frames of `bytes` when it arrives cut at `cuts`.
    fn read(bytes: &[u8], cuts: &[usize]) -> Result<Vec<Vec<u8>>, Error> {
        let mut partials = Partials::new(1024);
        let (mut place, mut got, mut from) = (Place::NONE, Vec::new(), 0);
        for &to in cuts.iter().chain([&bytes.len()]) {
            let mut chunk = bytes[from..to].to_vec();
            from = to;
            let mut input = Input::new(&mut chunk, partials.take(place)?);
            while let Some(span) = input.next_frame(CLEAR, &mut |_| Ok(()))? {
                got.push(input.body(span).to_vec());
            }
            place = partials.keep(place, 7, input.into_rest())?;
        }
        assert_eq!((partials.bytes(), place), (0, Place::NONE), "nothing is left over");
        Ok(got)
    }

    #[test]
    fn frames_come_out_whole_wherever_the_stream_is_cut() {
        // Three frames; the second spans two records, the third shares a record with its end.
        let bytes = records(&[&[2, b'a', b'b', 3, b'c'], &[b'd', b'e', 1, b'f']]);
        let want = vec![b"ab".to_vec(), b"cde".to_vec(), b"f".to_vec()];
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                assert_eq!(read(&bytes, &[first, second]), Ok(want.clone()), "cut at {first} and {second}");
            }
        }
        let every: Vec<usize> = (1..bytes.len()).collect();
        assert_eq!(read(&bytes, &every), Ok(want));
    }

    #[test]
    fn records_left_unopened_by_a_hold_are_opened_one_by_one_later() {
        let mut chunk = records(&[&[1, b'a'], &[1, b'b'], &[1, b'c'], &[2, b'd']]);
        let mut open = |_: &mut [u8]| Ok(());
        let mut input = Input::new(&mut chunk, Rest::default());
        assert_eq!(input.hold(CLEAR, &mut open, |_| false, |plain| Ok(plain.len() >= 2)), Ok(true));
        let mut tail = records(&[b"e"]);
        let rest = input.into_rest();
        assert_eq!(rest.len(), 2 + 3 * 4, "one record that is open, three that are not");
        let mut input = Input::new(&mut tail, rest);
        let mut got = Vec::new();
        while let Some(span) = input.next_frame(CLEAR, &mut open).unwrap() {
            got.push(input.body(span).to_vec());
        }
        assert_eq!(got, [&b"a"[..], b"b", b"c", b"de"]);
        assert!(input.into_rest().is_empty());
    }

    #[test]
    fn lengths_are_refused_as_soon_as_they_are_known() {
        assert_eq!(read(&[0, 0], &[]), Err(Error::RecordEmpty));
        assert_eq!(read(&[0, 65], &[1]), Err(Error::RecordLength(65)));
        assert_eq!(read(&records(&[&[33]]), &[]), Err(Error::FrameLength(33)));
        assert_eq!(read(&records(&[&[0]]), &[]), Err(Error::FrameEmpty));
    }
}
