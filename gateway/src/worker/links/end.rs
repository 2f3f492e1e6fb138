//! The only way a link dies.
//!
//! Whoever finds that a link is to end marks it, and says why. A marked link is gone for everybody at once: nothing is
//! read of it and nothing queued for it, and it counts in no bound. What follows from its end happens at fixed places of
//! the turn, when the marked are buried, so that nothing that sends ends anything by the way.
//!
//! ```text
//!  mark(Close) ──bury──► Lingering ── FIN, time or bytes ─┐
//!  mark(anything silent) ──bury───────────────────────────┴─► Draining ── nothing armed ─► Closing ─► slot free
//! ```
//!
//! A lingering link has said its last frame and discards what still comes in: closing with unread input would make
//! the kernel send RST, which may destroy the frame on its way (SPEC.md, section "Closing").

use driver::{Armed, Op, Token};
use protocol::CloseCode;
use protocol::wire::frame::{Close, Frame};

use super::Links;
use super::cause::{Cause, Parted};
use super::link::{Ending, Reading, Stranger};
use super::write::queue;
use crate::worker::settings::Farewell;
use crate::worker::turn::Turn;

impl Links {
    /// Ends a link. The first cause counts, unless only a later one ends the session as well.
    pub(in crate::worker) fn mark(&mut self, token: Token, cause: Cause) {
        let Some(link) = self.table.living(token) else { return self.mark_again(token, cause) };
        link.ending = Ending::Marked;
        // From here on its time is that of the linger, which a bound of its queue must not take the timer from.
        link.slow_since = 0;
        self.paused -= usize::from(std::mem::take(&mut link.paused_until) != 0);
        self.expiry.forget(token.slot);
        self.outgoing.forget(link);
        self.rests.release(link);
        drop(self.begun.take(token));
        self.strangers.left(std::mem::replace(&mut link.stranger, Stranger::No));
        self.marked.push_back((token, cause));
    }

    /// A link that is marked already is to end for another cause as well.
    fn mark_again(&mut self, token: Token, cause: Cause) {
        let is_marked = self.table.get(token).is_some_and(|link| link.ending == Ending::Marked);
        if is_marked && !cause.keeps_session() {
            let kept = |(marked, known): &&mut (Token, Cause)| *marked == token && known.keeps_session();
            if let Some((_, known)) = self.marked.iter_mut().find(kept) {
                *known = cause;
            }
        }
    }

    /// The link that was marked first of those that are to be buried, and why.
    pub(in crate::worker) fn next_marked(&mut self) -> Option<(Token, Cause)> {
        self.marked.pop_front()
    }

    /// Says to a marked link what is to be said, and lets it go.
    pub(in crate::worker) fn part(&mut self, turn: &mut Turn, token: Token, cause: Cause) -> Option<Parted> {
        let link = self.table.get(token)?;
        let session = link.session.take();
        let was_authenticating = link.machine.is_authenticating();
        let leaves_session = session.is_some() && cause.keeps_session() && !self.stopping;
        let code = match cause {
            Cause::Close(farewell) | Cause::Kick(farewell) => self.close(turn, token, farewell),
            Cause::Fault(error) => {
                turn.counters.errors.of(error).add(1);
                match error.close_code() {
                    Some(code) => self.close(turn, token, code.into()),
                    None => self.drop_silently(turn, token),
                }
            }
            Cause::Goodbye(code) => {
                count_close(turn, code);
                self.drain(turn, token);
                Some(code)
            }
            Cause::Refused(reply) => self.reply_in_clear(turn, token, reply),
            Cause::Lost => {
                turn.counters.links_lost.add(1);
                self.drop_silently(turn, token)
            }
            Cause::Silent => self.drop_silently(turn, token),
        };
        Some(Parted { session, code, was_authenticating, leaves_session })
    }

    fn drop_silently(&mut self, turn: &mut Turn, token: Token) -> Option<u32> {
        self.drain(turn, token);
        None
    }

