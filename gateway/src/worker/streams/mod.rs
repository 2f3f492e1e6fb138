//! The streams to the backends, one to each endpoint, dialled again whenever it ends. The files, in the order of the way:
//!
//! * `dial` — a socket is asked for, comes, or does not;
//! * `health` — whether the endpoint takes requests: ready, leaving, left out;
//! * `write` — what was queued becomes one batch and one send;
//! * `read` — chunks to events;
//! * `end` — marked, drained, closed: the only way a stream dies.
//!
//! `stream` is one of them, `told` the links its backend knows of.
//!
//! ```text
//! Down ──redial──► dialling ──connected──► open ──Ready──► carries requests ──any end──► draining ─► Down
//! ```

mod dial;
mod end;
mod health;
mod read;
mod stream;
mod told;
mod write;

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use protocol::limits::RESUMED_MAX;
use protocol::stream::{Blocked, GatewayStream};
use protocol::wire::stream::{
    Authenticate, LinkOpened, PushOutcome, Report, Resumed, StreamPush, StreamRequest,
};
use protocol::{Refusal, Time, Undelivered};

use self::stream::Stream;
use super::settings::Settings;
use crate::collections::{HashKey, Wheel};
use crate::counters::Counters;
use crate::counters::health::Reason;
use crate::delivery::Origin;
use crate::delivery::reports::{Fate, NotAccepted};
use crate::upstream::route::{Affinity, Balance, Routes};
use crate::upstream::{Connection, RouteIndex, StreamIndex};

/// All streams of a worker, and the routes that lead to them.
#[derive(Debug)]
pub(super) struct Streams {
    streams: Vec<Stream>,
    routes: Routes,
    timers: Wheel,
    /// Streams to flush.
    dirty: Vec<StreamIndex>,
    /// Streams whose receive found the pool empty.
    starved: Vec<StreamIndex>,
    /// Streams that are gone for everybody, and why.
    marked: VecDeque<(StreamIndex, Reason)>,
    stopping: bool,
}

impl Streams {
    /// A stream to each endpoint, to be dialled at once. `group` places users on backends, the same on all gateways.
    pub(super) fn new(settings: &Settings, group: &HashKey, now: Time) -> Self {
        let names = settings.endpoints.iter().map(|endpoint| endpoint.name.as_str());
        let pending_max = settings.endpoints.iter().map(|endpoint| endpoint.params.pending_bytes_max);
        let mut streams = Self {
            streams: pending_max
                .map(|most| Stream::new(settings.slots, most, settings.pushes.report_slots, now))
                .collect(),
            routes: Routes::new(group, names, settings.routes.clone()),
            timers: Wheel::new(TICK, settings.endpoints.len(), now),
            dirty: Vec::new(),
            starved: Vec::new(),
            marked: VecDeque::new(),
            stopping: false,
        };
        streams.all().for_each(|stream| streams.schedule(stream));
        streams
    }

    /// All of them, up or down.
    pub(super) fn all(&self) -> impl Iterator<Item = StreamIndex> + use<> {
        (0..self.streams.len() as u16).map(StreamIndex)
    }

    /// The route of this name.
    ///
    /// # Errors
    /// [`Refusal::NoRoute`].
    pub(super) fn find(&self, route: &str) -> Result<RouteIndex, Refusal> {
        self.routes.find(route.as_bytes())
    }

    /// The stream that is to take a request, by the number of requests in flight on each.
    ///
    /// # Errors
    /// [`Refusal::NoBackend`].
    pub(super) fn choose(
        &self,
        route: RouteIndex,
        affinity: Affinity,
        load: impl Fn(StreamIndex) -> u32,
    ) -> Result<StreamIndex, Refusal> {
        self.routes.choose(route, affinity, load)
    }

    /// The hash of a user or a key by which streams are chosen.
    pub(super) fn hash(&self, bytes: &[u8]) -> u64 {
        self.routes.hash(bytes)
    }

    /// How long an answer may take on a route.
    pub(super) fn deadline_of(&self, route: RouteIndex) -> Duration {
        self.routes.route(route).deadline
    }

    /// Whether requests of one key keep their order on a route.
    pub(super) fn keeps_order(&self, route: RouteIndex) -> bool {
        self.routes.route(route).balance != Balance::Least
    }

