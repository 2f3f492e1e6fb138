//! The life of a client: attempt, link, pause, and again, until somebody says that it is enough.

use std::future::Future;
use std::io;
use std::mem;
use std::time::Duration;

use bytes::Bytes;
use protocol::limits::{HEARTBEAT_MAX, HEARTBEAT_MIN};
use protocol::link::{ClientLink, Dial};
use protocol::noise::preamble::Rejection;
use protocol::noise::{Bound, Suite, Suites};
use protocol::wire::frame::Auth;
use protocol::wire::proto::link::Welcome;
use protocol::{CloseCode, Time};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::bound::may_be_shown;
use crate::clock::{random, unix};
use crate::config::{Config, Occasion};
use crate::error::{Closed, Error};
use crate::link::{Caller, Desk, Link};
use crate::pins::Pins;
use crate::state::{Continuity, Session, State};
use crate::tickets::Ticket;
use crate::wishes::Wanted;

/// Everything a client's task owns.
pub(crate) struct Shell<D> {
    pub(crate) config: Config,
    /// Opens a socket to an address.
    pub(crate) dialer: D,
    pub(crate) desk: Desk,
    pub(crate) pins: Pins,
    pub(crate) states: watch::Sender<State>,
    pub(crate) stop: watch::Receiver<bool>,
    /// What else the application wants: here that there is a new link, or one soon.
    pub(crate) wanted: Wanted,
    /// Whether the first attempt may fail.
    pub(crate) patient: bool,
}

/// What the task remembers between links, and no later run has to know.
struct Memory {
    occasion: Occasion,
    /// Which address is next.
    address: usize,
    /// Addresses that came to nothing since the last pause, or the last link.
    in_vain: usize,
    /// A link has just ended without a word.
    lost: bool,
    /// The longest that one of them wants to be left alone.
    busy_for: Duration,
    /// Attempts that failed since the last link that lived.
    failures: u32,
}

/// One way into a link.
struct Way<'w> {
    suite: Suite,
    /// Suites this client would rather have used.
    better: Suites,
    ticket: Option<&'w Ticket>,
    token: &'w [u8],
}

