//! Requests that wait for stream credit.
//!
//! A request whose stream has no credit is copied here and waits behind the earlier ones of that stream; its link
//! is read on. Count and bytes are bounded per route, so that one slow service cannot take the room of another,
//! and over the bound a request is refused. Nothing of a parked request has reached a backend: whatever ends its
//! waiting, it is refused and never unknown.
//!
//! Two rules keep the order of requests with one key, both the caller's to keep. While anything waits for a
//! stream ([`Park::len_of`]), later requests for that stream park as well. And while a request of a key waits, later
//! ones of that key follow it ([`Park::stream_of`]), even if the key belongs to another endpoint meanwhile: one that
//! has just come back would take them at once.
//!
//! A link that closes takes its requests along.

use std::fmt;
use std::time::Duration;

use protocol::hidden::Hidden;
use protocol::{Refusal, Time};

use super::{RouteIndex, StreamIndex};
use crate::answers::EntryKey;
use crate::collections::pool::capacity_for;
use crate::collections::{Pool, Queues, Slab, Wheel};
use crate::id::LinkId;

/// How much may wait, per route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Requests.
    pub requests_max: u32,
    /// Bytes of the buffers that hold them.
    pub bytes_max: usize,
}

/// What the worker has to know of a request that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Who asked.
    pub link: LinkId,
    /// When waiting ends.
    pub deadline: Time,
    /// The credit it needs.
    pub cost: u32,
    /// Hash of its ordering key; zero when it has none.
    pub order: u32,
    /// The stream it waits for.
    pub stream: StreamIndex,
    /// The route it takes.
    pub route: RouteIndex,
    /// Where its session remembers it.
    pub entry: Option<EntryKey>,
}

/// A request that has waited, and its bytes in a buffer that belongs back into the pool.
#[derive(PartialEq, Eq)]
pub struct Parked {
    /// What it is.
    pub waiting: Waiting,
    /// What was given to [`Park::push`].
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Parked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parked({:?}, {:?})", self.waiting, Hidden(&self.bytes))
    }
}

/// All parked requests of one worker.
#[derive(Debug)]
pub struct Park {
    bounds: Bounds,
    /// By route.
    used: Vec<Used>,
    requests: Slab<Parked>,
    by_stream: Queues,
    /// By slot of the link.
    by_link: Queues,
    deadlines: Wheel,
}

#[derive(Clone, Copy, Debug, Default)]
struct Used {
    requests: u32,
    bytes: usize,
}

impl Park {
    /// An empty park for this many routes and streams, and links in slots `0..slots`.
    #[must_use]
    pub fn new(bounds: Bounds, routes: u16, streams: u16, slots: u32, now: Time) -> Self {
        let requests_max = bounds.requests_max.saturating_mul(routes.into());
        Self {
            bounds,
            used: vec![Used::default(); usize::from(routes)],
            requests: Slab::new(requests_max),
            by_stream: Queues::new(usize::from(streams), requests_max as usize),
            by_link: Queues::new(slots as usize, requests_max as usize),
            deadlines: Wheel::new(TICK, requests_max as usize, now),
        }
    }

    /// Lets a request wait, with a copy of its bytes in a buffer of the pool.
    ///
    /// # Errors
    /// [`Refusal::Busy`] when its route has its fill; nothing was copied then.
    ///
    /// # Panics
    /// When the route, the stream or the link's slot is beyond what the park was built for.
    pub fn push(&mut self, pool: &mut Pool, waiting: Waiting, bytes: &[u8]) -> Result<(), Refusal> {
        let used = &mut self.used[usize::from(waiting.route.0)];
        let full = used.requests >= self.bounds.requests_max;
        let capacity = capacity_for(bytes.len());
        if full || capacity > self.bounds.bytes_max.saturating_sub(used.bytes) {
            return Err(Refusal::Busy);
        }
        used.requests += 1;
        used.bytes += capacity;
        let mut buffer = pool.take(bytes.len());
        buffer.extend_from_slice(bytes);
        let parked = Parked { waiting, bytes: buffer };
        let key = self.requests.insert(parked).expect("the bounds of all routes fit into the table");
        self.by_stream.push(usize::from(waiting.stream.0), key.index);
        self.by_link.push(waiting.link.slot() as usize, key.index);
        self.deadlines.arm(key.index, waiting.deadline);
        Ok(())
    }

