//! The backend's end of a stream: it accepts.

use std::sync::Arc;
use std::time::Duration;

use crate::CloseCode;
use crate::buffer::Input;
use crate::error::Error;
use crate::limits::{
    BOOT_ID_LEN, GATEWAY_NAME_LEN_MAX, HEARTBEAT_MAX, RECORD_LEN_MAX, RECORD_LEN_MAX_UNAUTHENTICATED,
    STREAM_HEARTBEAT_DEFAULT, STREAM_HEARTBEAT_MIN, WORKER_MAX,
};
use crate::noise::PublicKey;
use crate::stream::end::{End, Phase};
use crate::stream::ephemeral::Ephemeral;
use crate::stream::hello::{Access, Doorkeeper};
use crate::stream::{Blocked, Params, announced, first_credit};
use crate::time::Time;
use crate::wire::proto::stream as proto;
use crate::wire::stream::{
    About, AuthResult, Authenticate, Ban, Close, Flawed, Kick, LinkClosed, LinkDetached, LinkOpened,
    LinkResumed, Rare, Report, StreamFrame, StreamPush, StreamRequest, StreamResponse, Throttle, Unban,
};

/// A stream, seen from the backend.
#[derive(Debug)]
pub struct BackendStream {
    end: End,
    /// Until the hello is complete.
    door: Option<Doorkeeper>,
    ready: proto::Ready,
    hello: proto::Hello,
    peer: Option<PublicKey>,
    /// When it was last looked whether anything had been said.
    ticked: Time,
}

