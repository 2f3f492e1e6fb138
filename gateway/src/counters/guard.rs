//! What keeps newcomers out, and what refuses those who are in: one name for each thing that may do so, in config, metrics and
//! verbs alike.

use super::cell::{Family, Label};

/// Declares the guards: one line each, with the sentence that says whom it keeps out.
macro_rules! guards {
    ($($(#[doc = $doc:literal])+ $variant:ident $name:literal,)+) => {
        /// What keeps somebody out.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Guard { $($(#[doc = $doc])+ $variant,)+ }

        impl Guard {
            /// All of them, in the order in which a newcomer meets them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// How it is called in config, metrics and verbs.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

guards! {
    /// No worker has a place left.
    Places "places",
    /// A list denies the address.
    Lists "lists",
    /// It is none of the balancers that alone may connect.
    NotABalancer "not_a_balancer",
    /// What a balancer has sent first is no header, or was none in time.
    ProxyHeader "proxy_header",
    /// The address has as many authenticated links as it may have.
    LinksPerAddress "links_per_address",
    /// The address has too many links that are not authenticated.
    StrangersPerAddress "strangers_per_address",
    /// The address connects too often without authenticating.
    AcceptsPerAddress "accepts_per_address",
    /// The /24 or /48 around it has too many links that are not authenticated.
    StrangersPerPrefix "strangers_per_prefix",
    /// The /24 or /48 around it connects too often without authenticating.
    AcceptsPerPrefix "accepts_per_prefix",
    /// Too many connect to this listener.
    AcceptsPerListener "accepts_per_listener",
    /// Too many connect to the gateway.
    Accepts "accepts",
    /// It had to make room for a younger stranger.
    Strangers "strangers",
    /// Its first bytes are no hello that is served here.
    Hellos "hellos",
    /// Too many hellos or tokens wait already.
    Waiting "handshakes_waiting",
    /// It had to make room for a younger handshake of XX.
    XxHandshakes "xx_handshakes",
    /// It has not logged in in time.
    Deadlines "deadlines",
    /// Its token or ticket is not good.
    Tokens "tokens",
    /// The worker has too much to do: see the overload ladder.
    Overload "overload",
    /// The user logs in too often.
    LoginsPerUser "logins_per_user",
    /// A list denies the user, or there is one of those who may come and it does not name the user.
    Users "users",
    /// The user has as many devices linked as it may have, or as many of this class.
    Devices "devices",
    /// The link sends too many frames.
    FramesPerLink "frames_per_link",
    /// The link sends too many frames that are work for the gateway alone.
    ControlPerLink "control_per_link",
    /// The link sends too many bytes.
    BytesPerLink "bytes_per_link",
    /// The user sends too much on all of its links together.
    RatesPerUser "rates_per_user",
}

impl Label for Guard {
    const LABEL: &'static str = "guard";

    fn names() -> Vec<&'static str> {
        Self::ALL.iter().map(|guard| guard.name()).collect()
    }

    fn index(&self) -> usize {
        *self as usize
    }
}

/// Whom the guards have kept out of one listener, on one worker.
#[derive(Debug, Default)]
pub struct KeptOut {
    /// How many each has.
    pub refused: Family<Guard>,
    /// How many each would have, had it not been on trial.
    pub on_trial: Family<Guard>,
}

/// A set of guards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guards(u32);

impl Guards {
    /// No guard.
    pub const NONE: Self = Self(0);

    /// The same and one more.
    #[must_use]
    pub const fn with(self, guard: Guard) -> Self {
        Self(self.0 | 1 << guard as u32)
    }

    /// Names each of them.
    pub fn each(self, name: impl FnMut(Guard)) {
        Guard::ALL.iter().copied().filter(|guard| self.contains(*guard)).for_each(name);
    }

    /// Whether one is among them.
    #[must_use]
    pub const fn contains(self, guard: Guard) -> bool {
        self.0 >> guard as u32 & 1 != 0
    }
}

impl FromIterator<Guard> for Guards {
    fn from_iter<I: IntoIterator<Item = Guard>>(guards: I) -> Self {
        guards.into_iter().fold(Self::NONE, Self::with)
    }
}

const _: () = assert!(Guard::ALL.len() <= 32, "a set of them has 32 bits");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_guard_has_a_place_and_a_name_of_its_own() {
        for (place, guard) in Guard::ALL.iter().enumerate() {
            assert_eq!(guard.index(), place);
            assert_eq!(Guard::ALL.iter().filter(|other| other.name() == guard.name()).count(), 1);
        }
        assert_eq!(Guard::names().len(), Guard::ALL.len());
    }

    #[test]
    fn a_set_has_whom_it_was_made_of_and_nobody_else() {
        let some: Guards = [Guard::Lists, Guard::Users].into_iter().collect();
        let members: Vec<_> = Guard::ALL.iter().copied().filter(|guard| some.contains(*guard)).collect();
        assert_eq!(members, [Guard::Lists, Guard::Users]);
        assert!(!Guard::ALL.iter().any(|guard| Guards::NONE.contains(*guard)));
    }
}
