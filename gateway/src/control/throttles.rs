//! `throttles` at the admin socket: which blocks of addresses and which users backends have slowed down, and until when.

use std::fmt::Write;
use std::time::Duration;

use protocol::{Time, UnixMillis};
use serde_json::{Value, json};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout;

use crate::admission::lists::{self, Block, NEVER, UserId};
use crate::calendar::Day;
use crate::clock::Clock;
use crate::config::Endpoint;
use crate::directory::throttles;
use crate::worker::Throttled;

/// Asks all workers whose queues have room. Must not block.
pub type AskThrottled = Box<dyn Fn(&Sender<Throttled>) + Send>;

/// How it is written.
pub(super) const HELP: &str = "throttles [--json]                         blocks of addresses and users that backends have slowed down\n";

/// How many blocks, and how many users, are listed at most.
pub(super) const LISTED: usize = 100;

/// How long workers are waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether a line asks for it, and whether for JSON.
pub(super) fn parse(line: &str) -> Option<bool> {
    match line.split_whitespace().collect::<Vec<_>>().as_slice() {
        ["throttles"] => Some(false),
        ["throttles", "--json"] => Some(true),
        _ => None,
    }
}

/// Somebody who is slowed down.
struct Row {
    /// Whether it is a user, and not a block of addresses.
    is_user: bool,
    name: String,
    percent: u8,
    until: Option<UnixMillis>,
    by: String,
}

/// All that is told of.
struct Table {
    rows: Vec<Row>,
    blocks: usize,
    users: usize,
    /// Workers that have not answered.
    missing: usize,
}

/// The answer, with the first [`LISTED`] blocks and how many there are. A worker that stands still is left out, and that is said.
pub(super) async fn answer(
    ask: &AskThrottled,
    workers: usize,
    blocks: (Vec<(Block, lists::Throttle)>, usize),
    endpoints: &[Endpoint],
    clock: Clock,
    json: bool,
) -> String {
    let (to, from) = channel(workers.max(1));
    ask(&to);
    // The last worker that has answered, or that could not be asked, ends the wait.
    drop(to);
    let answers = gather(from).await;
    let block = |(block, throttle): (Block, lists::Throttle)| Row {
        is_user: false,
        name: block.to_string(),
        percent: throttle.percent,
        until: throttle.until,
        by: throttle.by,
    };
    let mut table = Table {
        rows: blocks.0.into_iter().map(block).collect(),
        blocks: blocks.1,
        users: answers.iter().map(|answer| answer.count).sum(),
        missing: workers - answers.len(),
    };
    table.rows.extend(users(answers, endpoints, clock.now(), clock.unix()));
    if json { in_json(&table) } else { in_text(&table) }
}

async fn gather(mut from: Receiver<Throttled>) -> Vec<Throttled> {
    let mut answers = Vec::new();
    let all = async {
        while let Some(answer) = from.recv().await {
            answers.push(answer);
        }
    };
    let _too_late = timeout(PATIENCE, all).await;
    answers
}

/// The users whom all workers have named, those first whose throttles end first.
fn users(answers: Vec<Throttled>, endpoints: &[Endpoint], now: Time, wall: UnixMillis) -> Vec<Row> {
    let mut all: Vec<_> = answers.into_iter().flat_map(|answer| answer.users).collect();
    all.sort_by(|a, b| (a.end, &a.user).cmp(&(b.end, &b.user)));
    all.truncate(LISTED);
    let left = |end: Time| u64::try_from(end.since(now).as_millis()).unwrap_or(u64::MAX);
    let row = |throttle: throttles::Throttle| Row {
        is_user: true,
        name: UserId::of(&throttle.user).map_or(String::new(), |id| id.to_string()),
        percent: throttle.percent,
        until: (throttle.end != NEVER).then(|| UnixMillis(wall.0.saturating_add(left(throttle.end)))),
        by: endpoints.get(usize::from(throttle.by)).map_or(String::new(), |by| by.name.clone()),
    };
    all.into_iter().map(row).collect()
}

