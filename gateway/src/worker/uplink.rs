//! A client's bytes in: chunk → records → frames → what each frame asks for.

use driver::{End, Mode, Op, Pool, Token};
use protocol::CloseCode;
use protocol::buffer::{Input, Place};
use protocol::wire::frame::Frame;

use super::Core;
use crate::link::{Ending, Reading};

impl Core {
    /// Bytes arrived on a socket.
    pub(super) fn received(&mut self, token: Token, bytes: &mut [u8], more: bool) {
        if let Some(index) = self.links.stream(token) {
            return self.stream_received(index, bytes, more);
        }
        let Some(link) = self.links.get(token) else { return };
        link.note_chunk(self.now, self.settings.demote_after);
        if !more {
            link.reading = Reading::Idle;
        }
        self.counters.bytes_in.add(bytes.len() as u64);
        match link.ending {
            Ending::No if link.machine.is_open() => self.read(token, bytes),
            Ending::No => return self.receive_hello(token, bytes),
            Ending::Lingering => self.discard(token, bytes.len()),
            Ending::Draining | Ending::Closing => {}
        }
        self.arm(token);
    }

    /// Lends out the frames of a chunk, which may be empty when only held frames are to be read.
    pub(super) fn read(&mut self, token: Token, bytes: &mut [u8]) {
        let Some(link) = self.links.get(token) else { return };
        let rest = match self.partials.take(link.place) {
            Ok(rest) => rest,
            Err(error) => return self.fail(token, error),
        };
        let mut input = Input::new(bytes, rest);
        let result = loop {
            // Looked up anew for each frame: the one before may have ended the link.
            let Some(link) = self.links.get(token) else { break Ok(()) };
            if link.ending != Ending::No {
                break Ok(());
            }
            match link.machine.receive(&mut input, &self.settings.rules, self.now) {
                Ok(Some(frame)) => self.frame(token, &frame),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let rest = input.into_rest();
        let kept = match self.links.get(token) {
            Some(link) if link.ending == Ending::No => {
                self.partials.keep(link.place, token.slot, rest).map(|place| link.place = place)
            }
            Some(link) => {
                self.partials.spare(rest);
                self.partials.release(std::mem::replace(&mut link.place, Place::NONE));
                Ok(())
            }
            None => Ok(()),
        };
        if let Err(error) = result.and(kept) {
            self.fail(token, error);
        }
        self.close_evicted();
    }

    fn frame(&mut self, token: Token, frame: &Frame<'_>) {
        self.counters.frames_in.add(1);
        match frame {
            Frame::Request(request) => self.request(token, request),
            Frame::Ping(ping) => self.ping(token, ping),
            Frame::Auth(auth) => self.auth(token, auth),
            Frame::Close(close) => self.goodbye(token, close.code),
            // Pushes that want acknowledgement are not sent yet, so there is nothing to acknowledge.
            Frame::Ack { .. } | Frame::Unknown => self.counters.glitches.add(1),
            Frame::Join { room } => self.refuse_room(token, room),
            Frame::Leave { room } => {
                self.send_frame(token, &Frame::Left { room, code: 0 });
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

    fn ping(&mut self, token: Token, ping: &protocol::wire::frame::Ping) {
        if ping.heartbeat_ms != 0 {
            let heartbeat = self.settings.heartbeat.choose(ping.heartbeat_ms);
            if let Some(link) = self.links.get(token) {
                link.machine.set_heartbeat(heartbeat);
            }
            self.schedule(token);
        }
        self.counters.pings.add(1);
        self.send_frame(token, &Frame::Pong { nonce: ping.nonce });
    }

    /// The client has finished. What it has been sent so far may still leave; nothing more is read.
    fn goodbye(&mut self, token: Token, code: u32) {
        self.end_session(token, Some(code));
        let known = CloseCode::from_number(code);
        known.map_or(&self.counters.closed_other, |code| self.counters.closed.of(code)).add(1);
        self.drain(token);
    }

    /// Rooms are specified but not served by this version.
    fn refuse_room(&mut self, token: Token, room: &[u8]) {
        self.send_frame(
            token,
            &Frame::Joined { room, code: protocol::Refusal::NoRoute.number(), retry_after_ms: 0 },
        );
    }

    /// There is something to read on an idle link.
    pub(super) fn readable(&mut self, token: Token) {
        let Some(link) = self.links.get(token) else { return };
        link.reading = Reading::Idle;
        if link.ending == Ending::Draining { self.finish_draining(token) } else { self.receive_once(token) }
    }

    /// A poll or receive is over without data.
    pub(super) fn ended(&mut self, token: Token, why: End) {
        if let Some(index) = self.links.stream(token) {
            return self.stream_ended(index, why);
        }
        let Some(link) = self.links.get(token) else { return };
        link.reading = Reading::Idle;
        match (why, link.ending) {
            (_, Ending::Draining | Ending::Closing) => self.finish_draining(token),
            (End::Eof | End::Broken(_), Ending::Lingering) => self.drain(token),
            (End::Eof | End::Broken(_), Ending::No) => self.lost(token),
            (End::Starved, _) => {
                link.reading = Reading::Starved;
                self.starved.push(token);
            }
            (End::Cancelled | End::Lapsed, _) => self.arm(token),
        }
    }

    /// Arms what fits the link: a receive for one that is about to speak or speaks a lot, else a poll.
    pub(super) fn arm(&mut self, token: Token) {
        let promote_after = self.settings.promote_after;
        let Some(link) = self.links.get(token) else { return };
        if matches!(link.ending, Ending::Draining | Ending::Closing) {
            return self.finish_draining(token);
        }
        if !matches!(link.reading, Reading::Idle | Reading::Starved) || link.machine.is_full() {
            return;
        }
        // While its claim or token is judged elsewhere a link has nothing urgent to say, and will be idle after.
        if !link.machine.is_live() && !link.machine.is_authenticating() {
            return self.receive_once(token);
        }
        if link.recent >= promote_after {
            link.reading = Reading::Multishot;
            self.ops.push_back(Op::Receive { token, pool: Pool::Links, mode: Mode::Multishot });
            self.schedule(token);
        } else {
            link.reading = Reading::Poll;
            self.ops.push_back(Op::Poll { token });
        }
    }

    /// Links whose partial record or frame was thrown out.
    pub(super) fn close_evicted(&mut self) {
        while let Some(slot) = self.partials.take_evicted() {
            if let Some(link) = self.links.at(slot) {
                let token = link.token;
                self.fail(token, protocol::Error::PartialEvicted);
            }
        }
    }
}
