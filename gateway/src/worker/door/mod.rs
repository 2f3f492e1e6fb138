//! Who may come in: by address, before anything is spent on a connection, and by user, when that is known; and who has to
//! leave, or has less of its rates, since the lists have changed.
//!
//! The lists come from control, whole: this part takes them, judges newcomers by them, and goes over the links that are in,
//! a slice per turn (`walk`), so that nobody stands still for a ban. `guests` counts those who come in in the buckets that all
//! workers share.

mod guests;
mod walk;

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use driver::{Listener, Token};
use protocol::Time;

use self::guests::Guests;
use self::walk::Walk;
use crate::address::Address;
use crate::admission::balancers::Introduction;
use crate::admission::buckets::Buckets;
use crate::admission::lists::{Lists, Standing};
use crate::counters::guard::Guard;
use crate::rate::ALL;
use crate::worker::turn::Turn;

/// The lists in force, and how far the links that are in were looked at; and where those are counted who came in.
#[derive(Debug)]
pub(super) struct Door {
    lists: Lists,
    guests: Guests,
    walk: Walk,
    /// When the next block of addresses is slowed down no more.
    next_end: Option<Time>,
}

impl Door {
    /// With the lists of the start, and the buckets that all workers share.
    pub(super) fn new(lists: Lists, buckets: Arc<Buckets>) -> Self {
        let next_end = lists.slowed.next_end(Time::ZERO);
        Self { lists, guests: Guests::new(buckets), walk: Walk::default(), next_end }
    }

    /// How it is known who comes from there by this listener, if anybody may; [as below](Self::admits).
    pub(super) fn lets_in(
        &mut self,
        turn: &Turn,
        token: Token,
        listener: Listener,
        from: Address,
    ) -> Option<Introduction> {
        let balancers = &turn.settings.listeners[usize::from(listener.0)].balancers;
        let Some(introduction) = balancers.introduction(from.ip()) else {
            let is_denied = from.ip().is_some_and(|address| self.is_denied(address, turn.now));
            let guard = if is_denied { Guard::Lists } else { Guard::NotABalancer };
            turn.kept_out(listener).refused.of(guard).add(1);
            return None;
        };
        self.admits(turn, token, listener, from, introduction).then_some(introduction)
    }

    fn is_denied(&self, address: IpAddr, now: Time) -> bool {
        matches!(self.lists.at_the_door(address, now), Standing::Denied(_))
    }

    /// Whether a connection of this address may come in; if so, it is counted until it has [left](Self::left), and if not, by
    /// whom it is kept out. A peer without an address may come, and so may one of this machine where they are exempt; neither
    /// is counted, and nor is one that is on a list of those who are let in, or a balancer as long as it speaks for nobody.
    pub(super) fn admits(
        &mut self,
        turn: &Turn,
        token: Token,
        listener: Listener,
        from: Address,
        introduction: Introduction,
    ) -> bool {
        let Some(address) = from.ip() else { return true };
        match self.lists.at_the_door(address, turn.now) {
            Standing::Denied(_) => {
                turn.kept_out(listener).refused.of(Guard::Lists).add(1);
                false
            }
            Standing::Allowed => true,
            Standing::Unlisted => {
                introduction.is_free()
                    || turn.settings.loopback_exempt && introduction.is_local(from)
                    || self.comes(turn, token, listener, address)
            }
        }
    }

    fn comes(&mut self, turn: &Turn, token: Token, listener: Listener, from: IpAddr) -> bool {
        let percent = self.lists.slowed.percent(from, turn.now);
        self.guests.come(turn, token, listener, from, percent)
    }

    /// Somebody who came in is a user: what it has cost comes back.
    pub(super) fn welcome(&mut self, turn: &Turn, token: Token, listener: Listener) {
        self.guests.welcome(turn, token, listener);
    }

    /// Somebody who came in has left: its slot is free.
    pub(super) fn left(&mut self, token: Token) {
        self.guests.left(token);
    }

    /// Until when a user may not log in by this listener, if so; that is counted.
    pub(super) fn refuses(&self, turn: &Turn, listener: Listener, user: &[u8]) -> Option<Time> {
        let until = self.lists.users.at_the_door(user, turn.now);
        turn.kept_out(listener).refused.of(Guard::Users).add(until.is_some().into());
        until
    }

    /// Other lists are in force from now on. Everybody who is in is looked at again.
    pub(super) fn replace(&mut self, lists: Lists) {
        self.next_end = lists.slowed.next_end(Time::ZERO);
        self.lists = lists;
        self.walk.begin();
    }

