//! The way down: frames wait as plaintext, and at the end of the turn all of a link's become one record and one send.

use driver::{Batch, Op, Sent, Token};
use protocol::CloseCode;
use protocol::wire::frame::Frame;

use super::Links;
use super::cause::Cause;
use super::link::{Ending, Link, to_tenths};
use super::outgoing::{HOLE, Outgoing};
use crate::worker::turn::Turn;

impl Links {
    /// Queues a frame for a link; whether it was taken. A link that reads too slowly is marked to be closed instead.
    pub(in crate::worker) fn send(&mut self, turn: &mut Turn, token: Token, frame: &Frame<'_>) -> bool {
        self.send_with(turn, token, |out| frame.encode(out))
    }

    /// Queues what `encode` appends, which must be whole frames.
    pub(in crate::worker) fn send_with(
        &mut self,
        turn: &mut Turn,
        token: Token,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        let Self { table, outgoing, .. } = self;
        let Some(link) = table.living(token).filter(|link| link.machine.is_open()) else { return false };
        queue(turn, outgoing, link, encode);
        let len = link.outgoing.len();
        if len > turn.settings.outgoing_len_soft && link.slow_since == 0 {
            link.slow_since = to_tenths(turn.now).max(1);
            self.schedule(turn, token);
        }
        if len > turn.settings.outgoing_len_max {
            self.mark(token, Cause::Close(CloseCode::SlowReader.into()));
            return false;
        }
        if self.outgoing.bytes() > turn.settings.outgoing_bytes_max {
            self.cut_largest();
            // It may have been this one.
            return self.table.living(token).is_some();
        }
        true
    }

    /// Together the links have too much to say: the one with the most goes.
    fn cut_largest(&mut self) {
        let mut largest = None;
        for slot in 0..self.table.slots_used() {
            let Some(link) = self.table.at(slot).filter(|link| link.ending == Ending::No) else { continue };
            let len = link.outgoing.len() + link.sending_len as usize;
            largest = largest.max(Some((len, link.token)));
        }
        if let Some((_, token)) = largest {
            self.mark(token, Cause::Close(CloseCode::SlowReader.into()));
        }
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
                return turn.submit(Op::Send { token, batch });
            }
            _ => {}
        }
        link.sending = false;
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

/// Adds frames to what waits for a link.
pub(super) fn queue(
    turn: &mut Turn,
    outgoing: &mut Outgoing,
    link: &mut Link,
    encode: impl FnOnce(&mut Vec<u8>),
) {
    let before = link.outgoing.len();
    if before == 0 {
        link.outgoing = turn.buffers.take(BATCH_LEN);
        link.outgoing.extend_from_slice(&HOLE);
    }
    encode(&mut link.outgoing);
    turn.counters.frames_out.add(1);
    outgoing.queued(link, link.outgoing.len() - before);
}

/// Seals what waits for a link and sends it, unless a send is in flight.
fn flush_link(turn: &mut Turn, outgoing: &mut Outgoing, link: &mut Link) {
    let speaks = matches!(link.ending, Ending::No | Ending::Lingering);
    if link.sending || link.outgoing.is_empty() || !speaks {
        return;
    }
    let mut bytes = std::mem::take(&mut link.outgoing);
    link.slow_since = 0;
    link.sending = true;
    let plain = bytes.len();
    link.machine.seal(&mut bytes, 0, turn.settings.record_plain_max);
    turn.counters.sends_out.add(1);
    turn.counters.bytes_out.add(bytes.len() as u64);
    outgoing.sent(link, plain, bytes.len());
    turn.submit(Op::Send { token: link.token, batch: Batch { bytes, sent: 0 } });
}

/// First size of a link's batch; it grows with use and is recycled.
const BATCH_LEN: usize = 256;