fn in_text(table: &Table) -> String {
    let mut text = String::new();
    for Row { is_user, name, percent, until, by } in &table.rows {
        let kind = if *is_user { "user " } else { "" };
        let until = until.map_or("until it is ended".to_owned(), |until| format!("until {}", Day(until)));
        writeln!(text, "{kind}{name} {percent} % of its rates {until}, by endpoint {by}")
            .expect("a string takes everything");
    }
    if table.rows.is_empty() {
        text += "nobody is slowed down\n";
    }
    let more = (table.blocks + table.users).saturating_sub(table.rows.len());
    if more > 0 {
        text += &format!("{more} more: {} blocks and {} users in all\n", table.blocks, table.users);
    }
    if table.missing > 0 {
        text += &format!("{} workers have not answered in time\n", table.missing);
    }
    text
}

fn in_json(table: &Table) -> String {
    let rows = |users: bool| -> Vec<Value> {
        let row = |row: &Row| {
            let name = if users { "user" } else { "ip" };
            let until = row.until.map_or(Value::Null, |until| until.0.into());
            json!({ name: row.name, "percent": row.percent, "until_unix_ms": until, "by": row.by })
        };
        table.rows.iter().filter(|row| row.is_user == users).map(row).collect()
    };
    let told = json!({
        "blocks": rows(false), "blocks_in_all": table.blocks,
        "users": rows(true), "users_in_all": table.users,
        "workers_missing": table.missing,
    });
    format!("{told}\n")
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::tests::config;
    use super::*;
    use crate::directory::throttles::Throttle;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    fn slow(user: &[u8], end: Time) -> Throttle {
        Throttle { user: user.into(), by: 0, percent: 10, end }
    }

    fn table(answers: Vec<Throttled>, blocks: &[&str]) -> Table {
        let count = answers.iter().map(|answer| answer.count).sum();
        let block = |name: &&str| Row {
            is_user: false,
            name: (*name).to_owned(),
            percent: 50,
            until: None,
            by: "chat".to_owned(),
        };
        let mut rows: Vec<_> = blocks.iter().map(block).collect();
        rows.extend(users(answers, &config().endpoints, at(10), UnixMillis(1_767_225_590_000)));
        Table { rows, blocks: blocks.len(), users: count, missing: 1 }
    }

    #[test]
    fn blocks_and_users_are_told_with_their_ends_and_who_has_done_it() {
        let one = Throttled { users: vec![slow(b"e ve", NEVER)], count: 1 };
        let other = Throttled { users: vec![slow(b"bob", at(20))], count: 1 };
        let table = table(vec![one, other], &["192.0.2.0/24"]);
        assert_eq!(
            in_text(&table),
            "192.0.2.0/24 50 % of its rates until it is ended, by endpoint chat\n\
             user bob 10 % of its rates until 2026-01-01T00:00:00Z, by endpoint chat\n\
             user hex:65207665 10 % of its rates until it is ended, by endpoint chat\n\
             1 workers have not answered in time\n"
        );
        let told: Value = serde_json::from_str(&in_json(&table)).unwrap();
        let block = json!({ "ip": "192.0.2.0/24", "percent": 50, "until_unix_ms": null, "by": "chat" });
        let bob =
            json!({ "user": "bob", "percent": 10, "until_unix_ms": 1_767_225_600_000_u64, "by": "chat" });
        assert_eq!((&told["blocks"][0], &told["users"][0]), (&block, &bob));
        assert_eq!((&told["blocks_in_all"], &told["users_in_all"]), (&json!(1), &json!(2)));
    }

    #[test]
    fn of_many_a_bounded_number_is_listed_and_how_many_more_there_are_is_said() {
        let users = (0..150_u64).map(|number| slow(&number.to_le_bytes(), at(20 + number))).collect();
        let text = in_text(&table(vec![Throttled { users, count: 4000 }], &[]));
        assert_eq!(text.lines().count(), LISTED + 2);
        assert!(text.contains("\n3900 more: 0 blocks and 4000 users in all\n"), "{text}");
        assert_eq!(
            in_text(&Table { rows: Vec::new(), blocks: 0, users: 0, missing: 0 }),
            "nobody is slowed down\n"
        );
    }

    #[test]
    fn a_line_asks_for_it() {
        assert_eq!(
            [parse("throttles"), parse(" throttles  --json"), parse("throttles x")],
            [Some(false), Some(true), None]
        );
    }
}
