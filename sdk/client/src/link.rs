//! One link: a socket, the machine that knows the rules, and one task that drives both.
//!
//! ```text
//!   hello ──► message 2 ──► Auth and early requests ──► Welcome ──► run ──► farewell
//!
//!   read ──► machine ──► Response ──► ledger ──► outcome of a request
//!     ▲               └► Push ─────► receipts ──► inbox (bounded; full: reading stops)
//!     └── stops while the inbox is full; then TCP makes the gateway wait
//!   orders (bounded) ──► ledger ──► machine ──► one write for all of it
//!   taken ──► keeper: written down ──► Ack ──┘
//! ```

use std::mem;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use protocol::buffer::{Input, Rest};
use protocol::limits::{
    FRAME_LEN_MAX, LINGER_BYTES_MAX, LINGER_MAX, RECORD_LEN_MAX, RECORD_LEN_MAX_UNAUTHENTICATED,
    RECORD_LEN_MAX_UPLINK, TAG_LEN,
};
use protocol::link::ClientLink;
use protocol::noise::Suites;
use protocol::noise::preamble::{ClearReply, Rejection};
use protocol::wire::frame::{self, Auth, Frame, Ping};
use protocol::wire::proto::link::Welcome;
use protocol::{CloseCode, Time};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep_until, timeout};
use zeroize::Zeroize as _;

use crate::ask::Ask;
use crate::clock::Clock;
use crate::error::{Closed, Error};
use crate::keeper::Keeper;
use crate::ledger::{Grant, Ledger};
use crate::outbox::Outbox;
use crate::push::{Delivery, Inbox, Push};
use crate::receipts::{Ack, Arrival};
use crate::state::{Continuity, Warning};
use crate::wishes::Wanted;

/// What outlives a link: the requests, and the way to the application.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) ledger: Ledger,
    pub(crate) orders: mpsc::Receiver<Ask>,
    pub(crate) inbox: Inbox,
    pub(crate) keeper: Keeper,
    /// The last thing the gateway has warned of.
    pub(crate) warned: watch::Sender<Option<Warning>>,
    /// What else the application wants: here whether the link lives.
    pub(crate) wanted: Wanted,
    pub(crate) clock: Clock,
}

impl Desk {
    /// A push came. One that is delivered at least once is handed on if it is the next one, and only if it finds room: else
    /// nobody is told that it came, and it comes again.
    fn deliver(&mut self, push: &frame::Push<'_>) {
        if self.inbox.is_full() {
            return;
        }
        let mut sequence = 0;
        if push.class == AT_LEAST_ONCE && push.sequence != 0 {
            sequence = push.sequence;
            if self.keeper.kept.receipts.arrived(sequence) != Arrival::Next {
                return;
            }
        }
        self.inbox.put(Delivery { push: Push::new(push, sequence), session: self.keeper.kept.number });
    }
}

/// Who wants in, and what it shows beside its token once there is a handshake hash.
pub(crate) struct Caller<'a> {
    pub(crate) auth: Auth<'a>,
    /// Signs for a bound token or ticket.
    pub(crate) sign: &'a (dyn Fn(&[u8; 32]) -> Bytes + Sync),
    /// Spreads the first ping.
    pub(crate) phase: u8,
}

/// A socket with its machine.
#[derive(Debug)]
pub(crate) struct Link<S> {
    reader: ReadHalf<S>,
    writer: WriteHalf<S>,
    machine: ClientLink,
    /// Where a chunk is read to.
    chunk: Box<[u8]>,
    /// What is cut off at the end of a chunk; at most one frame, one record and one chunk.
    rest: Rest,
    outbox: Outbox,
    plain_max: usize,
    nonce: u32,
    /// When something has to have come, since the application asked whether the link lives.
    probed_until: Option<Time>,
    /// Whether its handshake proves the gateway's pinned key.
    proves_server: bool,
}

