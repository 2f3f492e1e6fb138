//! What the application holds of a client: a handle.

use std::future::Future;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::{mpsc, watch};

use crate::clock::{Clock, random, unix};
use crate::config::Config;
use crate::error::Error;
use crate::ledger::{Ask, Ledger};
use crate::link::Desk;
use crate::pins::Pins;
use crate::push::{Inbox, Pushes};
use crate::race::{in_turns, race};
use crate::request::{Namer, Outcome, Reason, Request};
use crate::shell::Shell;
use crate::state::{Session, State, Warning};

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
        let namer = Namer::new(&config.user, &config.device);
        let shell = Shell {
            pins: Pins::new(&config.server_keys),
            config,
            dialer,
            desk: Desk {
                ledger: Ledger::new(),
                orders: taken,
                inbox: Inbox::new(queue),
                warned,
                clock: Clock::start(),
            },
            states: said,
            stop: stopped,
            patient,
        };
        tokio::spawn(shell.live());
        Ok((Self(Arc::new(Inner { orders, states, warnings, stop, namer })), Pushes::new(pushes)))
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
        if let Err(reason) = request.check() {
            return Outcome::refused(reason);
        }
        let (ask, outcome) = Ask::new(request.clone());
        if self.0.orders.send(ask).await.is_err() {
            return Outcome::refused(Reason::Ended);
        }
        // The task resolves every request; it only fails to if the runtime dies with it.
        outcome.await.unwrap_or(Outcome::Unknown)
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

    /// Ends the client: says goodbye to the gateway, and returns when that is done. Open requests become unknown.
    pub async fn close(&self) {
        self.0.stop.send_replace(true);
        self.ended().await;
    }
}

async fn tcp(address: String) -> io::Result<TcpStream> {
    let at = |error: io::Error| io::Error::new(error.kind(), format!("{address}: {error}"));
    let found = lookup_host(&address).await.map_err(at)?;
    let socket = race(in_turns(found), TcpStream::connect).await.map_err(at)?;
    socket.set_nodelay(true)?;
    Ok(socket)
}
