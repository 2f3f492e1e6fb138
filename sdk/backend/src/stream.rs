//! One stream: a socket, the machine that knows the rules, and the handlers that are at work.
//!
//! ```text
//!   read ──► machine ──► handler at once ──► answer ──┐
//!                  └───► task ──► reply ──► unsent ───┼──► machine ──► one write for all of it
//!   handles ──► pushes (bounded) ──► push ────────────┤
//!         └───► kicks (bounded) ──────────────────────┘
//! ```
//!
//! Everything runs on one task, so nothing is locked. Every wake-up does all there is to do and then writes once.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use protocol::limits::{LINGER_BYTES_MAX, LINGER_MAX};
use protocol::stream::{BackendStream, Ephemeral, ToBackend};
use protocol::wire::stream::{About, Authenticate, Flawed, Report, StreamRequest};
use protocol::{CloseCode, Error, Refusal, Time};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};

use crate::backlog::{Asked, Backlog};
use crate::drain::Drain;
use crate::gateway::Gateway;
use crate::handed::{Handed, Takes};
use crate::newcomers::Newcomer;
use crate::random::ephemeral;
use crate::reply::{Answer, Head, Reply};
use crate::service::{Ask, Ended, Event, Handler, Later, Request, Verdict};
use crate::shared::Shared;
use crate::turns::{Arrived, Key};
use crate::work::{Finished, Joined, Waiting, Work};

/// Serves one stream from accept to close.
pub(crate) async fn serve<R, W>(
    mut reader: R,
    mut writer: W,
    shared: &Shared,
    newcomer: Newcomer,
    stop: watch::Receiver<bool>,
) where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    // Without randomness there can be no handshake; the gateway dials again.
    let Ok(ephemeral) = ephemeral() else { return };
    let mut shell = Shell::new(shared, newcomer, ephemeral);
    let ended = shell.run(&mut reader, &mut writer, stop).await;
    shell.leave().await;
    shell.forget(ended);
    shell.work.abort();
    if shell.say_goodbye(ended) {
        // The gateway may be gone already.
        _ = timeout(LINGER_MAX, shell.linger(&mut reader, &mut writer)).await;
    }
}

struct Shell<'s> {
    shared: &'s Shared,
    stream: BackendStream,
    newcomer: Newcomer,
    /// Once the gateway has introduced itself.
    gateway: Option<Gateway>,
    /// What handles want of this stream; none has a handle before the gateway has introduced itself.
    handed: Option<Handed>,
    unsent: Backlog,
    work: Work,
    answer: Answer,
    /// The batch that is being written, and how much of it was.
    batch: Vec<u8>,
    written: usize,
    /// Set when the server stops.
    drain: Option<Drain>,
    /// When a gateway that seems to be silent is given up, unless something is found in its socket.
    looks_again: Option<Time>,
}

/// A timer this far ahead goes off in a later turn of the runtime, which looks at the sockets first.
const TURN: Duration = Duration::from_millis(1);
/// Bytes read at once.
const READ_LEN: usize = 64 * 1024;
/// The same before the gateway has introduced itself: until then it may be anybody.
const HELLO_READ_LEN: usize = 2 * 1024;

impl<'s> Shell<'s> {
    fn new(shared: &'s Shared, newcomer: Newcomer, ephemeral: Ephemeral) -> Self {
        let routes = shared.service.routes.iter().map(|(name, _)| name.clone()).collect();
        let (access, now) = (Arc::clone(&shared.access), shared.clock.now());
        let stream = BackendStream::new(access, shared.params, &shared.instance, routes, ephemeral, now);
        Self {
            shared,
            stream: stream.with_boot(shared.boot),
            newcomer,
            gateway: None,
            handed: None,
            unsent: Backlog::default(),
            work: Work::default(),
            answer: Answer::default(),
            batch: Vec::new(),
            written: 0,
            drain: None,
            looks_again: None,
        }
    }

