//! First bytes and curve work: the gate costs a hash and is checked at once, handshakes wait for their budget.

use std::time::Duration;

use driver::{Batch, Op, Token};
use protocol::Error;
use protocol::buffer::Input;
use protocol::link::ServerLink;

use super::Links;
use super::cause::Cause;
use super::link::Reading;
use crate::admission::ladder::Level;
use crate::admission::share::handshake_cost;
use crate::counters::guard::Guard;
use crate::worker::acceptors::Acceptors;
use crate::worker::turn::Turn;

/// This part of those who may wait for curve work are few.
const FEW: usize = 64;

impl Links {
    /// Bytes of a link that has no keys yet.
    pub(in crate::worker) fn hail(
        &mut self,
        turn: &mut Turn,
        token: Token,
        bytes: &mut [u8],
        acceptors: &Acceptors,
    ) {
        let Some(link) = self.table.living(token) else { return };
        let acceptor = acceptors.of(link.listener);
        let mut reply = turn.buffers.take(HANDSHAKE_LEN);
        let result = self.rests.take(link).and_then(|rest| {
            let mut input = Input::new(bytes, rest);
            let hailed = link.machine.hail(&mut input, acceptor, &mut reply);
            self.rests.keep(link, input.into_rest())?;
            hailed
        });
        match result {
            Ok(_) => turn.buffers.give(reply),
            Err(error) => self.reject(turn, token, error, reply),
        }
        match result {
            Ok(true) => self.wait_for_handshake(turn, token, acceptors),
            Ok(false) => self.receive_once(turn, token),
            Err(_) => {}
        }
        // By the slot, which may have another tenant in the next turn.
        self.mark_evicted(turn, acceptors);
    }

    /// A hello is complete and waits for the budget, unless too many do.
    fn wait_for_handshake(&mut self, turn: &mut Turn, token: Token, acceptors: &Acceptors) {
        let suite = self.table.living(token).and_then(|link| link.machine.hailed());
        let is_too_dear = suite.is_some_and(|suite| !suite.is_ticket() && turn.level >= Level::TicketsOnly);
        if is_too_dear || turn.level >= Level::Shedding {
            self.count_refused(turn, token, Guard::Overload);
            self.turn_away(turn, token, acceptors);
        } else if !suite.is_some_and(|suite| self.wait_in_line(turn, token, handshake_cost(suite))) {
            self.count_refused(turn, token, Guard::Waiting);
            self.turn_away(turn, token, acceptors);
        } else if self.line.len() > turn.settings.handshakes_per_turn as usize {
            self.watch_in_line(turn, token);
        }
    }

    /// Notices when somebody leaves the line: whoever has sent a recorded hello and gone must not cost curve work. Nobody says
    /// anything there, so that a poll tells of nothing else.
    fn watch_in_line(&mut self, turn: &mut Turn, token: Token) {
        if let Some(link) = self.table.living(token).filter(|link| link.reading == Reading::Idle) {
            link.reading = Reading::Poll;
            turn.submit(Op::Poll { token });
        }
    }

    /// Counts a newcomer that something keeps out.
    pub(in crate::worker) fn count_refused(&self, turn: &Turn, token: Token, guard: Guard) {
        if let Some(listener) = self.listener(token) {
            turn.kept_out(listener).refused.of(guard).add(1);
        }
    }

    /// Whether one more may wait for curve work.
    fn may_wait(&mut self, turn: &Turn) -> bool {
        let Self { line, table, .. } = self;
        // Those that died meanwhile, of a deadline or to make room, have waited longest. They take nobody's place.
        line.drop_dead(|token| table.see(token).is_some());
        line.len() < turn.settings.handshakes_waiting_max
    }

    /// A hello that can't be served: its clear reply if there is one, else silence.
    pub(super) fn reject(&mut self, turn: &mut Turn, token: Token, error: Error, reply: Vec<u8>) {
        self.count_refused(turn, token, Guard::Hellos);
        if reply.is_empty() {
            turn.buffers.give(reply);
            return self.mark(token, Cause::Fault(error));
        }
        turn.counters.errors.of(error).add(1);
        turn.counters.clear_replies.add(1);
        self.mark(token, Cause::Refused(reply));
    }

    /// Asks a client whose hello is complete, and for which there is no time or place, to come back later. It keeps its
    /// ticket then, where silence would make it try the costlier handshake at once. Others are met with silence.
    pub(super) fn turn_away(&mut self, turn: &mut Turn, token: Token, acceptors: &Acceptors) {
        let wait = busy_wait(turn.random_number());
        let mut reply = turn.buffers.take(HANDSHAKE_LEN);
        if let Some(link) = self.table.living(token) {
            link.machine.turn_away(acceptors.of(link.listener), wait, &mut reply);
        }
        if reply.is_empty() {
            turn.buffers.give(reply);
            self.mark(token, Cause::Silent);
        } else {
            turn.counters.clear_replies_busy.add(1);
            self.mark(token, Cause::Refused(reply));
        }
    }

    /// Who is served next of those who wait for curve work, while there is time for it in this turn: as many as `budget`
    /// says, and beyond the share of newcomers only [when](Links::may_exceed_share) there is nothing else to do.
    pub(in crate::worker) fn next_in_line(&mut self, turn: &mut Turn, budget: &mut u32) -> Option<Token> {
        while *budget > 0 {
            let mut next = self.line.serve(|listener| turn.shares.is_left(listener));
            if next.is_none() && self.may_exceed_share(turn) {
                next = self.line.serve(|_| true);
            }
            let Some((listener, token, cost)) = next else { break };
            // It may have died while it waited: of its deadline, or to make room for younger strangers. In a flood most
            // have, and they must not use up the budget of the living.
            if self.table.living(token).is_some() {
                *budget -= 1;
                turn.shares.spend(listener, cost);
                return Some(token);
            }
        }
        let is_used_up = *budget > 0 && self.line.len() > 0;
        turn.counters.handshakes_over_share.add(is_used_up.into());
        None
    }

