//! Deadlines of links: one entry of a wheel each, by slot.
//!
//! A link's entry is set when its phase changes and is not touched by its messages: when it fires too early, it is
//! set again to the deadline the link has by then.

use std::time::Duration;

use driver::Token;
use protocol::{CloseCode, Error, Time};

use super::Links;
use super::cause::Cause;
use super::link::{Ending, Reading, from_tenths};
use crate::admission::balancers::Introduction;
use crate::counters::guard::Guard;
use crate::worker::turn::Turn;

/// A deadline that is noticed so late shows that the process was stopped, or its machine was.
const STALL: Duration = Duration::from_secs(1);

impl Links {
    /// Sets a link's timer to its present deadline.
    pub(super) fn schedule(&mut self, turn: &Turn, token: Token) {
        let Some(link) = self.table.get(token) else { return };
        let mut deadline = link.machine.deadline(&turn.settings.rules);
        if link.reading == Reading::Multishot {
            deadline = deadline.min(turn.now + turn.demote_after());
        }
        if link.slow_since != 0 {
            deadline = deadline.min(from_tenths(link.slow_since) + turn.settings.outgoing_soft_time);
        }
        if link.paused_until != 0 && link.reading != Reading::Resuming {
            deadline = deadline.min(from_tenths(link.paused_until));
        }
        self.timers.arm(token.slot, deadline);
    }

    /// Lets time pass for every link whose deadline has come.
    pub(in crate::worker) fn expire(&mut self, turn: &mut Turn) {
        let mut budget = turn.settings.budgets.deadlines;
        while let Some(slot) = self.timers.expire(turn.now, &mut budget) {
            self.expire_link(turn, slot);
        }
        while let Some(slot) = self.expiry.ended(turn.wall, &mut budget) {
            if let Some(token) = self.table.token_at(slot) {
                self.mark(token, Cause::Close(CloseCode::TokenExpired.into()));
            }
        }
    }

    /// When [`Links::expire`] is next worth calling.
    pub(in crate::worker) fn next_deadline(&self, turn: &Turn) -> Option<Time> {
        let expiry = self.expiry.time_left(turn.wall).map(|left| turn.now + left);
        [self.timers.next_deadline(), expiry].into_iter().flatten().min()
    }

    fn expire_link(&mut self, turn: &mut Turn, slot: u32) {
        let (rules, now) = (turn.settings.rules, turn.now);
        let Some(link) = self.table.at(slot) else { return };
        let token = link.token;
        if link.machine.is_live() && now.since(link.machine.deadline(&rules)) > STALL {
            // This process stood still, and what the client sent meanwhile is still to be read.
            link.machine.grace(now);
            return self.schedule(turn, token);
        }
        let expired = link.machine.expire(&rules, now);
        if expired.is_err() && link.ending == Ending::No && link.introduction == Introduction::Required {
            turn.kept_out(link.listener).refused.of(Guard::ProxyHeader).add(1);
        }
        match (expired, link.ending) {
            (Err(error), Ending::No) => {
                if matches!(error, Error::HandshakeTimeout | Error::AuthTimeout) {
                    self.count_refused(turn, token, Guard::Deadlines);
                }
                return self.mark(token, Cause::Fault(error));
            }
            (Err(_), Ending::Lingering) => return self.drain(turn, token),
            // Its time is set anew when it is buried, and does not matter any more while it drains.
            (_, Ending::Marked | Ending::Draining | Ending::Closing) => return,
            (Ok(()), Ending::No | Ending::Lingering) => {}
        }
        let slow_since = from_tenths(link.slow_since);
        if link.slow_since != 0 && now.since(slow_since) >= turn.settings.outgoing_soft_time {
            return self.mark(token, Cause::Close(CloseCode::SlowReader.into()));
        }
        self.end_pause(turn, token);
        self.demote_if_quiet(turn, token);
        self.schedule(turn, token);
    }
}
