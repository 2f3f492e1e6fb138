//! Which pushes of a session have come, which of them the application has taken, and what of that the gateway knows. SPEC.md,
//! section 8.6. No socket and no clock: whoever drives this says when something happens.
//!
//! ```text
//!  1 2 3 4 5 6 7 8 9 …
//!      │   │   │   └ the next one that may come: everything else is a repeat or leaves a gap
//!      │   │   └ received: this run of the client has them
//!      │   └ taken: the application has taken them
//!      └ kept: written where a later run finds it; the gateway is never told of more
//! ```

/// What is said in an `Ack`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ack {
    pub(crate) taken: u64,
    pub(crate) received: u64,
}

/// The pushes of one session that are delivered at least once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Receipts {
    received: u64,
    taken: u64,
    kept: u64,
    /// What was said last on this link.
    told: Ack,
    /// Whether the gateway waits for an answer.
    asked: bool,
}

/// What a push is that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The next one.
    Next,
    /// One that has come before.
    Repeat,
    /// Others are missing before it. They come again, and it behind them.
    Early,
}

/// How much there is to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    /// A little, which can wait for more.
    Some,
    /// As much as one `Ack` should say.
    Much,
    /// The gateway has asked.
    Asked,
}

/// So many pushes are acknowledged without waiting for more.
pub(crate) const MUCH: u64 = 32;

impl Receipts {
    /// Those of a session that an earlier run of the client has left: what came then and was not taken is not here any more.
    pub(crate) fn restored(taken: u64) -> Self {
        Self { received: taken, taken, kept: taken, ..Self::default() }
    }

    /// A push came.
    pub(crate) fn arrived(&mut self, sequence: u64) -> Arrival {
        if sequence <= self.received {
            return Arrival::Repeat;
        }
        if sequence != self.received + 1 {
            return Arrival::Early;
        }
        self.received = sequence;
        Arrival::Next
    }

    /// The application has taken everything up to this one.
    pub(crate) fn take(&mut self, sequence: u64) {
        self.taken = self.taken.max(sequence.min(self.received));
    }

    /// What is to be written before the gateway may be told of it.
    pub(crate) const fn taken(&self) -> u64 {
        self.taken
    }

    /// It was written that everything up to this one was taken.
    pub(crate) fn keep(&mut self, sequence: u64) {
        self.kept = self.kept.max(sequence.min(self.taken));
    }

    /// Whether something was taken that is not written.
    pub(crate) const fn has_unkept(&self) -> bool {
        self.taken > self.kept
    }

    /// The last push that came in order.
    pub(crate) const fn last_sequence(&self) -> u64 {
        self.received
    }

    /// The gateway wants to know.
    pub(crate) const fn ask(&mut self) {
        self.asked = true;
    }

    /// The session goes on with another link. What was said on the last one may not have arrived.
    pub(crate) const fn resume(&mut self) {
        self.told = Ack { taken: 0, received: 0 };
        self.asked = self.received > 0;
    }

    /// How much there is to say, or would be if what was taken were written.
    pub(crate) fn due(&self) -> Due {
        let new = (self.received - self.told.received).max(self.taken - self.told.taken);
        match new {
            _ if self.asked => Due::Asked,
            0 => Due::Nothing,
            MUCH.. => Due::Much,
            _ => Due::Some,
        }
    }

    /// Whether the gateway would learn something.
    pub(crate) fn has_news(&self) -> bool {
        self.asked || self.now() != self.told
    }

    /// Says it.
    pub(crate) fn tell(&mut self) -> Ack {
        (self.told, self.asked) = (self.now(), false);
        self.told
    }

