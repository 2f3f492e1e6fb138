//! A backend keeps somebody out, lets it in again, or slows it down.
//!
//! ```text
//!   Ban, Unban ──► report ──► control: journal ──► lists ──► every worker
//!   Throttle of addresses ────► report ──► control: its book ──► lists ──► every worker
//!   Throttle of a user ────► letter ──► the user's owner, who remembers it ──► letters ──► its links
//! ```

use std::time::Duration;

use protocol::UnixMillis;
use protocol::wire::stream::{Ban, Throttle, Unban, Whom};
use tokio::sync::mpsc::Sender;

use crate::admission::lists::{Block, NEVER, Subject, UserId};
use crate::collections::Identity;
use crate::directory::throttles;
use crate::id::LinkId;
use crate::rate::ALL;
use crate::upstream::StreamIndex;
use crate::worker::parts::Parts;
use crate::worker::post::Letter;
use crate::worker::reports::Report;
use crate::worker::throttled::Throttled;

impl Parts {
    /// A backend wants somebody to stay out.
    pub(super) fn ban(&mut self, stream: StreamIndex, ban: &Ban<'_>) {
        let until = (ban.until_ms != 0).then_some(UnixMillis(ban.until_ms));
        let Some(whom) = self.subject(ban.whom, ban.realm) else { return };
        let (by, reason) = (self.name_of_backend(stream), ban.reason.to_owned());
        self.tell_control(Report::Ban { by, whom, until, reason });
    }

    /// A backend wants somebody to be let in again.
    pub(super) fn unban(&mut self, stream: StreamIndex, unban: &Unban<'_>) {
        let Some(whom) = self.subject(unban.whom, unban.realm) else { return };
        self.tell_control(Report::Unban { by: self.name_of_backend(stream), whom });
    }

    fn subject(&self, whom: Whom<'_>, realm: &str) -> Option<Subject> {
        if !self.is_of_our_realm(realm) {
            return None;
        }
        match whom {
            Whom::User(user) => UserId::of(user).map(Subject::User),
            Whom::Addresses { prefix, prefix_len } => {
                Block::of_prefix(prefix, prefix_len).map(Subject::Addresses)
            }
        }
    }

    fn name_of_backend(&self, stream: StreamIndex) -> String {
        self.turn.settings.endpoints[usize::from(stream.0)].name.clone()
    }

    fn tell_control(&mut self, report: Report) {
        self.turn.counters.sanctions.add(1);
        if !self.turn.reports.tell(report) {
            self.turn.counters.sanctions_lost.add(1);
        }
    }

    /// A backend wants somebody to be slower.
    pub(super) fn throttle(&mut self, stream: StreamIndex, throttle: &Throttle<'_>) {
        let percent = u8::try_from(throttle.percent).unwrap_or(ALL);
        match self.subject(throttle.whom, throttle.realm) {
            None => {}
            Some(Subject::User(user)) => self.throttle_by_letter(stream, user.bytes(), percent, throttle),
            Some(Subject::Addresses(block)) => {
                let until = (throttle.until_ms != 0).then_some(UnixMillis(throttle.until_ms));
                let by = self.name_of_backend(stream);
                self.tell_control(Report::Throttle { by, block, percent, until });
            }
        }
    }

    /// Tells a user's owner. By letter even to this very worker, so that it stands behind what came before it.
    fn throttle_by_letter(&mut self, stream: StreamIndex, user: &[u8], percent: u8, throttle: &Throttle<'_>) {
        self.turn.counters.sanctions.add(1);
        let left = Duration::from_millis(throttle.until_ms.saturating_sub(self.turn.wall.0));
        let end = if throttle.until_ms == 0 { NEVER } else { self.turn.now + left };
        let held = throttles::Throttle { user: user.into(), by: stream.0, percent, end };
        let user = self.sessions.name_of(user);
        let letter = Letter::ThrottleUser { user, throttle: held };
        let owner = self.sessions.owner_of(user);
        if self.letters.send_if_room(&self.turn, owner, letter).is_err() {
            self.turn.counters.letters_dropped.add(1);
        }
    }

    /// Owner's side: so much of its rates holds for a user from now on. Where too many letters wait nothing changes: then what is
    /// remembered of a user is still what its links were told.
    pub(super) fn throttle_user(&mut self, user: Identity, throttle: throttles::Throttle) {
        if self.letters.is_crowded() {
            return self.turn.counters.letters_dropped.add(1);
        }
        if self.sessions.throttle(user, throttle, self.turn.now) {
            self.tell_links(user);
        }
    }

    /// Owner's side: throttles that are over end, a few in a turn.
    pub(super) fn end_throttles(&mut self) {
        for _ in 0..self.turn.settings.budgets.deadlines {
            if self.letters.is_crowded() {
                return;
            }
            let Some(user) = self.sessions.throttle_over(self.turn.now) else { return };
            self.tell_links(user);
        }
    }

    /// Tells all links of a user how much of its rates holds. A letter must arrive: nobody would say it again. It goes even
    /// to this very worker, so that it stands behind the answer to the claim of a link that is just coming in.
    fn tell_links(&mut self, user: Identity) {
        let percent = self.sessions.percent_of(user, self.turn.now);
        let mut found = std::mem::take(&mut self.turn.receivers);
        found.extend(self.sessions.lookup(user, None));
        for link in found.drain(..) {
            self.letters.send(&self.turn, link.worker(), Letter::Throttle { link, percent });
        }
        self.turn.receivers = found;
    }

    /// So much of its rates holds for a link of this worker from now on.
    pub(super) fn throttle_own(&mut self, link: LinkId, percent: u8) {
        if let Some(token) = self.own(link) {
            let address = self.links.peer(token).and_then(|peer| peer.ip());
            let of_address = self.door.percent(address, self.turn.now);
            self.links.throttle(&self.turn, token, percent, of_address);
        }
    }

    /// Control asks which users are slowed down. It may have gone meanwhile.
    pub(super) fn list_throttled(&self, to: &Sender<Throttled>) {
        let _gone = to.try_send(self.sessions.throttled());
    }
}
