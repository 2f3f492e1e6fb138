//! What handles have handed to a stream, until it has left this process.
//!
//! ```text
//!   Gateway::push ────► queue (bounded) ──► push that waits for credit ──────────► machine ──► batch ──► socket
//!   Gateway::deliver ─► queue (bounded) ──► parcel that waits for it, or a slot ─► machine ──► batch ──► socket
//!   Gateway::kick ────► queue (bounded) ─────────────────────────────────────────► machine ──► batch ──► socket
//!                       └────────────── open ─────────────────────────────────────────────┘    └ sealed ┘
//! ```
//!
//! Whoever handed it over was told that it was taken. So when the stream ends, everything between the two is told of:
//! what became of it is not known.

use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll};

use protocol::Undelivered;
use protocol::stream::{BackendStream, Blocked};
use protocol::wire::stream::{PushOutcome, Report};
use tokio::sync::mpsc;

use crate::bounds::Bounds;
use crate::deliveries::Room;
use crate::gateway::{Gateway, Handles, Order};
use crate::ledger::Ledger;
use crate::outcome::Outcome;
use crate::push::{Parcel, Push, Target};
use crate::sanction::Whom;
use crate::service::Event;

/// The other end of [`Handles`], and what came out of it.
#[derive(Debug)]
pub(crate) struct Handed {
    pushes: mpsc::Receiver<Push>,
    /// The push that waits for credit; while there is one, no other is taken.
    push: Option<Push>,
    parcels: mpsc::Receiver<Parcel>,
    /// The same of those that are to be delivered at least once.
    parcel: Option<Parcel>,
    orders: mpsc::Receiver<Order>,
    /// The order that woke the stream's task up.
    order: Option<Order>,
    /// Given to the machine, which has not sealed it yet.
    open: Vec<Left>,
    /// In the batch that is being written.
    sealed: Vec<Left>,
}

/// What may be taken from handles at the moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Takes {
    pub(crate) pushes: bool,
    /// Pushes that are to be delivered.
    pub(crate) parcels: bool,
    pub(crate) orders: bool,
}

/// What has been given to the machine and is worth telling of.
#[derive(Debug)]
enum Left {
    Push { number: u64 },
    Parcel { number: u64 },
    Kick(Target),
    Sanction(Whom),
}

/// Orders that handles may have waiting. They leave with the next write.
const ORDERS_MAX: usize = 64;

impl Handed {
    /// Both ends of the ways from handles to their stream.
    pub(crate) fn new(bounds: &Bounds, numbers: Arc<AtomicU64>) -> (Handles, Self) {
        let (to_pushes, pushes) = mpsc::channel(bounds.pushes_max);
        let (to_parcels, parcels) = mpsc::channel(bounds.deliveries_max);
        let (to_orders, orders) = mpsc::channel(ORDERS_MAX);
        let (push, parcel, order) = (None, None, None);
        let (open, sealed) = (Vec::new(), Vec::new());
        let handed = Self { pushes, push, parcels, parcel, orders, order, open, sealed };
        (Handles { pushes: to_pushes, parcels: to_parcels, orders: to_orders, numbers }, handed)
    }

    /// Waits until there is something that may be taken; for ever while there are no handles.
    pub(crate) async fn wait(handed: Option<&mut Self>, takes: Takes) {
        match handed {
            Some(handed) => poll_fn(|context| handed.poll(context, takes)).await,
            None => pending().await,
        }
    }

