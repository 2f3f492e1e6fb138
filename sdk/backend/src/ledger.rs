//! The books of open pushes, shared by all streams of a server, and the time in which they are to be looked at.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use protocol::Time;
use protocol::wire::stream::Report;
use tokio::sync::{Notify, oneshot};
use tokio::time::sleep_until;

use crate::bounds::Bounds;
use crate::clock::Clock;
use crate::deliveries::{Deliveries, Limits, Room, Share, Wanted};
use crate::gateway::Gateway;
use crate::outcome::Outcome;
use crate::push::{DELIVERED_FROM, Parcel};

/// One per server. Whatever it is told of a stream it is told with that stream's handle.
#[derive(Debug)]
pub(crate) struct Ledger {
    books: Mutex<Deliveries<Waiter>>,
    /// A stream is over, and something may have to be done earlier than before.
    moved: Notify,
    numbers: Arc<AtomicU64>,
}

type Waiter = oneshot::Sender<Outcome>;

/// Whoever dropped its handle is not told.
fn settle(waiter: Waiter, outcome: Outcome) {
    _ = waiter.send(outcome);
}

impl Ledger {
    pub(crate) fn new(bounds: &Bounds) -> Self {
        let &Bounds { open_max, unheard_max, streams_max, .. } = bounds;
        let limits = Limits { open_max, unheard_max, waiting_max: streams_max };
        let numbers = Arc::new(DELIVERED_FROM.into());
        Self { books: Mutex::new(Deliveries::new(limits)), moved: Notify::new(), numbers }
    }

    /// Numbers of pushes, none of which comes twice.
    pub(crate) fn numbers(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.numbers)
    }

    /// A stream is live.
    pub(crate) fn opened(&self, gateway: &Gateway, now: Time) {
        let (id, place) = (gateway.worker_id(), gateway.place());
        self.lock().opened(id, place, gateway.id(), gateway.report_slots(), now, &mut settle);
        self.moved.notify_one();
    }

    /// Whether a push may be sent.
    pub(crate) fn has_slot(&self, gateway: &Gateway) -> bool {
        gateway.report_slots() != 0 && self.room(gateway, 1) == Room::Now
    }

    /// Whether one that takes so many slots may.
    pub(crate) fn room(&self, gateway: &Gateway, slots: usize) -> Room {
        self.lock().room(gateway.worker_id(), gateway.id(), slots)
    }

    /// A push was given to the stream.
    pub(crate) fn sent(&self, gateway: &Gateway, parcel: Parcel) {
        let Parcel { push, number, rule, waiters } = parcel;
        let users = push.users().iter().cloned().chain(std::iter::repeat(Bytes::new()));
        let mut books = self.lock();
        for (waiter, user) in waiters.into_iter().zip(users) {
            let wanted = Wanted { rule, ttl: push.ttl, waiter };
            let share = Share { number, user };
            books.sent(gateway.worker_id(), gateway.id(), share, wanted, &mut settle);
        }
    }

    /// A report came. Whether it is the application's: it is new, and of a push that the application has numbered.
    pub(crate) fn reported(&self, gateway: &Gateway, report: &Report<'_>) -> bool {
        if report.report == 0 && report.number < DELIVERED_FROM {
            return true;
        }
        let is_new = self.lock().report(gateway.worker_id(), report, &mut settle);
        is_new && report.number < DELIVERED_FROM
    }

    /// What is to be acknowledged since the last time.
    pub(crate) fn acknowledge(&self, gateway: &Gateway) -> Option<u64> {
        self.lock().acknowledge(gateway.worker_id(), gateway.id())
    }

    /// A stream is over, and these pushes of it have not left.
    pub(crate) fn ended(&self, gateway: &Gateway, not_left: &[u64], now: Time) {
        self.lock().ended(gateway.worker_id(), gateway.id(), not_left, now, &mut settle);
        self.moved.notify_one();
    }

    /// Waits until something is due, or may be due earlier than before; for ever if nothing is.
    pub(crate) async fn wait(&self, clock: Clock) {
        let deadline = self.lock().deadline();
        match deadline {
            Some(deadline) => tokio::select! {
                () = sleep_until(clock.instant(deadline)) => {}
                () = self.moved.notified() => {}
            },
            None => self.moved.notified().await,
        }
    }

    /// Does what is due.
    pub(crate) fn expire(&self, now: Time) {
        self.lock().expire(now, &mut settle);
    }

    /// The server is over.
    pub(crate) fn end(&self) {
        self.lock().end(&mut settle);
    }

    fn lock(&self) -> MutexGuard<'_, Deliveries<Waiter>> {
        // Nothing that is done under the lock panics half way.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
