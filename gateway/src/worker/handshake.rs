//! First bytes and curve work: the gate costs a hash and is checked at once, handshakes wait for their budget.

use driver::{Batch, Op, Token};
use protocol::Error;
use protocol::buffer::Input;

use super::Core;
use crate::link::{Ending, Link};

impl Core {
    /// Bytes of a link that has no keys yet.
    pub(super) fn receive_hello(&mut self, token: Token, bytes: &mut [u8]) {
        let Some(link) = self.links.get(token) else { return };
        let mut reply = self.buffers.take(HANDSHAKE_LEN);
        let result = self.partials.take(link.place).and_then(|rest| {
            let mut input = Input::new(bytes, rest);
            let hailed = link.machine.hail(&mut input, &self.acceptor, &mut reply);
            link.place = self.partials.keep(link.place, token.slot, input.into_rest())?;
            hailed
        });
        match result {
            Ok(true) if self.hailed.len() >= self.settings.handshakes_waiting_max => self.turn_away(token),
            Ok(true) => self.hailed.push_back(token),
            Ok(false) => self.receive_once(token),
            Err(error) => self.reject(token, error, &mut reply),
        }
        self.buffers.give(reply);
        // By the slot, which may have another tenant in the next turn.
        self.close_evicted();
    }

    /// A hello that can't be served: its clear reply if there is one, else silence.
    fn reject(&mut self, token: Token, error: Error, reply: &mut Vec<u8>) {
        if reply.is_empty() {
            return self.fail(token, error);
        }
        self.counters.errors.of(error).add(1);
        self.counters.clear_replies.add(1);
        self.say_in_clear(token, reply);
    }

    /// Asks a client whose hello is complete, and for which there is no time or place, to come back later. It keeps its
    /// ticket then, where silence would make it try the costlier handshake at once. Others are met with silence.
    pub(super) fn turn_away(&mut self, token: Token) {
        let random = self.random_number();
        let mut reply = self.buffers.take(HANDSHAKE_LEN);
        if let Some(link) = self.links.get(token) {
            link.machine.turn_away(&self.acceptor, busy_wait(random), &mut reply);
        }
        if reply.is_empty() {
            self.drain(token);
        } else {
            self.counters.clear_replies_busy.add(1);
            self.say_in_clear(token, &mut reply);
        }
        self.buffers.give(reply);
    }

    /// Sends a clear reply and lets the link go. Strangers may have half of the places of those that linger; the rest is
    /// for links that are told why they end.
    fn say_in_clear(&mut self, token: Token, reply: &mut Vec<u8>) {
        if self.lingering >= self.settings.lingering_max / 2 {
            return self.drain(token);
        }
        self.send_raw(token, std::mem::take(reply));
        self.linger(token);
    }

    /// Does the curve work of the longest waiting hellos.
    pub(super) fn run_handshakes(&mut self) {
        let mut budget = self.settings.handshakes_per_turn;
        while budget > 0 {
            let Some(token) = self.hailed.pop_front() else { return };
            // It may have died while it waited: of its deadline, or to make room for younger strangers. In a flood most
            // have, and they must not use up the budget of the living.
            let waits = |link: &mut Link| link.machine.is_hailed() && link.ending == Ending::No;
            if !self.links.get(token).is_some_and(waits) {
                continue;
            }
            budget -= 1;
            let mut out = self.buffers.take(HANDSHAKE_LEN);
            if let Err(error) = self.run_handshake(token, &mut out) {
                self.reject(token, error, &mut out);
            }
            self.buffers.give(out);
        }
    }

    fn run_handshake(&mut self, token: Token, out: &mut Vec<u8>) -> Result<(), Error> {
        let Some(link) = self.links.get(token) else { return Ok(()) };
        let rest = self.partials.take(link.place)?;
        let fingerprint = link.machine.fingerprint(rest.gathered()).map(|bytes| self.hash.hash(bytes));
        if fingerprint.is_some_and(|fingerprint| self.replays.contains(fingerprint)) {
            return Err(Error::Replay);
        }
        let mut ephemeral = [0; 32];
        (self.random)(&mut ephemeral);
        link.machine.handshake(rest.gathered(), &self.acceptor, ephemeral, self.now, self.wall, out)?;
        // Only now: what somebody without the ticket's secret sends must not crowd out what is remembered.
        if let Some(fingerprint) = fingerprint {
            self.replays.insert(fingerprint);
        }
        self.partials.release(std::mem::replace(&mut link.place, protocol::buffer::Place::NONE));
        self.partials.spare(rest);
        self.counters.handshakes.add(1);
        self.counters.handshakes_resumed.add(u64::from(fingerprint.is_some()));
        self.send_raw(token, std::mem::take(out));
        self.schedule(token);
        self.receive_once(token);
        Ok(())
    }

    /// Sends bytes that are not records: message 2, or a clear reply. Nothing else can be in flight yet.
    fn send_raw(&mut self, token: Token, bytes: Vec<u8>) {
        let Some(link) = self.links.get(token) else { return };
        debug_assert!(!link.sending, "a link without keys sends nothing but its handshake");
        link.sending = true;
        self.ops.push_back(Op::Send { token, batch: Batch { bytes, sent: 0 } });
    }
}

/// Room for message 2 or a clear reply.
const HANDSHAKE_LEN: usize = 64;

/// How long a client is asked to stay away, in units of [`protocol::limits::BUSY_UNIT`]: 1 to 5 s, spread so that those
/// who come together do not come back together.
const fn busy_wait(random: u64) -> u16 {
    10 + (random % 41) as u16
}
