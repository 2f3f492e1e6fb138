//! The way to a backend: what was queued in a turn becomes one batch and one send.

use driver::{Batch, Op, Sent};

use super::Streams;
use super::stream::{BATCH_LEN, Ending};
use crate::counters::health::Reason;
use crate::upstream::StreamIndex;
use crate::worker::turn::Turn;

impl Streams {
    /// One send for each stream that has something to say and nothing in flight.
    pub(in crate::worker) fn flush(&mut self, turn: &mut Turn) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for stream in dirty.drain(..) {
            let own = self.at(stream);
            own.dirty = false;
            let living = own.socket.as_mut().filter(|socket| socket.ending == Ending::No && !socket.sending);
            if living.is_none() {
                continue;
            }
            own.say_resumed();
            let Some(socket) = &mut own.socket else { continue };
            let mut bytes = turn.buffers.take(own.batch_len);
            if socket.machine.seal(&mut bytes) {
                // What is handed in is what the next batch grows in: it is as long as those of late, or it would have to grow
                // each time.
                own.batch_len = bytes.len().max(own.batch_len - own.batch_len / 64).max(BATCH_LEN);
                socket.sending = true;
                turn.counters.stream_bytes_out.add(bytes.len() as u64);
                turn.ops.push_back(Op::Send { token: socket.token, batch: Batch { bytes, sent: 0 } });
            } else {
                turn.buffers.give(bytes);
            }
        }
        self.dirty = dirty;
    }

    /// A stream's send is over; whether there may be room for what waits.
    pub(in crate::worker) fn sent(
        &mut self,
        turn: &mut Turn,
        stream: StreamIndex,
        batch: Batch,
        result: Sent,
    ) -> bool {
        let Some(socket) = &mut self.at(stream).socket else {
            turn.buffers.give(batch.bytes);
            return false;
        };
        let lives = socket.ending == Ending::No;
        // The send before stopped short, as there was no more room: since then the backend has read.
        if matches!(result, Sent::Bytes(len) if batch.sent > len) {
            socket.machine.taken(turn.now);
        }
        if matches!(result, Sent::Bytes(_) | Sent::Again) && !batch.rest().is_empty() && lives {
            turn.submit(Op::Send { token: socket.token, batch });
            return false;
        }
        socket.sending = false;
        turn.buffers.give(batch.bytes);
        match result {
            _ if !lives => self.finish(turn, stream),
            Sent::Broken(errno) => self.mark(stream, Reason::Errno(errno)),
            Sent::Cancelled => self.mark(stream, Reason::Ended),
            Sent::Bytes(_) | Sent::Again => {
                self.dirty(stream);
                return true;
            }
        }
        false
    }
}
