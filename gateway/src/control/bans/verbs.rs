//! What an operator says of bans at the admin socket, and what is answered.

use std::fmt::Write;
use std::rc::Rc;
use std::time::Duration;

use protocol::UnixMillis;
use serde_json::{Value, json};

use super::keeper::{Change, Keeper};
use super::record::moment;
use crate::admission::lists::{Author, Ban, REASON_LEN_MAX, Subject};
use crate::calendar::Day;
use crate::clock::Clock;
use crate::config::{Level, parse_span};
use crate::control::tell;

/// What is wanted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Wish {
    /// All bans.
    List,
    /// A new ban: for how long, and why.
    Set { whom: Subject, time: Option<Duration>, reason: String },
    /// No ban any more.
    Lift { whom: Subject },
}

/// How they are written.
pub(crate) const HELP: &str = "bans [--json]    all bans in force\n\
                               ban [--json] ip BLOCK|user ID [for TIME] [reason TEXT]    no links of those, and none that stand\n\
                               unban [--json] ip BLOCK|user ID    the end of exactly this ban\n";

/// Reads a line; whether the answer is to be JSON. `None` if it is not about bans.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn parse(line: &str) -> Option<Result<(Wish, bool), String>> {
    let (verb, rest) = split_word(line);
    if !matches!(verb, "ban" | "bans" | "unban") {
        return None;
    }
    let (json, rest) = match split_word(rest) {
        ("--json", rest) => (true, rest),
        _ => (false, rest),
    };
    let wish = match verb {
        "bans" if rest.trim().is_empty() => Ok(Wish::List),
        "bans" => Err("write bans, or bans --json".to_owned()),
        "unban" => subject(rest).and_then(|(whom, rest)| {
            if rest.trim().is_empty() {
                Ok(Wish::Lift { whom })
            } else {
                Err("write unban ip BLOCK, or unban user ID".to_owned())
            }
        }),
        _ => ban(rest),
    };
    Some(wish.map(|wish| (wish, json)))
}

fn ban(rest: &str) -> Result<Wish, String> {
    let (whom, mut rest) = subject(rest)?;
    let mut time = None;
    if let ("for", behind) = split_word(rest) {
        let (text, behind) = split_word(behind);
        let wrong = || format!("\"{}\" is no time; write 90s, 30m, 1h or 24h", text.escape_debug());
        time = Some(parse_span(text).filter(|time| !time.is_zero()).ok_or_else(wrong)?);
        rest = behind;
    }
    let reason = match split_word(rest) {
        ("", _) => "",
        ("reason", text) => text.trim(),
        _ => return Err("write ban ip BLOCK for TIME reason TEXT, or ban user ID and the same".to_owned()),
    };
    if reason.len() > REASON_LEN_MAX || reason.chars().any(char::is_control) {
        return Err(format!("a reason has at most {REASON_LEN_MAX} bytes and no control characters"));
    }
    Ok(Wish::Set { whom, time, reason: reason.to_owned() })
}

fn subject(rest: &str) -> Result<(Subject, &str), String> {
    let (kind, rest) = split_word(rest);
    let (text, rest) = split_word(rest);
    let wrong = |no: &dyn std::fmt::Display| format!("\"{}\" is {no}", text.escape_debug());
    let subject = match kind {
        "ip" => text.parse().map(Subject::Addresses).map_err(|no| wrong(&no)),
        "user" => text.parse().map(Subject::User).map_err(|no| wrong(&no)),
        _ => Err("write ip and an address or a block, or user and an id".to_owned()),
    };
    subject.map(|subject| (subject, rest))
}

/// The first word, and what is behind it.
fn split_word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_once(char::is_whitespace).unwrap_or((text, ""))
}

/// Does what is wanted, for the user of the system with this number.
pub(crate) async fn answer(wish: Wish, json: bool, uid: u32, keeper: Rc<Keeper>, clock: Clock) -> String {
    let lasting = keeper.is_lasting();
    match wish {
        Wish::List => {
            let bans = keeper.bans().await;
            if json { format!("{}\n", list_json(&bans, lasting)) } else { list(&bans, lasting) }
        }
        Wish::Set { whom, time, reason } => {
            let (now, since) = (clock.now(), clock.unix());
            let until = time.map(|time| UnixMillis(since.0.saturating_add(millis(time))));
            let ban = Ban { end: moment(until, now, since), until, since, by: Author::Operator(uid), reason };
            let audit = format!("the operator with user id {uid} bans {}", sentence(&whom, &ban));
            let said = if json { described(&whom, &ban).to_string() } else { sentence(&whom, &ban) };
            match keeper.change(Change::Set(whom, ban)).await {
                Ok(_) => {
                    tell(Level::Info, &audit);
                    let note = if lasting || json { "" } else { FLEETING };
                    format!("{said}\n{note}")
                }
                Err(refused) => format!("error: {refused}\n"),
            }
        }
        Wish::Lift { whom } => {
            let (name, json_name) = (name(&whom), named(&whom));
            match keeper.change(Change::Lift(whom, Author::Operator(uid))).await {
                Ok(true) => {
                    tell(Level::Info, &format!("the operator with user id {uid} lifts the ban of {name}"));
                    if json { format!("{json_name}\n") } else { format!("{name} is not banned any more\n") }
                }
                Ok(false) => format!(
                    "error: {name} is not banned; `bans` lists what is, and a block within one is none of its own\n"
                ),
                Err(refused) => format!("error: {refused}\n"),
            }
        }
    }
}

/// Said where no journal is configured.
const FLEETING: &str = "it is forgotten when the gateway ends: set `journal` of [lists] to keep bans\n";

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn name(subject: &Subject) -> String {
    match subject {
        Subject::Addresses(block) => block.to_string(),
        Subject::User(user) => format!("user {user}"),
    }
}

