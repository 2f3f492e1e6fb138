//! What the gateway says to abusers: of most it only counts that it said something.

use driver::{Armed, Chunk, Driver, End, Mode, Op, Pool, Token};
use protocol::Time;
use protocol::buffer::{Input, Partials};
use protocol::code::CloseCode;
use protocol::wire::frame::Frame;

use super::abuser::{Abuser, Phase, Reading};
use super::{Conduct, Mob, describe};

/// What an abuser has to do after what it has heard.
enum Heard {
    Nothing,
    /// The gateway said goodbye, or something that makes no sense.
    Ended(String),
}

impl Mob {
    /// Arms what fits: whoever waits for little polls, which costs the kernel least.
    pub(super) fn arm(&mut self, index: u32) {
        let abuser = &mut self.abusers[index as usize];
        if abuser.reading != Reading::Nothing || abuser.phase != Phase::Open {
            return;
        }
        let token = abuser.token;
        if abuser.machine.is_some() || self.settings.conduct.logs_in() {
            abuser.reading = Reading::Receive;
            self.ops.push_back(Op::Receive { token, pool: Pool::Links, mode: Mode::Multishot });
        } else {
            abuser.reading = Reading::Poll;
            self.ops.push_back(Op::Poll { token });
        }
    }

    pub(super) fn readable(&mut self, token: Token) {
        let Some(index) = self.find(token) else { return };
        let abuser = &mut self.abusers[index as usize];
        abuser.reading = Reading::Nothing;
        if abuser.phase != Phase::Open {
            return self.shut(index);
        }
        abuser.reading = Reading::Receive;
        self.ops.push_back(Op::Receive { token, pool: Pool::Links, mode: Mode::Once });
    }

    /// A poll or receive is over without data.
    pub(super) fn ended(&mut self, token: Token, why: End, now: Time) {
        let Some(index) = self.find(token) else { return };
        let abuser = &mut self.abusers[index as usize];
        abuser.reading = Reading::Nothing;
        if abuser.phase != Phase::Open {
            return self.shut(index);
        }
        match why {
            End::Eof => self.was_ended(index, "ended without a word".to_owned(), now),
            End::Broken(errno) => self.was_ended(index, format!("broken: {}", describe(errno)), now),
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
        let abuser = &mut self.abusers[index as usize];
        if !more {
            abuser.reading = Reading::Nothing;
        }
        if abuser.phase != Phase::Open {
            driver.recycle(chunk);
            return self.shut(index);
        }
        abuser.is_served = true;
        let heard = read(abuser, index, driver.bytes(&chunk), &mut self.partials, now);
        driver.recycle(chunk);
        if let Heard::Ended(reason) = heard {
            return self.was_ended(index, reason, now);
        }
        while let Some(owner) = self.partials.take_evicted() {
            self.count.blame("its partial record was thrown out here".to_owned());
            self.leave(owner, now);
        }
        if matches!(self.settings.conduct, Conduct::Replay { .. }) {
            // The work is done; the next one.
            return self.leave(index, now);
        }
        self.arm(index);
        self.go_on(index, now);
    }

    /// Whoever has keys shows its token, whoever is welcome floods.
    fn go_on(&mut self, index: u32, now: Time) {
        let abuser = &mut self.abusers[index as usize];
        let Some(machine) = abuser.machine.as_ref().filter(|_| abuser.phase == Phase::Open) else { return };
        if machine.is_open() && !abuser.has_asked && !abuser.sending {
            self.ask(index);
        } else if abuser.welcome == Some(now) && abuser.sent == 0 {
            self.count.welcomed += 1;
            self.flood(index, now);
        }
    }
}

/// Reads all frames of a chunk. Without a machine nothing of it means anything.
fn read(abuser: &mut Abuser, index: u32, bytes: &mut [u8], partials: &mut Partials, now: Time) -> Heard {
    let Some(machine) = &mut abuser.machine else { return Heard::Nothing };
    let rest = match partials.take(abuser.place) {
        Ok(rest) => rest,
        Err(error) => return Heard::Ended(error.to_string()),
    };
    let mut input = Input::new(bytes, rest);
    loop {
        match machine.receive(&mut input, now) {
            Ok(Some(Frame::Close(close))) => {
                let code = CloseCode::from_number(close.code).map_or("for no known reason", CloseCode::name);
                return Heard::Ended(format!("closed by the gateway: {code}"));
            }
            Ok(Some(Frame::Welcome(_))) if abuser.welcome.is_none() => abuser.welcome = Some(now),
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(error) => return Heard::Ended(format!("turned away: {error}")),
        }
    }
    match partials.keep(abuser.place, index, input.into_rest()) {
        Ok(place) => abuser.place = place,
        Err(error) => return Heard::Ended(error.to_string()),
    }
    Heard::Nothing
}

/// What has to be cancelled so that nothing reads any more.
pub(super) const fn armed(reading: Reading) -> Option<Armed> {
    match reading {
        Reading::Nothing => None,
        Reading::Poll => Some(Armed::Poll),
        Reading::Receive => Some(Armed::Receive),
    }
}
