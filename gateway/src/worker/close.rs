//! The only way anything dies.
//!
//! ```text
//!  close(code) ─► Lingering ── FIN, time or bytes ─┐
//!  fail(silent error), lost, evicted ──────────────┴─► Draining ── nothing armed ─► Closing ─► slot free
//! ```
//!
//! A lingering link has said its last frame and discards what still comes in: closing with unread input would make
//! the kernel send RST, which may destroy the frame on its way (SPEC.md, section "Closing").

use driver::{Armed, Op, Token};
use protocol::buffer::Place;
use protocol::limits::LINGER_BYTES_MAX;
use protocol::wire::frame::{Close, Frame};
use protocol::{CloseCode, Error};

use super::Core;
use super::flush::HOLE;
use super::settings::Farewell;
use crate::counters::health::Reason;
use crate::link::{Ending, Entry, Link, Reading};

impl Core {
    /// The peer broke a rule: the close code it asks for, or silence.
    pub(super) fn fail(&mut self, token: Token, error: Error) {
        self.counters.errors.of(error).add(1);
        match error.close_code() {
            Some(code) => self.close(token, code.into()),
            None => self.drain(token),
        }
    }

    /// Says why, and lets the link go.
    pub(super) fn close(&mut self, token: Token, farewell: Farewell) {
        let Some(link) = self.links.get(token) else { return };
        if link.ending != Ending::No {
            return;
        }
        let code = CloseCode::from_number(farewell.code);
        code.map_or(&self.counters.closed_other, |code| self.counters.closed.of(code)).add(1);
        // At the end of the process no slot is needed for anybody else, and every link is to hear of it.
        let may_linger = self.stopping || self.lingering < self.settings.lingering_max;
        if !link.machine.is_open() || !may_linger {
            return self.drain(token);
        }
        self.end_session(token, Some(farewell.code));
        // Its requests made room for others, and a response to one of them may have closed it meanwhile.
        let Some(link) = self.links.get(token).filter(|link| link.ending == Ending::No) else { return };
        // What could not be sent so far will not be: the link is closed for reading too slowly, or the client
        // will learn from the missing responses that they are unknown.
        let drop_queue = link.sending || code == Some(CloseCode::SlowReader);
        if drop_queue && !link.outgoing.is_empty() {
            self.outgoing_bytes -= link.outgoing.len() - HOLE.len();
            link.outgoing.truncate(HOLE.len());
        }
        let close = Frame::Close(Close {
            code: farewell.code,
            retry_after_ms: u32::try_from(farewell.retry_after.as_millis()).unwrap_or(u32::MAX),
            do_not_reconnect: farewell.do_not_reconnect,
            text: code.map_or("", CloseCode::name),
        });
        self.queue(token, |out| close.encode(out));
        self.linger(token);
    }

    /// Waits for the peer's FIN while the last bytes leave.
    pub(super) fn linger(&mut self, token: Token) {
        let now = self.now;
        let Some(link) = self.links.get(token) else { return };
        link.ending = Ending::Lingering;
        // From here on its time is that of the linger, which a bound of its queue must not take the timer from.
        link.slow_since = 0;
        link.machine.close(now);
        self.lingering += 1;
        // What is on its way leaves soon, or is cancelled. If it counted on, others would be cut for it.
        self.sending_bytes -= std::mem::take(&mut link.sending_len) as usize;
        self.leave_strangers(token);
        self.schedule(token);
        self.receive_once(token);
    }

    /// Input of a link that has said its last frame.
    pub(super) fn discard(&mut self, token: Token, len: usize) {
        let Some(link) = self.links.get(token) else { return };
        link.discarded = link.discarded.saturating_add(u32::try_from(len).unwrap_or(u32::MAX));
        if link.discarded as usize > LINGER_BYTES_MAX {
            self.drain(token);
        }
    }

    /// The peer ended, or the connection broke, without a close frame: truncation, not a logout.
    pub(super) fn lost(&mut self, token: Token) {
        if let Some(link) = self.links.get(token) {
            if link.ending == Ending::No {
                self.counters.links_lost.add(1);
            }
            self.drain(token);
        }
    }

    /// Ends a link without another word: cancels what is armed, then closes the socket.
    pub(super) fn drain(&mut self, token: Token) {
        self.leave_strangers(token);
        self.end_session(token, None);
        let Some(link) = self.links.get(token) else { return };
        match link.ending {
            Ending::No => {}
            Ending::Lingering => self.lingering -= 1,
            Ending::Draining | Ending::Closing => return,
        }
        link.ending = Ending::Draining;
        self.outgoing_bytes -= link.outgoing.len();
        self.buffers.give(std::mem::take(&mut link.outgoing));
        self.sending_bytes -= std::mem::take(&mut link.sending_len) as usize;
        let armed = match link.reading {
            Reading::Idle | Reading::Starved | Reading::Demoting => None,
            Reading::Poll => Some(Armed::Poll),
            Reading::Once | Reading::Multishot => Some(Armed::Receive),
        };
        let sending = link.sending.then_some(Armed::Send);
        for armed in armed.into_iter().chain(sending) {
            self.ops.push_back(Op::Cancel { token, armed });
        }
        self.finish_draining(token);
    }

    /// Closes the socket once nothing is armed on it.
    pub(super) fn finish_draining(&mut self, token: Token) {
        let Some(link) = self.links.get(token) else { return };
        if link.ending == Ending::Draining && !link.is_armed() {
            link.ending = Ending::Closing;
            self.ops.push_back(Op::Close { token });
        }
    }

    /// The link's session is over: its claim, its requests and its presence go with it. `code` is what was said at the
    /// end, `None` if the link just broke.
    pub(super) fn end_session(&mut self, token: Token, code: Option<u32>) {
        self.release(token);
        self.forget_auth(token);
        let Some(link) = self.links.get(token) else { return };
        let Some((key, _)) = link.session.take().and_then(|at| self.sessions.at(at.get())) else { return };
        let Some(session) = self.sessions.remove(key) else { return };
        self.forget_requests(self.link_id(token));
        self.announce_closed(token, &session, code);
    }

    /// The socket is closed: the slot is free for its next tenant.
    pub(super) fn closed(&mut self, token: Token) {
        self.slots_taken -= 1;
        match self.links.remove(token) {
            Some(Entry::Link(link)) => self.bury(link),
            Some(Entry::Stream { index, .. }) => self.stream_closed(index, token),
            Some(Entry::Free) | None => unreachable!("only sockets of this table are closed"),
        }
    }

    /// The process ends: every link is told, every stream is ended, and nothing new is let in.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
        for slot in 0..self.links.slots_used() {
            if let Some(link) = self.links.at(slot) {
                let token = link.token;
                self.close(token, CloseCode::GoingAway.into());
            }
        }
        for index in 0..self.streams.len() {
            self.end_stream(index as u16, Reason::Ended);
        }
    }

    /// Gives back what a link held outside its slot.
    fn bury(&mut self, mut link: Link) {
        self.timers.cancel(link.token.slot);
        self.partials.release(std::mem::replace(&mut link.place, Place::NONE));
        self.counters.links_closed.add(1);
    }
}
