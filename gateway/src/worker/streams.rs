//! The streams of a worker: one to each endpoint, dialled again whenever it ends.
//!
//! ```text
//! Down ──redial──► dialling ──connected──► open ──Ready──► carries requests ──any end──► draining ─► Down
//! ```
//!
//! Every end is the same: what was in flight is resolved at once, what is armed is cancelled, the socket is closed.

use driver::{Armed, Batch, End, Errno, Mode, Op, Pool, Sent, Token, Trust};
use protocol::stream::gateway::Introduction;
use protocol::stream::{Blocked, GatewayStream};
use protocol::wire::stream::{PushOutcome, Report, StreamRequest};
use protocol::{Error, Time, Undelivered};

use super::Core;
use super::mailbox::Sender;
use super::presence::Told;
use super::settings::{Backend, Settings};
use crate::counters::health::Reason;
use crate::link::Entry;
use crate::upstream::StreamIndex;
use crate::upstream::redial::{Due, Redial};

/// One endpoint's stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) redial: Redial,
    /// Counts the connections, so that a report never reaches a later one than its push came by.
    epoch: u32,
    /// Up to which slot the links that were there before it came up have been announced.
    pub(super) announced_to: Option<u32>,
    /// Links it was told of.
    pub(super) told: Told,
    dirty: bool,
    /// Its backend has said that it will end the stream: no new requests.
    leaving: bool,
    pending_bytes_max: usize,
    socket: Option<Socket>,
}

#[derive(Debug)]
struct Socket {
    token: Token,
    machine: Box<GatewayStream>,
    receiving: bool,
    sending: bool,
    draining: bool,
    closing: bool,
}

/// A stream to each endpoint, to be dialled at once.
pub(super) fn all(settings: &Settings, now: Time) -> Vec<Stream> {
    let down = |endpoint: &Backend| Stream {
        redial: Redial::new(now),
        epoch: 0,
        announced_to: None,
        told: Told::nobody(settings.slots),
        dirty: false,
        leaving: false,
        pending_bytes_max: endpoint.params.pending_bytes_max,
        socket: None,
    };
    settings.endpoints.iter().map(down).collect()
}

impl Stream {
    fn machine(&mut self) -> Option<&mut GatewayStream> {
        self.socket.as_mut().filter(|socket| !socket.draining).map(|socket| &mut *socket.machine)
    }

    /// Whether it carries requests.
    pub(super) fn is_ready(&self) -> bool {
        self.socket.as_ref().is_some_and(|socket| !socket.draining && socket.machine.is_ready())
    }

    /// Whether a payload frame of this cost can be queued now.
    pub(super) fn has_room(&self, cost: u64) -> bool {
        self.socket.as_ref().is_some_and(|Socket { machine, draining, .. }| {
            !draining && machine.credit_available() >= cost && machine.pending() < self.pending_bytes_max
        })
    }

    /// Whether so little is queued that announcements may be added, which no credit bounds.
    pub(super) fn has_leisure(&self) -> bool {
        self.pending() <= self.pending_bytes_max / 4
    }

    /// Bytes queued for its backend.
    pub(super) fn pending(&self) -> usize {
        self.socket.as_ref().map_or(0, |socket| socket.machine.pending())
    }

    /// Queues a request.
    ///
    /// # Errors
    /// Why it was not taken; nothing has happened then.
    pub(super) fn request(&mut self, request: &StreamRequest<'_>) -> Result<(), Blocked> {
        self.machine().ok_or(Blocked::NotLive)?.request(request)
    }

    /// Queues a frame that needs no credit; dropped when the stream is down, as its receiver is gone.
    pub(super) fn control(&mut self, say: impl FnOnce(&mut GatewayStream)) {
        if let Some(machine) = self.machine() {
            say(machine);
        }
    }
}

impl Core {
    /// Timers of streams: `slots` entries of the wheel belong to links, the following to streams.
    fn schedule_stream(&mut self, index: u16) {
        let stream = &self.streams[usize::from(index)];
        let machine = stream.socket.as_ref().filter(|socket| !socket.draining);
        let deadlines = [stream.redial.deadline(), machine.and_then(|socket| socket.machine.deadline())];
        let entry = self.settings.slots + u32::from(index);
        match deadlines.into_iter().flatten().min() {
            Some(deadline) => self.timers.arm(entry, deadline),
            None => drop(self.timers.cancel(entry)),
        }
    }

