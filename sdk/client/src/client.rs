//! What the application holds of a client: a handle.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use protocol::Refusal;
use protocol::link::backoff::Backoff;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, TryAcquireError, mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};

use crate::ask::{Ask, Settled, Stage};
use crate::budget::Budget;
use crate::clock::{Clock, random, unix};
use crate::config::Config;
use crate::error::Error;
use crate::keeper::{Keeper, Uses};
use crate::kept::Kept;
use crate::ledger::Ledger;
use crate::link::Desk;
use crate::pins::Pins;
use crate::push::{Inbox, Mark, Pushes};
use crate::race::{in_turns, race};
use crate::request::{Doubt, Namer, Outcome, Reason, Request};
use crate::shell::Shell;
use crate::state::{Session, State, Warning};
use crate::wishes::{Wanted, Wishes};

/// A handle on a client, whose task keeps it linked. Cheap to clone; with the last handle the client ends, and the
/// gateway is told: to keep the session, if there is a [`Store`](crate::Store) from which a later start goes on with it.
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    orders: mpsc::Sender<Ask>,
    states: watch::Receiver<State>,
    warnings: watch::Receiver<Option<Warning>>,
    store_errors: watch::Receiver<Option<Arc<io::Error>>>,
    stop: watch::Sender<bool>,
    wishes: watch::Sender<Wishes>,
    /// How many wait for the outcome of a request.
    waiting: watch::Sender<usize>,
    /// Whether no more requests are taken.
    closing: AtomicBool,
    /// Bytes that still fit the queue of requests.
    room: Arc<Semaphore>,
    room_max: usize,
    budget: Budget,
    backoff: Backoff,
    clock: Clock,
    namer: Namer,
}

impl Client {
    /// Connects, and returns when the client is linked. From then on it stays so: after a broken link it connects
    /// again, with growing and jittered pauses. Of several addresses each is tried once.
    ///
    /// # Errors
    /// Why the last attempt failed, or [`Error::Config`].
    ///
    /// # Panics
    /// Outside a Tokio runtime with its network and time drivers.
    pub async fn connect(config: Config) -> Result<(Self, Pushes), Error> {
        let (client, pushes) = Self::spawn(config, tcp, false)?;
        client.ready().await?;
        Ok((client, pushes))
    }

    /// Starts to connect, and does not give up if the first attempt fails. Requests wait until there is a link.
    ///
    /// # Errors
    /// [`Error::Config`].
    ///
    /// # Panics
    /// Outside a Tokio runtime with its network and time drivers.
    pub fn start(config: Config) -> Result<(Self, Pushes), Error> {
        Self::spawn(config, tcp, true)
    }