    /// Lets time pass: where a block is slowed down no more, everybody who is in is looked at again.
    pub(super) fn expire(&mut self, now: Time) {
        if self.next_end.is_some_and(|end| end <= now) {
            self.next_end = self.lists.slowed.next_end(now);
            self.walk.begin();
        }
    }

    /// When that is to be done next.
    pub(super) const fn next_deadline(&self) -> Option<Time> {
        self.next_end
    }

    /// Hundredths of its rates that a link from there has.
    pub(super) fn percent(&self, address: Option<IpAddr>, now: Time) -> u8 {
        address.map_or(ALL, |address| self.lists.slowed.percent(address, now))
    }

    /// The slots that are to be looked at in this turn, of so many that were ever used.
    pub(super) fn slice(&mut self, turn: &Turn, slots_used: u32) -> Range<u32> {
        self.walk.slice(turn.settings.budgets.listed, slots_used)
    }

    /// Until when a link from there, of this user if that is known, has to leave, if it has to; that is counted.
    pub(super) fn sends_out(
        &self,
        turn: &Turn,
        address: Option<IpAddr>,
        user: Option<&[u8]>,
    ) -> Option<Time> {
        let of_address = address.and_then(|address| match self.lists.inside(address, turn.now) {
            Standing::Denied(until) => Some(until),
            Standing::Allowed | Standing::Unlisted => None,
        });
        let of_user = user.and_then(|user| self.lists.users.inside(user, turn.now));
        let until = of_address.max(of_user);
        turn.counters.links_banned.add(until.is_some().into());
        until
    }

    /// Whether there are links left to look at.
    pub(super) fn has_work(&self) -> bool {
        self.walk.is_under_way()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use driver::Peer;
    use protocol::UnixMillis;

    use super::*;
    use crate::admission::balancers::Balancers;
    use crate::admission::buckets::Most;
    use crate::admission::lists::{NEVER, Prefixes, Throttle, Throttles, Users};
    use crate::collections::HashKey;
    use crate::config::ProxyProtocol;
    use crate::rate::Rate;
    use crate::worker::settings::{Budgets, Settings};

    fn lists(denied: &str) -> Lists {
        let deny: Prefixes = [(denied.parse().unwrap(), NEVER)].into_iter().collect();
        Lists { deny: Arc::new(deny), ..Lists::default() }
    }

    const BY: Listener = Listener(0);

    fn door(lists: Lists) -> Door {
        Door::new(lists, Arc::new(Buckets::new(64, 1, HashKey::new([1; 16]))))
    }

    fn lets_in(door: &mut Door, turn: &Turn, from: &str) -> bool {
        let from = Peer::Tcp(SocketAddr::new(from.parse().unwrap(), 4000));
        door.lets_in(turn, Token { slot: 0, generation: 1 }, BY, from.into()).is_some()
    }

    fn kept_out(turn: &Turn, guard: Guard) -> u64 {
        turn.kept_out(BY).refused.of(guard).get()
    }

    fn turn() -> Turn {
        let budgets = Budgets { listed: 4, ..Budgets::default() };
        Turn::of(Settings { budgets, ..Settings::small() })
    }

    #[test]
    fn whoever_is_denied_is_counted_and_a_peer_without_an_address_may_come() {
        let (turn, mut door) = (turn(), door(lists("192.0.2.0/24")));
        assert!(!lets_in(&mut door, &turn, "192.0.2.7") && lets_in(&mut door, &turn, "198.51.100.7"));
        assert!(door.lets_in(&turn, Token { slot: 1, generation: 1 }, BY, Peer::Unix.into()).is_some());
        assert_eq!(door.sends_out(&turn, "::ffff:192.0.2.7".parse().ok(), None), Some(NEVER));
        assert_eq!(door.sends_out(&turn, "198.51.100.7".parse().ok(), Some(b"alice")), None);
        assert_eq!(door.sends_out(&turn, None, Some(b"alice")), None);
        assert_eq!((kept_out(&turn, Guard::Lists), turn.counters.links_banned.get()), (1, 1));
    }

    /// Lists come before buckets: whoever is allowed needs none, and whoever is denied touches none.
    #[test]
    fn only_those_who_are_on_no_list_and_not_exempt_are_counted() {
        let settings = Settings { loopback_exempt: true, ..Settings::small() };
        let mut turn = Turn::of(settings);
        turn.settings.listeners[0].addresses.address.strangers = 2;
        let allow = Arc::new([("192.0.2.1/32".parse().unwrap(), NEVER)].into_iter().collect());
        let mut door = door(Lists { allow, ..lists("192.0.2.2/32") });
        let let_in =
            |door: &mut Door, turn: &Turn, from| (0..9).filter(|_| lets_in(door, turn, from)).count();
        let counts = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "127.0.0.1", "::1"]
            .map(|from| let_in(&mut door, &turn, from));
        assert_eq!(counts, [9, 0, 2, 9, 9]);
        assert_eq!((kept_out(&turn, Guard::Lists), kept_out(&turn, Guard::StrangersPerAddress)), (9, 7));
        // The list is taken back: what was denied has used up nothing.
        door.replace(Lists::default());
        assert_eq!(let_in(&mut door, &turn, "192.0.2.2"), 2);
        turn.settings.loopback_exempt = false;
        assert_eq!(let_in(&mut door, &turn, "127.0.0.1"), 2);
    }

