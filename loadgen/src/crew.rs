//! All workers of a run: started together, ordered together, waited for within bounds.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use driver::Waker;
use protocol::Time;

use crate::clock::Clock;
use crate::fleet::{Order, Settings};
use crate::stop::Stop;
use crate::tally::{Board, Counts, Tally};
use crate::worker::{Event, Job};

pub(crate) struct Crew {
    clock: Clock,
    hands: Vec<Hand>,
    events: Receiver<Event>,
    orders: u32,
    /// Workers that are done with the last order.
    done: usize,
    /// The last order puts load on, which an early end cuts short.
    loading: bool,
    /// When the run was told to end early.
    stopped: Option<Time>,
}

struct Hand {
    orders: Sender<Order>,
    waker: Option<Waker>,
    board: Arc<Board>,
    thread: JoinHandle<Tally>,
}

/// Building a ring with its pools takes milliseconds; a minute means that it never will be built.
const START_MAX: Duration = Duration::from_secs(60);
/// How often progress is shown.
const REPORT_EVERY: Duration = Duration::from_secs(1);

impl Crew {
    /// One worker per share, pinned to `cpus` in turn. Returns when all rings are built.
    pub(crate) fn start(
        shares: Vec<Settings>,
        cpus: &[u32],
        clock: Clock,
        stop: &Stop,
    ) -> Result<Self, String> {
        let (sender, events) = channel();
        stop.listen(sender.clone());
        let mut hands = Vec::with_capacity(shares.len());
        for (worker, settings) in shares.into_iter().enumerate() {
            let (orders, receiver) = channel();
            let board = Arc::new(Board::default());
            let job = Job {
                worker,
                settings,
                clock,
                cpu: cpus.get(worker % cpus.len().max(1)).copied(),
                board: Arc::clone(&board),
                orders: receiver,
                events: sender.clone(),
            };
            let thread = std::thread::Builder::new()
                .name(format!("fleet-{worker}"))
                .spawn(move || job.run())
                .map_err(|error| format!("starting a thread: {error}"))?;
            hands.push(Hand { orders, waker: None, board, thread });
        }
        let mut crew = Self { clock, hands, events, orders: 0, done: 0, loading: false, stopped: None };
        let until = clock.now() + START_MAX;
        while crew.hands.iter().any(|hand| hand.waker.is_none()) {
            if !crew.learn(until)? {
                return Err("the workers did not start within a minute".to_owned());
            }
        }
        Ok(crew)
    }

    /// Gives every worker its next order.
    pub(crate) fn order(&mut self, order: impl Fn(usize) -> Order) {
        self.orders += 1;
        self.done = 0;
        for (worker, hand) in self.hands.iter().enumerate() {
            let order = order(worker);
            self.loading = matches!(order, Order::Ramp | Order::Run(_) | Order::Storm(_))
                || (worker > 0 && self.loading);
            // A worker that has ended has said why, which the next wait will find.
            let _ended = hand.orders.send(order);
            hand.wake();
        }
    }

    /// Waits until all workers are done with the last order, or until `until`; says which. An early end cuts the wait
    /// short where load is put on. Shows the counters once per second.
    pub(crate) fn wait(&mut self, until: Time, mut show: impl FnMut(Time, &Counts)) -> Result<bool, String> {
        let mut next = self.clock.now() + REPORT_EVERY;
        while self.done < self.hands.len() && !(self.loading && self.stopped.is_some()) {
            self.learn(until.min(next))?;
            let now = self.clock.now();
            if now >= until {
                return Ok(self.done == self.hands.len());
            }
            if now >= next {
                next = next + REPORT_EVERY;
                show(now, &self.counts());
            }
        }
        Ok(self.done == self.hands.len())
    }

    /// When the run was told to end early, if it was.
    pub(crate) const fn stopped(&self) -> Option<Time> {
        self.stopped
    }

    /// The counters of all workers as of their last turns.
    pub(crate) fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        for hand in &self.hands {
            sum.add(&hand.board.read());
        }
        sum
    }

    /// Number of workers.
    pub(crate) fn len(&self) -> usize {
        self.hands.len()
    }

    /// Ends all workers and adds up what they counted.
    pub(crate) fn finish(self) -> Tally {
        let mut sum = Tally::default();
        self.finish_each().iter().for_each(|tally| sum.add(tally));
        sum
    }

    /// Ends all workers and gives what each has counted.
    pub(crate) fn finish_each(self) -> Vec<Tally> {
        let finish = |Hand { orders, waker, thread, .. }: Hand| {
            drop(orders);
            waker.iter().for_each(Waker::wake);
            thread.join().expect("a worker's panic is a bug, and aborts the run here too")
        };
        self.hands.into_iter().map(finish).collect()
    }

    /// Takes one event, if one comes before `until`.
    fn learn(&mut self, until: Time) -> Result<bool, String> {
        match self.events.recv_timeout(until.since(self.clock.now())) {
            Ok(Event::Ready { worker, waker }) => self.hands[worker].waker = Some(waker),
            Ok(Event::Done { orders }) => self.done += usize::from(orders == self.orders),
            Ok(Event::Stop) => self.stopped = Some(self.clock.now()),
            Ok(Event::Broken(error)) => return Err(error),
            // Whoever may stop the run holds the channel too: it stays open without any worker.
            Err(_) if self.hands.iter().any(|hand| hand.thread.is_finished()) => {
                return Err("a worker has panicked".to_owned());
            }
            Err(_) => return Ok(false),
        }
        Ok(true)
    }
}

impl Hand {
    fn wake(&self) {
        self.waker.iter().for_each(Waker::wake);
    }
}