    /// Time has come for a stream: to dial, to give a dial up, to ping, or to end it.
    pub(super) fn expire_stream(&mut self, index: u16) {
        let random = self.random_number();
        let rules = self.settings.redial;
        match self.streams[usize::from(index)].redial.expire(self.now, random, &rules) {
            Some(Due::Dial) => self.dial(index),
            Some(Due::GiveUp) => self.end_stream(index, Reason::broke(Error::HandshakeTimeout)),
            Some(Due::Readmit) => self.readmit(StreamIndex(index)),
            None => {}
        }
        let now = self.now;
        if let Some(machine) = self.streams[usize::from(index)].machine() {
            match machine.expire(now) {
                Ok(()) => self.mark_stream(StreamIndex(index)),
                Err(error) => self.fail_stream(index, error),
            }
        }
        self.schedule_stream(index);
    }

    /// Starts the dials of a new worker.
    pub(super) fn dial_all(&mut self) {
        for index in 0..self.streams.len() {
            self.schedule_stream(index as u16);
        }
    }

    fn dial(&mut self, index: u16) {
        if self.stopping || self.streams[usize::from(index)].socket.is_some() {
            return;
        }
        let endpoint = &self.settings.endpoints[usize::from(index)];
        let to = Box::new(endpoint.address.clone());
        self.ops.push_back(Op::Connect { tag: index.into(), to, trust: endpoint.trust() });
    }

    /// A dial is over.
    pub(super) fn connected(&mut self, tag: u32, result: Result<Token, Errno>) {
        let index = u16::try_from(tag).expect("the tag is a stream's index");
        let is_served = self.streams[usize::from(index)].socket.is_some();
        // A dial that was given up and is over now says nothing about the stream that came after it.
        let token = match result {
            Ok(token) => token,
            Err(_) if is_served => return,
            Err(errno) => {
                let trust = self.settings.endpoints[usize::from(index)].trust();
                let reason = match errno {
                    Errno::OTHER_USER if trust == Trust::OwnUser => Reason::OtherUser,
                    errno => Reason::Errno(errno),
                };
                self.counters.endpoints[usize::from(index)].failed(reason);
                return self.stream_failed(index);
            }
        };
        self.slots_taken += 1;
        self.links.insert(token, Entry::Stream { token, index });
        let mut ephemeral = [0; 32];
        (self.random)(&mut ephemeral);
        let endpoint = &self.settings.endpoints[usize::from(index)];
        let introduction = Introduction {
            boot_id: self.settings.boot_id,
            gateway: self.settings.gateway.clone(),
            worker: self.settings.worker,
        };
        let machine = GatewayStream::new(&endpoint.mode, endpoint.params, introduction, ephemeral, self.now);
        let stream = &mut self.streams[usize::from(index)];
        stream.epoch = stream.epoch.wrapping_add(1);
        let unwanted = stream.socket.is_some() || self.stopping;
        match machine {
            Ok(machine) if !unwanted => {
                let machine = Box::new(machine);
                let socket = Socket {
                    token,
                    machine,
                    receiving: true,
                    sending: false,
                    draining: false,
                    closing: false,
                };
                stream.socket = Some(socket);
                self.ops.push_back(Op::Receive { token, pool: Pool::Streams, mode: Mode::Multishot });
                self.mark_stream(StreamIndex(index));
                self.schedule_stream(index);
            }
            _ => {
                self.ops.push_back(Op::Close { token });
                if !is_served {
                    self.stream_failed(index);
                }
            }
        }
    }

    /// Notes that a stream has something to say.
    pub(super) fn mark_stream(&mut self, index: StreamIndex) {
        let stream = &mut self.streams[usize::from(index.0)];
        if !stream.dirty {
            stream.dirty = true;
            self.dirty_streams.push(index.0);
        }
    }

