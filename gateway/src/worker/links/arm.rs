//! What waits for a link's next bytes: a poll, which costs least, or a receive for one that speaks.

use driver::{Armed, Mode, Op, Pool, Token};

use super::Links;
use super::link::{Ending, Reading, to_tenths};
use crate::worker::turn::Turn;

impl Links {
    /// Arms what fits the link: a receive for one that is about to speak or speaks a lot, else a poll.
    pub(super) fn arm(&mut self, turn: &mut Turn, token: Token) {
        let Some(link) = self.table.get(token) else { return };
        if link.ending.is_leaving() {
            return self.finish_draining(turn, token);
        }
        // One that was marked is armed when it is buried, if it is to be heard again.
        if link.ending == Ending::Marked || link.machine.is_full() {
            return;
        }
        if link.paused_until != 0 {
            return;
        }
        if !matches!(link.reading, Reading::Idle | Reading::Starved) {
            return;
        }
        // While its claim or token is judged elsewhere a link has nothing urgent to say, and will be idle after.
        if !link.machine.is_live() && !link.machine.is_authenticating() {
            return self.receive_once(turn, token);
        }
        // Before its welcome it may have to be stopped, and a receive until further notice does not stop.
        if link.machine.is_live() && link.recent >= turn.settings.promote_after {
            link.reading = Reading::Multishot;
            turn.submit(Op::Receive { token, pool: Pool::Links, mode: Mode::Multishot });
            self.schedule(turn, token);
        } else {
            link.reading = Reading::Poll;
            turn.submit(Op::Poll { token });
        }
    }

    /// Arms a receive of one chunk, unless something is armed already or the link is leaving.
    pub(super) fn receive_once(&mut self, turn: &mut Turn, token: Token) {
        let Some(link) = self.table.get(token) else { return };
        let waits = matches!(link.ending, Ending::No | Ending::Lingering);
        if waits && matches!(link.reading, Reading::Idle | Reading::Starved) {
            link.reading = Reading::Once;
            turn.submit(Op::Receive { token, pool: Pool::Links, mode: Mode::Once });
        }
    }

    /// A busy link that has become quiet goes back to waiting with a poll, which costs a third of the memory.
    pub(super) fn demote_if_quiet(&mut self, turn: &mut Turn, token: Token) {
        let Some(link) = self.table.get(token).filter(|link| link.reading == Reading::Multishot) else {
            return;
        };
        if link.recent < turn.settings.promote_after {
            link.reading = Reading::Demoting;
            turn.submit(Op::Cancel { token, armed: Armed::Receive });
        }
        (link.recent, link.recent_since) = (0, to_tenths(turn.now));
    }

    /// Links whose receive found the pool empty. Everything lent out in this turn has been given back by now.
    pub(in crate::worker) fn rearm_starved(&mut self, turn: &mut Turn) {
        let mut starved = std::mem::take(&mut self.starved);
        for token in starved.drain(..) {
            self.arm(turn, token);
        }
        self.starved = starved;
    }
}
