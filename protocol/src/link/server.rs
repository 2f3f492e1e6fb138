//! The gateway's end of a client link.

use std::time::Duration;

use crate::buffer::{Bounds, Input, Rest, count_frames};
use crate::error::Error;
use crate::limits::{
    FRAME_LEN_MAX_UNAUTHENTICATED, HANDSHAKE_LINGER, HELD_BYTES_MAX, HELD_FRAMES_MAX, LINGER_MAX,
    MESSAGE_3_LEN, RECORD_HEADER_LEN, RECORD_LEN_MAX_UNAUTHENTICATED, TAG_LEN,
};
use crate::link::hello::{self, Acceptor, Gathered, Reading};
use crate::noise::exchange;
use crate::noise::preamble::Hello;
use crate::noise::ticket::Identity;
use crate::noise::{Bound, PublicKey, Responder, Secrets, Suite, Transport, Unfinished, prologue};
use crate::time::{Time, UnixMillis};
use crate::wire::frame::{Frame, is_pad};

/// What the gateway holds its links to; from config, the same for all links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Longest uplink record, without its length field.
    pub record_len_max: usize,
    /// Longest uplink frame body.
    pub frame_len_max: usize,
    /// Time from accept to a complete handshake.
    pub handshake_deadline: Duration,
    /// Time from the handshake to a successful authentication.
    pub auth_deadline: Duration,
    /// Unknown frames a link may send.
    pub glitches_max: u8,
}

/// One client link, seen from the gateway. Plain data of a fixed size: it can be packed and moved.
#[derive(Debug)]
pub struct ServerLink {
    state: State,
    /// When the phase began; once live, when the last frame was heard.
    since: Time,
}

/// ```text
/// Hello ──gate──► Hailed ──handshake──► Open(Greeting ──Auth──► Authenticating ──welcome──► Live ──► Closing)
///   │                └─with XX─► Begun ──finish──┘
///   └► Foreign ──gate, or not──► Rejected
/// ```
#[derive(Debug)]
enum State {
    Hello,
    /// The version or suite is not known here; whether the hello passes the gate is still of interest.
    Foreign(Box<Reading>),
    Hailed(Suite),
    /// Message 2 is out, and message 3 is awaited, or there and `whole`. What it is read with is kept by the caller, as it
    /// is larger than a link.
    Begun {
        whole: bool,
    },
    Open(Open),
    /// Ended before there were keys.
    Rejected,
}

#[derive(Debug)]
struct Open {
    transport: Transport,
    h: [u8; 32],
    /// The device key (IK, XX), seldom present: proved in this handshake, or in the one its ticket began with.
    peer: Option<Box<PublicKey>>,
    /// What the ticket said, until the link is welcomed.
    resumed: Option<Box<Resumed>>,
    suite: Suite,
    /// The suite in which the user was proved: this one's, or the one its ticket began with.
    origin: Suite,
    phase: Phase,
    /// Unknown frames so far. This and the next stand here because here is room for them.
    glitches: u8,
    /// Zero before the link is live.
    heartbeat_ms: u32,
}

/// A ticket that was used.
#[derive(Debug)]
struct Resumed {
    identity: Identity,
    /// Kept if its owner has to sign it.
    ticket: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Greeting,
    /// `full`: no more is held; reading has to stop.
    Authenticating {
        full: bool,
    },
    Live,
    Closing,
}

impl ServerLink {
    /// A link that was accepted at `now`.
    #[must_use]
    pub const fn new(now: Time) -> Self {
        Self { state: State::Hello, since: now }
    }

    /// Reads the hello; returns whether it is complete and passed the gate. It then rests in the input, and
    /// [`ServerLink::handshake`] wants it. A clear reply, if one is due, is appended to `out`.
    ///
    /// # Errors
    /// Anything wrong with the first bytes.
    pub fn hail(
        &mut self,
        input: &mut Input<'_>,
        acceptor: &Acceptor,
        out: &mut Vec<u8>,
    ) -> Result<bool, Error> {
        let result = self.judge(input, acceptor);
        if let Err(error) = result {
            if let Some(reply) = acceptor.clear_reply(error) {
                out.extend_from_slice(&reply);
            }
            self.state = State::Rejected;
        }
        result
    }

