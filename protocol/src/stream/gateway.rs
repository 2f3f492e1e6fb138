//! The gateway's end of a stream: it dials.

use std::mem;
use std::time::Duration;

use crate::CloseCode;
use crate::buffer::Input;
use crate::error::Error;
use crate::limits::{BOOT_ID_LEN, INSTANCE_LEN_MAX, RECORD_LEN_MAX, RESUMED_MAX, ROUTE_LEN_MAX, ROUTES_MAX};
use crate::noise::{Initiator, exchange};
use crate::stream::end::{End, Phase};
use crate::stream::ephemeral::Ephemeral;
use crate::stream::hello::{self, Dialled, Mode};
use crate::stream::{Blocked, Params, announced, first_credit};
use crate::time::Time;
use crate::wire::proto::stream as proto;
use crate::wire::stream::{
    About, AuthResult, Authenticate, Ban, Close, Flawed, Kick, LinkClosed, LinkDetached, LinkOpened,
    LinkResumed, Rare, Report, Resumed, StreamFrame, StreamPush, StreamRequest, StreamResponse, Throttle,
    Unban,
};

/// A stream, seen from the gateway.
#[derive(Debug)]
pub struct GatewayStream {
    end: End,
    /// Between message 1 and message 2.
    initiator: Option<Initiator>,
    hello: proto::Hello,
    ready: proto::Ready,
}

/// Who dials. The rest of `Hello` follows from [`Params`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Introduction {
    /// New at each start of the gateway.
    pub boot_id: [u8; 16],
    /// The gateway's name, at most 64 bytes.
    pub gateway: String,
    /// The worker that dials.
    pub worker: u32,
    /// Pushes of class 1 that the backend may have open on this stream; 0 for none: they are not served.
    pub report_slots: u32,
}