    /// Whether a stream can take a payload frame of this cost now.
    pub(super) fn has_room(&self, stream: StreamIndex, cost: u32) -> bool {
        let stream = self.see(stream);
        stream.living().is_some_and(|socket| {
            socket.machine.credit_available() >= u64::from(cost)
                && socket.machine.pending() < stream.pending_bytes_max
        })
    }

    /// Whether a request is longer than its backend ever takes.
    pub(super) fn is_too_large(&self, stream: StreamIndex, request: &StreamRequest<'_>) -> bool {
        self.see(stream).living().is_some_and(|socket| socket.machine.is_too_large(request))
    }

    /// Queues a request. The payload is copied here, once.
    ///
    /// # Errors
    /// Why it was not taken; nothing has happened then.
    pub(super) fn request(
        &mut self,
        stream: StreamIndex,
        request: &StreamRequest<'_>,
    ) -> Result<(), Blocked> {
        self.at(stream).machine().ok_or(Blocked::NotLive)?.request(request)?;
        self.dirty(stream);
        Ok(())
    }

    /// Asks whether a token is good.
    pub(super) fn authenticate(&mut self, stream: StreamIndex, ask: &Authenticate<'_>) {
        if let Some(machine) = self.at(stream).machine() {
            machine.authenticate(ask);
        }
        self.dirty(stream);
    }

    /// Reports a push that was not delivered, if the socket it came by still stands and the backend asked.
    pub(super) fn report(
        &mut self,
        stream: StreamIndex,
        epoch: u32,
        number: u64,
        reason: Undelivered,
        user: &[u8],
    ) {
        let own = self.at(stream);
        if number != 0
            && own.epoch == epoch
            && let Some(machine) = own.machine()
        {
            let (outcome, reason) = (PushOutcome::Undelivered, reason.number());
            machine.report(&Report { number, outcome, reason, user, ..Report::default() });
            self.dirty(stream);
        }
    }

    /// Takes a push that is to be acknowledged: where its reports go.
    ///
    /// # Errors
    /// [`Undelivered::Busy`] where as many have reports that the backend does not know, [`Undelivered::Malformed`] with the
    /// number of another one.
    pub(super) fn accept_push(
        &mut self,
        worker: u32,
        stream: StreamIndex,
        push: &StreamPush<'_>,
    ) -> Result<Origin, Undelivered> {
        let reports = &mut self.at(stream).reports;
        let (number, users) = (push.number, push.users);
        if number != 0 {
            let accepted = match u16::try_from(users.len()) {
                Ok(0) => reports.accept(number),
                Ok(count) => reports.accept_for(number, count, users.iter()),
                Err(_) => Err(NotAccepted::Full),
            };
            accepted.map_err(|why| match why {
                NotAccepted::Full => Undelivered::Busy,
                NotAccepted::Known => Undelivered::Malformed,
            })?;
        }
        // A worker's number has twelve bits.
        Ok(Origin { worker: worker as u16, stream: stream.0, boot: reports.boot(), number })
    }

    /// What became of such a push: its backend is told, now or when it is back.
    pub(super) fn report_fate(&mut self, origin: Origin, fate: Fate) {
        let stream = StreamIndex(origin.stream);
        let Stream { reports, socket, .. } = self.at(stream);
        let Some(report) = reports.add(origin.boot, origin.number, fate) else { return };
        if let Some(socket) = socket.as_mut().filter(|socket| socket.is_ready()) {
            socket.machine.report(&report);
            self.dirty(stream);
        }
    }

    /// Which start of a stream's backend is there, or was.
    pub(super) fn boot(&self, stream: StreamIndex) -> u32 {
        self.see(stream).reports.boot()
    }

    /// A backend knows all reports up to this one.
    pub(super) fn know_reports(&mut self, stream: StreamIndex, report: u64) {
        self.at(stream).reports.acknowledge(report);
    }

    /// A stream has become ready: whichever start of its backend that is, it is told what it does not know.
    pub(super) fn begin_reports(&mut self, stream: StreamIndex) {
        let Stream { reports, socket, .. } = self.at(stream);
        let Some(socket) = socket.as_mut() else { return };
        reports.begin(socket.machine.boot());
        for report in reports.unknown() {
            socket.machine.report(&report);
        }
        self.dirty(stream);
    }

    /// Counts the sockets of a stream: which one is the present one.
    pub(super) fn epoch(&self, stream: StreamIndex) -> u32 {
        self.see(stream).epoch
    }

    /// Who is told of a user's links, once for each route that asks for it.
    pub(super) fn presence(&self, user: &[u8]) -> impl Iterator<Item = StreamIndex> {
        self.routes.presence(self.routes.hash(user))
    }

