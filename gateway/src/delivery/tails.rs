//! What a session is owed: its pushes in their order, from the first that was not taken.
//!
//! A push gets its sequence when it is sent for the first time, so one that is given up before leaves no hole. One that was
//! sent keeps its place until the application has taken it, whatever its backend was told meanwhile: a client that comes back goes on behind the
//! last one it has, and there must be no gap.

use protocol::Time;

use super::bodies::{Bodies, BodyKey};
use super::{Bounds, Origin, packages};
use crate::collections::{Key, Slab};

/// The pushes of all sessions of a worker.
#[derive(Debug)]
pub struct Pushes {
    entries: Slab<Entry>,
    bodies: Bodies,
    bounds: Bounds,
}

/// What one session is owed.
#[derive(Clone, Debug)]
pub struct Tail {
    /// The first that was not taken; [`NOBODY`] without any.
    first: u32,
    /// The last one.
    last: u32,
    /// The next to be sent; [`NOBODY`] where all were.
    cursor: u32,
    len: u32,
    /// Bytes of memory of their bodies.
    bytes: usize,
    /// Of the last one that was ever sent.
    sent: u64,
    /// Of the one before the cursor: below `sent` where some are sent again.
    said: u64,
    /// The application has all up to here.
    taken: u64,
    /// The client has all up to here.
    received: u64,
}

/// One push of one session.
#[derive(Clone, Copy, Debug)]
struct Entry {
    body: BodyKey,
    next: u32,
    origin: Origin,
    /// How many devices its backend is told of.
    devices: u16,
    /// Which of its users the session is of.
    place: u16,
    /// Whether its backend was told what became of it.
    is_reported: bool,
    /// In milliseconds of the worker's clock, at which it counts as undelivered.
    expiry: u64,
}

/// A push as it goes to its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next<'p> {
    /// Its place in the session.
    pub sequence: u64,
    /// Whether it was sent before.
    pub again: bool,
    /// What it says.
    pub body: &'p [u8],
}

/// A push whose fate is known: whom to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Where it came from.
    pub origin: Origin,
    /// How many devices owe its backend a report.
    pub devices: u16,
    /// Which of its users the device is of, from 1; 0 where it does not name several.
    pub place: u16,
}

/// A push on its way to another worker.
#[derive(Debug)]
pub struct Carried {
    /// What it says.
    pub body: Vec<u8>,
    /// Where it came from, and how many devices owe a report; `None` if that was reported.
    pub owed: Option<Settled>,
    /// When it counts as undelivered.
    pub expiry: Time,
}

/// A session's tail on its way to another worker.
#[derive(Debug, Default)]
pub struct Packed {
    /// The pushes, in their order.
    pub pushes: Vec<Carried>,
    /// Packages whose parts are not all there.
    pub packages: Vec<packages::Packed<Carried>>,
    sent: u64,
    taken: u64,
}

/// Why a push is not kept for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Entry {
    const fn settled(&self) -> Settled {
        let Self { origin, devices, place, .. } = *self;
        Settled { origin, devices, place }
    }
}

impl Packed {
    /// Bytes of memory of the bodies.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let parts = self.packages.iter().flat_map(|package| &package.parts).map(|(.., part)| part);
        self.pushes.iter().chain(parts).map(|push| push.body.capacity()).sum()
    }

    /// Whether nothing was ever owed.
    #[must_use]
    pub const fn is_new(&self) -> bool {
        self.sent == 0 && self.pushes.is_empty() && self.packages.is_empty()
    }

    /// Whether a client that has all up to here may go on.
    #[must_use]
    pub const fn knows(&self, last: u64) -> bool {
        self.taken <= last && last <= self.sent
    }

    /// The same with pushes behind it that were never sent.
    #[must_use]
    pub fn followed_by(mut self, more: Self) -> Self {
        self.pushes.extend(more.pushes);
        self.packages.extend(more.packages);
        self
    }
}

impl Default for Tail {
    fn default() -> Self {
        let (first, last, cursor) = (NOBODY, NOBODY, NOBODY);
        Self { first, last, cursor, len: 0, bytes: 0, sent: 0, said: 0, taken: 0, received: 0 }
    }
}

