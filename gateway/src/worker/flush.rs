//! The end of a turn: all frames of a link become one record and one send; all frames of a stream one batch.

use std::collections::VecDeque;

use driver::{Batch, Op, Sent, Token};
use protocol::CloseCode;
use protocol::wire::frame::Frame;

use super::Core;
use crate::link::{Ending, Link, to_tenths};

/// Lengths of a batch before and after sealing.
struct Sealed {
    plain: usize,
    sealed: usize,
}

/// Seals what waits for a link and sends it, unless a send is in flight.
fn flush_link(link: &mut Link, plain_max: usize, ops: &mut VecDeque<Op>) -> Option<Sealed> {
    let leaving = matches!(link.ending, Ending::Draining | Ending::Closing);
    if link.sending || link.outgoing.is_empty() || leaving {
        return None;
    }
    let mut bytes = std::mem::take(&mut link.outgoing);
    link.slow_since = 0;
    link.sending = true;
    let plain = bytes.len();
    link.machine.seal(&mut bytes, 0, plain_max);
    let sealed = bytes.len();
    ops.push_back(Op::Send { token: link.token, batch: Batch { bytes, sent: 0 } });
    Some(Sealed { plain, sealed })
}

/// The hole in front of a batch, for its first record's length.
pub(super) const HOLE: [u8; 2] = [0; 2];

impl Core {
    /// Queues a frame for a link; whether it was taken. A link that reads too slowly is closed instead.
    pub(super) fn send_frame(&mut self, token: Token, frame: &Frame<'_>) -> bool {
        self.send_with(token, |out| frame.encode(out))
    }

    /// Queues what `encode` appends, which must be whole frames.
    pub(super) fn send_with(&mut self, token: Token, encode: impl FnOnce(&mut Vec<u8>)) -> bool {
        let Some(len) = self.queue(token, encode) else { return false };
        if len > self.settings.outgoing_len_soft {
            self.note_slow(token);
        }
        if len > self.settings.outgoing_len_max {
            self.close(token, CloseCode::SlowReader.into());
            return false;
        }
        if self.outgoing_bytes + self.sending_bytes > self.settings.outgoing_bytes_max {
            self.cut_largest();
            // It may have been this one.
            return self.links.get(token).is_some_and(|link| link.ending == Ending::No);
        }
        true
    }

    /// Queues without looking at the bounds; how much waits then, or `None` when the link takes nothing any more.
    pub(super) fn queue(&mut self, token: Token, encode: impl FnOnce(&mut Vec<u8>)) -> Option<usize> {
        let link = self.links.get(token)?;
        if link.ending != Ending::No || !link.machine.is_open() {
            return None;
        }
        let before = link.outgoing.len();
        if before == 0 {
            link.outgoing = self.buffers.take(BATCH_LEN);
            link.outgoing.extend_from_slice(&HOLE);
        }
        encode(&mut link.outgoing);
        let len = link.outgoing.len();
        self.outgoing_bytes += len - before;
        self.counters.frames_out.add(1);
        if !link.dirty {
            link.dirty = true;
            self.dirty.push(token);
        }
        Some(len)
    }

    /// One send for each link and stream that has something to say and nothing in flight.
    pub(super) fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for token in dirty.drain(..) {
            if let Some(link) = self.links.get(token) {
                link.dirty = false;
                let sent = flush_link(link, self.settings.record_plain_max, &mut self.ops);
                if let Some(Sealed { plain, sealed }) = sent {
                    self.outgoing_bytes -= plain;
                    if link.ending == Ending::No {
                        link.sending_len = u32::try_from(sealed).unwrap_or(u32::MAX);
                        self.sending_bytes += link.sending_len as usize;
                    }
                    self.counters.sends_out.add(1);
                    self.counters.bytes_out.add(sealed as u64);
                }
            }
        }
        self.dirty = dirty;
        self.flush_streams();
        self.rearm_starved();
        self.park();
        // Letters were posted since the others were read: of links that ended, and for pushes.
        self.ring();
    }

    /// A send is over.
    pub(super) fn sent(&mut self, token: Token, batch: Batch, result: Sent) {
        if let Some(index) = self.links.stream(token) {
            return self.stream_sent(index, batch, result);
        }
        let Some(link) = self.links.get(token) else { return self.buffers.give(batch.bytes) };
        let leaving = matches!(link.ending, Ending::Draining | Ending::Closing);
        match result {
            Sent::Bytes(_) | Sent::Again if !batch.rest().is_empty() && !leaving => {
                self.ops.push_back(Op::Send { token, batch });
                return;
            }
            _ => {}
        }
        link.sending = false;
        self.sending_bytes -= std::mem::take(&mut link.sending_len) as usize;
        let waiting = !link.outgoing.is_empty();
        self.buffers.give(batch.bytes);
        if leaving {
            self.finish_draining(token);
        } else if matches!(result, Sent::Broken(_) | Sent::Cancelled) {
            self.lost(token);
        } else if waiting && !link.dirty {
            link.dirty = true;
            self.dirty.push(token);
        }
    }

    /// A link has more to be sent than the soft bound: its time runs.
    fn note_slow(&mut self, token: Token) {
        let now = to_tenths(self.now);
        if let Some(link) = self.links.get(token)
            && link.slow_since == 0
        {
            link.slow_since = now.max(1);
            self.schedule(token);
        }
    }

    /// Together the links have too much to say: the one with the most goes.
    fn cut_largest(&mut self) {
        let mut largest = None;
        for slot in 0..self.links.slots_used() {
            let Some(link) = self.links.at(slot).filter(|link| link.ending == Ending::No) else { continue };
            let len = link.outgoing.len() + link.sending_len as usize;
            largest = largest.max(Some((len, link.token)));
        }
        if let Some((_, token)) = largest {
            self.close(token, CloseCode::SlowReader.into());
        }
    }

    /// Links whose receive found the pool empty. Everything lent out in this turn has been given back by now.
    fn rearm_starved(&mut self) {
        let mut starved = std::mem::take(&mut self.starved);
        for token in starved.drain(..) {
            self.arm(token);
        }
        self.starved = starved;
        for at in 0..self.starved_streams.len() {
            self.receive_stream(self.starved_streams[at]);
        }
        self.starved_streams.clear();
    }
}

/// First size of a link's batch; it grows with use and is recycled.
const BATCH_LEN: usize = 256;
