//! A storm: all links are cut at one moment, and each comes back as an SDK does. SPEC.md, section 8.8.
//!
//! ```text
//! Live ─► cut ─► Closing ─► Free, for a random time ─► returning ─► Connecting … Greeting ─► Live
//!                             ▲                                         │
//!                             └──── refused, or broken: again, later ───┘
//! ```

use std::time::Duration;

use protocol::Time;
use protocol::code::CloseCode;
use protocol::link::backoff::Backoff;
use protocol::noise::preamble::{ClearReply, Rejection};
use protocol::wire::frame::Close;

use super::desk::Desk;
use super::ledger::Ledger;
use super::link::{Absence, Link, Next, Phase};
use super::{Cut, Fleet, Order};
use crate::plan::mix;
use crate::tally::StormTally;

/// The longest a client stays away for a `Close` on a link that did not prove the gateway's key, and on one that did.
const RETRY_AFTER_MS_MAX_UNPROVED: u32 = 5 * 60 * 1000;
const RETRY_AFTER_MS_MAX: u32 = 24 * 3600 * 1000;

/// Each client has a processor of its own in life: here none is connected long before there is time to make its hello.
const RETURNS_PER_TURN: u32 = 16;

impl Fleet {
    /// Every link that is up has a last word, and is about to be cut: whatever ends it from now on.
    pub(super) fn brace(&mut self, now: Time) {
        self.give_up_planned(now);
        self.desk.tally.storm = Some(StormTally::default());
        for index in 0..self.desk.settings.links {
            let link = &mut self.links[index as usize];
            if link.phase == Phase::Live {
                link.absence = Absence { out: true, ..Absence::NONE };
                // With pushes one more each, so that a lot is under way when they are cut.
                link.planned += u32::from(!self.desk.inboxes.is_empty());
                self.desk.out += 1;
                self.mark(index);
            }
        }
        self.desk.tally.counts.cut += u64::from(self.desk.out);
    }

    /// Cuts those that are still there.
    pub(super) fn cut(&mut self, cut: Cut, now: Time) {
        for index in 0..self.desk.settings.links {
            let link = &mut self.links[index as usize];
            match cut {
                _ if !link.absence.out || link.phase != Phase::Live => {}
                Cut::Drop => self.sever(index),
                Cut::Close => {
                    self.desk.sever(link, index);
                    self.leave(index, now);
                }
                Cut::Await => {}
            }
        }
    }

    /// A link that was cut is over.
    pub(super) fn sever(&mut self, index: u32) {
        self.desk.sever(&mut self.links[index as usize], index);
        self.shut(index);
    }

    /// Nothing is left of the link, or of its attempt: it comes again when an SDK would.
    pub(super) fn come_back(&mut self, index: u32, now: Time) {
        let link = &mut self.links[index as usize];
        let Absence { tries, next, .. } = link.absence;
        let (seed, first) = (self.desk.settings.seed, u64::from(self.desk.settings.first));
        let random = mix(seed, first + u64::from(index) + (u64::from(link.life) << 32));
        let pause = |wait_ms: u32| {
            Backoff::default().pause(tries.into(), Duration::from_millis(wait_ms.into()), random)
        };
        link.phase = Phase::Free;
        match next {
            Next::Never => self.give_up(index, "told to stay away"),
            Next::AtOnce => self.returning.push_back(index),
            Next::Backoff => self.timers.set(index, Some(now + pause(0))),
            Next::After(wait_ms) => self.timers.set(index, Some(now + pause(wait_ms))),
        }
    }

    /// Has as many come as may be under way at once, a few of them in each turn.
    pub(super) fn launch_returns(&mut self, now: Time) {
        for _ in 0..RETURNS_PER_TURN {
            let index = if self.has_room_for_returns() { self.returning.pop_front() } else { None };
            let Some(index) = index else { return };
            self.desk.tally.storm.get_or_insert_default().attempts += 1;
            self.begin(index, now, now);
        }
    }

    /// Whether somebody waits who may come now.
    pub(super) fn has_returns(&self) -> bool {
        !self.returning.is_empty() && self.has_room_for_returns()
    }

    fn has_room_for_returns(&self) -> bool {
        let opening = self.desk.tally.counts.opening;
        matches!(self.desk.stage, Some(Order::Storm(storm)) if opening < u64::from(storm.opening_max))
    }

    /// The storm is over: who is not back has failed, unless it is just about to come.
    pub(super) fn give_up_returns(&mut self) {
        self.returning.clear();
        for index in 0..self.links.len() as u32 {
            let link = &mut self.links[index as usize];
            if !link.absence.out {
                continue;
            }
            let is_up = link.phase == Phase::Live;
            if link.is_opening() {
                // Its attempt has an outcome of its own.
                link.absence = Absence::NONE;
                self.desk.out -= 1;
            } else {
                self.timers.set(index, None);
                self.give_up(index, "had not come back when the storm was over");
            }
            if is_up {
                self.sever(index);
            }
        }
    }

    fn give_up(&mut self, index: u32, reason: &str) {
        let link = &mut self.links[index as usize];
        (link.absence, link.spoiled) = (Absence::NONE, true);
        if link.phase == Phase::Free {
            link.phase = Phase::Gone;
        }
        self.desk.out -= 1;
        self.desk.write_off_pushes(index);
        self.desk.tally.counts.failed += 1;
        self.desk.tally.blame(reason.to_owned());
    }
}

