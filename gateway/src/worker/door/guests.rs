//! Where those who came in are counted in the buckets that all workers share, and taken off again: once, wherever their links
//! end.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use driver::{Listener, Token};

use crate::admission::buckets::{Buckets, Pass, Stay};
use crate::collections::Frequent;
use crate::worker::turn::Turn;

/// Who of a worker's links is counted, by slot. A slot has at most one of the two.
#[derive(Debug)]
pub(super) struct Guests {
    buckets: Arc<Buckets>,
    /// Links that are not authenticated, as many as there may be strangers.
    strangers: HashMap<u32, Pass>,
    /// Those that are.
    users: Vec<Stay>,
    /// Where those came from who were kept out lately.
    kept_out: Frequent<IpAddr, 16>,
}

/// Connections that are kept out until it is looked at where they came from, and of how many addresses most of them are if it
/// is from a few.
const LOOK_AFTER: u64 = 1000;
const FEW: usize = 4;

impl Guests {
    pub(super) fn new(buckets: Arc<Buckets>) -> Self {
        Self { buckets, strangers: HashMap::new(), users: Vec::new(), kept_out: Frequent::default() }
    }

    /// Whether a connection from there may come in, of which so many hundredths of its rate hold; if so, it is counted, and if
    /// not, by whom it is kept out.
    pub(super) fn come(
        &mut self,
        turn: &Turn,
        token: Token,
        listener: Listener,
        from: IpAddr,
        percent: u8,
    ) -> bool {
        let settings = &turn.settings.listeners[usize::from(listener.0)];
        let entry = self.buckets.enter(from, percent, settings.place, &settings.addresses, turn.now);
        let counted = turn.kept_out(listener);
        entry.on_trial.each(|guard| counted.on_trial.of(guard).add(1));
        match entry.pass {
            Ok(pass) => {
                self.strangers.insert(token.slot, pass);
                true
            }
            Err(guard) => {
                counted.refused.of(guard).add(1);
                self.note_kept_out(turn, from);
                false
            }
        }
    }

    /// Counts how often most of those who are kept out are of a few addresses: a balancer may stand in front, and everybody
    /// who comes by it is taken for one.
    fn note_kept_out(&mut self, turn: &Turn, from: IpAddr) {
        self.kept_out.add(from, 1);
        if self.kept_out.whole() >= LOOK_AFTER {
            let are_few = self.kept_out.heaviest(FEW) > LOOK_AFTER / 2;
            turn.counters.kept_out_of_few.add(are_few.into());
            self.kept_out.clear();
        }
    }

    /// A stranger is a user.
    pub(super) fn welcome(&mut self, turn: &Turn, token: Token, listener: Listener) {
        let Some(pass) = self.strangers.remove(&token.slot) else { return };
        let settings = &turn.settings.listeners[usize::from(listener.0)];
        let (stay, is_crowd) = self.buckets.welcome(pass, settings.place, &settings.addresses);
        turn.counters.crowds.add(is_crowd.into());
        let slot = token.slot as usize;
        if slot >= self.users.len() {
            self.users.resize_with(slot + 1, Stay::default);
        }
        self.users[slot] = stay;
    }

    /// Whoever had a slot has left it.
    pub(super) fn left(&mut self, token: Token) {
        if let Some(pass) = self.strangers.remove(&token.slot) {
            self.buckets.stranger_left(pass);
        } else if let Some(stay) = self.users.get_mut(token.slot as usize) {
            self.buckets.user_left(std::mem::take(stay));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::admission::buckets::{AddressLimits, Most};
    use crate::collections::HashKey;
    use crate::counters::guard::{Guard, Guards};
    use crate::rate::{ALL, Rate};
    use crate::worker::settings::Settings;

    const BY: Listener = Listener(0);

    fn rig(on_trial: Guards) -> (Guests, Turn) {
        let second = Duration::from_secs(1);
        let mut settings = Settings::small();
        settings.listeners[0].addresses = AddressLimits {
            address: Most { accepts: Rate::new(1, second, 4), strangers: 2, users: 3 },
            crowd: 2,
            on_trial,
            ..settings.listeners[0].addresses
        };
        let buckets = Buckets::new(64, 1, HashKey::new([1; 16]));
        (Guests::new(Arc::new(buckets)), Turn::of(settings))
    }

    fn at(slot: u32) -> Token {
        Token { slot, generation: 1 }
    }

    fn come(guests: &mut Guests, turn: &Turn, slot: u32) -> bool {
        guests.come(turn, at(slot), BY, [192, 0, 2, 1].into(), ALL)
    }

    fn refused(turn: &Turn, guard: Guard) -> (u64, u64) {
        let counted = turn.kept_out(BY);
        (counted.refused.of(guard).get(), counted.on_trial.of(guard).get())
    }

    #[test]
    fn whoever_leaves_makes_room_for_another_and_whoever_is_refused_is_counted() {
        let (mut guests, turn) = rig(Guards::NONE);
        assert!(come(&mut guests, &turn, 0) && come(&mut guests, &turn, 1));
        assert!(!come(&mut guests, &turn, 2));
        assert_eq!(refused(&turn, Guard::StrangersPerAddress), (1, 0));
        guests.left(at(2));
        guests.left(at(0));
        guests.left(at(0));
        assert!(come(&mut guests, &turn, 0) && !come(&mut guests, &turn, 3), "one has left, and once");
        assert_eq!(refused(&turn, Guard::StrangersPerAddress), (2, 0));
    }

    #[test]
    fn users_cost_nothing_until_there_are_too_many_and_a_crowd_is_told_once() {
        let (mut guests, turn) = rig(Guards::NONE);
        for slot in 0..3 {
            assert!(come(&mut guests, &turn, slot));
            guests.welcome(&turn, at(slot), BY);
        }
        assert_eq!(turn.counters.crowds.get(), 1);
        assert!(!come(&mut guests, &turn, 3));
        assert_eq!(refused(&turn, Guard::LinksPerAddress), (1, 0));
        guests.left(at(1));
        assert!(come(&mut guests, &turn, 3));
    }

    #[test]
    fn whether_those_who_are_kept_out_are_many_or_few_is_seen_after_a_while() {
        let (mut guests, turn) = rig(Guards::NONE);
        let mut few = |hosts: u32| {
            for attempt in 0..20_000_u32 {
                let from = IpAddr::V4((0xc633_6400 + attempt % hosts).into());
                guests.come(&turn, at(attempt), BY, from, ALL);
            }
            turn.counters.kept_out_of_few.get()
        };
        assert_eq!(few(256), 0, "all of a block alike");
        assert!(few(3) > 10, "three addresses");
    }

    #[test]
    fn on_trial_the_refusals_are_counted_and_everybody_comes_in() {
        let (mut guests, turn) = rig(Guards::NONE.with(Guard::StrangersPerAddress));
        assert!((0..4).all(|slot| come(&mut guests, &turn, slot)));
        assert_eq!(refused(&turn, Guard::StrangersPerAddress), (0, 2));
        (0..4).for_each(|slot| guests.left(at(slot)));
        assert!((0..2).all(|slot| come(&mut guests, &turn, slot)), "those on trial are counted nowhere");
        assert_eq!(refused(&turn, Guard::StrangersPerAddress), (0, 2));
    }
}
