//! Which pushes a link has asked for, and which of them came: finds those that are missing, doubled, out of order or not ours.

use super::ledger::Verdict;

/// Pushes of one class, by number from 0. They come in their order, so that what was passed over has been lost, until it comes
/// all the same: then it was overtaken.
///
/// ```text
///   number   0 … top-1 | top … asked-1
///            came, or   awaited, but for the void ones,
///            passed     whose request was refused
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Book {
    asked: u32,
    top: u32,
    void: u32,
    received: u32,
    /// Which of the 64 numbers below `top` came; the lowest bit is the last one.
    seen: u64,
}

impl Book {
    /// Asks for so many more; the number of the first.
    pub(crate) fn ask(&mut self, count: u32) -> u32 {
        let first = self.asked;
        self.asked = self.asked.saturating_add(count);
        first
    }

    /// So many will not come, since their request was refused.
    pub(crate) fn void(&mut self, count: u32) {
        self.void = self.void.saturating_add(count).min(self.asked - self.top);
    }

    /// None of those that are awaited will come.
    pub(crate) fn void_all(&mut self) {
        self.void = self.asked - self.top;
    }

    /// Those that may still come.
    pub(crate) const fn open(&self) -> u32 {
        self.asked - self.top - self.void
    }

    /// Numbers of which nothing is awaited any more: the first so many.
    pub(crate) const fn top(&self) -> u32 {
        self.top
    }

    /// Enters a push that came.
    pub(crate) fn receive(&mut self, number: u64) -> Verdict {
        let Some(number) = u32::try_from(number).ok().filter(|&number| number < self.asked) else {
            return Verdict::Foreign;
        };
        if let Some(passed) = number.checked_sub(self.top) {
            self.seen = self.seen.checked_shl(passed).and_then(|seen| seen.checked_shl(1)).unwrap_or(0) | 1;
            self.void = self.void.saturating_sub(passed).min(self.asked - number - 1);
            self.top = number + 1;
            self.received += 1;
            return Verdict::InOrder;
        }
        match 1_u64.checked_shl(self.top - 1 - number) {
            Some(bit) if self.seen & bit == 0 => {
                self.seen |= bit;
                self.received += 1;
                Verdict::Misordered
            }
            // Nothing is missing that it could be.
            None if self.received < self.top => Verdict::Misordered,
            _ => Verdict::Duplicated,
        }
    }
}

/// What a link is pushed: its books by class, and how far it is with those that are to be acknowledged.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Inbox {
    pub(crate) books: [Book; 2],
    /// The last sequence that came in order.
    pub(crate) received: u64,
    /// What the gateway was told.
    pub(crate) told: u64,
    /// When that is said is set.
    pub(crate) scheduled: bool,
    /// So many pushes have left the window of a closed loop.
    pub(crate) freed: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(count: u32) -> Book {
        let mut book = Book::default();
        assert_eq!(book.ask(count), 0);
        book
    }

    #[test]
    fn pushes_in_their_order_close_the_book() {
        let mut book = asked(100);
        assert!((0..100).all(|number| book.receive(number) == Verdict::InOrder));
        assert_eq!((book.open(), book.top(), book.ask(5), book.open()), (0, 100, 100, 5));
    }

    #[test]
    fn one_that_came_before_is_a_duplicate_however_long_ago() {
        let mut book = asked(200);
        (0..150).for_each(|number| _ = book.receive(number));
        for number in [149, 86, 85, 0] {
            assert_eq!(book.receive(number), Verdict::Duplicated, "{number}");
        }
        assert_eq!(book.open(), 50);
    }

    #[test]
    fn what_was_passed_over_and_comes_after_all_was_overtaken() {
        let mut book = asked(10);
        for (number, verdict) in [
            (0, Verdict::InOrder),
            (3, Verdict::InOrder),
            (2, Verdict::Misordered),
            (2, Verdict::Duplicated),
            (3, Verdict::Duplicated),
            (1, Verdict::Misordered),
        ] {
            assert_eq!(book.receive(number), verdict, "{number}");
        }
        assert_eq!((book.received, book.open()), (4, 6));
        for passed in [62, 63, 64, 65, 1000] {
            let mut book = asked(2000);
            book.receive(0);
            book.receive(passed + 1);
            assert_eq!(book.receive(passed), Verdict::Misordered, "{passed}");
        }
    }

    #[test]
    fn one_that_was_never_asked_for_is_foreign() {
        let mut book = asked(3);
        assert_eq!([3, u64::MAX].map(|number| book.receive(number)), [Verdict::Foreign; 2]);
        assert_eq!(book.open(), 3);
    }

    #[test]
    fn what_was_refused_is_awaited_no_more_until_it_is_passed() {
        let mut book = asked(10);
        book.void(4);
        assert_eq!(book.open(), 6);
        book.receive(0);
        assert_eq!(book.open(), 5);
        book.receive(5);
        assert_eq!(
            (book.open(), book.ask(3), book.open()),
            (4, 10, 7),
            "the four that were passed were these"
        );
        book.void_all();
        assert_eq!(book.open(), 0);
        book.receive(12);
        assert_eq!(book.open(), 0);
    }
}
