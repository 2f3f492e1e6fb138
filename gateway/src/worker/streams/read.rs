//! The way from a backend: chunk → records → frames, lent one by one as events.

use driver::{End, Mode, Op, Pool};
use protocol::Error;
use protocol::buffer::Input;
use protocol::stream::ToGateway;

use super::Streams;
use super::stream::Ending;
use crate::counters::health::Reason;
use crate::upstream::StreamIndex;
use crate::worker::turn::Turn;

impl Streams {
    /// Bytes arrived on a stream; `more` says whether its receive is still armed. What is left of them is to be
    /// [kept](Streams::keep). `None` when the stream is on its way out.
    pub(in crate::worker) fn open<'c>(
        &mut self,
        turn: &mut Turn,
        stream: StreamIndex,
        bytes: &'c mut [u8],
        more: bool,
    ) -> Option<Input<'c>> {
        turn.counters.stream_bytes_in.add(bytes.len() as u64);
        turn.is_busy = true;
        let socket = self.at(stream).socket.as_mut()?;
        socket.receiving &= more;
        if socket.ending == Ending::No {
            return Some(socket.machine.input(bytes));
        }
        self.finish(turn, stream);
        None
    }

    /// The next event of the input; `None` when it is used up, or when the stream has ended of what it said so far.
    pub(in crate::worker) fn next_event<'i>(
        &mut self,
        turn: &mut Turn,
        stream: StreamIndex,
        input: &'i mut Input<'_>,
    ) -> Option<ToGateway<'i>> {
        match self.at(stream).machine()?.receive(input, turn.now) {
            Ok(event) => event,
            Err(error) => {
                self.fail(turn, stream, error);
                None
            }
        }
    }

    /// The credit of a payload goes back: it was queued or refused, and does not wait for clients.
    pub(in crate::worker) fn consumed(&mut self, stream: StreamIndex, payload_len: usize) {
        if let Some(machine) = self.at(stream).machine() {
            machine.consumed(payload_len);
        }
    }

    /// Keeps what a chunk has left over, and waits for the next one. Whether the stream lives on.
    pub(in crate::worker) fn keep(&mut self, turn: &mut Turn, stream: StreamIndex, input: Input<'_>) -> bool {
        let Some(machine) = self.at(stream).machine() else { return false };
        machine.keep(input);
        self.dirty(stream);
        self.receive(turn, stream);
        true
    }

    /// A stream's receive is over without data.
    pub(in crate::worker) fn ended(&mut self, turn: &mut Turn, stream: StreamIndex, why: End) {
        let Some(socket) = &mut self.at(stream).socket else { return };
        socket.receiving = false;
        match why {
            _ if socket.ending != Ending::No => self.finish(turn, stream),
            End::Eof => self.mark(stream, Reason::Ended),
            End::Broken(errno) => self.mark(stream, Reason::Errno(errno)),
            End::Starved => self.starved.push(stream),
            End::Cancelled | End::Lapsed => self.receive(turn, stream),
        }
    }

    /// Streams whose receive found the pool empty. Everything lent out in this turn has been given back by now.
    pub(in crate::worker) fn rearm_starved(&mut self, turn: &mut Turn) {
        let mut starved = std::mem::take(&mut self.starved);
        for stream in starved.drain(..) {
            self.receive(turn, stream);
        }
        self.starved = starved;
    }

    /// Arms a stream's receive, unless it is armed.
    fn receive(&mut self, turn: &mut Turn, stream: StreamIndex) {
        let Some(socket) = &mut self.at(stream).socket else { return };
        if !socket.receiving && socket.ending == Ending::No {
            socket.receiving = true;
            let token = socket.token;
            turn.submit(Op::Receive { token, pool: Pool::Streams, mode: Mode::Multishot });
        }
    }

    /// The backend has said what it may not: this frame.
    pub(in crate::worker) fn overstepped(
        &mut self,
        turn: &mut Turn,
        stream: StreamIndex,
        frame: &'static str,
    ) {
        turn.counters.backend_oversteps.add(1);
        self.fail(turn, stream, Error::Unexpected(frame));
    }

    /// The backend broke a rule.
    pub(super) fn fail(&mut self, turn: &mut Turn, stream: StreamIndex, error: Error) {
        turn.counters.errors.of(error).add(1);
        self.mark(stream, Reason::broke(error));
    }
}