    /// Like [`Client::start`], over sockets of your own making: through a proxy or a tunnel. `dialer` is given an
    /// address of the configuration and opens a socket to it, once per attempt.
    ///
    /// # Errors
    /// [`Error::Config`].
    ///
    /// # Panics
    /// Outside a Tokio runtime with its time driver.
    pub fn start_over<D, F, S>(config: Config, dialer: D) -> Result<(Self, Pushes), Error>
    where
        D: FnMut(String) -> F + Send + 'static,
        F: Future<Output = io::Result<S>> + Send + 'static,
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        Self::spawn(config, dialer, true)
    }

    fn spawn<D, F, S>(config: Config, dialer: D, patient: bool) -> Result<(Self, Pushes), Error>
    where
        D: FnMut(String) -> F + Send + 'static,
        F: Future<Output = io::Result<S>> + Send + 'static,
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        config.check()?;
        let (orders, taken) = mpsc::channel(config.requests_max);
        let (queue, pushes) = mpsc::channel(config.pushes_max);
        let (said, states) = watch::channel(State::Connecting { after: None });
        let (warned, warnings) = watch::channel(None);
        let (failed, store_errors) = watch::channel(None);
        let (took, taken_pushes) = watch::channel(Mark::default());
        let (stop, stopped) = watch::channel(false);
        let (wishes, wanted) = watch::channel(Wishes::default());
        let (wanted, clock, backoff) = (Wanted::new(wanted), Clock::start(), config.backoff);
        let namer = Namer::new(&config.user, &config.device);
        let room_max = config.request_bytes_max;
        let kept = Kept::new(&config.user, &config.device, &config.server_keys);
        // Of a link without a server key nothing is kept.
        let keeps = !config.is_unpinned();
        let uses = Uses { sessions: keeps && config.resume, tickets: keeps && config.tickets };
        let pushes = Pushes::new(pushes, took, Arc::clone(&config.seen));
        let shell = Shell {
            pins: Pins::new(&config.server_keys),
            dialer,
            desk: Desk {
                keeper: Keeper::new(kept, uses, config.store.clone(), taken_pushes, failed),
                ledger: Ledger::new(),
                orders: taken,
                inbox: Inbox::new(queue),
                warned,
                wanted: wanted.clone(),
                clock,
            },
            config,
            states: said,
            stop: stopped,
            wanted,
            patient,
        };
        tokio::spawn(shell.live());
        let inner = Inner {
            orders,
            states,
            warnings,
            store_errors,
            stop,
            wishes,
            waiting: watch::Sender::new(0),
            closing: AtomicBool::new(false),
            room: Arc::new(Semaphore::new(room_max)),
            room_max,
            budget: Budget::new(clock.now()),
            backoff,
            clock,
            namer,
        };
        Ok((Self(Arc::new(inner)), pushes))
    }

    /// Sends a request and returns its outcome. `key` orders requests of one route; empty: no order.
    ///
    /// While there is no link, or as much is open as the gateway grants, it waits in a queue, in the order requests were
    /// given. When that is full ([`Config::requests_max`], [`Config::request_bytes_max`]) it waits outside; while no link is up it
    /// is refused as [`Reason::QueueFull`] instead. Dropping the future is safe at any time: a request that was not sent yet
    /// never will be.
    pub async fn request(&self, route: &str, key: &[u8], payload: impl Into<Bytes>) -> Outcome {
        match self.prepare(route, key, payload) {
            Ok(request) => self.send(&request).await,
            Err(_) => Outcome::refused(Reason::Invalid("there is no randomness for an id")),
        }
    }

    /// Makes a request with an id of its own, to be sent, and kept in case it has to be sent again.
    ///
    /// # Errors
    /// When the operating system has no randomness.
    pub fn prepare(&self, route: &str, key: &[u8], payload: impl Into<Bytes>) -> io::Result<Request> {
        Ok(Request {
            id: self.0.namer.name(unix(), random()?),
            route: route.to_owned(),
            key: Bytes::copy_from_slice(key),
            payload: payload.into(),
            again: false,
            number: Arc::default(),
        })
    }

    /// Sends a request made by [`Client::prepare`], like [`Client::request`].
    ///
    /// If the future of an earlier sending was dropped while the request was open, the same request is not sent once
    /// more: this gets the outcome of the first. While somebody still waits for that one, this is refused as
    /// [`Reason::UnderWay`].
    pub async fn send(&self, request: &Request) -> Outcome {
        self.ask(request, false, Arc::default()).await.outcome
    }

    /// Gives a request to the task. One that persists goes out again on the next link when its own ends, and has an outcome only
    /// when somebody has said something.
    async fn ask(&self, request: &Request, persists: bool, stage: Arc<Stage>) -> Settled {
        let unsent = |reason| Settled { outcome: Outcome::refused(reason), in_doubt: false };
        if self.0.closing.load(Ordering::Relaxed) {
            return unsent(Reason::Ended);
        }
        if let Err(reason) = request.check() {
            return unsent(reason);
        }
        let _waits = Waits::new(&self.0.waiting);
        let settled = match self.queue(request, persists, stage).await {
            Ok(settled) => settled,
            Err(reason) => return unsent(reason),
        };
        if !request.again {
            self.0.budget.earn();
        }
        // The task resolves every request; it only fails to if the runtime dies with it.
        settled.await.unwrap_or(Settled { outcome: Outcome::lost(), in_doubt: true })
    }

    /// Waits for room in the queue, in bytes and in number, while there is a link that makes some.
    async fn queue(
        &self,
        request: &Request,
        persists: bool,
        stage: Arc<Stage>,
    ) -> Result<oneshot::Receiver<Settled>, Reason> {
        let bytes = request.weight();
        if bytes > self.0.room_max {
            return Err(Reason::Refusal(Refusal::TooLarge));
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let may_wait = || matches!(*self.0.states.borrow(), State::Up(_));
        let place = match Arc::clone(&self.0.room).try_acquire_many_owned(bytes) {
            Err(TryAcquireError::NoPermits) if may_wait() => {
                Arc::clone(&self.0.room).acquire_many_owned(bytes).await.map_err(|_| Reason::Ended)?
            }
            place => place.map_err(|_| Reason::QueueFull)?,
        };
        let order = match self.0.orders.try_reserve() {
            Err(TrySendError::Full(())) if may_wait() => {
                self.0.orders.reserve().await.map_err(|_| Reason::Ended)?
            }
            Err(TrySendError::Full(())) => return Err(Reason::QueueFull),
            order => order.map_err(|_| Reason::Ended)?,
        };
        let (ask, settled) = Ask::new(request.clone(), persists, stage, Some(place));
        order.send(ask);
        Ok(settled)
    }

    /// Sends a request again and again, with the same id, until it is answered, [was answered before](Doubt::AnsweredBefore) or
    /// refused [for good](Reason::is_final), or `within` is over. So the backend does it once at most.
    ///
    /// When its link ends it goes out again on the next one as soon as that is there, before all that was not sent yet and in the
    /// order in which requests were sent first. After any other unknown outcome, and after a refusal, it waits as long as the
    /// gateway asks, or else longer each time at random, up to [`Config::backoff`](crate::Config::backoff); and of all requests of
    /// a client one in ten may be such a repeat, three in any case, so that clients do not multiply what a service in trouble has
    /// to bear: over that they wait for their turn. None is sent again more than 12 h after it was sent first.
    ///
    /// [`Outcome::Refused`] means that nothing has happened through any of the sendings: as [`Reason::NotSent`] if there was none
    /// when the time was over. When it is over after one that was not answered, or the request is refused after one that ended
    /// unknown, that is [`Outcome::Unknown`].
    pub async fn send_until_answered(&self, request: &Request, within: Duration) -> Outcome {
        let mut known = Known { outcome: Outcome::refused(Reason::NotSent), sending: None };
        match timeout(within, self.repeat(request, &mut known)).await {
            Ok(outcome) => outcome,
            Err(_) => known.at_last(),
        }
    }

    /// The same with a request made on the spot.
    pub async fn request_until_answered(
        &self,
        route: &str,
        key: &[u8],
        payload: impl Into<Bytes>,
        within: Duration,
    ) -> Outcome {
        match self.prepare(route, key, payload) {
            Ok(request) => self.send_until_answered(&request, within).await,
            Err(_) => Outcome::refused(Reason::Invalid("there is no randomness for an id")),
        }
    }

    /// Sends until it makes no sense any more. `known` is what is known of it if that takes too long.
    async fn repeat(&self, request: &Request, known: &mut Known) -> Outcome {
        let (mut request, mut tries, mut doubt) = (request.clone(), 0, None);
        loop {
            let stage = Arc::new(Stage::default());
            known.sending = Some(Arc::clone(&stage));
            let Settled { outcome, in_doubt } = self.ask(&request, true, stage).await;
            known.sending = None;
            if in_doubt {
                doubt = Some(Doubt::LinkEnded);
            }
            let (asked, is_final) = match &outcome {
                Outcome::Answered { .. } => return outcome,
                Outcome::Refused { reason, retry_after } => (*retry_after, reason.is_final()),
                Outcome::Unknown { doubt: found } => {
                    doubt = Some(*found);
                    (Duration::ZERO, !matches!(found, Doubt::NotAnswered))
                }
            };
            // It costs nobody but this client.
            let is_free = matches!(outcome, Outcome::Refused { reason: Reason::QueueFull, .. });
            known.outcome = doubt.map_or(outcome, |doubt| Outcome::Unknown { doubt });
            if is_final {
                return known.outcome.clone();
            }
            self.pause(tries, asked).await;
            tries += 1;
            if !is_free {
                request.again = true;
                self.afford().await;
            }
        }
    }

    /// Waits as long as the gateway asked, else at random.
    async fn pause(&self, tries: u32, asked: Duration) {
        let pause = if asked.is_zero() {
            // Without randomness everybody waits the longest.
            self.0.backoff.pause(tries, asked, random().map_or(u64::MAX, u64::from_ne_bytes))
        } else {
            asked
        };
        sleep(pause).await;
    }

    /// Waits until the budget allows it to send a request again.
    async fn afford(&self) {
        while let Err(wait) = self.0.budget.spend(self.0.clock.now()) {
            sleep(wait).await;
        }
    }

    /// Gives the present link up for a new one: for when the device has another network, over which the old one cannot go on. An
    /// attempt that is under way begins anew, and a pause between two is over, but for what the gateway has asked for. Open
    /// requests become unknown.
    pub fn reconnect(&self) {
        self.0.wishes.send_modify(Wishes::reconnect);
    }

    /// Asks whether the link lives: if nothing comes of the gateway `within` that time, it is given up for a new one. For when the
    /// device was asleep, or its network may have changed: a heartbeat would find that out later. A pause between two attempts is
    /// over, as with [`Client::reconnect`].
    pub fn probe(&self, within: Duration) {
        self.0.wishes.send_modify(|wishes| wishes.probe(within));
    }

    /// Gives the link up, and has none until [`Client::wake`]: for when the device goes to sleep. The gateway is told what was taken and
    /// that the session is to be kept; how long it does so it decides. Returns when that is done.
    ///
    /// Requests wait meanwhile. Those that are open become unknown, but for those that are sent until they are answered.
    pub async fn sleep(&self) {
        self.0.wishes.send_modify(Wishes::sleep);
        let (mut states, mut wishes) = (self.states(), self.0.wishes.subscribe());
        let is_down = |state: &State| matches!(state, State::Asleep | State::Ended(_));
        tokio::select! {
            _ = states.wait_for(is_down) => {}
            // Somebody has woken it before it slept.
            _ = wishes.wait_for(Wishes::are_awake) => {}
        }
    }

    /// Links again after [`Client::sleep`].
    pub fn wake(&self) {
        self.0.wishes.send_modify(Wishes::wake);
    }

    /// How the client is doing now.
    #[must_use]
    pub fn state(&self) -> State {
        self.0.states.borrow().clone()
    }

    /// To be told when that changes. Changes that follow each other quickly may be seen as one.
    #[must_use]
    pub fn states(&self) -> watch::Receiver<State> {
        self.0.states.clone()
    }

    /// To be told when the gateway warns that it will close the link if the client goes on like this: it sends too much, say.
    /// Whoever does slows down; the client does not do so by itself. `None`: it has not warned yet.
    #[must_use]
    pub fn warnings(&self) -> watch::Receiver<Option<Warning>> {
        self.0.warnings.clone()
    }

    /// To be told when the [`Store`](crate::Store) could not do what it was asked. The client goes on without, and tries again
    /// when there is something else to write; a later start may begin a new session. `None`: it has not failed yet.
    #[must_use]
    pub fn store_errors(&self) -> watch::Receiver<Option<Arc<io::Error>>> {
        self.0.store_errors.clone()
    }

    /// Waits until the client is linked.
    ///
    /// # Errors
    /// Why it ended instead.
    pub async fn ready(&self) -> Result<Arc<Session>, Error> {
        let mut states = self.states();
        let state = states.wait_for(|state| matches!(state, State::Up(_) | State::Ended(_))).await;
        match state.map(|state| state.clone()) {
            Ok(State::Up(session)) => Ok(session),
            Ok(State::Ended(error)) => Err(error),
            _ => Err(Error::Stopped),
        }
    }

    /// Waits until the client has ended, and says why.
    pub async fn ended(&self) -> Error {
        let mut states = self.states();
        match states.wait_for(|state| matches!(state, State::Ended(_))).await.map(|state| state.clone()) {
            Ok(State::Ended(error)) => error,
            _ => Error::Stopped,
        }
    }

    /// Takes no more requests, waits until those that are open have their outcomes, but no longer than `within`, and
    /// [closes](Client::close).
    pub async fn close_when_answered(&self, within: Duration) {
        self.0.closing.store(true, Ordering::Relaxed);
        let mut waiting = self.0.waiting.subscribe();
        // Whoever still waits then is told that its outcome is unknown.
        _ = timeout(within, waiting.wait_for(|waiting| *waiting == 0)).await;
        self.close().await;
    }

    /// Logs out and ends the client: says goodbye to the gateway, which ends the session, erases what is kept of it and all tickets,
    /// and returns when that is done. Open requests become unknown.
    ///
    /// Without a link the gateway is not told, and keeps the session for a while. For the end of a process after which the user is
    /// still logged in there is [`Client::sleep`].
    pub async fn close(&self) {
        self.0.stop.send_replace(true);
        self.0.stop.closed().await;
    }
}

/// What is known of a request that is sent until it is answered.
struct Known {
    /// While it is not being sent.
    outcome: Outcome,
    /// What of it is being sent.
    sending: Option<Arc<Stage>>,
}

impl Known {
    /// What is to be said now that the time is over.
    fn at_last(self) -> Outcome {
        match self.sending {
            Some(stage) if !stage.give_up() => match self.outcome {
                Outcome::Unknown { .. } => self.outcome,
                _ => Outcome::Unknown { doubt: Doubt::NotAnswered },
            },
            _ => self.outcome,
        }
    }
}

/// Somebody who waits for an outcome.
struct Waits<'c>(&'c watch::Sender<usize>);

impl<'c> Waits<'c> {
    fn new(waiting: &'c watch::Sender<usize>) -> Self {
        waiting.send_modify(|waiting| *waiting += 1);
        Self(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting -= 1);
    }
}

async fn tcp(address: String) -> io::Result<TcpStream> {
    let at = |error: io::Error| io::Error::new(error.kind(), format!("{address}: {error}"));
    let found = lookup_host(&address).await.map_err(at)?;
    let socket = race(in_turns(found), TcpStream::connect).await.map_err(at)?;
    socket.set_nodelay(true)?;
    Ok(socket)
}
