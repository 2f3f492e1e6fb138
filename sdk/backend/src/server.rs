//! The server: what it is built from, and the loop that accepts streams.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use protocol::limits::{INSTANCE_LEN_MAX, ROUTE_LEN_MAX, ROUTES_MAX};
use protocol::stream::Params;
use protocol::wire::stream::StreamRequest;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::bounds::Bounds;
use crate::clock::Clock;
use crate::counters::{Counters, Counts};
use crate::gateway::{Gateway, Registry};
use crate::ledger::Ledger;
use crate::listen::{Listen, Listener, Security};
use crate::newcomers::{Newcomer, Newcomers};
use crate::random::random;
use crate::reply::{Answer, IntoReply, Reply};
use crate::service::{Ask, Event, Handler, OrderBy, Request, Service, Verdict};
use crate::shared::Shared;
use crate::stream;

/// Builds a [`Server`].
#[derive(Debug)]
pub struct Builder {
    service: Service,
    params: Params,
    bounds: Bounds,
    instance: Vec<u8>,
}

/// Accepts streams of gateways and serves them.
#[derive(Debug)]
pub struct Server {
    listener: Listener,
    shared: Arc<Shared>,
}

impl Builder {
    /// Serves a route with a handler that takes its time; each request runs as a task of its own. It comes to a [`Reply`], or to
    /// a [`Result`] of one, see [`IntoReply`].
    ///
    /// The task is dropped at its next `await`, without an answer, when its stream ends, when the request's deadline
    /// has passed, and when a stopping server has waited for [`Bounds::drain_deadline`]. What must not end halfway
    /// belongs in a task that the handler spawns and awaits: that one goes on. The client hears *unknown*
    /// and may ask again under the same [`Request::id`]. So it does when the handler panics, in its task or before.
    #[must_use]
    pub fn route<F, R>(mut self, name: &str, handler: F) -> Self
    where
        F: Fn(Request) -> R + Send + Sync + 'static,
        R: Future<Output: IntoReply> + Send + 'static,
    {
        self.service.routes.push((name.to_owned(), later(handler, None)));
        self
    }

    /// The same, and requests of one user, or of one user and key, are handled one after the other, each when the one before has
    /// come to its end, in the order in which they came on a stream: requests of one session do, where the gateway's
    /// operator balances the route by user or key. On a runtime of several threads the tasks of [`Builder::route`] are in no order.
    ///
    /// A request's deadline counts from when it came, not from its turn. At most [`Bounds::ordered_max`] of one user or key wait;
    /// one more is refused as busy, and a client that sends it again does so behind those that came meanwhile.
    #[must_use]
    pub fn route_ordered<F, R>(mut self, name: &str, by: OrderBy, handler: F) -> Self
    where
        F: Fn(Request) -> R + Send + Sync + 'static,
        R: Future<Output: IntoReply> + Send + 'static,
    {
        self.service.routes.push((name.to_owned(), later(handler, Some(by))));
        self
    }

    /// Serves a route with a handler that answers at once, on the stream's own task and without allocating. It must
    /// not block. When it panics, its request has no answer, and all others have theirs.
    #[must_use]
    pub fn route_now<F>(mut self, name: &str, handler: F) -> Self
    where
        F: Fn(&StreamRequest<'_>, &Gateway, &mut Answer) + Send + Sync + 'static,
    {
        self.service.routes.push((name.to_owned(), Handler::Now(Box::new(handler))));
        self
    }

    /// Judges tokens. Without it every question is answered with `try_later`.
    #[must_use]
    pub fn authenticate<F, R>(mut self, judge: F) -> Self
    where
        F: Fn(Ask) -> R + Send + Sync + 'static,
        R: Future<Output = Verdict> + Send + 'static,
    {
        self.service.judge = Some(Box::new(move |ask| Box::pin(judge(ask))));
        self
    }

    /// Listens to everything beside requests: streams, links, reports.
    #[must_use]
    pub fn events<F>(mut self, ear: F) -> Self
    where
        F: Fn(Event<'_>, &Gateway) + Send + Sync + 'static,
    {
        self.service.ear = Some(Box::new(ear));
        self
    }

    /// What is asked of gateways and granted to them. While answers of more than `pending_bytes_max` bytes in all,
    /// counting 64 more for each, wait for a gateway's credit, its requests are refused as busy.
    #[must_use]
    pub fn params(mut self, params: Params) -> Self {
        self.params = params;
        self
    }

    /// How much is taken on.
    #[must_use]
    pub fn bounds(mut self, bounds: Bounds) -> Self {
        self.bounds = bounds;
        self
    }

    /// Names this process towards gateways, 1 to 64 bytes; random unless set.
    #[must_use]
    pub fn instance(mut self, instance: impl Into<Vec<u8>>) -> Self {
        self.instance = instance.into();
        self
    }

    /// Binds the listener. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// Whatever the system says; `InvalidInput` for names, numbers or a security that are not allowed.
    pub fn bind(mut self, listen: &Listen, security: Security) -> io::Result<Server> {
        self.check().map_err(|text| io::Error::new(io::ErrorKind::InvalidInput, text))?;
        if self.instance.is_empty() {
            self.instance = random::<8>()?.to_vec();
        }
        let listener = Listener::bind(listen, &security)?;
        let shared = Shared {
            service: self.service,
            access: Arc::new(security.access()),
            params: self.params,
            bounds: self.bounds,
            instance: self.instance,
            boot: random()?,
            gateways: Registry::default(),
            ledger: Ledger::new(&self.bounds),
            clock: Clock::start(),
            counters: Counters::default(),
            streams: AtomicU64::new(1),
        };
        Ok(Server { listener, shared: Arc::new(shared) })
    }

    fn check(&self) -> Result<(), &'static str> {
        let names: Vec<&str> = self.service.routes.iter().map(|(name, _)| name.as_str()).collect();
        if names.len() > ROUTES_MAX || !names.iter().all(|name| (1..=ROUTE_LEN_MAX).contains(&name.len())) {
            return Err("at most 64 routes, with names of 1 to 32 bytes");
        }
        if (1..names.len()).any(|index| names[..index].contains(&names[index])) {
            return Err("two handlers for one route");
        }
        if self.instance.len() > INSTANCE_LEN_MAX {
            return Err("an instance's name has at most 64 bytes");
        }
        // Above it the queue itself would panic, when the first stream comes.
        let queues = [self.bounds.pushes_max, self.bounds.deliveries_max];
        if !queues.iter().all(|most| (1..=Semaphore::MAX_PERMITS).contains(most)) {
            return Err("pushes_max and deliveries_max must lie between 1 and usize::MAX / 8");
        }
        if self.bounds.newcomers_max == 0 {
            return Err("newcomers_max must be at least 1");
        }
        self.params.check()
    }
}

/// A handler that takes its time.
fn later<F, R>(handler: F, by: Option<OrderBy>) -> Handler
where
    F: Fn(Request) -> R + Send + Sync + 'static,
    R: Future<Output: IntoReply> + Send + 'static,
{
    let handle = move |request| {
        let work = handler(request);
        Box::pin(async move { work.await.into_reply() }) as Pin<Box<dyn Future<Output = Reply> + Send>>
    };
    Handler::Later(Box::new(handle), by)
}

impl Server {
    /// A server without routes yet.
    #[must_use]
    pub fn builder() -> Builder {
        Builder {
            service: Service::default(),
            params: Params::default(),
            bounds: Bounds::default(),
            instance: Vec::new(),
        }
    }