    fn judge(&mut self, input: &mut Input<'_>, acceptor: &Acceptor) -> Result<bool, Error> {
        if matches!(self.state, State::Hello) {
            match hello::gather(input, acceptor)? {
                Gathered::Part => return Ok(false),
                Gathered::Whole => {
                    let suite = acceptor.judge(&hello::parse(input.gathered())?)?;
                    self.state = State::Hailed(suite);
                    return Ok(true);
                }
                Gathered::Foreign(reading) => self.state = State::Foreign(reading),
            }
        }
        match &mut self.state {
            State::Foreign(reading) => reading.receive(input),
            _ => Err(Error::Early),
        }
    }

    /// Turns a client away whose hello is complete and waits: it is asked to come back after `wait` units of
    /// [`BUSY_UNIT`](crate::limits::BUSY_UNIT), and keeps its ticket. Appends the clear reply to `out`; nothing to a
    /// link that has not passed the gate, which hears nothing, or has keys.
    pub fn turn_away(&mut self, acceptor: &Acceptor, wait: u16, out: &mut Vec<u8>) {
        if self.is_hailed() {
            out.extend_from_slice(&acceptor.busy(wait));
            self.state = State::Rejected;
        }
    }

    /// Whether the hello is complete and waits for [`ServerLink::handshake`].
    #[must_use]
    pub const fn is_hailed(&self) -> bool {
        matches!(self.state, State::Hailed(_))
    }

    /// The suite of a hello that is complete and waits for [`ServerLink::handshake`].
    #[must_use]
    pub const fn hailed(&self) -> Option<Suite> {
        match self.state {
            State::Hailed(suite) => Some(suite),
            _ => None,
        }
    }

