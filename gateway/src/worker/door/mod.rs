//! Who may come in: by address, before anything is spent on a connection, and by user, when that is known; and who has to
//! leave since the lists have changed.
//!
//! The lists come from control, whole: this part takes them, judges newcomers by them, and goes over the links that are in,
//! a slice per turn, so that nobody stands still for a ban.

use std::net::IpAddr;
use std::ops::Range;

use protocol::Time;

use crate::admission::lists::{Lists, Standing};
use crate::worker::turn::Turn;

/// The lists in force, and how far the links that are in were looked at.
#[derive(Debug, Default)]
pub(super) struct Door {
    lists: Lists,
    /// The first slot that was not looked at yet.
    next: Option<u32>,
}

impl Door {
    /// With the lists of the start.
    pub(super) fn new(lists: Lists) -> Self {
        Self { lists, next: None }
    }

    /// Whether a connection from there may come in; if not, it is counted. A peer without an address may.
    pub(super) fn lets_in(&self, turn: &Turn, address: Option<IpAddr>) -> bool {
        let denied = |address| matches!(self.lists.at_the_door(address, turn.now), Standing::Denied(_));
        let is_denied = address.is_some_and(denied);
        turn.counters.links_denied.add(is_denied.into());
        !is_denied
    }

    /// Until when a user may not log in, if so; that is counted.
    pub(super) fn refuses(&self, turn: &Turn, user: &[u8]) -> Option<Time> {
        let until = self.lists.users.at_the_door(user, turn.now);
        turn.counters.users_denied.add(until.is_some().into());
        until
    }

    /// Other lists are in force from now on. Everybody who is in is looked at again, from the first slot on.
    pub(super) fn replace(&mut self, lists: Lists) {
        self.lists = lists;
        self.next = Some(0);
    }

    /// The slots that are to be looked at in this turn, of so many that were ever used.
    pub(super) fn slice(&mut self, turn: &Turn, slots_used: u32) -> Range<u32> {
        let Some(first) = self.next else { return 0..0 };
        let end = first.saturating_add(turn.settings.budgets.listed).min(slots_used);
        self.next = (end < slots_used).then_some(end);
        first..end
    }

    /// Until when a link from there, of this user if that is known, has to leave, if it has to; that is counted.
    pub(super) fn sends_out(&self, turn: &Turn, address: IpAddr, user: Option<&[u8]>) -> Option<Time> {
        let of_address = match self.lists.inside(address, turn.now) {
            Standing::Denied(until) => Some(until),
            Standing::Allowed | Standing::Unlisted => None,
        };
        let of_user = user.and_then(|user| self.lists.users.inside(user, turn.now));
        let until = of_address.max(of_user);
        turn.counters.links_banned.add(until.is_some().into());
        until
    }

    /// Whether there are links left to look at.
    pub(super) fn has_work(&self) -> bool {
        self.next.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::admission::lists::{NEVER, Prefixes, Users};
    use crate::worker::settings::{Budgets, Settings};

    fn lists(denied: &str) -> Lists {
        let deny: Prefixes = [(denied.parse().unwrap(), NEVER)].into_iter().collect();
        Lists { deny: Arc::new(deny), ..Lists::default() }
    }

    fn turn() -> Turn {
        let budgets = Budgets { listed: 4, ..Budgets::default() };
        Turn::of(Settings { budgets, ..Settings::small() })
    }

    #[test]
    fn whoever_is_denied_is_counted_and_a_peer_without_an_address_may_come() {
        let (turn, door) = (turn(), Door::new(lists("192.0.2.0/24")));
        assert!(!door.lets_in(&turn, Some("192.0.2.7".parse().unwrap())));
        assert!(door.lets_in(&turn, Some("198.51.100.7".parse().unwrap())) && door.lets_in(&turn, None));
        assert_eq!(door.sends_out(&turn, "::ffff:192.0.2.7".parse().unwrap(), None), Some(NEVER));
        assert_eq!(door.sends_out(&turn, "198.51.100.7".parse().unwrap(), Some(b"alice")), None);
        assert_eq!((turn.counters.links_denied.get(), turn.counters.links_banned.get()), (1, 1));
    }

    #[test]
    fn a_denied_user_is_refused_and_counted_and_has_to_leave_wherever_it_is() {
        let deny = Arc::new([("eve".parse().unwrap(), NEVER)].into_iter().collect());
        let users = Users { deny, ..Users::default() };
        let (turn, door) = (turn(), Door::new(Lists { users, ..Lists::default() }));
        assert_eq!([door.refuses(&turn, b"eve"), door.refuses(&turn, b"alice")], [Some(NEVER), None]);
        let near = "198.51.100.7".parse().unwrap();
        assert_eq!([b"eve", b"bob"].map(|user| door.sends_out(&turn, near, Some(user))), [Some(NEVER), None]);
        assert_eq!((turn.counters.users_denied.get(), turn.counters.links_banned.get()), (1, 1));
    }

    #[test]
    fn after_a_change_everybody_is_looked_at_once_a_slice_at_a_time() {
        let (turn, mut door) = (turn(), Door::default());
        assert_eq!((door.slice(&turn, 10), door.has_work()), (0..0, false));
        door.replace(lists("192.0.2.0/24"));
        assert!(door.has_work());
        assert_eq!([10, 10].map(|used| door.slice(&turn, used)), [0..4, 4..8]);
        // A change in between begins anew; links that come meanwhile are judged at the door.
        door.replace(Lists::default());
        let slices: Vec<_> = (0..4).map(|_| door.slice(&turn, 9)).collect();
        assert_eq!((slices, door.has_work()), (vec![0..4, 4..8, 8..9, 0..0], false));
        door.replace(Lists::default());
        assert_eq!((door.slice(&turn, 0), door.has_work()), (0..0, false));
    }
}
