//! What a backend may do.

use super::value::Word;

/// One thing that a backend may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Capability {
    /// Answer requests.
    Serve = 1,
    /// Push to links and users.
    Push = 2,
    /// End links, and revoke logins.
    Kick = 4,
    /// Keep users and addresses out, let them in again, and slow them down.
    Ban = 8,
    /// Judge tokens.
    Authenticate = 16,
}

/// All that a backend may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities(u8);

impl Capabilities {
    /// Of a backend of which nothing is said. Bans outlast the backend that has set them, so they are not among it.
    pub const UNSAID: Self = Self(
        Capability::Serve as u8
            | Capability::Push as u8
            | Capability::Kick as u8
            | Capability::Authenticate as u8,
    );

    /// Whether this is among it.
    #[must_use]
    pub const fn contains(self, capability: Capability) -> bool {
        self.0 & capability as u8 != 0
    }
}

impl FromIterator<Capability> for Capabilities {
    fn from_iter<I: IntoIterator<Item = Capability>>(all: I) -> Self {
        Self(all.into_iter().fold(0, |sum, one| sum | one as u8))
    }
}

impl Word for Capability {
    const ALL: &'static [(&'static str, Self)] = &[
        ("serve", Self::Serve),
        ("push", Self::Push),
        ("kick", Self::Kick),
        ("ban", Self::Ban),
        ("authenticate", Self::Authenticate),
    ];
    const WRITTEN: &'static str = "\"serve\", \"push\", \"kick\", \"ban\" or \"authenticate\"";
}
