//! The requests a worker has handed to its streams and not had answered.
//!
//! Each of them leaves in exactly one way, and whoever takes it out says which: answered by its stream, unknown
//! because its stream broke or its deadline passed, or forgotten because its link is gone. All memory is taken
//! when the table is built.

use std::time::Duration;

use protocol::limits::REQUEST_ID_LEN;
use protocol::{Refusal, Time};

use super::{RouteIndex, StreamIndex};
use crate::answers::EntryKey;
use crate::collections::{Key, Queues, Slab, Wheel};
use crate::id::LinkId;

/// How many requests may be in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Of one link; over it [`Refusal::InFlight`].
    pub link_max: u32,
    /// On one stream; over it [`Refusal::Busy`].
    pub stream_max: u32,
    /// On this worker, which is its share of the node's cap; over it [`Refusal::Busy`]. At most 2³¹.
    pub worker_max: u32,
}

/// A request on its way. 48 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Who asked.
    pub link: LinkId,
    /// The client's name for it.
    pub id: [u8; REQUEST_ID_LEN],
    /// When it becomes unknown.
    pub deadline: Time,
    /// What it took of the link's grant and of the stream's credit, in bytes.
    pub cost: u32,
    /// Hash of its ordering key; zero when it has none.
    pub order: u32,
    /// Who is to answer.
    pub stream: StreamIndex,
    /// The route it takes.
    pub route: RouteIndex,
    /// Where its session remembers it.
    pub entry: Option<EntryKey>,
}

/// The same in the table.
#[derive(Debug)]
struct Noted {
    request: Request,
    /// Its link is gone, and no more counted by.
    is_left: bool,
}

/// The number that names a request on its stream. Never zero, never given twice within 2³² uses of one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Call(pub u64);

/// All requests in flight of one worker.
#[derive(Debug)]
pub struct Pending {
    caps: Caps,
    requests: Slab<Noted>,
    /// By slot of the link.
    by_link: Queues,
    by_stream: Queues,
    deadlines: Wheel,
    /// Bits of a call that are the index: as few as the table needs, so that a call is short on the wire.
    index_bits: u32,
}

impl Pending {
    /// An empty table for links in slots `0..slots` and streams `0..streams`.
    #[must_use]
    pub fn new(caps: Caps, slots: u32, streams: u16, now: Time) -> Self {
        let entries = caps.worker_max as usize;
        Self {
            caps,
            requests: Slab::new(caps.worker_max),
            by_link: Queues::new(slots as usize, entries),
            by_stream: Queues::new(usize::from(streams), entries),
            deadlines: Wheel::new(TICK, entries, now),
            index_bits: caps.worker_max.next_power_of_two().ilog2(),
        }
    }

    /// Whether there is room for one more request of this link on this stream.
    ///
    /// # Errors
    /// [`Refusal::InFlight`] when the link has its fill, [`Refusal::Busy`] when the stream or the worker has.
    pub fn admit(&self, link: LinkId, stream: StreamIndex) -> Result<(), Refusal> {
        if self.len_of_link(link) >= self.caps.link_max {
            return Err(Refusal::InFlight);
        }
        if self.len_of_stream(stream) >= self.caps.stream_max || self.len() >= self.caps.worker_max {
            return Err(Refusal::Busy);
        }
        Ok(())
    }

    /// Notes a request that is being handed to its stream.
    ///
    /// # Errors
    /// Those of [`Pending::admit`]; nothing has changed then.
    ///
    /// # Panics
    /// When the link's slot or the stream is beyond what the table was built for.
    pub fn insert(&mut self, request: Request) -> Result<Call, Refusal> {
        self.admit(request.link, request.stream)?;
        let key = self.requests.insert(Noted { request, is_left: false }).map_err(|_| Refusal::Busy)?;
        self.by_link.push(request.link.slot() as usize, key.index);
        self.by_stream.push(usize::from(request.stream.0), key.index);
        self.deadlines.arm(key.index, request.deadline);
        Ok(Call(u64::from(key.generation) << self.index_bits | u64::from(key.index)))
    }

