//! `kick` at the admin socket: the links of a user end, and what it came in with may be made worthless.

use std::fmt;
use std::str::FromStr;

use protocol::UnixMillis;
use protocol::limits::LOGIN_LEN_MAX;
use serde_json::json;

use super::tell;
use crate::admission::lists::{Spelled, UserId, spelled};
use crate::config::Level;

/// What a login is called, 1 to 256 bytes: the id of its token (`jti`), or the name a backend gave it. As text it is written
/// like a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginName(Box<[u8]>);

/// What was read is no name of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoLogin;

impl LoginName {
    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Of these bytes; `None` if there are too few or too many.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        (1..=LOGIN_LEN_MAX).contains(&bytes.len()).then(|| Self(bytes.into()))
    }
}

impl FromStr for LoginName {
    type Err = NoLogin;

    fn from_str(text: &str) -> Result<Self, NoLogin> {
        spelled(text).and_then(|bytes| Self::of(&bytes)).ok_or(NoLogin)
    }
}

impl fmt::Display for LoginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Spelled(&self.0).fmt(f)
    }
}

impl fmt::Display for NoLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no token's id; one has 1 to 256 bytes and is written as it is, or as hex: and its bytes")
    }
}

/// Whose links are to end, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kick {
    /// The user.
    pub user: UserId,
    /// Which of its links.
    pub of: Of,
    /// The client is told not to come back by itself.
    pub stay_away: bool,
}

/// Which of a user's links end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Of {
    /// All.
    All,
    /// All, and its logins up to now, with tickets that came of them, are worth nothing any more.
    AllRevoked,
    /// The one of this device.
    Device(UserId),
    /// Those of this login, on all devices, which is worth nothing any more, and neither are its tickets.
    Login(LoginName),
}

/// Kicks a user at this time of day; whether its owner's queue had room for the letter. Must not block.
pub type KickUser = Box<dyn Fn(&Kick, UnixMillis) -> bool + Send>;

/// How it is written.
pub(super) const HELP: &str = "kick [--json] user ID [device ID | token-id ID | revoke] [stay-away]    the end of a \
                               user's links\n";

/// Reads a line; whether the answer is to be JSON. `None` if it is no kick.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse(line: &str) -> Option<Result<(Kick, bool), String>> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let ["kick", rest @ ..] = words.as_slice() else { return None };
    let (json, rest) = match rest {
        ["--json", rest @ ..] => (true, rest),
        _ => (false, rest),
    };
    Some(read(rest).map(|kick| (kick, json)))
}

fn read(words: &[&str]) -> Result<Kick, String> {
    let id = |text: &str| {
        text.parse::<UserId>().map_err(|no_user| format!("\"{}\" is {no_user}", text.escape_debug()))
    };
    let ["user", user, rest @ ..] = words else { return Err("write user and an id".to_owned()) };
    let (of, mut rest) = match rest {
        ["device", device, rest @ ..] => (Of::Device(id(device)?), rest),
        ["token-id", login, rest @ ..] => (Of::Login(login_name(login)?), rest),
        _ => (Of::All, rest),
    };
    let mut kick = Kick { user: id(user)?, of, stay_away: false };
    while let [word, behind @ ..] = rest {
        match (*word, &kick.of) {
            ("revoke", Of::All | Of::AllRevoked) => kick.of = Of::AllRevoked,
            ("revoke", Of::Device(_)) => {
                return Err(
                    "logins are revoked of all devices of a user: leave out device or revoke".to_owned()
                );
            }
            ("revoke", Of::Login(_)) => {
                return Err(
                    "with token-id that login is revoked, and with revoke all are: leave out one of both"
                        .to_owned(),
                );
            }
            ("stay-away", _) => kick.stay_away = true,
            (other, _) => {
                return Err(format!(
                    "\"{}\" is not understood; write revoke or stay-away",
                    other.escape_debug()
                ));
            }
        }
        rest = behind;
    }
    Ok(kick)
}

fn login_name(text: &str) -> Result<LoginName, String> {
    text.parse().map_err(|no_login: NoLogin| format!("what stands behind token-id is {no_login}"))
}

