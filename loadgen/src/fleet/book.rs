//! Which pushes a link has asked for, and which of them came: finds those that are missing, doubled, out of order or not ours.

use super::ledger::Verdict;

/// Pushes of one class, by number from 0. They come in their order, so that what was passed over has been lost, until it comes
/// all the same: then it was overtaken.
///
/// ```text
///   number   0 … top-1 | top … asked-1
///            came, or   awaited, but for the void ones, whose request was refused,
///            passed     and those in doubt, whose link was cut before their request was answered
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Book {
    asked: u32,
    top: u32,
    void: u32,
    /// Of the first so many it is known whether they were handed out, and how many of them were.
    settled: u32,
    handed: u32,
    /// The first and the last but one of those that may come or not.
    doubted: (u32, u32),
    received: u32,
    /// Of the received ones, those that were in doubt.
    unanswered: u32,
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

    /// The next so many requests were answered: so many of these were handed out, and the others will not come.
    pub(crate) fn settle(&mut self, count: u32, handed: u32) {
        self.settled = self.settled.saturating_add(count).min(self.asked);
        self.handed += handed;
        self.void = self.void.saturating_add(count - handed).min(self.sure());
    }

    /// The link was cut: whatever has no answer yet may come or not, and is not awaited.
    pub(crate) fn doubt(&mut self) {
        // Of those before them nobody hears any more.
        self.void += self.in_doubt();
        self.doubted = (self.settled, self.asked);
        let came =
            |number: &u32| self.seen.checked_shr(self.top - 1 - number).is_some_and(|seen| seen & 1 == 1);
        self.unanswered += (self.settled..self.top).filter(came).count() as u32;
        self.settled = self.asked;
        self.void = self.void.min(self.sure());
    }

    /// None of those that are awaited will come.
    pub(crate) fn void_all(&mut self) {
        self.void = self.sure();
    }

    /// Those that are awaited.
    pub(crate) const fn open(&self) -> u32 {
        self.sure() - self.void
    }

    /// Those that were handed out, as the answers say, and did not come.
    pub(crate) const fn lost(&self) -> u32 {
        self.handed.saturating_sub(self.received - self.unanswered)
    }

    /// Those that came although their request was not answered before its link was cut.
    pub(crate) const fn unanswered(&self) -> u32 {
        self.unanswered
    }

    /// Numbers from `top` on that are not in doubt.
    const fn sure(&self) -> u32 {
        self.asked - self.top - self.in_doubt()
    }

    const fn in_doubt(&self) -> u32 {
        let (first, end) = self.doubted;
        end.saturating_sub(if first > self.top { first } else { self.top })
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
            let in_doubt = self.in_doubt();
            self.top = number + 1;
            let was_doubted = self.enter(number);
            let sure = passed + u32::from(was_doubted) - (in_doubt - self.in_doubt());
            self.void = self.void.saturating_sub(sure).min(self.sure());
            return Verdict::InOrder;
        }
        match 1_u64.checked_shl(self.top - 1 - number) {
            Some(bit) if self.seen & bit == 0 => {
                self.seen |= bit;
                self.enter(number);
                Verdict::Misordered
            }
            // Nothing is missing that it could be.
            None if self.received < self.top => Verdict::Misordered,
            _ => Verdict::Duplicated,
        }
    }

    /// One more came; whether it was in doubt.
    fn enter(&mut self, number: u32) -> bool {
        let was_doubted = (self.doubted.0..self.doubted.1).contains(&number);
        self.received += 1;
        self.unanswered += u32::from(was_doubted);
        was_doubted
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
        book.settle(4, 0);
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

    #[test]
    fn what_had_no_answer_when_the_link_was_cut_is_counted_neither_way() {
        let mut book = asked(6);
        book.settle(3, 3);
        for number in [0, 1, 3] {
            assert_eq!(book.receive(number), Verdict::InOrder);
        }
        book.doubt();
        assert_eq!((book.open(), book.lost(), book.unanswered()), (0, 1, 1), "number 2 is missing");
        assert_eq!(book.receive(2), Verdict::Misordered);
        assert_eq!((book.ask(2), book.open(), book.lost()), (6, 2, 0));
        book.settle(2, 2);
        assert_eq!((book.receive(5), book.open(), book.unanswered()), (Verdict::InOrder, 2, 2));
        book.receive(6);
        assert_eq!((book.open(), book.lost()), (1, 1));
        book.void_all();
        assert_eq!(
            (book.open(), book.lost(), book.unanswered()),
            (0, 1, 2),
            "its session has taken it along"
        );
    }

    #[test]
    fn those_in_doubt_take_the_place_of_none_that_is_awaited() {
        let mut book = asked(5);
        book.settle(3, 3);
        book.receive(0);
        book.doubt();
        book.ask(1);
        assert_eq!(book.open(), 3, "1, 2 and 5");
        for (number, open) in [(1, 2), (2, 1), (3, 1), (4, 1), (5, 0)] {
            book.receive(number);
            assert_eq!(book.open(), open, "{number}");
        }
    }
}
