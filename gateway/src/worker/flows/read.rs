//! A client's frames: the one match over their kinds.

use driver::{Listener, Op, Peer, Token};
use protocol::Refusal;
use protocol::wire::frame::{Frame, Ping};

use crate::address::Address;
use crate::admission::rates::Refused;
use crate::worker::busiest::Measure;
use crate::worker::links::{Cause, Heard, Introduced};
use crate::worker::parts::Parts;

impl Parts {
    /// A connection came.
    pub(in crate::worker) fn accepted(&mut self, token: Token, listener: Listener, peer: Peer) {
        let has_place = self.slots.accepted(&self.turn, listener);
        let peer = Address::from(peer);
        // Whoever can't stay takes no place among the strangers, from which it might push somebody out.
        let introduction = has_place.then(|| self.door.lets_in(&self.turn, token, listener, peer)).flatten();
        let Some(introduction) = introduction else {
            self.busiest.address(&self.turn, Measure::Refusals, peer.ip(), 1);
            return self.turn.submit(Op::Close { token });
        };
        if !introduction.is_awaited() {
            self.busiest.address(&self.turn, Measure::Accepts, peer.ip(), 1);
        }
        let acceptors = self.identity.acceptors();
        self.links.accepted(&mut self.turn, token, listener, peer, introduction, acceptors);
    }

    /// Bytes arrived on a link.
    pub(in crate::worker) fn link_received(&mut self, token: Token, bytes: &mut [u8], more: bool) {
        match self.links.received(&mut self.turn, token, bytes.len(), more) {
            Heard::Header => self.introduce(token, bytes),
            Heard::Hello => self.links.hail(&mut self.turn, token, bytes, self.identity.acceptors()),
            Heard::Last => self.links.hear_last(&mut self.turn, token, bytes, self.identity.acceptors()),
            Heard::Records => self.read(token, bytes),
            Heard::Nothing => {}
        }
    }

    /// Bytes of a link of which a balancer says whose it is; those behind its word are the client's.
    fn introduce(&mut self, token: Token, bytes: &mut [u8]) {
        let Self { links, door, turn, identity, busiest, .. } = self;
        let Some(known) = links.introduce(turn, token, bytes, identity.acceptors()) else { return };
        let Introduced { introduction, peer, listener, used } = known;
        let is_in = door.admits(turn, token, listener, peer, introduction);
        let measure = if is_in { Measure::Accepts } else { Measure::Refusals };
        busiest.address(turn, measure, peer.ip(), 1);
        if !is_in {
            return links.mark(token, Cause::Silent);
        }
        links.note_stranger(turn, token, identity.acceptors());
        links.hail(turn, token, &mut bytes[used..], identity.acceptors());
    }

    /// Heeds the frames of a chunk, which is empty when only held frames are to be read.
    pub(super) fn read(&mut self, token: Token, bytes: &mut [u8]) {
        let Some(mut input) = self.links.open(token, bytes) else { return };
        while let Some((frame, refused)) = self.links.next_frame(&mut self.turn, token, &mut input) {
            match refused {
                None => self.frame(token, &frame),
                Some(refused) => self.refuse_frame(token, &frame, refused),
            }
        }
        self.charge_user(token);
        self.links.keep(&mut self.turn, token, input, self.identity.acceptors());
    }

    fn frame(&mut self, token: Token, frame: &Frame<'_>) {
        match frame {
            Frame::Request(request) => self.request(token, request),
            Frame::Ping(ping) => self.ping(token, ping),
            Frame::Auth(auth) => self.auth(token, auth),
            Frame::Close(close) => self.links.mark(token, Cause::Goodbye(close.code)),
            Frame::Ack { taken, received } => self.acknowledged(token, *taken, *received),
            Frame::Unknown => {
                self.turn.counters.glitches.add(1);
                self.links.note_glitch(&mut self.turn, token);
            }
            // Rooms are specified but not served by this version.
            Frame::Join { room } => {
                let code = Refusal::NoRoute.number();
                self.links.send(&mut self.turn, token, &Frame::Joined { room, code, retry_after_ms: 0 });
            }
            Frame::Leave { room } => {
                self.links.send(&mut self.turn, token, &Frame::Left { room, code: 0 });
            }
            Frame::Pad { .. } => {}
            Frame::Welcome(_)
            | Frame::Response(_)
            | Frame::Push(_)
            | Frame::AckNow { .. }
            | Frame::Pong { .. }
            | Frame::Joined { .. }
            | Frame::Left { .. }
            | Frame::Move(_)
            | Frame::Warning { .. } => unreachable!("the link machine refuses downlink frames"),
        }
    }

    /// A frame that is one too many: whoever waits for an answer gets one, and comes back with it later.
    fn refuse_frame(&mut self, token: Token, frame: &Frame<'_>, refused: Refused) {
        let retry_after = refused.retry_after;
        let retry_after_ms = u32::try_from(retry_after.as_millis()).unwrap_or(u32::MAX);
        match frame {
            Frame::Request(request) => self.refuse_rate(token, request, retry_after_ms),
            Frame::Join { room } => {
                let code = Refusal::Rate.number();
                self.links.send(&mut self.turn, token, &Frame::Joined { room, code, retry_after_ms });
            }
            _ => {}
        }
        self.note_busy(token, Measure::Refusals, 1);
        self.links.note_overrun(&mut self.turn, token, refused.score);
    }

    /// Charges the user of a link for what it has said on it, if that has become a lot.
    fn charge_user(&mut self, token: Token) {
        let Some(due) = self.links.due(&self.turn, token) else { return };
        let Some(session) = self.links.session(token) else { return };
        self.note_busy(token, Measure::Frames, due.lot.0.into());
        self.note_busy(token, Measure::Bytes, due.lot.1.into());
        let over = self.sessions.charge_user(session, &due, self.turn.now);
        self.links.user_is_over(&mut self.turn, token, &due, over);
    }

    fn ping(&mut self, token: Token, ping: &Ping) {
        let wanted = (ping.heartbeat_ms != 0).then_some(ping.heartbeat_ms);
        let heartbeat = wanted.map(|wanted| self.turn.settings.heartbeat.choose(wanted));
        self.links.pong(&mut self.turn, token, ping.nonce, heartbeat);
    }
}
