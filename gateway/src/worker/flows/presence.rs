//! Backends that asked for it learn of links that open and close: one endpoint of each such route, by hash of the
//! user. A backend that comes back is told of the links it missed, a few per turn.

use driver::Token;
use protocol::UnixMillis;
use protocol::wire::stream::{LinkClosed, LinkDetached, LinkOpened, Resumed, Unacknowledged};

use crate::delivery::Origin;
use crate::directory::claims::Claimed;
use crate::id::LinkId;
use crate::session::{Session, SessionKey};
use crate::upstream::{Connection, StreamIndex};
use crate::worker::parts::Parts;
use crate::worker::post::{Letter, Lost};
use crate::worker::sessions::Detached;

impl Parts {
    /// The link is authenticated.
    pub(super) fn announce_opened(&mut self, token: Token) {
        let Some(session) = self.links.session(token).and_then(|key| self.sessions.get(key)) else { return };
        let mut told = std::mem::take(&mut self.turn.told);
        told.extend(self.streams.presence(session.user()));
        for stream in told.drain(..) {
            self.announce_to(stream, token);
        }
        self.turn.told = told;
    }

    /// A session has ended. `code` is what was said at the end, `None` if its link just broke.
    pub(super) fn announce_closed(&mut self, ended: &Detached, session: &Session, code: Option<u32>) {
        let closed = LinkClosed {
            link: ended.link().number(),
            user: session.user(),
            device: session.device(),
            session: session.id(),
            code: code.unwrap_or(0),
            link_epoch: session.link_epoch(),
        };
        self.streams.tell(ended.told(), |machine| machine.link_closed(&closed));
    }

    /// A session has come for a link that had ended before: that there was one is told all the same, as its end follows. By which
    /// connections that was said.
    pub(super) fn announce_unseen(&mut self, link: LinkId, session: SessionKey) -> Box<[Connection]> {
        let Some(session) = self.sessions.get(session) else { return Box::default() };
        let told = self.streams.presence(session.user());
        let told: Box<[_]> =
            told.map(|stream| Connection { stream, epoch: self.streams.epoch(stream) }).collect();
        let opened = LinkOpened { link: link.number(), ..opened(session) };
        self.streams.tell(&told, |machine| machine.link_opened(&opened));
        told
    }

    /// A session's link is gone, and it waits for another one until this time of day. Whoever has sent pushes that it is owed hears
    /// which of its own these are, by whatever worker's stream they came.
    pub(super) fn announce_detached(&mut self, detached: &Detached, until: UnixMillis) {
        let Some(session) = self.sessions.get(detached.session()) else { return };
        let lost =
            Lost { link: detached.link(), session: *session.id(), until, link_epoch: session.link_epoch() };
        let mut owed = std::mem::take(&mut self.turn.origins);
        owed.extend(self.sessions.owed(detached.session()).filter(|origin| origin.number != 0));
        self.tell_lost(&lost, detached.told(), &owed);
        for worker in (0..self.turn.settings.workers).filter(|&worker| worker != self.turn.settings.worker) {
            let of_worker = |origin: &&Origin| u32::from(origin.worker) == worker;
            let owed: Vec<Origin> = owed.iter().filter(of_worker).copied().collect();
            if !owed.is_empty() {
                self.letters.send(&self.turn, worker, Letter::Lost(Box::new((lost, owed))));
            }
        }
        owed.clear();
        self.turn.origins = owed;
    }

    /// Tells those of this worker's backends who know of the link, by these connections, or wait to hear of pushes.
    pub(super) fn tell_lost(&mut self, lost: &Lost, told: &[Connection], owed: &[Origin]) {
        let Self { streams, turn, .. } = self;
        for stream in streams.all() {
            let its = (turn.settings.worker as u16, stream.0, streams.boot(stream));
            let numbers = owed.iter().filter(|origin| (origin.worker, origin.stream, origin.boot) == its);
            turn.numbers.extend(numbers.map(|origin| origin.number));
            let knows = told.iter().copied().find(|told| told.stream == stream);
            let here = Connection { stream, epoch: streams.epoch(stream) };
            if let Some(to) = knows.or_else(|| (!turn.numbers.is_empty()).then_some(here)) {
                let said = LinkDetached {
                    link: lost.link.number(),
                    session: &lost.session,
                    until_ms: lost.until.0,
                    unacknowledged: Unacknowledged::of(&turn.numbers),
                    link_epoch: lost.link_epoch,
                    unacknowledged_count: turn.numbers.len() as u32,
                };
                streams.tell(&[to], |machine| machine.link_detached(&said));
            }
            turn.numbers.clear();
        }
    }

    /// A session goes on with another link.
    pub(super) fn announce_resumed(&mut self, told: &[Connection], from: LinkId, to: &Claimed) {
        let resumed = Resumed { old_link: from.number(), link: to.link.number(), link_epoch: to.epoch };
        self.streams.tell_resumed(told, resumed);
    }

    /// Tells streams that have just become ready of the links that were there before.
    pub(in crate::worker) fn announce_missed(&mut self) {
        for stream in self.streams.all() {
            let budget = self.turn.settings.budgets.announcements;
            let Some(slots) = self.streams.missed_by(stream, self.links.slots_used(), budget) else {
                continue;
            };
            for slot in slots {
                if let Some(token) = self.links.in_slot(slot) {
                    self.announce_missed_link(stream, token);
                }
            }
            self.streams.end_announcing(stream);
        }
    }

    fn announce_missed_link(&mut self, stream: StreamIndex, token: Token) {
        if !self.links.is_live(token) {
            return;
        }
        let Some(session) = self.links.session(token).and_then(|key| self.sessions.get(key)) else { return };
        if self.streams.presence(session.user()).any(|told| told == stream) {
            self.announce_to(stream, token);
        }
    }

    fn announce_to(&mut self, stream: StreamIndex, token: Token) {
        let link = self.link_id(token).number();
        let Some(session) = self.links.session(token).and_then(|key| self.sessions.get(key)) else { return };
        let (Some(peer), Some(machine)) = (self.links.peer(token), self.links.machine(token)) else { return };
        let Some(((_, suite, key), origin)) = machine.binding().zip(machine.origin()) else { return };
        let opened = LinkOpened {
            link,
            address: peer.octets(),
            port: peer.port().into(),
            suite: suite.byte().into(),
            origin_suite: origin.byte().into(),
            peer_key: key.map_or(&[], |key| &key.0),
            ..opened(session)
        };
        self.streams.link_opened(stream, token.slot, &opened);
    }
}

/// What a backend is told of a session's link, but for what belongs to the link.
fn opened(session: &Session) -> LinkOpened<'_> {
    LinkOpened {
        user: session.user(),
        device: session.device(),
        session: session.id(),
        login_ms: session.login().0,
        class: session.class().number(),
        link_epoch: session.link_epoch(),
        ..LinkOpened::default()
    }
}
