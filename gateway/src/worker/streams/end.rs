//! The only way a stream dies: marked, and gone for everybody at once; then, when the marked are buried, drained and closed.

use std::time::Duration;

use driver::{Armed, Op, Token};
use protocol::wire::stream::Close;

use super::Streams;
use super::stream::Ending;
use crate::counters::health::Reason;
use crate::upstream::StreamIndex;
use crate::worker::turn::Turn;

impl Streams {
    /// Ends a stream. The first reason counts.
    pub(in crate::worker) fn mark(&mut self, stream: StreamIndex, reason: Reason) {
        if let Some(socket) = &mut self.at(stream).socket
            && socket.ending == Ending::No
        {
            socket.ending = Ending::Marked;
            self.routes.set_ready(stream, false);
            self.marked.push_back((stream, reason));
        }
    }

    /// The backend has said its last word, and maybe when it wants to be dialled again.
    pub(in crate::worker) fn closed_by_backend(
        &mut self,
        turn: &Turn,
        stream: StreamIndex,
        close: &Close<'_>,
    ) {
        let wait = Duration::from_millis(close.retry_after_ms.into());
        self.at(stream).redial.asked_to_wait(turn.now, wait);
        self.mark(stream, Reason::Ended);
    }

    /// The stream that was marked first of those that are to be buried, and why.
    pub(in crate::worker) fn next_marked(&mut self) -> Option<(StreamIndex, Reason)> {
        self.marked.pop_front()
    }

    /// Lets a marked stream go: cancels what is armed; its socket is closed when nothing is.
    pub(in crate::worker) fn part(&mut self, turn: &mut Turn, stream: StreamIndex, reason: Reason) {
        let own = self.at(stream);
        own.announced_to = None;
        own.told.clear();
        own.resumed.clear();
        let Some(socket) = &mut own.socket else { return };
        socket.ending = Ending::Draining;
        let receiving = socket.receiving.then_some(Armed::Receive);
        let sending = socket.sending.then_some(Armed::Send);
        for armed in receiving.into_iter().chain(sending) {
            turn.submit(Op::Cancel { token: socket.token, armed });
        }
        turn.counters.streams_lost.add(1);
        turn.counters.endpoints[usize::from(stream.0)].ended(reason);
        self.finish(turn, stream);
    }

    /// Closes the socket once nothing is armed on it.
    pub(super) fn finish(&mut self, turn: &mut Turn, stream: StreamIndex) {
        let Some(socket) = &mut self.at(stream).socket else { return };
        if socket.ending == Ending::Draining && !socket.receiving && !socket.sending {
            socket.ending = Ending::Closing;
            turn.submit(Op::Close { token: socket.token });
        }
    }

    /// A socket is closed: if it was the stream's, the endpoint may be dialled again.
    pub(in crate::worker) fn closed(&mut self, turn: &mut Turn, stream: StreamIndex, token: Token) {
        let own = self.at(stream);
        if own.socket.as_ref().is_some_and(|socket| socket.token == token) {
            own.socket = None;
            self.failed(turn, stream);
        }
    }

    /// The process ends: every stream is ended, and none is dialled again.
    pub(in crate::worker) fn stop(&mut self) {
        self.stopping = true;
        for stream in self.all() {
            self.mark(stream, Reason::Ended);
        }
    }
}
