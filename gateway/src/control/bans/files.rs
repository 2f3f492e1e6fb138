//! Files that an operator keeps of addresses or of users: one block or one id a line.
//!
//! ```text
//! # our own offices
//! 198.51.100.0/24
//! 2001:db8:7::/48    until 2027-03-01            # the branch that moves
//! 203.0.113.9        until 2026-12-01T18:00:00Z
//! ```

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use protocol::{Time, UnixMillis};

use super::record::moment;
use crate::admission::lists::{Ends, NEVER, Prefixes, UserId};
use crate::calendar::Day;
use crate::config::Lists;

/// What all files of a config say.
#[derive(Debug)]
pub(super) struct Files {
    /// Those who are let in.
    pub(super) allow: Arc<Prefixes>,
    /// Those who are not.
    pub(super) deny: Arc<Prefixes>,
    /// If there is such a list, nobody else may log in.
    pub(super) allow_users: Option<Arc<Ends>>,
    /// Those who may not log in.
    pub(super) deny_users: Arc<Ends>,
}

impl Files {
    /// Reads them.
    ///
    /// # Errors
    /// One line: which file and which line of it, what is wrong, and what would be right.
    pub(super) fn read(lists: &Lists, now: Time, wall: UnixMillis) -> Result<Self, String> {
        let prefixes = |paths| read(paths, now, wall).map(|entries| Arc::new(Prefixes::from_iter(entries)));
        let users = |paths| read(paths, now, wall).map(|entries| Arc::new(ends(entries)));
        Ok(Self {
            allow: prefixes(&lists.allow)?,
            deny: prefixes(&lists.deny)?,
            allow_users: match lists.allow_users.as_slice() {
                [] => None,
                paths => Some(users(paths)?),
            },
            deny_users: users(&lists.deny_users)?,
        })
    }

    /// How many entries there are of each kind, for the log.
    pub(super) fn shown(&self) -> String {
        let allowed_users =
            self.allow_users.as_ref().map_or_else(|| "all".to_owned(), |users| users.len().to_string());
        format!(
            "{} blocks allowed and {} denied, {allowed_users} users allowed and {} denied",
            self.allow.len(),
            self.deny.len(),
            self.deny_users.len(),
        )
    }
}

/// The paths of all files, in the order in which they are read.
pub(super) fn paths(lists: &Lists) -> impl Iterator<Item = &PathBuf> {
    let Lists { allow, deny, allow_users, deny_users, .. } = lists;
    [allow, deny, allow_users, deny_users].into_iter().flatten()
}

/// Of a user who is listed twice, the later end counts.
fn ends(entries: Vec<(UserId, Time)>) -> Ends {
    let mut ends = Ends::new();
    for (user, end) in entries {
        let known = ends.entry(user).or_insert(end);
        *known = end.max(*known);
    }
    ends
}

/// Who is listed in some files, each with the end.
///
/// # Errors
/// One line: which file and which line of it, what is wrong, and what would be right.
fn read<S: FromStr<Err: Display>>(
    paths: &[PathBuf],
    now: Time,
    wall: UnixMillis,
) -> Result<Vec<(S, Time)>, String> {
    let mut entries = Vec::new();
    for path in paths {
        let shown = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| {
            format!("{shown}: {error}; write one entry a line into a file there, or take it out of [lists]")
        })?;
        parse(path, &text, now, wall, &mut entries)?;
    }
    Ok(entries)
}

fn parse<S: FromStr<Err: Display>>(
    path: &Path,
    text: &str,
    now: Time,
    wall: UnixMillis,
    entries: &mut Vec<(S, Time)>,
) -> Result<(), String> {
    // An editor of another system may have put a mark in front.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (number, line) in (1..).zip(text.lines()) {
        let content = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = content.split_whitespace().collect();
        let wrong = |reason: &str| format!("{}:{number}: {reason}", path.display());
        let end = match words.as_slice() {
            [] => continue,
            [_] => NEVER,
            [_, "until", day] => {
                let Day(until) = day.parse().map_err(|_| wrong(&no_day(day)))?;
                moment(Some(until), now, wall)
            }
            _ => {
                return Err(wrong(
                    "write one entry, and behind it nothing but `until` and a day, or # and a remark",
                ));
            }
        };
        let who = words[0]
            .parse()
            .map_err(|nobody| wrong(&format!("\"{}\" is {nobody}", words[0].escape_debug())))?;
        entries.push((who, end));
    }
    Ok(())
}

fn no_day(day: &str) -> String {
    format!(
        "\"{}\" is no day; write 2027-03-01, or 2027-03-01T18:00:00Z for a time of it",
        day.escape_debug()
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::admission::lists::Block;

    const NOW: Time = Time::from_nanos(7);
    /// The first of January 2026.
    const WALL: UnixMillis = UnixMillis(1_767_225_600_000);

    fn parsed(text: &str) -> Result<Vec<(Block, Time)>, String> {
        let mut entries = Vec::new();
        parse(Path::new("deny.txt"), text, NOW, WALL, &mut entries).map(|()| entries)
    }

    #[test]
    fn blocks_stand_one_a_line_with_an_end_and_a_remark_if_wanted() {
        let text = "\u{feff}# all of them\r\n\r\n192.0.2.7\n  ::ffff:198.51.100.9/120 # near\n2001:db8::/32 until 2026-01-02#far\n";
        let entry = |block: &str, end| (block.parse::<Block>().unwrap(), end);
        let expected = [
            entry("192.0.2.7", NEVER),
            entry("198.51.100.0/24", NEVER),
            entry("2001:db8::/32", NOW + Duration::from_secs(86_400)),
        ];
        assert_eq!(parsed(text).unwrap(), expected);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_what_would_be_right() {
        for (text, words) in [
            ("\n192.0.2.300", ["deny.txt:2: \"192.0.2.300\" is no address", "192.0.2.0/24"]),
            ("192.0.2.7 until later", ["deny.txt:1: \"later\" is no day", "2027-03-01"]),
            ("192.0.2.7 until", ["deny.txt:1: write one entry", "until"]),
            ("192.0.2.7, 192.0.2.8", ["deny.txt:1: write one entry", "# and a remark"]),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
    }
}