    /// With a ticket, what tells this message 1 from every other one, for the duplicate filter.
    #[must_use]
    pub fn fingerprint<'b>(&self, hello: &'b [u8]) -> Option<&'b [u8]> {
        match self.state {
            State::Hailed(suite) if suite.is_ticket() => hello.get(hello.len().checked_sub(48)?..),
            _ => None,
        }
    }

    /// Does the curve work of a complete `hello` and appends message 2 to `out`; or the clear reply, to a ticket that is
    /// worth nothing. With XX there are no keys before message 3: what that is to be [finished](ServerLink::finish) with is
    /// returned, and the link [waits](ServerLink::hear_last) for it.
    ///
    /// # Errors
    /// [`Error::Ticket`]; or [`Error::Handshake`], and `out` is as before then: a wrong secret of a ticket is met with
    /// silence.
    pub fn handshake(
        &mut self,
        hello: &[u8],
        acceptor: &Acceptor,
        ephemeral: [u8; 32],
        now: Time,
        wall: UnixMillis,
        out: &mut Vec<u8>,
    ) -> Result<Option<Unfinished>, Error> {
        let State::Hailed(suite) = self.state else { return Err(Error::Early) };
        self.state = State::Rejected;
        let Hello { preamble, ticket, message_1 } = hello::parse(hello)?;
        let resumed = if suite.is_ticket() {
            let identity = acceptor.open_ticket(ticket, wall).inspect_err(|&error| {
                out.extend_from_slice(&acceptor.clear_reply(error).expect("a refused ticket has its reply"));
            })?;
            let ticket = if identity.bound_key.is_some() { ticket.to_vec() } else { Vec::new() };
            Some(Box::new(Resumed { identity, ticket }))
        } else {
            None
        };
        let responder = Responder {
            suite,
            key: if suite.is_ticket() { None } else { Some(&acceptor.key) },
            peer: None,
            psk: resumed.as_ref().map(|resumed| &*resumed.identity.psk),
            prologue: &prologue(&preamble.fixed(), ticket),
            ephemeral,
        };
        if suite.is_unpinned() {
            let unfinished = exchange::begin_answer(responder, message_1, acceptor.suites(), out)?;
            self.state = State::Begun { whole: false };
            self.since = now;
            return Ok(Some(unfinished));
        }
        let secrets = exchange::answer(responder, message_1, acceptor.suites(), out)?;
        self.state = State::Open(Open::new(&secrets, resumed));
        self.since = now;
        Ok(None)
    }

    /// Reads message 3; returns whether it is complete. It then rests in the input, with what follows it, and
    /// [`ServerLink::finish`] wants it.
    ///
    /// # Errors
    /// [`Error::HandshakeLength`] if it is none, [`Error::Early`] if none is awaited.
    pub fn hear_last(&mut self, input: &mut Input<'_>) -> Result<bool, Error> {
        let State::Begun { whole: whole @ false } = &mut self.state else { return Err(Error::Early) };
        *whole = exchange::gather_last(input)?;
        Ok(*whole)
    }

    /// Whether message 3 is awaited, or there and waits for [`ServerLink::finish`].
    #[must_use]
    pub const fn is_begun(&self) -> bool {
        matches!(self.state, State::Begun { .. })
    }

    /// Whether message 3 is there and waits for [`ServerLink::finish`].
    #[must_use]
    pub const fn is_heard_out(&self) -> bool {
        matches!(self.state, State::Begun { whole: true })
    }

    /// Does the curve work of message 3, which is taken off the front of `rest`: the link has keys then. Its time is still that
    /// of its authentication, which began with message 2.
    ///
    /// # Errors
    /// [`Error::Handshake`] if it does not open, [`Error::Early`] if it is not complete.
    pub fn finish(&mut self, unfinished: Unfinished, rest: &mut Rest) -> Result<(), Error> {
        if !self.is_heard_out() {
            return Err(Error::Early);
        }
        self.state = State::Rejected;
        let message_3 = rest.gathered().get(RECORD_HEADER_LEN..RECORD_HEADER_LEN + MESSAGE_3_LEN);
        let secrets = unfinished.finish(message_3.ok_or(Error::Early)?)?;
        rest.drop_front(RECORD_HEADER_LEN + MESSAGE_3_LEN);
        self.state = State::Open(Open::new(&secrets, None));
        Ok(())
    }

    /// The next frame of the input. While the first `Auth` is being judged, further frames are held and `None`
    /// is returned; they come after [`ServerLink::welcome`], from an input over an empty chunk.
    ///
    /// [`Frame::Unknown`] and [`Frame::Pad`] have to be skipped by the caller.
    ///
    /// # Errors
    /// Whatever rule the client broke.
    pub fn receive<'i>(
        &mut self,
        input: &'i mut Input<'_>,
        rules: &Rules,
        now: Time,
    ) -> Result<Option<Frame<'i>>, Error> {
        let State::Open(open) = &mut self.state else { return Err(Error::Early) };
        let Open { transport, phase, glitches, .. } = open;
        let record_len_max = match phase {
            Phase::Live => rules.record_len_max,
            _ => rules.record_len_max.min(RECORD_LEN_MAX_UNAUTHENTICATED),
        };
        let frame_len_max = match phase {
            Phase::Greeting => rules.frame_len_max.min(FRAME_LEN_MAX_UNAUTHENTICATED),
            _ => rules.frame_len_max,
        };
        let bounds = Bounds { record_len_max, frame_len_max, tag_len: TAG_LEN };
        let mut open_record = |record: &mut [u8]| transport.open_in_place(record).map(|_| ());
        if let Phase::Authenticating { full } = phase {
            let enough = |plain: &[u8]| {
                Ok(plain.len() > HELD_BYTES_MAX
                    || count_frames(plain, bounds.frame_len_max)? >= HELD_FRAMES_MAX)
            };
            *full = input.hold(bounds, &mut open_record, is_pad, enough)?;
            return Ok(None);
        }
        if *phase == Phase::Closing {
            return Ok(None);
        }
        let Some(span) = input.next_frame(bounds, &mut open_record)? else { return Ok(None) };
        let frame = Frame::decode(input.body(span))?;
        match (&frame, *phase) {
            (Frame::Auth(_), Phase::Greeting) => *phase = Phase::Authenticating { full: false },
            (Frame::Unknown, _) => {
                count_glitch(glitches, rules)?;
            }
            (Frame::Close(_), _) => {}
            (
                Frame::Auth(_)
                | Frame::Request(_)
                | Frame::Ack { .. }
                | Frame::Ping(_)
                | Frame::Join { .. }
                | Frame::Leave { .. }
                | Frame::Pad { .. },
                Phase::Live,
            ) => self.since = now,
            (other, _) => return Err(Error::Unexpected(other.name())),
        }
        Ok(Some(frame))
    }

    /// Counts something that the client need not have done, as an unknown frame is counted.
    ///
    /// # Errors
    /// [`Error::Glitches`] when it is one too many.
    pub fn glitch(&mut self, rules: &Rules) -> Result<(), Error> {
        match &mut self.state {
            State::Open(open) => count_glitch(&mut open.glitches, rules),
            _ => Ok(()),
        }
    }

    /// How much it has counted so far.
    #[must_use]
    pub const fn glitches(&self) -> u8 {
        match &self.state {
            State::Open(open) => open.glitches,
            _ => 0,
        }
    }

    /// The interval of the client's pings; zero before it is live.
    #[must_use]
    pub const fn heartbeat(&self) -> Duration {
        match &self.state {
            State::Open(open) => Duration::from_millis(open.heartbeat_ms as u64),
            _ => Duration::ZERO,
        }
    }

    /// Whether reading has to stop until the authentication is over.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        matches!(self.state, State::Open(Open { phase: Phase::Authenticating { full: true }, .. }))
    }

    /// The client is who it says: from now on frames are lent.
    pub fn welcome(&mut self, heartbeat: Duration, now: Time) {
        if let State::Open(open) = &mut self.state {
            open.phase = Phase::Live;
        }
        self.set_heartbeat(heartbeat);
        self.since = now;
    }

    /// Changes the heartbeat interval.
    pub fn set_heartbeat(&mut self, heartbeat: Duration) {
        if let State::Open(open) = &mut self.state {
            open.heartbeat_ms = u32::try_from(heartbeat.as_millis()).unwrap_or(u32::MAX);
        }
    }

    /// Grants one full interval from `now` at least, after the link could not be read through no fault of its own.
    pub fn grace(&mut self, now: Time) {
        if let State::Open(open) = &self.state {
            self.since = self.since.max(now - Duration::from_millis(open.heartbeat_ms.into()));
        }
    }

    /// A close frame goes out; what still comes in is discarded.
    pub fn close(&mut self, now: Time) {
        self.since = now;
        match &mut self.state {
            State::Open(open) => open.phase = Phase::Closing,
            state => *state = State::Rejected,
        }
    }

    /// Turns `out[start..]` into records: a two-byte hole and plaintext on entry. Does nothing without keys.
    pub fn seal(&mut self, out: &mut Vec<u8>, start: usize, plain_max: usize) {
        if let State::Open(open) = &mut self.state {
            open.transport.seal_records(out, start, plain_max);
        }
    }

    /// Whether there are keys, so that something can be sealed.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Whether the client is authenticated and not closing.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        matches!(self.state, State::Open(Open { phase: Phase::Live, .. }))
    }

    /// Whether an `Auth` is being judged.
    #[must_use]
    pub const fn is_authenticating(&self) -> bool {
        matches!(self.state, State::Open(Open { phase: Phase::Authenticating { .. }, .. }))
    }

    /// Handshake hash, suite and device key, once there are keys. With a ticket the device key is the one that was proved
    /// in the handshake it began with.
    #[must_use]
    pub fn binding(&self) -> Option<(&[u8; 32], Suite, Option<&PublicKey>)> {
        match &self.state {
            State::Open(open) => Some((&open.h, open.suite, open.peer.as_deref())),
            _ => None,
        }
    }

    /// The suite in which the user was proved, once there are keys: with a ticket another one than the link's.
    #[must_use]
    pub const fn origin(&self) -> Option<Suite> {
        match &self.state {
            State::Open(open) => Some(open.origin),
            _ => None,
        }
    }

    /// What the ticket said, until it is forgotten.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.resumed().map(|(resumed, _)| &resumed.identity)
    }

    /// Whether a ticket is its user's own: not bound to a key, or signed with it.
    #[must_use]
    pub fn owns_ticket(&self, signature: &[u8]) -> bool {
        let Some((Resumed { identity, ticket }, h)) = self.resumed() else { return false };
        identity.bound_key.is_none_or(|key| Bound::Ticket(ticket).is_signed(h, &key, signature))
    }

    fn resumed(&self) -> Option<(&Resumed, &[u8; 32])> {
        match &self.state {
            State::Open(Open { resumed: Some(resumed), h, .. }) => Some((resumed, h)),
            _ => None,
        }
    }

    /// Forgets what the ticket said: it is needed until the link is welcomed.
    pub fn forget_identity(&mut self) {
        if let State::Open(open) = &mut self.state {
            open.resumed = None;
        }
    }

    /// When [`ServerLink::expire`] wants to be called.
    #[must_use]
    pub fn deadline(&self, rules: &Rules) -> Time {
        self.since
            + match &self.state {
                State::Hello | State::Foreign(_) | State::Hailed(_) => rules.handshake_deadline,
                State::Begun { .. } => rules.auth_deadline,
                State::Rejected => HANDSHAKE_LINGER,
                State::Open(open) => match open.phase {
                    Phase::Greeting | Phase::Authenticating { .. } => rules.auth_deadline,
                    Phase::Live => 2 * Duration::from_millis(open.heartbeat_ms.into()),
                    Phase::Closing => LINGER_MAX,
                },
            }
    }

    /// What it means that the deadline has passed.
    ///
    /// # Errors
    /// Always, once it has: the link is over.
    pub fn expire(&self, rules: &Rules, now: Time) -> Result<(), Error> {
        if now < self.deadline(rules) {
            return Ok(());
        }
        Err(match &self.state {
            State::Hello | State::Foreign(_) | State::Hailed(_) | State::Begun { .. } | State::Rejected => {
                Error::HandshakeTimeout
            }
            State::Open(open) => match open.phase {
                Phase::Greeting | Phase::Authenticating { .. } => Error::AuthTimeout,
                Phase::Live | Phase::Closing => Error::HeartbeatTimeout,
            },
        })
    }
}

impl Open {
    /// What a handshake has left, and what its ticket said.
    fn new(secrets: &Secrets, resumed: Option<Box<Resumed>>) -> Self {
        let identity = resumed.as_ref().map(|resumed| &resumed.identity);
        let peer = identity.map_or(secrets.peer, |identity| identity.device_key);
        let origin = identity.map_or(secrets.suite, |identity| identity.origin_suite);
        Self {
            h: secrets.h,
            peer: peer.map(Box::new),
            resumed,
            suite: secrets.suite,
            origin,
            phase: Phase::Greeting,
            glitches: 0,
            heartbeat_ms: 0,
            transport: Transport::new(secrets),
        }
    }
}

const _: () = assert!(size_of::<ServerLink>() <= 152, "a link's protocol state is part of its 256 bytes");

fn count_glitch(glitches: &mut u8, rules: &Rules) -> Result<(), Error> {
    if *glitches >= rules.glitches_max {
        return Err(Error::Glitches);
    }
    *glitches += 1;
    Ok(())
}