impl Desk {
    /// What was asked on a link that is cut stays unanswered, and is nobody's fault.
    fn sever(&mut self, link: &mut Link, index: u32) {
        if let Some(session) = self.sessions.get_mut(index as usize) {
            session.count(link.ledger.sent());
        }
        self.doubt_pushes(index);
        let open = u64::from(link.ledger.open());
        link.ledger = Ledger::NEW;
        self.tally.counts.severed += open;
        self.awaited -= open + u64::from(std::mem::take(&mut link.ping_open));
    }

    /// What the link shows to go on with its session, if it is to.
    pub(super) fn wish(&mut self, link: &Link, index: u32) -> Vec<u8> {
        let goes_on = matches!(self.stage, Some(Order::Storm(storm)) if !storm.full) && link.absence.out;
        let h = link.machine.as_ref().and_then(|machine| machine.handshake_hash()).filter(|_| goes_on);
        let received = self.last_sequence(index);
        let session = self.sessions.get_mut(index as usize);
        h.zip(session).map_or(Vec::new(), |(h, session)| session.wish(h, received))
    }

    /// A link is welcome; it may have been cut before.
    pub(super) fn came_back(&mut self, link: &mut Link, resumed: bool, now: Time) {
        if let Some(Order::Storm(storm)) = self.stage
            && link.absence.out
        {
            link.absence = Absence::NONE;
            self.out -= 1;
            let tally = self.tally.storm.get_or_insert_default();
            tally.record(now.since(storm.at));
            tally.resumed += u64::from(resumed);
            tally.full += u64::from(!link.resumed);
        }
    }

    /// An attempt to come back has failed. A ticket that was not looked at, or not answered, is spent, and a full handshake
    /// made instead at once; who was too many keeps it.
    pub(super) fn attempt_failed(&mut self, link: &mut Link, index: u32, reason: String) {
        let absence = &mut link.absence;
        absence.tries = absence.tries.saturating_add(1);
        if link.phase == Phase::Hailing && link.resumed && absence.next == Next::Backoff {
            absence.next = Next::AtOnce;
            self.forget_ticket(index);
        }
        *self.tally.storm.get_or_insert_default().failures.entry(reason).or_default() += 1;
    }

    /// The gateway ends a link, and says when its client may come again.
    pub(super) fn heed(&mut self, link: &mut Link, index: u32, close: &Close<'_>) {
        let code = CloseCode::from_number(close.code);
        if matches!(code, Some(CloseCode::AuthFailed | CloseCode::TokenExpired | CloseCode::SessionEnded)) {
            self.forget_ticket(index);
        }
        link.absence.next = after_close(code, close, link.resumed);
    }

    fn forget_ticket(&mut self, index: u32) {
        if self.settings.keeps_sessions
            && let Some(place) = self.tickets.get_mut(index as usize)
        {
            *place = None;
        }
    }
}

fn after_close(code: Option<CloseCode>, close: &Close<'_>, by_ticket: bool) -> Next {
    let longest = if by_ticket { RETRY_AFTER_MS_MAX_UNPROVED } else { RETRY_AFTER_MS_MAX };
    match (code, close.retry_after_ms.min(longest)) {
        _ if close.do_not_reconnect => Next::Never,
        (Some(CloseCode::Replaced), _) | (Some(CloseCode::Banned), 0) => Next::Never,
        (_, 0) => Next::Backoff,
        (_, wait_ms) => Next::After(wait_ms),
    }
}

/// When to come again after a clear reply, given its bytes. SPEC.md, section 3.2.
pub(super) fn after_reply(reply: &[u8]) -> Next {
    match ClearReply::decode(reply) {
        Ok(Some(reply)) if reply.reason == Rejection::Busy as u8 => {
            Next::After(u32::try_from(reply.busy_for().as_millis()).unwrap_or(u32::MAX))
        }
        _ => Next::Backoff,
    }
}

#[cfg(test)]
mod tests {
    use protocol::noise::{KeyId, Suites};

    use super::*;

    fn close(code: CloseCode, retry_after_ms: u32, do_not_reconnect: bool) -> Close<'static> {
        Close { code: code.number(), retry_after_ms, do_not_reconnect, ..Close::default() }
    }

    #[test]
    fn a_close_says_whether_and_when_to_come_again() {
        let after =
            |close: &Close<'_>, by_ticket| after_close(CloseCode::from_number(close.code), close, by_ticket);
        for (close, next) in [
            (close(CloseCode::TryLater, 700, false), Next::After(700)),
            (close(CloseCode::TryLater, 0, false), Next::Backoff),
            (close(CloseCode::TryLater, 700, true), Next::Never),
            (close(CloseCode::Replaced, 700, false), Next::Never),
            (close(CloseCode::Banned, 0, false), Next::Never),
            (close(CloseCode::Banned, 900, false), Next::After(900)),
        ] {
            assert_eq!(after(&close, false), next, "{close:?}");
        }
        let long = close(CloseCode::TryLater, u32::MAX, false);
        assert_eq!(after(&long, true), Next::After(300_000), "anybody with the psk could have said it");
        assert_eq!(after(&long, false), Next::After(86_400_000));
    }

    #[test]
    fn only_a_busy_gateway_is_left_alone_for_a_time_of_its_own() {
        let reply = |reason, wait| {
            let (suites, key_id) = (Suites::NONE, KeyId([0; 4]));
            ClearReply { reason, versions: 1, suites, key_id, wait }.encode()
        };
        assert_eq!(after_reply(&reply(4, 7)), Next::After(700));
        assert_eq!(after_reply(&reply(4, u16::MAX)), Next::After(60_000));
        assert_eq!(after_reply(&reply(5, 7)), Next::Backoff);
        assert_eq!(after_reply(b"?"), Next::Backoff);
    }
}