fn named(subject: &Subject) -> Value {
    match subject {
        Subject::Addresses(block) => json!({ "ip": block.to_string() }),
        Subject::User(user) => json!({ "user": user.to_string() }),
    }
}

fn author(ban: &Ban) -> String {
    match &ban.by {
        Author::Operator(uid) => format!("user {uid} of this machine"),
        Author::Backend(name) => format!("endpoint {name}"),
        Author::Gateway => "this gateway".to_owned(),
    }
}

fn until(ban: &Ban) -> String {
    ban.until.map_or("until it is lifted".to_owned(), |until| format!("until {}", Day(until)))
}

pub(super) fn sentence(subject: &Subject, ban: &Ban) -> String {
    let reason = if ban.reason.is_empty() { String::new() } else { format!(": {}", ban.reason) };
    format!("{} {}{reason}", name(subject), until(ban))
}

fn list(bans: &[(Subject, Ban)], lasting: bool) -> String {
    let mut text = String::new();
    for (subject, ban) in bans {
        let _ = writeln!(text, "{}\n    since {} by {}", sentence(subject, ban), Day(ban.since), author(ban));
    }
    if bans.is_empty() {
        text.push_str("nobody is banned\n");
    } else if !lasting {
        text.push_str(&FLEETING.replace("it is", "they are"));
    }
    text
}

fn list_json(bans: &[(Subject, Ban)], lasting: bool) -> Value {
    let bans: Vec<_> = bans.iter().map(|(subject, ban)| described(subject, ban)).collect();
    json!({ "bans": bans, "lasting": lasting })
}

fn described(subject: &Subject, ban: &Ban) -> Value {
    let mut value = named(subject);
    value["until_unix_ms"] = ban.until.map_or(Value::Null, |until| until.0.into());
    value["since_unix_ms"] = ban.since.0.into();
    value["reason"] = ban.reason.as_str().into();
    value["by"] = author(ban).into();
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::lists::NEVER;

    fn set(block: &str, time: Option<Duration>, reason: &str) -> Wish {
        Wish::Set { whom: Subject::Addresses(block.parse().unwrap()), time, reason: reason.to_owned() }
    }

    #[test]
    fn a_line_says_whom_for_how_long_and_why() {
        let hour = Some(Duration::from_secs(3600));
        for (line, wish, json) in [
            ("bans", Wish::List, false),
            (" bans  --json ", Wish::List, true),
            ("ban ip 192.0.2.7", set("192.0.2.7", None, ""), false),
            (
                "ban ip 192.0.2.7/24 for 1h reason  floods, twice ",
                set("192.0.2.0/24", hour, "floods, twice"),
                false,
            ),
            ("ban --json ip ::1 reason for 1h", set("::1", None, "for 1h"), true),
            (
                "unban --json ip 192.0.2.7/24",
                Wish::Lift { whom: Subject::Addresses("192.0.2.0/24".parse().unwrap()) },
                true,
            ),
            ("unban user alice", Wish::Lift { whom: Subject::User("alice".parse().unwrap()) }, false),
        ] {
            assert_eq!(parse(line), Some(Ok((wish, json))), "{line}");
        }
        for other in ["", "status", "banish ip ::1", "b"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_what_would_be_right() {
        for (line, words) in [
            ("ban", "write ip"),
            ("ban 192.0.2.7", "write ip"),
            ("ban user", "1 to 64 bytes"),
            ("ban ip 192.0.2", "192.0.2.0/24"),
            ("ban ip ::1 for ever", "write 90s"),
            ("ban ip ::1 for 0s", "write 90s"),
            ("ban ip ::1 until 2027-01-01", "for TIME reason TEXT"),
            ("ban ip ::1 reason a\u{7}b", "no control characters"),
            ("bans all", "bans --json"),
            ("unban ip ::1 now", "unban ip BLOCK"),
        ] {
            let error = parse(line).unwrap().unwrap_err();
            assert!(error.contains(words), "{line}: {error}");
        }
        let long = format!("ban ip ::1 reason {}", "x".repeat(REASON_LEN_MAX + 1));
        assert!(parse(&long).unwrap().is_err());
    }

    #[test]
    fn a_list_is_for_people_or_for_scripts() {
        let ban = |by, until| Ban { end: NEVER, until, since: UnixMillis(0), by, reason: "junk".to_owned() };
        let bans = [
            (Subject::Addresses("192.0.2.0/24".parse().unwrap()), ban(Author::Operator(7), None)),
            (
                Subject::User("hex:657665".parse().unwrap()),
                ban(Author::Gateway, Some(UnixMillis(1_767_225_600_000))),
            ),
        ];
        let text = list(&bans, false);
        for words in [
            "192.0.2.0/24 until it is lifted: junk\n    since 1970-01-01T00:00:00Z by user 7 of this machine\n",
            "user eve until 2026-01-01T00:00:00Z: junk\n",
            "they are forgotten when the gateway ends",
        ] {
            assert!(text.contains(words), "{text}");
        }
        assert_eq!(
            (list(&[], true), list(&bans, true).contains("forgotten")),
            ("nobody is banned\n".to_owned(), false)
        );
        let json = list_json(&bans, true);
        assert_eq!(
            (&json["bans"][0]["ip"], &json["bans"][0]["until_unix_ms"]),
            (&json!("192.0.2.0/24"), &Value::Null)
        );
        assert_eq!(
            (&json["bans"][1]["user"], &json["bans"][1]["by"]),
            (&json!("eve"), &json!("this gateway"))
        );
        assert_eq!(json["lasting"], true);
    }
}