    /// How many wait for curve work who came by a listener.
    pub(in crate::worker) fn waiting_at(&self, listener: usize) -> usize {
        self.line.len_at(listener)
    }

    /// Whether somebody is served next.
    pub(in crate::worker) fn has_line(&self, turn: &Turn) -> bool {
        self.line.listeners().any(|listener| turn.shares.is_left(listener))
            || (self.line.len() > 0 && self.may_exceed_share(turn))
    }

    /// Whether there is nothing else to do: nothing was heard in this turn, and no message is expected soon. One that comes in
    /// the middle of curve work has to wait for its end, and again on its way back; a few newcomers are worth that, a crowd is
    /// not.
    fn may_exceed_share(&self, turn: &Turn) -> bool {
        !turn.is_busy && (self.are_few(turn) || turn.attention_left().is_zero())
    }

    /// Whether so few wait that they are no flood and no storm.
    fn are_few(&self, turn: &Turn) -> bool {
        let in_a_turn = turn.settings.handshakes_per_turn as usize;
        self.line.len() <= in_a_turn.max(turn.settings.handshakes_waiting_max / FEW)
    }

    /// How long it is until something can be done that is left over from the turn that has ended; `None` if nothing is.
    pub(in crate::worker) fn time_left(&self, turn: &Turn) -> Option<Duration> {
        if !self.marked.is_empty() {
            return Some(Duration::ZERO);
        }
        let share = self.line.listeners().map(|listener| turn.shares.time_left(listener)).min()?;
        Some(if self.are_few(turn) { Duration::ZERO } else { share.min(turn.attention_left()) })
    }

    /// A link waits until there is time for work of this length; whether it may.
    pub(in crate::worker) fn wait_in_line(&mut self, turn: &Turn, token: Token, cost: Duration) -> bool {
        let listener = self.listener(token).filter(|_| self.may_wait(turn));
        if let Some(listener) = listener {
            self.line.join(listener, token, cost);
        }
        listener.is_some()
    }

    /// Whether a link waits for its handshake.
    pub(in crate::worker) fn is_hailed(&self, token: Token) -> bool {
        self.machine(token).is_some_and(ServerLink::is_hailed)
    }

    /// Does the curve work of a hello.
    pub(in crate::worker) fn shake_hands(&mut self, turn: &mut Turn, token: Token, acceptors: &Acceptors) {
        let mut out = turn.buffers.take(HANDSHAKE_LEN);
        match self.shake(turn, token, acceptors, &mut out) {
            Ok(()) => self.greet(turn, token, out),
            Err(error) => self.reject(turn, token, error, out),
        }
    }

    /// Appends message 2 to `out`, or a clear reply.
    fn shake(
        &mut self,
        turn: &mut Turn,
        token: Token,
        acceptors: &Acceptors,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let link = self.table.living(token).ok_or(Error::Early)?;
        let rest = self.rests.take(link)?;
        let fingerprint = link.machine.fingerprint(rest.gathered()).map(|bytes| self.hash.hash(bytes));
        if fingerprint.is_some_and(|fingerprint| self.replays.contains(fingerprint)) {
            return Err(Error::Replay);
        }
        let acceptor = acceptors.of(link.listener);
        let unfinished =
            link.machine.handshake(rest.gathered(), acceptor, turn.random(), turn.now, turn.wall, out)?;
        // Only now: what somebody without the ticket's secret sends must not crowd out what is remembered.
        if let Some(fingerprint) = fingerprint {
            self.replays.insert(fingerprint);
        }
        self.rests.release(link);
        self.rests.spare(rest);
        if let Some(unfinished) = unfinished {
            self.begun.keep(token, unfinished);
            self.make_room_for_begun(turn);
            return Ok(());
        }
        turn.counters.handshakes.add(1);
        turn.counters.handshakes_resumed.add(u64::from(fingerprint.is_some()));
        Ok(())
    }

    /// Message 2 goes out, and records may come, or message 3. Who has still to send that has cost more than it has done: among
    /// the strangers it keeps its place until then.
    fn greet(&mut self, turn: &mut Turn, token: Token, message_2: Vec<u8>) {
        self.send_raw(turn, token, message_2);
        if self.machine(token).is_some_and(ServerLink::is_open) {
            self.note_greeted(turn, token);
        }
        self.schedule(turn, token);
        self.receive_once(turn, token);
    }

    /// Sends bytes that are not records: message 2, or a clear reply. Nothing else can be in flight yet.
    pub(super) fn send_raw(&mut self, turn: &mut Turn, token: Token, bytes: Vec<u8>) {
        let Some(link) = self.table.get(token) else { return turn.buffers.give(bytes) };
        debug_assert!(!link.sending, "a link without keys sends nothing but its handshake");
        link.sending = true;
        turn.submit(Op::Send { token, batch: Batch { bytes, sent: 0 } });
    }
}

/// Room for message 2 or a clear reply.
const HANDSHAKE_LEN: usize = 64;

/// How long a client is asked to stay away, in units of [`protocol::limits::BUSY_UNIT`]: 1 to 5 s, spread so that those
/// who come together do not come back together.
const fn busy_wait(random: u64) -> u16 {
    10 + (random % 41) as u16
}
