//! Which users may log in.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use protocol::{Time, hex};

use super::prefixes::NEVER;

/// Users, each until its end.
pub type Ends = HashMap<UserId, Time>;

/// A user's id, 1 to 64 bytes. As text it is itself where that can be read and typed in one word, else `hex:` and its bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(Box<[u8]>);

/// What was read is no user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoUser;

impl UserId {
    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Of these bytes; `None` if there are too few or too many.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        (1..=USER_LEN_MAX).contains(&bytes.len()).then(|| Self(bytes.into()))
    }
}

impl std::borrow::Borrow<[u8]> for UserId {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for UserId {
    type Err = NoUser;

    fn from_str(text: &str) -> Result<Self, NoUser> {
        spelled(text).and_then(|bytes| Self::of(&bytes)).ok_or(NoUser)
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Spelled(&self.0).fmt(f)
    }
}

/// A name of whatever bytes as text: itself where that can be read and typed in one word, else `hex:` and its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Spelled<'a>(pub &'a [u8]);

impl fmt::Display for Spelled<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let odd = |c: char| c.is_whitespace() || c.is_control() || c == '#';
        match std::str::from_utf8(self.0) {
            Ok(text) if !text.contains(odd) && !text.starts_with("hex:") => f.write_str(text),
            _ => write!(f, "hex:{}", hex::encode(self.0)),
        }
    }
}

/// The bytes of a name that is written like that; `None` if what follows `hex:` is not hexadecimal.
#[must_use]
pub fn spelled(text: &str) -> Option<Vec<u8>> {
    match text.strip_prefix("hex:") {
        Some(digits) => hex::decode(digits),
        None => Some(text.as_bytes().to_vec()),
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for NoUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no user; an id has 1 to 64 bytes and is written as it is, or as hex: and its bytes")
    }
}

/// All lists of users, as they are at a moment.
#[derive(Clone, Debug, Default)]
pub struct Users {
    /// If there is such a list, nobody else may log in.
    pub allow: Option<Arc<Ends>>,
    /// The operator's files of those who may not.
    pub deny: Arc<Ends>,
    /// Bans that an operator or a backend has set while the gateway runs.
    pub bans: Arc<Ends>,
    /// Bans that the gateway has set by itself. They let nobody in and end no link that stands.
    pub automatic: Arc<Ends>,
}

impl Users {
    /// Until when a user who wants to log in may not; `None` for whoever may.
    #[must_use]
    pub fn at_the_door(&self, user: &[u8], now: Time) -> Option<Time> {
        until(&self.automatic, user, now).max(self.inside(user, now))
    }

    /// The same of a user who is in: bans that the gateway has set by itself do not count.
    #[must_use]
    pub fn inside(&self, user: &[u8], now: Time) -> Option<Time> {
        let denied = until(&self.bans, user, now).max(until(&self.deny, user, now));
        let is_missing = self.allow.as_ref().is_some_and(|allow| until(allow, user, now).is_none());
        denied.max(is_missing.then_some(NEVER))
    }
}

/// When its entry ends, if that has not come.
fn until(list: &Ends, user: &[u8], now: Time) -> Option<Time> {
    list.get(user).copied().filter(|&end| now < end)
}

const USER_LEN_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Time = Time::from_nanos(5);

    fn ends(users: &[(&str, Time)]) -> Arc<Ends> {
        Arc::new(users.iter().map(|&(user, end)| (user.parse().unwrap(), end)).collect())
    }

    #[test]
    fn an_id_is_its_text_where_that_can_be_typed() {
        for (bytes, text) in [
            (&b"alice"[..], "alice"),
            ("入".as_bytes(), "入"),
            (b"al ice", "hex:616c20696365"),
            (b"a#b", "hex:612362"),
            (b"hex:00", "hex:6865783a3030"),
            (&[0, 255], "hex:00ff"),
        ] {
            let id = UserId::of(bytes).unwrap();
            assert_eq!((id.to_string(), text.parse()), (text.to_owned(), Ok(id)));
        }
        for no in ["", "hex:", "hex:0", &"x".repeat(65)] {
            assert_eq!(no.parse::<UserId>(), Err(NoUser), "{no}");
        }
    }

    #[test]
    fn whoever_is_denied_may_not_log_in_and_where_some_are_allowed_nobody_else_may() {
        let later = NOW + Duration::from_secs(9);
        let users =
            Users { deny: ends(&[("eve", NEVER)]), bans: ends(&[("bob", later)]), ..Users::default() };
        let at = |users: &Users, user: &str, now| users.at_the_door(user.as_bytes(), now);
        assert_eq!([at(&users, "alice", NOW), at(&users, "eve", NOW)], [None, Some(NEVER)]);
        assert_eq!([at(&users, "bob", NOW), at(&users, "bob", later)], [Some(later), None]);
        let closed = Users { allow: Some(ends(&[("alice", later), ("eve", NEVER)])), ..users };
        assert_eq!([at(&closed, "alice", NOW), at(&closed, "alice", later)], [None, Some(NEVER)]);
        assert_eq!([at(&closed, "carol", NOW), at(&closed, "eve", NOW)], [Some(NEVER); 2]);
    }

    #[test]
    fn who_was_banned_by_the_gateway_itself_stays_in() {
        let users = Users { automatic: ends(&[("bob", NEVER)]), ..Users::default() };
        assert_eq!((users.at_the_door(b"bob", NOW), users.inside(b"bob", NOW)), (Some(NEVER), None));
    }
}
