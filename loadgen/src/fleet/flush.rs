//! Out: planned packets become due, and each link that has something to say sends once per turn.

use driver::{Batch, Op, Sent, Token};
use protocol::Time;
use protocol::code::CloseCode;
use protocol::wire::frame::{Auth, Close, Frame, Ping, Request};

use super::desk::Desk;
use super::link::{Link, Owes, Phase};
use super::{Fleet, Leg, Load, describe};
use crate::tokens::Tokens;

/// No packet is added to a send that is longer than this.
const SEND_LEN_MAX: usize = 32 * 1024;

impl Fleet {
    /// Hands every packet that is due to its link.
    pub(super) fn follow_plan(&mut self, now: Time) {
        let Some(leg) = self.desk.running() else { return };
        match self.desk.settings.load {
            Load::Planned { .. } => {
                while let Some((index, _)) = self.desk.take_planned(now) {
                    self.plan_packet(index);
                    self.mark(index);
                }
            }
            Load::Window { packets } if now >= leg.start && !self.desk.primed => {
                // Once per leg; from here on it is the answers that plan.
                self.desk.primed = true;
                for index in 0..self.desk.settings.links {
                    self.links[index as usize].planned = packets;
                    self.mark(index);
                }
            }
            _ => {}
        }
    }

    fn plan_packet(&mut self, index: u32) {
        let link = &mut self.links[index as usize];
        link.planned += 1;
        let room = link.ledger.room(self.desk.in_flight_max(link));
        link.held |= link.sending || room < self.desk.settings.batch;
    }

    /// The leg is over: what was planned in it by `now` and has not left never will.
    pub(super) fn give_up_planned(&mut self, now: Time) {
        if let Some(leg) = self.desk.running() {
            let end = now.min(leg.to);
            match self.desk.settings.load {
                Load::Planned { .. } => self.give_up_packets(end),
                Load::Cycle { interval: Some(_), .. } => self.give_up_cycles(&leg, end),
                _ => {}
            }
        }
        for link in &mut self.links {
            link.planned = link.packets;
        }
    }

    fn give_up_packets(&mut self, end: Time) {
        let batch = u64::from(self.desk.settings.batch);
        while let Some((index, _)) = self.desk.take_planned(end) {
            self.plan_packet(index);
        }
        for (index, link) in (0..).zip(&self.links) {
            // Who does not read gets no answers, and may ask no more at some time.
            let packets = if self.desk.is_excused(index) { 0..0 } else { link.packets..link.planned };
            for packet in packets {
                let base = self.desk.base(index, packet, link);
                // Without its link it would not have left at any time.
                if link.phase == Phase::Live {
                    self.desk.was_skipped(base, end, link.held, batch);
                } else {
                    self.desk.was_unsent(base, end, batch);
                }
            }
        }
    }

    fn give_up_cycles(&mut self, leg: &Leg, end: Time) {
        // What comes after the last cycle of the count was never to be done.
        while self.started < leg.cycles_max
            && let Some((_, planned)) = self.desk.take_planned(end)
        {
            self.desk.was_skipped(planned, end, self.desk.held, 1);
            self.count_start(leg, planned);
        }
    }

    /// Sends for every link that was marked.
    pub(super) fn flush(&mut self, now: Time) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for index in dirty.drain(..) {
            self.links[index as usize].dirty = false;
            self.flush_link(index, now);
        }
        self.dirty = dirty;
    }

    fn flush_link(&mut self, index: u32, now: Time) {
        let link = &mut self.links[index as usize];
        if link.sending || !matches!(link.phase, Phase::Greeting | Phase::Live | Phase::Leaving) {
            return;
        }
        let mut batch = self.desk.take_batch();
        batch.bytes.extend_from_slice(&[0; 2]);
        self.desk.compose(link, index, now, &mut batch.bytes);
        if batch.bytes.len() == 2 {
            return self.desk.give_batch(batch);
        }
        let machine = link.machine.as_mut().expect("an open link has a machine");
        machine.seal(&mut batch.bytes, 0, link.record_plain_max.into());
        self.send(index, batch);
    }

    pub(super) fn send(&mut self, index: u32, batch: Batch) {
        let link = &mut self.links[index as usize];
        link.sending = true;
        let token = link.token;
        self.submit(Op::Send { token, batch });
    }

    pub(super) fn sent(&mut self, token: Token, batch: Batch, result: Sent) {
        let Some(index) = self.find(token) else { return self.desk.give_batch(batch) };
        let link = &mut self.links[index as usize];
        (link.sending, link.unsending) = (false, false);
        if link.phase == Phase::Closing {
            self.desk.give_batch(batch);
            return self.shut(index);
        }
        match result {
            Sent::Broken(errno) => {
                self.desk.give_batch(batch);
                self.end(index, format!("broken while sending: {}", describe(errno)));
            }
            Sent::Bytes(_) if batch.rest().is_empty() => {
                let waiting = !link.owes.is_empty() || link.packets < link.planned;
                self.desk.give_batch(batch);
                if waiting {
                    self.mark(index);
                }
            }
            Sent::Bytes(_) | Sent::Again | Sent::Cancelled => self.send(index, batch),
        }
    }
}

