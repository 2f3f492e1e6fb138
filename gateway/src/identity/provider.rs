//! Who says whether a token is good: the gateway by a shared token, the gateway by a signature, or a backend.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use protocol::hidden::Hidden;
use protocol::{CloseCode, DeviceClass, UnixMillis};

use crate::config::DevelopmentToken;
use crate::counters::Counters;
use crate::tokens::{Binding, Verifier};

/// A token as a client presents it.
#[derive(Clone, Copy)]
pub struct Presented<'a> {
    /// Its bytes.
    pub token: &'a [u8],
    /// Who the client says it is.
    pub user: &'a [u8],
    /// The time of day.
    pub now: UnixMillis,
}

impl fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { token, user, now } = self;
        write!(f, "Presented({:?}, {user:?}, {now:?})", Hidden(token))
    }
}

/// What can be said of a token.
#[derive(Debug)]
pub enum Opinion<'a> {
    /// It is good.
    Good(Good<'a>),
    /// It is not, and the client is told so.
    Bad(CloseCode),
    /// That takes work, of about this length: ask again when there is time for it.
    Work(Duration),
    /// A backend has to say.
    Backend,
}

/// What a good token proves.
pub struct Good<'a> {
    /// The user's id.
    pub user: Cow<'a, [u8]>,
    /// What names the login: the token itself, or its id.
    pub login: Cow<'a, [u8]>,
    /// When it was issued.
    pub issued: UnixMillis,
    /// Until when it is good, if that has an end.
    pub expiry: Option<UnixMillis>,
    /// The key it is bound to, if it is.
    pub binding: Option<Binding>,
    /// What it says that the device is.
    pub class: DeviceClass,
    /// The class of the account, as it names it; empty without one.
    pub limit_class: Cow<'a, str>,
}

impl fmt::Debug for Good<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Good")
            .field("user", &self.user)
            .field("login", &Hidden(&self.login))
            .field("issued", &self.issued)
            .field("expiry", &self.expiry)
            .field("class", &self.class)
            .field("limit_class", &self.limit_class)
            .finish_non_exhaustive()
    }
}

/// Who says whether a token is good.
pub trait Provider: fmt::Debug + Send {
    /// What it has to say. Work is done only if it `may_work`.
    fn judge<'a>(&mut self, presented: Presented<'a>, may_work: bool, counters: &Counters) -> Opinion<'a>;

    /// Tokens are verified by other keys from now on, if they are verified here.
    fn replace(&mut self, _verifier: Arc<Verifier>) {}

    /// How many tokens it remembers.
    fn remembered(&self) -> usize {
        0
    }
}

/// One shared token, and whoever has it may be anybody.
#[derive(Debug)]
pub struct Development(DevelopmentToken);

impl Development {
    /// This one.
    #[must_use]
    pub const fn new(token: DevelopmentToken) -> Self {
        Self(token)
    }
}

impl Provider for Development {
    fn judge<'a>(&mut self, presented: Presented<'a>, _: bool, _: &Counters) -> Opinion<'a> {
        let Presented { token, user, now } = presented;
        if !self.0.matches(token) {
            return Opinion::Bad(CloseCode::AuthFailed);
        }
        let (user, login) = (Cow::Borrowed(user), Cow::Borrowed(token));
        let (class, limit_class) = (DeviceClass::Unknown, Cow::Borrowed(""));
        Opinion::Good(Good { user, login, issued: now, expiry: None, binding: None, class, limit_class })
    }
}

/// Backends of a route.
#[derive(Debug)]
pub struct Delegated;

impl Provider for Delegated {
    fn judge<'a>(&mut self, _: Presented<'a>, _: bool, _: &Counters) -> Opinion<'a> {
        Opinion::Backend
    }
}
