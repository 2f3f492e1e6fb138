//! A request on its way from a handle to the link, and back with its outcome.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::request::{Outcome, Reason, Request};

/// One sending of a request, or as many as it takes.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) request: Request,
    /// Whether it goes out again on the next link when one ends before its answer.
    pub(crate) persists: bool,
    /// The how-manieth of all requests that were sent; 0: it was not. Those that come back stand in this order.
    pub(crate) order: u64,
    /// A link ended with it, so that it may have been done.
    in_doubt: bool,
    stage: Arc<Stage>,
    /// Its bytes of the queue, until it is sent.
    place: Option<OwnedSemaphorePermit>,
    answer: oneshot::Sender<Settled>,
}

/// How an ask ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) outcome: Outcome,
    /// Whether an earlier sending of the same ask may have been done, whatever the outcome says of the last one.
    pub(crate) in_doubt: bool,
}

/// Whether an ask has left for a gateway or was given up before that: one of both, for good.
#[derive(Debug, Default)]
pub(crate) struct Stage(AtomicU8);

const WAITS: u8 = 0;
const LEFT: u8 = 1;
const GIVEN_UP: u8 = 2;

impl Stage {
    /// It is about to leave, again perhaps; `false` if it was given up.
    fn leave(&self) -> bool {
        self.pass_to(LEFT)
    }

    /// Nobody waits for it any more; `false` if it has left.
    pub(crate) fn give_up(&self) -> bool {
        self.pass_to(GIVEN_UP)
    }

    fn pass_to(&self, next: u8) -> bool {
        let found = self.0.compare_exchange(WAITS, next, Ordering::AcqRel, Ordering::Acquire);
        found.map_or_else(|found| found == next, |_| true)
    }
}

impl Ask {
    pub(crate) fn new(
        request: Request,
        persists: bool,
        stage: Arc<Stage>,
        place: Option<OwnedSemaphorePermit>,
    ) -> (Self, oneshot::Receiver<Settled>) {
        let (answer, settled) = oneshot::channel();
        (Self { request, persists, order: 0, in_doubt: false, stage, place, answer }, settled)
    }

    /// Whether nobody waits for the outcome any more.
    pub(crate) fn is_given_up(&self) -> bool {
        self.answer.is_closed()
    }

    /// Waits until nobody waits for the outcome any more.
    pub(crate) async fn given_up(&mut self) {
        self.answer.closed().await;
    }

    /// It goes out now; `false` if it was given up.
    pub(crate) fn leave(&mut self) -> bool {
        let leaves = self.stage.leave();
        self.place = None;
        leaves
    }

    /// Its link has ended: nobody knows what became of it. Gives it back if it is to go out again.
    pub(crate) fn lose(mut self) -> Option<Self> {
        if self.persists && !self.is_given_up() {
            (self.in_doubt, self.request.again) = (true, true);
            return Some(self);
        }
        self.end(Outcome::lost());
        None
    }

    /// Tells whoever waits.
    pub(crate) fn end(self, outcome: Outcome) {
        // The application may have stopped waiting.
        _ = self.answer.send(Settled { outcome, in_doubt: self.in_doubt });
    }

    /// The client has ended before it was sent again, or at all.
    pub(crate) fn end_unsent(self) {
        let outcome = if self.in_doubt { Outcome::lost() } else { Outcome::refused(Reason::Ended) };
        self.end(outcome);
    }

    /// Takes the place of one of the same request that is open and that nobody waits for.
    pub(crate) fn follow(mut self, open: &mut Self) {
        self.leave();
        (self.order, self.in_doubt) = (open.order, open.in_doubt);
        *open = self;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_left_cannot_be_given_up_and_what_was_given_up_does_not_leave() {
        let left = Stage::default();
        assert!(left.leave() && left.leave(), "it may leave again");
        assert!(!left.give_up());
        let given_up = Stage::default();
        assert!(given_up.give_up() && given_up.give_up());
        assert!(!given_up.leave());
    }
}