/// Kicks, for the user of the system with this number, and says so.
pub(super) fn answer(kick: &Kick, json: bool, uid: u32, now: UnixMillis, kick_user: &KickUser) -> String {
    if !kick_user(kick, now) {
        return "error: the user's worker has no room for it just now; try again\n".to_owned();
    }
    let (of, revoked) = match &kick.of {
        Of::All => (String::new(), ""),
        Of::AllRevoked => (String::new(), ", and its logins up to now are worth nothing any more"),
        Of::Device(device) => (format!(" on device {device}"), ""),
        Of::Login(login) => (format!(" by login \"{login}\""), ", and that login is worth nothing any more"),
    };
    tell(Level::Info, &format!("the operator with user id {uid} kicks user {}{of}{revoked}", kick.user));
    if json {
        let (device, login) = match &kick.of {
            Of::Device(device) => (Some(device.to_string()), None),
            Of::Login(login) => (None, Some(login.to_string())),
            Of::All | Of::AllRevoked => (None, None),
        };
        let (user, revoked) = (kick.user.to_string(), !revoked.is_empty());
        format!("{}\n", json!({ "user": user, "device": device, "token_id": login, "revoked": revoked }))
    } else {
        format!("whatever links user {} has{of} end now{revoked}\n", kick.user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kick(of: Of, stay_away: bool) -> Kick {
        Kick { user: "alice".parse().unwrap(), of, stay_away }
    }

    fn login(text: &str) -> Of {
        Of::Login(text.parse().unwrap())
    }

    #[test]
    fn a_line_says_whom_and_how() {
        let phone = || Of::Device("phone".parse().unwrap());
        for (line, expected, json) in [
            ("kick user alice", kick(Of::All, false), false),
            (" kick --json user alice device phone stay-away", kick(phone(), true), true),
            ("kick user hex:616c696365 revoke stay-away", kick(Of::AllRevoked, true), false),
            ("kick user alice token-id hex:6c31 stay-away", kick(login("l1"), true), false),
            ("kick --json user alice token-id login-1", kick(login("login-1"), false), true),
        ] {
            assert_eq!(parse(line), Some(Ok((expected, json))), "{line}");
        }
        for other in ["", "kicks user alice", "ban user alice"] {
            assert_eq!(parse(other), None, "{other}");
        }
        for (line, words) in [
            ("kick alice", "write user and an id"),
            ("kick user", "write user and an id"),
            ("kick user hex:0", "1 to 64 bytes"),
            ("kick user alice device phone revoke", "all devices"),
            ("kick user alice token-id login-1 revoke", "leave out one of both"),
            ("kick user alice token-id hex:", "1 to 256 bytes"),
            ("kick user alice now", "write revoke or stay-away"),
        ] {
            let error = parse(line).unwrap().unwrap_err();
            assert!(error.contains(words), "{line}: {error}");
        }
    }

    #[test]
    fn a_name_of_a_login_has_its_bounds_and_is_one_word_whatever_its_bytes() {
        assert!(LoginName::of(&[b'x'; 256]).is_some());
        assert_eq!([&[b'x'; 257][..], b""].map(LoginName::of), [None, None]);
        let odd = LoginName::of(b"a b\n").unwrap();
        assert_eq!((odd.to_string().as_str(), odd.to_string().parse()), ("hex:6120620a", Ok(odd)));
    }

    #[test]
    fn an_answer_says_what_was_done_or_that_nothing_was() {
        let said = |of, with_room: bool, json| {
            let kick_user: KickUser = Box::new(move |_, _| with_room);
            answer(&kick(of, false), json, 0, UnixMillis(5), &kick_user)
        };
        assert_eq!(
            said(Of::AllRevoked, true, false),
            "whatever links user alice has end now, and its logins up to now are worth nothing any more\n"
        );
        assert_eq!(
            said(login("login-1"), true, false),
            "whatever links user alice has by login \"login-1\" end now, and that login is worth nothing any more\n"
        );
        let json = said(login("login-1"), true, true);
        assert!(json.contains("\"token_id\":\"login-1\"") && json.contains("\"revoked\":true"), "{json}");
        assert!(said(Of::AllRevoked, true, true).contains("\"revoked\":true"));
        assert!(said(Of::All, true, true).contains("\"revoked\":false"));
        assert!(said(Of::AllRevoked, false, false).starts_with("error: "));
    }
}