    /// Says why, if that is possible; the code, if it was said.
    fn close(&mut self, turn: &mut Turn, token: Token, mut farewell: Farewell) -> Option<u32> {
        let code = count_close(turn, farewell.code);
        if farewell.is_timeless() {
            farewell = farewell.spread(turn.random_number());
        }
        // At the end of the process no slot is needed for anybody else, and every link is to hear of it.
        let may_linger = self.stopping || self.lingering < turn.settings.lingering_max;
        let link = self.table.get(token)?;
        if !link.machine.is_open() || !may_linger {
            return self.drop_silently(turn, token);
        }
        // What could not be sent so far will not be: the link is closed for reading too slowly, or the client
        // will learn from the missing responses that they are unknown.
        if link.sending || code == Some(CloseCode::SlowReader) {
            turn.buffers.give(std::mem::take(&mut link.outgoing));
        }
        let close = Frame::Close(Close {
            code: farewell.code,
            retry_after_ms: u32::try_from(farewell.retry_after.as_millis()).unwrap_or(u32::MAX),
            do_not_reconnect: farewell.do_not_reconnect,
            text: code.map_or("", CloseCode::name),
        });
        self.outgoing.remember(link);
        queue(turn, &mut self.outgoing, link, 0, |out| close.encode(out));
        self.linger(turn, token);
        Some(farewell.code)
    }

    /// Sends a clear reply and lets the link go. Strangers may have half of the places of those that linger; the rest is
    /// for links that are told why they end.
    fn reply_in_clear(&mut self, turn: &mut Turn, token: Token, reply: Vec<u8>) -> Option<u32> {
        if self.lingering >= turn.settings.lingering_max / 2 {
            turn.buffers.give(reply);
            return self.drop_silently(turn, token);
        }
        self.send_raw(turn, token, reply);
        self.linger(turn, token);
        None
    }

    /// Waits for the peer's FIN while the last bytes leave.
    fn linger(&mut self, turn: &mut Turn, token: Token) {
        let Some(link) = self.table.get(token) else { return };
        link.ending = Ending::Lingering;
        if link.reading == Reading::Resuming {
            // It is heard out at once, and need not wait for its turn any more.
            link.reading = Reading::Idle;
        }
        link.machine.close(turn.now);
        self.lingering += 1;
        self.schedule(turn, token);
        self.receive_once(turn, token);
    }

    /// The peer ended, or the connection broke.
    pub(super) fn lost(&mut self, turn: &mut Turn, token: Token) {
        let Some(link) = self.table.get(token) else { return };
        match link.ending {
            Ending::No if link.is_check() => self.mark(token, Cause::Silent),
            Ending::No => self.mark(token, Cause::Lost),
            Ending::Lingering => self.drain(turn, token),
            Ending::Marked | Ending::Draining | Ending::Closing => {}
        }
    }

    /// Ends a link without another word: cancels what is armed, then closes the socket. Only for one that is marked or
    /// lingers.
    pub(super) fn drain(&mut self, turn: &mut Turn, token: Token) {
        let Some(link) = self.table.get(token) else { return };
        match link.ending {
            Ending::No => unreachable!("a link that lives is marked first"),
            Ending::Marked => {}
            Ending::Lingering => {
                self.lingering -= 1;
                self.outgoing.forget(link);
            }
            Ending::Draining | Ending::Closing => return,
        }
        link.ending = Ending::Draining;
        turn.buffers.give(std::mem::take(&mut link.outgoing));
        let armed = match link.reading {
            Reading::Idle | Reading::Starved | Reading::Resuming | Reading::Demoting => None,
            Reading::Poll => Some(Armed::Poll),
            Reading::Once | Reading::Multishot => Some(Armed::Receive),
        };
        let sending = link.sending.then_some(Armed::Send);
        for armed in armed.into_iter().chain(sending) {
            turn.submit(Op::Cancel { token, armed });
        }
        self.finish_draining(turn, token);
    }

    /// Closes the socket once nothing is armed on it.
    pub(super) fn finish_draining(&mut self, turn: &mut Turn, token: Token) {
        let Some(link) = self.table.get(token) else { return };
        if link.ending == Ending::Draining && !link.is_armed() {
            link.ending = Ending::Closing;
            turn.submit(Op::Close { token });
        }
    }

    /// The socket is closed: its slot is free. What its link held elsewhere was given back when it was marked or drained.
    pub(in crate::worker) fn closed(&mut self, turn: &mut Turn, token: Token) {
        if self.table.remove(token).is_some() {
            self.timers.cancel(token.slot);
            turn.counters.links_closed.add(1);
        }
    }

    /// The process ends: every link is told, and those that still come are not let in.
    pub(in crate::worker) fn stop(&mut self) {
        self.stopping = true;
        for slot in 0..self.table.slots_used() {
            if let Some(token) = self.table.token_at(slot) {
                self.mark(token, Cause::Close(CloseCode::GoingAway.into()));
            }
        }
    }
}

/// Counts a close by its code; the code, if this version knows it.
fn count_close(turn: &Turn, code: u32) -> Option<CloseCode> {
    let known = CloseCode::from_number(code);
    known.map_or(&turn.counters.closed_other, |code| turn.counters.closed.of(code)).add(1);
    known
}
