//! Bytes in: what is armed for them, and from a chunk to frames.

use driver::{Chunk, Driver, End, Mode, Op, Pool, Token};
use protocol::buffer::{Input, Partials};
use protocol::{Error, Time};

use super::desk::Desk;
use super::hear::Heard;
use super::link::{Link, Owes, Phase, Reading};
use super::{Fleet, Load, describe, storm};

impl Fleet {
    /// Arms what fits the link: idle ones wait with a poll, which costs the kernel a third of a receive; busy ones
    /// with one receive for everything to come, as the gateway does.
    pub(super) fn arm(&mut self, index: u32) {
        let link = &self.links[index as usize];
        if link.reading != Reading::Nothing || self.holds_back(index) {
            return;
        }
        let link = &self.links[index as usize];
        match (self.desk.settings.load, link.phase) {
            (_, Phase::Free | Phase::Connecting | Phase::Closing | Phase::Closed | Phase::Gone) => {}
            (Load::Idle, Phase::Live) => {
                self.submit(Op::Poll { token: link.token });
                self.links[index as usize].reading = Reading::Poll;
            }
            (Load::Idle, _) => self.arm_receive(index, Mode::Once),
            _ => self.arm_receive(index, Mode::Multishot),
        }
    }

    pub(super) fn arm_receive(&mut self, index: u32, mode: Mode) {
        let link = &mut self.links[index as usize];
        link.reading = Reading::Receive;
        let token = link.token;
        self.submit(Op::Receive { token, pool: Pool::Links, mode });
    }

    pub(super) fn readable(&mut self, token: Token) {
        let Some(index) = self.find(token) else { return };
        self.links[index as usize].reading = Reading::Nothing;
        match self.links[index as usize].phase {
            Phase::Closing => self.shut(index),
            _ => self.arm_receive(index, Mode::Once),
        }
    }

    /// A poll or receive is over without data.
    pub(super) fn ended(&mut self, token: Token, why: End) {
        let Some(index) = self.find(token) else { return };
        let link = &mut self.links[index as usize];
        link.reading = Reading::Nothing;
        if link.phase == Phase::Closing {
            return self.shut(index);
        }
        link.cancelling = false;
        match why {
            End::Eof => self.end(index, "end of stream without close".to_owned()),
            End::Broken(errno) => {
                self.end(index, format!("broken: {}", describe(errno)));
            }
            End::Starved => self.starved.push(index),
            End::Cancelled | End::Lapsed => self.arm(index),
        }
    }

    pub(super) fn received(
        &mut self,
        driver: &mut impl Driver,
        token: Token,
        chunk: Chunk,
        more: bool,
        now: Time,
    ) {
        let Some(index) = self.find(token) else { return driver.recycle(chunk) };
        let link = &mut self.links[index as usize];
        if !more {
            link.reading = Reading::Nothing;
        }
        if link.machine.is_none() {
            driver.recycle(chunk);
            return self.shut(index);
        }
        link.cancelling &= more;
        let was_opening = link.is_opening();
        let bytes = chunk.len();
        let heard = read(link, index, driver.bytes(&chunk), &mut self.partials, &mut self.desk, now);
        driver.recycle(chunk);
        let link = &mut self.links[index as usize];
        if was_opening && link.phase == Phase::Live {
            let deadline = link.machine.as_ref().and_then(|machine| machine.deadline());
            self.timers.set(index, deadline);
        }
        match heard {
            Heard::Nothing => {}
            Heard::Flush => self.mark(index),
            Heard::Leave => self.leave(index, now),
            Heard::Ended(reason) => return self.end(index, reason),
        }
        while let Some(owner) = self.partials.take_evicted() {
            self.end(owner, "its partial record was thrown out here".to_owned());
        }
        if let Some(at) = self.desk.ack_at(index, now) {
            self.acks.set(index, Some(at));
        }
        if !more {
            self.has_read(index, bytes, now);
        }
        self.arm(index);
    }
}

/// Reads all frames of a chunk.
fn read(
    link: &mut Link,
    index: u32,
    bytes: &mut [u8],
    partials: &mut Partials,
    desk: &mut Desk,
    now: Time,
) -> Heard {
    let rest = match partials.take(link.place) {
        Ok(rest) => rest,
        Err(error) => return Heard::Ended(error.to_string()),
    };
    let mut input = Input::new(bytes, rest);
    let mut all = Heard::Nothing;
    loop {
        let machine = link.machine.as_mut().expect("asked for before");
        match machine.receive(&mut input, now) {
            Ok(Some(frame)) => match desk.hear(link, index, &frame, now) {
                Heard::Nothing => {}
                Heard::Ended(reason) => return Heard::Ended(reason),
                heard => all = heard,
            },
            Ok(None) => break,
            Err(error @ Error::Rejected(_)) => {
                link.absence.next = storm::after_reply(input.into_rest().gathered());
                return Heard::Ended(error.to_string());
            }
            Err(error) => return Heard::Ended(format!("broke the protocol: {error}")),
        }
    }
    let has_keys = link.machine.as_ref().is_some_and(|machine| machine.is_open());
    if link.phase == Phase::Hailing && has_keys {
        link.phase = Phase::Greeting;
        link.owes.add(Owes::AUTH);
        all = Heard::Flush;
    }
    match partials.keep(link.place, index, input.into_rest()) {
        Ok(place) => link.place = place,
        Err(error) => return Heard::Ended(error.to_string()),
    }
    all
}
