//! Bans that the gateway sets by itself, of what its workers have seen.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use protocol::UnixMillis;

use super::keeper::{Change, Keeper};
use super::record::moment;
use crate::admission::lists::{Author, Ban, Subject, UserId};
use crate::clock::Clock;
use crate::config::Level;
use crate::control::tell;
use crate::worker::{Report, Reports};

/// Whom the reports that have come since it was last asked are about, each once.
fn floods(reports: &Reports) -> BTreeSet<UserId> {
    let mut users = BTreeSet::new();
    while let Some(Report::LoginFlood(user)) = reports.read() {
        users.insert(user);
    }
    users
}

/// Bans users who log in as no user does, for a while.
pub(in crate::control) fn ban_floods(reports: &Reports, keeper: &Rc<Keeper>, time: Duration, clock: Clock) {
    let users = floods(reports);
    if !users.is_empty() {
        tokio_uring::spawn(ban(users, Rc::clone(keeper), time, clock));
    }
}

async fn ban(users: BTreeSet<UserId>, keeper: Rc<Keeper>, time: Duration, clock: Clock) {
    for user in users {
        let (now, since) = (clock.now(), clock.unix());
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let until = Some(UnixMillis(since.0.saturating_add(millis)));
        let ban = Ban {
            end: moment(until, now, since),
            until,
            since,
            by: Author::Gateway,
            reason: CAUSE.to_owned(),
        };
        let name = user.to_string();
        match Rc::clone(&keeper).change(Change::Set(Subject::User(user), ban)).await {
            Ok(_) => {
                let seconds = time.as_secs();
                tell(Level::Warning, &format!("user {name} is banned for {seconds} s: {CAUSE}"));
            }
            Err(refused) => {
                tell(Level::Warning, &format!("user {name} is not banned, as {refused}: {CAUSE}"))
            }
        }
    }
}

const CAUSE: &str = "tried to log in more than ten times as often as users may";
