//! What abusers say: hellos whole, in part and repeated; junk; floods of frames.

use std::time::Duration;

use driver::{Batch, Op, Sent, Token};
use protocol::Time;
use protocol::limits::{RECORD_LEN_MAX_UPLINK, TAG_LEN};
use protocol::wire::frame::{Auth, Frame, Ping, Request};

use super::abuser::Phase;
use super::hello::dial;
use super::{Conduct, JUNK_LEN_MAX, Mob, describe};
use crate::payload::Stamp;
use crate::plan::mix;

/// How often a flood says what has become due.
const FLOOD_EVERY: Duration = Duration::from_millis(20);
/// Frames in one send at most; what is due beyond them waits for the next.
const FRAMES_PER_SEND_MAX: u64 = 512;
/// The route of the reference service that answers with what it was sent.
const ROUTE: &str = "echo";
/// The smallest payload the reference service sends back.
const PAYLOAD: &[u8] = &[0];
const DEVICE: &[u8] = b"abuser";
impl Mob {
    /// The first words of a link.
    pub(super) fn speak(&mut self, index: u32, now: Time) {
        let mut batch = self.batches.pop().unwrap_or_default();
        match self.settings.conduct {
            Conduct::Silent | Conduct::Churn => return self.give_batch(batch),
            Conduct::Drip { .. } => {
                self.give_batch(batch);
                return self.drip(index, now);
            }
            Conduct::Replay { patience, .. } => {
                batch.bytes.extend_from_slice(&self.hello);
                let token = self.abusers[index as usize].token;
                self.impatient.extend(patience.map(|patience| (now + patience, token)));
            }
            Conduct::Junk => self.junk(&mut batch.bytes),
            Conduct::Frames { .. } | Conduct::Pings { .. } => {
                let ephemeral = (self.entropy)();
                match dial(&self.settings, ephemeral, now, &mut batch.bytes) {
                    Ok(machine) => self.abusers[index as usize].machine = Some(Box::new(machine)),
                    // Unreachable: the same was recorded when the mob began.
                    Err(reason) => {
                        self.give_batch(batch);
                        self.count.blame(reason);
                        return self.leave(index, now);
                    }
                }
                self.timers.set(index, Some(now + self.settings.opening_deadline));
            }
        }
        self.send(index, batch);
    }

    /// The next byte of the hello; none is left once it is complete.
    fn drip(&mut self, index: u32, now: Time) {
        let Conduct::Drip { interval } = self.settings.conduct else { return };
        let abuser = &mut self.abusers[index as usize];
        let Some(&byte) = self.hello.get(abuser.sent as usize) else { return };
        self.timers.set(index, Some(now + interval));
        if abuser.sending {
            return;
        }
        abuser.sent += 1;
        let mut batch = self.batches.pop().unwrap_or_default();
        batch.bytes.push(byte);
        self.send(index, batch);
    }

    fn junk(&mut self, out: &mut Vec<u8>) {
        let (seed, number) = (self.settings.seed, self.count.attempted << 16);
        let len = 1 + mix(seed, number) as usize % JUNK_LEN_MAX;
        out.extend((1..).flat_map(|word| mix(seed, number + word).to_be_bytes()).take(len));
    }

    /// Lets time pass for everybody whose time has come.
    pub(super) fn pass(&mut self, now: Time) {
        while let Some(&(_, token)) = self.impatient.front().filter(|(end, _)| *end <= now) {
            self.impatient.pop_front();
            if let Some(index) = self.find(token) {
                self.leave(index, now);
            }
        }
        let Some(now_ms) = self.timers.begin(now) else { return };
        for index in 0..self.settings.links {
            if self.timers.is_due(index, now_ms) {
                self.timers.set(index, None);
                self.due(index, now);
            }
        }
    }

    fn due(&mut self, index: u32, now: Time) {
        let abuser = &self.abusers[index as usize];
        match (abuser.phase, self.settings.conduct) {
            (Phase::Open, Conduct::Drip { .. }) => self.drip(index, now),
            (Phase::Open, _) if abuser.welcome.is_some() => self.flood(index, now),
            (Phase::Open, conduct) if conduct.logs_in() => {
                self.count.blame("no welcome in time".to_owned());
                self.leave(index, now);
            }
            _ => {}
        }
    }

