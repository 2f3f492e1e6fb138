//! Pushes on their way from the link to the application, and what it has taken on its way back.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use protocol::hidden::Hidden;
use protocol::wire::frame;
use tokio::sync::{mpsc, watch};

use crate::seen::SeenIds;

/// A message from a backend.
#[derive(Clone, PartialEq, Eq)]
pub struct Push {
    /// The backend's name for it, at most 16 bytes. Who stores messages deduplicates by it: [`SeenIds`].
    pub id: Bytes,
    /// The message.
    pub payload: Bytes,
    /// The room it came through; empty outside rooms.
    pub room: Bytes,
    /// 0: delivered at most once. Else it is delivered at least once: its number in the session, from 1.
    pub sequence: u64,
    /// Of one that is part of a package: how many parts right before it are missing for good.
    pub gap: u32,
}

/// The message is its user's own, and stays out of logs.
impl fmt::Debug for Push {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Push")
            .field("id", &self.id)
            .field("payload", &Hidden(&self.payload))
            .field("room", &self.room)
            .field("sequence", &self.sequence)
            .field("gap", &self.gap)
            .finish()
    }
}

/// The pushes of a client, in the order they came.
///
/// They wait in a queue of [`Config::pushes_max`](crate::Config::pushes_max). When it is full the client stops reading
/// its link altogether, so that TCP makes the gateway wait. Then responses wait too, and a gateway that waits for too
/// long closes the link, with `slow_reader` or `ack_timeout`. So take pushes in a task of their own, or drop this if you want none:
/// then they are discarded.
///
/// # What is taken
///
/// Pushes that are delivered at least once ([`Push::sequence`] is not 0) come again, on the next link or at the next start of the
/// process, until they are **taken**. Only then is the gateway told so, and the backend that the push was delivered.
///
/// * A push is taken when the application **asks for the one after it**, by [`Pushes::next`] or as a `Stream`: by then it has done
///   with it whatever has to be done before it may be forgotten, such as to store it. A push that was only given out is not taken.
/// * [`Pushes::taken`] says so earlier: before a long wait, or before the client is closed or put to sleep.
/// * After [`Pushes::take_by_hand`] nothing but [`Pushes::taken`] does, so that several can be stored at once.
///
/// That is said of all that was given out so far, never of a single one before others. The gateway learns it within a tenth of a
/// second or so, and with a [`Store`](crate::Store) not before it is written there. If the process ends in between, the push
/// comes again.
///
/// Nothing is taken by dropping this. Pushes that come afterwards are discarded, and never count as taken: the backend is told in
/// the end that they were not delivered.
#[derive(Debug)]
pub struct Pushes {
    queue: mpsc::Receiver<Delivery>,
    taken: watch::Sender<Mark>,
    seen: Arc<dyn SeenIds>,
    /// The last one that was given out and is not taken yet.
    given: Option<Mark>,
    /// The names of those that were given out and are not taken yet, the oldest first.
    ids: VecDeque<Bytes>,
    by_hand: bool,
}

/// Names that are remembered until they are taken; of more the oldest are forgotten, and their pushes may be shown twice.
const IDS_MAX: usize = 65_536;

/// The place of a push that is delivered at least once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Which of this client's sessions it is, from 1.
    pub(crate) session: u64,
    pub(crate) sequence: u64,
}

/// A push on its way to the application.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) push: Push,
    /// As in [`Mark`].
    pub(crate) session: u64,
}

/// Pushes on their way to the application.
#[derive(Debug)]
pub(crate) struct Inbox {
    queue: mpsc::Sender<Delivery>,
    /// The one that found the queue full.
    stuck: Option<Delivery>,
}

impl Pushes {
    /// With what comes, and where it is told what was taken.
    pub(crate) fn new(
        queue: mpsc::Receiver<Delivery>,
        taken: watch::Sender<Mark>,
        seen: Arc<dyn SeenIds>,
    ) -> Self {
        Self { queue, taken, seen, given: None, ids: VecDeque::new(), by_hand: false }
    }

