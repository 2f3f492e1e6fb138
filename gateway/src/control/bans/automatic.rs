//! Bans that no operator sets: those of the gateway itself, of what its workers have seen, and those that backends want; and whom
//! backends slow down.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use protocol::{Time, UnixMillis};

use super::keeper::{Change, Keeper};
use super::record::moment;
use super::verbs::{name, sentence};
use crate::admission::lists::{Author, Ban, Block, Subject, Throttle, UserId};
use crate::calendar::Day;
use crate::clock::Clock;
use crate::config::{Level, Lists};
use crate::control::tell;
use crate::rate::ALL;
use crate::worker::{Report, Reports};

/// Does what workers report, one after the other, for as long as the process lives: what was said first is done first. While
/// the disk is slow reports wait in their queue, which is bounded.
pub(in crate::control) async fn heed(
    reports: Arc<Reports>,
    keeper: Rc<Keeper>,
    login_ban: Duration,
    widest: Widest,
    clock: Clock,
) {
    let mut losses = Losses::default();
    loop {
        // Workers must not wait for whoever reads their reports, so nobody is woken: it is looked now and then.
        tokio::time::sleep(PAUSE).await;
        let mut floods = BTreeSet::new();
        // As many as a queue holds, so that losses are told while reports never end.
        for _ in 0..BATCH {
            match reports.read() {
                Some(Report::LoginFlood(user)) => _ = floods.insert(user),
                Some(Report::Ban { by, whom, until, reason }) => match widest.refusal_of(&whom) {
                    Some(cause) => tell(
                        Level::Warning,
                        &format!("{} is not banned, though endpoint {by} wants it, as {cause}", name(&whom)),
                    ),
                    None => ban(&keeper, by, whom, until, &reason, clock).await,
                },
                Some(Report::Unban { by, whom }) => unban(&keeper, by, whom).await,
                Some(Report::Throttle { by, block, percent, until }) => match widest.refusal(block) {
                    Some(cause) => tell(
                        Level::Warning,
                        &format!("{block} is not throttled, though endpoint {by} wants it, as {cause}"),
                    ),
                    None => {
                        let (now, since) = (clock.now(), clock.unix());
                        let end = moment(until, now, since);
                        throttle(&keeper, block, Throttle { percent, end, until, since, by });
                    }
                },
                None => break,
            }
        }
        for user in floods {
            ban_flood(&keeper, user, login_ban, clock).await;
        }
        losses.look(reports.take_lost(), clock.now());
    }
}

/// Shortest prefixes that backends may ban and throttle.
#[derive(Clone, Copy, Debug)]
pub(in crate::control) struct Widest {
    v4: usize,
    v6: usize,
}

impl From<&Lists> for Widest {
    fn from(lists: &Lists) -> Self {
        Self { v4: lists.backend_prefix_v4, v6: lists.backend_prefix_v6 }
    }
}

impl Widest {
    /// Why a backend may not ban or throttle this block, if it may not, and what to do if it should.
    fn refusal(self, block: Block) -> Option<String> {
        let (least, key) = match block {
            Block::V4(_) => (self.v4, "backend_prefix_v4"),
            Block::V6(_) => (self.v6, "backend_prefix_v6"),
        };
        let is_too_wide = usize::from(block.prefix_len()) < least;
        is_too_wide
            .then(|| format!("a backend's blocks are no larger than a /{least}; lower {key} of [lists]"))
    }

    /// The same of whoever is to be banned.
    fn refusal_of(self, whom: &Subject) -> Option<String> {
        match whom {
            Subject::Addresses(block) => self.refusal(*block),
            Subject::User(_) => None,
        }
    }
}

/// Bans a user who logs in as no user does, for a while.
async fn ban_flood(keeper: &Rc<Keeper>, user: UserId, time: Duration, clock: Clock) {
    let (now, since) = (clock.now(), clock.unix());
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let until = Some(UnixMillis(since.0.saturating_add(millis)));
    let reason = CAUSE.to_owned();
    let ban = Ban { end: moment(until, now, since), until, since, by: Author::Gateway, reason };
    let name = user.to_string();
    match Rc::clone(keeper).change(Change::Set(Subject::User(user), ban)).await {
        Ok(_) => {
            let seconds = time.as_secs();
            tell(Level::Warning, &format!("user {name} is banned for {seconds} s: {CAUSE}"));
        }
        Err(refused) => tell(Level::Warning, &format!("user {name} is not banned, as {refused}: {CAUSE}")),
    }
}

/// Bans whom a backend wants to be banned.
async fn ban(
    keeper: &Rc<Keeper>,
    by: String,
    whom: Subject,
    until: Option<UnixMillis>,
    reason: &str,
    clock: Clock,
) {
    let (now, since) = (clock.now(), clock.unix());
    if until.is_some_and(|until| until <= since) {
        return;
    }
    let name = name(&whom);
    let ban = Ban {
        end: moment(until, now, since),
        until,
        since,
        by: Author::Backend(by.clone()),
        reason: in_one_line(reason),
    };
    let said = sentence(&whom, &ban);
    match Rc::clone(keeper).change(Change::Set(whom, ban)).await {
        Ok(true) => tell(Level::Info, &format!("endpoint {by} bans {said}")),
        Ok(false) => tell(
            Level::Info,
            &format!("endpoint {by} wants {name} banned, which an operator has done: that ban stays"),
        ),
        Err(refused) => tell(
            Level::Warning,
            &format!("{name} is not banned, though endpoint {by} wants it, as {refused}"),
        ),
    }
}