/// What comes from a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToBackend<'b> {
    /// The stream is live: see [`BackendStream::gateway`].
    Hello,
    /// A request. Its credit has to be given back with [`BackendStream::consumed`].
    Request(StreamRequest<'b>),
    /// Credit came; what waited for it may go.
    Credited,
    /// A ping (it has been answered) or a pong.
    Alive,
    /// What became of a push.
    Report(Report<'b>),
    /// A user has come.
    LinkOpened(LinkOpened<'b>),
    /// A user has gone.
    LinkClosed(LinkClosed<'b>),
    /// All links which were open when the stream opened have been told.
    Announced,
    /// A user has lost a link, and may come back with another one.
    LinkDetached(LinkDetached<'b>),
    /// Users have come back with other links.
    LinkResumed(LinkResumed<'b>),
    /// Is this token good?
    Authenticate(Authenticate<'b>),
    /// The gateway has finished. Nothing comes after it.
    Close(Close<'b>),
    /// The gateway will end the stream: it sends no new requests. Answers to those under way are still taken.
    Draining,
    /// A frame about one link with a field out of its bounds. A request has to be refused, and its credit given back
    /// with [`BackendStream::consumed`]; a token has to be refused.
    Flawed(Flawed),
    /// A kind that this version does not serve, or does not know.
    Skipped,
}

impl BackendStream {
    /// Begins a stream on a socket that was accepted at `now`. `instance` names this process, 1 to 64 bytes; at most
    /// 64 `routes` of 1 to 32 bytes. `ephemeral` must be fresh randomness.
    #[must_use]
    pub fn new(
        access: Arc<Access>,
        params: Params,
        instance: &[u8],
        routes: Vec<String>,
        ephemeral: impl Into<Ephemeral>,
        now: Time,
    ) -> Self {
        let ready = proto::Ready {
            instance: instance.to_vec().into(),
            routes,
            credit: params.window,
            frame_len_max: u32::try_from(params.frame_len_max).unwrap_or(u32::MAX),
            ..proto::Ready::default()
        };
        Self {
            end: End::new(params, now),
            door: Some(Doorkeeper::new(access, ephemeral.into())),
            ready,
            hello: proto::Hello::default(),
            peer: None,
            ticked: now,
        }
    }

    /// Says in `Ready` which start of this backend it is: 16 random bytes. Without, gateways take it for one that cannot
    /// tell its starts apart. Not after the gateway's `Hello` has been read.
    #[must_use]
    pub fn with_boot(mut self, boot: [u8; BOOT_ID_LEN]) -> Self {
        self.ready.boot = boot.to_vec().into();
        self
    }

    /// Begins to read a chunk that arrived; [`BackendStream::keep`] ends it.
    #[must_use]
    pub fn input<'c>(&mut self, chunk: &'c mut [u8]) -> Input<'c> {
        self.end.input(chunk)
    }

    /// Keeps what a chunk left over, after [`BackendStream::receive`] has returned `None`.
    pub fn keep(&mut self, input: Input<'_>) {
        self.end.keep(input);
    }

    /// The next event of the input, or `None` when it is used up. After an error there may still be a clear reply
    /// to send; see [`BackendStream::seal`].
    ///
    /// # Errors
    /// Whatever rule the gateway broke.
    pub fn receive<'i>(
        &mut self,
        input: &'i mut Input<'_>,
        now: Time,
    ) -> Result<Option<ToBackend<'i>>, Error> {
        if self.is_closed() {
            return Ok(None);
        }
        self.end.look(now);
        if let Some(door) = &mut self.door {
            let mut accepted = Ok(None);
            self.end.outgoing.raw(|out| {
                accepted = door.accept(input, out);
                Ok(())
            })?;
            let Some((records, peer)) = accepted? else { return Ok(None) };
            self.end.records = Some(records);
            self.peer = peer;
            self.door = None;
        }
        let greeting = self.end.phase == Phase::Greeting;
        let record_len_max = if greeting { RECORD_LEN_MAX_UNAUTHENTICATED } else { RECORD_LEN_MAX };
        let Some(frame) = self.end.next(input, record_len_max)? else { return Ok(None) };
        if greeting && !matches!(frame, StreamFrame::Close(_)) {
            return self.greeted(&frame, now).map(|()| Some(ToBackend::Hello));
        }
        self.end.digest(&frame, now)?;
        Ok(Some(match frame {
            StreamFrame::Request(StreamRequest { call: 0, .. })
            | StreamFrame::Authenticate(Authenticate { call: 0, .. }) => {
                return Err(Error::Field("call"));
            }
            StreamFrame::Request(request) => ToBackend::Request(request),
            StreamFrame::Credit { .. } => ToBackend::Credited,
            StreamFrame::Ping { .. } | StreamFrame::Pong { .. } => ToBackend::Alive,
            StreamFrame::Report(report) => ToBackend::Report(report),
            StreamFrame::LinkOpened(opened) => ToBackend::LinkOpened(opened),
            StreamFrame::LinkDetached(detached) => ToBackend::LinkDetached(detached),
            StreamFrame::LinkClosed(closed) => ToBackend::LinkClosed(closed),
            StreamFrame::LinkResumed(resumed) => ToBackend::LinkResumed(resumed),
            StreamFrame::Rare(Rare::Announced, _) => ToBackend::Announced,
            StreamFrame::Authenticate(ask) => ToBackend::Authenticate(ask),
            StreamFrame::Close(close) => ToBackend::Close(close),
            StreamFrame::Draining { .. } => ToBackend::Draining,
            StreamFrame::Flawed(flawed) => match flawed.about {
                About::Request(0) | About::Authenticate(0) => return Err(Error::Field("call")),
                About::Request(_) | About::Authenticate(_) | About::Presence(_) => ToBackend::Flawed(flawed),
                About::Push(_)
                | About::AuthResult(_)
                | About::Kick(_)
                | About::Ban
                | About::Unban
                | About::Throttle => {
                    return Err(Error::Unexpected(frame.name()));
                }
            },
            StreamFrame::Pad { .. } | StreamFrame::Unknown => ToBackend::Skipped,
            StreamFrame::Rare(rare, _) if rare.is_to_backend() && rare != Rare::Hello => ToBackend::Skipped,
            other => return Err(Error::Unexpected(other.name())),
        }))
    }

    /// How many frames of kinds that are unknown here have come.
    #[must_use]
    pub const fn glitches(&self) -> u64 {
        self.end.glitches_ever
    }

    /// Whether the gateway has introduced itself and nobody has said `Close`.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.end.phase == Phase::Live
    }

    /// Whether either end has said `Close`.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.end.phase == Phase::Closed
    }

    /// Who dialled, from its `Hello`; empty before it came.
    #[must_use]
    pub const fn gateway(&self) -> &proto::Hello {
        &self.hello
    }

    /// The gateway's key; `None` on a clear stream.
    #[must_use]
    pub const fn peer(&self) -> Option<&PublicKey> {
        self.peer.as_ref()
    }

    /// What responses and pushes may still cost, each its payload and 64 bytes.
    #[must_use]
    pub fn credit_available(&self) -> u64 {
        self.end.credit_available()
    }

    /// What requests cost that were received and not yet given back with [`BackendStream::consumed`].
    #[must_use]
    pub fn held(&self) -> u64 {
        self.end.held()
    }

    /// Answers a request if there is credit for it.
    ///
    /// # Errors
    /// Why it was not taken; nothing has happened then.
    pub fn response(&mut self, response: &StreamResponse<'_>) -> Result<(), Blocked> {
        self.end.payload(&StreamFrame::Response(*response), response.payload.len())
    }

    /// Sends a push if there is credit for it.
    ///
    /// # Errors
    /// Why it was not taken; nothing has happened then.
    pub fn push(&mut self, push: &StreamPush<'_>) -> Result<(), Blocked> {
        self.end.payload(&StreamFrame::Push(*push), push.payload.len())
    }

    /// Gives back the credit of a request with a payload of this length.
    pub fn consumed(&mut self, payload_len: usize) {
        self.end.consumed(payload_len);
    }

    /// Says that every report up to this one was taken. Like everything below, dropped when the stream is not live.
    pub fn report_ack(&mut self, report: u64) {
        self.end.control(&StreamFrame::ReportAck { report });
    }

    /// Asks the gateway for no new requests: the stream ends after `deadline` at the latest, zero for not said. What is
    /// under way is still to be answered.
    pub fn draining(&mut self, deadline: Duration) {
        let deadline_ms = u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX);
        self.end.control(&StreamFrame::Draining { deadline_ms });
    }

    /// Gives the verdict on a token.
    pub fn auth_result(&mut self, result: &AuthResult<'_>) {
        self.end.control(&StreamFrame::AuthResult(*result));
    }

    /// Closes links.
    pub fn kick(&mut self, kick: &Kick<'_>) {
        self.end.control(&StreamFrame::Kick(*kick));
    }

    /// Keeps somebody out.
    pub fn ban(&mut self, ban: &Ban<'_>) {
        self.end.control(&StreamFrame::Ban(*ban));
    }

    /// Lets somebody in again.
    pub fn unban(&mut self, unban: &Unban<'_>) {
        self.end.control(&StreamFrame::Unban(*unban));
    }

    /// Slows somebody down.
    pub fn throttle(&mut self, throttle: &Throttle<'_>) {
        self.end.control(&StreamFrame::Throttle(*throttle));
    }

    /// Joins, leaves, or ends a session. The message must be the kind's own.
    pub fn rare(&mut self, kind: Rare, message: &impl prost::Message) {
        self.end.control(&StreamFrame::Rare(kind, &message.encode_to_vec()));
    }

    /// Ends the stream: `Close` is the last frame, and what still comes in is discarded.
    pub fn close(&mut self, code: CloseCode, retry_after: Duration, text: &str) {
        self.end.close(code, retry_after, text);
    }

    /// Bytes that wait to be sent.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.end.outgoing.len()
    }

    /// Turns everything pending into records and hands it over; the empty `batch` is taken in exchange. Returns
    /// whether there was anything.
    pub fn seal(&mut self, batch: &mut Vec<u8>) -> bool {
        self.end.seal(batch)
    }

    /// Tells that a send went on which had come to a stand for want of room: the gateway reads, which is a sign of life
    /// (SPEC 11.9).
    pub fn taken(&mut self, now: Time) {
        self.end.lives(now);
    }

    /// When [`BackendStream::expire`] wants to be called; may move with every call.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let deadline = self.end.deadline()?;
        Some(if self.is_live() { deadline.min(self.next_tick()) } else { deadline })
    }

    /// Lets time pass: pings when nothing has been said for an interval. It is looked twice per interval, so that no
    /// frame has to note its time.
    ///
    /// # Errors
    /// [`Error::HandshakeTimeout`], [`Error::HeartbeatTimeout`], or [`Error::Stalled`] when the gateway has not
    /// taken anything for too long.
    pub fn expire(&mut self, now: Time) -> Result<(), Error> {
        self.end.expire(now)?;
        if self.is_live() && now >= self.next_tick() {
            self.ticked = now;
            if !std::mem::take(&mut self.end.spoke) {
                self.end.ping(now);
            }
        }
        Ok(())
    }

    fn next_tick(&self) -> Time {
        self.ticked + self.end.heartbeat / 2
    }

    fn greeted(&mut self, frame: &StreamFrame<'_>, now: Time) -> Result<(), Error> {
        let StreamFrame::Rare(Rare::Hello, inner) = *frame else {
            return Err(Error::Unexpected(frame.name()));
        };
        let hello: proto::Hello = Rare::decode(inner)?;
        let frame_len_max = announced(hello.frame_len_max)?;
        if hello.boot_id.len() != BOOT_ID_LEN {
            return Err(Error::Field("boot_id"));
        }
        if hello.gateway.len() > GATEWAY_NAME_LEN_MAX {
            return Err(Error::Field("gateway"));
        }
        if hello.worker > WORKER_MAX {
            return Err(Error::Field("worker"));
        }
        let heartbeat = match hello.heartbeat_ms {
            0 => STREAM_HEARTBEAT_DEFAULT,
            millis => Duration::from_millis(millis.into()),
        };
        if !(STREAM_HEARTBEAT_MIN..=HEARTBEAT_MAX).contains(&heartbeat) {
            return Err(Error::Field("heartbeat_ms"));
        }
        let credit = first_credit(hello.credit, frame_len_max)?;
        self.end.live(credit, frame_len_max, heartbeat, now);
        self.hello = hello;
        self.ticked = now;
        let ready = std::mem::take(&mut self.ready);
        let records = self.end.records.as_mut().expect("a frame came out of a record");
        self.end.outgoing.append(records, |out| Rare::Ready.encode(&ready, out));
        Ok(())
    }
}
