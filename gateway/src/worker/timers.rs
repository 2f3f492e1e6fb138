//! Time passing: one wheel for links and streams, and the order of pending requests' own deadlines.
//!
//! A link's entry is set when its phase changes and is not touched by its messages: when it fires too early, it is
//! set again to the deadline the link has by then.

use std::time::Duration;

use driver::{Armed, Op, Token};
use protocol::{CloseCode, Time};

use super::Core;
use crate::link::{Ending, Reading, from_tenths, to_tenths};

/// Entries looked at per turn; the others follow in the next turns, which then do not wait.
const EXPIRED_PER_TURN: u32 = 4096;
/// A deadline that is noticed so late shows that the process was stopped, or its machine was.
const STALL: Duration = Duration::from_secs(1);

impl Core {
    /// Sets a link's timer to its present deadline.
    pub(super) fn schedule(&mut self, token: Token) {
        let rules = self.settings.rules;
        let Some(link) = self.links.get(token) else { return };
        let mut deadline = link.machine.deadline(&rules);
        if link.reading == Reading::Multishot {
            deadline = deadline.min(self.now + self.settings.demote_after);
        }
        if link.slow_since != 0 {
            let since = from_tenths(link.slow_since);
            deadline = deadline.min(since + self.settings.outgoing_soft_time);
        }
        self.timers.arm(token.slot, deadline);
    }

    /// Lets time pass for everything whose deadline has come.
    pub(super) fn expire(&mut self) {
        let mut budget = EXPIRED_PER_TURN;
        while let Some(index) = self.timers.expire(self.now, &mut budget) {
            match index.checked_sub(self.settings.slots) {
                None => self.expire_link(index),
                Some(stream) => self.expire_stream(stream as u16),
            }
        }
        self.expire_requests();
        self.expire_auths();
    }

    /// When the next turn is due at the latest.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        let verdict = self.verdicts_due.front().map(|&(deadline, _)| deadline);
        let parking = self.park_at.filter(|_| !self.stopping);
        [self.timers.next_deadline(), self.requests_deadline(), verdict, parking].into_iter().flatten().min()
    }

    fn expire_link(&mut self, slot: u32) {
        let (rules, now) = (self.settings.rules, self.now);
        let Some(link) = self.links.at(slot) else { return };
        let token = link.token;
        if link.machine.is_live() && now.since(link.machine.deadline(&rules)) > STALL {
            // This process stood still, and what the client sent meanwhile is still to be read.
            link.machine.grace(now);
            return self.schedule(token);
        }
        if let Err(error) = link.machine.expire(&rules, now) {
            return if link.ending == Ending::No { self.fail(token, error) } else { self.drain(token) };
        }
        let slow_since = from_tenths(link.slow_since);
        if link.slow_since != 0 && now.since(slow_since) >= self.settings.outgoing_soft_time {
            return self.close(token, CloseCode::SlowReader.into());
        }
        self.demote_if_quiet(token);
        self.schedule(token);
    }

    /// A busy link that has become quiet goes back to waiting with a poll, which costs a third of the memory.
    fn demote_if_quiet(&mut self, token: Token) {
        let promote_after = self.settings.promote_after;
        let now = to_tenths(self.now);
        let Some(link) = self.links.get(token).filter(|link| link.reading == Reading::Multishot) else {
            return;
        };
        if link.recent < promote_after {
            link.reading = Reading::Demoting;
            self.ops.push_back(Op::Cancel { token, armed: Armed::Receive });
        }
        (link.recent, link.recent_since) = (0, now);
    }
}
