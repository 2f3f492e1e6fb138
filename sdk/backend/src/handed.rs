//! What handles have handed to a stream, until it has left this process.
//!
//! ```text
//!   Gateway::push ──► queue (bounded) ──► push that waits for credit ──► machine ──► batch ──► socket
//!   Gateway::kick ──► queue (bounded) ─────────────────────────────────► machine ──► batch ──► socket
//!                     └────────────── open ──────────────────────────────────────┘    └ sealed ┘
//! ```
//!
//! Whoever handed it over was told that it was taken. So when the stream ends, everything between the two is told of:
//! what became of it is not known.

use std::future::{pending, poll_fn};
use std::task::{Context, Poll};

use protocol::wire::stream::{PushOutcome, Report};
use tokio::sync::mpsc;

use crate::gateway::{Handles, Order, Push, Target};
use crate::sanction::Whom;
use crate::service::Event;

/// The other end of [`Handles`], and what came out of it.
#[derive(Debug)]
pub(crate) struct Handed {
    pushes: mpsc::Receiver<Push>,
    /// The push that waits for credit; while there is one, no other is taken.
    push: Option<Push>,
    orders: mpsc::Receiver<Order>,
    /// The order that woke the stream's task up.
    order: Option<Order>,
    /// Given to the machine, which has not sealed it yet.
    open: Vec<Left>,
    /// In the batch that is being written.
    sealed: Vec<Left>,
}

/// What has been given to the machine and is worth telling of.
#[derive(Debug)]
enum Left {
    Push { number: u64 },
    Kick(Target),
    Sanction(Whom),
}

/// Orders that handles may have waiting. They leave with the next write.
const ORDERS_MAX: usize = 64;

impl Handed {
    /// Both ends of the ways from handles to their stream.
    pub(crate) fn new(pushes_max: usize) -> (Handles, Self) {
        let (to_pushes, pushes) = mpsc::channel(pushes_max);
        let (to_orders, orders) = mpsc::channel(ORDERS_MAX);
        let (open, sealed) = (Vec::new(), Vec::new());
        let handed = Self { pushes, push: None, orders, order: None, open, sealed };
        (Handles { pushes: to_pushes, orders: to_orders }, handed)
    }

    /// Waits until there is something that may be taken; for ever while there are no handles.
    pub(crate) async fn wait(handed: Option<&mut Self>, pushes: bool, orders: bool) {
        match handed {
            Some(handed) => poll_fn(|context| handed.poll(context, pushes, orders)).await,
            None => pending().await,
        }
    }

    fn poll(&mut self, context: &mut Context<'_>, pushes: bool, orders: bool) -> Poll<()> {
        if pushes
            && self.push.is_none()
            && let Poll::Ready(Some(push)) = self.pushes.poll_recv(context)
        {
            self.push = Some(push);
            return Poll::Ready(());
        }
        if orders
            && self.order.is_none()
            && let Poll::Ready(Some(order)) = self.orders.poll_recv(context)
        {
            self.order = Some(order);
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// The next push in the order in which they were handed over.
    pub(crate) fn next_push(&mut self) -> Option<Push> {
        self.push.take().or_else(|| self.pushes.try_recv().ok())
    }

    /// The push that was taken last cannot go yet.
    pub(crate) fn put_back(&mut self, push: Push) {
        self.push = Some(push);
    }

    /// Whether a push was taken that cannot go yet.
    pub(crate) fn has_push(&self) -> bool {
        self.push.is_some()
    }

    /// Orders that are there, no more than one write may take.
    pub(crate) fn take_orders(&mut self) -> Vec<Order> {
        let mut orders = Vec::from_iter(self.order.take());
        while orders.len() < ORDERS_MAX
            && let Ok(order) = self.orders.try_recv()
        {
            orders.push(order);
        }
        orders
    }

    /// Whether nothing waits to be taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.push.is_none() && self.pushes.is_empty() && self.order.is_none() && self.orders.is_empty()
    }

    /// The machine has taken a push. One without a number is not told of.
    pub(crate) fn pushed(&mut self, push: &Push) {
        if push.number != 0 {
            self.open.push(Left::Push { number: push.number });
        }
    }

    /// The machine has taken an order.
    pub(crate) fn ordered(&mut self, order: Order) {
        self.open.push(match order {
            Order::Kick(kick) => Left::Kick(kick.target),
            Order::Sanction(sanction) => Left::Sanction(sanction.whom),
        });
    }

    /// The batch is through, and the next one has everything in it that the machine had.
    pub(crate) fn sealed(&mut self) {
        self.sealed.clear();
        std::mem::swap(&mut self.open, &mut self.sealed);
    }

    /// The stream is over: nothing more is taken from handles. Waits for those that have been promised a place in a queue
    /// and have not had their turn since.
    pub(crate) async fn close(&mut self) {
        self.pushes.close();
        self.orders.close();
        if let Some(push) = self.push.take() {
            self.pushed(&push);
        }
        while let Some(push) = self.pushes.recv().await {
            self.pushed(&push);
        }
        if let Some(order) = self.order.take() {
            self.ordered(order);
        }
        while let Some(order) = self.orders.recv().await {
            self.ordered(order);
        }
    }

    /// Tells of everything that was taken and has not left this process, in its order.
    pub(crate) fn end(mut self, mut tell: impl FnMut(Event<'_>)) {
        self.pushes.close();
        self.orders.close();
        while let Some(push) = self.next_push() {
            self.pushed(&push);
        }
        while let Some(order) = self.order.take().or_else(|| self.orders.try_recv().ok()) {
            self.ordered(order);
        }
        for left in self.sealed.drain(..).chain(self.open.drain(..)) {
            match left {
                Left::Push { number } => {
                    let outcome = PushOutcome::Unknown;
                    tell(Event::Report(Report { number, outcome, ..Report::default() }));
                }
                Left::Kick(target) => tell(Event::KickUnknown(&target)),
                Left::Sanction(whom) => tell(Event::SanctionUnknown(&whom)),
            }
        }
    }
}
