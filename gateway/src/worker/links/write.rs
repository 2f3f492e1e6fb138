//! The way down: frames wait as plaintext, and at the end of the turn all of a link's become one record and one send.

use driver::{Batch, Op, Sent, Token};
use protocol::CloseCode;
use protocol::limits::{RECORD_HEADER_LEN, TAG_LEN};
use protocol::wire::frame::Frame;

use super::Links;
use super::cause::Cause;
use super::link::{Ending, Link, to_tenths};
use super::outgoing::{HOLE, Outgoing};
use crate::delivery::oldest::drop_oldest;
use crate::worker::turn::Turn;

impl Links {
    /// Queues a frame for a link; whether it was taken. A link that reads too slowly is marked to be closed instead.
    pub(in crate::worker) fn send(&mut self, turn: &mut Turn, token: Token, frame: &Frame<'_>) -> bool {
        let payload = match frame {
            Frame::Response(response) => response.payload,
            Frame::Push(push) => push.payload,
            // What carries no payload finds room where payloads find none.
            _ => {
                let most = turn.settings.outgoing_len_max;
                return self.send_up_to(turn, token, (0, most), |out| frame.encode(out));
            }
        };
        self.send_with(turn, token, payload.len(), |out| frame.encode(out))
    }

    /// Queues a push that is delivered at most once; whether it was taken. Where the operator says so, a link that reads slowly gets what
    /// is newest of such: the oldest that wait make room, and where there are hardly any it is the new one that is not taken.
    pub(in crate::worker) fn send_push(
        &mut self,
        turn: &mut Turn,
        token: Token,
        payload: usize,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        if turn.settings.outgoing_drops_oldest && !self.make_way(turn, token, payload) {
            return false;
        }
        let is_taken = self.send_with(turn, token, payload, encode);
        if is_taken && let Some(link) = self.table.living(token) {
            link.droppable = link.droppable.saturating_add(units(payload + FIELDS_LEN));
        }
        is_taken
    }

    /// Whether a push with such a payload may be queued without making the link slow; older ones are dropped for it.
    fn make_way(&mut self, turn: &Turn, token: Token, payload: usize) -> bool {
        let soft = turn.settings.outgoing_len_soft;
        let Some(link) = self.table.living(token).filter(|link| link.sending) else { return true };
        let len = link.outgoing.len() + payload + FIELDS_LEN;
        if len <= soft {
            return true;
        }
        // All that waits is looked at once for so many bytes that become free, and not for each push.
        if link.droppable < units(soft / DROPPED_AT_ONCE) {
            return false;
        }
        let dropped = drop_oldest(&mut link.outgoing, HOLE.len(), len - soft + soft / DROPPED_AT_ONCE);
        link.droppable = link.droppable.saturating_sub(units(dropped.bytes));
        turn.counters.pushes_dropped.add(dropped.count);
        link.outgoing.len() + payload + FIELDS_LEN <= soft
    }

    /// Queues what `encode` appends, which must be whole frames, with payloads of so many bytes.
    ///
    /// Slow is who does not take what was sent to it: while no send is in flight nobody knows, and whatever comes in a turn
    /// is queued.
    pub(in crate::worker) fn send_with(
        &mut self,
        turn: &mut Turn,
        token: Token,
        payload: usize,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        let most = turn.settings.outgoing_len_max;
        self.send_up_to(turn, token, (payload, most - reserve(most)), encode)
    }

    /// The same with another bound on what waits.
    fn send_up_to(
        &mut self,
        turn: &mut Turn,
        token: Token,
        (payload, most): (usize, usize),
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        let Self { table, outgoing, .. } = self;
        let Some(link) = table.living(token).filter(|link| link.machine.is_open()) else { return false };
        queue(turn, outgoing, link, payload, encode);
        let len = link.outgoing.len();
        if link.sending && len > turn.settings.outgoing_len_soft && link.slow_since == 0 {
            link.slow_since = to_tenths(turn.now).max(1);
            self.schedule(turn, token);
        } else if link.sending && len > most {
            self.mark(token, Cause::Close(CloseCode::SlowReader.into()));
            return false;
        }
        if self.outgoing.bytes() > turn.settings.outgoing_bytes_max {
            self.shed(turn.settings.outgoing_bytes_max);
            // It may have been this one.
            return self.table.living(token).is_some();
        }
        true
    }

    /// Whether a push of so many bytes that its session is owed may wait for a link: so few that they never make it slow.
    pub(in crate::worker) fn has_room(&self, turn: &Turn, token: Token, payload: usize) -> bool {
        self.table.see(token).is_some_and(|link| {
            let waiting = link.outgoing.len();
            waiting == 0 || waiting + payload <= turn.settings.outgoing_len_soft / 2
        })
    }

    /// There is more for a link once what it was given is sent.
    pub(in crate::worker) fn feed_later(&mut self, token: Token) {
        if let Some(link) = self.table.living(token) {
            link.hungry = true;
        }
    }

    /// How many links have sent what they were given, and want more.
    pub(in crate::worker) fn hungry_len(&self) -> usize {
        self.hungry.len()
    }

    /// One of them.
    pub(in crate::worker) fn next_hungry(&mut self) -> Option<Token> {
        self.hungry.pop_front()
    }

    /// Cuts off the links with the most to say, an eighth of what all have, where that is much.
    pub(in crate::worker) fn shed_largest(&mut self, turn: &Turn) {
        let bytes = self.outgoing.bytes();
        if bytes > turn.settings.outgoing_bytes_max / 2 {
            self.shed(bytes);
        }
    }

