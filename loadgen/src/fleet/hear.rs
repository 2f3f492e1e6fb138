//! What a frame from the gateway means to its link.

use std::time::Duration;

use prost::Message as _;
use protocol::Time;
use protocol::code::{CloseCode, Refusal};
use protocol::limits::{CREDIT_OVERHEAD, TAG_LEN};
use protocol::wire::frame::{Close, Frame, Outcome, Response};
use protocol::wire::proto::link::Welcome;

use super::Load;
use super::desk::{Desk, Ticket};
use super::ledger::{Ledger, Verdict};
use super::link::{Link, Phase};
use crate::payload::Stamp;
use crate::plan::mix;
use crate::tally::REFUSED;

/// What a link has to do after a frame.
#[derive(Debug)]
pub(crate) enum Heard {
    Nothing,
    /// It may have something to send.
    Flush,
    /// Its cycle is over.
    Leave,
    /// The gateway ended it, or broke a rule.
    Ended(String),
}

impl Desk {
    pub(crate) fn hear(&mut self, link: &mut Link, index: u32, frame: &Frame<'_>, now: Time) -> Heard {
        match (frame, link.phase) {
            (Frame::Close(close), Phase::Hailing | Phase::Greeting | Phase::Live) => {
                self.heed(link, index, close);
                Heard::Ended(closed_because(close))
            }
            (Frame::Welcome(body), Phase::Greeting) => match Welcome::decode(*body) {
                Ok(welcome) => self.welcomed(link, index, welcome, now),
                Err(_) => Heard::Ended("broke the protocol: welcome".to_owned()),
            },
            (Frame::Response(response), Phase::Live) => self.answered(link, index, response, now),
            (Frame::Push(push), Phase::Live) => self.pushed(link, index, push, now),
            (Frame::AckNow { .. }, Phase::Live) => self.asked_now(link, index),
            (Frame::Pong { nonce }, Phase::Live) => {
                if link.ping_open && *nonce == u32::from(link.ping) {
                    link.ping_open = false;
                    self.awaited -= 1;
                    self.tally.counts.pongs += 1;
                }
                Heard::Nothing
            }
            _ => Heard::Nothing,
        }
    }

    fn welcomed(&mut self, link: &mut Link, index: u32, mut welcome: Welcome, now: Time) -> Heard {
        let phase = mix(self.settings.seed, u64::from(self.settings.first + index)) as u8;
        let interval = Duration::from_millis(welcome.heartbeat_ms.into());
        link.machine.as_mut().expect("it has just been heard").welcomed(interval, phase, now);
        link.phase = Phase::Live;
        link.grant = self.grant(&welcome);
        if let Ok(record_len_max @ 64..) = u16::try_from(welcome.record_len_max) {
            link.record_plain_max = record_len_max - TAG_LEN as u16;
        }
        self.tally.counts.opening -= 1;
        self.tally.counts.welcomed += 1;
        if link.grant < self.settings.batch {
            return Heard::Ended(format!("the gateway grants a link only {} messages in flight", link.grant));
        }
        self.tally.granted = self.tally.granted.into_iter().chain([link.grant]).min();
        if let Some(place) = self.tickets.get_mut(index as usize)
            && let Some(ticket) = welcome.tickets.pop()
            && let Ok(psk) = <[u8; 32]>::try_from(&*ticket.psk)
        {
            *place = Some(Ticket { ticket: ticket.ticket.to_vec(), psk });
        }
        if let Some(session) = self.sessions.get_mut(index as usize) {
            session.learn(&welcome);
        }
        self.welcome_pushes(index, welcome.resumed);
        self.came_back(link, welcome.resumed, now);
        if matches!(self.settings.load, Load::Cycle { .. }) {
            link.planned = 1;
            let begun = link.begun;
            if let Some(leg) = self.measured(begun) {
                leg.welcome_max = leg.welcome_max.max(now.since(begun));
            }
        }
        Heard::Flush
    }

    /// Messages in flight, from a welcome's grants; zero there means that none is stated.
    fn grant(&self, welcome: &Welcome) -> u32 {
        let cost = self.settings.size as u64 + CREDIT_OVERHEAD;
        let requests = if welcome.grant_requests == 0 { u32::MAX } else { welcome.grant_requests };
        let by_bytes =
            if welcome.grant_bytes == 0 { u64::MAX } else { u64::from(welcome.grant_bytes) / cost };
        let by_bytes = u32::try_from(by_bytes).unwrap_or(u32::MAX);
        requests.min(by_bytes).min(Ledger::IN_FLIGHT_MAX)
    }

    fn answered(&mut self, link: &mut Link, index: u32, response: &Response<'_>, now: Time) -> Heard {
        let stamp = Stamp::from_id(&response.id);
        if stamp != self.stamp(index, link, stamp.sequence) {
            self.tally.counts.corrupted += 1;
            return Heard::Nothing;
        }
        let early = stamp.sequence < link.early;
        match link.ledger.receive(stamp.sequence, response.outcome == Outcome::Answered) {
            Verdict::InOrder => {}
            Verdict::Misordered => self.tally.count(early, 1, |counts| &mut counts.misordered),
            Verdict::Duplicated => {
                self.tally.count(early, 1, |counts| &mut counts.duplicated);
                return Heard::Nothing;
            }
            Verdict::Foreign => {
                self.tally.counts.corrupted += 1;
                return Heard::Nothing;
            }
        }
        self.awaited -= 1;
        if self.told(index, stamp.sequence, response, now) {
            return Heard::Nothing;
        }
        let asks = self.asks_for_pushes(index, stamp.sequence);
        match response.outcome {
            Outcome::Answered if asks => {
                let is_whole = self.handed(index, stamp.sequence, response);
                self.tally.count(
                    early,
                    1,
                    |counts| {
                        if is_whole { &mut counts.received } else { &mut counts.refused }
                    },
                );
            }
            Outcome::Answered
                if response.code == 0 && stamp.matches(self.settings.size, response.payload) =>
            {
                self.tally.count(early, 1, |counts| &mut counts.received);
                let base = self.base(index, stamp.sequence / self.settings.batch, link);
                if let Some(leg) = self.measured(base) {
                    leg.record_latency(now.since(base));
                }
            }
            Outcome::Answered => self.tally.count(early, 1, |counts| &mut counts.corrupted),
            Outcome::Refused => {
                self.tally.count(early, 1, |counts| &mut counts.refused);
                let reason = Refusal::from_number(response.code).map_or("for no known reason", Refusal::name);
                self.tally.blame(format!("{REFUSED}{reason}"));
                self.void_ask(index, stamp.sequence);
            }
            Outcome::Unknown => {
                self.tally.count(early, 1, |counts| &mut counts.unknown);
                self.void_ask(index, stamp.sequence);
            }
        }
        match self.settings.load {
            Load::Cycle { .. } if link.ledger.open() == 0 => Heard::Leave,
            _ if self.settings.pushes.is_some() => {
                self.plan_more(link, index, now);
                Heard::Flush
            }
            Load::Window { packets } if self.running().is_some_and(|leg| now < leg.to) => {
                link.planned = packets + link.ledger.answered() / self.settings.batch;
                Heard::Flush
            }
            _ => Heard::Flush,
        }
    }
}

fn closed_because(close: &Close<'_>) -> String {
    let code = CloseCode::from_number(close.code).map_or("for no known reason", CloseCode::name);
    format!("closed by the gateway: {code}")
}