    /// Takes out the request that a stream has answered. `None` when it was taken already, or when the stream was
    /// never asked: a backend can end nobody's requests but its own.
    pub fn take(&mut self, stream: StreamIndex, call: Call) -> Option<Request> {
        let generation = u32::try_from(call.0 >> self.index_bits).ok()?;
        let index = (call.0 & ((1 << self.index_bits) - 1)) as u32;
        let key = Key { index, generation };
        if self.requests.get(key)?.request.stream != stream {
            return None;
        }
        self.remove(key)
    }

    /// Takes out the oldest request of a stream. Called until `None` when the stream is broken.
    pub fn take_of_stream(&mut self, stream: StreamIndex) -> Option<Request> {
        let index = self.by_stream.first(usize::from(stream.0))?;
        self.remove_at(index)
    }

    /// Takes out the oldest request of a link. Called until `None` before the link's slot is used again.
    pub fn take_of_link(&mut self, link: LinkId) -> Option<Request> {
        let index = self.by_link.first(link.slot() as usize)?;
        let (key, noted) = self.requests.at(index)?;
        if noted.request.link != link {
            return None;
        }
        self.remove(key)
    }

    /// The link is gone, but whoever comes for its session asks for its requests: they stay in flight, and count for no link
    /// any more. Called before the link's slot is used again.
    pub fn leave_link(&mut self, link: LinkId) {
        let queue = link.slot() as usize;
        while let Some(index) = self.by_link.first(queue) {
            let Some((key, _)) = self.requests.at(index) else { return };
            let Some(noted) = self.requests.get_mut(key).filter(|noted| noted.request.link == link) else {
                return;
            };
            noted.is_left = true;
            self.by_link.remove(queue, index);
        }
    }

    /// Takes out a request whose deadline has passed, at most a [`TICK`] late. Called until `None`; each entry
    /// looked at costs one of `budget`.
    pub fn expire(&mut self, now: Time, budget: &mut u32) -> Option<Request> {
        let index = self.deadlines.expire(now, budget)?;
        self.remove_at(index)
    }

    /// When [`Pending::expire`] is next worth calling.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        self.deadlines.next_deadline()
    }

    /// The stream that holds an earlier request of the same link, route and ordering key. A later one has to take
    /// the same, even when another endpoint has become the right one for this key meanwhile: two streams keep no
    /// order between them. Looks at each request of the link, of which there are at most [`Caps::link_max`].
    #[must_use]
    pub fn stream_of(&self, link: LinkId, route: RouteIndex, order: u32) -> Option<StreamIndex> {
        if order == 0 {
            return None;
        }
        self.by_link
            .iter(link.slot() as usize)
            .filter_map(|index| self.requests.at(index))
            .map(|(_, noted)| noted.request)
            .find(|request| request.link == link && request.route == route && request.order == order)
            .map(|request| request.stream)
    }

    /// Requests in flight.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.requests.len() as u32
    }

    /// Whether nothing is in flight.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Requests in flight of a link.
    #[must_use]
    pub fn len_of_link(&self, link: LinkId) -> u32 {
        self.by_link.len(link.slot() as usize)
    }

    /// Requests in flight on a stream.
    #[must_use]
    pub fn len_of_stream(&self, stream: StreamIndex) -> u32 {
        self.by_stream.len(usize::from(stream.0))
    }

    fn remove_at(&mut self, index: u32) -> Option<Request> {
        let (key, _) = self.requests.at(index)?;
        self.remove(key)
    }

    fn remove(&mut self, key: Key) -> Option<Request> {
        let Noted { request, is_left } = self.requests.remove(key)?;
        if !is_left {
            self.by_link.remove(request.link.slot() as usize, key.index);
        }
        self.by_stream.remove(usize::from(request.stream.0), key.index);
        self.deadlines.cancel(key.index);
        Some(request)
    }
}

/// How late a deadline may be noticed. Requests wait for seconds; finer ticks would only wake the worker.
pub const TICK: Duration = Duration::from_millis(50);