impl<D, F, S> Shell<D>
where
    D: FnMut(String) -> F,
    F: Future<Output = io::Result<S>>,
    S: AsyncRead + AsyncWrite + Unpin,
{
    /// Lives until the end.
    pub(crate) async fn live(mut self) {
        let mut memory = Memory {
            occasion: Occasion::Connect,
            address: 0,
            in_vain: 0,
            lost: false,
            busy_for: Duration::ZERO,
            failures: 0,
        };
        let numbers = self.desk.keeper.load(self.desk.clock.moment()).await;
        self.desk.ledger.restore(numbers);
        if !self.desk.keeper.kept.pins.is_empty() {
            self.pins = Pins::new(&self.desk.keeper.kept.pins);
        }
        let mut after = None;
        let end = loop {
            self.states.send_replace(State::Connecting { after: after.take() });
            let error = self.link_once(&mut memory).await;
            self.desk.ledger.lose();
            if error.refused_credentials().is_some() {
                self.desk.keeper.kept.tickets.forget();
            }
            if error.ends_session() {
                self.desk.keeper.end_session(self.desk.clock.moment());
            }
            match self.between(&mut memory, error).await {
                Ok(error) => after = error,
                Err(end) => break end,
            }
        };
        self.end(end).await;
    }

    /// Tells everybody that it is over, and waits whether the user logs out: of a client that has ended by itself, too.
    async fn end(self, end: Error) {
        let Self { desk, states, mut stop, .. } = self;
        let Desk { mut ledger, mut orders, mut keeper, inbox, clock, .. } = desk;
        orders.close();
        ledger.end();
        while let Ok(ask) = orders.try_recv() {
            ask.end_unsent();
        }
        if !*stop.borrow() {
            keeper.save(clock.moment()).await;
        }
        drop(inbox);
        states.send_replace(State::Ended(end));
        if stopped(&mut stop).await {
            keeper.erase(clock.moment()).await;
        }
    }

    /// A link, or an attempt, is over: waits for the time of the next one, and says what came before it.
    ///
    /// # Errors
    /// Why there will be none.
    async fn between(&mut self, memory: &mut Memory, error: Error) -> Result<Option<Error>, Error> {
        if error.is_final() {
            return Err(error);
        }
        if error == Error::Asleep {
            return self.sleep().await;
        }
        if error == Error::Abandoned || memory.has_another(&self.config) {
            return Ok(Some(error));
        }
        if !self.patient {
            return Err(error);
        }
        let Pause { asked, whole } = memory.pause(&self.config, &error);
        self.states.send_replace(State::Waiting { error: error.clone(), pause: whole });
        let (mut stop, mut asleep, wanted) = (self.stop.clone(), self.wanted.clone(), &mut self.wanted);
        let over = async {
            // What the gateway asked for holds, whatever the application wants.
            sleep(asked).await;
            tokio::select! {
                () = wanted.any() => {}
                () = sleep(whole - asked) => {}
            }
        };
        tokio::select! {
            biased;
            _ = stopped(&mut stop) => return Err(Error::Stopped),
            () = asleep.sleep() => {}
            () = over => return Ok(Some(error)),
            never = self.desk.keeper.tend(self.desk.clock) => match never {},
        }
        self.sleep().await
    }

    /// Waits until the application wants a link again.
    async fn sleep(&mut self) -> Result<Option<Error>, Error> {
        self.desk.keeper.save(self.desk.clock.moment()).await;
        self.states.send_replace(State::Asleep);
        tokio::select! {
            biased;
            _ = stopped(&mut self.stop) => Err(Error::Stopped),
            () = self.wanted.wake() => Ok(None),
            never = self.desk.keeper.tend(self.desk.clock) => match never {},
        }
    }

    /// One attempt and, if it succeeds, the life of its link. Returns why it is over.
    async fn link_once(&mut self, memory: &mut Memory) -> Error {
        self.wanted.forget();
        let (mut stop, mut wanted, mut asleep) =
            (self.stop.clone(), self.wanted.clone(), self.wanted.clone());
        let opened = tokio::select! {
            biased;
            _ = stopped(&mut stop) => return Error::Stopped,
            () = asleep.sleep() => return Error::Asleep,
            () = wanted.reconnect() => return Error::Abandoned,
            opened = self.attempt(memory) => opened,
        };
        let (mut link, session) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                memory.failed(&error);
                return error;
            }
        };
        self.patient = true;
        let (since, heartbeat) = (self.desk.clock.now(), session.heartbeat);
        self.states.send_replace(State::Up(session.into()));
        self.desk.wanted.forget();
        let error = tokio::select! {
            biased;
            _ = stopped(&mut stop) => Error::Stopped,
            () = asleep.sleep() => Error::Asleep,
            () = wanted.reconnect() => Error::Abandoned,
            error = link.run(&mut self.desk) => error,
        };
        // A probe that was answered is no reason to hurry when the link ends later; one that was not is heeded at once.
        if error != Error::Protocol(protocol::Error::HeartbeatTimeout) {
            self.wanted.forget();
        }
        memory.ended(&error, self.desk.clock.now().since(since) >= heartbeat);
        match error {
            Error::Stopped | Error::Asleep => {
                link.acknowledge_last(&mut self.desk).await;
                link.farewell(self.parting()).await;
            }
            Error::Protocol(error) => say_why(link, error).await,
            _ => {}
        }
        error
    }

    /// What the gateway is told when the application wants no link: whether to keep the session. Of a client that nobody holds any more
    /// it does so only if a later run can go on.
    fn parting(&self) -> CloseCode {
        let logs_out = *self.stop.borrow();
        let is_held = self.stop.has_changed().is_ok();
        let goes_on = !logs_out && (is_held || self.desk.keeper.is_durable());
        if goes_on { CloseCode::Moving } else { CloseCode::Normal }
    }

    /// One attempt: with a ticket if there is one; if that comes to nothing, once more without.
    async fn attempt(&mut self, memory: &mut Memory) -> Result<(Link<S>, Session), Error> {
        self.pins.begin(unix());
        if let Some(ticket) = self.desk.keeper.kept.ticket(self.desk.clock.now()) {
            let way = Way { suite: ticket.suite, better: Suites::NONE, ticket: Some(&ticket), token: &[] };
            match self.try_way(&way, memory).await {
                // Silence may mean many things, so the other tickets are kept for later.
                Err(Error::Silence) => {}
                Err(Error::Rejected(reply)) if reply.reason == Rejection::TicketRefused as u8 => {}
                // No full handshake instead: it would cost a busy gateway more.
                Err(error) if error.is_busy() || matches!(error, Error::Network(..)) => {
                    self.desk.keeper.kept.tickets.put_back(ticket);
                    return Err(error);
                }
                // Anybody on the path could have said it: it decides about the next try and throws nothing away.
                Err(Error::Rejected(_)) => self.desk.keeper.kept.tickets.put_back(ticket),
                other => return other,
            }
        }
        let token = self.config.credentials.get(memory.occasion).await?;
        if let Some(key) = self.config.device_key.as_ref().filter(|_| self.config.is_unpinned())
            && !may_be_shown(&token, &key.public())
        {
            return Err(Error::Unbound);
        }
        self.attempt_in_full(&token, memory).await
    }

    /// A full handshake. After a clear reply it goes on down the compiled-in list and among the keys that are held, and
    /// nowhere else (SPEC.md, section 3.2); after silence with the other keys, at the same address.
    async fn attempt_in_full(
        &mut self,
        token: &Bytes,
        memory: &mut Memory,
    ) -> Result<(Link<S>, Session), Error> {
        let (mut at, mut tries) = (0, self.config.suites.len() + self.pins.len());
        loop {
            let better = Suites::of(&self.config.suites[..at]);
            let way = Way { suite: self.config.suites[at], better, ticket: None, token };
            let error = match self.try_way(&way, memory).await {
                Err(error) => error,
                opened => return opened,
            };
            tries -= 1;
            let next = match &error {
                Error::Rejected(reply) if reply.reason == Rejection::Suite as u8 => {
                    self.next_suite(at, reply.suites)
                }
                Error::Rejected(reply) if reply.reason == Rejection::RetiredKey as u8 => {
                    self.pins.prefer(reply.key_id, unix()).then_some(at)
                }
                Error::Silence => self.pins.doubt(unix()).then_some(at),
                _ => None,
            };
            match next {
                Some(next) if tries > 0 => at = next,
                _ => return Err(error),
            }
        }
    }

    /// The next suite of the list that is offered; none if the gateway has once said, on a link that proved its key, to
    /// serve a better one.
    fn next_suite(&self, at: usize, offered: Suites) -> Option<usize> {
        let suites = &self.config.suites;
        let next = (at + 1..suites.len()).find(|&next| offered.contains(suites[next]))?;
        if self.config.is_unpinned() {
            return Some(next);
        }
        let served = self.pins.current().0.suites;
        served.intersection(Suites::of(&suites[..next])).is_empty().then_some(next)
    }

    /// Connects, shakes hands, authenticates.
    async fn try_way(&mut self, way: &Way<'_>, memory: &mut Memory) -> Result<(Link<S>, Session), Error> {
        let within = self.config.attempt_timeout;
        timeout(within, self.try_way_in_time(way, memory)).await.unwrap_or(Err(Error::Timeout))
    }

    async fn try_way_in_time(
        &mut self,
        way: &Way<'_>,
        memory: &mut Memory,
    ) -> Result<(Link<S>, Session), Error> {
        let address = self.config.addresses[memory.address % self.config.addresses.len()].clone();
        let socket = (self.dialer)(address).await.map_err(|error| Error::network(&error))?;
        let [phase, ephemeral @ ..] = random::<33>().map_err(|error| Error::network(&error))?;
        let mut hello = Vec::new();
        let machine = self.dial(way, ephemeral, self.desk.clock.now(), &mut hello)?;
        let mut link = Link::new(socket, machine, hello, way.suite.proves_server());
        let heartbeat_ms = u32::try_from(self.config.heartbeat.as_millis()).unwrap_or(u32::MAX);
        let auth = Auth {
            token: way.token,
            // A ticket says who the user is, and need not say the same as the claim with which it was had.
            user: if way.ticket.is_some() { &[] } else { &self.config.user },
            device: &self.config.device,
            heartbeat_ms,
            agent: &self.config.agent,
            ..Auth::default()
        };
        let bound = way.ticket.map_or(Bound::Token(way.token), |ticket| Bound::Ticket(&ticket.ticket));
        // Whoever took a link without a pin could pass the signature on while the hash is of use elsewhere.
        let binder = self.config.binder.as_ref().filter(|_| !way.suite.is_unpinned());
        let sign = |h: &[u8; 32]| binder.map_or_else(Bytes::new, |binder| binder.sign(&bound.message(h)));
        let opened = link.open(&Caller { auth, sign: &sign, phase }, &mut self.desk).await;
        if let Some(offered) = link.offered().filter(|_| way.suite.proves_server()) {
            self.pins.proved();
            self.desk.keeper.kept.pins = self.pins.all();
            self.desk.keeper.kept.proved(offered, self.desk.clock.now());
        }
        match opened {
            Ok((mut welcome, continuity)) => {
                let session = self.learn(&welcome, continuity, way, memory);
                welcome.wipe();
                self.desk.keeper.begin_save(self.desk.clock.moment());
                Ok((link, session))
            }
            Err(error) => {
                // What was sent early and not answered is lost with this try, before another one begins.
                self.desk.ledger.lose();
                if let Error::Protocol(breach) = error {
                    say_why(link, breach).await;
                }
                Err(error)
            }
        }
    }

    fn dial(
        &self,
        way: &Way<'_>,
        ephemeral: [u8; 32],
        now: Time,
        hello: &mut Vec<u8>,
    ) -> Result<ClientLink, Error> {
        if let Some(key) = self.config.device_key.as_ref().filter(|_| way.suite.is_unpinned()) {
            return Ok(ClientLink::dial_unpinned(way.suite, way.better, key, ephemeral, now, hello)?);
        }
        let (server, gate) = self.pins.current();
        let dial = Dial {
            server: &server.key,
            gate,
            suite: way.suite,
            better: way.better,
            served: server.suites,
            device_key: self.config.device_key.as_ref().filter(|_| is_ik(way.suite)),
            ticket: way.ticket.map(|ticket| (&ticket.ticket[..], &*ticket.psk)),
        };
        Ok(ClientLink::dial(&dial, ephemeral, now, hello)?)
    }

    fn learn(
        &mut self,
        welcome: &Welcome,
        continuity: Continuity,
        way: &Way<'_>,
        memory: &mut Memory,
    ) -> Session {
        // Whoever has stolen a ticket's secret can open such a link: it must not choose the keys of the next ones.
        if way.suite.proves_server() {
            self.pins.learn(welcome, unix());
            self.desk.keeper.kept.pins = self.pins.all();
        }
        if self.config.tickets && !way.suite.is_unpinned() {
            self.desk.keeper.kept.tickets.learn(welcome, way.suite.cipher(), self.desk.clock.now());
        }
        memory.occasion = Occasion::Connect;
        Session {
            id: welcome.session.clone(),
            continuity,
            user: welcome.user.clone(),
            suite: way.suite,
            heartbeat: Duration::from_millis(welcome.heartbeat_ms.into()).clamp(HEARTBEAT_MIN, HEARTBEAT_MAX),
            server_keys: self.pins.all(),
        }
    }
}

