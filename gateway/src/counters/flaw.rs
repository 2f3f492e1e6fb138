//! What is wrong with a signed token: one name for each, in metrics and tests alike.

use std::fmt;

use super::cell::Label;

/// Declares them: a variant, its name, and the sentence about it.
macro_rules! flaws {
    ($($(#[doc = $doc:literal])+ $variant:ident $name:literal,)+) => {
        /// What is wrong with a token.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Flaw { $($(#[doc = $doc])+ $variant,)+ }

        impl Flaw {
            const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// A word for it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

flaws! {
    /// It is none, or too long to be one.
    Form "form",
    /// Its header demands something that is not understood here.
    Critical "critical",
    /// No key of the set has its `kid`.
    Key "key",
    /// Its algorithm is not that of its key.
    Algorithm "algorithm",
    /// Its signature is wrong.
    Signature "signature",
    /// It is of another issuer, or for another audience.
    Terms "terms",
    /// It is not good yet.
    Early "early",
    /// It is good no more.
    Expired "expired",
    /// It is good for longer than tokens are meant to be.
    Lifetime "lifetime",
    /// It does not say who its user is, or until when it is good, in a way that can be understood.
    Claims "claims",
    /// It is bound to a key, and how is not understood here, or the client has not proved that key.
    Binding "binding",
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Label for Flaw {
    const LABEL: &'static str = "flaw";

    fn names() -> Vec<&'static str> {
        Self::ALL.iter().map(|flaw| flaw.name()).collect()
    }

    fn index(&self) -> usize {
        *self as usize
    }
}
