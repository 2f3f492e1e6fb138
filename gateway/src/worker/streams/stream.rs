//! One endpoint's stream: what is known of the endpoint, and its socket while there is one.

use driver::Token;
use protocol::Time;
use protocol::stream::GatewayStream;
use protocol::wire::stream::Resumed;

use super::told::Told;
use crate::delivery::reports::Reports;
use crate::upstream::redial::Redial;

/// One endpoint's stream.
#[derive(Debug)]
pub(super) struct Stream {
    /// When it is dialled, and whether its endpoint is left out.
    pub(super) redial: Redial,
    /// Counts the dials: one that was given up may fail when the next one is under way.
    pub(super) dials: u16,
    /// Counts the sockets, so that a report never reaches a later one than its push came by.
    pub(super) epoch: u32,
    /// Up to which slot the links that were there before it came up have been announced.
    pub(super) announced_to: Option<u32>,
    /// Links it was told of.
    pub(super) told: Told,
    /// Links that took others' places, of which it is told with its next batch; fewer than a frame holds.
    pub(super) resumed: Vec<Resumed>,
    /// What its backend has still to be told of its pushes.
    pub(super) reports: Reports,
    /// Whether it stands in the list of streams to flush.
    pub(super) dirty: bool,
    /// Its backend has said that it will end the stream: no new requests.
    pub(super) leaving: bool,
    /// Bytes that may wait for its backend.
    pub(super) pending_bytes_max: usize,
    /// How long its batches are of late.
    pub(super) batch_len: usize,
    pub(super) socket: Option<Socket>,
}

/// The socket of a stream.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) token: Token,
    pub(super) machine: Box<GatewayStream>,
    /// Whether a receive is armed.
    pub(super) receiving: bool,
    /// Whether a send is in flight.
    pub(super) sending: bool,
    pub(super) ending: Ending,
}

impl Socket {
    /// Whether its backend has said that it is there.
    pub(super) fn is_ready(&self) -> bool {
        self.ending == Ending::No && self.machine.is_ready()
    }
}

/// How far a stream is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It lives.
    No,
    /// It is gone for everybody, and stands in the list of those that are to be buried.
    Marked,
    /// What is armed is being cancelled; then its socket is closed.
    Draining,
    /// The close was submitted.
    Closing,
}

impl Stream {
    /// A stream that is to be dialled at once, to a worker of this many slots.
    pub(super) fn new(slots: u32, pending_bytes_max: usize, report_slots: u32, now: Time) -> Self {
        Self {
            redial: Redial::new(now),
            dials: 0,
            epoch: 0,
            announced_to: None,
            told: Told::nobody(slots),
            resumed: Vec::new(),
            reports: Reports::new(report_slots),
            dirty: false,
            leaving: false,
            pending_bytes_max,
            batch_len: BATCH_LEN,
            socket: None,
        }
    }

    /// Its socket, unless it is on its way out.
    pub(super) fn living(&self) -> Option<&Socket> {
        self.socket.as_ref().filter(|socket| socket.ending == Ending::No)
    }

    /// Its protocol state, unless it is on its way out.
    pub(super) fn machine(&mut self) -> Option<&mut GatewayStream> {
        let socket = self.socket.as_mut().filter(|socket| socket.ending == Ending::No)?;
        Some(&mut socket.machine)
    }

    /// Tells its backend of links that took others' places.
    pub(super) fn say_resumed(&mut self) {
        let Self { socket, resumed, .. } = self;
        if let Some(socket) = socket.as_mut().filter(|socket| socket.ending == Ending::No) {
            socket.machine.link_resumed(resumed);
        }
        resumed.clear();
    }

    /// Whether it carries requests.
    pub(super) fn is_ready(&self) -> bool {
        self.living().is_some_and(|socket| socket.machine.is_ready())
    }

    /// Whether so little is queued that announcements may be added, which no credit bounds.
    pub(super) fn has_leisure(&self) -> bool {
        self.pending() <= self.pending_bytes_max / 4
    }

    /// Bytes queued for its backend.
    pub(super) fn pending(&self) -> usize {
        self.socket.as_ref().map_or(0, |socket| socket.machine.pending())
    }
}

/// The least size of a stream's batch.
pub(super) const BATCH_LEN: usize = 16 * 1024;