    /// A listener before which balancers of 10.0.0.0/8 stand, and strangers who may be one per address.
    fn balanced(mode: ProxyProtocol) -> (Door, Turn) {
        let mut turn = turn();
        let listener = &mut turn.settings.listeners[0];
        listener.balancers = Balancers::new(mode, &["10.0.0.0/8".parse().unwrap()]);
        listener.addresses.address.strangers = 1;
        (door(lists("10.9.0.0/16")), turn)
    }

    fn introduced(door: &mut Door, turn: &Turn, slot: u32, from: &str) -> Option<Introduction> {
        let from = Peer::Tcp(SocketAddr::new(from.parse().unwrap(), 4000));
        door.lets_in(turn, Token { slot, generation: 1 }, BY, from.into())
    }

    #[test]
    fn a_balancer_pays_nothing_and_a_banned_one_is_banned() {
        let awaited = [
            (ProxyProtocol::Required, Introduction::Required, None),
            (ProxyProtocol::Optional, Introduction::Optional, Some(Introduction::Direct)),
        ];
        for (mode, expected, other) in awaited {
            let (mut door, turn) = balanced(mode);
            for slot in 0..9 {
                assert_eq!(introduced(&mut door, &turn, slot, "10.0.0.1"), Some(expected));
            }
            assert_eq!(introduced(&mut door, &turn, 10, "10.9.0.1"), None);
            assert_eq!(introduced(&mut door, &turn, 11, "192.0.2.7"), other);
            assert_eq!(introduced(&mut door, &turn, 12, "192.0.2.7"), None);
            let [lists, strange, many] = [Guard::Lists, Guard::NotABalancer, Guard::StrangersPerAddress]
                .map(|guard| kept_out(&turn, guard));
            assert_eq!((lists, strange, many), if other.is_some() { (1, 0, 1) } else { (1, 2, 0) });
        }
    }

    #[test]
    fn whoever_is_denied_and_no_balancer_is_denied() {
        let (mut door, turn) = balanced(ProxyProtocol::Required);
        door.replace(lists("192.0.2.0/24"));
        assert_eq!(introduced(&mut door, &turn, 0, "192.0.2.7"), None);
        assert_eq!((kept_out(&turn, Guard::Lists), kept_out(&turn, Guard::NotABalancer)), (1, 0));
    }

    #[test]
    fn lists_and_limits_hold_for_the_address_that_a_balancer_names() {
        let (mut door, mut turn) = balanced(ProxyProtocol::Required);
        turn.settings.loopback_exempt = true;
        door.replace(lists("192.0.2.0/24"));
        let mut admits = |slot, ip: &str, introduction| {
            let from = Address::from(Peer::Tcp(SocketAddr::new(ip.parse().unwrap(), 4000)));
            door.admits(&turn, Token { slot, generation: 1 }, BY, from, introduction)
        };
        assert!(!admits(0, "192.0.2.7", Introduction::Forwarded));
        assert!(admits(1, "198.51.100.7", Introduction::Forwarded));
        assert!(!admits(2, "198.51.100.7", Introduction::Forwarded));
        assert!(admits(3, "127.0.0.1", Introduction::Forwarded));
        assert!(!admits(4, "127.0.0.1", Introduction::Forwarded), "a balancer's machine is not this one");
        assert!(admits(5, "10.0.0.1", Introduction::Direct) && !admits(6, "10.0.0.1", Introduction::Direct));
        assert!((7..20).all(|slot| admits(slot, "10.0.0.1", Introduction::Balancer)));
        door.left(Token { slot: 1, generation: 1 });
        let from = Address::from(Peer::Tcp(([198, 51, 100, 7], 4000).into()));
        assert!(door.admits(&turn, Token { slot: 1, generation: 1 }, BY, from, Introduction::Forwarded));
        assert_eq!((kept_out(&turn, Guard::Lists), kept_out(&turn, Guard::StrangersPerAddress)), (1, 3));
    }

