//! Suites: which Noise pattern and which cipher. All of them are `25519` and `SHA256`.

/// The suite byte of a clear stream: no handshake, no keys. It is not a [`Suite`], so nothing that needs keys can be
/// given it by mistake.
pub const CLEAR_SUITE: u8 = 15;

/// A Noise protocol this version speaks. The number is the byte in the preamble. SPEC.md, section 4.1 lists those that
/// have a number and are not served yet: hybrids with a KEM, and the Chinese commercial suites.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Suite {
    /// `Noise_NK_25519_ChaChaPoly_SHA256`, the default: pinned server key, the user is proved by a token.
    NkChaChaPoly = 1,
    /// `Noise_NK_25519_AESGCM_SHA256`.
    NkAesGcm = 2,
    /// `Noise_IK_25519_ChaChaPoly_SHA256`: the device proves its key as well.
    IkChaChaPoly = 3,
    /// `Noise_IK_25519_AESGCM_SHA256`.
    IkAesGcm = 4,
    /// `Noise_XX_25519_ChaChaPoly_SHA256`: no key is known beforehand, both are sent.
    XxChaChaPoly = 5,
    /// `Noise_XX_25519_AESGCM_SHA256`.
    XxAesGcm = 6,
    /// `Noise_NNpsk0_25519_ChaChaPoly_SHA256`: resumption by ticket.
    Nnpsk0ChaChaPoly = 7,
    /// `Noise_NNpsk0_25519_AESGCM_SHA256`.
    Nnpsk0AesGcm = 8,
    /// `Noise_KK_25519_ChaChaPoly_SHA256`: streams, both keys are known beforehand.
    KkChaChaPoly = 9,
    /// `Noise_KK_25519_AESGCM_SHA256`.
    KkAesGcm = 10,
}

/// The handshake pattern of a suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// The responder's key is known.
    Nk,
    /// The responder's key is known, the initiator's is sent.
    Ik,
    /// No key is known, both are sent: the only pattern of three messages.
    Xx,
    /// No static keys, a secret from a ticket.
    Nnpsk0,
    /// Both keys are known.
    Kk,
}

/// The AEAD of a suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Cipher {
    /// ChaCha20-Poly1305.
    ChaChaPoly = 1,
    /// AES-256-GCM.
    AesGcm = 2,
}

impl Suite {
    /// All suites, by number.
    pub const ALL: [Self; 10] = [
        Self::NkChaChaPoly,
        Self::NkAesGcm,
        Self::IkChaChaPoly,
        Self::IkAesGcm,
        Self::XxChaChaPoly,
        Self::XxAesGcm,
        Self::Nnpsk0ChaChaPoly,
        Self::Nnpsk0AesGcm,
        Self::KkChaChaPoly,
        Self::KkAesGcm,
    ];

    /// The byte in the preamble.
    #[must_use]
    pub const fn byte(self) -> u8 {
        self as u8
    }

    /// The suite with this byte; `None` for the clear suite, the reserved ones and those of a later version.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::NkChaChaPoly),
            2 => Some(Self::NkAesGcm),
            3 => Some(Self::IkChaChaPoly),
            4 => Some(Self::IkAesGcm),
            5 => Some(Self::XxChaChaPoly),
            6 => Some(Self::XxAesGcm),
            7 => Some(Self::Nnpsk0ChaChaPoly),
            8 => Some(Self::Nnpsk0AesGcm),
            9 => Some(Self::KkChaChaPoly),
            10 => Some(Self::KkAesGcm),
            _ => None,
        }
    }

    /// The suite's bit in a set on the wire. Those of streams have none: they are configured and never negotiated.
    #[must_use]
    pub const fn bit(self) -> u32 {
        if self.is_stream() { 0 } else { 1 << self.byte() }
    }

    /// The handshake pattern.
    #[must_use]
    pub const fn pattern(self) -> Pattern {
        match self {
            Self::NkChaChaPoly | Self::NkAesGcm => Pattern::Nk,
            Self::IkChaChaPoly | Self::IkAesGcm => Pattern::Ik,
            Self::XxChaChaPoly | Self::XxAesGcm => Pattern::Xx,
            Self::Nnpsk0ChaChaPoly | Self::Nnpsk0AesGcm => Pattern::Nnpsk0,
            Self::KkChaChaPoly | Self::KkAesGcm => Pattern::Kk,
        }
    }

    /// The AEAD.
    #[must_use]
    pub const fn cipher(self) -> Cipher {
        match self {
            Self::NkChaChaPoly
            | Self::IkChaChaPoly
            | Self::XxChaChaPoly
            | Self::Nnpsk0ChaChaPoly
            | Self::KkChaChaPoly => Cipher::ChaChaPoly,
            Self::NkAesGcm | Self::IkAesGcm | Self::XxAesGcm | Self::Nnpsk0AesGcm | Self::KkAesGcm => {
                Cipher::AesGcm
            }
        }
    }

    /// The exact length of message 1 in bytes. It carries no payload, so there is only one.
    #[must_use]
    pub const fn message_1_len(self) -> usize {
        match self.pattern() {
            Pattern::Nk | Pattern::Nnpsk0 | Pattern::Kk => 32 + 16,
            Pattern::Ik => 32 + 32 + 16 + 16,
            Pattern::Xx => 32,
        }
    }

    /// Whether both static keys are sent and none is known: on such a link nothing is proved to the initiator, and message 3
    /// follows message 2.
    #[must_use]
    pub const fn is_unpinned(self) -> bool {
        matches!(self.pattern(), Pattern::Xx)
    }

    /// Whether this suite resumes by ticket.
    #[must_use]
    pub const fn is_ticket(self) -> bool {
        matches!(self.pattern(), Pattern::Nnpsk0)
    }

    /// The suite that resumes a link of this cipher by ticket.
    #[must_use]
    pub const fn of_ticket(cipher: Cipher) -> Self {
        match cipher {
            Cipher::ChaChaPoly => Self::Nnpsk0ChaChaPoly,
            Cipher::AesGcm => Self::Nnpsk0AesGcm,
        }
    }

    /// Whether a handshake of this suite proves the responder's pinned key.
    #[must_use]
    pub const fn proves_server(self) -> bool {
        matches!(self.pattern(), Pattern::Nk | Pattern::Ik | Pattern::Kk)
    }

    /// Whether this suite is for streams only.
    #[must_use]
    pub const fn is_stream(self) -> bool {
        matches!(self.pattern(), Pattern::Kk)
    }

    /// The full name of the Noise protocol.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NkChaChaPoly => "Noise_NK_25519_ChaChaPoly_SHA256",
            Self::NkAesGcm => "Noise_NK_25519_AESGCM_SHA256",
            Self::IkChaChaPoly => "Noise_IK_25519_ChaChaPoly_SHA256",
            Self::IkAesGcm => "Noise_IK_25519_AESGCM_SHA256",
            Self::XxChaChaPoly => "Noise_XX_25519_ChaChaPoly_SHA256",
            Self::XxAesGcm => "Noise_XX_25519_AESGCM_SHA256",
            Self::Nnpsk0ChaChaPoly => "Noise_NNpsk0_25519_ChaChaPoly_SHA256",
            Self::Nnpsk0AesGcm => "Noise_NNpsk0_25519_AESGCM_SHA256",
            Self::KkChaChaPoly => "Noise_KK_25519_ChaChaPoly_SHA256",
            Self::KkAesGcm => "Noise_KK_25519_AESGCM_SHA256",
        }
    }
}

