//! Handshakes of three messages that are begun: message 2 is out, and message 3 is awaited. Each keeps what it is to be finished
//! with, so there are only so many; the oldest goes first. It is the one thing of a handshake that outlives its turn.

use std::collections::BTreeMap;

use driver::Token;
use protocol::noise::Unfinished;

/// All of them, by the slot of their link, and by age.
#[derive(Debug, Default)]
pub(super) struct Begun {
    by_slot: BTreeMap<u32, (u64, Unfinished)>,
    by_age: BTreeMap<u64, Token>,
    next: u64,
}

impl Begun {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_slot.len()
    }

    /// Keeps what a link is to be finished with, until it is [taken](Begun::take): at the latest when the link ends.
    pub(super) fn keep(&mut self, link: Token, unfinished: Unfinished) {
        let before = self.by_slot.insert(link.slot, (self.next, unfinished));
        debug_assert!(before.is_none(), "a link ends before its slot has another tenant");
        self.by_age.insert(self.next, link);
        self.next += 1;
    }

    /// Whose is the oldest, if there are more than `most`.
    pub(super) fn surplus(&self, most: usize) -> Option<Token> {
        self.by_age.values().next().copied().filter(|_| self.len() > most)
    }

    /// Takes out what a link is to be finished with, if there is something.
    pub(super) fn take(&mut self, link: Token) -> Option<Unfinished> {
        let (age, unfinished) = self.by_slot.remove(&link.slot)?;
        self.by_age.remove(&age);
        Some(unfinished)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::noise::{Responder, StaticKey, Suite};

    fn token(slot: u32) -> Token {
        Token { slot, generation: 1 }
    }

    fn unfinished() -> Unfinished {
        let responder = Responder {
            suite: Suite::XxChaChaPoly,
            key: Some(&StaticKey::from_secret([1; 32])),
            peer: None,
            psk: None,
            prologue: &[],
            ephemeral: [2; 32],
        };
        responder.begin(&[9; 32], &[0; 4], &mut Vec::new()).expect("any key but one of low order")
    }

    fn begun(slots: &[u32]) -> Begun {
        let mut begun = Begun::default();
        slots.iter().for_each(|slot| begun.keep(token(*slot), unfinished()));
        begun
    }

    #[test]
    fn the_oldest_is_the_surplus_whatever_its_slot() {
        let mut begun = begun(&[7, 2, 5]);
        assert_eq!((begun.surplus(3), begun.surplus(2)), (None, Some(token(7))));
        assert!(begun.take(token(7)).is_some());
        begun.keep(token(1), unfinished());
        assert_eq!((begun.surplus(2), begun.surplus(0)), (Some(token(2)), Some(token(2))));
    }

    #[test]
    fn each_is_taken_once_and_leaves_nothing() {
        let mut begun = begun(&[3, 4]);
        assert!(begun.take(token(9)).is_none(), "there is none");
        assert!(begun.take(token(4)).is_some() && begun.take(token(4)).is_none());
        assert!(begun.take(token(3)).is_some());
        assert_eq!((begun.len(), begun.by_age.len(), begun.surplus(0)), (0, 0, None));
    }
}