impl Desk {
    /// Appends every frame the link may send now.
    fn compose(&mut self, link: &mut Link, index: u32, now: Time, out: &mut Vec<u8>) {
        if link.owes.take(Owes::AUTH) {
            self.compose_auth(link, index, out);
        }
        if link.owes.take(Owes::PING) {
            Frame::Ping(Ping { nonce: link.ping.into(), heartbeat_ms: 0 }).encode(out);
        }
        if link.owes.take(Owes::ACK) {
            self.compose_ack(link, index, now, out);
        }
        if link.owes.take(Owes::QUESTION) {
            self.compose_question(link, index, out);
        }
        let in_flight_max = self.in_flight_max(link);
        while link.phase == Phase::Live
            && link.packets < link.planned
            && link.ledger.room(in_flight_max) >= self.settings.batch
            && out.len() < SEND_LEN_MAX
        {
            self.compose_packet(link, index, now, out);
        }
        link.held &= link.packets < link.planned;
        if link.owes.take(Owes::CLOSE) {
            // Who comes back takes no leave.
            let code = if link.absence.out { CloseCode::Moving } else { CloseCode::Normal };
            Frame::Close(Close { code: code.number(), ..Close::default() }).encode(out);
        }
    }

    fn compose_auth(&mut self, link: &Link, index: u32, out: &mut Vec<u8>) {
        // A ticket says who it is, and so does a token of its own.
        let own = self.settings.tokens.as_mut().filter(|_| !link.resumed).map(Tokens::take);
        self.tally.signed_late += u64::from(own.as_ref().is_some_and(|(_, kept)| !kept));
        let heartbeat_ms = u32::try_from(self.settings.heartbeat.as_millis()).unwrap_or(u32::MAX);
        let user = format!("u{}", self.settings.first + index);
        let agent = concat!("loadgen/", env!("CARGO_PKG_VERSION"));
        let resume = self.wish(link, index);
        let (token, user) = match &own {
            Some((token, _)) => (&token[..], &[][..]),
            None if link.resumed => (&[][..], &[][..]),
            None => (self.settings.opening.token(), user.as_bytes()),
        };
        let auth =
            Auth { token, user, device: DEVICE, resume: &resume, heartbeat_ms, agent, ..Auth::default() };
        Frame::Auth(auth).encode(out);
    }

    fn compose_packet(&mut self, link: &mut Link, index: u32, now: Time, out: &mut Vec<u8>) {
        self.leave(index, link.packets, now);
        let base = self.base(index, link.packets, link);
        let mut payload = std::mem::take(&mut self.scratch);
        for _ in 0..self.settings.batch {
            let sequence = link.ledger.send();
            let stamp = self.stamp(index, link, sequence);
            let route = if self.asks_for_pushes(index, sequence) {
                self.compose_ask(index, link, base, &mut payload);
                PUSH_ROUTE
            } else {
                stamp.fill(self.settings.size, &mut payload);
                ECHO_ROUTE
            };
            let request = Request {
                id: stamp.to_id(),
                route,
                // Without a key no order is promised, and order is checked.
                key: &stamp.link.to_be_bytes(),
                payload: &payload,
                counter: self.counter(index, sequence),
                again: false,
            };
            Frame::Request(request).encode(out);
        }
        self.scratch = payload;
        let messages = u64::from(self.settings.batch);
        self.awaited += messages;
        if let Load::Planned { .. } = self.settings.load {
            self.was_planned(base, now, link.held, messages);
        }
        let early = self.is_early(base);
        self.tally.count(early, messages, |counts| &mut counts.sent);
        link.packets += 1;
        if early {
            link.early = link.packets * self.settings.batch;
        }
    }
}

/// The route of the reference service that answers with what it was sent.
const ECHO_ROUTE: &str = "echo";
/// The one that pushes what it is asked for.
const PUSH_ROUTE: &str = "push";
/// Every link is another user with this device.
const DEVICE: &[u8] = b"loadgen";