    #[test]
    fn a_denied_user_is_refused_and_counted_and_has_to_leave_wherever_it_is() {
        let deny = Arc::new([("eve".parse().unwrap(), NEVER)].into_iter().collect());
        let users = Users { deny, ..Users::default() };
        let (turn, door) = (turn(), door(Lists { users, ..Lists::default() }));
        assert_eq!(
            [b"eve" as &[u8], b"alice"].map(|user| door.refuses(&turn, BY, user)),
            [Some(NEVER), None]
        );
        let near = "198.51.100.7".parse().ok();
        assert_eq!([b"eve", b"bob"].map(|user| door.sends_out(&turn, near, Some(user))), [Some(NEVER), None]);
        assert_eq!((kept_out(&turn, Guard::Users), turn.counters.links_banned.get()), (1, 1));
    }

    /// Lists that leave the block so much until then.
    fn slowed(block: &str, percent: u8, end: Time) -> Lists {
        let mut book = Throttles::new(9);
        let throttle = Throttle { percent, end, until: None, since: UnixMillis(0), by: String::new() };
        book.set(block.parse().unwrap(), throttle, Time::ZERO).unwrap();
        Lists { slowed: Arc::new(book.slowed()), ..Lists::default() }
    }

    #[test]
    fn after_a_change_and_at_the_end_of_a_throttle_everybody_is_looked_at_a_slice_at_a_time() {
        let (turn, mut door) = (turn(), door(Lists::default()));
        assert_eq!((door.slice(&turn, 10), door.has_work(), door.next_deadline()), (0..0, false, None));
        let end = Time::ZERO + Duration::from_secs(9);
        door.replace(slowed("192.0.2.0/24", 10, end));
        assert!(door.has_work());
        let slices = |door: &mut Door| (0..4).map(|_| door.slice(&turn, 9)).collect::<Vec<_>>();
        assert_eq!((slices(&mut door), door.has_work()), (vec![0..4, 4..8, 8..9, 0..0], false));
        door.expire(end - Duration::from_nanos(1));
        assert_eq!((door.has_work(), door.next_deadline()), (false, Some(end)));
        door.expire(end);
        assert_eq!((door.next_deadline(), slices(&mut door)[2].clone()), (None, 8..9));
        door.expire(end + Duration::from_secs(9));
        assert!(!door.has_work(), "once");
    }

    #[test]
    fn a_block_that_is_slowed_down_comes_in_slower_and_has_less_until_its_end() {
        let mut turn = turn();
        let accepts = Rate::new(10, Duration::from_secs(1), 4);
        turn.settings.listeners[0].addresses.address = Most { accepts, strangers: 99, users: 99 };
        let (start, end) = (Time::ZERO + Duration::from_secs(1), Time::ZERO + Duration::from_secs(9));
        turn.now = start;
        let mut door = door(slowed("192.0.2.0/24", 10, end));
        let come = |door: &mut Door, turn: &Turn, from| (0..9).filter(|_| lets_in(door, turn, from)).count();
        let (slow, other) = ("192.0.2.7", "198.51.100.7");
        assert_eq!([slow, other].map(|from| come(&mut door, &turn, from)), [4, 4], "the burst");
        turn.now = start + Duration::from_secs(1);
        assert_eq!([slow, other].map(|from| come(&mut door, &turn, from)), [1, 4]);
        let percent = |door: &Door, from: &str, now| door.percent(from.parse().ok(), now);
        assert_eq!([slow, other].map(|from| percent(&door, from, start)), [10, ALL]);
        assert_eq!((percent(&door, slow, end), door.percent(None, start)), (ALL, ALL));
    }

    /// Who comes to be a user has its connection back, all that it has cost.
    #[test]
    fn users_of_a_block_that_is_slowed_down_cost_nothing() {
        let mut turn = turn();
        let accepts = Rate::new(10, Duration::from_secs(1), 4);
        turn.settings.listeners[0].addresses.address = Most { accepts, strangers: 99, users: 99 };
        turn.now = Time::ZERO + Duration::from_secs(1);
        let mut door = door(slowed("192.0.2.0/24", 1, NEVER));
        for _ in 0..50 {
            assert!(lets_in(&mut door, &turn, "192.0.2.7"));
            door.welcome(&turn, Token { slot: 0, generation: 1 }, BY);
        }
    }
}