/// A set of suites as it travels, in 24 bits: bit n is suite n. Bits of suites unknown here are kept, because the set of
/// the peer is authenticated and compared as it was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Suites(u32);

impl Suites {
    /// The empty set.
    pub const NONE: Self = Self(0);

    /// The set of these suites.
    #[must_use]
    pub const fn of(suites: &[Suite]) -> Self {
        let mut bits = 0;
        let mut index = 0;
        while index < suites.len() {
            bits |= suites[index].bit();
            index += 1;
        }
        Self(bits)
    }

    /// The set with these bits; those above the 24th have no place on the wire.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits & 0xff_ffff)
    }

    /// The bits, as they travel.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `suite` is in the set.
    #[must_use]
    pub const fn contains(self, suite: Suite) -> bool {
        self.0 & suite.bit() != 0
    }

    /// Adds `suite`.
    pub const fn insert(&mut self, suite: Suite) {
        self.0 |= suite.bit();
    }

    /// The suites of this set that are not in the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether there are some, and all of them are [unpinned](Suite::is_unpinned).
    #[must_use]
    pub const fn are_unpinned(self) -> bool {
        !self.is_empty() && self.without(Self::of(&[Suite::XxChaChaPoly, Suite::XxAesGcm])).is_empty()
    }

    /// The suites in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_one_suite_or_none() {
        for byte in 0..=u8::MAX {
            let known = Suite::ALL.iter().copied().find(|suite| suite.byte() == byte);
            assert_eq!(Suite::from_byte(byte), known);
        }
        assert_eq!(Suite::from_byte(CLEAR_SUITE), None);
    }

    #[test]
    fn sets_hold_what_was_inserted_and_keep_foreign_bits() {
        let mut set = Suites::from_bits(1 << 23 | 1 << 24);
        assert!(!set.contains(Suite::IkAesGcm));
        set.insert(Suite::IkAesGcm);
        assert!(set.contains(Suite::IkAesGcm) && !set.contains(Suite::IkChaChaPoly));
        assert_eq!(set.bits(), (1 << 23) | (1 << 4), "a set has 24 bits");
        assert_eq!(set.intersection(Suites::of(&Suite::ALL)), Suites::of(&[Suite::IkAesGcm]));
        assert_eq!(set.without(Suites::of(&[Suite::IkAesGcm])).bits(), 1 << 23);
    }

    #[test]
    fn a_server_is_proved_by_all_but_the_suites_of_tickets_and_those_without_a_pin() {
        let proves_none = |suite: Suite| suite.is_ticket() || suite.is_unpinned();
        assert!(Suite::ALL.into_iter().all(|suite| suite.proves_server() != proves_none(suite)));
        assert!(
            Suite::ALL.into_iter().any(Suite::is_ticket) && Suite::ALL.into_iter().any(Suite::is_unpinned)
        );
    }

    #[test]
    fn a_set_is_unpinned_if_all_of_it_is_and_it_is_not_empty() {
        let unpinned = |suites: &[Suite]| Suites::of(suites).are_unpinned();
        assert!(unpinned(&[Suite::XxAesGcm]) && unpinned(&[Suite::XxAesGcm, Suite::XxChaChaPoly]));
        assert!(!unpinned(&[]) && !unpinned(&[Suite::XxAesGcm, Suite::NkAesGcm]));
        for suite in Suite::ALL {
            assert_eq!(unpinned(&[suite]), suite.is_unpinned(), "{suite:?}");
        }
    }

    #[test]
    fn suites_of_streams_have_no_bit() {
        let streams = Suite::ALL.into_iter().filter(|suite| suite.is_stream());
        assert!(streams.clone().count() == 2 && streams.map(Suite::bit).all(|bit| bit == 0));
        assert!(!Suites::from_bits(u32::MAX).contains(Suite::KkAesGcm));
    }
}
