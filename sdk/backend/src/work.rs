//! Handlers and judges at work, each as a task of its own: whom they answer, and what they come to.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use protocol::Time;
use tokio::task::{self, JoinError, JoinSet};
use tokio::time::timeout;

use crate::backlog::Asked;
use crate::counters::Counters;
use crate::reply::Reply;
use crate::service::{Request, Verdict};
use crate::turns::{Arrived, Key, Turns};

/// Of one stream.
#[derive(Debug, Default)]
pub(crate) struct Work {
    tasks: JoinSet<Done>,
    running: HashMap<task::Id, Running>,
    judging: usize,
    turns: Turns<Waiting>,
}

/// Whom a task answers.
#[derive(Clone, Debug)]
enum Running {
    Request(Asked, Option<Key>),
    Ask { call: u64 },
}

/// A request that waits for its turn.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) request: Request,
    pub(crate) asked: Asked,
    /// When it came: its deadline counts from then.
    pub(crate) since: Time,
}

/// What a task came to; `None` when its deadline passed.
pub(crate) enum Done {
    Reply(Option<Reply>),
    Verdict(Option<Verdict>),
}

/// How a task ended.
pub(crate) type Joined = Result<(task::Id, Done), JoinError>;

/// What a task that is over leaves to be done.
pub(crate) enum Finished {
    /// A request is answered; or nothing is known, and it has no answer. Others of this key may wait for their turn.
    Request(Asked, Option<Reply>, Option<Key>),
    /// The same for a token.
    Ask(u64, Option<Verdict>),
}

impl Work {
    /// Requests whose handlers are at work, or that wait for their turn.
    pub(crate) fn requests(&self) -> usize {
        self.running.len() - self.judging + self.turns.waiting()
    }

    /// Tokens that are being judged.
    pub(crate) fn judging(&self) -> usize {
        self.judging
    }

    /// Whether nothing is under way. Whatever waits for its turn waits for a task.
    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Whether it is this request's turn; `most` of its key may wait.
    pub(crate) fn arrive(&mut self, key: &Key, waiting: Waiting, most: usize) -> Arrived<Waiting> {
        self.turns.arrive(key, waiting, most)
    }

    /// The next request of a key, if one waits.
    pub(crate) fn next_in_turn(&mut self, key: &Key) -> Option<Waiting> {
        self.turns.next(key)
    }

    /// A handler begins, and is dropped when the time is over.
    pub(crate) fn handle(
        &mut self,
        asked: Asked,
        key: Option<Key>,
        limit: Duration,
        work: impl Future<Output = Reply> + Send + 'static,
    ) {
        let task = self.tasks.spawn(async move { Done::Reply(timeout(limit, work).await.ok()) });
        self.running.insert(task.id(), Running::Request(asked, key));
    }

    /// The same with a judge.
    pub(crate) fn judge(
        &mut self,
        call: u64,
        limit: Duration,
        work: impl Future<Output = Verdict> + Send + 'static,
    ) {
        let task = self.tasks.spawn(async move { Done::Verdict(timeout(limit, work).await.ok()) });
        self.running.insert(task.id(), Running::Ask { call });
        self.judging += 1;
    }

    /// Waits for the next task that is over; `None` at once if there are none.
    pub(crate) async fn join(&mut self) -> Option<Joined> {
        self.tasks.join_next_with_id().await
    }

    /// A task that is over already.
    pub(crate) fn try_join(&mut self) -> Option<Joined> {
        self.tasks.try_join_next_with_id()
    }

    /// A task is over. One that panicked or ran out of time answers nothing: whether something has happened is not
    /// known here, and that is what the gateway will say.
    pub(crate) fn finish(&mut self, joined: Joined, counters: &Counters) -> Option<Finished> {
        let id = joined.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let running = self.running.remove(&id)?;
        match &joined {
            Err(error) if error.is_panic() => counters.panics.add(1),
            Ok((_, Done::Reply(None) | Done::Verdict(None))) => counters.overdue.add(1),
            _ => {}
        }
        Some(match (running, joined) {
            (Running::Request(asked, key), Ok((_, Done::Reply(reply)))) => {
                Finished::Request(asked, reply, key)
            }
            (Running::Request(asked, key), _) => Finished::Request(asked, None, key),
            (Running::Ask { call }, joined) => {
                self.judging -= 1;
                match joined {
                    Ok((_, Done::Verdict(verdict))) => Finished::Ask(call, verdict),
                    _ => Finished::Ask(call, None),
                }
            }
        })
    }

    /// Drops all tasks where they stand.
    pub(crate) fn abort(&mut self) {
        self.tasks.abort_all();
    }
}
