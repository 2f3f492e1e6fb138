//! `ban`, `unban`, `bans`, `throttles`, `kick` and `limits`: one line to the admin socket, the answer to standard output.

use std::path::PathBuf;
use std::time::Duration;

use crate::admission::lists::{Block, NoUser, REASON_LEN_MAX, UserId};
use crate::config::parse_span;
use crate::control::{LoginName, NoLogin};

/// Where a running gateway is asked, and how it is to answer.
#[derive(Debug, clap::Args)]
pub(super) struct Asked {
    /// Its admin socket: `admin` of the ready file.
    #[arg(long)]
    pub(super) socket: PathBuf,
    /// Answer in JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Whom a ban concerns.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct Whom {
    /// An address or a block, such as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/48.
    #[arg(long, value_parser = block)]
    ip: Option<Block>,
    /// A user's id; what can't be typed in one word as hex: and its bytes.
    #[arg(long, value_parser = user)]
    user: Option<UserId>,
}

impl Whom {
    fn words(&self) -> String {
        let ip = self.ip.as_ref().map(|block| format!("ip {block}"));
        ip.or(self.user.as_ref().map(|user| format!("user {user}")))
            .expect("the command line has one of them")
    }
}

/// Whose links end, and how.
#[derive(Debug, clap::Args)]
pub(super) struct Kicked {
    /// The user's id; what can't be typed in one word as hex: and its bytes.
    #[arg(long, value_parser = user)]
    user: UserId,
    /// Only the link of this device, written like a user.
    #[arg(long, value_parser = user, conflicts_with = "revoke")]
    device: Option<UserId>,
    /// Only the login with this token's id (`jti`), or of this name if a backend names logins, on all devices: it and the tickets
    /// that came of it are worthless from now on, and the user's other logins go on. Written like a user.
    #[arg(long, value_parser = token_id, conflicts_with_all = ["revoke", "device"])]
    token_id: Option<LoginName>,
    /// Make the user's logins up to now worthless, and the tickets that came of them: it needs a fresh token.
    #[arg(long)]
    revoke: bool,
    /// Tell the client not to come back by itself.
    #[arg(long)]
    stay_away: bool,
}

/// For how long, and why.
#[derive(Debug, clap::Args)]
pub(super) struct Terms {
    /// For how long, such as 30m, 1h or 7d; until it is lifted if absent.
    #[arg(long = "for", value_parser = span)]
    time: Option<Duration>,
    /// Why, for whoever looks at the list of bans.
    #[arg(long, default_value = "", value_parser = reason)]
    reason: String,
}

fn block(text: &str) -> Result<Block, String> {
    text.parse().map_err(|no_block| format!("it is {no_block}"))
}

fn user(text: &str) -> Result<UserId, String> {
    // Whatever the shell gave is the id itself, unless it says that it is hexadecimal.
    let user = if text.starts_with("hex:") { text.parse().ok() } else { UserId::of(text.as_bytes()) };
    user.ok_or_else(|| format!("it is {NoUser}"))
}

fn token_id(text: &str) -> Result<LoginName, String> {
    let login = if text.starts_with("hex:") { text.parse().ok() } else { LoginName::of(text.as_bytes()) };
    login.ok_or_else(|| format!("it is {NoLogin}"))
}

pub(super) fn span(text: &str) -> Result<Duration, String> {
    parse_span(text)
        .filter(|time| !time.is_zero())
        .ok_or_else(|| "it is no time; write 90s, 30m, 1h or 7d".to_owned())
}

fn reason(text: &str) -> Result<String, String> {
    let fits = text.len() <= REASON_LEN_MAX && !text.chars().any(char::is_control);
    if fits { Ok(text.to_owned()) } else { Err(format!("write at most {REASON_LEN_MAX} bytes in one line")) }
}

/// `bans`.
pub(super) fn list(asked: &Asked) -> String {
    format!("bans{}\n", json(asked))
}

/// `throttles`.
pub(super) fn throttles(asked: &Asked) -> String {
    format!("throttles{}\n", json(asked))
}

/// `limits`.
pub(super) fn limits(asked: &Asked) -> String {
    format!("limits{}\n", json(asked))
}

/// `busiest`.
pub(super) fn busiest(asked: &Asked) -> String {
    format!("busiest{}\n", json(asked))
}

/// `ladder`.
pub(super) fn ladder(asked: &Asked, level: Option<u8>, time: Option<Duration>, off: bool) -> String {
    let level = level.map_or(String::new(), |level| format!(" level {level}"));
    let time = time.map_or(String::new(), |time| format!(" for {}ms", time.as_millis()));
    format!("ladder{}{level}{time}{}\n", json(asked), if off { " off" } else { "" })
}

/// `ban`.
pub(super) fn set(asked: &Asked, whom: &Whom, terms: &Terms) -> String {
    let time = terms.time.map_or(String::new(), |time| format!(" for {}ms", time.as_millis()));
    let reason = if terms.reason.is_empty() { String::new() } else { format!(" reason {}", terms.reason) };
    format!("ban{} {}{time}{reason}\n", json(asked), whom.words())
}

/// `unban`.
pub(super) fn lift(asked: &Asked, whom: &Whom) -> String {
    format!("unban{} {}\n", json(asked), whom.words())
}

/// `kick`.
pub(super) fn kick(asked: &Asked, kick: &Kicked) -> String {
    let device = kick.device.as_ref().map_or(String::new(), |device| format!(" device {device}"));
    let login = kick.token_id.as_ref().map_or(String::new(), |login| format!(" token-id {login}"));
    let revoke = if kick.revoke { " revoke" } else { "" };
    let stay_away = if kick.stay_away { " stay-away" } else { "" };
    format!("kick{} user {}{device}{login}{revoke}{stay_away}\n", json(asked), kick.user)
}

fn json(asked: &Asked) -> &'static str {
    if asked.json { " --json" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_command_line_says_is_one_line_that_a_gateway_reads() {
        let asked = Asked { socket: "s".into(), json: true };
        let plain = Asked { socket: "s".into(), json: false };
        let whom = Whom { ip: block("192.0.2.7/24").ok(), user: None };
        let eve = Whom { ip: None, user: user("e v e").ok() };
        assert_eq!(lift(&plain, &eve), "unban user hex:6520762065\n");
        let terms = Terms { time: Some(span("1h").unwrap()), reason: "floods, twice".to_owned() };
        assert_eq!(
            set(&asked, &whom, &terms),
            "ban --json ip 192.0.2.0/24 for 3600000ms reason floods, twice\n"
        );
        let kicked = |device, token_id| Kicked {
            user: user("eve").unwrap(),
            device,
            token_id,
            revoke: false,
            stay_away: true,
        };
        assert_eq!(kick(&plain, &kicked(user("x").ok(), None)), "kick user eve device x stay-away\n");
        let line = kick(&asked, &kicked(None, token_id("login 1").ok()));
        assert_eq!(line, "kick --json user eve token-id hex:6c6f67696e2031 stay-away\n");
        assert!(token_id("").is_err() && token_id(&"x".repeat(257)).is_err());
        let terms = Terms { time: None, reason: String::new() };
        assert_eq!(set(&plain, &whom, &terms), "ban ip 192.0.2.0/24\n");
        assert_eq!(
            (list(&plain) + &throttles(&asked), lift(&asked, &whom)),
            ("bans\nthrottles --json\n".to_owned(), "unban --json ip 192.0.2.0/24\n".to_owned())
        );
        assert!(
            reason("a\nban ip ::/0").is_err() && reason(&"x".repeat(201)).is_err() && span("0s").is_err()
        );
    }
}
