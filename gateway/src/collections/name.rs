//! A user's or device's id, kept in place when it is as short as most are.

use std::fmt;

/// Up to 24 bytes without an allocation, or any number with one.
#[derive(Clone, PartialEq, Eq)]
pub struct Name(Kept);

#[derive(Clone, PartialEq, Eq)]
enum Kept {
    /// The bytes beyond the length are zero.
    Inline {
        len: u8,
        bytes: [u8; INLINE_MAX],
    },
    Boxed(Box<[u8]>),
}

impl Name {
    /// A copy of `bytes`.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let mut inline = [0; INLINE_MAX];
        let kept = match inline.get_mut(..bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                Kept::Inline { len: bytes.len() as u8, bytes: inline }
            }
            None => Kept::Boxed(bytes.into()),
        };
        Self(kept)
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
            Kept::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Kept::Boxed(bytes) => bytes,
        }
    }
}

/// As text where it is printable.
impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.bytes().escape_ascii())
    }
}

/// Longest id that is kept in place.
const INLINE_MAX: usize = 24;

const _: () = assert!(size_of::<Name>() <= 32);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn short_names_need_no_box() {
        assert!(matches!(Name::new(&[1; INLINE_MAX]).0, Kept::Inline { .. }));
        assert!(matches!(Name::new(&[1; INLINE_MAX + 1]).0, Kept::Boxed(_)));
        assert_eq!(format!("{:?}", Name::new(b"al\"ice\x01")), r#""al\"ice\x01""#);
    }

    proptest! {
        #[test]
        fn a_name_is_its_bytes(one: Vec<u8>, other: Vec<u8>) {
            let name = Name::new(&one);
            prop_assert_eq!(name.bytes(), &one);
            prop_assert_eq!(name == Name::new(&other), one == other);
        }
    }
}