    /// Together the links have too much to say: those with the most go, until an eighth of the bound is free again. So
    /// all links are looked at once for many bytes that are queued, and not for each frame.
    fn shed(&mut self, bytes_max: usize) {
        let mut excess = self.outgoing.bytes().saturating_sub(bytes_max - bytes_max / 8);
        let mut held_by_size = [0; SIZES];
        for slot in 0..self.table.slots_used() {
            let (_, held) = self.held_in(slot);
            held_by_size[size(held)] += held;
        }
        let mut last = SIZES - 1;
        while last > 0 && held_by_size[last] < excess {
            excess -= held_by_size[last];
            last -= 1;
        }
        // All that are larger, and of those of this size as many as it takes.
        for slot in 0..self.table.slots_used() {
            let (token, held) = self.held_in(slot);
            let goes = size(held) > last || size(held) == last && excess > 0;
            if let Some(token) = token.filter(|_| goes) {
                excess = if size(held) == last { excess.saturating_sub(held) } else { excess };
                self.mark(token, Cause::Close(CloseCode::SlowReader.into()));
            }
        }
    }

    /// The link in a slot that lives and has something to say, and the memory that this takes.
    fn held_in(&mut self, slot: u32) -> (Option<Token>, usize) {
        let link = self.table.at(slot).filter(|link| link.ending == Ending::No);
        let Some(link) = link else { return (None, 0) };
        let held = link.outgoing.capacity() + link.sending_len as usize;
        ((held > 0).then_some(link.token), held)
    }

    /// One send for each link that has something to say and nothing in flight.
    pub(in crate::worker) fn flush(&mut self, turn: &mut Turn) {
        let dirty = self.outgoing.take_dirty();
        for &token in &dirty {
            if let Some(link) = self.table.get(token) {
                link.dirty = false;
                flush_link(turn, &mut self.outgoing, link);
            }
        }
        self.outgoing.flushed(dirty);
    }

    /// A send is over.
    pub(in crate::worker) fn sent(&mut self, turn: &mut Turn, token: Token, batch: Batch, result: Sent) {
        let Some(link) = self.table.get(token) else { return turn.buffers.give(batch.bytes) };
        let is_leaving = link.ending.is_leaving();
        match result {
            // A record that was begun is sent whole, whatever has become of its link.
            Sent::Bytes(_) | Sent::Again if !batch.rest().is_empty() && !is_leaving => {
                if link.slow_since != 0 && result != Sent::Again {
                    link.slow_since = to_tenths(turn.now).max(1);
                }
                return turn.submit(Op::Send { token, batch });
            }
            _ => {}
        }
        link.sending = false;
        if std::mem::take(&mut link.hungry) {
            self.hungry.push_back(token);
        }
        self.outgoing.arrived(link);
        let waits = !link.outgoing.is_empty();
        turn.buffers.give(batch.bytes);
        if is_leaving {
            self.finish_draining(turn, token);
        } else if matches!(result, Sent::Broken(_) | Sent::Cancelled) {
            self.lost(turn, token);
        } else if waits {
            self.outgoing.dirty(link);
        }
    }
}

/// Adds frames with payloads of so many bytes to what waits for a link.
pub(super) fn queue(
    turn: &mut Turn,
    outgoing: &mut Outgoing,
    link: &mut Link,
    payload: usize,
    encode: impl FnOnce(&mut Vec<u8>),
) {
    let before = link.outgoing.capacity();
    if link.outgoing.is_empty() {
        link.outgoing = turn.buffers.take(HOLE.len() + payload + FIELDS_LEN);
        link.outgoing.extend_from_slice(&HOLE);
    } else {
        turn.buffers.make_room(&mut link.outgoing, payload + FIELDS_LEN);
    }
    encode(&mut link.outgoing);
    turn.counters.frames_out.add(1);
    outgoing.queued(link, before);
}

/// Seals what waits for a link and sends it, unless a send is in flight.
fn flush_link(turn: &mut Turn, outgoing: &mut Outgoing, link: &mut Link) {
    let speaks = matches!(link.ending, Ending::No | Ending::Lingering);
    if link.sending || link.outgoing.is_empty() || !speaks {
        return;
    }
    let mut bytes = std::mem::take(&mut link.outgoing);
    let waited = bytes.capacity();
    (link.slow_since, link.droppable) = (0, 0);
    link.sending = true;
    let records = bytes.len().div_ceil(turn.settings.record_plain_max);
    turn.buffers.make_room(&mut bytes, records * (RECORD_HEADER_LEN + TAG_LEN));
    link.machine.seal(&mut bytes, 0, turn.settings.record_plain_max);
    turn.counters.sends_out.add(1);
    turn.counters.bytes_out.add(bytes.len() as u64);
    outgoing.sent(link, waited, bytes.capacity());
    turn.submit(Op::Send { token: link.token, batch: Batch { bytes, sent: 0 } });
}

/// What of a link's queue is kept for frames without a payload, such as `Pong` and `AckNow`. `Close` is bounded by nothing.
fn reserve(most: usize) -> usize {
    RESERVE_MAX.min(most / 8)
}

/// Bytes as [`Link::droppable`] counts them.
fn units(bytes: usize) -> u16 {
    u16::try_from(bytes.div_ceil(64)).unwrap_or(u16::MAX)
}

/// So much at most.
const RESERVE_MAX: usize = 1024;

/// This part of the soft bound becomes free at least where pushes are dropped.
const DROPPED_AT_ONCE: usize = 8;

/// As much as a frame takes beside its payload, a welcome excepted.
const FIELDS_LEN: usize = 64;

/// How large something is, on a scale of eight steps for each power of two.
const fn size(bytes: usize) -> usize {
    if bytes < 8 {
        return bytes;
    }
    let shift = bytes.ilog2() - 3;
    8 * shift as usize + (bytes >> shift)
}

/// All sizes there are.
const SIZES: usize = size(usize::MAX) + 1;
