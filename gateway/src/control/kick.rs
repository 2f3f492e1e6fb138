//! `kick` at the admin socket: the links of a user end, and what it came in with may be made worthless.

use protocol::UnixMillis;
use serde_json::json;

use super::tell;
use crate::admission::lists::UserId;
use crate::config::Level;

/// Whose links are to end, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kick {
    /// The user.
    pub user: UserId,
    /// Of this device alone.
    pub device: Option<UserId>,
    /// Logins up to now, and tickets that came of them, are worth nothing any more.
    pub revoke: bool,
    /// The client is told not to come back by itself.
    pub stay_away: bool,
}

/// Kicks a user at this time of day; whether its owner's queue had room for the letter. Must not block.
pub type KickUser = Box<dyn Fn(&Kick, UnixMillis) -> bool + Send>;

/// How it is written.
pub(super) const HELP: &str =
    "kick [--json] user ID [device ID] [revoke] [stay-away]    the end of a user's links\n";

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
    let (device, mut rest) = match rest {
        ["device", device, rest @ ..] => (Some(id(device)?), rest),
        _ => (None, rest),
    };
    let mut kick = Kick { user: id(user)?, device, revoke: false, stay_away: false };
    while let [word, behind @ ..] = rest {
        match *word {
            "revoke" if kick.device.is_none() => kick.revoke = true,
            "revoke" => {
                return Err(
                    "logins are revoked of all devices of a user: leave out device or revoke".to_owned()
                );
            }
            "stay-away" => kick.stay_away = true,
            other => {
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

/// Kicks, for the user of the system with this number, and says so.
pub(super) fn answer(kick: &Kick, json: bool, uid: u32, now: UnixMillis, kick_user: &KickUser) -> String {
    if !kick_user(kick, now) {
        return "error: the user's worker has no room for it just now; try again\n".to_owned();
    }
    let device = kick.device.as_ref().map_or(String::new(), |device| format!(" on device {device}"));
    let revoked = if kick.revoke { ", and its logins up to now are worth nothing any more" } else { "" };
    tell(Level::Info, &format!("the operator with user id {uid} kicks user {}{device}{revoked}", kick.user));
    if json {
        let device = kick.device.as_ref().map(ToString::to_string);
        format!("{}\n", json!({ "user": kick.user.to_string(), "device": device, "revoked": kick.revoke }))
    } else {
        format!("whatever links user {} has{device} end now{revoked}\n", kick.user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kick(device: Option<&str>, revoke: bool, stay_away: bool) -> Kick {
        let device = device.map(|device| device.parse().unwrap());
        Kick { user: "alice".parse().unwrap(), device, revoke, stay_away }
    }

    #[test]
    fn a_line_says_whom_and_how() {
        for (line, expected, json) in [
            ("kick user alice", kick(None, false, false), false),
            (" kick --json user alice device phone stay-away", kick(Some("phone"), false, true), true),
            ("kick user hex:616c696365 revoke stay-away", kick(None, true, true), false),
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
            ("kick user alice now", "write revoke or stay-away"),
        ] {
            let error = parse(line).unwrap().unwrap_err();
            assert!(error.contains(words), "{line}: {error}");
        }
    }

    #[test]
    fn an_answer_says_what_was_done_or_that_nothing_was() {
        let said = |with_room: bool, json| {
            let kick_user: KickUser = Box::new(move |_, _| with_room);
            answer(&kick(None, true, false), json, 0, UnixMillis(5), &kick_user)
        };
        assert_eq!(
            said(true, false),
            "whatever links user alice has end now, and its logins up to now are worth nothing any more\n"
        );
        assert!(said(true, true).contains("\"revoked\":true") && said(false, false).starts_with("error: "));
    }
}