    fn poll(&mut self, context: &mut Context<'_>, takes: Takes) -> Poll<()> {
        if takes.parcels
            && self.parcel.is_none()
            && let Poll::Ready(Some(parcel)) = self.parcels.poll_recv(context)
        {
            self.parcel = Some(parcel);
            return Poll::Ready(());
        }
        if takes.pushes
            && self.push.is_none()
            && let Poll::Ready(Some(push)) = self.pushes.poll_recv(context)
        {
            self.push = Some(push);
            return Poll::Ready(());
        }
        if takes.orders
            && self.order.is_none()
            && let Poll::Ready(Some(order)) = self.orders.poll_recv(context)
        {
            self.order = Some(order);
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Gives to the stream what may be taken.
    pub(crate) fn carry_out(
        &mut self,
        takes: Takes,
        stream: &mut BackendStream,
        ledger: &Ledger,
        gateway: &Gateway,
    ) {
        // Taken first and carried out last: a push that was there before a kick goes before it, if it may go at all.
        let orders = if takes.orders { self.take_orders() } else { Vec::new() };
        if takes.pushes {
            self.deliver_waiting(stream, ledger, gateway);
            self.push_waiting(stream);
        }
        for order in orders {
            match &order {
                Order::Kick(kick) => stream.kick(&kick.frame()),
                Order::Sanction(sanction) => sanction.say(stream),
            }
            self.ordered(order);
        }
    }

    fn deliver_waiting(&mut self, stream: &mut BackendStream, ledger: &Ledger, gateway: &Gateway) {
        while ledger.has_slot(gateway)
            && let Some(parcel) = self.parcel.take().or_else(|| self.parcels.try_recv().ok())
        {
            match ledger.room(gateway, parcel.slots()) {
                Room::Now => {}
                Room::Later => return self.parcel = Some(parcel),
                Room::Never => {
                    parcel.settle(Outcome::Undelivered(Undelivered::Busy));
                    continue;
                }
            }
            match stream.push(&parcel.frame()) {
                Err(Blocked::Credit | Blocked::Pending) => return self.parcel = Some(parcel),
                Ok(()) => {
                    self.open.push(Left::Parcel { number: parcel.number });
                    ledger.sent(gateway, parcel);
                }
                Err(Blocked::NotLive) => parcel.settle(Outcome::Unknown),
                Err(Blocked::TooLarge) => parcel.settle(Outcome::Undelivered(Undelivered::TooLarge)),
            }
        }
    }

    fn push_waiting(&mut self, stream: &mut BackendStream) {
        while let Some(push) = self.next_push() {
            match stream.push(&push.frame()) {
                Err(Blocked::Credit | Blocked::Pending) => return self.push = Some(push),
                Ok(()) => self.pushed(&push),
                // The stream has ended; nothing will be heard of what is told of below.
                Err(Blocked::NotLive | Blocked::TooLarge) => self.pushed(&push),
            }
        }
    }

    /// The next push in the order in which they were handed over.
    fn next_push(&mut self) -> Option<Push> {
        self.push.take().or_else(|| self.pushes.try_recv().ok())
    }

    /// Whether a push was taken that cannot go yet.
    pub(crate) fn has_push(&self) -> bool {
        self.push.is_some() || self.parcel.is_some()
    }

    /// Orders that are there, no more than one write may take.
    fn take_orders(&mut self) -> Vec<Order> {
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
        let nothing_taken = self.push.is_none() && self.parcel.is_none() && self.order.is_none();
        nothing_taken && self.pushes.is_empty() && self.parcels.is_empty() && self.orders.is_empty()
    }

    /// The machine has taken a push. One without a number is not told of.
    fn pushed(&mut self, push: &Push) {
        if push.number != 0 {
            self.open.push(Left::Push { number: push.number });
        }
    }

    /// The machine has taken an order.
    fn ordered(&mut self, order: Order) {
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
        self.parcels.close();
        self.orders.close();
        // Nobody has seen these: each is unknown to whoever waits for it.
        self.parcel = None;
        while self.parcels.recv().await.is_some() {}
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

    /// Tells of everything that was taken and has not left this process, in its order. Returns the numbers of those pushes of them
    /// that are to be delivered, as far as the machine has them; of the others nobody keeps books yet.
    pub(crate) fn end(mut self, mut tell: impl FnMut(Event<'_>)) -> Vec<u64> {
        self.pushes.close();
        self.orders.close();
        while let Some(push) = self.next_push() {
            self.pushed(&push);
        }
        while let Some(order) = self.order.take().or_else(|| self.orders.try_recv().ok()) {
            self.ordered(order);
        }
        let mut delivering = Vec::new();
        for left in self.sealed.drain(..).chain(self.open.drain(..)) {
            match left {
                Left::Parcel { number } => delivering.push(number),
                Left::Push { number } => {
                    let outcome = PushOutcome::Unknown;
                    tell(Event::Report(Report { number, outcome, ..Report::default() }));
                }
                Left::Kick(target) => tell(Event::KickUnknown(&target)),
                Left::Sanction(whom) => tell(Event::SanctionUnknown(&whom)),
            }
        }
        delivering
    }
}