    /// Tells a backend of the link in a slot, unless it knows of it.
    pub(super) fn link_opened(&mut self, stream: StreamIndex, slot: u32, opened: &LinkOpened<'_>) {
        let own = self.at(stream);
        if own.told.insert(slot) {
            if let Some(machine) = own.machine() {
                machine.link_opened(opened);
            }
            self.dirty(stream);
        }
    }

    /// The slot has no link any more: by which connections backends know of the one it had.
    pub(super) fn forget_link(&mut self, slot: u32) -> Box<[Connection]> {
        let known = |(index, stream): (u16, &mut Stream)| {
            let connection = Connection { stream: StreamIndex(index), epoch: stream.epoch };
            stream.told.remove(slot).then_some(connection)
        };
        (0..).zip(&mut self.streams).filter_map(known).collect()
    }

    /// Says that a session goes on with another link to those of these backends whose connection is still there: what comes together
    /// is told in one frame.
    pub(super) fn tell_resumed(&mut self, backends: &[Connection], resumed: Resumed) {
        for &Connection { stream, epoch } in backends {
            let own = self.at(stream);
            if own.epoch == epoch && own.living().is_some() {
                own.resumed.push(resumed);
                if own.resumed.len() == RESUMED_MAX {
                    own.say_resumed();
                }
                self.dirty(stream);
            }
        }
    }

    /// Says something to those of these backends whose connection is still there, behind what they have not been told yet of links that
    /// took others' places: it may be about one of these.
    pub(super) fn tell(&mut self, backends: &[Connection], say: impl Fn(&mut GatewayStream)) {
        for &Connection { stream, epoch } in backends {
            let own = self.at(stream);
            own.say_resumed();
            if own.epoch == epoch
                && let Some(machine) = own.machine()
            {
                say(machine);
                self.dirty(stream);
            }
        }
    }

    /// Slots whose links a stream that has just become ready is to be told of next, of `slots_used` in all. One with
    /// much to send is waited for.
    pub(super) fn missed_by(
        &mut self,
        stream: StreamIndex,
        slots_used: u32,
        budget: u32,
    ) -> Option<Range<u32>> {
        let own = self.at(stream);
        let from = own.announced_to.filter(|_| own.has_leisure())?;
        let to = (from + budget).min(slots_used);
        own.announced_to = (to < slots_used).then_some(to);
        Some(from..to)
    }

    /// Says that a stream has been told of everybody who was there, if it has.
    pub(super) fn end_announcing(&mut self, stream: StreamIndex) {
        let own = self.at(stream);
        if own.announced_to.is_some() {
            return;
        }
        if let Some(machine) = own.machine() {
            machine.announced();
            self.dirty(stream);
        }
    }

    /// Whether work is left over from this turn.
    pub(super) fn has_work(&self) -> bool {
        let misses = |stream: &Stream| stream.announced_to.is_some() && stream.has_leisure();
        !self.marked.is_empty() || self.streams.iter().any(misses)
    }

    /// How many carry requests.
    pub(super) fn ready_len(&self) -> usize {
        self.streams.iter().filter(|stream| stream.is_ready()).count()
    }

    /// Copies what is not counted where it happens.
    pub(super) fn publish(&self, counters: &Counters) {
        counters.streams.set(self.ready_len() as u64);
        counters.stream_outbox_bytes.set(self.streams.iter().map(|stream| stream.pending() as u64).sum());
    }

    fn at(&mut self, stream: StreamIndex) -> &mut Stream {
        &mut self.streams[usize::from(stream.0)]
    }

    fn see(&self, stream: StreamIndex) -> &Stream {
        &self.streams[usize::from(stream.0)]
    }

    /// A stream has something to say.
    fn dirty(&mut self, stream: StreamIndex) {
        if !std::mem::replace(&mut self.at(stream).dirty, true) {
            self.dirty.push(stream);
        }
    }

    /// Sets a stream's timer to its present deadline.
    fn schedule(&mut self, stream: StreamIndex) {
        let own = self.see(stream);
        let machine = own.living().and_then(|socket| socket.machine.deadline());
        match [own.redial.deadline(), machine].into_iter().flatten().min() {
            Some(deadline) => self.timers.arm(stream.0.into(), deadline),
            None => drop(self.timers.cancel(stream.0.into())),
        }
    }
}

/// Resolution of deadlines of streams.
const TICK: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
