//! Hex, as keys are written in files and bytes in test vectors.

/// Exactly `N` bytes from hex digits of either case.
#[must_use]
pub fn decode_array<const N: usize>(text: &str) -> Option<[u8; N]> {
    decode(text)?.try_into().ok()
}

/// Bytes from hex digits of either case.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| Some(digit(pair[0])? << 4 | digit(pair[1])?);
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}

/// Lower-case hex.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn digit(c: u8) -> Option<u8> {
    char::from(c).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trips_and_refuses_other_lengths_and_letters() {
        let bytes: [u8; 32] = std::array::from_fn(|i| i as u8 * 7);
        assert_eq!(decode_array::<32>(&encode(&bytes)), Some(bytes));
        assert_eq!(decode_array::<32>(&encode(&bytes).to_uppercase()), Some(bytes));
        assert_eq!(decode_array::<32>(&encode(&bytes[..31])), None);
        assert_eq!(decode_array::<32>(&"g".repeat(64)), None);
        assert_eq!((decode(""), decode("0aFf"), decode("0aF")), (Some(vec![]), Some(vec![10, 255]), None));
    }
}