    /// The next push; `None` when the client has ended and all were given out. The one before is taken now, unless that is done
    /// [by hand](Pushes::take_by_hand). Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Push> {
        std::future::poll_fn(|context| self.poll(context)).await
    }

    /// All pushes that were given out so far are taken.
    pub fn taken(&mut self) {
        for id in self.ids.drain(..) {
            self.seen.insert(&id);
        }
        if let Some(mark) = self.given.take() {
            self.taken.send_replace(mark);
        }
    }

    /// From now on pushes are taken by [`Pushes::taken`] alone. Whoever forgets it gets them all again.
    pub const fn take_by_hand(&mut self) {
        self.by_hand = true;
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Push>> {
        if !self.by_hand {
            self.taken();
        }
        loop {
            let Some(Delivery { push, session }) = ready!(self.queue.poll_recv(context)) else {
                return Poll::Ready(None);
            };
            let Push { sequence: sequence @ 1.., id, .. } = &push else { return Poll::Ready(Some(push)) };
            let is_repeat = !id.is_empty() && (self.ids.contains(id) || self.seen.contains(id));
            let others = self.given.replace(Mark { session, sequence: *sequence }).is_some();
            if !is_repeat {
                self.remember(id.clone());
                return Poll::Ready(Some(push));
            }
            self.seen.repeated(id, *sequence);
            if !others {
                // It stands before nothing that is not taken.
                self.taken();
            }
        }
    }

    fn remember(&mut self, id: Bytes) {
        if id.is_empty() {
            return;
        }
        if self.ids.len() == IDS_MAX {
            self.ids.pop_front();
        }
        self.ids.push_back(id);
    }
}

impl Stream for Pushes {
    type Item = Push;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Push>> {
        self.poll(context)
    }
}

impl Push {
    pub(crate) fn new(push: &frame::Push<'_>, sequence: u64) -> Self {
        Self {
            id: Bytes::copy_from_slice(push.id),
            payload: Bytes::copy_from_slice(push.payload),
            room: Bytes::copy_from_slice(push.room),
            sequence,
            gap: push.gap,
        }
    }
}

impl Inbox {
    pub(crate) const fn new(queue: mpsc::Sender<Delivery>) -> Self {
        Self { queue, stuck: None }
    }

    /// Whether nothing more can be put in.
    pub(crate) const fn is_full(&self) -> bool {
        self.stuck.is_some()
    }

    /// Without a receiver pushes are discarded: the application has said that it wants none. So are those behind one
    /// that is stuck, which only come on a link that is over.
    pub(crate) fn put(&mut self, delivery: Delivery) {
        if self.is_full() {
            return;
        }
        if let Err(mpsc::error::TrySendError::Full(delivery)) = self.queue.try_send(delivery) {
            self.stuck = Some(delivery);
        }
    }