const _: () = assert!(size_of::<Request>() <= 48);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CAPS: Caps = Caps { link_max: 3, stream_max: 5, worker_max: 9 };

    fn table() -> Pending {
        Pending::new(CAPS, 4, 3, Time::ZERO)
    }

    fn link(slot: u32) -> LinkId {
        LinkId::new(1, slot, 7)
    }

    fn at(millis: u64) -> Time {
        Time::ZERO + Duration::from_millis(millis)
    }

    fn request(slot: u32, stream: u16, name: u8) -> Request {
        Request {
            link: link(slot),
            id: [name; REQUEST_ID_LEN],
            deadline: at(1_000),
            cost: 64,
            order: 0,
            stream: StreamIndex(stream),
            route: RouteIndex(0),
            entry: None,
        }
    }

    #[test]
    fn an_answer_finds_its_request_once() {
        let mut pending = table();
        let call = pending.insert(request(0, 1, 5)).expect("there is room");
        assert!(call.0 != 0 && !pending.is_empty());
        assert_eq!(pending.take(StreamIndex(1), call), Some(request(0, 1, 5)));
        assert_eq!(pending.take(StreamIndex(1), call), None);
        let next = pending.insert(request(0, 1, 6)).expect("there is room");
        assert_eq!(pending.take(StreamIndex(1), call), None, "the place has a new tenant");
        assert_eq!(pending.take(StreamIndex(1), next), Some(request(0, 1, 6)));
        assert!(pending.is_empty());
    }

    #[test]
    fn a_backend_cannot_answer_for_another_or_with_numbers_it_made_up() {
        let mut pending = table();
        let call = pending.insert(request(0, 1, 5)).expect("there is room");
        assert_eq!(pending.take(StreamIndex(2), call), None);
        for made_up in [0, 1, u64::MAX, 1 << 63, call.0 + 1, call.0 << 32] {
            assert_eq!(pending.take(StreamIndex(1), Call(made_up)), None);
        }
        assert_eq!(pending.len(), 1);
    }

    #[test]
    fn each_cap_refuses_with_its_own_reason() {
        let mut pending = table();
        for name in 0..3 {
            pending.insert(request(0, 0, name)).expect("there is room");
        }
        assert_eq!(pending.insert(request(0, 1, 9)), Err(Refusal::InFlight));
        pending.insert(request(1, 0, 3)).expect("there is room");
        pending.insert(request(1, 0, 4)).expect("there is room");
        assert_eq!(pending.insert(request(2, 0, 9)), Err(Refusal::Busy), "the stream is full");
        for (slot, stream) in [(1, 1), (2, 1), (2, 1), (2, 1)] {
            pending.insert(request(slot, stream, 5)).expect("there is room");
        }
        assert_eq!(pending.insert(request(3, 2, 9)), Err(Refusal::Busy), "the worker is full");
        assert_eq!(
            (pending.len(), pending.len_of_link(link(1)), pending.len_of_stream(StreamIndex(0))),
            (9, 3, 5)
        );
        pending.take_of_link(link(2)).expect("it has some");
        pending.insert(request(3, 2, 9)).expect("there is room again");
    }

    #[test]
    fn a_broken_stream_resolves_everything_it_held_and_nothing_else() {
        let mut pending = table();
        for (slot, stream, name) in [(0, 0, 1), (1, 1, 2), (2, 0, 3), (0, 0, 4)] {
            pending.insert(request(slot, stream, name)).expect("there is room");
        }
        let names: Vec<u8> = std::iter::from_fn(|| pending.take_of_stream(StreamIndex(0)))
            .map(|request| request.id[0])
            .collect();
        assert_eq!(names, [1, 3, 4]);
        assert_eq!((pending.len(), pending.len_of_link(link(0)), pending.len_of_link(link(1))), (1, 0, 1));
    }

    #[test]
    fn a_gone_link_takes_its_requests_along_and_not_those_of_its_successor() {
        let mut pending = table();
        pending.insert(request(2, 0, 1)).expect("there is room");
        pending.insert(request(3, 0, 2)).expect("there is room");
        assert_eq!(pending.take_of_link(LinkId::new(1, 2, 8)), None);
        assert_eq!(pending.take_of_link(link(2)).map(|request| request.id[0]), Some(1));
        assert_eq!(pending.take_of_link(link(2)), None);
        assert_eq!(pending.len(), 1);
    }

    #[test]
    fn a_deadline_takes_a_request_out_and_an_answer_takes_the_deadline_away() {
        let mut pending = table();
        let answered = pending.insert(request(0, 0, 1)).expect("there is room");
        pending.insert(Request { deadline: at(400), ..request(0, 0, 2) }).expect("there is room");
        assert!(pending.next_deadline() <= Some(at(400)));
        let mut budget = 100;
        assert_eq!(pending.expire(at(399), &mut budget), None);
        assert_eq!(pending.expire(at(400), &mut budget).map(|request| request.id[0]), Some(2));
        pending.take(StreamIndex(0), answered).expect("it is there");
        assert_eq!((pending.next_deadline(), pending.expire(at(9_000), &mut budget)), (None, None));
    }

    #[test]
    fn a_key_in_flight_names_its_stream() {
        let mut pending = table();
        pending.insert(Request { order: 77, ..request(0, 2, 1) }).expect("there is room");
        pending.insert(request(0, 1, 2)).expect("there is room");
        let find =
            |pending: &Pending, slot, route, order| pending.stream_of(link(slot), RouteIndex(route), order);
        assert_eq!(find(&pending, 0, 0, 77), Some(StreamIndex(2)));
        assert_eq!(find(&pending, 0, 1, 77), None, "another route");
        assert_eq!(find(&pending, 1, 0, 77), None, "another link");
        assert_eq!(find(&pending, 0, 0, 0), None, "no key, no order");
        pending.take_of_stream(StreamIndex(2)).expect("it is there");
        assert_eq!(find(&pending, 0, 0, 77), None);
    }

    proptest! {
        /// Against a plain list: every request leaves once, with what it came with, and all counts agree.
        #[test]
        fn behaves_like_a_list(steps in prop::collection::vec((0..6u8, 0..4u32, 0..3u16, 0..400u64), 1..300)) {
            let mut pending = table();
            let mut model: Vec<(Call, Request)> = Vec::new();
            let mut now = 0;
            for (number, (kind, slot, stream, span)) in steps.into_iter().enumerate() {
                match kind {
                    0..=2 => {
                        // On whole ticks, so that the model needs no rounding.
                        let deadline = at((now + span).div_ceil(50) * 50);
                        let request = Request { deadline, ..request(slot, stream, number as u8) };
                        match pending.insert(request) {
                            Ok(call) => model.push((call, request)),
                            Err(refusal) => {
                                let of_link = model.iter().filter(|(_, other)| other.link == request.link).count();
                                prop_assert_eq!(refusal == Refusal::InFlight, of_link == 3);
                            }
                        }
                    }
                    3 if !model.is_empty() => {
                        let (call, request) = model.swap_remove(span as usize % model.len());
                        prop_assert_eq!(pending.take(request.stream, call), Some(request));
                        prop_assert_eq!(pending.take(request.stream, call), None);
                    }
                    4 => {
                        while let Some(request) = pending.take_of_stream(StreamIndex(stream)) {
                            let place = model.iter().position(|(_, other)| *other == request);
                            model.remove(place.expect("it was in flight"));
                        }
                        prop_assert!(model.iter().all(|(_, request)| request.stream.0 != stream));
                    }
                    _ => {
                        now += span;
                        let mut budget = u32::MAX;
                        while let Some(request) = pending.expire(at(now), &mut budget) {
                            let place = model.iter().position(|(_, other)| *other == request);
                            model.remove(place.expect("it was in flight"));
                            prop_assert!(request.deadline <= at(now));
                        }
                        prop_assert!(model.iter().all(|(_, request)| request.deadline > at(now)));
                    }
                }
                prop_assert_eq!(pending.len() as usize, model.len());
                for slot in 0..4 {
                    let count = model.iter().filter(|(_, request)| request.link == link(slot)).count();
                    prop_assert_eq!(pending.len_of_link(link(slot)) as usize, count);
                }
                for stream in (0..3).map(StreamIndex) {
                    let count = model.iter().filter(|(_, request)| request.stream == stream).count();
                    prop_assert_eq!(pending.len_of_stream(stream) as usize, count);
                }
            }
        }
    }
}
