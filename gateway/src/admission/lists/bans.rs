//! Bans set while the gateway runs: by an operator, by a backend, or by the gateway itself.

use std::collections::BTreeMap;
use std::fmt;

use protocol::{Time, UnixMillis};

use super::block::Block;
use super::prefixes::Prefixes;
use super::users::{Ends, UserId};

/// Whom a ban concerns.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// All addresses of a block.
    Addresses(Block),
    /// A user, by id.
    User(UserId),
}

/// Who has set a ban.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Author {
    /// An operator, by the admin socket; with the number of the system's user.
    Operator(u32),
    /// A backend, by the name of its endpoint.
    Backend(String),
    /// The gateway, because a limit was passed by far.
    Gateway,
}

impl Author {
    /// Who stands above whom.
    const fn rank(&self) -> u8 {
        match self {
            Self::Gateway => 0,
            Self::Backend(_) => 1,
            Self::Operator(_) => 2,
        }
    }
}

/// One ban.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// When it ends, on the monotonic clock: the time of day may be set without freeing or banning anybody.
    pub end: Time,
    /// The same in the time of day when it was set, for people and for the next process; `None` for never.
    pub until: Option<UnixMillis>,
    /// When it was set.
    pub since: UnixMillis,
    /// By whom.
    pub by: Author,
    /// Why, in at most [`REASON_LEN_MAX`] bytes.
    pub reason: String,
}

/// Longest reason of a ban, in bytes.
pub const REASON_LEN_MAX: usize = 200;

/// There are as many bans as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// How many that is.
    pub max: usize,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} bans are set, which is as many as there may be; lift some, ban a block, or raise bans",
            self.max
        )
    }
}

/// All bans, bounded in number.
#[derive(Debug)]
pub struct Bans {
    bans: BTreeMap<Subject, Ban>,
    max: usize,
}

impl Bans {
    /// None yet, and at most so many.
    #[must_use]
    pub const fn new(max: usize) -> Self {
        Self { bans: BTreeMap::new(), max }
    }

    /// Makes room for a ban: what has ended goes, and then that of the gateway's own which ends first. A quarter of the places
    /// is not for backends: an operator finds room whatever they have set.
    ///
    /// # Errors
    /// [`Full`] where others have set all of them.
    pub fn make_room(&mut self, subject: &Subject, by: &Author, now: Time) -> Result<(), Full> {
        let is_backend = |by: &Author| matches!(by, Author::Backend(_));
        let of_backends = || self.bans.values().filter(|ban| is_backend(&ban.by) && now < ban.end).count();
        let most = self.max - self.max / 4;
        if is_backend(by)
            && self.bans.len() >= most
            && !self.bans.contains_key(subject)
            && of_backends() >= most
        {
            return Err(Full { max: most });
        }
        if self.bans.len() < self.max || self.bans.contains_key(subject) {
            return Ok(());
        }
        if self.forget_ended(now) {
            return Ok(());
        }
        let own = self.bans.iter().filter(|(_, ban)| ban.by == Author::Gateway);
        let first = own.min_by_key(|(_, ban)| ban.end).map(|(subject, _)| subject.clone());
        self.bans.remove(&first.ok_or(Full { max: self.max })?);
        Ok(())
    }

    /// Sets a ban, in the place of an earlier one of the same subject. What the gateway bans by itself takes nothing back of
    /// what others have set, and what a backend bans nothing of what an operator has.
    ///
    /// # Errors
    /// [`Full`]; nothing has changed then.
    pub fn set(&mut self, subject: Subject, ban: Ban, now: Time) -> Result<(), Full> {
        self.make_room(&subject, &ban.by, now)?;
        if self.takes(&subject, &ban, now) {
            self.put(subject, ban);
        }
        Ok(())
    }

    /// Whether this ban would come into force, and not leave another one in its place.
    #[must_use]
    pub fn takes(&self, subject: &Subject, ban: &Ban, now: Time) -> bool {
        let known = self.bans.get(subject).filter(|known| now < known.end);
        known.is_none_or(|known| ban.by.rank() >= known.by.rank())
    }

    /// Whether a ban of this subject is there that this author may lift: nobody lifts those of somebody above it.
    #[must_use]
    pub fn may_lift(&self, subject: &Subject, by: &Author) -> bool {
        self.bans.get(subject).is_some_and(|known| by.rank() >= known.by.rank())
    }