    /// Waits until the stuck push has found its place. Nothing is lost if the wait is given up.
    pub(crate) async fn room(&mut self) {
        let permit = self.queue.reserve().await;
        if let (Some(delivery), Ok(permit)) = (self.stuck.take(), permit) {
            permit.send(delivery);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seen::RecentIds;

    struct Ends {
        inbox: Inbox,
        pushes: Pushes,
        taken: watch::Receiver<Mark>,
        seen: Arc<RecentIds>,
    }

    fn ends() -> Ends {
        let (queue, pushes) = mpsc::channel(16);
        let (told, taken) = watch::channel(Mark::default());
        let seen = Arc::new(RecentIds::default());
        let pushes = Pushes::new(pushes, told, Arc::clone(&seen) as Arc<dyn SeenIds>);
        Ends { inbox: Inbox::new(queue), pushes, taken, seen }
    }

    impl Ends {
        fn put(&mut self, session: u64, sequence: u64, id: &'static [u8]) {
            let push = Push { id: id.into(), payload: Bytes::new(), room: Bytes::new(), sequence, gap: 0 };
            self.inbox.put(Delivery { push, session });
        }

        /// The sequence and the id of the next one, which is there.
        async fn next(&mut self) -> (u64, Bytes) {
            let push = self.pushes.next().await.expect("one is there");
            (push.sequence, push.id)
        }

        fn taken(&self) -> (u64, u64) {
            let mark = *self.taken.borrow();
            (mark.session, mark.sequence)
        }

        /// Asks for one more, which is not there.
        fn asks_for_more(&mut self) {
            let mut context = Context::from_waker(std::task::Waker::noop());
            assert!(self.pushes.poll(&mut context).is_pending());
        }
    }

    #[tokio::test]
    async fn a_push_is_taken_when_the_next_one_is_asked_for_and_not_when_it_is_given_out() {
        let mut ends = ends();
        ends.put(1, 1, b"a");
        ends.put(1, 2, b"");
        assert_eq!(ends.next().await, (1, "a".into()));
        assert_eq!((ends.taken(), ends.seen.contains(b"a")), ((0, 0), false), "it may not be stored yet");
        assert_eq!(ends.next().await, (2, "".into()));
        assert_eq!((ends.taken(), ends.seen.contains(b"a")), ((1, 1), true));
        ends.asks_for_more();
        assert_eq!(ends.taken(), (1, 2), "though none is there yet");
    }

    #[tokio::test]
    async fn by_hand_all_that_were_given_out_are_taken_together() {
        let mut ends = ends();
        ends.pushes.take_by_hand();
        for sequence in 1..=3 {
            ends.put(1, sequence, b"");
            assert_eq!(ends.next().await.0, sequence);
        }
        ends.asks_for_more();
        assert_eq!(ends.taken(), (0, 0));
        ends.pushes.taken();
        assert_eq!(ends.taken(), (1, 3));
    }

    #[tokio::test]
    async fn a_push_that_was_taken_is_not_shown_in_another_session_and_counts_as_taken_there() {
        let mut ends = ends();
        ends.put(1, 7, b"a");
        ends.put(2, 1, b"a");
        ends.put(2, 2, b"b");
        assert_eq!(ends.next().await, (7, "a".into()));
        assert_eq!(ends.next().await, (2, "b".into()));
        assert_eq!(ends.taken(), (2, 1), "the repeat was taken, what was given out was not");
        ends.pushes.take_by_hand();
        ends.put(2, 3, b"b");
        ends.put(2, 4, b"c");
        assert_eq!(ends.next().await, (4, "c".into()), "nor while it is not taken yet");
        assert_eq!(ends.taken(), (2, 1), "a repeat does not take what stands before it");
        ends.pushes.taken();
        assert_eq!(ends.taken(), (2, 4));
    }

    /// Knows one name, and what was kept from the application.
    #[derive(Debug, Default)]
    struct Counting(std::sync::Mutex<Vec<(Vec<u8>, u64)>>);

    impl SeenIds for Counting {
        fn contains(&self, id: &[u8]) -> bool {
            id == b"a"
        }

        fn insert(&self, _id: &[u8]) {}

        fn repeated(&self, id: &[u8], sequence: u64) {
            self.0.lock().unwrap().push((id.to_vec(), sequence));
        }
    }

    #[tokio::test]
    async fn what_is_kept_from_the_application_is_told_to_who_knows_its_name() {
        let mut ends = ends();
        let counting = Arc::new(Counting::default());
        ends.pushes.seen = Arc::clone(&counting) as Arc<dyn SeenIds>;
        ends.pushes.take_by_hand();
        for (sequence, id) in [(1, &b"a"[..]), (2, b"b"), (3, b"b"), (4, b"c")] {
            ends.put(1, sequence, id);
        }
        assert_eq!((ends.next().await.0, ends.next().await.0), (2, 4));
        assert_eq!(*counting.0.lock().unwrap(), [(b"a".to_vec(), 1), (b"b".to_vec(), 3)]);
    }

    #[tokio::test]
    async fn at_most_once_is_neither_counted_nor_compared() {
        let mut ends = ends();
        ends.seen.insert(b"a");
        ends.put(1, 0, b"a");
        ends.put(1, 0, b"a");
        ends.put(1, 1, b"");
        ends.seen.insert(b"");
        ends.put(1, 2, b"");
        for sequence in [0, 0, 1, 2] {
            assert_eq!(ends.next().await.0, sequence);
        }
        assert_eq!(ends.taken(), (1, 1));
    }

    #[tokio::test]
    async fn nothing_is_taken_by_leaving() {
        let mut ends = ends();
        ends.put(1, 1, b"a");
        assert_eq!(ends.next().await.0, 1);
        let Ends { pushes, taken, seen, .. } = ends;
        drop(pushes);
        assert_eq!((*taken.borrow(), seen.contains(b"a")), (Mark::default(), false));
    }
}