/// The class of pushes that are acknowledged; others are like 0, whatever their sequence (SPEC.md, section 8.6).
const AT_LEAST_ONCE: u32 = 1;
/// Bytes read at once.
const CHUNK_LEN: usize = 16 * 1024;
/// With more unsent bytes than this, no further requests are sealed.
const BACKLOG_MAX: usize = 64 * 1024;
/// Bytes read of a link that cannot be written to any more: over twice what a kernel holds for a socket unless it is
/// told to, with what the gateway had still queued.
const LAST_WORD_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Records before the `Welcome`.
const PLAIN_MAX_EARLY: usize = RECORD_LEN_MAX_UNAUTHENTICATED - TAG_LEN;

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    /// Over a fresh socket, with the hello the machine wrote.
    pub(crate) fn new(socket: S, machine: ClientLink, hello: Vec<u8>, proves_server: bool) -> Self {
        let (reader, writer) = tokio::io::split(socket);
        Self {
            reader,
            writer,
            machine,
            chunk: vec![0; CHUNK_LEN].into(),
            rest: Rest::default(),
            outbox: Outbox::new(hello),
            plain_max: PLAIN_MAX_EARLY,
            nonce: 0,
            probed_until: None,
            proves_server,
        }
    }

    /// Shakes hands and authenticates; first requests leave together with `Auth`.
    pub(crate) async fn open(
        &mut self,
        caller: &Caller<'_>,
        desk: &mut Desk,
    ) -> Result<(Welcome, Continuity), Error> {
        let (mut greeted, mut wished) = (false, false);
        loop {
            let broken = if greeted { Error::Cut } else { Error::Silence };
            // What cannot be written is no reason not to hear why: a `Close` may have come.
            _ = self.flush().await;
            let len = match self.reader.read(&mut self.chunk).await {
                Ok(0) | Err(_) => return Err(broken),
                Ok(len) => len,
            };
            if let Some(welcome) = self.hear_early(len, desk)? {
                let continuity = self.welcome(&welcome, wished, caller.phase, desk)?;
                return Ok((welcome, continuity));
            }
            if let Some(&h) = self.machine.handshake_hash().filter(|_| !greeted) {
                greeted = true;
                let signature = (caller.sign)(&h);
                let wish = desk.keeper.attempt(desk.clock).await;
                let resume = wish.map_or_else(Vec::new, |wish| wish.body(&h));
                wished = !resume.is_empty();
                desk.ledger.begin(wished);
                let auth = Auth { signature: &signature, resume: &resume, ..caller.auth };
                self.batch(|out| Frame::Auth(auth).encode(out));
                self.fill(desk);
            }
        }
    }

    /// The suites the gateway speaks, once there are keys.
    pub(crate) fn offered(&self) -> Option<Suites> {
        self.machine.offered()
    }

    /// Whether there are keys, so that a `Close` would be understood.
    pub(crate) fn has_keys(&self) -> bool {
        self.machine.is_open()
    }

    /// Serves the link until it ends.
    pub(crate) async fn run(&mut self, desk: &mut Desk) -> Error {
        match self.serve(desk).await {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    async fn serve(&mut self, desk: &mut Desk) -> Result<std::convert::Infallible, Error> {
        // Frames may have come behind the Welcome.
        self.hear(0, desk)?;
        loop {
            if self.backlog() <= BACKLOG_MAX {
                self.acknowledge(desk);
                self.fill(desk);
            }
            let (backlog, paused) = (self.backlog(), desk.inbox.is_full());
            let (fills, has_room) = (backlog <= BACKLOG_MAX, desk.ledger.has_room());
            let wake_at = [self.machine.deadline(), self.probed_until].into_iter().flatten().min();
            let (wake_at, clock) = (desk.clock.instant(wake_at), desk.clock);
            // Biased, so that bytes that are there are read before the timer may call the link dead. No branch starves
            // another: writes and orders end at the grant, news are of what was read, and reading looks at the heartbeat itself.
            tokio::select! {
                biased;
                written = self.writer.write(self.outbox.unsent()), if backlog > 0 => match written {
                    Ok(0) | Err(_) => return Err(self.last_word(desk).await),
                    Ok(len) => self.outbox.wrote(len),
                },
                order = desk.orders.recv(), if fills && has_room => match order {
                    Some(ask) => desk.ledger.take(ask),
                    None => return Err(Error::Stopped),
                },
                // The next round fills without it.
                () = desk.ledger.given_up(), if fills && !has_room => {}
                // The next round says it.
                () = desk.keeper.news(clock) => {}
                read = self.reader.read(&mut self.chunk), if !paused => match read {
                    Ok(0) | Err(_) => return Err(Error::Cut),
                    Ok(len) => {
                        self.probed_until = None;
                        self.hear(len, desk)?;
                        self.beat(desk)?;
                    }
                },
                // Behind what has come before.
                within = desk.wanted.probe() => {
                    self.ping();
                    self.probed_until = Some(desk.clock.now() + within);
                }
                () = desk.inbox.room(), if paused => {
                    // What the gateway said meanwhile has not been looked at.
                    self.machine.grace(desk.clock.now());
                    self.hear(0, desk)?;
                },
                () = sleep_until(wake_at) => {
                    if paused {
                        // Nothing is read, so that nothing can be heard.
                        self.machine.grace(desk.clock.now());
                        self.probed_until = None;
                    }
                    if self.probed_until.is_some_and(|end| desk.clock.now() >= end) {
                        return Err(protocol::Error::HeartbeatTimeout.into());
                    }
                    self.beat(desk)?;
                }
            }
        }
    }

    /// Nothing can be written any more. The gateway may have said why, and forbidden to come back, in bytes that were
    /// not read yet: reads them to their end, within bounds.
    async fn last_word(&mut self, desk: &mut Desk) -> Error {
        let read_out = async {
            let (mut len, mut total) = (0, 0);
            loop {
                self.hear_while(len, desk, |_| true)?;
                match self.reader.read(&mut self.chunk).await {
                    Ok(more) if more > 0 && total < LAST_WORD_BYTES_MAX => len = more,
                    _ => return Err(Error::Cut),
                }
                total += len;
            }
        };
        match timeout(LINGER_MAX, read_out).await {
            Ok(Err::<std::convert::Infallible, _>(error)) => error,
            Err(_) => Error::Cut,
        }
    }

    /// Says goodbye: everything unsent and a `Close`; then input is discarded, as closing with unread input could
    /// destroy the `Close` on its way (SPEC.md, section 8.7).
    pub(crate) async fn farewell(mut self, code: CloseCode) {
        let close = frame::Close { code: code.number(), ..frame::Close::default() };
        self.batch(|out| Frame::Close(close).encode(out));
        let linger = async {
            self.flush().await?;
            self.writer.shutdown().await?;
            let mut discarded = 0;
            while discarded < LINGER_BYTES_MAX {
                match self.reader.read(&mut self.chunk).await? {
                    0 => break,
                    len => discarded += len,
                }
            }
            Ok::<_, std::io::Error>(())
        };
        // The gateway may be gone already.
        _ = timeout(LINGER_MAX, linger).await;
    }

    fn welcome(
        &mut self,
        welcome: &Welcome,
        wished: bool,
        phase: u8,
        desk: &mut Desk,
    ) -> Result<Continuity, Error> {
        let or = |number: u32, default: usize| if number == 0 { default } else { number as usize };
        let continuity = desk.keeper.welcome(welcome, wished)?;
        let grant = Grant {
            requests: welcome.grant_requests as usize,
            cost: welcome.grant_bytes.into(),
            frame_len_max: or(welcome.frame_len_max, FRAME_LEN_MAX),
        };
        desk.ledger.welcome(grant, continuity == Continuity::Resumed);
        let record_len_max = or(welcome.record_len_max, RECORD_LEN_MAX_UPLINK);
        self.plain_max = record_len_max.clamp(RECORD_LEN_MAX_UNAUTHENTICATED, RECORD_LEN_MAX) - TAG_LEN;
        let heartbeat = Duration::from_millis(welcome.heartbeat_ms.into());
        self.machine.welcomed(heartbeat, phase, desk.clock.now());
        Ok(continuity)
    }

    /// Reads what comes before the `Welcome`, and the `Welcome`.
    fn hear_early(&mut self, len: usize, desk: &mut Desk) -> Result<Option<Welcome>, Error> {
        let now = desk.clock.now();
        let mut input = Input::new(&mut self.chunk[..len], mem::take(&mut self.rest));
        let mut welcome = None;
        while welcome.is_none() {
            match self.machine.receive(&mut input, now) {
                Ok(None) => break,
                Ok(Some(Frame::Welcome(body))) => {
                    let decoded = Welcome::decode(body).map_err(|_| protocol::Error::FrameEncoding)?;
                    welcome = Some(decoded);
                }
                Ok(Some(Frame::Close(close))) => {
                    // Whatever the code: nothing behind `Auth` has left the gateway (SPEC.md, section 8.1).
                    desk.ledger.refuse_auth();
                    return Err(Error::Closed(Closed::new(&close, self.proves_server)));
                }
                Ok(Some(Frame::Response(response))) => desk.ledger.resolve(&response),
                Ok(Some(_)) => {}
                Err(protocol::Error::Magic) => return Err(Error::Silence),
                Err(protocol::Error::Rejected(_)) => {
                    let reply = ClearReply::decode(input.into_rest().gathered());
                    return Err(match reply {
                        Ok(Some(reply)) if Rejection::from_number(reply.reason).is_some() => {
                            Error::Rejected(reply)
                        }
                        // A reason of a later version says no more than silence does.
                        _ => Error::Silence,
                    });
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.rest = input.into_rest();
        if welcome.is_some() {
            // Secrets were in it, in the clear.
            self.chunk[..len].zeroize();
        }
        Ok(welcome)
    }

    /// Reads what is there, until it ends or the inbox is full.
    fn hear(&mut self, len: usize, desk: &mut Desk) -> Result<(), Error> {
        self.hear_while(len, desk, |inbox| !inbox.is_full())
    }

    /// Reads what is there, until it ends or the inbox says stop.
    fn hear_while(
        &mut self,
        len: usize,
        desk: &mut Desk,
        goes_on: impl Fn(&Inbox) -> bool,
    ) -> Result<(), Error> {
        let now = desk.clock.now();
        let mut input = Input::new(&mut self.chunk[..len], mem::take(&mut self.rest));
        while goes_on(&desk.inbox) {
            match self.machine.receive(&mut input, now)? {
                None => break,
                Some(Frame::Response(response)) => desk.ledger.resolve(&response),
                Some(Frame::Push(push)) => desk.deliver(&push),
                Some(Frame::AckNow { .. }) => desk.keeper.kept.receipts.ask(),
                Some(Frame::Close(close)) => {
                    return Err(Error::Closed(Closed::new(&close, self.proves_server)));
                }
                Some(Frame::Warning { code, score }) => {
                    let warning = Warning { code: CloseCode::from_number(code), score };
                    desk.warned.send_replace(Some(warning));
                }
                // A pong has done its work by having come; the rest is not served by this version.
                Some(_) => {}
            }
        }
        self.rest = input.into_rest();
        Ok(())
    }

    /// Pings when it is time, or finds that the link is dead.
    fn beat(&mut self, desk: &Desk) -> Result<(), Error> {
        if self.machine.expire(desk.clock.now())? {
            self.ping();
        }
        Ok(())
    }

    fn ping(&mut self) {
        self.nonce = self.nonce.wrapping_add(1);
        let ping = Ping { nonce: self.nonce, heartbeat_ms: 0 };
        self.batch(|out| Frame::Ping(ping).encode(out));
    }

    /// Seals what there is to say of the pushes that came, in one frame at most.
    fn acknowledge(&mut self, desk: &mut Desk) {
        if let Some(Ack { taken, received }) = desk.keeper.ack(desk.clock.moment()) {
            self.batch(|out| Frame::Ack { taken, received }.encode(out));
        }
    }

    /// The same before the link ends, when nothing more will be said.
    pub(crate) async fn acknowledge_last(&mut self, desk: &mut Desk) {
        // Whoever waits for the end does not wait for a slow store.
        let last = timeout(LINGER_MAX, desk.keeper.last_ack(desk.clock)).await;
        if let Ok(Some(Ack { taken, received })) = last {
            self.batch(|out| Frame::Ack { taken, received }.encode(out));
        }
    }

    /// Seals the requests that may go out, all of them as one batch.
    fn fill(&mut self, desk: &mut Desk) {
        let full = self.outbox.end().len() - self.backlog() + BACKLOG_MAX;
        let now = desk.clock.moment();
        desk.ledger.allow(desk.keeper.numbers());
        self.batch(|out| {
            loop {
                desk.ledger.send(out, now);
                if out.len() > full || !desk.ledger.has_room() {
                    break;
                }
                match desk.orders.try_recv() {
                    Ok(ask) => desk.ledger.take(ask),
                    Err(_) => break,
                }
            }
        });
        desk.keeper.use_numbers(desk.ledger.counter(), now);
    }

    /// Seals the frames that `write` appends.
    fn batch(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        debug_assert!(self.machine.is_open(), "plaintext is never left in the batch");
        let out = self.outbox.end();
        let start = out.len();
        out.extend_from_slice(&[0; 2]);
        write(out);
        if out.len() == start + 2 {
            out.truncate(start);
        } else {
            self.machine.seal(out, start, self.plain_max);
        }
    }

    fn backlog(&self) -> usize {
        self.outbox.unsent().len()
    }

    async fn flush(&mut self) -> std::io::Result<()> {
        while self.backlog() > 0 {
            match self.writer.write(self.outbox.unsent()).await? {
                0 => return Err(std::io::ErrorKind::WriteZero.into()),
                len => self.outbox.wrote(len),
            }
        }
        self.writer.flush().await
    }
}