    /// The stream for which a request of this link, route and ordering key waits; the later ones have to wait behind
    /// it. Looks at each parked request of the link, of which its grant allows only so many.
    #[must_use]
    pub fn stream_of(&self, link: LinkId, route: RouteIndex, order: u32) -> Option<StreamIndex> {
        if order == 0 {
            return None;
        }
        self.by_link
            .iter(link.slot() as usize)
            .filter_map(|index| self.requests.at(index))
            .map(|(_, parked)| parked.waiting)
            .find(|waiting| waiting.link == link && waiting.route == route && waiting.order == order)
            .map(|waiting| waiting.stream)
    }

    /// The request that is the next to leave for this stream.
    #[must_use]
    pub fn first(&self, stream: StreamIndex) -> Option<&Waiting> {
        let index = self.by_stream.first(usize::from(stream.0))?;
        self.requests.at(index).map(|(_, parked)| &parked.waiting)
    }

    /// Takes out the request that has waited longest for this stream: when credit has come for it, or, until
    /// `None`, when the stream is broken.
    pub fn take(&mut self, stream: StreamIndex) -> Option<Parked> {
        let index = self.by_stream.first(usize::from(stream.0))?;
        self.remove(index)
    }

    /// Takes out the request of a link that has waited longest. Called until `None` before the link's slot is used
    /// again.
    pub fn take_of_link(&mut self, link: LinkId) -> Option<Parked> {
        let index = self.by_link.first(link.slot() as usize)?;
        let (_, parked) = self.requests.at(index)?;
        if parked.waiting.link == link { self.remove(index) } else { None }
    }

    /// How many requests of a link wait for a stream.
    #[must_use]
    pub fn len_of_link_for(&self, link: LinkId, stream: StreamIndex) -> usize {
        self.of_link_for(link, stream).count()
    }

    /// Takes out the one of them that has waited longest.
    pub fn take_of_link_for(&mut self, link: LinkId, stream: StreamIndex) -> Option<Parked> {
        let index = self.of_link_for(link, stream).next()?;
        self.remove(index)
    }

    fn of_link_for(&self, link: LinkId, stream: StreamIndex) -> impl Iterator<Item = u32> {
        self.by_link.iter(link.slot() as usize).filter(move |&index| {
            let is_one = |waiting: &Waiting| waiting.link == link && waiting.stream == stream;
            self.requests.at(index).is_some_and(|(_, parked)| is_one(&parked.waiting))
        })
    }

    /// Lets the request that is next for this stream stand behind all others of it.
    pub fn rotate(&mut self, stream: StreamIndex) {
        let queue = usize::from(stream.0);
        if let Some(index) = self.by_stream.first(queue) {
            self.by_stream.remove(queue, index);
            self.by_stream.push(queue, index);
        }
    }

    /// Takes out a request that has waited too long. Called until `None`; each entry looked at costs one of
    /// `budget`.
    pub fn expire(&mut self, now: Time, budget: &mut u32) -> Option<Parked> {
        let index = self.deadlines.expire(now, budget)?;
        self.remove(index)
    }

    /// When [`Park::expire`] is next worth calling.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        self.deadlines.next_deadline()
    }

    /// How many requests wait for this stream.
    #[must_use]
    pub fn len_of(&self, stream: StreamIndex) -> u32 {
        self.by_stream.len(usize::from(stream.0))
    }

    /// How many requests of a link wait.
    #[must_use]
    pub fn len_of_link(&self, link: LinkId) -> u32 {
        self.by_link.len(link.slot() as usize)
    }

    /// The credit they need.
    #[must_use]
    pub fn cost_of_link(&self, link: LinkId) -> u32 {
        let of_link = self.by_link.iter(link.slot() as usize).filter_map(|index| self.requests.at(index));
        of_link.fold(0, |cost, (_, parked)| cost.saturating_add(parked.waiting.cost))
    }

    /// How many requests wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Bytes of them.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.used.iter().map(|used| used.bytes).sum()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    fn remove(&mut self, index: u32) -> Option<Parked> {
        let (key, _) = self.requests.at(index)?;
        let parked = self.requests.remove(key)?;
        self.by_stream.remove(usize::from(parked.waiting.stream.0), index);
        self.deadlines.cancel(index);
        self.by_link.remove(parked.waiting.link.slot() as usize, index);
        let used = &mut self.used[usize::from(parked.waiting.route.0)];
        used.requests -= 1;
        used.bytes -= parked.bytes.capacity();
        Some(parked)
    }
}