    /// One send for each stream that has something to say and nothing in flight.
    pub(super) fn flush_streams(&mut self) {
        self.announce_missed();
        let mut dirty = std::mem::take(&mut self.dirty_streams);
        for index in dirty.drain(..) {
            let stream = &mut self.streams[usize::from(index)];
            stream.dirty = false;
            let Some(socket) = stream.socket.as_mut().filter(|socket| !socket.draining && !socket.sending)
            else {
                continue;
            };
            let mut bytes = self.buffers.take(STREAM_BATCH_LEN);
            if socket.machine.seal(&mut bytes) {
                socket.sending = true;
                self.counters.stream_bytes_out.add(bytes.len() as u64);
                self.ops.push_back(Op::Send { token: socket.token, batch: Batch { bytes, sent: 0 } });
            } else {
                self.buffers.give(bytes);
            }
        }
        self.dirty_streams = dirty;
    }

    /// A stream's send is over.
    pub(super) fn stream_sent(&mut self, index: u16, batch: Batch, result: Sent) {
        let stream = &mut self.streams[usize::from(index)];
        let Some(socket) = stream.socket.as_mut() else { return self.buffers.give(batch.bytes) };
        if matches!(result, Sent::Bytes(_) | Sent::Again) && !batch.rest().is_empty() && !socket.draining {
            return self.ops.push_back(Op::Send { token: socket.token, batch });
        }
        socket.sending = false;
        let draining = socket.draining;
        self.buffers.give(batch.bytes);
        if draining {
            self.finish_stream(index);
        } else if let Sent::Broken(errno) = result {
            self.end_stream(index, Reason::Errno(errno));
        } else if result == Sent::Cancelled {
            self.end_stream(index, Reason::Ended);
        } else {
            self.mark_stream(StreamIndex(index));
            self.unpark(StreamIndex(index));
        }
    }

    /// A stream's receive is over without data.
    pub(super) fn stream_ended(&mut self, index: u16, why: End) {
        let Some(socket) = self.streams[usize::from(index)].socket.as_mut() else { return };
        socket.receiving = false;
        match why {
            _ if socket.draining => self.finish_stream(index),
            End::Eof => self.end_stream(index, Reason::Ended),
            End::Broken(errno) => self.end_stream(index, Reason::Errno(errno)),
            End::Starved => self.starved_streams.push(index),
            End::Cancelled | End::Lapsed => self.receive_stream(index),
        }
    }

    /// Arms a stream's receive, unless it is armed.
    pub(super) fn receive_stream(&mut self, index: u16) {
        let Some(socket) = self.streams[usize::from(index)].socket.as_mut() else { return };
        if !socket.receiving && !socket.draining {
            socket.receiving = true;
            let token = socket.token;
            self.ops.push_back(Op::Receive { token, pool: Pool::Streams, mode: Mode::Multishot });
        }
    }

