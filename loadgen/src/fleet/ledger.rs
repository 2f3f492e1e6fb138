//! What a link has asked and what came back: finds answers that are lost, doubled, out of order or not ours.

/// The messages of one link, by sequence from 0. Small enough to have one per link: answers beyond the first gap are
/// bits, which bounds the messages in flight.
///
/// ```text
///   sequence   0 … floor-1 | floor | floor+1 … sent-1
///              all answered  open    bit set: answered
/// ```
///
/// `top` is where the answers that keep an order have come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ledger {
    sent: u32,
    floor: u32,
    top: u32,
    ahead: u64,
}

/// What an answer was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The answer to an open message, in order.
    InOrder,
    /// The answer to an open message, after one to a later message.
    Misordered,
    /// Answered before.
    Duplicated,
    /// Never sent.
    Foreign,
}

impl Ledger {
    /// The most messages a link may have between its first open one and its last.
    pub(crate) const IN_FLIGHT_MAX: u32 = u64::BITS;

    /// Nothing sent.
    pub(crate) const NEW: Self = Self { sent: 0, floor: 0, top: 0, ahead: 0 };

    /// Messages that were sent.
    pub(crate) const fn sent(&self) -> u32 {
        self.sent
    }

    /// Messages that are not answered.
    pub(crate) const fn open(&self) -> u32 {
        self.sent - self.floor - self.ahead.count_ones()
    }

    /// Messages that are not answered, of the first so many.
    pub(crate) fn open_among(&self, first: u32) -> u32 {
        let span = first.min(self.sent).saturating_sub(self.floor);
        let answered = self.ahead & 1_u64.checked_shl(span).map_or(u64::MAX, |bit| bit - 1);
        span - answered.count_ones()
    }

    /// Messages that are answered, each counted once.
    pub(crate) const fn answered(&self) -> u32 {
        self.floor + self.ahead.count_ones()
    }

    /// How many more may be sent when `most` may be open at once.
    pub(crate) fn room(&self, most: u32) -> u32 {
        let span = Self::IN_FLIGHT_MAX - (self.sent - self.floor);
        most.saturating_sub(self.open()).min(span)
    }

    /// Takes the next sequence. There must be [`Ledger::room`].
    pub(crate) fn send(&mut self) -> u32 {
        debug_assert!(self.sent - self.floor < Self::IN_FLIGHT_MAX, "room was asked for before");
        self.sent += 1;
        self.sent - 1
    }

    /// Enters an answer. `ordered`: it came all the way from a backend, in the order of the requests. What the gateway
    /// says itself, that it refuses or knows no answer, may come at any time before the answers of others.
    pub(crate) fn receive(&mut self, sequence: u32, ordered: bool) -> Verdict {
        if sequence >= self.sent {
            return Verdict::Foreign;
        }
        let Some(bit) = sequence.checked_sub(self.floor).map(|distance| 1_u64 << distance) else {
            return Verdict::Duplicated;
        };
        if self.ahead & bit != 0 {
            return Verdict::Duplicated;
        }
        self.ahead |= bit;
        let closed = self.ahead.trailing_ones();
        self.floor += closed;
        self.ahead = self.ahead.checked_shr(closed).unwrap_or(0);
        if !ordered {
            return Verdict::InOrder;
        }
        let in_order = sequence >= self.top;
        self.top = self.top.max(sequence + 1);
        if in_order { Verdict::InOrder } else { Verdict::Misordered }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_sent(count: u32) -> Ledger {
        let mut ledger = Ledger::NEW;
        for sequence in 0..count {
            assert_eq!(ledger.send(), sequence);
        }
        ledger
    }

    #[test]
    fn answers_in_order_close_the_ledger() {
        let mut ledger = with_sent(64);
        assert_eq!((ledger.room(64), ledger.open()), (0, 64));
        for sequence in 0..64 {
            assert_eq!(ledger.receive(sequence, true), Verdict::InOrder);
        }
        assert_eq!((ledger.open(), ledger.answered(), ledger.room(3)), (0, 64, 3));
    }

    #[test]
    fn an_answer_that_was_overtaken_is_misordered_and_still_counts() {
        let mut ledger = with_sent(3);
        assert_eq!(ledger.receive(1, true), Verdict::InOrder);
        assert_eq!(ledger.receive(2, true), Verdict::InOrder);
        assert_eq!(ledger.open(), 1);
        assert_eq!(ledger.receive(0, true), Verdict::Misordered);
        assert_eq!((ledger.open(), ledger.answered()), (0, 3));
    }

    #[test]
    fn a_second_answer_is_a_duplicate_on_either_side_of_a_gap() {
        let mut ledger = with_sent(4);
        for sequence in [0, 2] {
            assert_eq!(ledger.receive(sequence, true), Verdict::InOrder);
            assert_eq!(ledger.receive(sequence, true), Verdict::Duplicated);
        }
        assert_eq!(ledger.open(), 2, "messages 1 and 3");
        assert_eq!([0, 1, 2, 3, 4, 9].map(|first| ledger.open_among(first)), [0, 0, 1, 1, 2, 2]);
    }

    #[test]
    fn an_answer_to_nothing_is_foreign() {
        assert_eq!(with_sent(2).receive(2, true), Verdict::Foreign);
    }

    #[test]
    fn a_lost_answer_stays_open_and_holds_the_span() {
        let mut ledger = with_sent(64);
        for sequence in 1..64 {
            ledger.receive(sequence, true);
        }
        assert_eq!((ledger.open(), ledger.room(64)), (1, 0));
        assert_eq!([0, 1, 64, 65].map(|first| ledger.open_among(first)), [0, 1, 1, 1]);
        assert_eq!(ledger.receive(0, true), Verdict::Misordered);
        assert_eq!(ledger.room(64), 64);
    }

    #[test]
    fn what_the_gateway_says_itself_is_out_of_no_order() {
        let mut ledger = with_sent(4);
        assert_eq!(ledger.receive(2, false), Verdict::InOrder);
        assert_eq!(ledger.receive(0, true), Verdict::InOrder, "the refusal overtook it, and no answer did");
        assert_eq!(ledger.receive(3, true), Verdict::InOrder);
        assert_eq!(ledger.receive(2, false), Verdict::Duplicated);
        assert_eq!(ledger.receive(1, false), Verdict::InOrder);
        assert_eq!((ledger.open(), ledger.answered()), (0, 4));
    }
}
