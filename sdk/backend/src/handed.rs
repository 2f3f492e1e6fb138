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

use crate::gateway::{Handles, Kick, Push, Target};
use crate::service::Event;

/// The other end of [`Handles`], and what came out of it.
#[derive(Debug)]
pub(crate) struct Handed {
    pushes: mpsc::Receiver<Push>,
    /// The push that waits for credit; while there is one, no other is taken.
    push: Option<Push>,
    kicks: mpsc::Receiver<Kick>,
    /// The kick that woke the stream's task up.
    kick: Option<Kick>,
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
}

/// Kicks that handles may have waiting. They leave with the next write.
const KICKS_MAX: usize = 64;

impl Handed {
    /// Both ends of the ways from handles to their stream.
    pub(crate) fn new(pushes_max: usize) -> (Handles, Self) {
        let (to_pushes, pushes) = mpsc::channel(pushes_max);
        let (to_kicks, kicks) = mpsc::channel(KICKS_MAX);
        let (open, sealed) = (Vec::new(), Vec::new());
        let handed = Self { pushes, push: None, kicks, kick: None, open, sealed };
        (Handles { pushes: to_pushes, kicks: to_kicks }, handed)
    }

    /// Waits until there is something that may be taken; for ever while there are no handles.
    pub(crate) async fn wait(handed: Option<&mut Self>, pushes: bool, kicks: bool) {
        match handed {
            Some(handed) => poll_fn(|context| handed.poll(context, pushes, kicks)).await,
            None => pending().await,
        }
    }

    fn poll(&mut self, context: &mut Context<'_>, pushes: bool, kicks: bool) -> Poll<()> {
        if pushes
            && self.push.is_none()
            && let Poll::Ready(Some(push)) = self.pushes.poll_recv(context)
        {
            self.push = Some(push);
            return Poll::Ready(());
        }
        if kicks
            && self.kick.is_none()
            && let Poll::Ready(Some(kick)) = self.kicks.poll_recv(context)
        {
            self.kick = Some(kick);
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

    /// Kicks that are there, no more than one write may take.
    pub(crate) fn take_kicks(&mut self) -> Vec<Kick> {
        let mut kicks = Vec::from_iter(self.kick.take());
        while kicks.len() < KICKS_MAX
            && let Ok(kick) = self.kicks.try_recv()
        {
            kicks.push(kick);
        }
        kicks
    }

    /// Whether nothing waits to be taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.push.is_none() && self.pushes.is_empty() && self.kick.is_none() && self.kicks.is_empty()
    }

    /// The machine has taken a push. One without a number is not told of.
    pub(crate) fn pushed(&mut self, push: &Push) {
        if push.number != 0 {
            self.open.push(Left::Push { number: push.number });
        }
    }

    /// The machine has taken a kick.
    pub(crate) fn kicked(&mut self, kick: Kick) {
        self.open.push(Left::Kick(kick.target));
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
        self.kicks.close();
        if let Some(push) = self.push.take() {
            self.pushed(&push);
        }
        while let Some(push) = self.pushes.recv().await {
            self.pushed(&push);
        }
        if let Some(kick) = self.kick.take() {
            self.kicked(kick);
        }
        while let Some(kick) = self.kicks.recv().await {
            self.kicked(kick);
        }
    }

    /// Tells of everything that was taken and has not left this process, in its order.
    pub(crate) fn end(mut self, mut tell: impl FnMut(Event<'_>)) {
        self.pushes.close();
        self.kicks.close();
        while let Some(push) = self.next_push() {
            self.pushed(&push);
        }
        while let Some(kick) = self.kick.take().or_else(|| self.kicks.try_recv().ok()) {
            self.kicked(kick);
        }
        for left in self.sealed.drain(..).chain(self.open.drain(..)) {
            match left {
                Left::Push { number } => {
                    tell(Event::Report(Report { number, outcome: PushOutcome::Unknown, reason: 0 }));
                }
                Left::Kick(target) => tell(Event::KickUnknown(&target)),
            }
        }
    }
}
