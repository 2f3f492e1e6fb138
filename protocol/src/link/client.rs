//! The app's end of a client link, for SDKs, the load generator and the simulator.

use std::time::Duration;

use crate::buffer::{Bounds, Input};
use crate::error::Error;
use crate::limits::{
    CLEAR_REPLY_LEN, FRAME_LEN_CEILING, MESSAGE_2_LEN_MAX, MESSAGE_2_PAYLOAD_LEN, RECORD_HEADER_LEN,
    RECORD_LEN_MAX, TAG_LEN,
};
use crate::noise::preamble::{ClearReply, Hello, Preamble, VERSION, VERSIONS, decode_offer};
use crate::noise::{Gate, Initiator, PublicKey, StaticKey, Suite, Suites, Transport, prologue};
use crate::time::Time;
use crate::wire::frame::Frame;

/// How to open a link.
#[derive(Debug)]
pub struct Dial<'a> {
    /// The gateway's pinned key.
    pub server: &'a PublicKey,
    /// The gate of that key; built once, as it costs a hash.
    pub gate: &'a Gate,
    /// The suite to use.
    pub suite: Suite,
    /// Suites the client would have preferred: if the gateway has one of them, somebody talked it down.
    pub better: Suites,
    /// The device key, for IK.
    pub device_key: Option<&'a StaticKey>,
    /// A ticket and its secret, for NNpsk0.
    pub ticket: Option<(&'a [u8], &'a [u8; 32])>,
}

/// One client link, seen from the app.
#[derive(Debug)]
pub struct ClientLink {
    state: State,
    /// When the last bytes were heard.
    heard: Time,
    /// When the last two pings were due, the older one first.
    pinged: [Time; 2],
    /// When the next one is.
    next_ping: Time,
    /// Zero until the gateway has said one.
    heartbeat: Duration,
}

#[derive(Debug)]
enum State {
    Hailing { initiator: Box<Initiator>, better: Suites },
    Open { transport: Transport, h: [u8; 32] },
    Dead,
}

impl ClientLink {
    /// Opens a link: appends the hello to `out`. `ephemeral` must be fresh randomness.
    ///
    /// # Errors
    /// [`Error::Handshake`] when suite, keys and ticket do not fit together, or the server's key is not a valid
    /// point.
    pub fn dial(dial: &Dial<'_>, ephemeral: [u8; 32], now: Time, out: &mut Vec<u8>) -> Result<Self, Error> {
        let (ticket, psk) = dial.ticket.map_or((&[][..], None), |(ticket, psk)| (ticket, Some(psk)));
        let mut suites = dial.better;
        suites.insert(dial.suite);
        let mut preamble = Preamble {
            version: VERSION,
            suite: dial.suite.byte(),
            key_id: dial.server.key_id(),
            versions: VERSIONS,
            suites,
            ticket_len: u16::try_from(ticket.len()).map_err(|_| Error::Ticket)?,
            tag: [0; 16],
        };
        let fixed = preamble.fixed();
        let mut message_1 = Vec::with_capacity(dial.suite.message_1_len());
        let initiator = Initiator::create(
            dial.suite,
            dial.device_key,
            (!dial.suite.is_ticket()).then_some(dial.server),
            psk,
            &prologue(&fixed, ticket),
            ephemeral,
            &mut message_1,
        )?;
        preamble.tag = dial.gate.tag(&fixed, ticket, &message_1);
        Hello { preamble, ticket, message_1: &message_1 }.encode(out);
        let state = State::Hailing { initiator: Box::new(initiator), better: dial.better };
        Ok(Self { state, heard: now, pinged: [now; 2], next_ping: now, heartbeat: Duration::ZERO })
    }

    /// The next frame of the input; completes the handshake on the way. [`Frame::Unknown`] has to be skipped.
    ///
    /// # Errors
    /// Whatever rule the gateway broke, or [`Error::Rejected`] with its clear reply.
    pub fn receive<'i>(&mut self, input: &'i mut Input<'_>, now: Time) -> Result<Option<Frame<'i>>, Error> {
        if input.unread() > 0 {
            self.heard = now;
        }
        if !self.is_open() && !self.finish_handshake(input)? {
            return Ok(None);
        }
        let State::Open { transport, .. } = &mut self.state else { return Err(Error::Early) };
        let Some(span) =
            input.next_frame(DOWNLINK, &mut |record| transport.open_in_place(record).map(|_| ()))?
        else {
            return Ok(None);
        };
        let frame = Frame::decode(input.body(span))?;
        match frame {
            Frame::Auth(_)
            | Frame::Request(_)
            | Frame::Ack { .. }
            | Frame::Ping(_)
            | Frame::Join { .. }
            | Frame::Leave { .. } => Err(Error::Unexpected(frame.name())),
            frame => Ok(Some(frame)),
        }
    }

