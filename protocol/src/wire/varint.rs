//! Protobuf base-128 varints.

use crate::error::Error;

/// Bytes the varint of `value` takes: 1 to 10.
#[must_use]
pub const fn len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Appends the varint of `value`.
pub fn encode(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads a varint from the front of `bytes`: its value and length, or `None` if it is not complete yet.
///
/// # Errors
/// [`Error::FrameEncoding`] when it is longer than ten bytes or its value does not fit 64 bits.
pub fn decode(bytes: &[u8]) -> Result<Option<(u64, usize)>, Error> {
    if let Some(&first) = bytes.first()
        && first < 0x80
    {
        return Ok(Some((u64::from(first), 1)));
    }
    let mut value = 0u64;
    for (index, &byte) in bytes.iter().take(10).enumerate() {
        if index == 9 && byte > 1 {
            return Err(Error::FrameEncoding);
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Ok(Some((value, index + 1)));
        }
    }
    if bytes.len() >= 10 { Err(Error::FrameEncoding) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_at_every_length() {
        for shift in 0..64 {
            for value in [1u64 << shift, (1u64 << shift) - 1, u64::MAX >> shift] {
                let mut out = Vec::new();
                encode(value, &mut out);
                assert_eq!(out.len(), len(value));
                assert_eq!(decode(&out), Ok(Some((value, out.len()))));
                assert_eq!(
                    decode(&out[..out.len() - 1]).map(|got| got.is_none_or(|g| g.0 != value)),
                    Ok(true)
                );
            }
        }
    }

    #[test]
    fn refuses_what_does_not_fit_64_bits() {
        assert_eq!(decode(&[0xff; 10]), Err(Error::FrameEncoding));
        assert_eq!(
            decode(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02]),
            Err(Error::FrameEncoding)
        );
        assert_eq!(decode(&[0xff; 9]), Ok(None));
    }
}
