//! The randomness of one handshake on its way from the system to the machine.

use std::fmt;

use zeroize::Zeroizing;

/// Fresh randomness for one handshake. It lies in one place for as long as it lives, however often its owner moves, and
/// is wiped when it is dropped: an array would leave a copy wherever it has been.
pub struct Ephemeral(Box<Zeroizing<[u8; 32]>>);

impl Ephemeral {
    /// Has `fill` put random bytes into the place.
    ///
    /// # Errors
    /// Those of `fill`.
    pub fn fill<E>(fill: impl FnOnce(&mut [u8; 32]) -> Result<(), E>) -> Result<Self, E> {
        let mut place = Box::new(Zeroizing::new([0; 32]));
        fill(&mut place)?;
        Ok(Self(place))
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// For bytes that are no secret, as in test vectors.
impl From<[u8; 32]> for Ephemeral {
    fn from(bytes: [u8; 32]) -> Self {
        Self(Box::new(Zeroizing::new(bytes)))
    }
}

impl fmt::Debug for Ephemeral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ephemeral(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_where_it_was_filled_and_is_not_shown() {
        let mut filled = std::ptr::null();
        let fill = |place: &mut [u8; 32]| {
            place.fill(7);
            filled = place.as_ptr();
            Ok::<_, ()>(())
        };
        let ephemeral = Ephemeral::fill(fill).unwrap();
        let moved = vec![Some(ephemeral)];
        let bytes = moved[0].as_ref().unwrap().bytes();
        assert_eq!((bytes, bytes.as_ptr()), (&[7; 32], filled));
        assert_eq!(format!("{moved:?}"), "[Some(Ephemeral(***))]");
        assert_eq!(Ephemeral::fill(|_| Err("none")).err(), Some("none"));
    }
}