    /// Whether there are keys, so that something can be sealed.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// The handshake hash, once there are keys.
    #[must_use]
    pub const fn handshake_hash(&self) -> Option<&[u8; 32]> {
        match &self.state {
            State::Open { h, .. } => Some(h),
            _ => None,
        }
    }

    /// The gateway's `Welcome` came, with this heartbeat interval. `phase` in 0..=255 spreads the first ping over
    /// the interval, so that many links opened at once do not ping at once.
    pub fn welcomed(&mut self, heartbeat: Duration, phase: u8, now: Time) {
        self.heartbeat = heartbeat;
        self.next_ping = now + heartbeat - heartbeat * u32::from(phase) / 256;
        self.heard = now;
    }

    /// Forgets which pings were not answered until `now`, after the client itself did not read: silence is no sign of death then.
    pub fn grace(&mut self, now: Time) {
        self.heard = now;
    }

    /// Turns `out[start..]` into records: a two-byte hole and plaintext on entry. Does nothing without keys.
    pub fn seal(&mut self, out: &mut Vec<u8>, start: usize, plain_max: usize) {
        if let State::Open { transport, .. } = &mut self.state {
            transport.seal_records(out, start, plain_max);
        }
    }

    /// When [`ClientLink::expire`] wants to be called; never before the gateway's `Welcome`.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        (!self.heartbeat.is_zero()).then_some(self.next_ping)
    }

    /// Says whether a ping is due, and counts it as sent.
    ///
    /// # Errors
    /// [`Error::HeartbeatTimeout`] when nothing was heard after the last two pings, for one interval each.
    pub fn expire(&mut self, now: Time) -> Result<bool, Error> {
        if self.heartbeat.is_zero() || now < self.next_ping {
            return Ok(false);
        }
        let [before, last] = self.pinged;
        if before > self.heard {
            return Err(Error::HeartbeatTimeout);
        }
        self.pinged = [last, now];
        self.next_ping = now + self.heartbeat;
        Ok(true)
    }

    fn finish_handshake(&mut self, input: &mut Input<'_>) -> Result<bool, Error> {
        if !input.gather(RECORD_HEADER_LEN) {
            return Ok(false);
        }
        let head = [input.gathered()[0], input.gathered()[1]];
        if ClearReply::announced(&head) == Some(true) {
            input.gather(CLEAR_REPLY_LEN);
            return ClearReply::decode(input.gathered())?
                .map_or(Ok(false), |reply| Err(Error::Rejected(reply.reason)));
        }
        let len = usize::from(u16::from_be_bytes(head));
        if len > MESSAGE_2_LEN_MAX {
            return Err(Error::HandshakeLength(len));
        }
        if !input.gather(RECORD_HEADER_LEN + len) {
            return Ok(false);
        }
        let State::Hailing { initiator, better } = std::mem::replace(&mut self.state, State::Dead) else {
            return Err(Error::Early);
        };
        let mut offer = Vec::with_capacity(MESSAGE_2_PAYLOAD_LEN);
        let secrets = initiator.consume(&input.gathered()[RECORD_HEADER_LEN..], &mut offer)?;
        input.gathered().clear();
        let (_, offered) = decode_offer(&offer).ok_or(Error::Handshake)?;
        if offered.intersection(better) != Suites::NONE {
            return Err(Error::Downgrade);
        }
        self.state = State::Open { h: secrets.h, transport: Transport::new(&secrets) };
        Ok(true)
    }
}

/// A client accepts every record Noise allows, and every frame a gateway can be configured to.
const DOWNLINK: Bounds =
    Bounds { record_len_max: RECORD_LEN_MAX, frame_len_max: FRAME_LEN_CEILING, tag_len: TAG_LEN };
