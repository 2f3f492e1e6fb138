//! Records have their places in a batch before they are sealed: plaintext that is longer than one record is moved apart.
//!
//! ```text
//! before   hole 2 | plaintext ………………………………………………………
//! after    len 2 | plaintext ……… | tag | len 2 | plaintext … | tag
//! ```

use crate::limits::RECORD_HEADER_LEN;

/// The places of the records of `out[start..]`, a hole of two bytes and then plaintext, with at most `plain_max` bytes of
/// plaintext and a tag of `tag_len` bytes each. Their lengths are written; the tags are zeros. One record, the normal case,
/// is not moved. Without plaintext nothing is left at `start`.
///
/// # Panics
/// If `plain_max` is 0, or with the tag more than a length field can say.
pub(crate) fn split(
    out: &mut Vec<u8>,
    start: usize,
    plain_max: usize,
    tag_len: usize,
) -> impl Iterator<Item = &mut [u8]> {
    let plain_len = out.len().saturating_sub(start + RECORD_HEADER_LEN);
    let (records, overhead) = (plain_len.div_ceil(plain_max), RECORD_HEADER_LEN + tag_len);
    out.resize(start.min(out.len()) + plain_len + records * overhead, 0);
    // From the back, so that nothing is overwritten before it has moved.
    for record in (1..records).rev() {
        let from = start + RECORD_HEADER_LEN + record * plain_max;
        let len = plain_max.min(plain_len - record * plain_max);
        out.copy_within(from..from + len, from + record * overhead);
    }
    let start = start.min(out.len());
    out[start..].chunks_mut(plain_max + overhead).map(|record| {
        let (header, rest) = record.split_at_mut(RECORD_HEADER_LEN);
        let len = u16::try_from(rest.len()).expect("plain_max leaves room for the tag in 16 bits");
        header.copy_from_slice(&len.to_be_bytes());
        rest
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_moved_apart_in_place() {
        for (len, tag_len) in (0..40usize).flat_map(|len| [(len, 0), (len, 16)]) {
            let plain: Vec<u8> = (1..=len).map(|byte| byte as u8).collect();
            let mut out = [b"before", &[0; 2][..], &plain].concat();
            assert_eq!(split(&mut out, 6, 7, tag_len).count(), len.div_ceil(7));
            let (mut rest, mut got) = (&out[6..], Vec::new());
            while let Some((header, body)) = rest.split_first_chunk::<2>() {
                let (body, behind) = body.split_at(usize::from(u16::from_be_bytes(*header)));
                let (text, _tag) = body.split_at(body.len() - tag_len);
                assert!((1..=7).contains(&text.len()));
                got.extend_from_slice(text);
                rest = behind;
            }
            assert_eq!((got, &out[..6]), (plain, &b"before"[..]));
        }
    }
}
