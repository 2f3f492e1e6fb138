//! What the application holds of a client: a handle.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use protocol::link::backoff::Backoff;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use crate::budget::Budget;
use crate::clock::{Clock, random, unix};
use crate::config::Config;
use crate::error::Error;
use crate::ledger::{Ask, Ledger};
use crate::link::Desk;
use crate::pins::Pins;
use crate::push::{Inbox, Pushes};
use crate::race::{in_turns, race};
use crate::request::{Doubt, Namer, Outcome, Reason, Request};
use crate::shell::Shell;
use crate::state::{Session, State, Warning};
use crate::wishes::{Wanted, Wishes};

/// A handle on a client, whose task keeps it linked. Cheap to clone; with the last handle the client ends, and the
/// gateway is told.
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    orders: mpsc::Sender<Ask>,
    states: watch::Receiver<State>,
    warnings: watch::Receiver<Option<Warning>>,
    stop: watch::Sender<bool>,
    wishes: watch::Sender<Wishes>,
    /// How many wait for the outcome of a request.
    waiting: watch::Sender<usize>,
    /// Whether no more requests are taken.
    closing: AtomicBool,
    links_ended: Arc<AtomicU64>,
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
        let (stop, stopped) = watch::channel(false);
        let (wishes, wanted) = watch::channel(Wishes::default());
        let (wanted, clock, backoff) = (Wanted::new(wanted), Clock::start(), config.backoff);
        let namer = Namer::new(&config.user, &config.device);
        let links_ended = Arc::<AtomicU64>::default();
        let shell = Shell {
            pins: Pins::new(&config.server_keys),
            config,
            dialer,
            desk: Desk {
                ledger: Ledger::new(),
                orders: taken,
                inbox: Inbox::new(queue),
                warned,
                wanted: wanted.clone(),
                links_ended: Arc::clone(&links_ended),
                clock,
            },
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
            stop,
            wishes,
            waiting: watch::Sender::new(0),
            closing: AtomicBool::new(false),
            links_ended,
            budget: Budget::new(clock.now()),
            backoff,
            clock,
            namer,
        };
        Ok((Self(Arc::new(inner)), Pushes::new(pushes)))
    }

    /// Sends a request and returns its outcome. `key` orders requests of one route; empty: no order.
    ///
    /// While there is no link, or as much is open as the gateway grants, it waits. Dropping the future is safe at any
    /// time: a request that was not sent yet never will be.
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
        if self.0.closing.load(Ordering::Relaxed) {
            return Outcome::refused(Reason::Ended);
        }
        self.ask(request).await
    }

    async fn ask(&self, request: &Request) -> Outcome {
        if let Err(reason) = request.check() {
            return Outcome::refused(reason);
        }
        if !request.again {
            self.0.budget.earn();
        }
        let _waits = Waits::new(&self.0.waiting);
        let (ask, outcome) = Ask::new(request.clone());
        if self.0.orders.send(ask).await.is_err() {
            return Outcome::refused(Reason::Ended);
        }
        // The task resolves every request; it only fails to if the runtime dies with it.
        outcome.await.unwrap_or(Outcome::lost())
    }

    /// Sends a request again and again, with the same id, until it is answered, [was answered before](Doubt::AnsweredBefore) or
    /// refused [for good](Reason::is_final), or `within` is over. So the backend does it once at most.
    ///
    /// It is sent again at once when its link has ended, on the next one. After any other unknown outcome, and after a refusal, it
    /// waits as long as the gateway asks, or else longer each time at random, up to
    /// [`Config::backoff`](crate::Config::backoff); and of all requests of a client one in ten may be such a repeat, three in any
    /// case, so that clients do not multiply what a service in trouble has to bear: over that they wait for their turn.
    ///
    /// [`Outcome::Refused`] means that nothing has happened through any of the sendings; when the time is over, or it is refused
    /// after one of them has ended unknown, that is [`Outcome::Unknown`].
    pub async fn send_until_answered(&self, request: &Request, within: Duration) -> Outcome {
        let mut last = Outcome::Unknown { doubt: Doubt::NotAnswered };
        timeout(within, self.repeat(request, &mut last)).await.unwrap_or(last)
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

    /// Sends until it makes no sense any more. `last` is what is known of it if that takes too long.
    async fn repeat(&self, request: &Request, last: &mut Outcome) -> Outcome {
        let (mut request, mut tries, mut doubt) = (request.clone(), 0, None);
        loop {
            let before = self.0.links_ended.load(Ordering::Relaxed);
            *last = Outcome::Unknown { doubt: Doubt::NotAnswered };
            let outcome = self.send(&request).await;
            // It is counted before the outcomes are given.
            let link_ended = before != self.0.links_ended.load(Ordering::Relaxed);
            let (asked, is_final, at_once) = match &outcome {
                Outcome::Answered { .. } => return outcome,
                Outcome::Refused { reason, retry_after } => (*retry_after, reason.is_final(), false),
                Outcome::Unknown { doubt: found } => {
                    doubt = Some(*found);
                    (Duration::ZERO, *found == Doubt::AnsweredBefore, link_ended)
                }
            };
            *last = doubt.map_or(outcome, |doubt| Outcome::Unknown { doubt });
            if is_final {
                return last.clone();
            }
            request.again = true;
            if !at_once {
                self.pause(tries, asked).await;
                tries += 1;
            }
        }
    }

    /// Waits until a request may be sent again: as long as the gateway asked, else at random, and until the budget allows it.
    async fn pause(&self, tries: u32, asked: Duration) {
        let pause = if asked.is_zero() {
            // Without randomness everybody waits the longest.
            self.0.backoff.pause(tries, asked, random().map_or(u64::MAX, u64::from_ne_bytes))
        } else {
            asked
        };
        sleep(pause).await;
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

    /// Ends the client: says goodbye to the gateway, and returns when that is done. Open requests become unknown.
    pub async fn close(&self) {
        self.0.stop.send_replace(true);
        self.ended().await;
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