    const fn now(&self) -> Ack {
        Ack { taken: self.kept, received: self.received }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_next_one_is_taken_in_a_repeat_is_dropped_and_nothing_overtakes_a_gap() {
        let mut receipts = Receipts::default();
        let arrivals = [1, 1, 3, 2, 1, 3, 3, u64::MAX, 0].map(|sequence| receipts.arrived(sequence));
        use Arrival::{Early, Next, Repeat};
        assert_eq!(arrivals, [Next, Repeat, Early, Next, Repeat, Next, Repeat, Early, Repeat]);
        assert_eq!(receipts.last_sequence(), 3);
    }

    #[test]
    fn what_was_taken_is_told_when_it_is_written_and_what_was_received_at_once() {
        let mut receipts = Receipts::default();
        assert_eq!((receipts.due(), receipts.has_news()), (Due::Nothing, false));
        (1..=5).for_each(|sequence| _ = receipts.arrived(sequence));
        receipts.take(9);
        assert_eq!((receipts.taken(), receipts.due()), (5, Due::Some));
        assert_eq!(receipts.tell(), Ack { taken: 0, received: 5 });
        assert_eq!((receipts.due(), receipts.has_news()), (Due::Some, false), "it is not written yet");
        receipts.keep(3);
        assert_eq!(receipts.tell(), Ack { taken: 3, received: 5 });
        receipts.keep(9);
        assert_eq!(receipts.tell(), Ack { taken: 5, received: 5 });
        assert_eq!((receipts.due(), receipts.has_news()), (Due::Nothing, false));
    }

    #[test]
    fn many_are_not_kept_waiting_and_whoever_asks_is_answered_even_if_there_is_nothing_new() {
        let mut receipts = Receipts::default();
        (1..MUCH).for_each(|sequence| _ = receipts.arrived(sequence));
        assert_eq!(receipts.due(), Due::Some);
        receipts.arrived(MUCH);
        assert_eq!(receipts.due(), Due::Much);
        receipts.tell();
        receipts.ask();
        assert_eq!((receipts.due(), receipts.has_news()), (Due::Asked, true));
        assert_eq!(receipts.tell(), Ack { taken: 0, received: MUCH });
        assert_eq!(receipts.due(), Due::Nothing);
        receipts.resume();
        assert_eq!(receipts.due(), Due::Asked, "nobody knows whether that arrived");
        receipts.take(MUCH);
        assert_eq!(Receipts::restored(7).last_sequence(), 7);
    }

    /// What happens to the pushes of a session.
    #[derive(Clone, Debug)]
    enum Event {
        /// The gateway sends one more, or any of those that it has sent.
        Sent,
        Repeated(prop::sample::Index),
        /// The next one that is missing comes again.
        Mended,
        /// The application takes so many more.
        Taken(u64),
        /// Some of it is written.
        Kept(prop::sample::Index),
        Asked,
        Told,
        /// The link is lost, and the session goes on with the next.
        Resumed,
        /// So is all that was not written.
        Crashed,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => Just(Event::Sent),
            3 => any::<prop::sample::Index>().prop_map(Event::Repeated),
            3 => Just(Event::Mended),
            3 => (1_u64..4).prop_map(Event::Taken),
            2 => any::<prop::sample::Index>().prop_map(Event::Kept),
            1 => Just(Event::Asked),
            3 => Just(Event::Told),
            1 => Just(Event::Resumed),
            1 => Just(Event::Crashed),
        ]
    }

    /// What is true, whatever the receipts say.
    #[derive(Default)]
    struct Truth {
        sent: u64,
        /// The last one the application was given in this run.
        given: u64,
        /// The last one it has taken, of those it was given.
        taken: u64,
        /// The same, as it is written.
        written: u64,
        /// What the gateway was told last on this link.
        told: Ack,
    }

    impl Truth {
        fn comes(&mut self, receipts: &mut Receipts, sequence: u64) -> Result<(), TestCaseError> {
            let is_next = sequence == self.given + 1;
            prop_assert_eq!(
                receipts.arrived(sequence) == Arrival::Next,
                is_next,
                "{} after {}",
                sequence,
                self.given
            );
            self.given += u64::from(is_next);
            Ok(())
        }

        fn happens(&mut self, receipts: &mut Receipts, event: &Event) -> Result<(), TestCaseError> {
            match event {
                Event::Sent => {
                    self.sent += 1;
                    self.comes(receipts, self.sent)?;
                }
                Event::Repeated(which) if self.sent > 0 => {
                    self.comes(receipts, 1 + which.index(self.sent as usize) as u64)?;
                }
                Event::Mended if self.given < self.sent => self.comes(receipts, self.given + 1)?,
                Event::Taken(more) => {
                    self.taken = (self.taken + more).min(self.given);
                    receipts.take(self.taken);
                }
                Event::Kept(which) => {
                    let newly = self.taken - self.written;
                    self.written += which.index(newly as usize + 1) as u64;
                    receipts.keep(self.written);
                }
                Event::Asked => receipts.ask(),
                Event::Told => {
                    let ack = receipts.tell();
                    prop_assert_eq!(ack, Ack { taken: self.written, received: self.given });
                    prop_assert!(ack.taken >= self.told.taken && ack.received >= self.told.received);
                    prop_assert!(!receipts.has_news());
                    self.told = ack;
                }
                Event::Resumed => {
                    receipts.resume();
                    self.told = Ack::default();
                }
                Event::Crashed => {
                    *receipts = Receipts::restored(self.written);
                    (self.given, self.taken, self.told) = (self.written, self.written, Ack::default());
                }
                Event::Repeated(_) | Event::Mended => {}
            }
            Ok(())
        }
    }

    proptest! {
        /// Each push reaches the application once and in order in a run of the client, and again after a crash only if
        /// nothing says that it was taken; and no `Ack` says more than what is true.
        #[test]
        fn whatever_happens_every_push_comes_once_in_order_and_nothing_untrue_is_said(events in vec(event(), 0..300)) {
            let (mut receipts, mut truth) = (Receipts::default(), Truth::default());
            for event in &events {
                truth.happens(&mut receipts, event)?;
                prop_assert_eq!(receipts.last_sequence(), truth.given);
                prop_assert_eq!(receipts.has_unkept(), truth.taken > truth.written);
                let unsaid = truth.taken > truth.told.taken || truth.given > truth.told.received;
                prop_assert!(!unsaid || receipts.due() != Due::Nothing);
            }
            while truth.given < truth.sent {
                truth.happens(&mut receipts, &Event::Mended)?;
            }
            prop_assert_eq!(receipts.last_sequence(), truth.sent, "no push is lost for good");
        }
    }
}
