//! Those who wait for curve work: complete hellos, and links whose tokens are to be verified. First come, first served, but
//! that nobody waits behind somebody whose listener has used up its part.

use std::collections::VecDeque;
use std::time::Duration;

use driver::{Listener, Token};

/// The place that somebody would have in a single line, who that is, and what its work costs.
type Place = (u64, Token, Duration);

/// All who wait, for each listener in a line of its own.
#[derive(Debug)]
pub(super) struct Line {
    by_listener: Vec<VecDeque<Place>>,
    next: u64,
    len: usize,
}

impl Line {
    /// Nobody waits, at so many listeners.
    pub(super) fn new(listeners: usize) -> Self {
        Self { by_listener: vec![VecDeque::new(); listeners], next: 0, len: 0 }
    }

    /// How many there are, those included who have died in the meantime.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// How many there are of a listener, those included who have died in the meantime.
    pub(super) fn len_at(&self, listener: usize) -> usize {
        self.by_listener[listener].len()
    }

    /// Somebody goes to the end, with work that costs so much.
    pub(super) fn join(&mut self, listener: Listener, token: Token, cost: Duration) {
        self.by_listener[usize::from(listener.0)].push_back((self.next, token, cost));
        self.next += 1;
        self.len += 1;
    }

    /// Those in front who do not live any more take nobody's place.
    pub(super) fn drop_dead(&mut self, lives: impl Fn(Token) -> bool) {
        for line in &mut self.by_listener {
            while line.front().is_some_and(|&(_, first, _)| !lives(first)) {
                line.pop_front();
                self.len -= 1;
            }
        }
    }

    /// The listeners by which those came who wait.
    pub(super) fn listeners(&self) -> impl Iterator<Item = usize> {
        self.by_listener.iter().enumerate().filter(|(_, line)| !line.is_empty()).map(|(listener, _)| listener)
    }

    /// Who has waited longest, of those whose listeners may be served, by which of them it came, and what its work costs.
    pub(super) fn serve(&mut self, may: impl Fn(usize) -> bool) -> Option<(usize, Token, Duration)> {
        let fronts = self.by_listener.iter().enumerate().filter(|(listener, _)| may(*listener));
        let first = fronts.filter_map(|(listener, line)| Some((line.front()?.0, listener))).min();
        let (_, listener) = first?;
        let (_, token, cost) = self.by_listener[listener].pop_front()?;
        self.len -= 1;
        Some((listener, token, cost))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(slot: u32) -> Token {
        Token { slot, generation: 1 }
    }

    fn line() -> Line {
        let mut line = Line::new(2);
        for (slot, listener) in [(0, 0), (1, 1), (2, 0), (3, 1)] {
            line.join(Listener(listener), token(slot), Duration::ZERO);
        }
        line
    }

    fn serve(line: &mut Line, may: impl Fn(usize) -> bool) -> Vec<u32> {
        std::iter::from_fn(|| line.serve(&may)).map(|(_, token, _)| token.slot).collect()
    }

    #[test]
    fn whoever_came_first_is_served_first_wherever_it_came() {
        let mut line = line();
        assert_eq!((serve(&mut line, |_| true), line.len()), (vec![0, 1, 2, 3], 0));
    }

    #[test]
    fn nobody_waits_behind_those_whose_listener_may_not_be_served() {
        let mut line = line();
        assert_eq!((serve(&mut line, |listener| listener == 1), line.len()), (vec![1, 3], 2));
        assert!(serve(&mut line, |_| false).is_empty());
        assert_eq!(serve(&mut line, |_| true), [0, 2]);
    }

    #[test]
    fn the_dead_in_front_count_no_more() {
        let mut line = line();
        line.drop_dead(|token| token.slot > 1);
        assert_eq!((line.len(), serve(&mut line, |_| true)), (2, vec![2, 3]));
    }
}
