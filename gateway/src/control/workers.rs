//! What the control thread knows of the workers: their numbers, whether they serve, and how to stop them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use tokio::sync::Notify;

use super::busiest::AskBusiest;
use super::kick::KickUser;
use super::throttles::AskThrottled;
use crate::admission::buckets::Buckets;
use crate::admission::ladder::Pressure;
use crate::admission::lists::Lists;
use crate::config::Secret;
use crate::counters::Counters;
use crate::tokens::Verifier;
use crate::worker::Reports;

/// How far the workers are. They write it, the control thread waits on it.
#[derive(Debug, Default)]
pub struct Progress {
    serving: AtomicUsize,
    ended: AtomicUsize,
    changed: Notify,
}

impl Progress {
    /// A worker listens and serves. Called once by each, from its thread.
    pub fn serving(&self) {
        self.serving.fetch_add(1, Ordering::Release);
        self.changed.notify_one();
    }

    /// A guard that notes the end of a worker's thread, however it ends.
    #[must_use]
    pub fn until_ended(self: &Arc<Self>) -> UntilEnded {
        UntilEnded(Arc::clone(self))
    }

    /// Workers that have begun to serve, ended ones included.
    #[must_use]
    pub fn count_serving(&self) -> usize {
        self.serving.load(Ordering::Acquire)
    }

    /// Workers whose threads are over.
    #[must_use]
    pub fn count_ended(&self) -> usize {
        self.ended.load(Ordering::Acquire)
    }

    /// Waits until a count changed. One waiter only; a change that came before is not missed.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

/// Notes the end of a worker when it is dropped, by return or by panic.
#[derive(Debug)]
pub struct UntilEnded(Arc<Progress>);

impl Drop for UntilEnded {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Release);
        self.0.changed.notify_one();
    }
}

/// Hands one worker, by index, lists of addresses; whether its queue had room for them. Must not block.
pub type TellLists = Box<dyn Fn(usize, Lists) -> bool + Send>;

/// Hands one worker, by index, what verifies tokens; whether its queue had room for it. Must not block.
pub type TellVerifier = Box<dyn Fn(usize, Arc<Verifier>) -> bool + Send>;

/// Wakes workers.
pub type Wake = Box<dyn Fn() + Send>;

/// The workers of a running gateway.
pub struct Workers {
    /// The addresses they listen on, by listener of the config; ports are the real ones.
    pub listeners: Vec<SocketAddr>,
    /// Each worker's numbers, in order.
    pub counters: Vec<Arc<Counters>>,
    /// What addresses have cost them so far.
    pub buckets: Arc<Buckets>,
    /// What they are told of the load.
    pub pressure: Arc<Pressure>,
    /// What they tell beyond numbers.
    pub reports: Arc<Reports>,
    /// How far they are.
    pub progress: Arc<Progress>,
    /// Asks all of them to close their links and end. Must not block.
    pub stop: Box<dyn Fn() + Send>,
    /// Hands all of them a new key to seal tickets with; `None` when the keys come from the config.
    pub rotate_tickets: Option<Box<dyn Fn(Secret) + Send>>,
    /// Hands one of them the lists of addresses that are in force.
    pub tell_lists: TellLists,
    /// Hands one of them what verifies tokens.
    pub tell_verifier: TellVerifier,
    /// Wakes all of them, so that they look at what they share. Must not block.
    pub wake: Wake,
    /// Asks all of them who keeps them busy.
    pub ask_busiest: AskBusiest,
    /// Asks all of them which of their users are slowed down.
    pub ask_throttled: AskThrottled,
    /// Ends the links of a user.
    pub kick_user: KickUser,
    /// Their threads; an error says in one line what the worker died of.
    pub threads: Vec<JoinHandle<Result<(), String>>>,
}

impl Workers {
    /// Whether all of them serve and none has ended.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.progress.count_serving() == self.counters.len() && self.progress.count_ended() == 0
    }

    /// Joins the threads, all of which must have ended, and says what they died of.
    pub(super) fn join(&mut self) -> Vec<String> {
        failures(self.threads.drain(..))
    }

    /// The same of those that have ended.
    pub(super) fn join_ended(&mut self) -> Vec<String> {
        failures(self.threads.extract_if(.., |thread| thread.is_finished()))
    }
}

fn failures(threads: impl Iterator<Item = JoinHandle<Result<(), String>>>) -> Vec<String> {
    let failure = |result| match result {
        Ok(Ok(())) => None,
        Ok(Err(reason)) => Some(reason),
        Err(_) => Some("a worker panicked, which is a bug".to_owned()),
    };
    threads.map(JoinHandle::join).filter_map(failure).collect()
}