impl Tail {
    /// Of the last push that was ever sent.
    #[must_use]
    pub const fn sent(&self) -> u64 {
        self.sent
    }

    /// The client has all up to here.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// How many it owes.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Whether it owes nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether there is one to be sent.
    #[must_use]
    pub const fn has_more(&self) -> bool {
        self.cursor != NOBODY
    }

    /// Of the last push that was sent by the present link: one that was sent by an earlier one may have to be sent again.
    #[must_use]
    pub const fn said(&self) -> u64 {
        self.said
    }

    /// Whether the client lacks any that was sent.
    #[must_use]
    pub const fn is_unreceived(&self) -> bool {
        self.received < self.sent
    }

    /// Whether a client that has all up to here may go on.
    #[must_use]
    pub const fn knows(&self, last: u64) -> bool {
        self.taken <= last && last <= self.sent
    }
}

impl Pushes {
    /// None, within these bounds.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self::with_parts(bounds, 0, 0)
    }

    /// None, within these bounds, and room for the bodies of so many parts of packages, which take so many bytes.
    #[must_use]
    pub fn with_parts(bounds: Bounds, parts: u32, bytes: usize) -> Self {
        let bodies = Bodies::new(bounds.count.saturating_add(parts), bounds.bytes.saturating_add(bytes));
        Self { entries: Slab::new(bounds.count), bodies, bounds }
    }

    /// What is to be sent.
    pub const fn bodies(&mut self) -> &mut Bodies {
        &mut self.bodies
    }

    /// A session is owed one more.
    ///
    /// # Errors
    /// [`Full`] when the session or the worker has its fill; nothing has changed then.
    pub fn add(
        &mut self,
        tail: &mut Tail,
        body: BodyKey,
        owed: Option<Settled>,
        expiry: Time,
    ) -> Result<(), Full> {
        let bytes = self.bodies.capacity(body);
        if tail.len >= self.bounds.session_count || tail.bytes + bytes > self.bounds.session_bytes {
            return Err(Full);
        }
        self.append(tail, body, owed, expiry)
    }

    /// The same, whatever the session owes already.
    fn append(
        &mut self,
        tail: &mut Tail,
        body: BodyKey,
        owed: Option<Settled>,
        expiry: Time,
    ) -> Result<(), Full> {
        let bytes = self.bodies.capacity(body);
        let none =
            Settled { origin: Origin { worker: 0, stream: 0, boot: 0, number: 0 }, devices: 0, place: 0 };
        let Settled { origin, devices, place } = owed.unwrap_or(none);
        let is_reported = owed.is_none();
        let entry =
            Entry { body, next: NOBODY, origin, devices, place, is_reported, expiry: expiry.as_millis() };
        let key = self.entries.insert(entry).map_err(|_| Full)?;
        self.bodies.hold(body);
        tail.bytes += bytes;
        tail.len += 1;
        match self.entry_mut(tail.last) {
            Some(last) => last.next = key.index,
            None => tail.first = key.index,
        }
        tail.last = key.index;
        if tail.cursor == NOBODY {
            tail.cursor = key.index;
        }
        Ok(())
    }

    /// The next one to be sent.
    #[must_use]
    pub fn next(&self, tail: &Tail) -> Option<Next<'_>> {
        let entry = self.entry(tail.cursor)?;
        let sequence = tail.said + 1;
        Some(Next { sequence, again: sequence <= tail.sent, body: self.bodies.get(entry.body) })
    }

    /// That one was sent.
    pub fn advance(&mut self, tail: &mut Tail) {
        if let Some(entry) = self.entry(tail.cursor) {
            tail.cursor = entry.next;
            tail.said += 1;
            tail.sent = tail.sent.max(tail.said);
        }
    }

    /// The client says how far it is. Numbers that go back, or beyond what was sent, change nothing.
    pub fn acknowledge(&self, tail: &mut Tail, received: u64) {
        if received <= tail.sent {
            tail.received = tail.received.max(received);
        }
    }

    /// The first one, if the application has all up to `taken`: it is owed no more, and its memory is lent to whoever has no use for it. Called until
    /// `None`.
    pub fn take(&mut self, tail: &mut Tail, taken: u64) -> Option<(Option<Settled>, Option<Vec<u8>>)> {
        if taken > tail.sent || tail.taken >= taken {
            return None;
        }
        let left = self.pop(tail)?;
        tail.taken += 1;
        tail.said = tail.said.max(tail.taken);
        tail.received = tail.received.max(tail.taken);
        Some(left)
    }

    /// One whose session is over. Called until `None`.
    pub fn drop_first(&mut self, tail: &mut Tail) -> Option<(Option<Settled>, Option<Vec<u8>>)> {
        self.pop(tail)
    }

    /// All behind this one are to be sent again.
    pub fn rewind(&mut self, tail: &mut Tail, last: u64) {
        if !tail.knows(last) {
            return;
        }
        tail.cursor = tail.first;
        for _ in tail.taken..last {
            tail.cursor = self.entry(tail.cursor).map_or(NOBODY, |entry| entry.next);
        }
        (tail.said, tail.received) = (last, last);
    }

    /// Those whose time is over: their backends are told so. One that was not sent is owed no more.
    pub fn expire(&mut self, tail: &mut Tail, now: Time, mut tell: impl FnMut(Settled, Option<Vec<u8>>)) {
        let now = now.as_millis();
        let (mut at, mut before) = (tail.first, NOBODY);
        let mut is_sent = true;
        let mut sequence = tail.taken;
        while let Some(&entry) = self.entry(at) {
            sequence += 1;
            is_sent &= sequence <= tail.sent;
            let is_over = entry.expiry <= now && !entry.is_reported;
            let settled = entry.settled();
            if is_over && is_sent {
                if let Some(entry) = self.entry_mut(at) {
                    entry.is_reported = true;
                }
                tell(settled, None);
            } else if is_over {
                let memory = self.unlink(tail, before, at);
                tell(settled, memory);
                at = entry.next;
                continue;
            }
            (before, at) = (at, entry.next);
        }
    }

    /// When the first of them counts as undelivered.
    #[must_use]
    pub fn next_expiry(&self, tail: &Tail) -> Option<Time> {
        let owed = self.chain(tail).filter(|entry| !entry.is_reported);
        owed.map(|entry| entry.expiry).min().map(|millis| Time::from_nanos(millis.saturating_mul(1_000_000)))
    }

    /// Where those come from of which nobody was told yet, in their order.
    pub fn owed(&self, tail: &Tail) -> impl Iterator<Item = Origin> {
        self.chain(tail).filter(|entry| !entry.is_reported).map(|entry| entry.origin)
    }

    /// Takes a tail out of here; buffers for what others hold as well come from `buffer`.
    pub fn pack(&mut self, tail: &mut Tail, mut buffer: impl FnMut(usize) -> Vec<u8>) -> Packed {
        let (pushes, packages) = (Vec::with_capacity(tail.len as usize), Vec::new());
        let mut packed = Packed { pushes, packages, sent: tail.sent, taken: tail.taken };
        while let Some(&entry) = self.entry(tail.first) {
            let shared = self.bodies.get(entry.body).len();
            let mut copy = None;
            if self.bodies.is_shared(entry.body) {
                let mut bytes = buffer(shared);
                bytes.extend_from_slice(self.bodies.get(entry.body));
                copy = Some(bytes);
            }
            let Some((owed, memory)) = self.pop(tail) else { break };
            let Some(body) = memory.or(copy) else { break };
            let expiry = Time::from_nanos(entry.expiry.saturating_mul(1_000_000));
            packed.pushes.push(Carried { body, owed, expiry });
        }
        packed
    }

    /// Puts a tail in here, whole, but for its packages. It may be longer than a session's may grow: what came on its way stands behind it, and copies of
    /// bodies may take more memory than those they were made of. All of it was accepted, and is not lost for that.
    ///
    /// # Errors
    /// Gives all of it back where the worker has no room for it: then the session cannot go on.
    pub fn unpack(&mut self, packed: Packed) -> Result<Tail, Packed> {
        let Packed { pushes, packages, sent, taken } = packed;
        let bytes: usize = pushes.iter().map(|push| push.body.capacity()).sum();
        let fits = self.entries.len() + pushes.len() <= self.bounds.count as usize
            && self.bodies.bytes() + bytes <= self.bounds.bytes;
        if !fits {
            return Err(Packed { pushes, packages, sent, taken });
        }
        let mut tail = Tail { sent, taken, said: taken, received: taken, ..Tail::default() };
        for Carried { body, owed, expiry } in pushes {
            if let Ok(body) = self.bodies.insert(body) {
                // There is room: it was counted.
                let _full = self.append(&mut tail, body, owed, expiry);
            }
        }
        Ok(tail)
    }

    /// How many pushes are owed, and the bytes of memory of their bodies.
    #[must_use]
    pub fn census(&self) -> (usize, usize) {
        (self.entries.len(), self.bodies.bytes())
    }

    fn pop(&mut self, tail: &mut Tail) -> Option<(Option<Settled>, Option<Vec<u8>>)> {
        let entry = *self.entry(tail.first)?;
        let memory = self.unlink(tail, NOBODY, tail.first);
        let settled = entry.settled();
        Some(((!entry.is_reported).then_some(settled), memory))
    }

    /// Takes the one at `at`, behind `before`, out of a tail.
    fn unlink(&mut self, tail: &mut Tail, before: u32, at: u32) -> Option<Vec<u8>> {
        let (key, entry) = self.entries.at(at).map(|(key, entry)| (key, *entry))?;
        match self.entry_mut(before) {
            Some(before) => before.next = entry.next,
            None => tail.first = entry.next,
        }
        if tail.last == at {
            tail.last = before;
        }
        if tail.cursor == at {
            tail.cursor = entry.next;
        }
        self.entries.remove(key);
        tail.len -= 1;
        tail.bytes -= self.bodies.capacity(entry.body);
        self.bodies.release(entry.body)
    }

    fn chain(&self, tail: &Tail) -> impl Iterator<Item = &Entry> {
        let mut at = tail.first;
        std::iter::from_fn(move || {
            let entry = self.entry(at)?;
            at = entry.next;
            Some(entry)
        })
    }

    fn entry(&self, at: u32) -> Option<&Entry> {
        self.entries.at(at).map(|(_, entry)| entry)
    }

    fn entry_mut(&mut self, at: u32) -> Option<&mut Entry> {
        let key: Option<Key> = self.entries.at(at).map(|(key, _)| key);
        self.entries.get_mut(key?)
    }
}

