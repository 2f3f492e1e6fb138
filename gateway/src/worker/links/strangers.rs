//! Links that have proved nothing yet: a bounded crowd, of which the one that has stood in its place longest goes first.

use std::collections::VecDeque;

use driver::Token;

use super::link::Stranger;

/// The strangers, in the order in which they go when there are too many: as they came, and those whose handshake is
/// done as they finished it.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    /// Those that are none any more, or stand further back now, leave their places here until they come to the front,
    /// or until there are twice as many places as there may be strangers.
    order: VecDeque<(Token, Stranger)>,
    len: usize,
}

impl Strangers {
    /// How many there are.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// One came, where there may be `most`. `standing` is what a link counts as now.
    pub(super) fn came(&mut self, token: Token, most: usize, standing: impl Fn(Token) -> Stranger) {
        self.push((token, Stranger::Unheard), most, standing);
        self.len += 1;
    }

    /// One has finished its handshake, and goes to the back.
    pub(super) fn greeted(&mut self, token: Token, most: usize, standing: impl Fn(Token) -> Stranger) {
        self.push((token, Stranger::Greeted), most, standing);
    }

    fn push(&mut self, place: (Token, Stranger), most: usize, standing: impl Fn(Token) -> Stranger) {
        if self.order.len() >= 2 * most {
            self.order.retain(|&(token, was)| standing(token) == was);
        }
        self.order.push_back(place);
    }

    /// One that counted as this has proved itself, or is on its way out.
    pub(super) fn left(&mut self, was: Stranger) {
        self.len -= usize::from(was != Stranger::No);
    }

    /// The first to go, if there are more than `most`. It counts until it has [left](Self::left).
    pub(super) fn surplus(&mut self, most: usize, standing: impl Fn(Token) -> Stranger) -> Option<Token> {
        while let Some(&(first, was)) = self.order.front() {
            let stands_here = standing(first) == was;
            if stands_here && self.len <= most {
                return None;
            }
            self.order.pop_front();
            if stands_here {
                return Some(first);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn token(slot: u32) -> Token {
        Token { slot, generation: 1 }
    }

    /// A crowd of at most three, with what each link counts as.
    #[derive(Default)]
    struct Crowd {
        strangers: Strangers,
        standings: BTreeMap<Token, Stranger>,
    }

    impl Crowd {
        fn came(&mut self, slot: u32) {
            let standing = |token| self.standings.get(&token).copied().unwrap_or(Stranger::No);
            self.strangers.came(token(slot), 3, standing);
            self.standings.insert(token(slot), Stranger::Unheard);
        }

        fn greeted(&mut self, slot: u32) {
            self.standings.insert(token(slot), Stranger::Greeted);
            let standing = |token| self.standings.get(&token).copied().unwrap_or(Stranger::No);
            self.strangers.greeted(token(slot), 3, standing);
        }

        fn left(&mut self, slot: u32) {
            self.strangers.left(self.standings.remove(&token(slot)).expect("it was there"));
        }

        /// Who has to go, one after the other.
        fn surplus(&mut self) -> Vec<u32> {
            let mut gone = Vec::new();
            loop {
                let standing = |token| self.standings.get(&token).copied().unwrap_or(Stranger::No);
                let Some(first) = self.strangers.surplus(3, standing) else { return gone };
                gone.push(first.slot);
                self.left(first.slot);
            }
        }
    }

    #[test]
    fn the_oldest_goes_when_there_are_too_many() {
        let mut crowd = Crowd::default();
        (0..4).for_each(|slot| crowd.came(slot));
        crowd.left(0);
        assert!(crowd.surplus().is_empty(), "three are left");
        crowd.came(4);
        assert_eq!((crowd.surplus(), crowd.strangers.len()), (vec![1], 3));
    }

    #[test]
    fn whose_handshake_is_done_goes_behind_those_who_have_said_nothing() {
        let mut crowd = Crowd::default();
        (0..3).for_each(|slot| crowd.came(slot));
        crowd.greeted(0);
        (3..6).for_each(|slot| crowd.came(slot));
        assert_eq!(
            crowd.surplus(),
            [1, 2, 0],
            "in the order of the handshake and of those that came after it"
        );
        crowd.greeted(4);
        crowd.greeted(3);
        (6..8).for_each(|slot| crowd.came(slot));
        assert_eq!(crowd.surplus(), [5, 4]);
    }

    #[test]
    fn places_of_those_who_left_are_bounded() {
        let mut crowd = Crowd::default();
        crowd.came(0);
        for slot in 1..1_000 {
            crowd.came(slot);
            crowd.greeted(slot);
            crowd.left(slot);
            assert!(crowd.strangers.order.len() <= 2 * 3);
        }
        assert_eq!(crowd.strangers.len(), 1);
        let stays = (token(0), Stranger::Unheard);
        assert!(crowd.strangers.order.contains(&stays), "who is still there keeps the place");
    }
}