    /// Bytes from a backend.
    pub(super) fn stream_received(&mut self, index: u16, bytes: &mut [u8], more: bool) {
        let now = self.now;
        self.counters.stream_bytes_in.add(bytes.len() as u64);
        let Some(socket) = self.streams[usize::from(index)].socket.as_mut() else { return };
        socket.receiving &= more;
        if socket.draining {
            return self.finish_stream(index);
        }
        let mut input = socket.machine.input(bytes);
        let result = loop {
            let Some(machine) = self.streams[usize::from(index)].machine() else { break Ok(()) };
            match machine.receive(&mut input, now) {
                Ok(Some(event)) => self.stream_event(StreamIndex(index), &event),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        if let Some(machine) = self.streams[usize::from(index)].machine() {
            machine.keep(input);
        }
        if let Err(error) = result {
            return self.fail_stream(index, error);
        }
        self.mark_stream(StreamIndex(index));
        self.unpark(StreamIndex(index));
        self.receive_stream(index);
    }

    /// The backend has said `Ready`: requests may go.
    pub(super) fn stream_ready(&mut self, stream: StreamIndex) {
        if !self.streams[usize::from(stream.0)].redial.ready(self.now) {
            // The dial was given up before it succeeded; the next one is set.
            return self.end_stream(stream.0, Reason::broke(Error::HandshakeTimeout));
        }
        self.streams[usize::from(stream.0)].leaving = false;
        self.streams[usize::from(stream.0)].announced_to = Some(0);
        self.counters.endpoints[usize::from(stream.0)].opened();
        self.counters.streams_opened.add(1);
        self.readmit(stream);
        self.schedule_stream(stream.0);
    }

    /// The backend is about to end its stream: what is under way there goes on, and everything new goes elsewhere.
    pub(super) fn stream_draining(&mut self, stream: StreamIndex) {
        self.streams[usize::from(stream.0)].leaving = true;
        self.counters.endpoints[usize::from(stream.0)].left_out.set(1);
        self.routes.set_ready(stream, false);
        self.route_parked(stream);
    }

    /// The endpoint takes requests from now on.
    fn readmit(&mut self, stream: StreamIndex) {
        if self.streams[usize::from(stream.0)].leaving {
            return;
        }
        self.counters.endpoints[usize::from(stream.0)].left_out.set(0);
        self.routes.set_ready(stream, true);
        self.share_with(stream);
    }

    /// The endpoint let a request run into its deadline.
    pub(super) fn missed(&mut self, stream: StreamIndex) {
        let rules = self.settings.redial;
        let only = self.routes.is_last_ready(stream);
        let redial = &mut self.streams[usize::from(stream.0)].redial;
        if redial.missed(&rules) && !only {
            redial.eject(self.now, &rules);
            self.counters.endpoints[usize::from(stream.0)].left_out.set(1);
            self.routes.set_ready(stream, false);
            self.route_parked(stream);
            self.schedule_stream(stream.0);
        }
    }

    /// The backend broke a rule.
    fn fail_stream(&mut self, index: u16, error: Error) {
        self.counters.errors.of(error).add(1);
        self.end_stream(index, Reason::broke(error));
    }

    /// Ends a stream: resolves what it held, cancels what is armed, closes the socket.
    pub(super) fn end_stream(&mut self, index: u16, reason: Reason) {
        let Some(socket) = self.streams[usize::from(index)].socket.as_mut() else { return };
        if std::mem::replace(&mut socket.draining, true) {
            return;
        }
        let token = socket.token;
        let receiving = socket.receiving.then_some(Armed::Receive);
        let sending = socket.sending.then_some(Armed::Send);
        for armed in receiving.into_iter().chain(sending) {
            self.ops.push_back(Op::Cancel { token, armed });
        }
        self.counters.streams_lost.add(1);
        self.counters.endpoints[usize::from(index)].ended(reason);
        self.routes.set_ready(StreamIndex(index), false);
        self.streams[usize::from(index)].announced_to = None;
        self.streams[usize::from(index)].told.clear();
        self.abandon_requests(StreamIndex(index));
        self.abandon_auths(StreamIndex(index));
        self.finish_stream(index);
    }

    fn finish_stream(&mut self, index: u16) {
        let Some(socket) = self.streams[usize::from(index)].socket.as_mut() else { return };
        if !socket.draining || socket.receiving || socket.sending || socket.closing {
            return;
        }
        socket.closing = true;
        self.ops.push_back(Op::Close { token: socket.token });
    }

    /// The socket is closed: the endpoint may be dialled again.
    pub(super) fn stream_closed(&mut self, index: u16, token: Token) {
        let stream = &mut self.streams[usize::from(index)];
        if stream.socket.as_ref().is_some_and(|socket| socket.token == token) {
            stream.socket = None;
            // It may have been readmitted while its socket was still draining.
            self.routes.set_ready(StreamIndex(index), false);
            self.stream_failed(index);
        }
    }

    fn stream_failed(&mut self, index: u16) {
        let (now, random, rules) = (self.now, self.random_number(), self.settings.redial);
        self.streams[usize::from(index)].redial.failed(now, random, &rules);
        self.schedule_stream(index);
    }

    /// Reports a push that was not delivered, if its stream still stands and the backend asked.
    pub(super) fn stream_report(&mut self, sender: Sender, reason: Undelivered) {
        let stream = &mut self.streams[usize::from(sender.stream)];
        if sender.number != 0 && stream.epoch == sender.epoch {
            let report =
                Report { number: sender.number, outcome: PushOutcome::Undelivered, reason: reason.number() };
            stream.control(|machine| machine.report(report));
            self.mark_stream(StreamIndex(sender.stream));
        }
    }

    /// The sender of a push that comes by this stream now.
    pub(super) fn sender(&self, stream: StreamIndex, number: u64) -> Sender {
        let epoch = self.streams[usize::from(stream.0)].epoch;
        Sender { worker: self.settings.worker, stream: stream.0, epoch, number }
    }
}

/// First size of a stream's batch; it grows with use and is recycled.
const STREAM_BATCH_LEN: usize = 16 * 1024;