/// No entry.
const NOBODY: u32 = u32::MAX;

const _: () = assert!(size_of::<Entry>() <= 40, "an entry of the table of pushes is held to 48 bytes");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    const BOUNDS: Bounds = Bounds { session_count: 6, session_bytes: 400, count: 10, bytes: 600 };

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    fn owed(number: u64) -> Settled {
        Settled { origin: Origin { worker: 0, stream: 0, boot: 1, number }, devices: 1, place: 0 }
    }

    /// A push with this number, which is also what it says.
    fn add(pushes: &mut Pushes, tail: &mut Tail, number: u64, expiry: u64) -> Result<(), Full> {
        let Ok(body) = pushes.bodies().insert(number.to_be_bytes().to_vec()) else { return Err(Full) };
        let added = pushes.add(tail, body, Some(owed(number)), at(expiry));
        pushes.bodies().drop_unheld(body);
        added
    }

    fn send(pushes: &mut Pushes, tail: &mut Tail) -> Option<(u64, bool, u64)> {
        let next = pushes.next(tail)?;
        let number = u64::from_be_bytes(next.body.try_into().expect("eight bytes"));
        let sent = (next.sequence, next.again, number);
        pushes.advance(tail);
        Some(sent)
    }

    #[test]
    fn pushes_leave_in_their_order_and_stay_until_they_are_taken() {
        let (mut pushes, mut tail) = (Pushes::new(BOUNDS), Tail::default());
        for number in [7, 8, 9] {
            add(&mut pushes, &mut tail, number, 1000).expect("there is room");
        }
        let sent: Vec<_> = std::iter::from_fn(|| send(&mut pushes, &mut tail)).collect();
        assert_eq!(sent, [(1, false, 7), (2, false, 8), (3, false, 9)]);
        pushes.acknowledge(&mut tail, 2);
        assert_eq!((tail.received(), tail.is_unreceived(), tail.len()), (2, true, 3));
        let taken = pushes.take(&mut tail, 2).and_then(|(owed, _)| owed).map(|owed| owed.origin.number);
        assert_eq!(taken, Some(7));
        assert!(pushes.take(&mut tail, 2).is_some() && pushes.take(&mut tail, 2).is_none());
        pushes.rewind(&mut tail, 2);
        assert_eq!((tail.said(), tail.sent()), (2, 3), "it is not on its way again yet");
        assert_eq!((send(&mut pushes, &mut tail), send(&mut pushes, &mut tail)), (Some((3, true, 9)), None));
    }

    #[test]
    fn what_was_never_sent_is_taken_for_no_acknowledgement() {
        let (mut pushes, mut tail) = (Pushes::new(BOUNDS), Tail::default());
        add(&mut pushes, &mut tail, 7, 1000).expect("there is room");
        pushes.acknowledge(&mut tail, 1);
        assert_eq!((pushes.take(&mut tail, 1), tail.received()), (None, 0));
        assert!(tail.knows(0) && !tail.knows(1));
    }

    #[test]
    fn one_body_serves_several_sessions_and_a_move_leaves_it_to_the_others() {
        let (mut pushes, mut first, mut second) = (Pushes::new(BOUNDS), Tail::default(), Tail::default());
        let body = pushes.bodies().insert(b"hello".to_vec()).expect("there is room");
        pushes.add(&mut first, body, Some(owed(1)), at(9)).expect("there is room");
        pushes.add(&mut second, body, Some(owed(1)), at(9)).expect("there is room");
        let packed = pushes.pack(&mut first, Vec::with_capacity);
        assert_eq!(packed.pushes.iter().map(|push| &push.body[..]).collect::<Vec<_>>(), [b"hello"]);
        assert_eq!((first.len(), pushes.census().0), (0, 1));
        assert_eq!(pushes.next(&second).map(|next| next.body), Some(&b"hello"[..]));
    }

    #[test]
    fn a_tail_that_has_no_place_comes_back_whole() {
        let (mut pushes, mut tail) = (Pushes::new(BOUNDS), Tail::default());
        for number in 1..=5 {
            add(&mut pushes, &mut tail, number, 1000).expect("there is room");
        }
        let packed = pushes.pack(&mut tail, Vec::with_capacity);
        let mut narrow = Pushes::new(Bounds { count: 4, ..BOUNDS });
        let back = narrow.unpack(packed).expect_err("there are five");
        assert_eq!((back.pushes.len(), narrow.census()), (5, (0, 0)));
    }

    #[test]
    fn a_tail_that_grows_on_its_way_loses_nothing_and_takes_no_more_until_it_has_room() {
        let (mut pushes, mut tail, mut own) = (Pushes::new(BOUNDS), Tail::default(), Tail::default());
        for number in 1..=6 {
            add(&mut pushes, &mut tail, number, 1000).expect("there is room");
        }
        add(&mut pushes, &mut own, 7, 1000).expect("there is room");
        let mut moved = pushes.pack(&mut tail, Vec::with_capacity);
        // As a copy in a buffer of a pool has it.
        moved.pushes.iter_mut().for_each(|push| push.body.reserve_exact(92));
        let behind = pushes.pack(&mut own, Vec::with_capacity);
        let mut wide = Pushes::new(Bounds { bytes: 800, ..BOUNDS });
        let mut tail = wide.unpack(moved.followed_by(behind)).expect("the worker has room");
        assert!(tail.len() == 7 && tail.bytes > BOUNDS.session_bytes, "{tail:?}");
        assert_eq!(add(&mut wide, &mut tail, 8, 1000), Err(Full));
        let numbers: Vec<_> =
            std::iter::from_fn(|| wide.drop_first(&mut tail)).map(|(owed, _)| owed).collect();
        assert_eq!(numbers, (1..=7).map(|number| Some(owed(number))).collect::<Vec<_>>());
        assert_eq!(wide.census(), (0, 0));
    }

    /// What a tail is, said as plainly as can be.
    #[derive(Default)]
    struct Model {
        /// Number, expiry, whether it was reported.
        pushes: VecDeque<(u64, u64, bool)>,
        sent: u64,
        said: u64,
        taken: u64,
        received: u64,
    }

    proptest! {
        /// Against a plain list, over sends, acknowledgements, ends, resumes and moves: each push is told of once, and there is
        /// never a gap.
        #[test]
        fn behaves_like_a_list(steps in prop::collection::vec((0..8u8, 0..40u64), 1..200)) {
            let (mut pushes, mut tail, mut model) = (Pushes::new(BOUNDS), Tail::default(), Model::default());
            let (mut now, mut number) = (0, 0);
            for (kind, amount) in steps {
                match kind {
                    0 | 1 => {
                        number += 1;
                        let expiry = now + 5 + amount;
                        let fits = model.pushes.len() < 6;
                        prop_assert_eq!(add(&mut pushes, &mut tail, number, expiry).is_ok(), fits);
                        if fits {
                            model.pushes.push_back((number, expiry, false));
                        }
                    }
                    2 | 3 => {
                        let place = (model.said - model.taken) as usize;
                        let expected = model.pushes.get(place).map(|&(number, ..)| {
                            model.said += 1;
                            let again = model.said <= model.sent;
                            model.sent = model.sent.max(model.said);
                            (model.said, again, number)
                        });
                        prop_assert_eq!(send(&mut pushes, &mut tail), expected);
                    }
                    4 => {
                        let (received, taken) = (amount % 12, amount % 7);
                        pushes.acknowledge(&mut tail, received);
                        if received <= model.sent {
                            model.received = model.received.max(received);
                        }
                        while let Some((owed, _)) = pushes.take(&mut tail, taken) {
                            let (number, _, is_told) = model.pushes.pop_front().expect("it is owed");
                            model.taken += 1;
                            prop_assert_eq!(owed.map(|owed| owed.origin.number), (!is_told).then_some(number));
                        }
                        model.said = model.said.max(model.taken);
                        model.received = model.received.max(model.taken);
                        prop_assert!(taken > model.sent || model.taken >= taken);
                    }
                    5 => {
                        now += amount;
                        let mut told = Vec::new();
                        pushes.expire(&mut tail, at(now), |owed, _| told.push(owed.origin.number));
                        let (sent, taken) = (model.sent, model.taken);
                        let mut expected = Vec::new();
                        let mut place = taken;
                        model.pushes.retain_mut(|(number, expiry, is_told)| {
                            place += 1;
                            let is_over = *expiry <= now && !*is_told;
                            if is_over {
                                expected.push(*number);
                                *is_told = true;
                            }
                            !is_over || place <= sent
                        });
                        prop_assert_eq!(told, expected);
                    }
                    6 => {
                        let last = amount % 12;
                        pushes.rewind(&mut tail, last);
                        if (model.taken..=model.sent).contains(&last) {
                            (model.said, model.received) = (last, last);
                        }
                    }
                    _ => {
                        let packed = pushes.pack(&mut tail, Vec::with_capacity);
                        prop_assert_eq!(pushes.census(), (0, 0));
                        tail = pushes.unpack(packed).expect("it has been here");
                        (model.said, model.received) = (model.taken, model.taken);
                    }
                }
                prop_assert_eq!(tail.len() as usize, model.pushes.len());
                prop_assert_eq!((tail.sent(), tail.received()), (model.sent, model.received));
                prop_assert_eq!(tail.has_more(), (model.said - model.taken) < model.pushes.len() as u64);
                let expiry = model.pushes.iter().filter(|push| !push.2).map(|push| at(push.1)).min();
                prop_assert_eq!(pushes.next_expiry(&tail), expiry);
                prop_assert!(pushes.census().0 <= 10 && pushes.census().1 <= 600);
            }
        }
    }
}