    async fn run<R, W>(&mut self, reader: &mut R, writer: &mut W, mut stop: watch::Receiver<bool>) -> Ended
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut buffer = vec![0; HELLO_READ_LEN];
        let mut timer = pin!(sleep_until(self.wake_at()));
        loop {
            // An error means that the server is gone.
            if self.drain.is_none() && stop.has_changed().unwrap_or(true) {
                self.stop();
            }
            self.catch_up();
            if self.flush(writer).await.is_err() {
                return Ended::Broken;
            }
            if self.is_out_of_time() {
                return Ended::Stopped;
            }
            if self.gateway.is_some() {
                buffer.resize(READ_LEN, 0);
            }
            // Deadlines mostly move away; a timer that fires too early costs less than one that is always moved.
            let wake_at = self.wake_at();
            if wake_at < timer.deadline() {
                timer.as_mut().reset(wake_at);
            }
            let takes = self.takes();
            tokio::select! {
                // Time passes only when nothing is left to read: a process that stood still must not call a gateway
                // dead whose pings wait in the kernel. What this could starve is looked after above and in `receive`.
                biased;
                read = reader.read(&mut buffer) => match read {
                    Ok(0) | Err(_) => return Ended::Broken,
                    Ok(len) => match self.receive(&mut buffer[..len]) {
                        Ok(None) => {}
                        Ok(Some(ended)) => return ended,
                        Err(error) => return Ended::Breach(error),
                    },
                },
                written = writer.write(&self.batch[self.written..]), if self.written < self.batch.len() => {
                    match written {
                        Ok(0) | Err(_) => return Ended::Broken,
                        Ok(len) => self.wrote(len),
                    }
                }
                () = Handed::wait(self.handed.as_mut(), takes) => {}
                Some(joined) = self.work.join(), if !self.work.is_empty() => self.done(joined),
                _ = stop.wait_for(|stopped| *stopped), if self.drain.is_none() => self.stop(),
                () = &mut timer => {
                    if let Some(ended) = self.let_time_pass() {
                        return ended;
                    }
                    timer.as_mut().reset(self.wake_at());
                }
            }
        }
    }

    /// There was nothing to read when the timer went off, as far as the runtime knew: it learns of a bounded number of
    /// sockets at a time. So nobody is given up before it has looked once more and the socket was read again.
    fn let_time_pass(&mut self) -> Option<Ended> {
        let now = self.shared.clock.now();
        match self.stream.expire(now) {
            Err(Error::HeartbeatTimeout | Error::HandshakeTimeout) if self.looks_again.is_none() => {
                self.looks_again = Some(now + TURN);
                return None;
            }
            Err(error) => return Some(Ended::Breach(error)),
            Ok(()) => self.looks_again = None,
        }
        self.is_drained().then_some(Ended::Stopped)
    }

    /// The server stops. The gateway is told at once, so that it asks elsewhere from now on.
    fn stop(&mut self) {
        let deadline = self.shared.bounds.drain_deadline;
        self.stream.draining(deadline);
        self.drain = Some(Drain::new(self.shared.clock.now(), deadline));
    }

    /// Takes what was read, and counts what of it is unknown here.
    fn receive(&mut self, bytes: &mut [u8]) -> Result<Option<Ended>, Error> {
        let before = self.stream.glitches();
        let received = self.take(bytes);
        self.shared.counters.glitches.add(self.stream.glitches() - before);
        received
    }

    fn take(&mut self, bytes: &mut [u8]) -> Result<Option<Ended>, Error> {
        let now = self.shared.clock.now();
        let (mut ended, mut heard, mut reported) = (None, false, false);
        let mut input = self.stream.input(bytes);
        while let Some(event) = self.stream.receive(&mut input, now)? {
            heard = true;
            if let (ToBackend::Request(_) | ToBackend::Authenticate(_), Some(drain)) =
                (&event, &mut self.drain)
            {
                drain.asked(now);
            }
            match event {
                ToBackend::Hello if self.opened() => {}
                ToBackend::Hello => ended = Some(Ended::Broken),
                ToBackend::Request(request) => self.asked(&request),
                ToBackend::Authenticate(ask) => self.judge(&ask),
                ToBackend::Report(report) => {
                    reported = true;
                    self.reported(&report);
                }
                ToBackend::LinkOpened(opened) => self.tell(Event::LinkOpened(opened)),
                ToBackend::LinkClosed(closed) => self.tell(Event::LinkClosed(closed)),
                ToBackend::Announced => self.tell(Event::Announced),
                ToBackend::LinkDetached(detached) => self.tell(Event::LinkDetached(detached)),
                ToBackend::Close(close) => ended = Some(Ended::ByGateway(close.code)),
                ToBackend::Flawed(flawed) => self.flawed(&flawed),
                ToBackend::LinkResumed(resumed) => {
                    resumed.iter().for_each(|resumed| self.tell(Event::LinkResumed(resumed)));
                }
                ToBackend::Credited | ToBackend::Alive | ToBackend::Draining | ToBackend::Skipped => {}
            }
        }
        self.stream.keep(input);
        // All that came together is acknowledged together.
        if reported
            && let Some(gateway) = &self.gateway
            && let Some(ack) = self.shared.ledger.acknowledge(gateway)
        {
            self.stream.report_ack(ack);
        }
        // The timer has no turn while there is always more to read, but this end has to ping all the same. With half
        // a frame nothing has been heard yet, and the rest of it may wait in the kernel.
        if heard {
            self.looks_again = None;
            self.stream.expire(now)?;
        }
        Ok(ended)
    }

    /// The gateway has introduced itself. Whether there is room for its stream; if not it dials again, backed off.
    fn opened(&mut self) -> bool {
        let id = self.shared.next_stream();
        let (handles, handed) = Handed::new(&self.shared.bounds, self.shared.ledger.numbers());
        let gateway = Gateway::new(id, self.stream.gateway(), self.stream.peer().copied(), handles);
        if !self.newcomer.settle() {
            return false;
        }
        if !self.shared.gateways.insert(&gateway, self.shared.bounds.streams_max) {
            self.shared.counters.streams_refused.add(1);
            return false;
        }
        self.shared.ledger.opened(&gateway, self.shared.clock.now());
        (self.handed, self.gateway) = (Some(handed), Some(gateway));
        self.tell(Event::Opened);
        true
    }

    /// Takes nothing more from handles. One that was promised a place and never gets its turn is not waited for.
    async fn leave(&mut self) {
        if let (Some(gateway), Some(handed)) = (&self.gateway, &mut self.handed) {
            self.shared.gateways.remove(gateway.id());
            _ = timeout(LINGER_MAX, handed.close()).await;
        }
    }

    /// Tells the service that the stream is over, once, and before that what has not become of its pushes and kicks.
    fn forget(&mut self, ended: Ended) {
        let Some(gateway) = self.gateway.take() else { return };
        self.shared.gateways.remove(gateway.id());
        if let Some(handed) = self.handed.take() {
            let not_left = handed.end(|event| self.shared.tell(event, &gateway));
            self.shared.ledger.ended(&gateway, &not_left, self.shared.clock.now());
        }
        self.shared.tell(Event::Closed(ended), &gateway);
    }

    fn tell(&self, event: Event<'_>) {
        if let Some(gateway) = &self.gateway {
            self.shared.tell(event, gateway);
        }
    }

    /// What became of pushes that are delivered is told to whoever waits for it; of the others to the ear.
    fn reported(&self, report: &Report<'_>) {
        if let Some(gateway) = &self.gateway
            && self.shared.ledger.reported(gateway, report)
        {
            self.tell(Event::Report(*report));
        }
    }

    /// One link's frame has a field out of its bounds: that link is refused, and the others have their stream.
    fn flawed(&mut self, flawed: &Flawed) {
        match flawed.about {
            About::Request(call) => {
                let payload_len = flawed.payload_len.unwrap_or(0);
                self.refuse(Asked { call, trace: 0, payload_len }, Refusal::Malformed);
            }
            About::Authenticate(call) => {
                self.stream.auth_result(&Verdict::refused(CloseCode::AuthFailed).frame(call))
            }
            About::Presence(_)
            | About::Kick(_)
            | About::Push(_)
            | About::AuthResult(_)
            | About::Ban
            | About::Unban
            | About::Throttle => {}
        }
    }

    fn asked(&mut self, request: &StreamRequest<'_>) {
        let asked = Asked { call: request.call, trace: request.trace, payload_len: request.payload.len() };
        let Some(gateway) = self.gateway.as_ref().filter(|_| self.drain.is_none()) else {
            return self.refuse(asked, Refusal::Draining);
        };
        let Some((route, handler)) = self.shared.service.handler(request.route) else {
            return self.refuse(asked, Refusal::NoRoute);
        };
        if self.unsent.cost() > self.shared.params.pending_bytes_max as u64 {
            return self.refuse(asked, Refusal::Busy);
        }
        match handler {
            Handler::Now(handler) => {
                let mut answer = std::mem::take(&mut self.answer);
                answer.reset();
                match self.shared.guarded(|| handler(request, gateway, &mut answer)) {
                    Some(()) => self.respond(asked, answer.head, answer.written()),
                    None => self.stream.consumed(asked.payload_len),
                }
                self.answer = answer;
            }
            Handler::Later(..) if self.work.requests() >= self.shared.bounds.handlers_max => {
                self.refuse(asked, Refusal::Busy);
            }
            Handler::Later(handler, order) => {
                let request = Request::new(request, gateway);
                match order.and_then(|by| by.key(route, &request)) {
                    Some(key) => self.in_turn(key, request, asked),
                    None => _ = self.handle(handler, request, asked, None, Duration::ZERO),
                }
            }
        }
    }

    /// A request on a route that keeps an order.
    fn in_turn(&mut self, key: Key, request: Request, asked: Asked) {
        let waiting = Waiting { request, asked, since: self.shared.clock.now() };
        match self.work.arrive(&key, waiting, self.shared.bounds.ordered_max) {
            Arrived::Now(first) => self.take_turn(key, Some(first)),
            Arrived::Waits => {}
            Arrived::Full => self.refuse(asked, Refusal::Busy),
        }
    }

    /// Begins with the first of those that waited whose time is not over: for the others nobody waits any more.
    fn take_turn(&mut self, key: Key, first: Option<Waiting>) {
        let mut next = first.or_else(|| self.work.next_in_turn(&key));
        while let Some(Waiting { request, asked, since }) = next {
            let waited = self.shared.clock.now().since(since);
            if waited >= limit(request.deadline) {
                self.shared.counters.overdue.add(1);
                self.stream.consumed(asked.payload_len);
            } else if let Handler::Later(handler, _) = &self.shared.service.routes[key.route].1
                && self.handle(handler, request, asked, Some(&key), waited)
            {
                return;
            }
            next = self.work.next_in_turn(&key);
        }
    }

    /// Whether the handler is at work: it may have panicked before.
    fn handle(
        &mut self,
        handler: &Later<Request, Reply>,
        request: Request,
        asked: Asked,
        key: Option<&Key>,
        waited: Duration,
    ) -> bool {
        let limit = limit(request.deadline).saturating_sub(waited);
        let work = self.shared.guarded(|| handler(request));
        match work {
            Some(work) => self.work.handle(asked, key.cloned(), limit, work),
            None => {
                self.stream.consumed(asked.payload_len);
                return false;
            }
        }
        true
    }

    fn judge(&mut self, ask: &Authenticate<'_>) {
        let away = Verdict::refused(CloseCode::TryLater);
        let (Some(gateway), Some(judge)) = (&self.gateway, &self.shared.service.judge) else {
            return self.stream.auth_result(&away.frame(ask.call));
        };
        if self.work.judging() >= self.shared.bounds.judges_max || self.drain.is_some() {
            return self.stream.auth_result(&away.frame(ask.call));
        }
        let owned = Ask::new(ask, gateway);
        let limit = limit(owned.deadline);
        let Some(work) = self.shared.guarded(|| judge(owned)) else { return };
        self.work.judge(ask.call, limit, work);
    }

    fn done(&mut self, joined: Joined) {
        match self.work.finish(joined, &self.shared.counters) {
            Some(Finished::Request(asked, reply, key)) => {
                match reply {
                    Some(reply) => self.respond(asked, reply.head, &reply.payload),
                    None => self.stream.consumed(asked.payload_len),
                }
                if let Some(key) = key {
                    self.take_turn(key, None);
                }
            }
            Some(Finished::Ask(call, Some(verdict))) => self.stream.auth_result(&verdict.frame(call)),
            Some(Finished::Ask(_, None)) | None => {}
        }
    }

    fn refuse(&mut self, asked: Asked, refusal: Refusal) {
        self.respond(asked, Head::refused(refusal, Duration::ZERO), &[]);
    }

    fn respond(&mut self, asked: Asked, head: Head, payload: &[u8]) {
        self.unsent.respond(&mut self.stream, &self.shared.counters, asked, head, payload);
    }

    /// Does everything that has become possible.
    fn catch_up(&mut self) {
        while let Some(joined) = self.work.try_join() {
            self.done(joined);
        }
        self.unsent.respond_waiting(&mut self.stream, &self.shared.counters);
        let takes = self.takes();
        if let (Some(handed), Some(gateway)) = (&mut self.handed, &self.gateway) {
            handed.carry_out(takes, &mut self.stream, &self.shared.ledger, gateway);
        }
    }

    fn takes(&self) -> Takes {
        let pushes = self.unsent.is_empty();
        let has_slot = self.gateway.as_ref().is_some_and(|gateway| self.shared.ledger.has_slot(gateway));
        Takes { pushes, parcels: pushes && has_slot, orders: self.takes_orders() }
    }

    /// Orders wait for nothing but a gateway that reads nothing at all.
    fn takes_orders(&self) -> bool {
        self.stream.pending() < self.shared.params.pending_bytes_max
    }

    /// Writes as much as the socket takes at once, and what could be taken only once that was written.
    async fn flush<W: AsyncWrite + Unpin>(&mut self, writer: &mut W) -> io::Result<()> {
        poll_fn(|context| {
            loop {
                if !self.next_batch() && !self.refill() {
                    return Poll::Ready(Ok(()));
                }
                match Pin::new(&mut *writer).poll_write(context, &self.batch[self.written..]) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(Ok(len)) => self.wrote(len),
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => return Poll::Ready(Ok(())),
                }
            }
        })
        .await
    }

    /// The socket took so much. Where it stopped short before, there was no more room, and the gateway has read since.
    fn wrote(&mut self, len: usize) {
        if self.written > 0 {
            self.stream.taken(self.shared.clock.now());
        }
        self.written += len;
    }

    /// Whether there is something to write; seals what is pending when the last batch is through.
    fn next_batch(&mut self) -> bool {
        if self.written == self.batch.len() {
            self.batch.clear();
            self.written = 0;
            self.stream.seal(&mut self.batch);
            if let Some(handed) = &mut self.handed {
                handed.sealed();
            }
        }
        self.written < self.batch.len()
    }

    /// Whether all that was written has made room for what waited: nothing else would wake it up.
    fn refill(&mut self) -> bool {
        if self.unsent.is_empty() && !self.handed.as_ref().is_some_and(Handed::has_push) {
            return false;
        }
        self.catch_up();
        self.next_batch()
    }

    fn wake_at(&self) -> tokio::time::Instant {
        let deadlines = [self.stream.deadline(), self.drain.map(|drain| drain.closes_at())];
        let first = deadlines.into_iter().flatten().min().unwrap_or(Time::ZERO + FAR);
        self.shared.clock.instant(first.max(self.looks_again.unwrap_or(Time::ZERO)))
    }

    /// Whether a stopping server has no more time for this stream. Notes whether anything is under way.
    fn is_out_of_time(&mut self) -> bool {
        let Some(mut drain) = self.drain else { return false };
        let now = self.shared.clock.now();
        drain.note(self.is_idle(), now);
        self.drain = Some(drain);
        drain.is_out_of_time(now)
    }

    /// Whether nothing is under way: no handler, nothing that waits, not one byte that is not written yet.
    fn is_idle(&self) -> bool {
        let nothing_waits = self.unsent.is_empty() && self.handed.as_ref().is_none_or(Handed::is_empty);
        let all_written = self.written == self.batch.len() && self.stream.pending() == 0;
        self.work.is_empty() && nothing_waits && all_written
    }

    /// Whether a stopping server has nothing more to do here. Only to be asked when there is nothing to read.
    fn is_drained(&self) -> bool {
        self.drain.is_some_and(|drain| self.shared.clock.now() >= drain.closes_at())
    }

    /// Whether there is still something to say.
    fn say_goodbye(&mut self, ended: Ended) -> bool {
        match ended {
            Ended::Broken | Ended::ByGateway(_) => return false,
            Ended::Stopped => self.stream.close(CloseCode::Normal, Duration::ZERO, ""),
            Ended::Breach(error) => {
                if let Some(code) = error.close_code() {
                    self.stream.close(code, Duration::ZERO, &error.to_string());
                }
            }
        }
        self.next_batch()
    }

    /// Writes the rest and waits for the gateway to hang up: closing with unread input would reset the connection
    /// and might destroy the last words on their way.
    async fn linger<R, W>(&mut self, reader: &mut R, writer: &mut W) -> io::Result<()>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        while self.next_batch() {
            writer.write_all(&self.batch[self.written..]).await?;
            self.written = self.batch.len();
        }
        writer.shutdown().await?;
        tokio::io::copy(&mut reader.take(LINGER_BYTES_MAX as u64), &mut tokio::io::sink()).await?;
        Ok(())
    }
}

/// However the task ends, even by a handler's panic, its stream is not live any more.
impl Drop for Shell<'_> {
    fn drop(&mut self) {
        self.newcomer.settle();
        self.forget(Ended::Broken);
    }
}

/// A deadline of 0 is none.
fn limit(deadline: Duration) -> Duration {
    if deadline.is_zero() { FAR } else { deadline }
}

/// Longer than any process runs.
const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

#[cfg(test)]
mod tests;
