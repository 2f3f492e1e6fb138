//! Pushes on their way from the link to the application.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use protocol::hidden::Hidden;
use protocol::wire::frame;
use tokio::sync::mpsc;

/// A message from a backend.
#[derive(Clone, PartialEq, Eq)]
pub struct Push {
    /// The backend's name for it, at most 16 bytes. Who stores messages deduplicates by it.
    pub id: Bytes,
    /// The message.
    pub payload: Bytes,
    /// The room it came through; empty outside rooms.
    pub room: Bytes,
}

/// The message is its user's own, and stays out of logs.
impl fmt::Debug for Push {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Push")
            .field("id", &self.id)
            .field("payload", &Hidden(&self.payload))
            .field("room", &self.room)
            .finish()
    }
}

/// The pushes of a client, in the order they came.
///
/// They wait in a queue of [`Config::pushes_max`](crate::Config::pushes_max). When it is full the client stops reading
/// its link altogether, so that TCP makes the gateway wait. Then responses wait too, and a gateway that waits for too
/// long closes the link with `slow_reader`. So take pushes in a task of their own, or drop this if you want none: then
/// they are discarded.
#[derive(Debug)]
pub struct Pushes(mpsc::Receiver<Push>);

/// Pushes on their way to the application.
#[derive(Debug)]
pub(crate) struct Inbox {
    queue: mpsc::Sender<Push>,
    /// The one that found the queue full.
    stuck: Option<Push>,
}

impl Pushes {
    pub(crate) const fn new(queue: mpsc::Receiver<Push>) -> Self {
        Self(queue)
    }

    /// The next push; `None` when the client has ended and all were taken.
    pub async fn next(&mut self) -> Option<Push> {
        self.0.recv().await
    }
}

impl Stream for Pushes {
    type Item = Push;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Push>> {
        self.0.poll_recv(context)
    }
}

impl Push {
    pub(crate) fn new(push: &frame::Push<'_>) -> Self {
        Self {
            id: Bytes::copy_from_slice(push.id),
            payload: Bytes::copy_from_slice(push.payload),
            room: Bytes::copy_from_slice(push.room),
        }
    }
}

impl Inbox {
    pub(crate) const fn new(queue: mpsc::Sender<Push>) -> Self {
        Self { queue, stuck: None }
    }

    pub(crate) const fn is_full(&self) -> bool {
        self.stuck.is_some()
    }

    /// Without a receiver pushes are discarded: the application has said that it wants none. So are those behind one
    /// that is stuck, which only come on a link that is over.
    pub(crate) fn put(&mut self, push: Push) {
        if self.is_full() {
            return;
        }
        if let Err(mpsc::error::TrySendError::Full(push)) = self.queue.try_send(push) {
            self.stuck = Some(push);
        }
    }

    /// Waits until the stuck push has found its place. Nothing is lost if the wait is given up.
    pub(crate) async fn room(&mut self) {
        let permit = self.queue.reserve().await;
        if let (Some(push), Ok(permit)) = (self.stuck.take(), permit) {
            permit.send(push);
        }
    }
}
