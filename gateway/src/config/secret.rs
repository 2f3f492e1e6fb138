//! 32 secret bytes, and the token of development mode that is made from them.

use std::fmt;

use protocol::noise::StaticKey;
use ring::hmac;
use zeroize::Zeroizing;

/// A private or symmetric key. Prints as `***` and is wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<[u8; 32]>);

impl Secret {
    /// Takes the bytes over.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The X25519 key with this secret, ready for use.
    #[must_use]
    pub fn prepare(&self) -> StaticKey {
        StaticKey::from_secret(*self.0)
    }

    /// Reads a key file: 64 hex digits on a line of their own; empty lines and lines that begin with `#` are skipped.
    ///
    /// # Errors
    /// Says what is wrong, without repeating the contents.
    pub fn from_file(text: &str) -> Result<Self, String> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let line = lines.next().ok_or("holds no key")?;
        if lines.next().is_some() {
            return Err("holds more than one line besides comments".to_owned());
        }
        protocol::hex::decode_array::<32>(line)
            .map(Self::new)
            .ok_or_else(|| "does not hold 64 hex digits".to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The one token of development mode. Whoever presents it may name any user, so it is as good as being every
/// user: it exists to try things out and to load-test. It is a MAC under the gateway's private key, so that
/// `gateway token` can print it again and nothing more has to be stored.
#[derive(Clone)]
pub struct DevelopmentToken {
    key: hmac::Key,
}

const TOKEN_LABEL: &[u8] = b"access-gateway development token v1";
const TOKEN_PREFIX: &str = "dev1.";

impl DevelopmentToken {
    /// The token of the gateway with this private key.
    #[must_use]
    pub fn new(server: &Secret) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, server.bytes()) }
    }

    /// The token as clients send it: 69 letters.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{TOKEN_PREFIX}{}", protocol::hex::encode(hmac::sign(&self.key, TOKEN_LABEL).as_ref()))
    }

    /// Whether a client presented it. Takes the same time for every wrong token of the right form.
    #[must_use]
    pub fn matches(&self, presented: &[u8]) -> bool {
        presented
            .strip_prefix(TOKEN_PREFIX.as_bytes())
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(protocol::hex::decode_array::<32>)
            .is_some_and(|tag| hmac::verify(&self.key, TOKEN_LABEL, &tag).is_ok())
    }
}

impl fmt::Debug for DevelopmentToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_holds_one_key_and_comments() {
        let digits = "ab".repeat(32);
        let secret = Secret::from_file(&format!("# public: 00\n\n{digits}\n")).unwrap();
        assert_eq!(secret.bytes(), &[0xab; 32]);
        assert!(Secret::from_file("# nothing\n").is_err());
        assert!(Secret::from_file(&format!("{digits}\n{digits}\n")).is_err());
        assert!(Secret::from_file("ab").is_err());
    }

    #[test]
    fn secrets_are_wiped_when_dropped() {
        fn is_wiped<T: zeroize::ZeroizeOnDrop>(_: &T) {}
        is_wiped(&Secret::new([7; 32]).0);
    }

    #[test]
    fn secrets_never_print_their_bytes() {
        let secret = Secret::new([7; 32]);
        assert_eq!(format!("{secret:?} {:?}", DevelopmentToken::new(&secret)), "*** ***");
    }

    #[test]
    fn only_the_token_of_this_key_matches() {
        let token = DevelopmentToken::new(&Secret::new([1; 32]));
        let text = token.text();
        assert_eq!(text.len(), 69);
        assert!(token.matches(text.as_bytes()));
        assert!(!DevelopmentToken::new(&Secret::new([2; 32])).matches(text.as_bytes()));
        let mut flipped = text.clone().into_bytes();
        flipped[40] = if flipped[40] == b'0' { b'1' } else { b'0' };
        assert!(!token.matches(&flipped));
        for wrong in [&b""[..], b"dev1.", b"\xff", &text.as_bytes()[..68], &text.as_bytes()[5..]] {
            assert!(!token.matches(wrong));
        }
    }
}
