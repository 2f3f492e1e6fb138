//! Links that have proved nothing yet: a bounded crowd, of which the oldest goes first.

use std::collections::VecDeque;

use driver::Token;

/// The strangers, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    /// Those that are none any more leave their places here until they come to the front, or until there are as many
    /// as there may be strangers.
    order: VecDeque<Token>,
    len: usize,
}

impl Strangers {
    /// How many there are.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// One came, where there may be `most`.
    pub(super) fn came(&mut self, token: Token, most: usize, is_stranger: impl FnMut(&Token) -> bool) {
        if self.order.len() >= 2 * most {
            self.order.retain(is_stranger);
        }
        self.order.push_back(token);
        self.len += 1;
    }

    /// One has proved itself, or is on its way out.
    pub(super) fn left(&mut self) {
        self.len -= 1;
    }

    /// The oldest, if there are more than `most`. It counts until it has [left](Self::left).
    pub(super) fn surplus(
        &mut self,
        most: usize,
        mut is_stranger: impl FnMut(&Token) -> bool,
    ) -> Option<Token> {
        while let Some(oldest) = self.order.front() {
            let stays = is_stranger(oldest);
            if stays && self.len <= most {
                return None;
            }
            let oldest = self.order.pop_front();
            if stays {
                return oldest;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn token(slot: u32) -> Token {
        Token { slot, generation: 1 }
    }

    #[test]
    fn the_oldest_goes_when_there_are_too_many() {
        let (mut strangers, mut known) = (Strangers::default(), BTreeSet::new());
        for slot in 0..4 {
            strangers.came(token(slot), 3, |token| known.contains(token));
            known.insert(token(slot));
        }
        known.remove(&token(0));
        strangers.left();
        assert_eq!(strangers.surplus(3, |token| known.contains(token)), None, "three are left");
        strangers.came(token(4), 3, |token| known.contains(token));
        known.insert(token(4));
        assert_eq!(strangers.surplus(3, |token| known.contains(token)), Some(token(1)));
        known.remove(&token(1));
        strangers.left();
        assert_eq!((strangers.surplus(3, |token| known.contains(token)), strangers.len()), (None, 3));
    }

    #[test]
    fn places_of_those_who_left_are_bounded() {
        let mut strangers = Strangers::default();
        strangers.came(token(0), 4, |_| true);
        for slot in 1..1_000 {
            strangers.came(token(slot), 4, |&kept| kept == token(0));
            strangers.left();
            assert!(strangers.order.len() <= 2 * 4);
        }
        assert_eq!(strangers.len(), 1);
        assert!(strangers.order.contains(&token(0)), "who is still there keeps the place");
    }
}