/// Lifts a ban that a backend wants to be lifted.
async fn unban(keeper: &Rc<Keeper>, by: String, whom: Subject) {
    let name = name(&whom);
    match Rc::clone(keeper).change(Change::Lift(whom, Author::Backend(by.clone()))).await {
        Ok(true) => tell(Level::Info, &format!("endpoint {by} lifts the ban of {name}")),
        // There is none, or it is an operator's.
        Ok(false) => {}
        Err(refused) => tell(
            Level::Warning,
            &format!("{name} stays banned, though endpoint {by} wants it lifted, as {refused}"),
        ),
    }
}

/// Slows down whom a backend wants to be slower.
fn throttle(keeper: &Keeper, block: Block, throttle: Throttle) {
    let by = throttle.by.clone();
    let ends = throttle.percent >= ALL || throttle.until.is_some_and(|until| until <= throttle.since);
    let until = throttle.until.map_or("until it ends it".to_owned(), |until| format!("until {}", Day(until)));
    let percent = throttle.percent;
    match keeper.throttle(block, throttle) {
        Ok(true) if ends => tell(Level::Info, &format!("endpoint {by} slows {block} down no more")),
        Ok(true) => {
            tell(
                Level::Info,
                &format!("endpoint {by} slows {block} down to {percent} % of its rates {until}"),
            );
        }
        // There is nothing to end.
        Ok(false) => {}
        Err(refused) => tell(
            Level::Warning,
            &format!("{block} is not slowed down, though endpoint {by} wants it, as {refused}"),
        ),
    }
}

/// A reason as it may stand in a list and in the log: a backend may have it from anybody.
fn in_one_line(reason: &str) -> String {
    reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// What backends wanted and is lost, told of once in a while.
#[derive(Debug, Default)]
struct Losses {
    untold: u64,
    told: Option<Time>,
}

impl Losses {
    fn look(&mut self, lost: u64, now: Time) {
        self.untold += lost;
        let is_quiet = self.told.is_none_or(|told| now >= told + TELL_INTERVAL);
        if self.untold > 0 && is_quiet {
            let lost = std::mem::take(&mut self.untold);
            self.told = Some(now);
            tell(
                Level::Warning,
                &format!(
                    "{lost} bans, ends of bans, or throttles of addresses that backends wanted were dropped, as too many came \
                     at once; let them name blocks instead of addresses, and say it again"
                ),
            );
        }
    }
}

const CAUSE: &str = "tried to log in more than ten times as often as users may";
/// How often it is looked for reports. With the pause of the keeper, links are told well within a second.
const PAUSE: Duration = Duration::from_millis(200);
/// Reports that are read between two pauses.
const BATCH: usize = 1024;
/// Losses are told of so often at most.
const TELL_INTERVAL: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line_whatever_a_backend_puts_into_it() {
        assert_eq!(in_one_line("spam\nuser eve until\u{1b}[2J入"), "spam user eve until [2J入");
    }

    #[test]
    fn a_backend_bans_no_more_than_a_block_of_the_size_it_may() {
        let widest = Widest { v4: 16, v6: 32 };
        let refusal = |block: &str| widest.refusal(block.parse().expect("a block"));
        for block in ["192.0.0.0/16", "192.0.2.7", "2001:db8::/32", "::ffff:192.0.0.0/112"] {
            assert_eq!(refusal(block), None, "{block}");
        }
        for (block, key) in [
            ("0.0.0.0/0", "larger than a /16; lower backend_prefix_v4"),
            ("192.0.0.0/15", "backend_prefix_v4"),
            ("::ffff:192.0.0.0/111", "backend_prefix_v4"),
            ("::/0", "larger than a /32; lower backend_prefix_v6"),
            ("2001:db8::/31", "backend_prefix_v6"),
        ] {
            assert!(refusal(block).is_some_and(|cause| cause.contains(key)), "{block}");
        }
        let user = UserId::of(b"alice").expect("an id");
        assert_eq!(widest.refusal_of(&Subject::User(user)), None);
    }

    #[test]
    fn losses_are_told_once_in_a_while_and_none_is_forgotten() {
        let (mut losses, at) = (Losses::default(), |seconds| Time::ZERO + Duration::from_secs(seconds));
        losses.look(0, at(0));
        assert_eq!((losses.untold, losses.told), (0, None));
        losses.look(3, at(1));
        losses.look(4, at(2));
        assert_eq!((losses.untold, losses.told), (4, Some(at(1))));
        losses.look(0, at(61));
        assert_eq!((losses.untold, losses.told), (0, Some(at(61))));
    }
}
