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
            Ok(true) => self.hailed.push_back(token),
            Ok(false) => self.receive_once(token),
            Err(error) if reply.is_empty() => self.fail(token, error),
            Err(error) => {
                self.counters.errors.of(error).add(1);
                // Strangers may have half of the places; the rest is for links that are told why they end.
                if self.lingering >= self.settings.lingering_max / 2 {
                    self.drain(token);
                } else {
                    self.counters.clear_replies.add(1);
                    self.send_raw(token, std::mem::take(&mut reply));
                    self.linger(token);
                }
            }
        }
        self.buffers.give(reply);
        // By the slot, which may have another tenant in the next turn.
        self.close_evicted();
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
            if let Err(error) = self.run_handshake(token) {
                self.fail(token, error);
            }
        }
    }

    fn run_handshake(&mut self, token: Token) -> Result<(), Error> {
        let Some(link) = self.links.get(token) else { return Ok(()) };
        let rest = self.partials.take(link.place)?;
        let fingerprint = link.machine.fingerprint(rest.gathered()).map(|bytes| self.hash.hash(bytes));
        if fingerprint.is_some_and(|fingerprint| !self.replays.admit(fingerprint)) {
            return Err(Error::Replay);
        }
        let mut ephemeral = [0; 32];
        (self.random)(&mut ephemeral);
        let mut out = self.buffers.take(HANDSHAKE_LEN);
        link.machine.handshake(rest.gathered(), &self.acceptor, ephemeral, self.now, self.wall, &mut out)?;
        self.partials.release(std::mem::replace(&mut link.place, protocol::buffer::Place::NONE));
        self.partials.spare(rest);
        self.counters.handshakes.add(1);
        self.counters.handshakes_resumed.add(u64::from(fingerprint.is_some()));
        self.send_raw(token, out);
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
