//! Mistakes of a worker or its driver, made on purpose.

use std::time::Duration;

use driver::sim::SimDriver;
use driver::{Chunk, Completion, Driver, Full, Op};
use driver::{Fault, Injected, Plan};

/// What a worker or its driver might do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// A completion carries the generation of the slot's former tenant.
    StaleGeneration,
    /// A poll or receive is not armed.
    MissedRearm,
    /// A socket is closed twice.
    DoubleClose,
    /// Two sends go to each other's sockets.
    SwappedSends,
    /// A send's completion is lost.
    LostSent,
    /// A chunk is not given back.
    KeptChunk,
    /// Bytes are handed to the worker twice.
    DoubledReceive,
    /// A socket is never closed.
    ForgottenClose,
    /// A worker with new letters is not woken.
    ForgottenRing,
}

impl Bug {
    pub(crate) const ALL: [Self; 9] = [
        Self::StaleGeneration,
        Self::MissedRearm,
        Self::DoubleClose,
        Self::SwappedSends,
        Self::LostSent,
        Self::KeptChunk,
        Self::DoubledReceive,
        Self::ForgottenClose,
        Self::ForgottenRing,
    ];
}

/// A driver that makes a mistake once, some operations or completions after the beginning.
pub(crate) struct Planted {
    inner: Fault<SimDriver>,
    bug: Option<Bug>,
    /// Occasions to let pass before the mistake.
    patience: u32,
    held: Option<Op>,
    copy: Vec<u8>,
    show_again: bool,
    pub(crate) noise: u32,
}

impl Planted {
    pub(crate) fn new(inner: Fault<SimDriver>, bug: Option<Bug>, patience: u32) -> Self {
        Self { inner, bug, patience, held: None, copy: Vec::new(), show_again: false, noise: 0 }
    }

    /// Chunks the worker holds.
    pub(crate) fn chunks_out(&mut self) -> u32 {
        self.inner.inner().chunks_out()
    }

    /// How long the worker wants to sleep at most.
    pub(crate) fn sleep_max(&mut self) -> Option<Duration> {
        self.inner.inner().sleep_max()
    }

    /// Whether the worker, so long after it began to wait, would still be asleep.
    pub(crate) fn sleeps(&mut self, passed: Duration) -> bool {
        self.inner.inner().sleeps(passed)
    }

    /// No faults from now on.
    pub(crate) fn calm(&mut self) {
        self.inner.set_plan(Plan::quiet(0));
    }

    /// How often each fault has happened.
    pub(crate) fn injected(&self) -> &Injected {
        self.inner.injected()
    }

    fn strikes(&mut self, bug: Bug) -> bool {
        if self.bug != Some(bug) {
            return false;
        }
        self.patience = self.patience.wrapping_sub(1);
        self.patience == 0
    }
}

impl Driver for Planted {
    fn submit(&mut self, op: Op) -> Result<(), Full> {
        match op {
            Op::Receive { .. } | Op::Poll { .. } if self.strikes(Bug::MissedRearm) => Ok(()),
            Op::Close { .. } if self.strikes(Bug::ForgottenClose) => Ok(()),
            Op::Ring { .. } if self.strikes(Bug::ForgottenRing) => Ok(()),
            Op::Close { token } if self.strikes(Bug::DoubleClose) => {
                self.inner.submit(Op::Close { token })?;
                self.inner.submit(Op::Close { token })
            }
            Op::Send { .. } if self.held.is_none() && self.strikes(Bug::SwappedSends) => {
                self.held = Some(op);
                Ok(())
            }
            Op::Send { token, batch } => match self.held.take() {
                Some(Op::Send { token: other, batch: others }) if other.slot != token.slot => {
                    self.inner.submit(Op::Send { token, batch: others })?;
                    self.inner.submit(Op::Send { token: other, batch })
                }
                held => {
                    self.held = held;
                    self.inner.submit(Op::Send { token, batch })
                }
            },
            op => self.inner.submit(op),
        }
    }

    fn wait(&mut self, least: u32, most: Option<Duration>) -> std::io::Result<()> {
        self.inner.wait(least, most)
    }

    fn next(&mut self) -> Option<Completion> {
        if self.noise > 0 {
            self.noise -= 1;
            return Some(Completion::Rung);
        }
        let mut done = self.inner.next()?;
        match &mut done {
            Completion::Sent { .. } if self.strikes(Bug::LostSent) => return self.next(),
            Completion::Received { token, .. } | Completion::Readable { token }
                if self.strikes(Bug::StaleGeneration) =>
            {
                token.generation = token.generation.wrapping_sub(1);
            }
            _ => {}
        }
        Some(done)
    }

    fn waiting(&mut self) -> usize {
        self.noise as usize + self.inner.waiting()
    }

    fn bytes(&mut self, chunk: &Chunk) -> &mut [u8] {
        if std::mem::take(&mut self.show_again) {
            // The worker is shown the bytes of the chunk before, where new ones have arrived.
            return &mut self.copy;
        }
        if self.strikes(Bug::DoubledReceive) {
            self.copy = self.inner.bytes(chunk).to_vec();
            self.show_again = true;
        }
        self.inner.bytes(chunk)
    }

    fn recycle(&mut self, chunk: Chunk) {
        if !self.strikes(Bug::KeptChunk) {
            self.inner.recycle(chunk);
        }
    }

    fn counters(&self) -> driver::Counters {
        self.inner.counters()
    }
}