impl Memory {
    /// An attempt came to nothing. Where nobody answered, or in the clear, as anybody on the way could have, another address
    /// may do better at once; what a gateway has said under its keys is heeded.
    fn failed(&mut self, error: &Error) {
        self.address = self.address.wrapping_add(1);
        let unproved = matches!(
            error,
            Error::Network(..) | Error::Silence | Error::Timeout | Error::Cut | Error::Rejected(_)
        );
        self.in_vain = if unproved { self.in_vain + 1 } else { 0 };
        self.busy_for = self.busy_for.max(error.retry_after());
        self.credentials(error);
    }

    /// Whether there is an address that was not tried since the last pause, or since a link was lost.
    fn has_another(&mut self, config: &Config) -> bool {
        let first = if mem::take(&mut self.lost) { 0 } else { 1 };
        config.addresses.len() > 1 && (first..config.addresses.len()).contains(&self.in_vain)
    }

    /// A link is over. One that broke may have left a gateway that stands still: it is asked last.
    fn ended(&mut self, error: &Error, lived: bool) {
        if lived {
            self.failures = 0;
        }
        (self.in_vain, self.busy_for) = (0, Duration::ZERO);
        let stays = |closed: &Closed| closed.code != Some(CloseCode::GoingAway);
        match error {
            Error::Closed(closed) if stays(closed) => {}
            // The gateway is well, and the way to it has changed, or nobody wanted it for a while.
            Error::Abandoned | Error::Asleep => {}
            Error::Closed(_) => self.address = self.address.wrapping_add(1),
            // Nobody said anything: another one is tried at once, and this one at the end of the round.
            _ => (self.address, self.lost) = (self.address.wrapping_add(1), true),
        }
        self.credentials(error);
    }