    /// Puts a ban where it was before, whatever is there, and however many there are.
    pub fn put(&mut self, subject: Subject, ban: Ban) {
        self.bans.insert(subject, ban);
    }

    /// Lifts a ban; whether there was one.
    pub fn lift(&mut self, subject: &Subject) -> bool {
        self.bans.remove(subject).is_some()
    }

    /// Forgets those that have ended; whether there were any.
    pub fn forget_ended(&mut self, now: Time) -> bool {
        let before = self.bans.len();
        self.bans.retain(|_, ban| now < ban.end);
        self.bans.len() < before
    }

    /// The ban of exactly this subject.
    #[must_use]
    pub fn get(&self, subject: &Subject) -> Option<&Ban> {
        self.bans.get(subject)
    }

    /// All of them, in the order of their subjects.
    pub fn iter(&self) -> impl Iterator<Item = (&Subject, &Ban)> {
        self.bans.iter()
    }

    /// How many there are, those included that have ended and not been forgotten.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bans.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bans.is_empty()
    }

    /// When the next one ends.
    #[must_use]
    pub fn next_end(&self) -> Option<Time> {
        self.bans.values().map(|ban| ban.end).min()
    }

    /// The addresses of those that the gateway has set by itself, or of all others.
    #[must_use]
    pub fn prefixes(&self, automatic: bool) -> Prefixes {
        let block = |(subject, ban): (&Subject, &Ban)| match subject {
            Subject::Addresses(block) => Some((*block, ban.end)),
            Subject::User(_) => None,
        };
        self.of_kind(automatic).filter_map(block).collect()
    }

    /// The users of the same.
    #[must_use]
    pub fn users(&self, automatic: bool) -> Ends {
        let user = |(subject, ban): (&Subject, &Ban)| match subject {
            Subject::User(user) => Some((user.clone(), ban.end)),
            Subject::Addresses(_) => None,
        };
        self.of_kind(automatic).filter_map(user).collect()
    }

    fn of_kind(&self, automatic: bool) -> impl Iterator<Item = (&Subject, &Ban)> {
        self.bans.iter().filter(move |(_, ban)| (ban.by == Author::Gateway) == automatic)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use super::*;
    use crate::admission::lists::NEVER;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    fn subject(block: &str) -> Subject {
        Subject::Addresses(block.parse().unwrap())
    }

    fn ban(by: Author, end: Time) -> Ban {
        let until = (end != NEVER).then(|| UnixMillis(end.as_millis()));
        Ban { end, until, since: UnixMillis(0), by, reason: "junk".to_owned() }
    }

    fn operator(end: Time) -> Ban {
        ban(Author::Operator(0), end)
    }

    #[test]
    fn a_ban_replaces_an_earlier_one_unless_the_gateway_would_take_back_what_others_have_set() {
        let mut bans = Bans::new(9);
        let who = subject("192.0.2.7");
        let mut end_after = |ban: Ban, now| {
            bans.set(who.clone(), ban, now).unwrap();
            bans.get(&who).unwrap().end
        };
        assert_eq!(end_after(ban(Author::Gateway, at(5)), at(0)), at(5));
        assert_eq!(end_after(ban(Author::Gateway, at(6)), at(0)), at(6));
        assert_eq!(end_after(operator(at(3)), at(0)), at(3), "whoever has a hand in it knows better");
        assert_eq!(end_after(ban(Author::Gateway, at(9)), at(2)), at(3));
        assert_eq!(end_after(ban(Author::Gateway, at(9)), at(3)), at(9), "the other one is over");
        assert_eq!(end_after(ban(Author::Backend("accounts".into()), NEVER), at(4)), NEVER);
    }

    #[test]
    fn over_the_bound_what_has_ended_goes_then_what_the_gateway_has_set_and_then_none() {
        let mut bans = Bans::new(2);
        bans.set(subject("192.0.2.1"), operator(at(1)), at(0)).unwrap();
        bans.set(subject("192.0.2.2"), operator(NEVER), at(0)).unwrap();
        bans.set(subject("192.0.2.3"), ban(Author::Gateway, at(9)), at(1)).unwrap();
        assert_eq!((bans.len(), bans.get(&subject("192.0.2.1"))), (2, None));
        bans.set(subject("192.0.2.4"), operator(at(9)), at(1)).unwrap();
        assert_eq!((bans.len(), bans.get(&subject("192.0.2.3"))), (2, None));
        let error = bans.set(subject("192.0.2.5"), operator(NEVER), at(1));
        assert_eq!((error, bans.len()), (Err(Full { max: 2 }), 2));
        assert_eq!(bans.set(subject("192.0.2.6"), ban(Author::Gateway, at(9)), at(1)), Err(Full { max: 2 }));
        bans.set(subject("192.0.2.2"), operator(at(7)), at(1)).expect("it takes the place of its own");
    }

    #[test]
    fn what_an_operator_has_set_no_backend_changes_and_a_quarter_of_the_places_is_not_theirs() {
        let backend = |end| ban(Author::Backend("chat-1".into()), end);
        let mut bans = Bans::new(4);
        bans.set(subject("192.0.2.1"), operator(NEVER), at(0)).unwrap();
        bans.set(subject("192.0.2.1"), backend(at(1)), at(0)).unwrap();
        assert_eq!(bans.get(&subject("192.0.2.1")), Some(&operator(NEVER)));
        let may_lift = |bans: &Bans, by: Author| bans.may_lift(&subject("192.0.2.1"), &by);
        assert!(!may_lift(&bans, Author::Backend("chat-1".into())) && may_lift(&bans, Author::Operator(7)));
        assert!(!bans.may_lift(&subject("192.0.2.0/24"), &Author::Operator(7)), "exactly one");
        assert!(bans.lift(&subject("192.0.2.1")));
        for last in 1..=3 {
            bans.set(subject(&format!("192.0.2.{last}")), backend(at(9)), at(0)).unwrap();
        }
        let one_more = |bans: &mut Bans, by: Ban, now| bans.set(subject("192.0.2.4"), by, at(now));
        assert_eq!(one_more(&mut bans, backend(NEVER), 0), Err(Full { max: 3 }));
        bans.set(subject("192.0.2.3"), backend(at(8)), at(0)).expect("it takes the place of its own");
        assert_eq!(one_more(&mut bans, operator(NEVER), 0), Ok(()));
        assert!(bans.may_lift(&subject("192.0.2.1"), &Author::Backend("chat-2".into())));
        bans.set(subject("192.0.2.5"), backend(NEVER), at(9)).expect("the others are over");
    }

    #[test]
    fn of_the_gateways_own_the_first_to_end_makes_room() {
        let mut bans = Bans::new(2);
        bans.set(subject("192.0.2.1"), ban(Author::Gateway, at(9)), at(0)).unwrap();
        bans.set(subject("192.0.2.2"), ban(Author::Gateway, at(5)), at(0)).unwrap();
        bans.set(subject("192.0.2.3"), ban(Author::Gateway, at(7)), at(0)).unwrap();
        assert!(bans.get(&subject("192.0.2.2")).is_none() && bans.get(&subject("192.0.2.1")).is_some());
    }

    #[test]
    fn addresses_and_users_go_to_their_lists_by_who_has_set_them() {
        let mut bans = Bans::new(9);
        bans.set(subject("192.0.2.0/24"), operator(at(5)), at(0)).unwrap();
        bans.set(subject("2001:db8::/64"), ban(Author::Gateway, at(6)), at(0)).unwrap();
        bans.set(Subject::User("eve".parse().unwrap()), operator(NEVER), at(0)).unwrap();
        let v4: IpAddr = "192.0.2.7".parse().unwrap();
        let v6: IpAddr = "2001:db8::1".parse().unwrap();
        let covers = |automatic, now| {
            [v4, v6].map(|address| bans.prefixes(automatic).cover(address, now).map(|cover| cover.len))
        };
        assert_eq!((covers(false, at(4)), covers(true, at(4))), ([Some(24), None], [None, Some(64)]));
        assert_eq!(covers(false, at(5)), [None, None]);
        let users = |automatic| bans.users(automatic).into_iter().collect::<Vec<_>>();
        assert_eq!((users(false), users(true)), (vec![("eve".parse().unwrap(), NEVER)], Vec::new()));
        assert_eq!(bans.next_end(), Some(at(5)));
        assert!(bans.forget_ended(at(5)) && !bans.forget_ended(at(5)) && bans.len() == 2);
        assert!(
            bans.lift(&subject("2001:db8::1/64")) && !bans.lift(&subject("2001:db8::1")) && !bans.is_empty()
        );
    }
}
