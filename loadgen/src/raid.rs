//! A mob on a thread and a ring of its own, so that honest links never wait for it in this process.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use driver::{Driver, Waker};

use crate::clock::Clock;
use crate::mob::{Count, Mob, Order, Settings};
use crate::worker;

/// The thread that attacks.
pub(crate) struct Raid {
    orders: Sender<Order>,
    waker: Waker,
    events: Receiver<Event>,
    thread: JoinHandle<Count>,
}

enum Event {
    /// The ring is built.
    Ready(Waker),
    /// Nobody is left of the last attack.
    Over,
    /// The thread cannot go on.
    Broken(String),
}

/// Building a ring with its pools takes milliseconds; a minute means that it never will be built.
const START_MAX: Duration = Duration::from_secs(60);

impl Raid {
    /// Starts the thread, pinned to `cpu` if there is one. Returns when its ring is built.
    ///
    /// # Errors
    /// One line when it cannot be.
    pub(crate) fn start(settings: Settings, cpu: Option<u32>, clock: Clock) -> Result<Self, String> {
        let (orders, receiver) = channel();
        let (sender, events) = channel();
        let thread = std::thread::Builder::new()
            .name("mob".to_owned())
            .spawn(move || {
                attack(settings, cpu, clock, &receiver, &sender).unwrap_or_else(|error| {
                    // Whoever started it may be gone already; then nobody is left to be told.
                    let _nobody_listens = sender.send(Event::Broken(error.to_string()));
                    Count::default()
                })
            })
            .map_err(|error| format!("starting a thread: {error}"))?;
        match events.recv_timeout(START_MAX) {
            Ok(Event::Ready(waker)) => Ok(Self { orders, waker, events, thread }),
            Ok(Event::Broken(error)) => Err(error),
            Ok(Event::Over) | Err(_) => Err("the attackers' thread did not start within a minute".to_owned()),
        }
    }

    /// Gives the next order. One attack is over before the next begins.
    pub(crate) fn order(&self, order: Order) {
        // A thread that has ended has said why, which the next wait will find.
        let _ended = self.orders.send(order);
        self.waker.wake();
    }

    /// Waits until nobody is left of the attack, for at most so long; says whether that is so.
    ///
    /// # Errors
    /// One line when the thread could not go on.
    pub(crate) fn wait(&self, most: Duration) -> Result<bool, String> {
        match self.events.recv_timeout(most) {
            Ok(Event::Over) => Ok(true),
            Ok(Event::Broken(error)) => Err(error),
            Err(RecvTimeoutError::Timeout) => Ok(false),
            Ok(Event::Ready(_)) | Err(RecvTimeoutError::Disconnected) => {
                Err("the attackers' thread has panicked".to_owned())
            }
        }
    }

    /// Ends the thread and gives what it has counted.
    pub(crate) fn finish(self) -> Count {
        drop(self.orders);
        self.waker.wake();
        self.thread.join().expect("a panic of the attackers is a bug, and aborts the run here too")
    }
}

fn attack(
    settings: Settings,
    cpu: Option<u32>,
    clock: Clock,
    orders: &Receiver<Order>,
    events: &Sender<Event>,
) -> io::Result<Count> {
    worker::pin(cpu)?;
    // Attackers have processors of their own; here they share some with those whose latency is the result.
    driver::thread::give_way()?;
    let mut ring = worker::build(settings.links, settings.opening_deadline)?;
    let mut mob = Mob::new(settings, worker::entropy()).map_err(io::Error::other)?;
    let _raid_is_gone = events.send(Event::Ready(ring.waker()));
    let mut attacking = false;
    loop {
        match orders.try_recv() {
            Ok(order) => {
                attacking |= matches!(order, Order::Attack { .. });
                mob.order(order);
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return Ok(mob.finish(clock.now())),
        }
        let now = clock.now();
        mob.turn(&mut ring, now);
        if attacking && mob.is_done(now) {
            attacking = false;
            let _raid_is_gone = events.send(Event::Over);
        }
        ring.wait(1, Some(mob.rest(clock.now())))?;
    }
}