    fn credentials(&mut self, error: &Error) {
        if let Some(code) = error.refused_credentials() {
            self.occasion = Occasion::Refused(code);
        }
    }

    /// How long to stay away.
    fn pause(&mut self, config: &Config, error: &Error) -> Pause {
        self.in_vain = 0;
        let asked = mem::take(&mut self.busy_for).max(error.retry_after());
        let aged = matches!(error, Error::Closed(closed) if closed.code == Some(CloseCode::LinkAge));
        let whole = if aged && self.failures == 0 {
            asked
        } else {
            // Without randomness everybody waits the longest.
            let random = random().map_or(u64::MAX, u64::from_ne_bytes);
            config.backoff.pause(self.failures, asked, random)
        };
        self.failures = self.failures.saturating_add(1);
        Pause { asked, whole }
    }
}

/// How long a client stays away.
struct Pause {
    /// What a gateway asked for, a part of the whole.
    asked: Duration,
    whole: Duration,
}

/// Resolves when the application wants no more, and says whether it has closed the client; if not, it dropped its last handle.
async fn stopped(stop: &mut watch::Receiver<bool>) -> bool {
    stop.wait_for(|stop| *stop).await.is_ok()
}

/// The gateway broke a rule: tells it which, unless the specification demands silence, or nobody is there to hear.
async fn say_why<S: AsyncRead + AsyncWrite + Unpin>(link: Link<S>, error: protocol::Error) {
    if let Some(code) = error.close_code().filter(|code| *code != CloseCode::HeartbeatTimeout)
        && link.has_keys()
    {
        link.farewell(code).await;
    }
}

const fn is_ik(suite: Suite) -> bool {
    matches!(suite, Suite::IkChaChaPoly | Suite::IkAesGcm)
}
