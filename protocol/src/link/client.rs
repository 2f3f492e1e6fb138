//! The app's end of a client link, for SDKs, the load generator and the simulator.

use std::fmt;
use std::time::Duration;

use crate::buffer::{Bounds, Input};
use crate::error::Error;
use crate::hidden::Hidden;
use crate::limits::{FRAME_LEN_CEILING, HEARTBEAT_MAX, HEARTBEAT_MIN, RECORD_LEN_MAX, TAG_LEN};
use crate::noise::exchange::{self, Call};
use crate::noise::{Gate, Initiator, PublicKey, StaticKey, Suite, Suites, Transport};
use crate::time::Time;
use crate::wire::frame::Frame;

/// How to open a link.
pub struct Dial<'a> {
    /// The gateway's pinned key.
    pub server: &'a PublicKey,
    /// The gate of that key; built once, as it costs a hash.
    pub gate: &'a Gate,
    /// The suite to use.
    pub suite: Suite,
    /// Suites the client would have preferred: if the gateway has one of them, somebody talked it down.
    pub better: Suites,
    /// Suites the gateway once said, on a link that proved its key, to serve under this key; none if it never did.
    pub served: Suites,
    /// The device key, for IK.
    pub device_key: Option<&'a StaticKey>,
    /// A ticket and its secret, for NNpsk0.
    pub ticket: Option<(&'a [u8], &'a [u8; 32])>,
}

impl fmt::Debug for Dial<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dial")
            .field("server", &self.server)
            .field("suite", &self.suite)
            .field("ticket", &self.ticket.map(|(ticket, _)| Hidden(ticket)))
            .finish_non_exhaustive()
    }
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
    Hailing {
        initiator: Box<Initiator>,
        better: Suites,
    },
    /// `message_3` is what the handshake still has to say (XX); it leaves before the first record.
    Open {
        transport: Transport,
        h: [u8; 32],
        offered: Suites,
        message_3: Vec<u8>,
    },
    Dead,
}

impl ClientLink {
    /// Opens a link: appends the hello to `out`. `ephemeral` must be fresh randomness.
    ///
    /// # Errors
    /// [`Error::Suite`] when suite, keys and ticket do not fit together; [`Error::Handshake`] when the server's key is not a valid
    /// point; [`Error::Downgrade`] when the gateway serves a better suite, whatever anybody on the path may have said.
    pub fn dial(dial: &Dial<'_>, ephemeral: [u8; 32], now: Time, out: &mut Vec<u8>) -> Result<Self, Error> {
        if !dial.better.intersection(dial.served).is_empty() {
            return Err(Error::Downgrade);
        }
        let (ticket, psk) = dial.ticket.map_or((&[][..], None), |(ticket, psk)| (ticket, Some(psk)));
        let mut offered = dial.better;
        offered.insert(dial.suite);
        let call = Call {
            suite: dial.suite,
            offered,
            server: Some((dial.server, dial.gate)),
            ticket,
            psk,
            local: dial.device_key,
            ephemeral,
        };
        let initiator = Box::new(call.write(out)?);
        Ok(Self::hailing(initiator, dial.better, now))
    }

    /// Opens a link without a server key, by XX: appends the hello to `out`. Whoever answers is the gateway, as far as can be
    /// known. `better` is as in [`Dial`], `ephemeral` must be fresh randomness.
    ///
    /// # Errors
    /// [`Error::Suite`] with a suite that wants a server key.
    pub fn dial_unpinned(
        suite: Suite,
        better: Suites,
        device_key: &StaticKey,
        ephemeral: [u8; 32],
        now: Time,
        out: &mut Vec<u8>,
    ) -> Result<Self, Error> {
        let mut offered = better;
        offered.insert(suite);
        let local = Some(device_key);
        let call = Call { suite, offered, server: None, ticket: &[], psk: None, local, ephemeral };
        Ok(Self::hailing(Box::new(call.write(out)?), better, now))
    }

    const fn hailing(initiator: Box<Initiator>, better: Suites, now: Time) -> Self {
        let state = State::Hailing { initiator, better };
        Self { state, heard: now, pinged: [now; 2], next_ping: now, heartbeat: Duration::ZERO }
    }

    /// The next frame of the input; completes the handshake on the way. [`Frame::Unknown`] and
    /// [`Frame::Pad`] have to be skipped.
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

    /// The suites the gateway speaks on this listener, once there are keys.
    #[must_use]
    pub const fn offered(&self) -> Option<Suites> {
        match &self.state {
            State::Open { offered, .. } => Some(*offered),
            _ => None,
        }
    }

    /// The gateway's `Welcome` came, with this heartbeat interval; one out of [`HEARTBEAT_MIN`]`..=`[`HEARTBEAT_MAX`] is
    /// clamped, so that no gateway makes a client ping all the time, or never. `phase` in 0..=255 spreads the first ping over
    /// the interval, so that many links opened at once do not ping at once.
    pub fn welcomed(&mut self, heartbeat: Duration, phase: u8, now: Time) {
        let heartbeat = heartbeat.clamp(HEARTBEAT_MIN, HEARTBEAT_MAX);
        self.heartbeat = heartbeat;
        self.next_ping = now + heartbeat - heartbeat * u32::from(phase) / 256;
        self.heard = now;
    }

    /// Forgets which pings were not answered until `now`, after the client itself did not read: silence is no sign of death then.
    pub fn grace(&mut self, now: Time) {
        self.heard = now;
    }

    /// Turns `out[start..]` into records: a two-byte hole and plaintext on entry. Does nothing without keys. With XX message 3
    /// is put before the first of them, so that a client which says nothing has not finished its handshake.
    pub fn seal(&mut self, out: &mut Vec<u8>, start: usize, plain_max: usize) {
        if let State::Open { transport, message_3, .. } = &mut self.state {
            let message_3 = std::mem::take(message_3);
            transport.seal_records(out, start, plain_max);
            out.splice(start..start, message_3);
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
        if !exchange::gather_answer(input)? {
            return Ok(false);
        }
        let State::Hailing { initiator, better } = std::mem::replace(&mut self.state, State::Dead) else {
            return Err(Error::Early);
        };
        let suite = initiator.suite();
        let mut message_3 = Vec::new();
        let (secrets, offered) = exchange::read_answer(*initiator, input, &mut message_3)?;
        if !offered.contains(suite) || !offered.intersection(better).is_empty() {
            return Err(Error::Downgrade);
        }
        self.state = State::Open { h: secrets.h, offered, transport: Transport::new(&secrets), message_3 };
        Ok(true)
    }
}

/// A client accepts every record Noise allows, and every frame a gateway can be configured to.
const DOWNLINK: Bounds =
    Bounds { record_len_max: RECORD_LEN_MAX, frame_len_max: FRAME_LEN_CEILING, tag_len: TAG_LEN };