    /// Shows the token.
    pub(super) fn ask(&mut self, index: u32) {
        self.abusers[index as usize].has_asked = true;
        let user = format!("abuser{index}");
        let agent = concat!("loadgen/", env!("CARGO_PKG_VERSION"));
        let token = self.settings.opening.token().to_vec();
        let auth = Auth { token: &token, user: user.as_bytes(), device: DEVICE, agent, ..Auth::default() };
        self.seal_and_send(index, |out| Frame::Auth(auth).encode(out));
    }

    /// Says what is due since the welcome.
    pub(super) fn flood(&mut self, index: u32, now: Time) {
        let abuser = &mut self.abusers[index as usize];
        let (Some(welcome), Phase::Open) = (abuser.welcome, abuser.phase) else { return };
        let per_second = match self.settings.conduct {
            Conduct::Frames { per_second } | Conduct::Pings { per_second } => per_second,
            _ => return,
        };
        self.timers.set(index, Some(now + FLOOD_EVERY));
        let planned = (now.since(welcome).as_secs_f64() * f64::from(per_second)) as u64;
        let due = planned.saturating_sub(abuser.sent).min(FRAMES_PER_SEND_MAX);
        if abuser.sending || due == 0 {
            return;
        }
        let (first, life) = (abuser.sent, abuser.token.generation);
        abuser.sent += due;
        self.count.frames += due;
        let stamp = Stamp { run: self.settings.seed as u32, link: index, life, sequence: 0 };
        let pings = matches!(self.settings.conduct, Conduct::Pings { .. });
        self.seal_and_send(index, |out| {
            for number in first..first + due {
                if pings {
                    Frame::Ping(Ping { nonce: number as u32, heartbeat_ms: 0 }).encode(out);
                    continue;
                }
                let id = Stamp { sequence: number as u32, ..stamp }.to_id();
                let key = &stamp.link.to_be_bytes();
                let request =
                    Request { id, route: ROUTE, key, payload: PAYLOAD, counter: number + 1, again: false };
                Frame::Request(request).encode(out);
            }
        });
    }

    fn seal_and_send(&mut self, index: u32, write: impl FnOnce(&mut Vec<u8>)) {
        let mut batch = self.batches.pop().unwrap_or_default();
        batch.bytes.extend_from_slice(&[0; 2]);
        write(&mut batch.bytes);
        let machine = self.abusers[index as usize].machine.as_mut().expect("whoever has keys has a machine");
        machine.seal(&mut batch.bytes, 0, RECORD_LEN_MAX_UPLINK - TAG_LEN);
        self.send(index, batch);
    }

    fn send(&mut self, index: u32, batch: Batch) {
        let abuser = &mut self.abusers[index as usize];
        abuser.sending = true;
        let token = abuser.token;
        self.ops.push_back(Op::Send { token, batch });
    }

    pub(super) fn sent(&mut self, token: Token, batch: Batch, result: Sent, now: Time) {
        let Some(index) = self.find(token) else { return self.give_batch(batch) };
        let abuser = &mut self.abusers[index as usize];
        (abuser.sending, abuser.unsending) = (false, false);
        if abuser.phase == Phase::Closing {
            self.give_batch(batch);
            return self.shut(index);
        }
        match result {
            Sent::Broken(errno) => {
                self.give_batch(batch);
                self.was_ended(index, format!("broken while sending: {}", describe(errno)), now);
            }
            Sent::Bytes(_) if batch.rest().is_empty() => {
                self.give_batch(batch);
                // What was heard meanwhile could not be answered.
                let abuser = &self.abusers[index as usize];
                if !abuser.has_asked && abuser.machine.as_ref().is_some_and(|machine| machine.is_open()) {
                    self.ask(index);
                }
            }
            Sent::Bytes(_) | Sent::Again | Sent::Cancelled => self.send(index, batch),
        }
    }
}