    /// Where it listens, with the port that was taken.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn place(&self) -> io::Result<Listen> {
        self.listener.place()
    }

    /// The live streams at this moment; see [`Server::watch`] to look later.
    #[must_use]
    pub fn gateways(&self) -> Vec<Gateway> {
        self.shared.gateways.all()
    }

    /// A look at the live streams that outlives the call to [`Server::serve`].
    pub fn watch(&self) -> impl Fn() -> Vec<Gateway> + Clone + Send + Sync + use<> {
        let shared = Arc::clone(&self.shared);
        move || shared.gateways.all()
    }

    /// A look at what has been counted that outlives the call to [`Server::serve`].
    pub fn watch_counts(&self) -> impl Fn() -> Counts + Clone + Send + Sync + use<> {
        let shared = Arc::clone(&self.shared);
        move || shared.counters.counts()
    }

    /// Serves until `stop` is over. Then nothing new is accepted, and new requests are refused as draining. A stream
    /// whose handlers have answered and whose gateway has taken the answers is closed when no request has come for
    /// 100 ms, or after 1 s if requests never cease; every other one after [`Bounds::drain_deadline`], and what is
    /// not written 1 s later is lost. For clients only those requests remain unknown whose answers are not written
    /// by then, and those that cross the close.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let Self { listener, shared } = self;
        // Whoever waits for what becomes of a push must not do so for ever, however this ends.
        let books = Books(&shared.ledger);
        let (stopping, stopped) = watch::channel(false);
        let mut streams = JoinSet::new();
        let mut newcomers = Newcomers::new(shared.bounds.newcomers_max);
        let mut stop = pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                socket = accept(&listener) => match socket {
                    Ok(socket) => {
                        let newcomer = Newcomer::default();
                        let serving = socket.serve(Arc::clone(&shared), newcomer.clone(), stopped.clone());
                        let evicted = newcomers.admit(newcomer, streams.spawn(serving));
                        shared.counters.newcomers_evicted.add(evicted);
                    }
                    // Out of descriptors, most likely: accepting again at once would spin.
                    Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
                },
                Some(_) = streams.join_next(), if !streams.is_empty() => {}
                () = shared.ledger.wait(shared.clock) => shared.ledger.expire(shared.clock.now()),
            }
        }
        drop(listener);
        // Streams that ended by themselves need not be told.
        _ = stopping.send(true);
        while !streams.is_empty() {
            tokio::select! {
                _ = streams.join_next() => {}
                () = shared.ledger.wait(shared.clock) => shared.ledger.expire(shared.clock.now()),
            }
        }
        drop(books);
    }
}

/// Closes the books when the server is over.
struct Books<'s>(&'s Ledger);

impl Drop for Books<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

async fn accept(listener: &Listener) -> io::Result<Socket> {
    match listener {
        Listener::Unix(_, listener, allowed) => loop {
            let (socket, _) = listener.accept().await?;
            if allowed.allows(&socket) {
                return Ok(Socket::Unix(socket));
            }
        },
        Listener::Tcp(listener) => {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            Ok(Socket::Tcp(socket))
        }
    }
}

impl Socket {
    async fn serve(self, shared: Arc<Shared>, newcomer: Newcomer, stop: watch::Receiver<bool>) {
        match self {
            Self::Unix(mut socket) => {
                let (reader, writer) = socket.split();
                stream::serve(reader, writer, &shared, newcomer, stop).await;
            }
            Self::Tcp(mut socket) => {
                let (reader, writer) = socket.split();
                stream::serve(reader, writer, &shared, newcomer, stop).await;
            }
        }
    }
}