/// How late the end of waiting may be noticed.
const TICK: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOUNDS: Bounds = Bounds { requests_max: 3, bytes_max: 2048 };

    fn park() -> (Park, Pool) {
        (Park::new(BOUNDS, 2, 2, 200, Time::ZERO), Pool::new(1 << 20))
    }

    fn at(millis: u64) -> Time {
        Time::ZERO + Duration::from_millis(millis)
    }

    fn waiting(slot: u32, route: u16, stream: u16) -> Waiting {
        Waiting {
            link: LinkId::new(0, slot, 1),
            deadline: at(1_000),
            cost: 70,
            order: 0,
            stream: StreamIndex(stream),
            route: RouteIndex(route),
            entry: None,
        }
    }

    #[test]
    fn requests_leave_in_the_order_they_came_each_for_its_stream() {
        let (mut park, mut pool) = park();
        for (slot, route, stream) in [(1, 0, 0), (2, 1, 1), (3, 1, 0)] {
            park.push(&mut pool, waiting(slot, route, stream), &[slot as u8; 9]).expect("there is room");
        }
        assert_eq!(park.first(StreamIndex(0)).map(|first| first.link.slot()), Some(1));
        park.rotate(StreamIndex(0));
        assert_eq!(park.first(StreamIndex(0)).map(|first| first.link.slot()), Some(3));
        park.rotate(StreamIndex(0));
        let taken: Vec<_> = std::iter::from_fn(|| park.take(StreamIndex(0))).collect();
        assert_eq!(taken.iter().map(|parked| parked.bytes[0]).collect::<Vec<_>>(), [1, 3]);
        assert_eq!((park.len_of(StreamIndex(0)), park.len_of(StreamIndex(1)), park.len()), (0, 1, 1));
        assert_eq!(park.first(StreamIndex(0)), None);
    }

    #[test]
    fn a_full_route_refuses_and_leaves_room_to_the_others() {
        let (mut park, mut pool) = park();
        for _ in 0..3 {
            park.push(&mut pool, waiting(1, 0, 0), b"short").expect("there is room");
        }
        assert_eq!(park.push(&mut pool, waiting(1, 0, 0), b""), Err(Refusal::Busy), "too many");
        park.push(&mut pool, waiting(1, 1, 0), &[0; 600]).expect("there is room");
        assert_eq!(park.push(&mut pool, waiting(1, 1, 0), &[0; 1025]), Err(Refusal::Busy), "too large");
        park.push(&mut pool, waiting(1, 1, 0), &[0; 1000]).expect("it just fits");
        assert_eq!(park.push(&mut pool, waiting(1, 1, 0), b""), Err(Refusal::Busy), "a buffer is a buffer");
        assert_eq!(park.bytes(), 3 * 512 + 2 * 1024);
        assert_eq!(pool.counters().taken, 5, "what is refused is not copied");
        for _ in 0..5 {
            park.take(StreamIndex(0)).expect("five were parked");
        }
        park.push(&mut pool, waiting(1, 0, 0), &[0; 2048]).expect("all room is free again");
    }

    #[test]
    fn waiting_ends_at_the_deadline() {
        let (mut park, mut pool) = park();
        park.push(&mut pool, waiting(1, 0, 0), b"one").expect("there is room");
        park.push(&mut pool, Waiting { deadline: at(300), ..waiting(2, 0, 0) }, b"two")
            .expect("there is room");
        assert!(park.next_deadline() <= Some(at(300)) && !park.is_empty());
        let mut budget = 10;
        assert_eq!(park.expire(at(299), &mut budget), None);
        assert_eq!(park.expire(at(300), &mut budget).map(|parked| parked.bytes), Some(b"two".to_vec()));
        assert_eq!(park.take(StreamIndex(0)).map(|parked| parked.bytes), Some(b"one".to_vec()));
        assert_eq!((park.next_deadline(), park.is_empty()), (None, true));
    }

    #[test]
    fn a_key_is_held_where_its_request_waits_and_a_link_takes_its_requests_along() {
        let (mut park, mut pool) = park();
        let (link, route) = (LinkId::new(0, 1, 1), RouteIndex(0));
        for (slot, order, stream) in [(1, 0, 0), (1, 7, 1), (2, 7, 0)] {
            let waiting = Waiting { order, ..waiting(slot, 0, stream) };
            park.push(&mut pool, waiting, &[order as u8; 9]).expect("there is room");
        }
        assert_eq!(park.stream_of(link, route, 7), Some(StreamIndex(1)));
        assert_eq!(park.stream_of(link, route, 0), None, "without a key there is no order");
        assert_eq!((park.stream_of(link, RouteIndex(1), 7), park.len_of_link(link)), (None, 2));
        assert_eq!(park.take_of_link(LinkId::new(0, 1, 2)), None, "a later tenant of the slot");
        let taken: Vec<_> = std::iter::from_fn(|| park.take_of_link(link)).collect();
        assert_eq!(taken.iter().map(|parked| parked.bytes[0]).collect::<Vec<_>>(), [0, 7]);
        assert_eq!((park.len(), park.len_of(StreamIndex(1)), park.stream_of(link, route, 7)), (1, 0, None));
    }

    proptest! {
        /// Against a plain list: the bounds hold, and every request comes out once, with its own bytes.
        #[test]
        fn behaves_like_a_list(
            steps in prop::collection::vec((0..4u8, 0..2u16, 0..2u16, 0..1300usize, 0..300u64), 1..150),
        ) {
            let (mut park, mut pool) = park();
            let mut model: Vec<(Waiting, Vec<u8>)> = Vec::new();
            let mut now = 0;
            for (number, (kind, route, stream, len, span)) in steps.into_iter().enumerate() {
                match kind {
                    0 | 1 => {
                        let deadline = at((now + span).div_ceil(50) * 50);
                        let waiting = Waiting { deadline, ..waiting(number as u32, route, stream) };
                        let bytes = vec![number as u8; len];
                        let of_route = || model.iter().filter(|(other, _)| other.route.0 == route);
                        let room = of_route().count() < 3
                            && of_route().map(|(_, bytes)| capacity_for(bytes.len())).sum::<usize>()
                                + capacity_for(len)
                                <= 2048;
                        prop_assert_eq!(park.push(&mut pool, waiting, &bytes).is_ok(), room);
                        if room {
                            model.push((waiting, bytes));
                        }
                    }
                    2 => {
                        let oldest = model.iter().position(|(waiting, _)| waiting.stream.0 == stream);
                        let expected = oldest.map(|place| model.remove(place));
                        let taken = park.take(StreamIndex(stream));
                        prop_assert_eq!(taken.as_ref().map(|parked| parked.waiting), expected.as_ref().map(|e| e.0));
                        prop_assert_eq!(taken.as_ref().map(|parked| &parked.bytes), expected.as_ref().map(|e| &e.1));
                        taken.into_iter().for_each(|parked| pool.give(parked.bytes));
                    }
                    _ => {
                        now += span;
                        let mut budget = u32::MAX;
                        while let Some(parked) = park.expire(at(now), &mut budget) {
                            let place = model.iter().position(|(waiting, _)| *waiting == parked.waiting);
                            prop_assert_eq!(model.remove(place.expect("it was parked")).1, parked.bytes.clone());
                            pool.give(parked.bytes);
                        }
                        prop_assert!(model.iter().all(|(waiting, _)| waiting.deadline > at(now)));
                    }
                }
                prop_assert_eq!(park.len(), model.len());
                let counters = pool.counters();
                prop_assert_eq!((counters.taken - counters.given) as usize, model.len(), "no buffer is lost");
            }
        }
    }
}
