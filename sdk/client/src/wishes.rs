//! What the application wants of the link beside requests: that it shows whether it lives, is made anew, or is not there for a
//! while.

use std::time::Duration;

use tokio::sync::watch;

/// How often each was wanted so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wishes {
    reconnects: u64,
    probes: u64,
    /// How long the gateway has to answer the last probe.
    within: Duration,
    /// Whether there is to be no link now.
    asleep: bool,
}

impl Wishes {
    pub(crate) const fn reconnect(&mut self) {
        self.reconnects += 1;
    }

    pub(crate) const fn probe(&mut self, within: Duration) {
        (self.probes, self.within) = (self.probes + 1, within);
    }

    pub(crate) const fn sleep(&mut self) {
        self.asleep = true;
    }

    pub(crate) const fn wake(&mut self) {
        self.asleep = false;
    }

    pub(crate) const fn are_awake(&self) -> bool {
        !self.asleep
    }
}

/// What was wanted since it was last looked at. Each clone looks for itself.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    wishes: watch::Receiver<Wishes>,
    seen: Wishes,
}

impl Wanted {
    pub(crate) fn new(wishes: watch::Receiver<Wishes>) -> Self {
        Self { wishes, seen: Wishes::default() }
    }

    /// Whatever was wanted so far is over.
    pub(crate) fn forget(&mut self) {
        self.seen = *self.wishes.borrow();
    }

    /// Waits until a new link is wanted.
    pub(crate) async fn reconnect(&mut self) {
        let before = self.seen.reconnects;
        self.seen.reconnects = self.until(|wishes| wishes.reconnects != before).await.reconnects;
    }

    /// Waits until the link is to show that it lives; within which time.
    pub(crate) async fn probe(&mut self) -> Duration {
        let before = self.seen.probes;
        let wishes = self.until(|wishes| wishes.probes != before).await;
        self.seen.probes = wishes.probes;
        wishes.within
    }

    /// Waits until anything is wanted.
    pub(crate) async fn any(&mut self) {
        let before = self.seen;
        self.seen = self
            .until(|wishes| wishes.probes != before.probes || wishes.reconnects != before.reconnects)
            .await;
    }

    /// Waits until there is to be no link.
    pub(crate) async fn sleep(&mut self) {
        self.until(|wishes| wishes.asleep).await;
    }

    /// Waits until there is to be one again.
    pub(crate) async fn wake(&mut self) {
        self.until(|wishes| !wishes.asleep).await;
    }

    async fn until(&mut self, is_so: impl Fn(&Wishes) -> bool) -> Wishes {
        let wishes = self.wishes.wait_for(is_so).await.map(|wishes| *wishes);
        match wishes {
            Ok(wishes) => wishes,
            // The last handle is gone, and nobody wants anything any more.
            Err(_) => std::future::pending().await,
        }
    }
}