/// What comes from a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToGateway<'b> {
    /// The stream is live: see [`GatewayStream::routes`].
    Ready,
    /// An answer. Its credit has to be given back with [`GatewayStream::consumed`].
    Response(StreamResponse<'b>),
    /// A push. Its credit has to be given back with [`GatewayStream::consumed`].
    Push(StreamPush<'b>),
    /// Credit came; requests that waited for it may go.
    Credited,
    /// A ping (it has been answered) or a pong.
    Alive,
    /// Reports were taken.
    ReportAck {
        /// Every one up to this.
        report: u64,
    },
    /// A verdict on a token.
    AuthResult(AuthResult<'b>),
    /// Close links.
    Kick(Kick<'b>),
    /// Keep somebody out.
    Ban(Ban<'b>),
    /// Let somebody in again.
    Unban(Unban<'b>),
    /// Slow somebody down.
    Throttle(Throttle<'b>),
    /// The backend will end the stream: it wants no new requests. Those under way are still answered.
    Draining,
    /// A frame about one link with a field out of its bounds. A push has to be reported, and its credit given back with
    /// [`GatewayStream::consumed`]; a verdict is none.
    Flawed(Flawed),
    /// The backend has finished: what it did not answer is unknown. Nothing comes after it.
    Close(Close<'b>),
    /// A kind that this version does not serve, or does not know.
    Skipped,
}

impl GatewayStream {
    /// Begins a stream on a socket that was connected at `now`. `ephemeral` must be fresh randomness.
    ///
    /// # Errors
    /// [`Error::Suite`] or [`Error::Handshake`] when the keys of `mode` cannot be used.
    pub fn new(
        mode: &Mode,
        params: Params,
        introduction: Introduction,
        ephemeral: [u8; 32],
        now: Time,
    ) -> Result<Self, Error> {
        let mut end = End::new(params, now);
        let ephemeral = Ephemeral::from(ephemeral);
        let mut dialled = None;
        end.outgoing.raw(|out| {
            dialled = Some(hello::dial(mode, &ephemeral, out)?);
            Ok(())
        })?;
        let hello = proto::Hello {
            boot_id: introduction.boot_id.to_vec().into(),
            gateway: introduction.gateway,
            worker: introduction.worker,
            credit: params.window,
            frame_len_max: u32::try_from(params.frame_len_max).unwrap_or(u32::MAX),
            heartbeat_ms: u32::try_from(params.heartbeat.as_millis()).unwrap_or(u32::MAX),
            report_slots: introduction.report_slots,
        };
        let ready = proto::Ready::default();
        let mut stream = Self { end, initiator: None, hello, ready };
        match dialled {
            Some(Dialled::Open(records)) => {
                stream.end.records = Some(records);
                stream.greet();
            }
            Some(Dialled::Waiting(initiator)) => stream.initiator = Some(initiator),
            None => {}
        }
        Ok(stream)
    }

    /// Begins to read a chunk that arrived; [`GatewayStream::keep`] ends it.
    #[must_use]
    pub fn input<'c>(&mut self, chunk: &'c mut [u8]) -> Input<'c> {
        self.end.input(chunk)
    }

    /// Keeps what a chunk left over, after [`GatewayStream::receive`] has returned `None`.
    pub fn keep(&mut self, input: Input<'_>) {
        self.end.keep(input);
    }

    /// The next event of the input, or `None` when it is used up.
    ///
    /// # Errors
    /// Whatever rule the backend broke, or [`Error::Rejected`] with its clear reply.
    pub fn receive<'i>(
        &mut self,
        input: &'i mut Input<'_>,
        now: Time,
    ) -> Result<Option<ToGateway<'i>>, Error> {
        if self.is_closed() {
            return Ok(None);
        }
        self.end.look(now);
        if self.initiator.is_some() {
            if !exchange::gather_answer(input)? {
                return Ok(None);
            }
            let initiator = self.initiator.take().expect("checked above");
            self.end.records = Some(hello::finish(initiator, input)?);
            self.greet();
        }
        let Some(frame) = self.end.next(input, RECORD_LEN_MAX)? else { return Ok(None) };
        if self.end.phase == Phase::Greeting && !matches!(frame, StreamFrame::Close(_)) {
            return self.ready(&frame, now).map(|()| Some(ToGateway::Ready));
        }
        self.end.digest(&frame, now)?;
        Ok(Some(match frame {
            StreamFrame::Response(response) => ToGateway::Response(response),
            StreamFrame::Push(push) if push.targets() == 1 => ToGateway::Push(push),
            StreamFrame::Push(push) => ToGateway::Flawed(Flawed {
                about: About::Push(push.number),
                field: "target",
                payload_len: Some(push.payload.len()),
            }),
            StreamFrame::Credit { .. } => ToGateway::Credited,
            StreamFrame::Ping { .. } | StreamFrame::Pong { .. } => ToGateway::Alive,
            StreamFrame::ReportAck { report } => ToGateway::ReportAck { report },
            StreamFrame::AuthResult(result) => ToGateway::AuthResult(result),
            StreamFrame::Kick(kick) if kick.has_one_target() => ToGateway::Kick(kick),
            StreamFrame::Kick(kick) => ToGateway::Flawed(Flawed {
                about: About::Kick(kick.link),
                field: "target",
                payload_len: None,
            }),
            StreamFrame::Ban(ban) => ToGateway::Ban(ban),
            StreamFrame::Unban(unban) => ToGateway::Unban(unban),
            StreamFrame::Throttle(throttle) => ToGateway::Throttle(throttle),
            StreamFrame::Close(close) => ToGateway::Close(close),
            StreamFrame::Draining { .. } => ToGateway::Draining,
            StreamFrame::Flawed(flawed) => match flawed.about {
                About::Push(_)
                | About::AuthResult(_)
                | About::Kick(_)
                | About::Ban
                | About::Unban
                | About::Throttle => ToGateway::Flawed(flawed),
                About::Request(_) | About::Authenticate(_) | About::Presence(_) => {
                    return Err(Error::Unexpected(frame.name()));
                }
            },
            StreamFrame::Pad { .. } | StreamFrame::Unknown => ToGateway::Skipped,
            StreamFrame::Rare(rare, _) if !rare.is_to_backend() && rare != Rare::Ready => ToGateway::Skipped,
            other => return Err(Error::Unexpected(other.name())),
        }))
    }

    /// Whether requests can go.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.end.phase == Phase::Live
    }

    /// Whether either end has said `Close`.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.end.phase == Phase::Closed
    }

    /// The routes the backend serves; empty before it is ready.
    #[must_use]
    pub fn routes(&self) -> &[String] {
        &self.ready.routes
    }

    /// Names the backend's process, 1 to 64 bytes; empty before it is ready.
    #[must_use]
    pub fn instance(&self) -> &[u8] {
        &self.ready.instance
    }

    /// Which start of the backend this is; `None` before it is ready, and if it does not say.
    #[must_use]
    pub fn boot(&self) -> Option<&[u8; BOOT_ID_LEN]> {
        self.ready.boot.as_array()
    }

    /// What requests may still cost, each its payload and 64 bytes.
    #[must_use]
    pub fn credit_available(&self) -> u64 {
        self.end.credit_available()
    }

    /// Sends a request if there is credit for it.
    ///
    /// # Errors
    /// Why it was not taken; nothing has happened then.
    pub fn request(&mut self, request: &StreamRequest<'_>) -> Result<(), Blocked> {
        self.end.payload(&StreamFrame::Request(*request), request.payload.len())
    }

    /// Whether a request is longer than the backend takes, with however much credit: it must not wait for that.
    #[must_use]
    pub fn is_too_large(&self, request: &StreamRequest<'_>) -> bool {
        self.end.is_too_large(&StreamFrame::Request(*request), request.payload.len())
    }

    /// Gives back the credit of a response or push with a payload of this length, once it was queued or refused.
    pub fn consumed(&mut self, payload_len: usize) {
        self.end.consumed(payload_len);
    }

    /// Says that a link was opened. Like everything below, dropped when the stream is not live.
    pub fn link_opened(&mut self, opened: &LinkOpened<'_>) {
        self.end.control(&StreamFrame::LinkOpened(*opened));
    }

    /// Says that a link was closed.
    pub fn link_closed(&mut self, closed: &LinkClosed<'_>) {
        self.end.control(&StreamFrame::LinkClosed(*closed));
    }

    /// Says that all links which were open when the stream opened have been told (SPEC 11.7).
    pub fn announced(&mut self) {
        self.end.control(&StreamFrame::Rare(Rare::Announced, &[]));
    }

    /// Says that a session lost its link.
    pub fn link_detached(&mut self, detached: &LinkDetached<'_>) {
        self.end.control(&StreamFrame::LinkDetached(*detached));
    }

    /// Says that sessions go on with other links, in as many frames as it takes.
    pub fn link_resumed(&mut self, links: &[Resumed]) {
        for links in links.chunks(RESUMED_MAX) {
            self.end.control(&StreamFrame::LinkResumed(LinkResumed::of(links)));
        }
    }

    /// Asks whether a token is good.
    pub fn authenticate(&mut self, ask: &Authenticate<'_>) {
        self.end.control(&StreamFrame::Authenticate(*ask));
    }

    /// Says what became of a push.
    pub fn report(&mut self, report: &Report<'_>) {
        self.end.control(&StreamFrame::Report(*report));
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
    /// whether there was anything. One send may be in flight, so the caller waits for it before the next call.
    pub fn seal(&mut self, batch: &mut Vec<u8>) -> bool {
        self.end.seal(batch)
    }

    /// Tells that a send went on which had come to a stand for want of room: the backend reads, which is a sign of life
    /// (SPEC 11.9).
    pub fn taken(&mut self, now: Time) {
        self.end.lives(now);
    }

    /// When [`GatewayStream::expire`] wants to be called; may move with every call.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let deadline = self.end.deadline()?;
        Some(if self.is_ready() { deadline.min(self.next_ping()) } else { deadline })
    }

    /// Lets time pass: pings when it is due.
    ///
    /// # Errors
    /// [`Error::HandshakeTimeout`], [`Error::HeartbeatTimeout`], or [`Error::Stalled`] when the backend has not
    /// taken anything for too long.
    pub fn expire(&mut self, now: Time) -> Result<(), Error> {
        self.end.expire(now)?;
        if self.is_ready() && now >= self.next_ping() {
            self.end.ping(now);
        }
        Ok(())
    }

    fn next_ping(&self) -> Time {
        self.end.pinged + self.end.heartbeat
    }

    fn greet(&mut self) {
        let hello = mem::take(&mut self.hello);
        let records = self.end.records.as_mut().expect("there are records before anybody is greeted");
        self.end.outgoing.append(records, |out| Rare::Hello.encode(&hello, out));
    }

    fn ready(&mut self, frame: &StreamFrame<'_>, now: Time) -> Result<(), Error> {
        let StreamFrame::Rare(Rare::Ready, inner) = *frame else {
            return Err(Error::Unexpected(frame.name()));
        };
        let ready: proto::Ready = Rare::decode(inner)?;
        let frame_len_max = announced(ready.frame_len_max)?;
        if ready.instance.is_empty() || ready.instance.len() > INSTANCE_LEN_MAX {
            return Err(Error::Field("instance"));
        }
        if !matches!(ready.boot.len(), 0 | BOOT_ID_LEN) {
            return Err(Error::Field("boot"));
        }
        let named = |route: &String| (1..=ROUTE_LEN_MAX).contains(&route.len());
        if ready.routes.len() > ROUTES_MAX || !ready.routes.iter().all(named) {
            return Err(Error::Field("routes"));
        }
        let credit = first_credit(ready.credit, frame_len_max)?;
        self.end.live(credit, frame_len_max, self.end.params.heartbeat, now);
        self.ready = ready;
        Ok(())
    }
}
