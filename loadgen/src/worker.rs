//! One thread: a ring, its fleet, and orders from the crew.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::Duration;

use driver::{Blocked, Config, Doorbells, Driver, PoolSize, Uring, Waker};

use crate::clock::Clock;
use crate::fleet::{Entropy, Fleet, Order, Settings};
use crate::tally::{Board, Tally};

/// What a worker tells the crew.
#[derive(Debug)]
pub(crate) enum Event {
    /// The ring is built. The waker interrupts its wait.
    Ready { worker: usize, waker: Waker },
    /// So many orders have come, and the last of them is done.
    Done { orders: u32 },
    /// The run is to end early.
    Stop,
    /// The worker cannot go on.
    Broken(String),
}

/// What the thread is made of.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) worker: usize,
    pub(crate) settings: Settings,
    pub(crate) clock: Clock,
    pub(crate) cpu: Option<u32>,
    pub(crate) board: Arc<Board>,
    /// Ends the thread when its sender is dropped.
    pub(crate) orders: Receiver<Order>,
    pub(crate) events: Sender<Event>,
}

impl Job {
    pub(crate) fn run(self) -> Tally {
        let events = self.events.clone();
        self.try_run().unwrap_or_else(|error| {
            // The crew may be gone already; then nobody is left to be told.
            let _nobody_listens = events.send(Event::Broken(error.to_string()));
            Tally::default()
        })
    }

    fn try_run(self) -> io::Result<Tally> {
        pin(self.cpu)?;
        let mut ring = build(self.settings.links, self.settings.opening_deadline)?;
        let mut fleet = Fleet::new(self.settings, entropy());
        let ready = Event::Ready { worker: self.worker, waker: ring.waker() };
        let _crew_is_gone = self.events.send(ready);
        let (mut orders, mut told) = (0, true);
        loop {
            match self.orders.try_recv() {
                Ok(order) => {
                    fleet.order(order, self.clock.now());
                    orders += 1;
                    told = false;
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return Ok(fleet.finish()),
            }
            fleet.turn(&mut ring, self.clock.now());
            self.board.publish(fleet.counts());
            if !told && fleet.is_done() {
                told = true;
                let _crew_is_gone = self.events.send(Event::Done { orders });
            }
            ring.wait(1, Some(fleet.rest(self.clock.now())))?;
        }
    }
}

/// Pins this thread to a processor, if one is named.
pub(crate) fn pin(cpu: Option<u32>) -> io::Result<()> {
    let Some(cpu) = cpu else { return Ok(()) };
    driver::thread::pin(cpu).map_err(|error| not_pinned(cpu, &error))
}

/// Says which processor of `--pin` it was, and which there are.
fn not_pinned(cpu: u32, error: &io::Error) -> io::Error {
    let allowed = driver::thread::allowed_cpus().unwrap_or_default();
    let allowed: Vec<String> = allowed.iter().map(u32::to_string).collect();
    io::Error::other(format!("--pin: processor {cpu}: {error}; this process may use {}", allowed.join(",")))
}

/// A ring for so many links, and no more memory than they need.
pub(crate) fn build(links: u32, connect_timeout: Duration) -> Result<Uring, Blocked> {
    let config = Config {
        slots: links + SLOTS_SPARE,
        connect_timeout: Some(connect_timeout),
        links: PoolSize { count: 2048, size: 2048 },
        streams: PoolSize { count: 1, size: 4096 },
        ..Config::default()
    };
    Uring::new(config, Doorbells::new(1), 0)
}

/// Slots beyond the links: with cycles, an old socket may be closing while the next one connects.
const SLOTS_SPARE: u32 = 64;
/// Cancelling gets slow in larger tables.
const SLOTS_MAX: u32 = 20_000;

/// How many links a ring holds, after the limit on open files was raised as far as this process may.
///
/// # Errors
/// One line when the limit cannot be read or raised.
pub(crate) fn links_max() -> Result<u32, String> {
    let files = driver::limits::raise_open_files().map_err(|error| format!("RLIMIT_NOFILE: {error}"))?;
    Ok(u32::try_from(files.soft).unwrap_or(u32::MAX).min(SLOTS_MAX).saturating_sub(SLOTS_SPARE))
}

/// Randomness of the operating system.
pub(crate) fn entropy() -> Entropy {
    Box::new(|| {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).expect("the kernel has random bytes once it has booted");
        bytes
    })
}
